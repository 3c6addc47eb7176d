"""Laps by stage, and the most memory that was taken."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

Laps = dict[str, list[float]]  # stage -> seconds, one per repeat


class Clock:
    """Laps by stage: by the clock, and in processor time of this process alone."""

    def __init__(self) -> None:
        self.laps: Laps = defaultdict(list)
        self.cpu_laps: Laps = defaultdict(list)

    @contextmanager
    def lap(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        cpu_start = time.process_time()
        yield
        self.laps[stage].append(time.perf_counter() - start)
        self.cpu_laps[stage].append(time.process_time() - cpu_start)


@contextmanager
def peak_memory(peak_mb: list[float], every_s: float = 0.02) -> Iterator[None]:
    """Append the largest sum of resident sizes of this process and its children, in MB."""
    done = threading.Event()
    tree = psutil.Process()
    most = 0.0

    def watch() -> None:
        nonlocal most
        while not done.wait(every_s):
            sizes = []
            for process in (tree, *tree.children(recursive=True)):
                try:
                    sizes.append(process.memory_info().rss)
                except psutil.NoSuchProcess:  # the decoder's child, done meanwhile
                    continue
            most = max(most, sum(sizes) / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        peak_mb.append(most)
