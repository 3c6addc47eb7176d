"""The model tab: how well the detector does, where a face lies among known ones, what it cannot do
and how it was trained.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from detector.manifest import SHIPPED
from explain.lab import neighbours, weaknesses
from explain.lab.examples import EXAMPLES
from explain.server import markup
from explain.server.service import Service
from explain.server.widgets import Update, path_of, picture, runner, source
from explain.tabs import dots

CARD = "MODEL_CARD.md"
ACCURACY = "accuracy.csv"
AUTHENTIC = "authentic.csv"
ZOO = "zoo.csv"


@dataclass(frozen=True)
class MeasuredPicture:
    """A picture beside the weights; where it is missing, one sentence says so."""

    file: str
    label: str
    alt: str


MEASURED = (
    MeasuredPicture(
        "accuracy.png",
        "Accuracy by kind of forgery and degradation",
        "Table of the area under the curve by kind of forgery and degradation, and genuine "
        "forgeries by type with their intervals; the model card below has the numbers",
    ),
    MeasuredPicture(
        "reliability.png",
        "Reliability: does a score of 0.8 mean 8 in 10?",
        "Share of forged files, if forged and authentic ones were equally common, against the "
        "calibrated score, beside the diagonal of perfect calibration",
    ),
    MeasuredPicture(
        "risk_coverage.png",
        "Risk and coverage: what abstaining buys",
        "Selective risk, the error among the surest answers, against coverage, the share of files "
        "that get an answer",
    ),
)
TRAINING = (
    MeasuredPicture(
        "training.png",
        "Training curves of the last run (most of the mean of weights that ships)",
        "The training loss of the last run, which began from an earlier one's weights, and the "
        "area under the curve on held-back faces, over all and by kind of forgery, against the "
        "number of training images",
    ),
)
ACCURACY_TEXT = (
    "### Accuracy with 95% intervals\nArea under the curve on held-back faces with fresh "
    "forgeries, by kind of forgery and degradation: 1 is perfect, 0.5 is chance."
)
AUTHENTIC_TEXT = (
    "Share of held-back authentic faces that it calls forged, group by group. Groups that lie far "
    "apart mean that it follows something else than forgery; small groups scatter by chance."
)
MAP_TEXT = (
    "The detector turns each face into 512 numbers, an **embedding**. Here are those of held-back "
    "authentic faces and of forgeries made from them, as embeddings only: no picture is kept. "
    "Faces that the detector finds alike lie close together. **Try:** the astronaut, real and "
    "forged. Which neighbours do they get?"
)
WEAK_TEXT = (
    "Each example is made from built-in faces and judged by the detector as it is loaded, so it "
    "may also be judged rightly. The model card below has the measured figures."
)
ZOO_TEXT = (
    "### Other systems on the same material\n"
    "Every recipe of `detector/training/recipes`, trained for the same few minutes of computing on "
    "the same forged faces, beside the shipped model. So short a training ranks how quickly "
    "systems learn, not how good they become."
)
HEADINGS = {
    "recipe": "Recipe",
    "start": "Start",
    "auc": "AUC",
    "loss_first": "Loss at first",
    "loss_last": "Loss at last",
    "parameters_m": "Parameters (millions)",
    "ms_per_image": "ms per image",
    "train_images_per_s": "Training images/s",
    "images_seen": "Training images",
    "seconds": "Seconds",
}


def build(service: Service, tab: gr.Tab) -> None:
    """Lay the tab out and wire it."""
    if shares := dots.rates(SHIPPED / ACCURACY):
        gr.HTML(dots.hundred_dots(*shares), elem_id="lens-hundred")
    gr.Markdown("## Where it fails")
    _weaknesses(service, tab)
    gr.Markdown("## How well it does")
    _pictures(MEASURED)
    _pivot(SHIPPED / ACCURACY, ACCURACY_TEXT, "Forgery", _interval)
    with gr.Accordion(
        "Does it follow anything but forgery? False positives by group",
        open=False,
        elem_classes="lens-lab",
    ):
        _pivot(SHIPPED / AUTHENTIC, AUTHENTIC_TEXT, "Group (faces)", _false_positives)
    gr.Markdown("## Your face among known ones")
    _map(service, tab)
    gr.Markdown("## How it was trained")
    _pictures(TRAINING)
    _zoo(SHIPPED / ZOO)
    card = SHIPPED / CARD
    text = (
        card.read_text(encoding="utf-8")
        if card.is_file()
        else "This copy comes without a model card."
    )
    gr.Markdown(_on_the_page(text), elem_id="lens-model-card")


def _on_the_page(card: str) -> str:
    """The card without its head for the Hub, its tables' marks and its links to files."""
    text = re.sub(r"\A---\n.*?\n---\n+|<!--.*?-->\n", "", card, flags=re.DOTALL)
    return re.sub(r"\[([^]]+)\]\((?!https?:)[^)]*\)", r"\1", text)


def _pictures(offered: Sequence[MeasuredPicture]) -> None:
    """Those that lie beside the weights, the first in a row of its own, and what is missing."""
    there = [picture for picture in offered if (SHIPPED / picture.file).is_file()]
    for row in (there[:1], there[1:]):
        with gr.Row(elem_classes="lens-lab"):
            for shown in row:
                gr.Image(
                    str(SHIPPED / shown.file),
                    label=shown.label,
                    format="png",
                    interactive=False,
                    alt_text=shown.alt,
                    elem_classes="lens-chart",
                    elem_id=f"lens-{Path(shown.file).stem.replace('_', '-')}",
                    buttons=["download", "fullscreen"],
                    min_width=300,
                )
    absent = [picture.label for picture in offered if picture not in there]
    if absent:
        gr.Markdown(f"Not in this copy: {'; '.join(absent)}.")


@dataclass(frozen=True)
class Cell:
    """One number of a table that is read from a file."""

    line: str
    column: str
    text: str


def _rows(path: Path, heading: str) -> list[dict[str, str]]:
    """The rows of a table beside the weights, under a heading; none and a sentence without it."""
    gr.Markdown(heading)
    if not path.is_file():
        gr.Markdown(f"The table {path.name} is not in this copy.")
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _pivot(
    path: Path,
    heading: str,
    first: str,
    cell: Callable[[Mapping[str, str]], Cell | None],
) -> None:
    """A table with a line and a column for each that `cell` makes of a row of the file.

    first: heading of the lines' names.
    """
    lines: dict[str, dict[str, str]] = {}
    for row in _rows(path, heading):
        if found := cell(row):
            lines.setdefault(found.line, {})[found.column] = found.text
    columns = list(dict.fromkeys(column for line in lines.values() for column in line))
    if lines:
        grid = markup.grid(
            [first, *columns],
            [[name, *(line.get(c, "") for c in columns)] for name, line in lines.items()],
        )
        gr.HTML(grid, elem_id=f"lens-{path.stem}-table")


def _interval(row: Mapping[str, str]) -> Cell | None:
    if row["set"] != "validation faces":
        return None
    auc, low, high = (float(row[name]) for name in ("auc", "auc_low", "auc_high"))
    return Cell(row["family"], row["degradation"], f"{auc:.2f} ({low:.2f}-{high:.2f})")


def _false_positives(row: Mapping[str, str]) -> Cell:
    # a file format, or an editor's work, stands for itself
    own = row["group"] == row["degradation"]
    return Cell(
        f"{row['kind']}: {row['group']} ({row['n']})",
        "none" if own else row["degradation"],
        f"{float(row['false_positives']):.0%}",
    )


def _map(service: Service, tab: gr.Tab) -> None:
    gr.Markdown(MAP_TEXT)
    with gr.Row(elem_classes="lens-lab"):
        with gr.Column(scale=2, min_width=300):
            files = source(
                "map",
                [e.name for e in EXAMPLES if not e.name.endswith("mp4")],
                "Or your own photo or clip",
            )
            run = runner(service, "map", "Place the face on the map")
        with gr.Column(scale=5, min_width=320):
            alt = (
                "Points for known faces by kind, each kind with its own sign, and the chosen face "
                "as a large star"
            )
            shown = picture(
                "Map of embeddings (two principal components)",
                "lens-map",
                alt,
                visible=False,
                chart=True,
            )
            about = gr.HTML(elem_id="lens-map-about")
            table = gr.HTML(elem_id="lens-map-table")

    def place(step: Any, example: str, uploaded: str | None) -> Update:
        detector = service.detector()
        index = neighbours.load_reference(detector)
        step(0.3, "Finding the face")
        found = neighbours.locate(detector, index, path_of(service, example, uploaded))
        rows = [
            (
                count.kind,
                str(count.neighbours),
                f"{len(found.kinds) * count.index_share:.1f}",
            )
            for count in neighbours.count_kinds(index, found.kinds)
        ]
        return {
            shown: gr.Image(neighbours.map_picture(index, found), visible=True),
            about: markup.sentences(neighbours.describe_place(index, found)),
            table: markup.grid(
                ("Kind", f"Among the {len(found.kinds)} nearest", "Expected by chance"), rows
            ),
        }

    run.wire(place, files.inputs, [shown, about, table])
    run.when_opened(tab.select, place, files.inputs, [shown, about, table])


def _weaknesses(service: Service, tab: gr.Tab) -> None:
    gr.Markdown(WEAK_TEXT)
    run = runner(service, "weak", "Judge the examples anew (about 5 seconds)")
    shown: list[tuple[Any, Any]] = []
    with gr.Row(elem_classes="lens-lab"):
        for i, weakness in enumerate(weaknesses.WEAKNESSES):
            with gr.Column(min_width=420):
                alt = (
                    f"{weakness.title}: the face before and after, each with the detector's answer"
                )
                drawn = picture(weakness.title, f"lens-weak-{i}", alt, visible=False)
                shown.append((drawn, gr.HTML(elem_id=f"lens-weak-{i}-about")))

    def show(step: Any) -> Update:
        update: Update = {}
        for (drawn, about), judged in zip(
            shown, weaknesses.judge(service.detector(), step), strict=True
        ):
            update[drawn] = gr.Image(weaknesses.pair_picture(judged), visible=True)
            update[about] = markup.sentences(weaknesses.describe_outcome(judged))
        return update

    outputs = [component for pair in shown for component in pair]
    run.wire(show, [], outputs)
    run.when_opened(tab.select, show, [], outputs)


def _zoo(path: Path) -> None:
    """The comparison of recipes as a table."""
    rows = [[_cell(row[name]) for name in HEADINGS] for row in _rows(path, ZOO_TEXT)]
    if rows:
        gr.HTML(markup.grid(list(HEADINGS.values()), rows), elem_id="lens-zoo")


def _cell(value: str) -> str:
    """A number to three digits; anything else unchanged."""
    try:
        return f"{float(value):.3g}" if "." in value else value
    except ValueError:
        return value
