"""Paintings, drawings, prints and statues: made by code, told from photographs by a head."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explain_faces import astronaut
from skimage import data
from training_data import picture

from detector.nets.clip import ClipExpert, drawn_features
from detector.pipeline import Detector
from detector.training.shipped import drawn
from detector.training.shipped.drawn import Head, Material
from detector.training.shipped.styles import STYLES
from detector.types import Frame, Label


@pytest.mark.parametrize("name", STYLES)
def test_a_style_changes_every_place_and_draws_from_its_generator(name: str) -> None:
    rgb = data.astronaut()[40:200, 150:300]
    first, again, other = (STYLES[name](rgb, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.shape == rgb.shape and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)
    assert np.abs(first.astype(int) - rgb).mean() > 2


def test_every_source_is_drawn_as_it_is_and_degraded_and_in_every_style() -> None:
    pictures = [picture(seed) for seed in range(4)]
    material = drawn.draw_material(pictures, per_source=3, per_style=2)
    counts = {name: int((material.done == name).sum()) for name in set(material.done)}
    assert counts == {drawn.CLEAN: 3, drawn.DEGRADED: 3} | dict.fromkeys(STYLES, 2)
    assert material.crops.shape == (32, 224, 224, 3)
    assert material.drawn.sum() == 26


def made_up(spread: float) -> tuple[np.ndarray, Material]:
    """Features of 300 photographs around 0 and of 20 faces in each style around 3."""
    rng = np.random.default_rng(0)
    done = np.array([drawn.CLEAN, drawn.DEGRADED, drawn.FORGED] * 100 + list(STYLES) * 20)
    count = len(done)
    is_drawn = np.isin(done, list(STYLES))
    features = rng.normal(size=(count, 8)) * spread + 3 * is_drawn[:, None]
    folds = np.arange(count) % drawn.FOLDS
    empty = np.zeros((count, 1, 1, 3), np.uint8)
    return features.astype(np.float32), Material(empty, done, np.full(count, "one"), folds)


@pytest.mark.parametrize("spread", [1.0, 6.0])
def test_the_threshold_keeps_false_positives_rare_and_costs_styles_instead(spread: float) -> None:
    features, material = made_up(spread)
    logits = drawn.unseen_logits(features, material)
    above = logits > drawn.threshold(logits, material)
    assert above[material.done == drawn.CLEAN].sum() <= 1
    assert above[material.done == drawn.DEGRADED].sum() <= 2
    assert (above[material.drawn].mean() > 0.9) == (spread == 1.0)


def test_the_head_reads_the_lowest_of_five_levels() -> None:
    features = torch.arange(20.0)[None]
    assert drawn_features(features).tolist() == [[0.0, 1.0, 2.0, 3.0]]
    made, material = made_up(1.0)
    head = Head.fit(made, material.drawn)
    assert head.slope.shape == (8,) and (head.slope > 0).all()


def test_until_it_is_fitted_everything_is_a_photograph() -> None:
    expert = ClipExpert(tower="vit_tiny_patch16_224").eval()
    assert expert(torch.rand(2, 3, 224, 224)).drawn.tolist() == [-1.0, -1.0]


def test_the_shipped_model_says_what_is_no_photograph() -> None:
    detector = Detector(device="cpu")
    rng = np.random.default_rng(3)
    pictures = {"photograph": astronaut()} | {
        name: STYLES[name](astronaut(), rng) for name in ("poster", "cartoon", "pencil", "brush")
    }
    for name, rgb in pictures.items():
        tracks = detector.finder.find_tracks([Frame(0, 0.0, rgb)])
        (judged,) = detector.judge_tracks(tracks[:1], kind="image")
        says = judged.verdict.reason.startswith("This does not look like a photograph")
        assert says == (name != "photograph"), name
        assert not says or judged.verdict.label is Label.UNCERTAIN
