"""Lesson 6: ten pairs; the learner commits to a guess before anything is told."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np

from explain import figures
from explain.figures import Rgb
from explain.lab import guess
from explain.lab.charts import strip
from explain.lab.guess import SIDES, Pair
from explain.report_html import HEADLINES
from explain.server import markup
from explain.server.service import Service
from explain.server.widgets import IDLE_SECONDS, QUIET, Update, picture, runner

TEXT = (
    "Ten pairs, made now from the built-in faces. In each, one picture is forged; both were treated alike otherwise. "
    "Say which, then see the truth, the model's answer and its map. **Try:** note what you looked at before you chose. "
    "Neither you nor the model will find all of them."
)
Deal = tuple[tuple[Pair, ...], tuple[int, ...]]  # the pairs, and the guesses so far


def build(service: Service) -> None:
    """Lay out and wire the lesson."""
    gr.Markdown(TEXT)
    seed = gr.Number(
        1, precision=0, minimum=0, label="Number of the deal", elem_id="lens-guess-seed"
    )
    run = runner(service, "guess", "Deal ten pairs")
    asked = gr.HTML(elem_id="lens-guess-asked")
    with gr.Row():
        pictures = [picture(f"{side.capitalize()}", f"lens-guess-{side}", f"The {side} picture of the pair")
                    for side in SIDES]  # fmt: skip
    with gr.Row():
        buttons = [
            gr.Button(
                f"The {side} one is forged", interactive=False, elem_id=f"lens-guess-pick-{side}"
            )
            for side in SIDES
        ]
        following = gr.Button(
            "Next pair", variant="primary", interactive=False, elem_id="lens-guess-next"
        )
    told = gr.HTML(elem_id="lens-guess-told")
    truth = picture(
        "Where the forgery is",
        "lens-guess-truth",
        "The forged face, its true mask, and the model's map",
    )
    table = gr.HTML(elem_id="lens-guess-table")
    kept = gr.State(None, time_to_live=IDLE_SECONDS)

    def asking(deal: Deal) -> Update:
        pairs, guesses = deal
        pair = pairs[len(guesses)]
        return {
            asked: markup.sentences(
                [f"Pair {len(guesses) + 1} of {len(pairs)}: which one is forged?"]
            ),
            **{shown: rgb for shown, rgb in zip(pictures, pair.pictures, strict=True)},
            **{button: gr.Button(interactive=True) for button in buttons},
            following: gr.Button(interactive=False),
            told: "",
            truth: None,
        }

    def deal(step: Any, number: float) -> Update:
        dealt: Deal = (guess.make_round(service.detector(), int(number), step), ())
        return {kept: dealt, table: "", **asking(dealt)}

    def pick(side: int) -> Any:
        def picked(dealt: Deal) -> Update:
            pairs, guesses = dealt[0], (*dealt[1], side)
            pair = pairs[len(guesses) - 1]
            return {
                kept: (pairs, guesses),
                told: markup.sentences(answer(pair, side)),
                truth: truth_picture(pair),
                table: summary(pairs, guesses),
                **{button: gr.Button(interactive=False) for button in buttons},
                following: gr.Button(interactive=len(guesses) < len(pairs)),
            }

        return picked

    everything = [asked, *pictures, *buttons, following, told, truth]
    run.wire(deal, [seed], [kept, table, *everything])
    for side, button in enumerate(buttons):
        button.click(pick(side), kept, [kept, told, truth, table, *buttons, following], **QUIET)
    following.click(asking, kept, everything, **QUIET)


def answer(pair: Pair, side: int) -> list[str]:
    """The truth, the learner's guess and the model's answer."""
    right = "Right" if side == pair.forged else "Wrong"
    model = "right" if pair.picked == pair.forged else "wrong"
    s = pair.settings
    return [
        f"{right}: the {SIDES[pair.forged]} one is forged ({s.family} of the {s.region}, ratio {s.ratio:.2f}; both "
        f"pictures then {pair.nuisance}).",
        f"The model would have picked the {SIDES[pair.picked]} one, which is {model}. Its scores: left {pair.p[0]:.2f} "
        f"({HEADLINES[pair.labels[0]].lower()}), right {pair.p[1]:.2f} ({HEADLINES[pair.labels[1]].lower()}).",
    ]


def truth_picture(pair: Pair) -> Rgb:
    """The forged half, its mask, and the model's map."""
    mask = np.repeat(np.rint(255 * pair.mask).astype(np.uint8)[..., None], 3, axis=2)
    heat = figures.heat_picture(
        pair.pictures[pair.forged], pair.heat, figures.shared_scale([pair.heat])
    )
    return strip(
        [(pair.pictures[pair.forged], "forged"), (mask, "true mask"), (heat, "model's map")]
    )


def summary(pairs: tuple[Pair, ...], guesses: tuple[int, ...]) -> str:
    """The table so far, and the score."""
    head = ("Pair", "Forged", "You", "Model's pick", "Model about the forgery alone")
    return markup.grid(head, guess.rows(pairs, guesses)) + markup.sentences(
        [guess.score(pairs, guesses)]
    )
