"""Guess first: ten pairs of faces, one of each forged. The learner commits, then sees the truth and
the model's answer.

Every pair is made on the spot from the built-in faces; both halves are degraded alike, so that only
the forgery tells them apart. The model plays by the same rule: it picks the half with the higher
score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detector.decide import format_probability
from detector.degrade import apply, describe, draw_preset
from detector.types import Label, Progress
from explain.cam import Heat
from explain.figures import Rgb
from explain.lab import forgery
from explain.lab.builtin import subjects
from explain.lab.forgery import ForgerySettings, Subject

if TYPE_CHECKING:
    from explain.explainer import Explainer

PAIRS = 10
SIDES = ("left", "right")
DEGRADATIONS = ("none", "light", "medium", "heavy")
LEAST_CHANGE = 3.0  # grey levels inside the mask: there must be something to see
TRIES = 20


@dataclass(frozen=True, eq=False)
class Pair:
    """Two crops of one face, left and right, one of them forged.

    Crops are (CROP_PX, CROP_PX, 3).
    """

    pictures: tuple[Rgb, Rgb]
    forged: int  # which of them: 0 left, 1 right
    settings: ForgerySettings
    degradation: str  # of both, in words
    mask: NDArray[np.float32]  # (CROP_PX, CROP_PX), of the forged one
    p: tuple[float, float]  # the model's score of each
    labels: tuple[Label, Label]  # the model's answer to each
    heat: Heat  # the model's map of the forged one

    @property
    def picked(self) -> int:
        """The model's pick."""
        return int(self.p[1] > self.p[0])


def make_pair(explainer: Explainer, rng: np.random.Generator) -> Pair:
    """One pair, the forged half on a random side."""
    subject = subjects()[int(rng.integers(2))]
    degradation = str(rng.choice(DEGRADATIONS))
    if rng.random() < 0.5:
        subject = mirrored(subject)
    for _ in range(TRIES):
        settings = forgery.draw_settings(rng)
        made = forgery.forge(subject, settings)
        if forgery.mean_change(made) >= LEAST_CHANGE:
            break
    steps = draw_preset(degradation, rng)
    side = int(rng.integers(2))
    halves = [apply(subject.crop(rgb), steps) for rgb in (made.authentic, made.forged)]
    first, second = (halves[1], halves[0]) if side == 0 else (halves[0], halves[1])
    logits = explainer.verdict_score(np.stack([first, second]))
    left, right = (explainer.probability(float(logit)) for logit in logits)
    return Pair(
        pictures=(first, second),
        forged=side,
        settings=settings,
        degradation=describe(steps),
        mask=forgery.crop_mask(subject, made.mask),
        p=(left, right),
        labels=(forgery.label_of(explainer, left), forgery.label_of(explainer, right)),
        heat=explainer.heat(halves[1], explainer.methods[0]),
    )


def make_round(
    explainer: Explainer, seed: int, progress: Progress | None = None
) -> tuple[Pair, ...]:
    """PAIRS pairs; the same seed always gives the same ones."""
    report = progress or (lambda share, stage: None)
    rng = np.random.default_rng(seed)
    pairs = []
    for i in range(PAIRS):
        report(i / PAIRS, f"Making pair {i + 1} of {PAIRS}")
        pairs.append(make_pair(explainer, rng))
    report(1.0, "Done")
    return tuple(pairs)


def mirrored(subject: Subject) -> Subject:
    """The same face the other way round; left and right landmarks change places."""
    width = subject.rgb.shape[1]
    points = subject.landmarks_px[[1, 0, 2, 4, 3]].copy()
    points[:, 0] = width - 1 - points[:, 0]
    x0, y0, x1, y1 = subject.box_xyxy_px
    return replace(
        subject,
        rgb=np.ascontiguousarray(subject.rgb[:, ::-1]),
        landmarks_px=points,
        box_xyxy_px=(width - x1, y0, width - x0, y1),
    )


def rows(pairs: Sequence[Pair], guesses: Sequence[int]) -> list[tuple[str, ...]]:
    """One row for each answered pair.

    Its number, what was forged, the learner's guess, the model's pick, and the model's answer to
    the forgery alone.
    """
    table = []
    for i, (pair, guess) in enumerate(zip(pairs, guesses, strict=False)):
        marks = [
            f"{SIDES[side]} {'✓' if side == pair.forged else '✗'}" for side in (guess, pair.picked)
        ]
        told = f"{pair.labels[pair.forged].headline} ({format_probability(pair.p[pair.forged])})"
        table.append((f"{i + 1}", pair.settings.what, *marks, told))
    return table


def score(pairs: Sequence[Pair], guesses: Sequence[int]) -> str:
    """Learner against model, with what the model missed."""
    answered = list(zip(pairs, guesses, strict=False))
    you = sum(guess == pair.forged for pair, guess in answered)
    model = sum(pair.picked == pair.forged for pair, _ in answered)
    missed = sum(pair.labels[pair.forged] is not Label.FORGED for pair, _ in answered)
    alarms = sum(pair.labels[1 - pair.forged] is Label.FORGED for pair, _ in answered)
    return (
        f"You found {you} of {len(answered)}, the model {model}. Asked about one picture at a "
        f"time, as in real life, it did not call {missed} of the forgeries forged, and it called "
        f"{alarms} of the authentic pictures forged."
    )
