"""How forged does a face look?

    from detector import Detector

    analysis = Detector().analyze("photo.jpg")
    print(analysis.verdict.label, analysis.verdict.reason)

The names below load their modules at first use (PEP 562): `import detector` by itself is free.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from detector.embeddings import embed
    from detector.errors import DetectorError
    from detector.pipeline import Detector
    from detector.types import Analysis, Label, Verdict

__version__ = "0.2.0"
__all__ = ["Analysis", "Detector", "DetectorError", "Label", "Verdict", "embed"]

_HOMES = {
    "Analysis": "detector.types",
    "Detector": "detector.pipeline",
    "DetectorError": "detector.errors",
    "Label": "detector.types",
    "Verdict": "detector.types",
    "embed": "detector.embeddings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'detector' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
