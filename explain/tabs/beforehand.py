"""Answers worked out before anybody asks: those of the built-in examples, and the finished one that
newcomers see.
"""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from pathlib import Path

from detector.types import Analysis, Progress
from explain import figures
from explain.cam import EVIDENCE_MAP, evidence_heat
from explain.faithfulness import BADGE
from explain.lab.examples import EXAMPLES
from explain.map_test import TESTED, MapTest
from explain.pipeline import most_suspicious, timelines_of
from explain.server import markup
from explain.server.service import Cancelled, Choice, Service, Session
from explain.tabs import cards, clip
from explain.tabs.panel import (
    evidence_scale,
    frame_of,
    heat_over_face,
    map_tested,
    quick_explanation,
)


def analysed(
    service: Service, path: Path, model: str | None = None, progress: Progress | None = None
) -> Session:
    """A fresh analysis of a file, which is nobody's yet."""
    analysis = service.detector(model).analyze(path, progress=progress)
    explainer = service.explainer(model, analysis.media.kind)
    timelines = timelines_of(explainer, analysis)
    return Session(analysis, timelines, path, model=model)


def analysed_example(service: Service, path: Path) -> Session:
    """An example's analysis with what is shown first, as Ready keeps it."""
    session = analysed(service, path)
    if session.analysis.faces:
        session.quick = quick_explanation(service, session, shown_first(session, 0))
    return session


def refine(service: Service, session: Session) -> None:
    """Test the map that is shown first, too."""
    if session.analysis.faces:
        map_tested(service, session, shown_first(session, 0))


def labs(service: Service) -> None:
    """The labs' first runs, until the server ends."""

    def step(share: float, stage: str) -> None:
        if service.closing.is_set():
            raise Cancelled

    import_module("lime.lime_image")  # a second or two, which the first LIME need not wait for
    with suppress(Cancelled):
        service.finished.fill(step)


def shown_first(session: Session, position: int) -> Choice:
    """A face's most forged-looking frame."""
    return Choice(position, most_suspicious(session.analysis.faces[position]))


def finished(service: Service, session: Session) -> str:
    """A finished answer about a built-in clip, as HTML."""
    analysis = session.analysis
    choice = shown_first(session, 0)
    face = analysis.faces[0]
    crop = session.crop(choice)
    shown = frame_of(session, crop).rgb
    badge = ""
    if service.explainer_of(session).has_evidence_map:
        heat = evidence_heat(face.evidence[choice.frame].map, crop.rgb.shape[0])
        shown = heat_over_face(shown, crop, heat, evidence_scale(session, 0))
        badge = _badge_of_evidence_map(session.map_tests.get(choice))
    seconds = clip.suspicious_seconds(session.timelines, analysis.verdict)
    return cards.finished(
        next(e.caption for e in EXAMPLES if e.name == analysis.media.name),
        headline(analysis),
        f"{analysis.verdict.reason} {seconds}",
        figures.png(shown),
        clip.timeline(session.timelines[0], analysis.media.duration_s, choice.frame),
        badge,
    )


def _badge_of_evidence_map(found: MapTest | None) -> str:
    """Whether the evidence map passed its test, as far as that is known by now."""
    if found is None:
        return markup.badge("Not tested yet", "")
    if found.passed and found.heat.method == EVIDENCE_MAP:
        return markup.badge(TESTED, "", True)
    return markup.badge(BADGE, "", False)


def headline(analysis: Analysis) -> str:
    """The verdict's headline as a sentence begins."""
    said = analysis.verdict.headline
    return said[:1].upper() + said[1:]
