"""Write the figures of weights/*.csv into the tables of README.md, the model card and docs/.

python docs/tables.py            write every table
python docs/tables.py --check    exit with 1 if a table is not what the CSV files say

A table stands between `<!-- table NAME -->` and `<!-- end -->` (`# table NAME` and `# end` in
YAML). So a figure is measured once, lies in one CSV file, and reads the same wherever it is shown.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import fmean

ROOT = Path(__file__).resolve().parent.parent
PAGES = (
    "README.md",
    "weights/MODEL_CARD.md",
    "docs/RESULTS.md",
    "docs/SPEED.md",
)
BLOCK = re.compile(
    r"^(?P<begin>(?:<!--|#) table (?P<name>[\w-]+)(?: -->)?\n)"
    r".*?"
    r"^(?P<end>(?:<!--|#) end(?: -->)?)$",
    re.MULTILINE | re.DOTALL,
)
FRESH = "validation faces"  # the set's name in accuracy.csv; every other set is genuine forgeries
# What is told first: (set is fresh, family, degradation, its name here, unit of n). A family that
# accuracy.csv does not have is left out.
HEADLINE = (
    (True, "all", "none", "Fresh forgeries", "pairs"),
    (True, "all", "heavy", "The same, heavily compressed", "pairs"),
    (False, "macro: swaps in clips", "as found", "Genuine swaps, clips", "forged"),
    (False, "macro: swaps in stills", "as found", "Genuine swaps, photos", "forged"),
    (False, "macro: generated pictures", "as found", "Generated pictures", "forged"),
    (False, "all files", "as found", "Validation set without restored photos", "files"),
)
# stages of speed.csv that take most of the time, as the page calls them
FLOOR_STAGES = {
    "decode": "decoding",
    "detect": "faces",
    "embed": "two-stream network",
    "clip": "CLIP",
}
Row = dict[str, str]


def rows(name: str) -> list[Row]:
    with (ROOT / "weights" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def number(text: str, digits: int = 3) -> str:
    """A share without its leading zero, as the field writes AUC; an empty cell stays empty."""
    if not text:
        return ""
    written = f"{float(text):.{digits}f}"
    return re.sub(r"^(-?)0\.", r"\1.", written)


def interval(row: Row, name: str = "auc") -> str:
    if not row[name]:
        return ""
    return f"{number(row[name])} ({number(row[f'{name}_low'])}-{number(row[f'{name}_high'])})"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [list(head), ["---"] * len(head), *map(list, body)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def fresh() -> list[Row]:
    return [row for row in rows("accuracy") if row["set"] == FRESH]


def genuine() -> list[Row]:
    return [row for row in rows("accuracy") if row["set"] != FRESH]


def headline_rows() -> Iterator[tuple[str, str, Row]]:
    for is_fresh, family, degradation, name, unit in HEADLINE:
        for row in fresh() if is_fresh else genuine():
            if (row["family"], row["degradation"]) == (family, degradation):
                yield name, unit, row


def headline() -> str:
    return table(
        ("material", "n", "AUC (95% interval)", "recall", "false positives"),
        [
            (
                name,
                f"{row['n']} {unit}",
                interval(row),
                number(row["recall"]),
                number(row["false_positives"]),
            )
            for name, unit, row in headline_rows()
        ],
    )


def model_index() -> str:
    lines = ["model-index:", "- name: deepfake-lens", "  results:"]
    for title, _, row in headline_rows():
        lines += [
            "  - task: {type: image-classification, name: Face forgery detection}",
            f"    dataset: {{type: other, name: '{title}'}}",
            "    metrics:",
        ]
        lines += [
            f"    - {{type: {metric}, value: {float(row[name]):.3f}}}"
            for metric, name in (("roc_auc", "auc"), ("recall", "recall"))
            if row[name]
        ]
    return "\n".join(lines) + "\n"


def by_degradation() -> str:
    head = (
        "degradation",
        "AUC (95%)",
        "accuracy at .5",
        "selective risk at 70% coverage",
        "ECE",
        "false positives",
        "recall",
        "pixel AUC",
        "map IoU",
    )
    names = (
        "accuracy",
        "selective_risk_at_70",
        "ece",
        "false_positives",
        "recall",
        "pixel_auc",
        "map_iou",
    )
    return table(
        head,
        [
            (row["degradation"], interval(row), *(number(row[name]) for name in names))
            for row in fresh()
            if row["family"] == "all"
        ],
    )


def by_family() -> str:
    own = fresh()
    degradations = list(dict.fromkeys(row["degradation"] for row in own))
    families = [name for name in dict.fromkeys(row["family"] for row in own) if name != "all"]
    cells = {(row["family"], row["degradation"]): number(row["auc"]) for row in own}
    return table(
        ("family", *degradations),
        [(family, *(cells[family, name] for name in degradations)) for family in families],
    )


def by_type() -> str:
    return table(
        ("type", "n", "AUC (95%)", "recall"),
        [
            (row["family"], row["n"], interval(row), number(row["recall"]))
            for row in genuine()
            if row["auc"]
        ],
    )


def false_positives() -> str:
    return table(
        ("source", "n", "false positives"),
        [
            (row["family"], row["n"], number(row["false_positives"]))
            for row in genuine()
            if not row["auc"] and row["false_positives"]
        ],
    )


def calibration() -> str:
    """Errors with and without abstention, and the calibration error."""
    sets = {
        f"genuine forgeries, {row['family']}": [row]
        for row in genuine()
        if row["ece"] and row["family"].startswith("all ")
    }
    sets["fresh forgeries, mean over the degradations"] = [
        row for row in fresh() if row["family"] == "all"
    ]

    def mean(own: list[Row], name: str) -> float:
        return fmean(float(row[name]) for row in own)

    return table(
        ("set", "error when all are answered", "selective risk at 70% coverage", "ECE"),
        [
            (
                name,
                number(str(1 - mean(own, "accuracy"))),
                number(str(mean(own, "selective_risk_at_70"))),
                number(str(mean(own, "ece"))),
            )
            for name, own in sets.items()
        ],
    )


def by_group() -> str:
    """Per kind of group, its lowest and highest share of false positives, where most apart."""
    own = [row for row in rows("authentic") if row["degradation"] in ("none", row["group"])]
    body = []
    for kind in dict.fromkeys(row["kind"] for row in own):
        groups = [row for row in own if row["kind"] == kind]
        low, high = (pick(groups, key=lambda r: float(r["false_positives"])) for pick in (min, max))
        ends = [
            f"{number(row['false_positives'])} ({row['group']}, n {row['n']})"
            for row in (low, high)
        ]
        body.append((kind, *ends))
    return table(("kind of group", "lowest", "highest"), body)


def ablations() -> str:
    return table(
        ("variant", "images", "degradation", "AUC (95%)", "pixel AUC"),
        [
            (
                row["model"],
                row["images"],
                row["degradation"],
                interval(row),
                number(row["pixel_auc"]),
            )
            for row in rows("ablations")
            if row["degradation"] in ("none", "medium", "heavy", "as found")
        ],
    )


def generators() -> str:
    return table(
        ("network", "judged on", "degradation", "n", "images seen", "AUC (95%)"),
        [
            (
                row["model"],
                row["family"],
                row["degradation"],
                row["n"],
                row["images"],
                interval(row),
            )
            for row in rows("generators")
        ],
    )


def explanations() -> str:
    def cell(row: Row, name: str) -> str:
        value = number(row[name])
        ci = number(row[f"{name}_ci"])
        return f"{value} +-{ci}" if value and ci else value

    names = ("pixel_auc", "pointing", "iou", "deletion", "insertion", "shuffle")
    head = (
        "map",
        "faces",
        "pixel AUC",
        "pointing game",
        "IoU",
        "deletion (low is good)",
        "insertion (high is good)",
        "rank correlation after shuffling the weights",
    )
    return table(
        head,
        [
            (
                row["map"],
                max(row["pixel_auc_n"], row["deletion_n"], key=int),
                *(cell(row, n) for n in names),
            )
            for row in rows("explanations")
        ],
    )


def recipes() -> str:
    head = (
        "recipe",
        "start",
        "AUC",
        "loss, first and last",
        "parameters (10^6)",
        "ms per image",
        "training images/s",
        "images seen",
    )
    return table(
        head,
        [
            (
                row["recipe"],
                row["start"],
                number(row["auc"], 2),
                " -> ".join(
                    filter(None, (number(row[f"loss_{at}"], 2) for at in ("first", "last")))
                ),
                f"{float(row['parameters_m']):.1f}",
                f"{float(row['ms_per_image']):.0f}",
                f"{float(row['train_images_per_s']):.0f}" if row["train_images_per_s"] else "",
                row["images_seen"],
            )
            for row in rows("zoo")
        ],
    )


def speed() -> str:
    """Totals of each input, and how many times faster its stages are than the baseline's."""
    cells = {
        (row["input"], row["threads"], row["method"], row["stage"]): row for row in rows("speed")
    }
    inputs = dict.fromkeys((name, threads) for name, threads, _, _ in cells)

    def seconds(key: tuple[str, str], method: str, stage: str) -> str:
        return f"{float(cells[(*key, method, stage)]['median_ms']) / 1000:.2f}"

    def times(key: tuple[str, str], stage: str) -> str:
        faster = cells[(*key, "ours", stage)]["times_faster"]
        return f"{float(faster):.1f}" if faster else ""

    body = [
        (
            *key,
            seconds(key, "baseline", "total"),
            seconds(key, "ours", "total"),
            *(times(key, stage) for stage in ("total", "detect", "embed", "decode")),
        )
        for key in inputs
    ]
    for name, threads in inputs:
        if (name, threads, "baseline", "LIME") in cells:
            key = (name, threads)
            pair = (seconds(key, method, "LIME") for method in ("baseline", "ours"))
            body.append(("LIME of one face", threads, *pair, times(key, "LIME"), "", "", ""))
    head = (
        "input",
        "threads",
        "baseline, s",
        "here, s",
        "times faster",
        "detect",
        "embed",
        "decode",
    )
    return table(head, body)


def floors() -> str:
    """Processor time of each stage beside that of its matrix products and convolutions alone, one
    thread.
    """
    body = []
    for row in rows("speed"):
        if (row["method"], row["threads"]) != ("ours", "1") or row["stage"] not in FLOOR_STAGES:
            continue
        cpu, floor = row["cpu_ms"], row["floor_ms"]
        share = f"{float(floor) / float(cpu):.0%}" if floor else ""
        stage = FLOOR_STAGES[row["stage"]]
        body.append((row["input"], stage, number(cpu, 0), number(floor, 0), share))
    return table(("input", "stage", "processor ms", "products alone, ms", "share"), body)


TABLES: dict[str, Callable[[], str]] = {
    "headline": headline,
    "model-index": model_index,
    "degradations": by_degradation,
    "families": by_family,
    "types": by_type,
    "false-positives": false_positives,
    "calibration": calibration,
    "groups": by_group,
    "ablations": ablations,
    "generators": generators,
    "explanations": explanations,
    "recipes": recipes,
    "speed": speed,
    "floors": floors,
}


def filled(text: str) -> str:
    """The page with every table as the CSV files say now. Raises KeyError on an unknown name."""
    return BLOCK.sub(lambda found: found["begin"] + TABLES[found["name"]]() + found["end"], text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python docs/tables.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--check", action="store_true", help="write nothing, report old tables")
    options = parser.parse_args(arguments)
    status = 0
    for name in PAGES:
        page = ROOT / name
        text = page.read_text(encoding="utf-8")
        new = filled(text)
        if new == text:
            continue
        if options.check:
            print(f"{name}: a table is older than its CSV file; run python docs/tables.py.")
            status = 1
        else:
            page.write_text(new, encoding="utf-8")
            print(f"{name}: written")
    return status


if __name__ == "__main__":
    sys.exit(main())
