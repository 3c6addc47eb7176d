"""python -m detector analyze PATH [PATH ...] [--json] [--frames N] [--device auto|cpu|cuda]
[--model NAME|DIR]

python -m detector scan INPUT [INPUT ...] --out results.parquet [--engine local|ray] [--workers N]:
one table

Exit status: 0 if every file was read, 1 if any was not, 2 for usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from detector.errors import DetectorError
from detector.pipeline import DEFAULT_FRAMES, Detector, analysis_json
from detector.scan import ENGINES, Job, run
from detector.types import Analysis, Label

IN_WORDS = {
    Label.FORGED: "forged-looking",
    Label.AUTHENTIC: "authentic-looking",
    Label.UNCERTAIN: "cannot say",
    Label.NO_FACE: "no face",
}


def in_words(analysis: Analysis) -> str:
    """One line for people."""
    verdict = analysis.verdict
    chance = "" if verdict.p_fake is None else f" (score {verdict.p_fake:.2f})"
    return f"{analysis.media.name}: {IN_WORDS[verdict.label]}{chance}. {verdict.reason}"


def analyze(paths: list[Path], detector: Detector, n_frames: int, as_json: bool) -> int:
    """Analyse files in order, one line each on stdout; a file that cannot be read is reported and
    the run goes on.
    """
    status = 0
    for path in paths:
        try:
            analysis = detector.analyze(path, n_frames)
            line = json.dumps(analysis_json(analysis)) if as_json else in_words(analysis)
        except DetectorError as err:
            status = 1
            error = {"file": path.name, "error": {"type": type(err).__name__, "message": str(err)}}
            line = json.dumps(error) if as_json else f"{path.name}: {err}"
        print(line, flush=True)
    return status


def _add_common(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--frames", type=int, default=DEFAULT_FRAMES, metavar="N", help="frames sampled of a clip"
    )
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    command.add_argument(
        "--model", metavar="NAME|DIR", help="a shipped model's name or a model folder"
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m detector", description="How forged does a face look?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("analyze", help="analyse photos and clips")
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH")
    command.add_argument("--json", action="store_true", help="one JSON object per file and line")
    _add_common(command)
    command = commands.add_parser(
        "scan", help="analyse many files into a table; goes on where it was stopped"
    )
    command.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a file, a folder, a glob, or @LIST of these"
    )
    command.add_argument("--out", type=Path, required=True, metavar="TABLE.parquet")
    command.add_argument(
        "--engine", choices=list(ENGINES), default="local", help="this machine, or a Ray cluster"
    )
    command.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="one per core without it",
    )
    _add_common(command)
    args = parser.parse_args(argv)
    if args.frames < 1:
        parser.error("--frames must be at least 1")
    if args.command == "scan":
        if args.workers < 1:
            parser.error("--workers must be at least 1")
        return run(
            args.inputs,
            args.out,
            Job(args.model, args.device, args.frames),
            args.engine,
            args.workers,
        )
    try:
        detector = Detector(args.model, args.device)
    except DetectorError as err:
        print(f"{err}", file=sys.stderr)
        return 2
    return analyze(args.paths, detector, args.frames, args.json)


if __name__ == "__main__":
    sys.exit(main())
