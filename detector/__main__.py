"""python -m detector analyze PATH [PATH ...] [--json] [--frames N] [--device auto|cpu|cuda]
[--model NAME|DIR]

python -m detector scan INPUT [INPUT ...] --out results.parquet [--engine local|ray] [--workers N]:
one table

Exit status: 0 if every file was read, 1 if any was not, 2 for usage. What computes is imported
after the arguments are known to be right.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.commandline import (
    add_detector_options,
    add_track_option,
    add_version,
    at_least_one,
    finish,
    load_torch,
    one_line,
)
from detector.errors import DetectorError, text_of
from detector.manifest import find_model

if TYPE_CHECKING:
    from detector.pipeline import Detector
    from detector.types import Analysis, Verdict

ENGINES = ("local", "ray")  # of scan


def in_words(analysis: Analysis) -> str:
    """One line for people: the headline, its score and its reason, then each of several faces and
    what was not looked at.
    """
    verdict = analysis.verdict
    line = f"{analysis.media.name}: {_scored(verdict)}. {verdict.reason}"
    if len(analysis.faces) > 1:
        each = [f"face {face.track.track} {_scored(face.verdict)}" for face in analysis.faces]
        line += f" By face: {'; '.join(each)}."
    return " ".join([line, *analysis.media.notes])


def _scored(verdict: Verdict) -> str:
    from detector.decide import format_probability

    if verdict.p_fake is None:
        return verdict.headline
    return f"{verdict.headline} (score {format_probability(verdict.p_fake)})"


def analyze(
    paths: list[Path], detector: Detector, n_frames: int, as_json: bool, track: int | None = None
) -> int:
    """Analyse files in order, one line each on stdout; a file that cannot be read is reported and
    the run goes on.
    """
    from detector.contract import analysis_json

    status = 0
    for path in paths:
        try:
            analysis = detector.analyze(path, n_frames, track=track)
            line = json.dumps(analysis_json(analysis)) if as_json else one_line(in_words(analysis))
        except DetectorError as err:
            status = 1
            name = text_of(path.name)
            kind = type(err).__name__
            error = {"file": name, "error": {"type": kind, "message": str(err)}}
            line = json.dumps(error) if as_json else one_line(f"{name}: {err}")
        print(line, flush=True)
    return status


def run_analyze(args: argparse.Namespace) -> int:
    """Exit status of `analyze`."""
    try:
        find_model(args.model)  # told before torch is loaded
        load_torch()
        from detector.media import DEFAULT_FRAMES
        from detector.pipeline import Detector

        detector = Detector(args.model, args.device)
    except DetectorError as err:
        print(err, file=sys.stderr)
        return 2
    return analyze(args.paths, detector, args.frames or DEFAULT_FRAMES, args.json, args.track)


def run_scan(args: argparse.Namespace) -> int:
    """Exit status of `scan`. Torch is left to the workers, which start meanwhile."""
    from detector.media import DEFAULT_FRAMES
    from detector.scan import Job, run

    job = Job(args.model, args.device, args.frames or DEFAULT_FRAMES, args.track)
    return run(args.inputs, args.out, job, args.engine, args.workers)


def add_commands(commands: Any) -> None:
    """Add `analyze` and `scan` to a parser's subcommands; each leaves a function in `args.run`."""
    command = commands.add_parser("analyze", help="analyse photos and clips")
    command.set_defaults(run=run_analyze)
    command.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="photos and clips")
    command.add_argument("--json", action="store_true", help="one JSON object per file and line")
    add_detector_options(command)
    add_track_option(command)
    command = commands.add_parser(
        "scan", help="analyse many files into a table; goes on where it was stopped"
    )
    command.set_defaults(run=run_scan)
    command.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a file, a folder, a glob, or @LIST of these"
    )
    command.add_argument(
        "--out", type=Path, required=True, metavar="TABLE.parquet", help="one row per file"
    )
    command.add_argument(
        "--engine", choices=ENGINES, default="local", help="this machine, or a Ray cluster"
    )
    command.add_argument(
        "--workers",
        type=at_least_one,
        default=os.cpu_count() or 1,
        metavar="N",
        help="one per core without it",
    )
    add_detector_options(command)
    add_track_option(command)


def main(argv: list[str] | None = None) -> int:
    """Returns the exit status; wrong usage ends in SystemExit(2)."""
    parser = argparse.ArgumentParser(
        prog="python -m detector", description="How forged does a face look?"
    )
    add_version(parser)
    add_commands(parser.add_subparsers(required=True, metavar="COMMAND"))

    def command() -> int:
        args = parser.parse_args(argv)
        return int(args.run(args))

    return finish(command)


if __name__ == "__main__":
    sys.exit(main())
