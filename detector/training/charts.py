"""Pictures of a training run: curves, class counts, sample grids, forgeries beside their original,
a clip as a GIF.

`python -m detector.training.charts runs/main/history.json weights/training.png` draws the main
training's curves.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

NAMES = ("authentic", "forged")
COLOURS = ("#2166ac", "#b2182b")  # told apart by colour-blind readers, too
FORGED_FROM = 0.5  # a clip counts as forged from this probability on
THUMB_PX = 112


def _png(figure: Figure) -> bytes:
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def draw_curves(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Loss and validation AUC over the epochs of all stages, as PNG."""
    figure = Figure((8, 3.5), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    x = np.arange(1, len(history) + 1)
    losses.plot(x, [row["loss"] for row in history], "o-", label="training")
    losses.plot(x, [row["val_loss"] for row in history], "s--", label="validation")
    losses.set(xlabel="epoch", ylabel="loss")
    scored = [(k, row["val_auc"]) for k, row in zip(x, history, strict=True) if "val_auc" in row]
    scores.plot([k for k, _ in scored], [auc for _, auc in scored], "s-", color=COLOURS[1])
    scores.axhline(0.5, color="grey", linewidth=0.8)
    scores.set(xlabel="epoch", ylabel="validation AUC", ylim=(0, 1.02))
    for axes in (losses, scores):
        for k in range(1, len(history)):  # where one stage gives way to the next
            if history[k]["stage"] != history[k - 1]["stage"]:
                axes.axvline(k + 0.5, color="grey", linestyle=":")
    losses.legend()
    return _png(figure)


def draw_main_run(history: Sequence[Mapping[str, Any]]) -> bytes:
    """Loss, and validation AUC over all and by family, of the main training over the pictures seen,
    as PNG.
    """
    figure = Figure((10, 4), layout="constrained")
    losses, scores = figure.subplots(1, 2)
    seen = [row["images"] / 1000 for row in history]
    losses.plot(seen, [row["loss"] for row in history], "o-", color="black")
    losses.set(xlabel="thousand pictures", ylabel="training loss")
    scores.plot(
        seen, [row["auc"] for row in history], "o-", color="black", linewidth=2.5, label="all"
    )
    families = [key for key in history[-1] if key.startswith("auc ")]
    # signs, since colours alone tell nothing to many
    for key, marker in zip(families, "sDv^Px*<>", strict=False):
        scores.plot(
            seen,
            [row[key] for row in history],
            f"{marker}--",
            linewidth=1,
            label=key.removeprefix("auc "),
        )
    scores.set(xlabel="thousand pictures", ylabel="validation AUC", ylim=(0.48, 1))
    scores.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return _png(figure)


def draw_class_counts(counts: Mapping[str, Sequence[int]]) -> bytes:
    """Bars of how many files each split has of each label, as PNG. counts: split -> labels of its
    files.
    """
    figure = Figure((5, 3.2), layout="constrained")
    axes = figure.subplots()
    for label, name in enumerate(NAMES):
        found = [Counter(labels)[label] for labels in counts.values()]
        bars = axes.bar(
            np.arange(len(counts)) + (label - 0.5) * 0.4,
            found,
            0.38,
            label=name,
            color=COLOURS[label],
        )
        axes.bar_label(bars)
    axes.set_xticks(range(len(counts)), list(counts))
    axes.set_ylabel("files")
    axes.legend()
    return _png(figure)


def draw_grid(
    crops: Sequence[NDArray[np.uint8]],
    labels: Sequence[int],
    p_fake: Sequence[float],
    columns: int = 6,
) -> bytes:
    """Crops with their label and what the model says, wrong answers marked, as PNG. Raises
    ValueError without crops.
    """
    if not len(crops):
        raise ValueError("expected at least one crop, but got none")
    rows = -(-len(crops) // columns)
    figure = Figure((1.5 * columns, 1.75 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for axes, crop, label, p in zip(grid, crops, labels, p_fake, strict=False):
        wrong = (p >= FORGED_FROM) != bool(label)
        axes.imshow(crop)
        axes.set_title(
            f"{NAMES[label]}, p {p:.2f}{' (wrong)' if wrong else ''}",
            fontsize=8,
            color=COLOURS[label],
        )
    return _png(figure)


def same_original(
    originals: Sequence[str], labels: NDArray[np.int64], most: int = 6
) -> list[list[int]]:
    """Groups of files with one original, an authentic one first, those with most forgeries
    first.
    """
    groups: dict[str, list[int]] = {}
    for index, original in enumerate(originals):
        groups.setdefault(original, []).append(index)
    mixed = [
        sorted(group, key=lambda i: labels[i])
        for group in groups.values()
        if labels[group].max() == 1
    ]
    mixed = [group for group in mixed if len(group) > 1]
    return sorted(mixed, key=len, reverse=True)[:most]


def draw_strips(
    strips: Sequence[Sequence[NDArray[np.uint8]]], labels: Sequence[Sequence[int]]
) -> bytes:
    """One row per original: the authentic face and what was made of it side by side, as PNG."""
    widest = max(len(strip) for strip in strips)
    figure = Figure((1.5 * widest, 1.7 * len(strips)), layout="constrained")
    grid = figure.subplots(len(strips), widest, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for row, strip, own in zip(grid, strips, labels, strict=True):
        for axes, crop, label in zip(row, strip, own, strict=False):
            axes.imshow(crop)
            axes.set_title(NAMES[label], fontsize=8, color=COLOURS[label])
    return _png(figure)


def draw_clip(crops: NDArray[np.uint8], p_fake: float, frame_ms: int = 200) -> bytes:
    """The crops of a clip as an animated GIF with the predicted class written over it."""
    text = f"looks {NAMES[int(p_fake >= FORGED_FROM)]}, p {p_fake:.2f}"
    pages = []
    for crop in crops:
        page = np.ascontiguousarray(
            cv2.resize(crop, (2 * THUMB_PX, 2 * THUMB_PX), interpolation=cv2.INTER_AREA)
        )
        page[:24] //= 4
        cv2.putText(
            page, text, (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA
        )
        pages.append(Image.fromarray(page))
    buffer = BytesIO()
    pages[0].save(buffer, "GIF", save_all=True, append_images=pages[1:], duration=frame_ms, loop=0)
    return buffer.getvalue()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Draw the main training's curves.")
    parser.add_argument("history", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    args.out.write_bytes(draw_main_run(json.loads(args.history.read_text())))
