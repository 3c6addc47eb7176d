"""LIME on scores that are known: sums of what single superpixels contribute."""

import numpy as np
import pytest
from explain_faces import astronaut, explainer, face_crop

from explain import regions
from explain.regions import Regions, explain_regions, superpixels

CROP = face_crop(astronaut()).rgb


class Sums:
    """Logit = 3 if superpixel `plus` is seen as it was, -2 for `minus`, else 0, and a little of
    everything.
    """

    def __init__(self, crop: np.ndarray, plus: int, minus: int) -> None:
        self.crop, self.segments = crop, superpixels(crop)
        self.plus, self.minus = self.segments == plus, self.segments == minus
        self.batches: list[int] = []

    def score(self, crops: np.ndarray) -> np.ndarray:
        self.batches.append(len(crops))
        seen = [
            [np.array_equal(c[m], self.crop[m]) for m in (self.plus, self.minus)] for c in crops
        ]
        return (np.array(seen, np.float32) @ np.array([3.0, -2.0], np.float32)) + 0.5


def test_superpixels_are_about_64_and_numbered_without_gaps() -> None:
    labels = superpixels(CROP)
    assert labels.shape == (224, 224) and 40 <= labels.max() + 1 <= 80
    assert np.unique(labels).tolist() == list(range(labels.max() + 1))


@pytest.mark.parametrize("fill", ["mean", "compressed"])
def test_weights_are_in_logits(fill: str) -> None:
    toy = Sums(CROP, plus=20, minus=30)
    found = explain_regions(toy.score, CROP, fill)
    assert found.weights[20] == pytest.approx(3.0, abs=0.35)  # ridge pulls a little towards 0
    assert found.weights[30] == pytest.approx(-2.0, abs=0.3)
    others = np.delete(found.weights, [20, 30])
    assert np.abs(others).max() < 0.25
    assert found.intercept == pytest.approx(0.5, abs=0.6)
    assert found.r_squared > 0.95
    assert toy.batches == [64, 32] * 2
    assert found.strongest(5, positive_only=True)[0] == 20
    assert found.strongest(10, positive_only=False)[:2] == [20, 30]


def test_heat_lays_the_weights_out() -> None:
    segments = np.array([[0, 0], [1, 2]], np.int32)
    found = Regions(segments, np.array([0.5, -1.0, 0.0], np.float32), 0.0, 1.0, 1.0, "mean")
    np.testing.assert_array_equal(found.heat().map, np.array([[0.5, 0.5], [-1.0, 0.0]], np.float32))
    assert found.heat().target == "frame logit" and found.heat().signed
    assert found.strongest(5, positive_only=True) == [0]  # never one that speaks against
    assert found.strongest(5, positive_only=False) == [1, 0]
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        Regions(segments, np.zeros(2, np.float32), 0.0, 1.0, 1.0, "mean")


def test_stability_is_low_for_noise_and_high_for_a_clear_answer() -> None:
    rng = np.random.default_rng(0)

    def noise(crops: np.ndarray) -> np.ndarray:
        return rng.normal(size=len(crops)).astype(np.float32)

    assert abs(explain_regions(noise, CROP).stability) < 0.4

    def further_left_counts_more(crops: np.ndarray) -> np.ndarray:
        same = (crops == CROP).all(-1)
        return (same * np.linspace(1, 0, 224)).mean((1, 2)).astype(np.float32) * 100

    assert explain_regions(further_left_counts_more, CROP).stability > 0.8


def test_draws_are_balanced_and_in_pairs() -> None:
    kept = regions._draw(np.random.default_rng(0), 128, 53)
    assert kept.shape == (128, 53) and (kept[0] == 1).all()
    np.testing.assert_array_equal(kept[1:64], 1 - kept[65:])
    seen = 2 * kept[np.r_[1:64, 65:128]] - 1
    assert (seen.sum(0) == 0).all()  # each as often covered as seen
    # and any two independently, but for the row left out
    assert np.abs(seen.T @ seen - 126 * np.eye(53)).max() == 2
    assert regions._draw(np.random.default_rng(0), 32, 80).shape == (32, 80)


def test_same_seed_same_weights() -> None:
    first, again = (explainer().explain_regions(CROP, n_samples=64, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.weights, again.weights)
    other = explainer().explain_regions(CROP, n_samples=64, seed=4)
    assert np.abs(first.weights - other.weights).max() > 0
    assert first.weights.dtype == np.float32 and first.fill == "mean"


def test_fills() -> None:
    segments = superpixels(CROP)
    mean = regions._cover(CROP, segments, "mean", None)
    for segment in (0, 17):
        inside = segments == segment
        assert np.unique(mean[inside], axis=0).shape == (1, 3)
        np.testing.assert_allclose(mean[inside][0], CROP[inside].mean(0), atol=0.51)
    other = np.zeros_like(CROP)
    assert regions._cover(CROP, segments, "authentic", other) is other
    known = "The fill must be one of mean, blur, compressed, authentic"
    for fill, picture in (("authentic", None), ("authentic", other[:10]), ("black", None)):
        with pytest.raises(ValueError, match=known):
            explainer().explain_regions(CROP, fill, picture)


def test_authentic_pixels_take_away_only_the_forgery() -> None:
    forged = CROP.copy()
    inside = superpixels(CROP) == 25
    forged[inside] = 255 - forged[inside]

    def forged_pixels(crops: np.ndarray) -> np.ndarray:
        return (crops != CROP).any(-1).sum((1, 2)).astype(np.float32) / 100

    found = explain_regions(forged_pixels, forged, "authentic", CROP)
    hot = found.heat().map
    assert hot[inside].mean() > 5 * np.abs(hot[~inside]).mean()
