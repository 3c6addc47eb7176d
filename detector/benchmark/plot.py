"""The accuracy picture: family against degradation, and genuine forgeries by type with their
intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from detector.benchmark.accuracy import HELD_BACK
from detector.benchmark.metrics import COVERAGE, LabelledScores, reliability, risk_coverage
from detector.benchmark.validation import GENUINE


def draw_accuracy(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a PNG of the AUC table of the held-back faces (left) and of the genuine forgeries by
    type (right), whichever is there.
    """
    faces = [row for row in rows if row["set"] == HELD_BACK]
    genuine = [row for row in rows if row["set"] == GENUINE and "auc" in row]
    panels = [(f, r) for f, r in ((_table, faces), (_intervals, genuine)) if r]
    figure = Figure(figsize=(7.2 * max(1, len(panels)), 5.2), layout="constrained")
    for axes, (draw, part) in zip(
        np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True
    ):
        draw(axes, part)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


MARKS = ("o-", "s--", "^:")  # told apart without colour


def draw_reliability(scored: Mapping[str, LabelledScores], bins: int = 10) -> bytes:
    """PNG: how often a score was right, in equally filled bins, beside the diagonal of perfect
    calibration.
    """
    figure = Figure(figsize=(6, 5.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":", label="perfect calibration")
    for mark, (name, one) in zip(MARKS, sorted(scored.items()), strict=False):
        confidence, frequency, _ = reliability(one.labels, one.p_fake, bins)
        axes.plot(confidence, frequency, mark, label=f"{name} ({len(one.p_fake)})")
    axes.set(
        xlabel="calibrated score",
        ylabel="share that was forged, at even odds",
        xlim=(0, 1),
        ylim=(0, 1),
    )
    axes.set_title("Reliability: does a score of 0.8 mean 8 in 10?")
    axes.legend(loc="upper left", fontsize=8)
    return _png(figure)


def draw_risk_coverage(scored: Mapping[str, LabelledScores]) -> bytes:
    """Return a PNG of the selective risk against coverage."""
    figure = Figure(figsize=(6, 5.2), layout="constrained")
    axes = figure.subplots()
    for mark, (name, one) in zip(MARKS, sorted(scored.items()), strict=False):
        coverage, risk = risk_coverage(one.labels, one.p_fake)
        skip = max(1, len(one.p_fake) // 20)  # a handful of answers is no rate
        axes.plot(
            coverage[skip:], risk[skip:], mark, markevery=0.1, label=f"{name} ({len(one.p_fake)})"
        )
    axes.axvline(COVERAGE, color="grey", linestyle=":", label=f"{COVERAGE:.0%} answered")
    axes.set(
        xlabel="coverage: share answered, the surest first",
        ylabel="selective risk: error among them",
        xlim=(0, 1.01),
        ylim=(0, None),
    )
    axes.set_title("Risk and coverage: what abstaining buys")
    axes.legend(loc="upper left", fontsize=8)
    return _png(figure)


def _table(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    families = list(dict.fromkeys(row["family"] for row in rows))
    degradations = list(dict.fromkeys(row["degradation"] for row in rows))
    auc = np.full((len(families), len(degradations)), np.nan)
    for row in rows:
        auc[families.index(row["family"]), degradations.index(row["degradation"])] = row["auc"]
    axes.imshow(auc, vmin=0.5, vmax=1.0, cmap="cividis", aspect="auto")
    for (y, x), value in np.ndenumerate(auc):
        axes.text(
            x,
            y,
            f"{value:.2f}",
            ha="center",
            va="center",
            color="white" if value < 0.75 else "black",
        )
    axes.set_xticks(range(len(degradations)), degradations, rotation=30, ha="right")
    axes.set_yticks(range(len(families)), families)
    axes.set_title("AUC on held-back faces with fresh forgeries")


def _intervals(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    rows = sorted(rows, key=lambda row: row["auc"])
    y = np.arange(len(rows))
    auc = np.array([row["auc"] for row in rows])
    low = np.array([row["auc_low"] for row in rows])
    high = np.array([row["auc_high"] for row in rows])
    axes.errorbar(
        auc,
        y,
        xerr=[auc - np.minimum(low, auc), np.maximum(high, auc) - auc],
        fmt="o",
        color="#1f4e79",
        capsize=3,
    )
    axes.axvline(0.5, color="grey", linestyle=":", label="chance")
    axes.set_yticks(y, [f"{row['family']} ({row['n']})" for row in rows], fontsize=7)
    axes.set_xlim(0.2, 1.02)
    axes.set_title("AUC on genuine forgeries, 95% intervals", loc="right")
    axes.legend(loc="lower right")
