"""Why does it look forged? Explanations of what `detector` says.

    from pathlib import Path

    from detector import Detector
    from explain import Explainer, build_report, write_report

    detector = Detector()
    analysis = detector.analyze("photo.jpg")
    report = build_report(Explainer(detector, analysis.media.kind), analysis)
    write_report(report, Path("report"))

The names below load their modules at first use (PEP 562): `import explain` by itself is free.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explain.explainer import Explainer
    from explain.pipeline import ExplainOptions, Explanation, explain_face
    from explain.report import Report, build_report, write_report

__all__ = [
    "ExplainOptions",
    "Explainer",
    "Explanation",
    "Report",
    "build_report",
    "explain_face",
    "write_report",
]

_HOMES = {
    "ExplainOptions": "explain.pipeline",
    "Explainer": "explain.explainer",
    "Explanation": "explain.pipeline",
    "Report": "explain.report",
    "build_report": "explain.report",
    "explain_face": "explain.pipeline",
    "write_report": "explain.report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'explain' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
