"""How forged does a face look? `detector.embed(paths)` and `detector.Detector` load their parts at first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.embeddings import embed
    from detector.pipeline import Detector

__all__ = ["Detector", "embed"]


def __getattr__(name: str) -> Any:
    if name == "embed":
        from detector.embeddings import embed

        return embed
    if name == "Detector":
        from detector.pipeline import Detector

        return Detector
    raise AttributeError(f"module 'detector' has no attribute {name!r}")
