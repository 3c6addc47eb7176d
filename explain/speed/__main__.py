"""python -m explain.speed [--baseline]: time and memory by stage, on inputs made on the spot.

Prints the table and writes speed.csv. `--baseline` also measures the same work the way of the
sources that this project grew from (see `baseline.py`), and the ratios.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from multiprocessing import get_context
from pathlib import Path

import torch

from detector.commandline import extra, finish
from detector.errors import DetectorError
from explain.benchmark import write_csv
from explain.speed.inputs import DEFAULT_INPUTS, INPUTS, write_input


def machine(device: str) -> str:
    """The processor or the graphics card, in words."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run(args: argparse.Namespace) -> int:
    """The command: prints the table and writes speed.csv. Raises DetectorError."""
    with extra("test"):
        from explain.speed.stages import Row, Task, draw_table, measure
    facts = {
        "date": date.today().isoformat(),
        "machine": machine(args.device),
        "torch": torch.__version__,
    }
    rows: list[Row] = []
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.inputs:
        path = write_input(name, args.cache)
        for threads in args.threads:
            os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the child imports torch
            task = Task(name, path, threads, args.repeats, args.baseline, args.device, args.model)
            with ProcessPoolExecutor(1, get_context("spawn")) as apart:
                found = apart.submit(measure, task).result()
            rows += [row | facts for row in found]
            print(draw_table(found), flush=True)
            write_csv(args.out / "speed.csv", rows)  # as far as it is: the whole takes minutes
    print(f"\n{facts['machine']}, {os.cpu_count()} cores, torch {facts['torch']}, {facts['date']}")
    return 0


def main(argv: list[str] | None = None) -> int:
    return finish(lambda: reported(read_arguments(argv)))


def reported(args: argparse.Namespace) -> int:
    """The exit status of the command, with an error as one sentence."""
    try:
        return run(args)
    except DetectorError as err:
        print(err, file=sys.stderr)
        return 1


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m explain.speed", description=__doc__.split("\n")[0]
    )  # type: ignore[union-attr]
    add = parser.add_argument
    add("--inputs", nargs="+", choices=list(INPUTS), default=DEFAULT_INPUTS, metavar="NAME")
    add("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    add("--repeats", type=int, default=5)
    add("--baseline", action="store_true", help="also the baseline, and the ratios")
    add("--device", choices=["auto", "cpu", "cuda"], default="auto")
    add("--model", metavar="NAME|DIR")
    add("--cache", type=Path, default=Path("runs/cache/speed"), help="where the inputs are kept")
    add("--out", type=Path, default=Path("out"), help="folder for speed.csv")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
