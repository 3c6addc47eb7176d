"""The chosen frame: the evidence in words and on the face, the noise residual, and what a denoiser
takes off.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from detector.decide import format_probability
from detector.types import FaceAnalysis, FaceCrop, Frame, Progress
from explain import figures
from explain.cam import EVIDENCE_MAP, Heat, evidence_heat
from explain.figures import Rgb, Scale
from explain.map_test import MapTest, run_map_test
from explain.pipeline import ExplainOptions, Explanation, explain_face, tested_words
from explain.restore import Restoration
from explain.server import markup
from explain.server.service import Choice, Service, Session
from explain.server.widgets import Update, picture
from explain.tabs import whole

PREVIEW_PX = 640  # longer side of the frame while the clip plays: small pictures keep up
LAYER_PX = 640  # of the map over the frame, which is smooth


class FramePanel:
    """Lays the pictures out and fills them for one frame of one face."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.caption = gr.HTML(elem_id="lens-caption")
        with gr.Row():
            with gr.Column(min_width=140):
                gr.HTML('<p class="lens-title">The whole picture</p>')
                self.frame = gr.HTML(elem_id="lens-frame")
                self.strength = gr.HTML(
                    whole.STRENGTH, elem_id="lens-strength", js_on_load=whole.STRENGTH_JS
                )
            with gr.Column(min_width=160):
                self.badge = gr.HTML(elem_id="lens-badge")
                self.evidence = picture(
                    "Evidence map", "lens-evidence", "The face, places that look forged coloured"
                )
        self.words = gr.HTML(elem_id="lens-words")
        with gr.Accordion("Noise and denoised reconstruction", open=True):
            with gr.Row():
                self.slider = gr.ImageSlider(
                    label="Stored | denoised",
                    format="png",
                    interactive=False,
                    elem_id="lens-slider",
                    max_height=420,
                )
                self.error = picture(
                    "Taken off", "lens-error", "Their difference, dark where there is none"
                )
                self.residual = picture(
                    "Fine noise, 8×",
                    "lens-residual",
                    "Fine noise of the face, amplified eight times",
                )
            self.restored = gr.HTML(elem_id="lens-restored")
        # what `test` fills
        self.tested = [self.badge, self.frame, self.evidence, self.words]
        found = [self.caption, self.strength, *self.tested]
        self.outputs = [*found, self.slider, self.error, self.residual, self.restored]

    def cleared(self) -> Update:
        """Nothing shown: the last file's pictures must not stand beside the next one's verdict."""
        emptied = {c: "" if isinstance(c, gr.HTML) else None for c in self.outputs}
        return {**emptied, self.strength: gr.HTML(visible=False)}

    def preview(self, session: Session, choice: Choice) -> Update:
        """Frame and evidence map only, for a playing clip."""
        badge = markup.badge("Not tested on this frame", "Stop the clip to have it tested.")
        return {**self._seen(session, choice, PREVIEW_PX), self.badge: badge}

    def show(self, session: Session, choice: Choice) -> Update:
        """Everything about one frame that is ready within a second or so; `test` adds the rest."""
        explanation = session.quick
        if explanation is None or explanation.crop is not session.crop(choice):
            explanation = quick_explanation(self.service, session, choice)
        return {
            **self._seen(session, choice, figures.FRAME_PX),
            self.badge: markup.badge("Not tested yet", "Its test on this face comes next."),
            self.words: markup.sentences(explanation.words),
            self.residual: figures.residual_picture(explanation.residual),
            **self._restored(explanation.restoration),
        }

    def test(self, session: Session, choice: Choice, progress: Progress | None = None) -> Update:
        """The first map tested on this face, with its badge and the words that rest on it.

        Another map takes its place where it fails and another passes.
        """
        crop = session.crop(choice)
        found = map_tested(self.service, session, choice, progress)
        update: Update = {
            self.badge: markup.badge(found.badge, found.sentence, found.passed),
            self.words: markup.sentences(session.tested_words[choice]),
        }
        if found.passed and found.heat.method != EVIDENCE_MAP:
            rgb = frame_of(session, crop).rgb
            scale = figures.shared_scale([found.heat])
            laid = heat_over_face(rgb, crop, found.heat, scale)
            update[self.evidence] = gr.Image(laid, label=found.heat.method, visible=True)
            update[self.frame] = self._whole(session, choice, figures.FRAME_PX, (found.heat, scale))
        return update

    def _seen(self, session: Session, choice: Choice, most_px: int) -> Update:
        crop = session.crop(choice)
        rgb = frame_of(session, crop).rgb
        face = session.analysis.faces[choice.face]
        answer = f"Face {face.track.track}: {face.verdict.headline}"
        shown: Any = gr.Image(visible=False)  # some models say nothing about where
        mapped = None
        if self.service.explainer_of(session).has_evidence_map:
            map_logits = face.evidence[choice.frame].map
            heat = evidence_heat(map_logits, crop.rgb.shape[0])
            mapped = heat, evidence_scale(session, choice.face)
            laid = heat_over_face(rgb, crop, *mapped)
            alt = f"{answer}. The face, places that speak for a forgery coloured"
            shown = gr.Image(laid, label="Evidence map", visible=True, alt_text=alt)
        return {
            self.caption: markup.sentences([frame_caption(session, choice)]),
            self.frame: self._whole(session, choice, most_px, mapped),
            self.strength: gr.HTML(visible=mapped is not None),
            self.evidence: shown,
        }

    def _whole(
        self,
        session: Session,
        choice: Choice,
        most_px: int,
        mapped: tuple[Heat, Scale] | None,
    ) -> str:
        """The frame with its boxes, and the map as a layer that the slider lays over it."""
        crop = session.crop(choice)
        rgb = frame_of(session, crop).rgb
        boxed = figures.annotate(
            figures.view_frame(rgb, most_px), labels_in(session, crop.frame_index)
        )
        said = session.analysis.faces[choice.face]
        alt = (
            f"Face {said.track.track}: {said.verdict.headline}. The frame, each face in a box "
            "with its number and verdict"
        )
        layer = None
        if mapped is not None:
            layer = figures.heat_layer(figures.view_frame(rgb, LAYER_PX), crop, *mapped)
        return whole.picture(boxed, layer, alt)

    def _restored(self, restored: Restoration | None) -> Update:
        if restored is None:
            return {
                self.slider: None,
                self.error: None,
                self.restored: markup.note("This model has no denoiser."),
            }
        return {
            self.slider: (restored.crop, restored.restored),
            self.error: figures.error_picture(restored.error),
            self.restored: markup.sentences([restored.sentence]),
        }


def quick_explanation(service: Service, session: Session, choice: Choice) -> Explanation:
    """One map, and nothing slow: a click on the timeline waits for it."""
    explainer = service.explainer_of(session)
    options = ExplainOptions(
        methods=explainer.default_methods[:1], lime=False, check=False, changes=False
    )
    return explain_face(
        explainer,
        session.analysis,
        choice.face,
        choice.frame,
        options,
        timeline=session.timelines[choice.face],
    )


def map_tested(
    service: Service, session: Session, choice: Choice, progress: Progress | None = None
) -> MapTest:
    """The first map tested on this face, and the words that rest on it, kept with the session."""
    explainer = service.explainer_of(session, choice)
    if choice not in session.map_tests:
        crop = session.crop(choice)
        session.map_tests[choice] = run_map_test(explainer, crop.rgb, progress)
    found = session.map_tests[choice]
    if choice not in session.tested_words:
        timeline = session.timelines[choice.face]
        session.tested_words[choice] = tested_words(
            explainer, session.analysis, choice.face, choice.frame, found, timeline
        )
    return found


def frame_caption(session: Session, choice: Choice) -> str:
    """Which frame of which face is shown."""
    face = session.analysis.faces[choice.face]
    crop = session.crop(choice)
    when = f"frame at {crop.t:.2f} s, " if session.analysis.media.kind == "video" else ""
    score = format_probability(face.p_frames[choice.frame])
    unseen = ""
    if crop.confidence == 0.0:
        unseen = "; not detected in this frame, its place is interpolated"
    text = f"{when}face {face.track.track}, score {score}{unseen}."
    return text[0].upper() + text[1:]


def frame_of(session: Session, crop: FaceCrop) -> Frame:
    """The frame that a crop was cut from."""
    return next(frame for frame in session.analysis.media.frames if frame.index == crop.frame_index)


def labels_in(session: Session, frame_index: int) -> list[tuple[FaceCrop, str]]:
    """Every face in a frame with its number and verdict."""
    return [
        (crop, f"{face.track.track}: {label_in(face, crop.t)}")
        for face in session.analysis.faces
        for crop in face.track.crops
        if crop.frame_index == frame_index
    ]


def label_in(face: FaceAnalysis, t: float) -> str:
    """What a box says of a face at t seconds: of the forged part inside it, else of the whole."""
    if face.verdict.part is None:
        return face.verdict.label.headline
    start, end = face.verdict.part
    return "in the forged-looking part" if start <= t <= end else "outside the forged-looking part"


def evidence_scale(session: Session, face: int) -> Scale:
    """One colour scale for all frames of a person, so that a faint map looks faint."""
    if face not in session.scales:
        evidence = session.analysis.faces[face].evidence
        heats = [evidence_heat(e.map, e.map.shape[0]) for e in evidence]
        session.scales[face] = figures.shared_scale(heats)
    return session.scales[face]


def heat_over_face(rgb: Rgb, crop: FaceCrop, heat: Heat, scale: Scale | None = None) -> Rgb:
    """A heat map over the frame's pixels around the face, with its scale (by default its own)."""
    scale = scale or figures.shared_scale([heat])
    laid = figures.overlay(figures.view_face(rgb, crop), crop, heat, scale)
    return figures.with_colour_bar(laid, scale)
