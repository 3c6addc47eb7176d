"""The Learn tab: six short lessons, one below the other, each with something to try."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from explain.server.service import Service
from explain.tabs import learn_colour, learn_digits, learn_guess, learn_prints, learn_swap

LEAD = (
    "Six short lessons. Each one runs on this server in some seconds and can be stopped. Open one, "
    "**guess what will happen**, then press the button."
)


@dataclass(frozen=True)
class Lesson:
    """One lesson of the tab."""

    title: str
    build: Callable[[Service], None]  # lays it out and wires it


LESSONS = (
    Lesson("1. How a GAN learns", learn_digits.gan_lesson),
    Lesson("2. What an autoencoder keeps", learn_digits.autoencoder_lesson),
    Lesson("3. Fingerprints of generators", learn_prints.build),
    Lesson("4. How a face swap is made, and why it flickers", learn_swap.build),
    Lesson("5. Colouring the past", learn_colour.build),
    Lesson("6. Guess first: you against the model", learn_guess.build),
)


def build(service: Service) -> list[gr.Accordion]:
    """Lay out the tab; every lesson wires itself. Returns the lessons as they fold."""
    gr.Markdown(LEAD)
    shown = []
    for i, lesson in enumerate(LESSONS):
        with gr.Accordion(
            lesson.title, open=False, elem_id=f"lens-lesson-{i + 1}", elem_classes="lens-lab"
        ) as fold:
            lesson.build(service)
        shown.append(fold)
    return shown
