"""The chosen frame: the evidence in words and on the face, what the noise stream sees, what a
denoiser takes off.
"""

from __future__ import annotations

from typing import Any

import cv2
import gradio as gr
import numpy as np

from detector.types import Evidence, FaceCrop, Frame
from explain import figures
from explain.cam import EVIDENCE_MAP, Heat, method_names
from explain.figures import Rgb, Scale
from explain.pipeline import Settings, default_methods, explain_face
from explain.restore import Restoration
from explain.server import markup
from explain.server.service import Service, Session
from explain.server.widgets import picture
from explain.words import said

QUICK_PX = 640  # longer side of the frame while the clip plays: small pictures keep up
Update = dict[Any, Any]


class Panel:
    """Lays the pictures out and fills them for one frame of one face."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.caption = gr.HTML(elem_id="lens-caption")
        with gr.Row():
            self.frame = picture(
                "The frame",
                "lens-frame",
                "The frame, each face in a box with its number and verdict",
            )
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
                    "Noise × 8", "lens-residual", "Fine noise of the face, amplified"
                )
            self.restored = gr.HTML(elem_id="lens-restored")
        self.outputs = [
            self.caption, self.frame, self.evidence, self.words, self.slider, self.error, self.residual, self.restored,
        ]  # fmt: skip

    def cleared(self) -> Update:
        """Nothing shown: the pictures of the last file must not stand beside the next one's
        verdict.
        """
        return {c: "" if isinstance(c, gr.HTML) else None for c in self.outputs}

    def quick(self, session: Session, face: int, frame: int) -> Update:
        """Frame and evidence map only, for a playing clip."""
        return self._seen(session, face, frame, QUICK_PX)

    def full(self, session: Session, face: int, frame: int) -> Update:
        """Everything about one frame that is ready within a second or so."""
        detector = self.service.detector(session.model)
        # One map, and nothing slow: what a click on the timeline can wait for.
        methods = default_methods(detector, session.analysis.media.kind)
        light = Settings(methods=methods[:1], lime=False, check=False)
        explanation = explain_face(detector, session.analysis, face, frame, light)
        return {
            **self._seen(session, face, frame, figures.FRAME_PX),
            self.words: markup.sentences(explanation.words),
            self.residual: figures.residual_picture(explanation.residual),
            **self._restored(explanation.restoration),
        }

    def _seen(self, session: Session, face: int, frame: int, most_px: int) -> Update:
        person = session.analysis.faces[face]
        crop = person.track.crops[frame]
        rgb = frame_of(session, crop).rgb
        shown: Any = gr.Image(visible=False)  # some models say nothing about where
        detector = self.service.detector(session.model)
        profile = detector.profiles[session.analysis.media.kind]
        if method_names(detector.network, profile)[0] == EVIDENCE_MAP:
            heat, scale = (
                evidence_heat(person.evidence[frame], crop.rgb.shape[0]),
                evidence_scale(session, face),
            )
            shown = gr.Image(over_face(rgb, crop, heat, scale), visible=True)
        return {
            self.caption: markup.sentences([caption(session, face, frame)]),
            self.frame: figures.annotate(
                figures.view_frame(rgb, most_px), labels_in(session, crop.frame_index)
            ),
            self.evidence: shown,
        }

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


def caption(session: Session, face: int, frame: int) -> str:
    """Which frame of whom is shown."""
    person = session.analysis.faces[face]
    crop = person.track.crops[frame]
    when = f"frame at {crop.t:.2f} s, " if session.analysis.media.kind == "video" else ""
    unseen = (
        "; not detected in this frame, its place is interpolated" if crop.confidence == 0.0 else ""
    )
    text = f"{when}face {person.track.track}, score {said(person.p_frames[frame])}{unseen}."
    return text[0].upper() + text[1:]


def frame_of(session: Session, crop: FaceCrop) -> Frame:
    return next(frame for frame in session.analysis.media.frames if frame.index == crop.frame_index)


def labels_in(session: Session, frame_index: int) -> list[tuple[FaceCrop, str]]:
    """Every face in a frame with its number and verdict."""
    return [
        (crop, f"{face.track.track}: {face.verdict.label.headline}")
        for face in session.analysis.faces
        for crop in face.track.crops
        if crop.frame_index == frame_index
    ]


def evidence_heat(evidence: Evidence, side: int) -> Heat:
    """The evidence map that the analysis kept, at crop resolution, without another look at the
    face.
    """
    values = cv2.resize(evidence.map, (side, side), interpolation=cv2.INTER_LINEAR)
    return Heat(
        np.asarray(values, np.float32), EVIDENCE_MAP, "evidence logit of each place", signed=True
    )


def evidence_scale(session: Session, face: int) -> Scale:
    """One colour scale for all frames of a person, so that a faint map looks faint."""
    key = ("scale", face)
    if key not in session.cache:
        heats = [evidence_heat(e, e.map.shape[0]) for e in session.analysis.faces[face].evidence]
        session.cache[key] = figures.shared_scale(heats)
    return session.cache[key]


def over_face(rgb: Rgb, crop: FaceCrop, heat: Heat, scale: Scale) -> Rgb:
    """A heat map over the frame's own pixels around the face, its colour bar underneath."""
    return figures.stack(
        [
            figures.overlay(figures.view_face(rgb, crop), crop, heat, scale),
            figures.colour_bar(scale),
        ]
    )
