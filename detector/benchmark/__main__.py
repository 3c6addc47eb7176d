"""How good is a model? Tables and pictures; one line per command, and --help after each.

accuracy [--faces DIR] [--devset DIR] --out DIR: tables and pictures of one model.
compare A/scores.csv B/scores.csv: do two models differ? A paired bootstrap of the three figures.
ablations --faces DIR --init FILE --out DIR: one part left out at a time, ablations.csv.
zoo --faces DIR --out DIR: every recipe trained for the same minutes, one table, zoo.csv.
runtimes: would ONNX Runtime, OpenVINO or torch.compile be faster?

Time and memory by stage: python -m explain.speed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from detector.benchmark import validation
from detector.benchmark.ablations import (
    VARIANTS,
    ablation_rows,
    generator_rows,
    residual_rows,
    temporal_rows,
)
from detector.benchmark.accuracy import faces_rows, write_rows
from detector.benchmark.metrics import LabelledScores
from detector.benchmark.plot import draw_accuracy, draw_reliability, draw_risk_coverage
from detector.benchmark.shortcuts import shortcut_rows, widest
from detector.commandline import extra, finish
from detector.errors import DetectorError
from detector.forgery.pictures import load_all
from detector.pipeline import Detector

RESIDUAL_PAIRS = 300
GENERATOR_PAIRS = 5  # times --per-family, of the one family there is


def measure_accuracy(args: argparse.Namespace) -> int:
    """Accuracy of one model: accuracy.csv and .png, reliability.png, risk_coverage.png, and
    authentic.csv.
    """
    detector = Detector(args.model)
    rows: list[dict[str, Any]] = []
    scores: dict[str, LabelledScores] = {}
    args.out.mkdir(parents=True, exist_ok=True)
    if args.faces:
        held = load_all(args.faces, args.cache, args.generators, splits=("val",))
        rows, scores = faces_rows(detector, held, args.per_family)
        groups = shortcut_rows(detector, held)
        write_rows(groups, args.out / "authentic.csv")
        show(widest(groups))
    if args.devset:
        scored = validation.score_set(detector, args.devset, args.cache / "devset")
        validation.write_scores(scored, args.out / "scores.csv")
        rows += validation.summary_rows(scored)
        scores |= validation.by_kind(scored)
    rows = [row | {"model": detector.info.name} for row in rows]
    write_rows(rows, args.out / "accuracy.csv")
    (args.out / "accuracy.png").write_bytes(draw_accuracy(rows))
    (args.out / "reliability.png").write_bytes(draw_reliability(scores))
    (args.out / "risk_coverage.png").write_bytes(draw_risk_coverage(scores))
    show(rows)
    return 0


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        print(
            "  ".join(f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in row.items()),
            flush=True,
        )


def add_ablations(commands: Any) -> None:
    command = commands.add_parser(
        "ablations", help="train with one part left out at a time, for equal small budgets"
    )
    command.add_argument(
        "--faces", type=Path, required=True, help="data folder: authentic faces, CSVs beside"
    )
    command.add_argument(
        "--init", type=Path, required=True, help="ImageNet weights of the backbone (safetensors)"
    )
    command.add_argument(
        "--generators", type=Path, help="small generators for the generator family"
    )
    command.add_argument("--minutes", type=float, default=6.0, help="of training, for each variant")
    command.add_argument("--per-family", type=int, default=30)
    command.add_argument(
        "--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS), metavar="NAME"
    )
    command.add_argument(
        "--unseen-generators",
        action="store_true",
        help="instead: one family of generators at a time",
    )
    command.add_argument(
        "--model", metavar="NAME|DIR", help="for the denoiser's residual and the temporal heads"
    )
    command.add_argument(
        "--heads", type=Path, help="trained temporal heads, held against the mean on --devset"
    )
    command.add_argument("--devset", type=Path)
    command.add_argument("--cache", type=Path, default=Path("runs/cache"))
    command.add_argument("--out", type=Path, required=True)


def run_ablations(args: argparse.Namespace) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    if args.unseen_generators:
        rows = generator_rows(
            load_all(args.faces, args.cache, None),
            args.init,
            args.minutes,
            GENERATOR_PAIRS * args.per_family,
            args.out,
        )
        write_rows(rows, args.out / "generators.csv")
        show(rows)
        return 0
    detector = Detector(args.model)
    pictures = load_all(args.faces, args.cache, args.generators)
    rows = residual_rows(detector, [p for p in pictures if p.split == "val"], pairs=RESIDUAL_PAIRS)
    if args.heads and args.devset:
        rows += temporal_rows(detector, args.heads, args.devset, args.cache / "devset")
    show(rows)
    rows = (
        ablation_rows(pictures, args.init, args.minutes, args.out, args.per_family, args.variants)
        + rows
    )
    write_rows(rows, args.out / "ablations.csv")
    show(rows)
    return 0


def add_zoo(commands: Any) -> None:
    command = commands.add_parser(
        "zoo", help="train every recipe for the same small budget on the same forged faces"
    )
    command.add_argument(
        "--faces", type=Path, required=True, help="data folder: authentic faces, CSVs beside"
    )
    command.add_argument("--recipes", nargs="+", metavar="NAME", help="all without it")
    command.add_argument("--minutes", type=float, default=2.8, help="of training, for each recipe")
    command.add_argument(
        "--pairs", type=int, default=100, help="pairs of authentic and forged tracks to train on"
    )
    command.add_argument("--backbone", help="the timm network of the recipe timm")
    command.add_argument(
        "--weights",
        nargs="*",
        default=[],
        metavar="RECIPE=PATH",
        help="pretrained backbones by path",
    )
    command.add_argument(
        "--pretrained",
        action="store_true",
        help="fetch the other backbones; without it from scratch",
    )
    command.add_argument(
        "--model", metavar="NAME|DIR", help="the trained model in the table's last line"
    )
    command.add_argument("--out", type=Path, required=True)


def compare_zoo(args: argparse.Namespace) -> int:
    with extra("train"):
        from detector.benchmark.zoo import Budget, compare_recipes, draw_table

    weights = dict(pair.split("=", 1) for pair in args.weights)
    budget = Budget(args.minutes, args.pairs)
    rows = compare_recipes(
        args.faces,
        args.out,
        budget,
        args.recipes,
        weights,
        args.pretrained,
        args.model,
        args.backbone,
    )
    print(draw_table(rows))
    return 0


def time_runtimes(args: argparse.Namespace) -> int:
    from detector.benchmark.runtimes import compare_runtimes

    torch.set_num_threads(args.threads)
    show(compare_runtimes(Detector(args.model, device="cpu")))  # which is where the runtimes differ
    return 0


def compare_models(args: argparse.Namespace) -> int:
    try:
        before, after = (validation.read_scores(path) for path in (args.before, args.after))
        rows = validation.paired_rows(before, after)
    except (OSError, ValueError) as err:
        print(err, file=sys.stderr)
        return 1
    show(rows)
    return 0


COMMANDS = {
    "compare": compare_models,
    "accuracy": measure_accuracy,
    "zoo": compare_zoo,
    "ablations": run_ablations,
    "runtimes": time_runtimes,
}


def main(argv: list[str] | None = None) -> int:
    return finish(lambda: run(read_arguments(argv)))


def run(args: argparse.Namespace) -> int:
    try:
        return COMMANDS[args.command](args)
    except DetectorError as err:
        print(err, file=sys.stderr)
        return 1


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m detector.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser(
        "accuracy", help="AUC, calibration and error rates with intervals"
    )
    command.add_argument(
        "--faces", type=Path, help="data folder: fresh forgeries of its held-back faces"
    )
    command.add_argument(
        "--devset",
        type=Path,
        help="folder of genuine forgeries with a CSV of the same name beside it",
    )
    command.add_argument(
        "--generators", type=Path, help="small generators for the generator family"
    )
    command.add_argument("--per-family", type=int, default=100)
    command.add_argument("--model", metavar="NAME|DIR")
    command.add_argument(
        "--cache", type=Path, default=Path("runs/cache"), help="found faces are kept here"
    )
    command.add_argument("--out", type=Path, required=True)
    command = commands.add_parser(
        "compare", help="paired bootstrap of two models' scores.csv, as `accuracy` writes them"
    )
    command.add_argument("before", type=Path)
    command.add_argument("after", type=Path)
    add_zoo(commands)
    add_ablations(commands)
    command = commands.add_parser(
        "runtimes", help="the network's forward pass in torch, ONNX Runtime, OpenVINO"
    )
    command.add_argument("--threads", type=int, default=1)
    command.add_argument("--model", metavar="NAME|DIR")
    args = parser.parse_args(argv)
    if args.command == "accuracy" and not (args.faces or args.devset):
        parser.error("name --faces, --devset or both")
    return args


if __name__ == "__main__":
    sys.exit(main())
