"""Analysed files and built pages for the tests of the page."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from explain_faces import analysis_of, astronaut, detector

from detector.types import Analysis
from explain.server.service import Session
from explain.timeline import build_timelines

T = TypeVar("T")


def session_of(analysis: Analysis, path: Path = Path("a.png"), **more: object) -> Session:
    """A visitor's analysed file."""
    thresholds = detector().profiles[analysis.media.kind].thresholds
    return Session(analysis, build_timelines(analysis, thresholds), path, **more)  # type: ignore[arg-type]


def session(name: str = "a.png", frames: int = 1) -> Session:
    return session_of(analysis_of([astronaut()] * frames, name=name), Path(name))


def built(build: Callable[[], T]) -> T:
    """What `build()` builds, inside a running event loop: outside of one, Gradio starts loops and
    leaves them open.
    """

    async def inside() -> T:
        return build()

    return asyncio.run(inside())
