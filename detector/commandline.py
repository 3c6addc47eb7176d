"""What the command lines share: options, and what each sets for its own process.

An import of the packages sets nothing. Nothing here loads more than the standard library, so that
`--help`, `--version` and wrong usage are answered at once.
"""

from __future__ import annotations

import argparse
import os

from detector import __version__


def half_the_cores() -> None:
    """Half the cores for torch, unless the user says otherwise. To be called before torch is
    imported.

    Its OpenMP threads wait for each other by spinning, and on cores shared with a second visitor or
    the video decoder that spinning is what they wait for. Measured on two busy cores, a 10 s clip:
    58 s with two threads, 14 s with one.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))


def at_least_one(text: str) -> int:
    """An option's value. Raises ArgumentTypeError for what is no whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return int(text)


def add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"deepfake-lens {__version__}")


def add_detector_options(command: argparse.ArgumentParser) -> None:
    """--frames (None without it: the detector's default), --device and --model."""
    command.add_argument(
        "--frames", type=at_least_one, metavar="N", help="frames sampled of a clip"
    )
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    command.add_argument(
        "--model", metavar="NAME|DIR", help="a shipped model's name or a model folder"
    )
