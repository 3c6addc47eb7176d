"""The benchmark's figures on answers worked out by hand."""

import csv
from pathlib import Path

import numpy as np
import pytest

from detector.benchmark.accuracy import PairScores, map_figures, write_rows
from detector.benchmark.metrics import (
    auc_interval,
    equal_error_rate,
    expected_calibration_error,
    figures,
    risk_coverage,
)
from detector.benchmark.plot import draw_accuracy

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
P = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])


def test_figures_by_hand() -> None:
    found = figures(LABELS, P, P, forged_above=0.55)
    assert found["auc"] == pytest.approx(15 / 16)
    assert found["accuracy"] == 0.75
    assert found["false_positives"] == 0.25 and found["found"] == 0.75
    assert found["auc_low"] <= 15 / 16 <= found["auc_high"]


def test_equal_error_rate_by_hand() -> None:
    assert equal_error_rate(LABELS, P) == 0.25
    assert equal_error_rate(LABELS, np.where(LABELS == 1, 1.0, 0.0)) == 0.0


def test_calibration_error_of_a_liar_and_of_an_honest_one() -> None:
    labels = np.array([0, 1] * 50)
    assert expected_calibration_error(labels, np.full(100, 0.5), bins=1) == 0.0
    assert expected_calibration_error(labels, np.full(100, 0.9), bins=1) == pytest.approx(0.4)


def test_risk_falls_when_only_sure_answers_count() -> None:
    coverage, risk = risk_coverage(LABELS, P)
    assert coverage[-1] == 1.0 and risk[-1] == 0.25
    assert risk[3] == 0.0  # the four surest answers are all right


def test_intervals_narrow_with_more_material() -> None:
    rng = np.random.default_rng(0)

    def width(n: int) -> float:
        labels = np.tile([0, 1], n)
        low, high = auc_interval(labels, labels + rng.normal(0, 1, 2 * n))
        return high - low

    assert width(400) < 0.6 * width(40)


def test_map_figures_by_hand() -> None:
    truth = np.zeros((1, 28, 28), np.float32)
    truth[0, :4, :4] = 1
    heat = np.zeros((1, 28, 28), np.float32)
    heat[0, :4, 2:6] = 5  # half on, half off
    found = map_figures(PairScores(np.zeros((1, 2)), ("a",), truth, heat))
    assert found["map_iou"] == pytest.approx(8 / 24)
    assert 0.7 < found["pixel_auc"] < 0.8


def test_rows_become_a_table_and_a_picture(tmp_path: Path) -> None:
    base = {"n": 5, "auc_low": 0.5, "auc_high": 0.9}
    rows = [
        {"set": "validation faces", "family": "all", "degradation": "none", "auc": 0.8, **base},
        {"set": "devset", "family": "Deepfakes", "degradation": "as found", "auc": 0.7, "found": 0.5, **base},
    ]
    write_rows(rows, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        assert [row["auc"] for row in csv.DictReader(file)] == ["0.8000", "0.7000"]
    assert draw_accuracy(rows)[:8] == b"\x89PNG\r\n\x1a\n"
