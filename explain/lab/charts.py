"""Charts, labelled strips and grids of the lab, drawn with explain.figures.

Everything returns (H, W, 3) uint8 sRGB. Lines differ in dash and marker as well as in colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from detector.types import CROP_PX
from explain.figures import Rgb, blank_figure, drawn, enlarged

COLOURS = ("#5e3c99", "#e08214", "#1b7837", "#000000")
DASHES = ("-", "--", ":", "-.")
MARKERS = ("o", "s", "^", "x")


@dataclass(frozen=True)
class Line:
    """One line of a chart."""

    name: str
    y: Sequence[float | None]  # None is a gap
    x: Sequence[float] | None = None  # 0, 1, 2, ... if left out
    marks: bool = True  # a marker at every point


@dataclass(frozen=True)
class Band:
    """A shaded stretch of a chart's y axis."""

    low: float
    high: float
    name: str


@dataclass(frozen=True)
class VerticalMark:
    """A vertical line through a chart with its name."""

    x: float
    name: str


@dataclass(frozen=True, eq=False)
class Captioned:
    """A picture with the text under it; a line break in the text is kept."""

    picture: Rgb
    caption: str


def chart(
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    *,
    x_names: Sequence[str] = (),
    y_limits: tuple[float, float] | None = None,
    band: Band | None = None,
    mark: VerticalMark | None = None,
) -> Rgb:
    """Lines over one x axis, which x_names label at 0, 1, 2, ..."""
    figure = blank_figure(4.5, 2.9, dpi=160)
    axes = figure.subplots()
    for i, line in enumerate(lines):
        x = range(len(line.y)) if line.x is None else line.x
        y = [np.nan if value is None else value for value in line.y]
        marker = MARKERS[i % 4] if line.marks else None
        axes.plot(
            x,
            y,
            DASHES[i % 4],
            color=COLOURS[i % 4],
            marker=marker,
            markersize=5,
            linewidth=1.6,
            label=line.name,
        )
    if band:
        axes.axhspan(
            band.low,
            band.high,
            color="#bbbbbb",
            alpha=0.45,
            hatch="..",
            label=band.name,
            zorder=0,
        )
    if mark:
        axes.axvline(mark.x, color="#c2570c", linestyle="-.", linewidth=1.4)
        axes.annotate(
            mark.name,
            (mark.x, 0.02),
            xycoords=("data", "axes fraction"),
            fontsize=8,
            ha="right",
            rotation=90,
            va="bottom",
        )
    _label(axes, x_label, y_label, x_names, y_limits)
    return drawn(figure)


def _label(
    axes: Any,
    x_label: str,
    y_label: str,
    x_names: Sequence[str],
    y_limits: tuple[float, float] | None,
) -> None:
    if x_names:
        axes.set_xticks(
            range(len(x_names)),
            x_names,
            rotation=30 if max(map(len, x_names)) > 4 else 0,
            ha="right",
        )
    if y_limits:
        axes.set_ylim(*y_limits)
    axes.set_xlabel(x_label, fontsize=9)
    axes.set_ylabel(y_label, fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8)


def strip(cells: Sequence[Captioned], side_px: int = CROP_PX, columns: int | None = None) -> Rgb:
    """Pictures in rows with their captions under them, black on white."""
    columns = columns or len(cells)
    lines = 1 + max(cell.caption.count("\n") for cell in cells)
    foot = 23 * lines + 8
    gap = 6
    rows = -(-len(cells) // columns)
    sheet = Image.new("RGB", (columns * (side_px + gap) - gap, rows * (side_px + foot)), "white")
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(18)
    for i, cell in enumerate(cells):
        x, y = (i % columns) * (side_px + gap), (i // columns) * (side_px + foot)
        sheet.paste(Image.fromarray(resized(cell.picture, side_px)), (x, y))
        place = x + 2, y + side_px + 2
        draw.multiline_text(place, cell.caption, fill="black", font=font, spacing=3)
    return np.asarray(sheet)


def resized(picture: Rgb, side_px: int) -> Rgb:
    """A square picture at another size: averaged down, or enlarged with its pixels visible."""
    smaller = picture.shape[0] > side_px
    method = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (side_px, side_px), interpolation=method), np.uint8)


def sheet(pictures: NDArray[np.float32], columns: int, enlarge: int = 2) -> Rgb:
    """(N, h, w) grey pictures in [0, 1] as a grid with thin lines between them."""
    n, height, width = pictures.shape
    rows = -(-n // columns)
    out = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1), 110, np.uint8)
    for i, picture in enumerate(np.clip(np.rint(255 * pictures), 0, 255).astype(np.uint8)):
        y, x = 1 + (i // columns) * (height + 1), 1 + (i % columns) * (width + 1)
        out[y : y + height, x : x + width] = picture
    return enlarged(np.repeat(out[..., None], 3, axis=2), enlarge)
