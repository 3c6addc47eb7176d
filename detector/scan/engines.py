"""Engines: what analyses the files, on this machine or on a Ray cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import chain, islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from detector.commandline import load_torch
from detector.errors import DetectorError, ScanError
from detector.scan.rows import FIELDS, Job, Row, blank_row, scan_files

IN_HAND = 2  # files of a worker: one in work, and one that is decoded meanwhile
RAY_FILES = 10_000  # handed to Ray at a time, so that a million paths are never one object
# of the folder that its workers get, as .gitignore has it: all but the folder itself, code, weights
RAY_EXCLUDES = ["/*", "!/.", "!/detector", "!/weights"]
RAY_BATCH = 8  # files of one call on a Ray worker: what is lost at most when a worker goes

# (paths, job, workers) -> rows, in any order
Engine = Callable[[Iterator[str], Job, int], Iterator[Row]]


def local(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
    """Rows from processes of this machine, each with a detector of its own and its share of the
    cores. The second network's weights are held once for all.

    A file that takes its worker down is a row with an error, and another worker takes the place.
    Raises what a worker could not start for (WeightsError, DeviceError), or ScanError.
    """
    # read when a worker imports torch
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    with TemporaryDirectory(prefix="deepfake_lens_", ignore_cleanup_errors=True) as folder:
        yield from _rows(paths, job, workers, Path(folder) / "clip" if workers > 1 else None)


def _rows(paths: Iterator[str], job: Job, workers: int, clip: Path | None) -> Iterator[Row]:
    team: dict[Connection, _Worker] = {}
    try:
        for _ in range(workers):
            worker = _Worker(job, clip)
            team[worker.connection] = worker
        busy = dict(team)  # every worker's first message is that it is ready
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy.pop(connection)
                try:
                    row = connection.recv()
                except (EOFError, OSError):
                    if not worker.paths:
                        raise ScanError("A worker process could not be started.") from None
                    lost, *others = worker.paths
                    row, paths = _lost_row(lost, job), chain(others, paths)
                    team.pop(connection).stop()
                    worker = _Worker(job, clip)
                    team[worker.connection] = busy[worker.connection] = worker
                else:
                    if isinstance(row, DetectorError):
                        raise row
                    worker.ready = True
                    if row is not None:
                        worker.paths.popleft()
                    worker.fill(paths)
                    if worker.paths:
                        busy[connection] = worker
                if row is not None:
                    yield row
    finally:
        for worker in team.values():
            worker.stop()


def _lost_row(path: str, job: Job) -> Row:
    """The row of a file that took its worker down."""
    row = blank_row(path, job)
    message = f"{row['file']} ended the process that was reading it."
    return row | {"error_type": "WorkerError", "error_message": message}


class _Worker:
    """A process that is sent paths and answers with rows."""

    def __init__(self, job: Job, clip: Path | None) -> None:
        """clip: where the workers map the second network's weights."""
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self.connection, theirs = spawn.Pipe()
        self.ready = False  # it has said so
        self.paths: deque[str] = deque()  # in hand
        self.told_all = False  # that there are no more
        self.process = spawn.Process(target=_work, args=(theirs, job, clip))
        with _no_ctrl_c():
            self.process.start()
        theirs.close()

    def fill(self, paths: Iterator[str]) -> None:
        """Send paths until there is one in work and one ahead; None after the last."""
        while len(self.paths) < IN_HAND and not self.told_all:
            path = next(paths, None)
            if path is None:
                self.told_all = True
            else:
                self.paths.append(path)
            with suppress(OSError):  # that it has gone is noticed when its rows are read
                self.connection.send(path)

    def stop(self) -> None:
        """Close the pipe, at which the worker ends after the file in work; at once if it has not
        started yet.
        """
        self.connection.close()
        if not self.ready:
            self.process.terminate()
        self.process.join()


@contextmanager
def _no_ctrl_c() -> Iterator[None]:
    """What starts meanwhile holds Ctrl-C back, which is for the one in charge; who starts it hears
    of it afterwards. Windows has no such mask, and only the main thread hears of signals.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not hasattr(signal, "pthread_sigmask") or not in_main:
        yield
        return
    from multiprocessing import resource_tracker  # not there on Windows

    resource_tracker.ensure_running()  # the first worker would start it, which lifts the mask
    heard: list[int] = []
    # the mask is this thread's; another one may be handed the signal
    before = signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
    if heard:
        signal.raise_signal(signal.SIGINT)


def _work(connection: Connection, job: Job, clip: Path | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one in charge
    load_torch()
    from detector.pipeline import Detector

    try:
        try:
            detector = Detector(job.model, job.device)
        except DetectorError as err:
            connection.send(err)
            return
        if detector.clip_files is not None and clip is not None:
            detector.clip_files = replace(detector.clip_files, mapped=clip)
        connection.send(None)
        for row in scan_files(detector, iter(connection.recv, None), job):
            connection.send(row)
    except (EOFError, OSError):
        return  # nobody is listening any more


def on_ray(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
    """Rows from at most so many workers of a Ray cluster, RAY_ADDRESS or one started here; all must
    see the files.

    Raises ScanError when there is no Ray, when the cluster does not answer, or when it gives up;
    WeightsError for the model.
    """
    try:
        import ray
        import ray.data
        from ray.exceptions import RayError
    except ImportError as err:
        raise ScanError("The engine is not installed: pip install 'deepfake-lens[ray]'.") from err
    load_torch()
    from detector.weights import load_model

    load_model(job.model)  # before a worker fails for it, whose sentence Ray would bury
    try:
        _join_ray(workers)
        ray.data.DataContext.get_current().enable_progress_bars = False  # there is one already
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # a smaller cluster does it too, more slowly
        team = ray.data.ActorPoolStrategy(min_size=1, max_size=workers)
        while some := [{"path": path} for path in islice(paths, RAY_FILES)]:
            files = ray.data.from_items(
                some, override_num_blocks=max(workers, len(some) // (4 * RAY_BATCH))
            )
            yield from files.map_batches(
                _RayWorker,
                fn_constructor_args=(job,),
                compute=team,
                batch_size=RAY_BATCH,
                num_cpus=1,
            ).iter_rows()
    except (RayError, ConnectionError) as err:
        raise ScanError(
            "The Ray cluster does not answer. The same command goes on from here."
        ) from err


def _join_ray(workers: int) -> None:
    """Connect to the cluster at RAY_ADDRESS, or start one of so many cores on this machine."""
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {"address": "local", "num_cpus": workers}
    if address := os.environ.get("RAY_ADDRESS"):
        options = {"address": address}
        # tries, of 40 s each; 20 without it
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    environment = {
        # the checkout, or where the packages are installed
        "working_dir": str(Path(__file__).resolve().parents[2]),
        "excludes": RAY_EXCLUDES,
        "env_vars": {"OMP_NUM_THREADS": "1"},
    }
    ray.init(
        **options,
        runtime_env=environment,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


class _RayWorker:
    """Ray's name for the same: a batch of paths in, a batch of rows out."""

    def __init__(self, job: Job) -> None:
        from detector.pipeline import Detector

        self.detector = Detector(job.model, job.device)
        self.job = job

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = list(scan_files(self.detector, map(str, batch["path"]), self.job))
        return {name: [row[name] for row in rows] for name in FIELDS}


ENGINES: dict[str, Engine] = {"local": local, "ray": on_ray}
