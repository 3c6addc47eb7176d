"""Lines over steps as a small SVG: cheap enough to be drawn anew several times a second, and in the
page's own colours, light or dark.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from explain.lab.charts import Line

WIDTH, HEIGHT = 460, 190  # units of the drawing
LEFT, BOTTOM, TOP, RIGHT = 44, 24, 24, 8  # around the plot
MOST_POINTS = 150  # of a line: more would not be seen
STEPS_OF_TEN = (1, 2, 5, 10)  # times a power of ten: what axes are marked at


@dataclass(frozen=True)
class Axes:
    """Where a value lies in the drawing."""

    most_x: float
    most_y: float
    step: float  # from mark to mark of the y axis

    def at(self, x: float, y: float) -> tuple[float, float]:
        wide = WIDTH - LEFT - RIGHT
        high = HEIGHT - TOP - BOTTOM
        return LEFT + wide * x / self.most_x, TOP + high * (1 - y / self.most_y)


def curves(lines: Sequence[Line], x_label: str, y_label: str) -> str:
    """Lines without gaps over one x axis; y begins at 0. Empty before there are two points."""
    if not lines or len(lines[0].y) < 2:
        return ""
    drawn = [_points(line) for line in lines]
    most_x = max(float(x[-1]) for x, _ in drawn)
    most_y = max(float(y.max()) for _, y in drawn) or 1.0
    step = _round_step(most_y / 3)
    axes = Axes(most_x, step * float(np.ceil(most_y / step)), step)
    now = [f"{line.name} {float(y[-1]):.3g}" for line, (_, y) in zip(lines, drawn, strict=True)]
    parts = [_rules(axes), _labels(axes, x_label, y_label)]
    for i, (name, (x, y)) in enumerate(zip(now, drawn, strict=True)):
        parts.append(_curve(axes, i, x, y) + _key(i, name))
    said = f"{y_label} by {x_label}, now at {most_x:g}: {', '.join(now)}"
    return (
        f'<svg class="lens-curves" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(said)}">{"".join(parts)}</svg>'
    )


def _rules(axes: Axes) -> str:
    """The y axis: a line across at each round value."""
    found = []
    for value in np.arange(0, axes.most_y + axes.step / 2, axes.step):
        _, y = axes.at(0, float(value))
        found.append(
            f'<line class="lens-rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
        )
    return "".join(found)


def _labels(axes: Axes, x_label: str, y_label: str) -> str:
    """Both axes' names, and the ends of x."""
    middle_x, middle_y = axes.at(axes.most_x / 2, axes.most_y / 2)
    below = HEIGHT - BOTTOM + 16
    return (
        f'<text x="{LEFT}" y="{below}">0</text>'
        f'<text x="{WIDTH - RIGHT}" y="{below}" text-anchor="end">{axes.most_x:g}</text>'
        f'<text x="{middle_x:.0f}" y="{below}" text-anchor="middle">{escape(x_label)}</text>'
        f'<text transform="translate(12 {middle_y:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y_label)}</text>'
    )


def _curve(axes: Axes, number: int, x: np.ndarray, y: np.ndarray) -> str:
    places = (axes.at(float(a), float(b)) for a, b in zip(x, y, strict=True))
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
    return f'<polyline class="lens-curve-{number}" points="{path}"/>'


def _key(number: int, name: str) -> str:
    """A line's name with its value now, above the plot."""
    x = LEFT + 170 * number
    return (
        f'<line class="lens-curve-{number}" x1="{x}" x2="{x + 26}" y1="10" y2="10"/>'
        f'<text x="{x + 32}" y="14">{escape(name)}</text>'
    )


def _points(line: Line) -> tuple[np.ndarray, np.ndarray]:
    """x and y, thinned out evenly where there are too many; first and last stay."""
    y = np.array(line.y, np.float64)
    x = np.arange(len(y), dtype=np.float64) if line.x is None else np.array(line.x, np.float64)
    kept = np.unique(np.linspace(0, len(y) - 1, MOST_POINTS).round().astype(int))
    return x[kept], y[kept]


def _round_step(least: float) -> float:
    """The next round number: 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(least))
    return next(float(power * n) for n in STEPS_OF_TEN if power * n >= least * 0.999)
