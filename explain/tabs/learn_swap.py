"""Lesson 4: how a face swap is made on two built-in faces, why it flickers, and re-enactment beside
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from detector.decide import format_probability
from detector.media import write_video
from explain.figures import Rgb
from explain.lab.builtin import NAMES, pictures
from explain.lab.charts import Captioned, Line, chart, strip
from explain.server import markup
from explain.server.service import Service
from explain.server.widgets import IDLE_SECONDS, Update, picture, runner

if TYPE_CHECKING:
    from explain.lab.swap import Flicker, TrainedSwapper

SWAP_TEXT = (
    "**One encoder, two decoders.** The encoder learns pose and expression from both people, each "
    "decoder learns to draw one of them. Read one person's code with the other's decoder, and the "
    "face is swapped. Small, watermarked, and only with the two built-in public-domain faces."
)
FLICKER_TEXT = (
    "**Frame by frame.** A clip is converted one frame at a time: find the face, align it, draw "
    "it, blend it back. Nothing ties a frame to the one before, so the face trembles while the "
    "rest of the picture doesn't. **Try:** guess the steadiness curve of the swapped clip before "
    "you press the button."
)
MOVE_TEXT = (
    "**Re-enactment** needs no second face: key points of a driving clip move this one, each "
    "carrying its surroundings along. **Try:** open the mouth all the way. There are no teeth and "
    "no tongue to show: a learnt generator would have to invent them, and what lies behind the "
    "head as well."
)
CLIP_FPS = 12.0  # of the re-enacted clip


def build(service: Service) -> None:
    """Lay out and wire the lesson."""
    kept = gr.State(None, time_to_live=IDLE_SECONDS)
    _swap(service, kept)
    _flicker(service, kept)
    _reenact(service)


def _swap(service: Service, kept: gr.State) -> None:
    gr.Markdown(SWAP_TEXT)
    run = runner(service, "swap", "Train the two decoders (about 20 seconds)")
    with gr.Row():
        drawn = picture(
            "What the decoders draw",
            "lens-swap-drawn",
            "Both faces, drawn by their own and the other decoder",
        )
        losses = picture(
            "Loss while learning",
            "lens-swap-losses",
            "The error of both decoders falls while they learn",
            chart=True,
        )

    def train(step: Any) -> Update:
        from explain.lab import swap

        learnt = swap.train(progress=step)
        steps = [float(swap.LOSS_EVERY * i) for i in range(len(learnt.losses))]
        line = Line("both decoders", learnt.losses, steps, marks=False)
        return {
            kept: learnt,
            drawn: drawn_picture(learnt),
            losses: chart([line], "step", "mean error (0 to 1)"),
        }

    run.wire(train, [], [kept, drawn, losses])


def _flicker(service: Service, kept: gr.State) -> None:
    gr.Markdown(FLICKER_TEXT)
    run = runner(service, "flicker", "Convert a clip frame by frame")
    with gr.Row():
        clip = gr.Video(
            label="Authentic and swapped", interactive=False, loop=True, elem_id="lens-flicker-clip"
        )
        steady = picture(
            "Steadiness",
            "lens-flicker-steady",
            "Likeness of neighbouring frames in both clips",
            chart=True,
        )
    about = gr.HTML(elem_id="lens-flicker-about")

    def convert(step: Any, learnt: TrainedSwapper | None) -> Update:
        if learnt is None:
            return {run.status: markup.note("Train the two decoders first.")}
        from explain.lab import swap

        found = swap.flicker(service.detector(), learnt, progress=step)
        both = [np.hstack(pair) for pair in zip(found.authentic, found.swapped, strict=True)]
        lines = [Line("authentic", found.steady_authentic), Line("swapped", found.steady_swapped)]
        return {
            clip: str(video(service, both, swap.FPS)),
            steady: chart(lines, "frame", "likeness to the next frame"),
            about: markup.sentences(flicker_sentences(found)),
        }

    run.wire(convert, [kept], [clip, steady, about])


def _reenact(service: Service) -> None:
    gr.Markdown(MOVE_TEXT)
    with gr.Row():
        who = gr.Radio(list(NAMES), value=NAMES[1], label="Face", elem_id="lens-move-who")
        opened = gr.Slider(
            0,
            0.6,
            0.3,
            step=0.05,
            label="Mouth opens by (eye distances)",
            elem_id="lens-move-opened",
        )
        turned = gr.Slider(
            -15, 15, 8, step=1, label="Head tilts by (degrees)", elem_id="lens-move-turned"
        )
    run = runner(service, "move", "Move the face")
    with gr.Row():
        clip = gr.Video(label="Moved", interactive=False, loop=True, elem_id="lens-move-clip")
        shown = picture(
            "Three frames", "lens-move-shown", "The face before, on the way, and moved furthest"
        )
    about = gr.HTML(elem_id="lens-move-about")

    def move(step: Any, name: str, mouth: float, turn: float) -> Update:
        from explain.lab import reenact

        frames, stretch = reenact.play(NAMES.index(name), float(mouth), float(turn), progress=step)
        half = len(frames) // 2
        cells = [
            Captioned(squared(frames[0]), "at rest"),
            Captioned(squared(frames[half // 2]), "on the way"),
            Captioned(squared(frames[half]), "furthest"),
        ]
        sentence = (
            f"Around the mouth, pixels are pulled to {stretch:.1f} times their size: stretched "
            "skin, not new detail."
        )
        return {
            clip: str(video(service, frames, CLIP_FPS)),
            shown: strip(cells),
            about: markup.sentences([sentence]),
        }

    run.wire(move, [who, opened, turned], [clip, shown, about])


def drawn_picture(learnt: TrainedSwapper) -> Rgb:
    """Both faces: aligned, by their own decoder, by the other's."""
    from explain.lab import swap

    cells = []
    for person, (rgb, points) in enumerate(pictures()):
        face = swap.aligned(rgb, points)
        other = swap.watermarked(learnt.draw(face, 1 - person), "SWAPPED")
        cells += [
            Captioned(face, "aligned"),
            Captioned(learnt.draw(face, person), "own decoder"),
            Captioned(other, "other decoder"),
        ]
    return strip(cells, columns=3)


def flicker_sentences(found: Flicker) -> list[str]:
    """The numbers of both clips, and the detector's answers."""
    steady = [float(np.mean(values)) for values in (found.steady_authentic, found.steady_swapped)]
    worst = [min(values) for values in (found.steady_authentic, found.steady_swapped)]
    answers = [
        f"{a.verdict.label.headline}"
        + ("" if a.verdict.p_fake is None else f" ({format_probability(a.verdict.p_fake)})")
        for a in found.analyses
    ]
    return [
        f"Likeness of neighbouring frames: authentic {steady[0]:.2f} on average and {worst[0]:.2f} "
        f"at worst, swapped {steady[1]:.2f} and {worst[1]:.2f}.",
        f"The detector's answer to the whole clip: authentic one {answers[0]}, swapped one "
        f"{answers[1]}.",
    ]


def squared(rgb: Rgb) -> Rgb:
    """A picture made square with white at the right or below."""
    side = max(rgb.shape[:2])
    return np.pad(
        rgb, ((0, side - rgb.shape[0]), (0, side - rgb.shape[1]), (0, 0)), constant_values=255
    )


def video(service: Service, frames: Sequence[Rgb], fps: float) -> Path:
    """A clip as a file; the same frames always give the same name."""
    name = sha256(b"".join(frame.tobytes() for frame in frames)).hexdigest()[:16]
    path = service.folder / f"lesson-{name}.mp4"
    if not path.exists():
        write_video(path, frames, fps)
    return path
