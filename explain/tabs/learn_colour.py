"""Lesson 5: colour guessed from lightness, and what the detector says about an edited photo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from detector.decide import format_probability
from explain.lab.builtin import NAMES, crops
from explain.lab.charts import Captioned, strip
from explain.server import markup
from explain.server.service import Service
from explain.server.widgets import Update, picture, runner

if TYPE_CHECKING:
    from explain.lab.colour import Coloured

TEXT = (
    "A small autoencoder was trained on faces in colour and guesses colour from brightness. It "
    "gets skin about right and cannot know the colour of a coat: it takes the average. A coloured "
    "photo is **edited**, which is not the same as a deepfake: the face is still that person's "
    "own.\n\n"
    "**Try:** double the strength. Does the score change? The detector was not trained on coloured "
    "photos, but its score can react to them all the same: a high score alone does not tell a "
    "deepfake from an edited photo."
)

NOTICED = 0.1  # change of the score from which on it is said to react


def build(service: Service) -> None:
    """Lay out and wire the lesson."""
    gr.Markdown(TEXT)
    with gr.Row():
        who = gr.Radio(list(NAMES), value=NAMES[1], label="Photo", elem_id="lens-colour-who")
        strength = gr.Slider(
            0, 3, 1, step=0.1, label="Strength of the colours", elem_id="lens-colour-strength"
        )
    run = runner(service, "colour", "Colour the grey photo")
    shown = picture(
        "Original, grey, coloured",
        "lens-colour-shown",
        "The photo, without its colours, and coloured",
    )
    about = gr.HTML(elem_id="lens-colour-about")

    def paint(step: Any, name: str, depth: float) -> Update:
        from explain.lab.colour import compare_colours

        crop = crops()[NAMES.index(name)]
        result = compare_colours(service.detector(), crop, float(depth), step)
        cells = [
            Captioned(rgb, f"{what}\nscore {format_probability(result.p[what])}")
            for what, rgb in result.pictures.items()
        ]
        return {shown: strip(cells), about: markup.sentences(result_sentences(result))}

    run.wire(paint, [who, strength], [shown, about])


def result_sentences(result: Coloured) -> list[str]:
    """How good the guess is, and how the detector's score changes."""
    better = (
        "closer to the truth than grey"
        if result.error < result.error_grey
        else "no closer to the truth than grey"
    )
    moved = result.p["coloured"] - result.p["original"]
    return [
        f"The guessed colours are {result.error:.1f} Lab units off on average, no colours at all "
        f"{result.error_grey:.1f}: the guess is {better}.",
        f"The detector's score went from {format_probability(result.p['original'])} to "
        f"{format_probability(result.p['coloured'])} ({moved:+.2f}). {_reaction(moved)}",
    ]


def _reaction(moved: float) -> str:
    """What the change of the score says about colouring, which is no deepfake."""
    if moved >= NOTICED:
        return "Colouring alone raises it here: this detector also reacts to edited photos."
    return "Colouring alone does not raise it much here."
