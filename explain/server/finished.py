"""Runs of the labs that are shown before anybody asks: of the built-in example that a lab's text
talks about, worked out once for all visitors.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

from detector.errors import DetectorError
from detector.types import Progress

log = logging.getLogger("deepfake_lens")
MOST = 24  # runs kept, a megabyte or two each: links may ask for others than those offered
Work = Callable[[Progress], dict[Any, Any]]


class Finished:
    """What a run shows, by what it was asked. Safe to share between threads."""

    def __init__(self) -> None:
        self._found: OrderedDict[Hashable, dict[Any, Any]] = OrderedDict()
        self._offered: dict[Hashable, Work] = {}
        self._one_at_a_time = threading.Lock()

    def offer(self, asked: Hashable, work: Work) -> None:
        """Name a run that `fill` works out beforehand."""
        self._offered[asked] = work

    def of(self, asked: Hashable, work: Work, step: Progress) -> dict[Any, Any]:
        """The run's result, worked out now where it is not known yet; raising in step cancels."""
        with self._one_at_a_time:
            if asked not in self._found:
                self._found[asked] = work(step)
                if len(self._found) > MOST:
                    self._found.popitem(last=False)
            return self._found[asked]

    def fill(self, step: Progress) -> None:
        """Work out all that were offered; raising in step ends it."""
        for asked, work in self._offered.items():
            try:
                self.of(asked, work, step)
            except DetectorError as err:  # visitors are told when they ask
                log.warning("A lab's first run is not ready: %s", err)
