"""The built-in examples with their answers, worked out once, so that a click on one is answered at
once.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from detector.errors import DetectorError
from explain.lab.examples import EXAMPLES, Example, write_example

log = logging.getLogger("deepfake_lens")
# what a newcomer sees first: one file that shows whether, where and when
SHOWN_FIRST = "hopper_clip_forged.mp4"
Answer = TypeVar("Answer")


def example_named(stem: str | None) -> Example | None:
    """The example whose file has this name without its ending, as links name it."""
    return next((e for e in EXAMPLES if Path(e.name).stem == stem), None)


class Ready(Generic[Answer]):
    """Name of an example -> its answer by the default model, as far as they are known yet."""

    def __init__(self, folder: Path) -> None:
        """folder: where the examples are written, on first use."""
        self.folder = folder
        self._answers: dict[str, Answer] = {}
        self._sha256: dict[str, str] = {}
        # clear only while newcomers have something to wait for
        self._first = threading.Event()
        self._first.set()

    def path(self, example: Example) -> Path:
        """The example as a file."""
        self.folder.mkdir(exist_ok=True)
        return write_example(example, self.folder)

    def of(self, path: Path) -> Answer | None:
        """The answer about this file, if it is an example's copy, byte for byte, and known."""
        answer = self._answers.get(path.name)
        if answer is None or _sha256(path) != self._sha256[path.name]:
            return None
        return answer

    def first(self, timeout_s: float) -> Answer | None:
        """The answer that newcomers are shown; None where it is not known in time."""
        self._first.wait(timeout_s)
        return self._answers.get(SHOWN_FIRST)

    def start(
        self,
        closing: threading.Event,
        answer: Callable[[Path], Answer],
        refine: Callable[[Answer], object],
        afterwards: Callable[[], object] = lambda: None,
    ) -> None:
        """Work out all answers in the background, the first one first, until `closing`; then
        refine each, which takes longer, and do what comes afterwards.
        """
        self._first.clear()

        def fill() -> None:
            self._fill(closing, answer, refine)
            if not closing.is_set():
                afterwards()

        threading.Thread(target=fill, daemon=True).start()

    def _fill(
        self,
        closing: threading.Event,
        answer: Callable[[Path], Answer],
        refine: Callable[[Answer], object],
    ) -> None:
        order = sorted(EXAMPLES, key=lambda e: e.name != SHOWN_FIRST)
        try:
            for example in order:
                if closing.is_set():
                    return
                path = self.path(example)
                self._sha256[path.name] = _sha256(path)
                self._answers[path.name] = answer(path)
                self._first.set()
            for example in order:
                if not closing.is_set():
                    refine(self._answers[example.name])
        except DetectorError as err:  # visitors are told when they ask
            log.warning("The examples are not ready: %s", err)
        finally:
            self._first.set()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
