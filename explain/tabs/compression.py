"""The compression tab: a file degraded step by step, with the score, the map and the reconstruction
moving along.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from detector.decide import format_probability
from detector.degrade import describe
from detector.media import open_media
from detector.profile import Thresholds
from explain.lab import compression
from explain.lab.charts import resized
from explain.lab.compression import Point, Sweep, sweeps
from explain.lab.examples import EXAMPLES
from explain.server import markup
from explain.server.api import CallerError, endpoint
from explain.server.faults import spoken
from explain.server.service import Service
from explain.server.widgets import (
    IDLE_SECONDS,
    QUIET,
    Places,
    Runner,
    Update,
    path_of,
    picture,
    runner,
    source,
)

LEAD = (
    "Most pictures reach you compressed, and compression wipes out fine traces of a forgery. "
    "Degrade a file step by step and see when the answer changes. **Try:** the pasted-in face with "
    "JPEG, then with shrinking. Which one hides it first?"
)
FIRST = "astronaut_swapped.png"  # what the text talks about
FACE_PX = 448  # side of the shown face
# Gradio's image slider takes no alternative text, and its pictures are in the page only a moment
# after the change.
ALT_TEXTS = """() => setTimeout(() => {
  const images = document.querySelectorAll('#lens-compression-restored img');
  images.forEach((img, i) => {
    img.alt = ['The face as it is at this level', 'The same face, denoised'][i];
  });
}, 300)"""


@dataclass(frozen=True, eq=False)
class LevelViews:
    """The components that change with the level."""

    curve: gr.Image
    words: gr.HTML
    strip: gr.Image
    level: gr.Slider
    about: gr.HTML
    face: gr.Image
    evidence: gr.Image
    restored: gr.ImageSlider


@dataclass(frozen=True, eq=False)
class FinishedSweep:
    """One finished curve, kept while its visitor works with it."""

    sweep: Sweep
    points: tuple[Point, ...]
    band: Thresholds


def build(service: Service, tab: gr.Tab) -> Places:
    """Lay out the tab and wire it. Returns what a link can set, by its name in the address."""
    gr.Markdown(LEAD)
    with gr.Row(elem_classes="lens-lab"):
        with gr.Column(scale=2, min_width=300):
            files = source(
                "compression", [e.name for e in EXAMPLES], "Or your own photo or clip", FIRST
            )
            kind = _kinds()
            run = runner(service, "compression", "Draw the curve")
        with gr.Column(scale=5, min_width=320):
            shown = _views()
    kept = gr.State(None, time_to_live=IDLE_SECONDS)

    def work(step: Any, example: str, uploaded: str | None, name: str) -> Update:
        detector = service.detector()
        sweep = sweeps()[name]
        media = open_media(path_of(service, example, uploaded), compression.CLIP_FRAMES)
        found = FinishedSweep(
            sweep,
            compression.curve(detector, media, sweep, step),
            detector.profiles[media.kind].thresholds,
        )
        at = compression.first_change(found.points) or 0
        last = len(found.points) - 1
        return {
            kept: found,
            shown.words: markup.sentences([compression.describe_change(found.points)]),
            shown.strip: compression.strip_picture(found.points),
            shown.level: gr.Slider(0, last, value=at, step=1, interactive=True, visible=True),
            **_level(service, shown, found, at),
        }

    outputs = list(vars(shown).values())
    run.wire(work, [*files.inputs, kind], [kept, *outputs])
    run.when_opened(tab.select, work, [*files.inputs, kind], [kept, *outputs])
    _wire_level(service, run, shown, kept)
    shown.restored.change(None, js=ALT_TEXTS)
    _endpoint(service)
    return {"face": files.example, "kind": kind}


def _wire_level(service: Service, run: Runner, shown: LevelViews, kept: gr.State) -> None:
    """The level's slider moves everything that depends on it."""

    @spoken(run.status)
    def move(found: FinishedSweep | None, at: float) -> Update:
        return {run.status: gr.skip()} if found is None else _level(service, shown, found, int(at))

    shown.level.input(
        move,
        [kept, shown.level],
        [run.status, *vars(shown).values()],
        trigger_mode="always_last",
        concurrency_id="frames",
        **QUIET,
    )


def _kinds() -> gr.Radio:
    return gr.Radio(
        list(sweeps()),
        value="JPEG",
        label="What is done to it",
        elem_id="lens-compression-kind",
    )


def _views() -> LevelViews:
    curve = picture(
        "Score against severity",
        "lens-compression-curve",
        "The score at every level, weak to strong",
        chart=True,
    )
    words = gr.HTML(elem_id="lens-compression-words")
    strip = picture(
        "Six levels", "lens-compression-strip", "The face at six levels, with its score under each"
    )
    level = gr.Slider(
        0, 1, step=1, label="Level shown below", visible=False, elem_id="lens-compression-level"
    )
    about = gr.HTML(elem_id="lens-compression-about")
    with gr.Row():
        face = picture(
            "The face", "lens-compression-face", "The face as the detector sees it at this level"
        )
        evidence = picture(
            "Evidence map",
            "lens-compression-evidence",
            "The face, places that look forged coloured",
        )
        restored = gr.ImageSlider(
            label="Denoised (right)",
            format="png",
            interactive=False,
            elem_id="lens-compression-restored",
        )
    return LevelViews(curve, words, strip, level, about, face, evidence, restored)


def _level(service: Service, shown: LevelViews, found: FinishedSweep, at: int) -> Update:
    """The content of everything that changes with the level."""
    point = found.points[at]
    curve = compression.curve_picture(found.sweep, found.points, found.band, at)
    p = point.verdict.p_fake
    score = (
        "No face was found at this level."
        if p is None
        else f"Score {format_probability(p)}. {point.verdict.reason}"
    )
    named = point.level.plain or f"{point.level.name}: {point.level.words}"
    about = [f"{named}. {score}"]
    exact = ""
    if point.level.plain:
        exact = markup.fold("Exact setting", f"{describe(point.level.degradation)}.")
    if point.crop is None:
        empty = {shown.face: None, shown.evidence: None, shown.restored: None}
        return {shown.curve: curve, shown.about: markup.sentences(about) + exact, **empty}
    restored = service.explainer().restore(point.crop.rgb)
    if restored is not None:
        about.append(restored.sentence)
    return {
        shown.curve: curve,
        shown.about: markup.sentences(about) + exact,
        shown.face: resized(point.crop.shown, FACE_PX),
        shown.evidence: compression.evidence_picture(found.points, at),
        shown.restored: None if restored is None else (restored.crop, restored.restored),
    }


def _endpoint(service: Service) -> None:
    def degrade(file: str, sweep: str) -> dict[str, Any]:
        """Analyse a photo or a clip at every level of a degradation: how the score moves with it.

        Args:
            file: The photo or clip, uploaded before.
            sweep: Name of the degradation, such as "JPEG" or "H.264 video".
        """
        if sweep not in sweeps():
            known = ", ".join(sweeps())
            raise CallerError(f"No degradation is called {sweep!r}; there are {known}.")
        media = open_media(Path(file), compression.CLIP_FRAMES)
        points = compression.curve(service.detector(), media, sweeps()[sweep])
        return {
            "file": media.name,
            "sha256": media.sha256,
            **compression.to_json(sweeps()[sweep], points),
        }

    endpoint("degrade", "analysis", degrade, [gr.Textbox("JPEG", label="sweep", visible=False)])
