"""The Learn tab: six short lessons, one below the other, each with something to try.

Before its own part every lesson says its aim, shows a drawing, asks for a guess, and offers a
worksheet.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import gradio as gr

from explain.lab import lessons
from explain.lab.lessons import Plan, Question
from explain.lab.worksheet import file_name, scheme, worksheet
from explain.server.service import Service
from explain.server.widgets import QUIET
from explain.tabs import learn_colour, learn_digits, learn_guess, learn_prints, learn_swap

LEAD = (
    "Six short lessons. Each one runs on this server within half a minute and can be stopped. "
    "Open one, **guess what will happen**, then press the button."
)


@dataclass(frozen=True)
class Lesson:
    """One lesson of the tab."""

    plan: Plan
    build: Callable[[Service], object]  # lays its own part out and wires it


LESSONS = (
    Lesson(lessons.GAN, learn_digits.gan_lesson),
    Lesson(lessons.AUTOENCODER, learn_digits.autoencoder_lesson),
    Lesson(lessons.PRINTS, learn_prints.build),
    Lesson(lessons.SWAP, learn_swap.build),
    Lesson(lessons.COLOUR, learn_colour.build),
    Lesson(lessons.GUESS, learn_guess.build),
)


@dataclass(frozen=True, eq=False)
class Shown:
    """What links open: the lessons as they fold, and the number of the deal of cards."""

    folds: Sequence[gr.Accordion]
    deal: gr.Number


def build(service: Service) -> Shown:
    """Lay out the tab; every lesson wires itself."""
    gr.Markdown(LEAD)
    folds = []
    deal = None
    for i, lesson in enumerate(LESSONS, 1):
        with gr.Accordion(
            f"{i}. {lesson.plan.title}",
            open=False,
            elem_id=f"lens-lesson-{i}",
            elem_classes="lens-lab",
        ) as fold:
            gr.HTML(opening(lesson.plan, i), elem_id=f"lens-plan-{i}")
            _guess(lesson.plan.question, i)
            own = lesson.build(service)
        folds.append(fold)
        deal = own if isinstance(own, gr.Number) else deal
    assert deal is not None  # the last lesson's
    return Shown(folds, deal)


def opening(plan: Plan, number: int) -> str:
    """Aim, minutes and drawing of a lesson, and its worksheet to download."""
    sheet = b64encode(worksheet(plan, number).encode()).decode()
    return (
        f'<div class="lens-plan"><div><p><b>Aim.</b> {escape(plan.aim)}</p>'
        f"<p><b>Time.</b> About {plan.minutes} minutes.</p>"
        f'<p><a class="lens-sheet" download="{file_name(plan, number)}" '
        f'href="data:text/html;base64,{sheet}">Worksheet with key, to print</a></p></div>'
        f"{scheme(plan.scheme, f'lens-tip-{number}')}</div>"
    )


def _guess(question: Question, number: int) -> None:
    """The question; a guess brings the answer, folded up until the learner wants it."""
    guess = gr.Radio(
        list(question.options),
        label=f"Guess first: {question.text}",
        elem_id=f"lens-plan-guess-{number}",
    )
    told = gr.HTML(elem_id=f"lens-plan-told-{number}")
    guess.input(lambda chosen: answer(question, chosen), guess, told, queue=False, **QUIET)


def answer(question: Question, chosen: str) -> str:
    """Whether a guess was right and why, to be opened after the lesson was run."""
    right = question.options[question.right]
    said = "Your guess was right." if chosen == right else f"Not quite: {right}"
    return (
        '<details class="lens-note"><summary>Noted. Run the lesson, then open the answer.</summary>'
        f"<p><b>{escape(said)}</b> {escape(question.why)}</p></details>"
    )
