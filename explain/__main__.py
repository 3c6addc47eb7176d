"""Command line: python -m explain PATH --out DIR

What computes is imported after the arguments are known to be right.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from detector.commandline import (
    add_detector_options,
    add_track_option,
    add_version,
    finish,
    load_torch,
    one_line,
)
from detector.errors import DetectorError, text_of
from detector.manifest import find_model


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command; its function is left in `args.run`."""
    parser.set_defaults(run=run)
    parser.add_argument("path", type=Path, help="a photo or a clip")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for report.html, report.json and the pictures",
    )
    add_detector_options(parser)
    add_track_option(parser)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[],
        metavar="NAME",
        help="heat maps by name, as in the report",
    )
    parser.add_argument("--no-lime", action="store_true", help="leave LIME out")
    parser.add_argument(
        "--no-check", action="store_true", help="leave the check of the explanations out"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the random numbers of LIME and of the check"
    )


def run(args: argparse.Namespace) -> int:
    """Write the report; 0 on success, 1 with one sentence on stderr."""
    try:
        find_model(args.model)  # told before torch is loaded
        for file in _written(args):
            print(text_of(str(file)))
    except (DetectorError, ValueError) as err:
        print(one_line(str(err)), file=sys.stderr)
        return 1
    except BrokenPipeError:  # stdout's reader has seen enough
        raise
    except OSError as err:
        print(
            f"The report cannot be written to {text_of(str(args.out))}: {err.strerror or err}.",
            file=sys.stderr,
        )
        return 1
    return 0


def _written(args: argparse.Namespace) -> list[Path]:
    load_torch()
    from detector.media import DEFAULT_FRAMES
    from detector.pipeline import Detector
    from explain.explainer import Explainer
    from explain.pipeline import ExplainOptions
    from explain.report import build_report, write_report

    options = ExplainOptions(
        methods=tuple(args.methods),
        lime=not args.no_lime,
        check=not args.no_check,
        seed=args.seed,
    )
    detector = Detector(args.model, args.device)
    step = Stages()
    analysis = detector.analyze(args.path, args.frames or DEFAULT_FRAMES, step, args.track)
    explainer = Explainer(detector, analysis.media.kind)
    report = build_report(explainer, analysis, args.path, options, step)
    return write_report(report, args.out)


class Stages:
    """A progress callback that prints each stage once, on stderr, with the seconds so far."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self._last = ""

    def __call__(self, share: float, stage: str) -> None:
        name = re.sub(r": \d+ of \d+ .*", "", stage)  # without the count of pictures
        if name != self._last:
            passed_s = time.perf_counter() - self._start_s
            print(f"{passed_s:6.1f} s  {name}", file=sys.stderr, flush=True)
            self._last = name


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; wrong usage ends in SystemExit(2)."""
    parser = argparse.ArgumentParser(
        prog="python -m explain", description="Explain what the detector sees in a file."
    )
    add_version(parser)
    add_arguments(parser)

    def command() -> int:
        args = parser.parse_args(arguments)
        return int(args.run(args))

    return finish(command)


if __name__ == "__main__":
    sys.exit(main())
