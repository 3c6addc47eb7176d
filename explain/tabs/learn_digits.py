"""Lessons on digits, played, paused and stepped: a GAN, and what an autoencoder keeps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import gradio as gr
import numpy as np

from detector.errors import WeightsError
from explain.figures import Rgb, stack
from explain.lab import autoencoder
from explain.lab.autoencoder import CODE_SIZES, LOSSES, TASKS, TrainedAutoencoder, Training
from explain.lab.charts import Line, sheet
from explain.lab.digits import split
from explain.server import markup
from explain.server.service import Service
from explain.server.widgets import Update, picture
from explain.tabs.curves import curves
from explain.tabs.play import player

if TYPE_CHECKING:
    from explain.lab.gan import Game, Match

GAN_TEXT = (
    "Two networks play against each other: a **generator** draws digits from random numbers, a "
    "**discriminator** tells them from real ones. Each learns from the other's mistakes, so "
    "neither loss goes to zero when all is well.\n\n"
    "**Try:** let them play and watch the same 36 random inputs turn into strokes; pause whenever "
    "you like, and go on step by step. Then tick the collapse: only the generator goes on "
    "learning, and the discriminator stays as it is. How different do the samples remain?"
)
AUTOENCODER_TEXT = (
    "An autoencoder squeezes a picture of 784 pixels through a few numbers and rebuilds it. What "
    "doesn't fit through is lost: that is why early deepfakes were blurred, and why a picture "
    "unlike the training ones is rebuilt badly.\n\n"
    "**Try:** code size 2, then 32. Which digits melt into each other first? Then let it learn to "
    "take off noise."
)
AE_STEP = 10  # updates at a click: of one nothing is seen
COLUMNS = 6
SHOWN = 12  # digits in a row


def gan_lesson(service: Service) -> None:
    """Lay out and wire lesson 1."""
    gr.Markdown(GAN_TEXT)
    collapse = gr.Checkbox(False, label="Make it collapse", elem_id="lens-gan-collapse")
    players = player("gan", "One step")
    about = gr.HTML(elem_id="lens-gan-about")
    with gr.Row():
        first, now, later = _three_sheets()
    losses = gr.HTML(elem_id="lens-gan-losses")

    def begin(game: Match | None, broken: bool) -> Match:
        from explain.lab.gan import Match

        if game is None or (game.collapsing and not broken):
            game = Match()
        if broken and not game.collapsing:
            game.collapse()
        return game

    def show(game: Match) -> Update:
        return {
            about: markup.sentences([*variety_sentences(game), longer_sentence()]),
            first: first_attempt(),
            now: sheet(game.samples(), COLUMNS),
            later: _longer_run(),
            losses: loss_curves(game),
        }

    players.wire(begin, show, [collapse], [about, first, now, later, losses])


def longer_sentence() -> str:
    """Why the longer run draws digits and no mixtures of two."""
    from explain.lab.gan import CENTRES

    return (
        f"The longer run drew its random inputs around {CENTRES} points that it learnt, since half "
        "way between a 3 and a 7 there is no digit."
    )


def variety_sentences(game: Game) -> list[str]:
    """How different the samples are, beside real digits."""
    from explain.lab import gan

    said = [
        f"After {game.steps} step{'' if game.steps == 1 else 's'} the samples differ by "
        f"{gan.variety(game.samples()):.2f} on average; real digits by {_real_variety():.2f}."
    ]
    if game.collapsing:
        said.append(
            "The discriminator no longer learns: the generator repeats what it once accepted."
        )
    return said


@lru_cache(1)
def _real_variety() -> float:
    from explain.lab import gan

    return gan.variety(split()[1].pictures[: gan.SHOWN])


@lru_cache(1)
def first_attempt() -> Rgb:
    """What the game's 36 inputs give before anything is learnt."""
    from explain.lab.gan import Game

    return sheet(Game().samples(), COLUMNS)


def _three_sheets() -> tuple[gr.Image, gr.Image, gr.Image]:
    """Samples before training, after the visitor's steps, and after a longer run."""
    grey = "36 samples of a generator that has learnt nothing: grey fog"
    yours = "Many attempts later: your game"
    return (
        picture("First attempt", "lens-gan-first", grey),
        picture(yours, "lens-gan-now", "The same 36 inputs after your steps"),
        picture("Even more attempts later", "lens-gan-later", "36 samples of a longer run: digits"),
    )


@lru_cache(1)
def _longer_run() -> Rgb | None:
    from explain.lab import gan

    try:
        return sheet(gan.shipped_samples(gan.SHOWN, seed=0), COLUMNS)
    except WeightsError:
        return None  # a copy without the lesson's weights still has the game


def loss_curves(game: Game) -> str:
    """Both players' losses."""
    lines = [
        Line("generator", [loss.generator for loss in game.losses]),
        Line("discriminator", [loss.discriminator for loss in game.losses]),
    ]
    return curves(lines, "step", "loss")


@dataclass(frozen=True, eq=False)
class TrainingViews:
    """The components that show a trained autoencoder."""

    about: gr.HTML
    rebuilt: gr.Image
    denoised: gr.Image
    filled: gr.Image
    alike: gr.Image
    odd: gr.Image
    losses: gr.HTML
    scores: gr.HTML

    def fill(self, training: Training) -> Update:
        """What it has learnt so far."""
        learnt = training.learnt()
        numbers = training.code
        some = split()[1].pictures[:SHOWN]
        grainy = autoencoder.noisy(some, np.random.default_rng(0))
        holed = autoencoder.holed(some)
        odd = autoencoder.not_digits()[0]
        steps = [float(autoencoder.LOSS_EVERY * i) for i in range(len(learnt.losses))]
        return {
            self.about: markup.sentences(
                [f"After {training.steps} of {training.total} steps.", *errors(learnt, numbers)]
            ),
            self.rebuilt: two_rows(some, learnt.rebuild(some)),
            self.denoised: two_rows(grainy, learnt.rebuild(grainy)),
            self.filled: two_rows(holed, learnt.inpaint(holed)),
            self.alike: alike_picture(learnt),
            self.odd: two_rows(odd, learnt.rebuild(odd)),
            self.losses: curves([Line(training.loss, learnt.losses, steps)], "step", "loss"),
            self.scores: anomaly_table(learnt),
        }


def autoencoder_lesson(service: Service) -> None:
    """Lay out and wire lesson 2."""
    gr.Markdown(AUTOENCODER_TEXT)
    with gr.Row():
        code = gr.Radio(
            list(CODE_SIZES), value=8, label="Numbers in the code", elem_id="lens-ae-code"
        )
        loss = gr.Radio(list(LOSSES), value="MSE", label="Loss", elem_id="lens-ae-loss")
        task = gr.Radio(
            [("rebuild digits", TASKS[0]), ("rebuild clean digits from noisy ones", TASKS[1])],
            value=TASKS[0],
            label="What it learns",
            elem_id="lens-ae-task",
        )
    training = player("ae", f"{AE_STEP} steps")
    views = _training_views()

    def begin(kept: Training | None, numbers: int, measure: str, goal: str) -> Training:
        asked = (int(numbers), measure, goal)
        if kept is None or (kept.code, kept.loss, kept.task) != asked:
            return Training(*asked)
        return kept

    training.wire(begin, views.fill, [code, loss, task], list(vars(views).values()), AE_STEP)


def _training_views() -> TrainingViews:
    about = gr.HTML(elem_id="lens-ae-about")
    with gr.Row():
        rebuilt = picture(
            "Unseen digits, and rebuilt", "lens-ae-rebuilt", "Upper row digits, lower row rebuilt"
        )
        denoised = picture(
            "With noise, and rebuilt",
            "lens-ae-denoised",
            "Upper row noisy digits, lower row rebuilt",
        )
    with gr.Row():
        filled = picture(
            "With a hole, and filled",
            "lens-ae-filled",
            "Upper row digits with a hole, lower row filled",
        )
        alike = picture(
            "A digit, and the six with the nearest codes",
            "lens-ae-alike",
            "A digit and six like it, twice",
        )
    with gr.Row():
        odd = picture(
            "No digits, and rebuilt",
            "lens-ae-odd",
            "A face, a cross and a chess board, and rebuilt",
        )
        losses = gr.HTML(elem_id="lens-ae-losses")
    scores = gr.HTML(elem_id="lens-ae-scores")
    return TrainingViews(about, rebuilt, denoised, filled, alike, odd, losses, scores)


def errors(learnt: TrainedAutoencoder, numbers: int) -> list[str]:
    """How well unseen digits are rebuilt, against the best linear code of the same size."""
    mse = learnt.error(split()[1].pictures).mean()
    linear = autoencoder.pca_error(numbers)
    return [
        f"Mean squared error on digits it was not trained on: {mse:.4f}. The best linear code "
        f"(PCA) of {numbers} numbers has {linear:.4f}.",
        "With few numbers a learnt code loses less than a linear one. With many the linear one "
        "wins: its decoder needs no training, and 1,437 digits are few to learn from.",
    ]


def two_rows(above: np.ndarray, below: np.ndarray) -> Rgb:
    """Pictures, and under each what came of it."""
    return sheet(np.concatenate([above, below]), len(above))


def alike_picture(learnt: TrainedAutoencoder) -> Rgb:
    """Two unseen digits with the seen ones whose codes are nearest."""
    seen, unseen = split()
    rows = []
    for i in (0, 7):
        nearest = learnt.alike(unseen.pictures[i], seen.pictures)
        rows.append(np.concatenate([unseen.pictures[i : i + 1], seen.pictures[nearest]]))
    return stack([sheet(row, len(row)) for row in rows])


def anomaly_table(learnt: TrainedAutoencoder) -> str:
    """The anomaly score of digits and of other things."""
    usual = learnt.error(split()[1].pictures)
    limit = float(np.percentile(usual, 95))
    pictures, names = autoencoder.not_digits()
    rows = [("unseen digits (median)", f"{np.median(usual):.4f}", "")]
    for name, score in zip(names, learnt.error(pictures), strict=True):
        rows.append(
            (
                name,
                f"{score:.4f}",
                "odd: above 95% of digits" if score > limit else "passes for a digit",
            )
        )
    return markup.grid(("Picture", "Anomaly score (error)", "Verdict"), rows)
