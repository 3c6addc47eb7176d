"""Command line: python -m explain PATH --out DIR"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from detector.errors import DetectorError
from detector.pipeline import DEFAULT_FRAMES, Detector
from explain.pipeline import Settings
from explain.report import build_report, write_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report; 0 on success, 1 with one sentence on stderr, 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m explain", description="Explain what the detector sees in a file."
    )
    parser.add_argument("path", type=Path, help="a photo or a clip")
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="folder for report.html, report.json and the pictures",
    )
    parser.add_argument(
        "--frames", type=int, default=DEFAULT_FRAMES, help="frames sampled from a clip"
    )
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument(
        "--model", metavar="NAME|DIR", help="a shipped model's name or a model folder"
    )
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
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    settings = Settings(
        methods=tuple(options.methods),
        lime=not options.no_lime,
        check=not options.no_check,
        seed=options.seed,
    )
    try:
        detector = Detector(options.model, options.device)
        analysis = detector.analyze(options.path, n_frames=options.frames)
        for file in write_report(
            build_report(detector, analysis, options.path, settings), options.out
        ):
            print(file)
    except (DetectorError, ValueError) as err:
        print(err, file=sys.stderr)
        return 1
    except OSError as err:
        print(
            f"The report cannot be written to {options.out}: {err.strerror or err}.",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
