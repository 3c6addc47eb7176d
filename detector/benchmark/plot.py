"""The accuracy picture: family against degradation, and genuine forgeries by type with their intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def draw_accuracy(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """PNG of the AUC table of the validation faces (left) and the devset's types (right), whichever is there."""
    faces = [row for row in rows if row["set"] == "validation faces"]
    genuine = [row for row in rows if row["set"] == "devset" and "auc" in row]
    panels = [(f, r) for f, r in ((_table, faces), (_intervals, genuine)) if r]
    figure = Figure(figsize=(7.2 * max(1, len(panels)), 5.2), layout="constrained")
    for axes, (draw, part) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels, strict=True):
        draw(axes, part)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _table(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    families = list(dict.fromkeys(row["family"] for row in rows))
    degradations = list(dict.fromkeys(row["degradation"] for row in rows))
    auc = np.full((len(families), len(degradations)), np.nan)
    for row in rows:
        auc[families.index(row["family"]), degradations.index(row["degradation"])] = row["auc"]
    axes.imshow(auc, vmin=0.5, vmax=1.0, cmap="cividis", aspect="auto")
    for (y, x), value in np.ndenumerate(auc):
        axes.text(x, y, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.75 else "black")
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
        auc, y, xerr=[auc - np.minimum(low, auc), np.maximum(high, auc) - auc], fmt="o", color="#1f4e79", capsize=3
    )
    axes.axvline(0.5, color="grey", linestyle=":", label="chance")
    axes.set_yticks(y, [f"{row['family']} ({row['n']})" for row in rows], fontsize=7)
    axes.set_xlim(0.2, 1.02)
    axes.set_title("AUC on genuine forgeries, 95% intervals")
    axes.legend(loc="lower right")
