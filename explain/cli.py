"""deepfake-lens analyze | explain | scan | serve: the one command of the installed package.

`analyze` and `scan` are those of `python -m detector`, `explain` is `python -m explain`. What
computes is imported after the arguments are known to be right.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import detector.__main__ as of_detector
import explain.__main__ as of_explain
from detector.commandline import add_version, finish, half_the_cores


def folder(text: str) -> Path:
    """An option's value. Raises ArgumentTypeError where there is no such folder."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {text}")
    return Path(text)


def run_serve(args: argparse.Namespace) -> int:
    """Serve the page at GRADIO_SERVER_NAME (127.0.0.1; a Space sets 0.0.0.0) and
    GRADIO_SERVER_PORT (7860).
    """
    host = os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1")
    port = os.environ.get("GRADIO_SERVER_PORT", "7860")
    if not port.isdecimal():
        print(f"GRADIO_SERVER_PORT must be a number, not {port!r}.", file=sys.stderr)
        return 2
    half_the_cores()
    from explain.server.loading import load_gradio

    load_gradio()
    from explain import page

    page.serve(args.models, host, int(port))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status; wrong usage ends in SystemExit(2)."""
    parser = argparse.ArgumentParser(
        prog="deepfake-lens",
        description="See whether, where, when and why a face looks forged.",
    )
    add_version(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    of_detector.add_commands(commands)
    of_explain.add_arguments(commands.add_parser("explain", help="write a report on one file"))
    command = commands.add_parser(
        "serve",
        help="serve the page, on http://127.0.0.1:7860",
        description="Serve the page. GRADIO_SERVER_NAME and GRADIO_SERVER_PORT set its address.",
    )
    command.set_defaults(run=run_serve)
    command.add_argument(
        "--models",
        type=folder,
        metavar="DIR",
        default=os.environ.get("DEEPFAKE_LENS_MODELS"),
        help="model folders that the page offers beside the shipped models",
    )

    def run() -> int:
        args = parser.parse_args(arguments)
        return int(args.run(args))

    return finish(run)


if __name__ == "__main__":
    sys.exit(main())
