import numpy as np
import pytest

from explain.ranks import pixel_auc, places_by_heat, rank_correlation


def test_rank_correlation() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert rank_correlation(a, a**3) == pytest.approx(1.0)
    assert rank_correlation(a, -a) == pytest.approx(-1.0)
    assert rank_correlation(a, np.array([1.0, 2.0, 4.0, 3.0])) == pytest.approx(0.8)
    assert rank_correlation(a, np.zeros(4)) == 0.0
    with pytest.raises(ValueError, match="one size"):
        rank_correlation(a, a[:2])


def test_places_by_heat() -> None:
    heat = np.array([[0.0, 5.0], [2.0, 0.0]])
    order = places_by_heat(heat, np.random.default_rng(0))
    assert order[:2].tolist() == [1, 2]
    last = {
        tuple(places_by_heat(heat, np.random.default_rng(seed))[2:].tolist()) for seed in range(20)
    }
    assert last == {(0, 3), (3, 0)}  # equal places come in random order


def test_pixel_auc() -> None:
    heat = np.array([[0.1, 0.9], [0.4, 0.3]])
    assert pixel_auc(heat, np.array([[False, True], [False, False]])) == 1.0
    assert pixel_auc(heat, np.array([[True, False], [False, True]])) == 0.0
    assert pixel_auc(heat, np.array([[False, True], [False, True]])) == 0.75
    assert pixel_auc(np.zeros((2, 2)), np.array([[True, False], [False, False]])) == 0.5
    assert np.isnan(pixel_auc(heat, np.zeros((2, 2), bool)))
