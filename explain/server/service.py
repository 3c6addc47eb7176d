"""What every tab is given: the detector, loaded once and late, and each visitor's last analysis,
kept for a while.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from detector.commandline import load_torch
from detector.errors import DetectorError, WeightsError
from detector.manifest import model_names
from detector.stopping import stoppable
from detector.types import KINDS, Analysis, FaceCrop, Kind
from explain.figures import Scale
from explain.map_test import MapTest
from explain.pipeline import Explanation
from explain.report import write_whole
from explain.server.finished import Finished
from explain.server.ready import Ready
from explain.timeline import Timeline

if TYPE_CHECKING:
    from detector.pipeline import Detector
    from explain.explainer import Explainer

# of decoded frames kept for all visitors together: some ten 1080p clips or hundreds of photos
SESSION_BYTES = 1 << 30
OTHERS_KEPT = 2  # models besides the default that stay loaded: each takes 0.1 GB or more
GONE = "This analysis is no longer kept. Please analyse the file again."


class Cancelled(Exception):  # noqa: N818 - a wish, not an error
    """The visitor asked to stop, or asked for something else meanwhile."""


class GoneError(DetectorError):
    """The analysis a visitor refers to was dropped to make room."""


@dataclass(frozen=True)
class Choice:
    """Which face of an analysis and which of its frames, both counted from 0."""

    face: int
    frame: int


@dataclass(eq=False)
class Session:
    """One analysed file of one visitor, and what was worked out about it since."""

    analysis: Analysis
    timelines: tuple[Timeline, ...]  # of every face
    path: Path  # as uploaded, for the player
    visitor: str = ""  # whose it is: Gradio's session hash
    model: str | None = None  # that judged it, by its name in the menu; None: the default
    quick: Explanation | None = None  # of the frame shown first, where it was worked out beforehand
    explanations: dict[Choice, Explanation] = field(default_factory=dict)
    map_tests: dict[Choice, MapTest] = field(default_factory=dict)
    tested_words: dict[Choice, tuple[str, ...]] = field(default_factory=dict)
    scales: dict[int, Scale] = field(default_factory=dict)  # of the evidence map, by face
    folder: Path | None = None  # of the files made for this visitor; goes when the session goes
    used_s: float = field(default_factory=time.monotonic)  # when last

    @property
    def size_bytes(self) -> int:
        frames = sum(frame.rgb.nbytes for frame in self.analysis.media.frames)
        return frames + sum(
            crop.rgb.nbytes for face in self.analysis.faces for crop in face.track.crops
        )

    def handed_to(self, visitor: str, path: Path, model: str | None) -> Session:
        """The same answer for a visitor: what is worked out about it from now on is theirs."""
        known: dict[str, Any] = {
            "explanations": dict(self.explanations),
            "map_tests": dict(self.map_tests),
            "tested_words": dict(self.tested_words),
            "scales": dict(self.scales),
        }
        return replace(
            self, visitor=visitor, path=path, model=model, used_s=time.monotonic(), **known
        )

    def crop(self, choice: Choice) -> FaceCrop:
        return self.analysis.faces[choice.face].track.crops[choice.frame]

    def write(self, name: str, text: str) -> Path:
        """Write a file for the visitor to download, whole or not at all. Raises OSError."""
        self.folder = self.folder or Path(tempfile.mkdtemp(prefix="deepfake_lens_"))
        return write_whole(self.folder / name, text.encode())

    def clear(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Sessions:
    """Token -> Session, the longest unused dropped first when all together grow too large."""

    def __init__(self, most_bytes: int = SESSION_BYTES) -> None:
        self.most_bytes = most_bytes
        self._kept: OrderedDict[str, Session] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, session: Session) -> str:
        """Keep a session and return its token, which nobody can guess."""
        token = uuid.uuid4().hex
        with self._lock:
            self._kept[token] = session
            total = sum(kept.size_bytes for kept in self._kept.values())
            while total > self.most_bytes and len(self._kept) > 1:
                oldest = self._kept.popitem(last=False)[1]
                total -= oldest.size_bytes
                oldest.clear()
        return token

    def get(self, token: str | None) -> Session:
        """Raises GoneError for a token that is not or no longer known."""
        with self._lock:
            session = self._kept.get(token or "")
            if session is None:
                raise GoneError(GONE)
            self._kept.move_to_end(token or "")
            session.used_s = time.monotonic()
            return session

    def drop(self, token: str | None) -> None:
        with self._lock:
            session = self._kept.pop(token or "", None)
        if session is not None:
            session.clear()

    def drop_of(self, visitor: str) -> None:
        """Drop the sessions of a visitor who left."""
        self._drop_if(lambda session: session.visitor == visitor)

    def drop_unused(self, most_s: float) -> None:
        """Drop sessions that were not used for so many seconds."""
        self._drop_if(lambda session: time.monotonic() - session.used_s > most_s)

    def _drop_if(self, wanted: Callable[[Session], bool]) -> None:
        with self._lock:
            gone = [token for token, session in self._kept.items() if wanted(session)]
        for token in gone:
            self.drop(token)


@dataclass(frozen=True, eq=False)
class Run:
    """A run's progress callback. It raises Cancelled once the run was stopped, as `look` does."""

    stop: threading.Event
    report: Callable[[float, str], object]

    def look(self) -> None:
        if self.stop.is_set():
            raise Cancelled

    def __call__(self, share: float, stage: str) -> None:
        self.look()
        self.report(share, stage)


class Runs:
    """The run a visitor is waiting for. Starting another, or cancelling, stops it at its next
    step.
    """

    def __init__(self) -> None:
        self._stop: dict[str, threading.Event] = {}
        self._outdated: set[str] = set()
        self._lock = threading.Lock()

    def start(self, visitor: str) -> None:
        with self._lock:
            self._outdated.discard(visitor)
            if visitor in self._stop:
                self._stop[visitor].set()
            self._stop[visitor] = threading.Event()

    def cancel(self, visitor: str) -> None:
        with self._lock:
            if visitor in self._stop:
                self._stop.pop(visitor).set()

    def cancel_of(self, visitor: str) -> None:
        """Cancel every run of a visitor: the analysis, and what has a button of its own."""
        with self._lock:
            for name in [name for name in self._stop if name.split(" ")[0] == visitor]:
                self._stop.pop(name).set()

    def cancel_all(self) -> None:
        with self._lock:
            for stop in self._stop.values():
                stop.set()

    def change(self, visitor: str) -> None:
        """A setting of the run under way, if there is one, was changed."""
        with self._lock:
            if visitor in self._stop:
                self._outdated.add(visitor)

    def outdated(self, visitor: str) -> bool:
        """Whether a setting was changed since the run was started; asked once, at its end."""
        with self._lock:
            was = visitor in self._outdated
            self._outdated.discard(visitor)
            return was

    def awaited(self, visitor: str) -> bool:
        """Whether a run of this visitor is under way or in line."""
        return visitor in self._stop

    @contextmanager
    def running(self, visitor: str, report: Callable[[float, str], object]) -> Iterator[Run]:
        """A run from its begin to its end: a progress callback that raises Cancelled once the run
        was stopped, as does the detector between two batches.
        """
        with self._lock:
            stop = self._stop.setdefault(visitor, threading.Event())
        run = Run(stop, report)
        try:
            with stoppable(run.look):
                yield run
        finally:
            with self._lock:
                if self._stop.get(visitor) is stop:
                    del self._stop[visitor]


def _default_detector() -> Detector:
    load_torch()
    from detector.pipeline import default_detector

    return default_detector()


def _explainers(detector: Detector) -> Mapping[Kind, Explainer]:
    from explain.explainer import Explainer

    return {kind: Explainer(detector, kind) for kind in KINDS}


def _explainers_of(model: str | Path) -> Mapping[Kind, Explainer]:
    load_torch()
    from detector.pipeline import Detector

    return _explainers(Detector(model))


def offered_models(folder: Path | None = None) -> dict[str, str | Path]:
    """What the model menu offers, name -> what Detector takes: the shipped models, the default
    first, and the model folders in `folder`, each by itself or as `model/` in the folder of its
    training run."""
    try:
        found: dict[str, str | Path] = {name: name for name in model_names()}
    except WeightsError:  # told to whoever asks for an answer
        found = {}
    if folder is not None:
        for place in sorted(
            [*folder.glob("*/manifest.json"), *folder.glob("*/model/manifest.json")]
        ):
            home = place.parent
            name = home.parent.name if home.parent != folder else home.name
            found[f"{name} (folder)" if name in found else name] = home
    return found


class Service:
    """Handed to every tab. Models load on first use; tests pass another loader of the default."""

    def __init__(
        self,
        folder: Path,
        detector: Callable[[], Detector] = _default_detector,
        models: Mapping[str, str | Path] | None = None,
    ) -> None:
        """folder: where the examples are written; its maker removes it. models: see
        offered_models.
        """
        self.folder = folder
        self.models = dict(models or {})
        self._default = lru_cache(1)(lambda: _explainers(detector()))
        self._other = lru_cache(OTHERS_KEPT)(_explainers_of)
        self._loading = threading.Lock()
        self.ready: Ready[Session] = Ready(folder / "examples")
        self.finished = Finished()
        self.sessions = Sessions()
        self.runs = Runs()
        self.closing: threading.Event = threading.Event()  # the server ends: nothing new is begun

    def detector(self, model: str | None = None) -> Detector:
        """A model by its name in the menu; the first is the default. Raises WeightsError."""
        return self.explainer(model).detector

    def explainer(self, model: str | None = None, kind: Kind = "image") -> Explainer:
        """The explainer of a model for a kind of file. Raises WeightsError."""
        return self._explainers(model)[kind]

    def explainer_of(self, session: Session, choice: Choice | None = None) -> Explainer:
        """The explainer of the model that analysed a session's file, as it judged the file or the
        chosen face.
        """
        kind = session.analysis.media.kind
        if choice is not None:
            kind = session.analysis.faces[choice.face].track.judged_as(kind)
        return self.explainer(session.model, kind)

    def _explainers(self, model: str | None) -> Mapping[Kind, Explainer]:
        if self._is_default(model):
            with self._loading:  # two at once would load it twice
                return self._default()
        if model not in self.models:
            raise WeightsError("This model is not offered here.")
        return self._other(self.models[model])

    def known(self, path: Path, model: str | None) -> Session | None:
        """What is known already about a file, by the model of that name."""
        return self.ready.of(path) if self._is_default(model) else None

    def _is_default(self, model: str | None) -> bool:
        return model is None or model == next(iter(self.models), None)

    def left(self, request: gr.Request) -> None:
        """A visitor closed the page: nobody waits for the answer any more, or may read it."""
        self.runs.cancel_of(str(request.session_hash))
        self.sessions.drop_of(str(request.session_hash))
