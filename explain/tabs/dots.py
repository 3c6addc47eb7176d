"""How often the detector is right, as a hundred dots a side."""

from __future__ import annotations

import csv
from html import escape
from pathlib import Path

COUNT = 100  # dots
PER_ROW = 20
STEP = 10  # units of the drawing from dot to dot


def rates(table: Path) -> tuple[float, float] | None:
    """(recall, false-positive rate) in [0, 1] on genuine forgeries; None where
    weights/accuracy.csv, or its row, is not there.
    """
    if not table.is_file():
        return None
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if (row["set"], row["family"], row["degradation"]) == (
                "genuine forgeries",
                "all files",
                "as found",
            ):
                return float(row["recall"]), float(row["false_positives"])
    return None


def hundred_dots(recall: float, false_positives: float) -> str:
    """Both shares, rounded to whole files of a hundred, in one sentence and as dots."""
    hits = round(COUNT * recall)
    wrong = round(COUNT * false_positives)
    sentence = f"Finds {hits} of 100 forgeries, wrongly flags {wrong} of 100 authentic pictures"
    sides = (
        ("100 forgeries", hits, f"{hits} found", f"{COUNT - hits} missed"),
        (
            "100 authentic pictures",
            wrong,
            f"{wrong} wrongly flagged",
            f"{COUNT - wrong} left alone",
        ),
    )
    drawn = "".join(_side(*side) for side in sides)
    return (
        f'<section class="lens-card" aria-label="How often it is right"><h2>{sentence}</h2>'
        f'<div class="lens-hundreds">{drawn}</div>'
        '<p class="lens-small">Genuine forgeries by other people\'s programs, '
        "which it did not learn from. Forgeries it does not flag get “cannot say” or "
        "“authentic-looking”.</p></section>"
    )


def _side(title: str, filled: int, marked: str, rest: str) -> str:
    """A hundred rings of which the first `filled` are filled."""
    rows = COUNT // PER_ROW
    dots = "".join(_dot(i % PER_ROW, i // PER_ROW, i < filled) for i in range(COUNT))
    return (
        f'<figure><svg viewBox="0 0 {PER_ROW * STEP} {rows * STEP}" role="img" '
        f'aria-label="{escape(title)}: {escape(marked)}, {escape(rest)}">{dots}</svg>'
        f"<figcaption>{escape(title)}: <b>{escape(marked)}</b>, {escape(rest)}</figcaption>"
        "</figure>"
    )


def _dot(column: int, row: int, filled: bool) -> str:
    x, y = (column + 0.5) * STEP, (row + 0.5) * STEP
    kind = "lens-full" if filled else "lens-ring"
    return f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="3.6"/>'
