"""Lesson 6: ten pairs; the learner commits to a guess before the truth is shown."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gradio as gr

from detector.decide import format_probability
from explain import figures
from explain.figures import Rgb
from explain.lab import guess
from explain.lab.charts import Captioned, strip
from explain.lab.guess import SIDES, Pair
from explain.server import markup
from explain.server.address import address_js
from explain.server.service import Service
from explain.server.widgets import IDLE_SECONDS, QUIET, Update, picture, runner

TEXT = (
    "Ten pairs, made now from the built-in faces. In each, one picture is forged; both were "
    "degraded alike. Say which, then see the truth, the model's answer and its map. **Try:** note "
    "what you looked at before you chose. Neither you nor the model will find all of them."
)


@dataclass(frozen=True, eq=False)
class Deal:
    """The pairs of one game, and the learner's guesses so far."""

    pairs: tuple[Pair, ...]
    guesses: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Table:
    """The components of the game."""

    asked: gr.HTML
    pictures: list[gr.Image]
    buttons: list[gr.Button]
    following: gr.Button
    answer_text: gr.HTML
    truth: gr.Image
    summary: gr.HTML

    @property
    def of_one_pair(self) -> list[Any]:
        """Everything that changes from pair to pair."""
        choice = [self.asked, *self.pictures, *self.buttons, self.following]
        return [*choice, self.answer_text, self.truth]


def build(service: Service) -> gr.Number:
    """Lay out and wire the lesson. Returns the number of the deal, which links carry."""
    gr.Markdown(TEXT)
    seed = gr.Number(
        1, precision=0, minimum=0, label="Number of the deal", elem_id="lens-guess-seed"
    )
    run = runner(service, "guess", "Deal ten pairs")
    table = _lay_out()
    kept = gr.State(None, time_to_live=IDLE_SECONDS)

    def deal(step: Any, number: float) -> Update:
        dealt = Deal(guess.make_round(service.explainer(), int(number), step))
        return {kept: dealt, table.summary: "", **_ask(table, dealt)}

    run.wire(deal, [seed], [kept, table.summary, *table.of_one_pair])
    for side, button in enumerate(table.buttons):
        button.click(
            partial(_show_truth, table, kept, side),
            kept,
            [kept, table.answer_text, table.truth, table.summary, *table.buttons, table.following],
            **QUIET,
        )
    table.following.click(partial(_ask, table), kept, table.of_one_pair, **QUIET)
    run.start.click(None, seed, js=address_js("deal", tab="learn", lesson="6"), **QUIET)
    return seed


def _lay_out() -> Table:
    asked = gr.HTML(elem_id="lens-guess-asked")
    with gr.Row():
        pictures = [
            picture(side.capitalize(), f"lens-guess-{side}", f"The {side} picture of the pair")
            for side in SIDES
        ]
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
    answer_text = gr.HTML(elem_id="lens-guess-told")
    truth = picture(
        "Where the forgery is",
        "lens-guess-truth",
        "The forged face, its true mask, and the model's map",
    )
    return Table(
        asked, pictures, buttons, following, answer_text, truth, gr.HTML(elem_id="lens-guess-table")
    )


def _ask(table: Table, deal: Deal) -> Update:
    """The next pair, without its truth."""
    pair = deal.pairs[len(deal.guesses)]
    number = f"Pair {len(deal.guesses) + 1} of {len(deal.pairs)}"
    return {
        table.asked: markup.sentences([f"{number}: which one is forged?"]),
        **dict(zip(table.pictures, pair.pictures, strict=True)),
        **{button: gr.Button(interactive=True) for button in table.buttons},
        table.following: gr.Button(interactive=False),
        table.answer_text: "",
        table.truth: None,
    }


def _show_truth(table: Table, kept: gr.State, side: int, deal: Deal) -> Update:
    """The truth about the pair of which the learner called `side` forged."""
    pair = deal.pairs[len(deal.guesses)]
    deal = replace(deal, guesses=(*deal.guesses, side))
    return {
        kept: deal,
        table.answer_text: markup.sentences(answer(pair, side)),
        table.truth: truth_picture(pair),
        table.summary: summary(deal),
        **{button: gr.Button(interactive=False) for button in table.buttons},
        table.following: gr.Button(interactive=len(deal.guesses) < len(deal.pairs)),
    }


def answer(pair: Pair, side: int) -> list[str]:
    """The truth, the learner's guess and the model's answer."""
    right = "Right" if side == pair.forged else "Wrong"
    model = "right" if pair.picked == pair.forged else "wrong"
    s = pair.settings
    left, at_right = map(format_probability, pair.p)
    return [
        f"{right}: the {SIDES[pair.forged]} one is forged ({s.what}, ratio "
        f"{s.ratio:.2f}; both pictures then {pair.degradation}).",
        f"The model would have picked the {SIDES[pair.picked]} one, which is {model}. Its scores: "
        f"left {left} ({pair.labels[0].headline}), right {at_right} "
        f"({pair.labels[1].headline}).",
    ]


def truth_picture(pair: Pair) -> Rgb:
    """The forged half, its mask, and the model's map."""
    forged = pair.pictures[pair.forged]
    heat = figures.heat_picture(forged, pair.heat, figures.shared_scale([pair.heat]))
    return strip(
        [
            Captioned(forged, "forged"),
            Captioned(figures.mask_picture(pair.mask), "true mask"),
            Captioned(heat, "model's map"),
        ]
    )


def summary(deal: Deal) -> str:
    """A row for each answered pair, and the score."""
    head = ("Pair", "Forged", "You", "Model's pick", "Model about the forgery alone")
    return markup.grid(head, guess.rows(deal.pairs, deal.guesses)) + markup.sentences(
        [guess.score(deal.pairs, deal.guesses)]
    )
