"""What the command lines share: options, and how each sets up its own process.

An import of the packages sets nothing. Nothing here loads more than the standard library before it
must, so that `--help`, `--version` and wrong usage are answered at once.
"""

from __future__ import annotations

import argparse
import errno
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from types import ModuleType
from typing import Any

from detector import __version__
from detector.errors import DetectorError

COMPILER = "torch._dynamo"
CLOSED_PIPE = 141  # exit status of a program that SIGPIPE ends
INTERRUPTED = 130  # by Ctrl-C
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
_NO_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def finish(command: Callable[[], int | None]) -> int:
    """Run a command line to its end and return the exit status, 0 for None.

    What stdout cannot encode is escaped. A reader that has seen enough (`| head`), a full disk and
    Ctrl-C end it without a traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors="backslashreplace")
    try:
        try:
            return command() or 0
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        _write_nowhere()
        return CLOSED_PIPE
    except OSError as err:
        if err.errno not in _DISK:
            raise
        _write_nowhere()
        print(f"The answer cannot be written: {err.strerror}.", file=sys.stderr)
        return 2


def _write_nowhere() -> None:
    """Keep Python's last flush of stdout from failing again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def one_line(text: str) -> str:
    """Text for a terminal: breaks, control characters and turns of direction are escaped."""
    return _NO_TEXT.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


@contextmanager
def extra(name: str) -> Iterator[None]:
    """Turn a package that is not installed into a sentence that names the extra it comes with.

    Raises DetectorError.
    """
    try:
        yield
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] in ("detector", "explain"):
            raise
        raise DetectorError(
            f"{err.name} is not installed: pip install 'deepfake-lens[{name}]'."
        ) from err


def half_the_cores() -> None:
    """Half the cores for torch, unless the user says otherwise. To be called before torch is
    imported.

    Its OpenMP threads wait for each other by spinning, and on cores shared with a second visitor or
    the video decoder that spinning is what they wait for. Measured on two busy cores, a 10 s clip:
    58 s with two threads, 14 s with one.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))


def load_torch() -> None:
    """Import torch and timm into a process of ours: half the cores, and without torch's compiler.

    timm and torchvision import torch._dynamo for one name each, and with it 900 modules: half of
    what a command line imports before its first answer. Nothing here compiles, so stand-ins hold
    these two names meanwhile. Whoever asks for anything else of the compiler, then or later, gets
    the real one.
    """
    half_the_cores()
    import torch  # noqa: F401 - what torch itself imports must not see the stand-ins

    if COMPILER in sys.modules:
        return
    _stand_in(COMPILER, disable=_unmarked)
    _stand_in(f"{COMPILER}.utils", is_compile_supported=_is_compile_supported)
    try:
        import timm  # noqa: F401 - and torchvision
    finally:
        _drop_stand_ins()


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # the import system asks; nobody else
            raise AttributeError(name)
        _drop_stand_ins()
        return getattr(import_module(self.__name__), name)


def _stand_in(module: str, **names: Any) -> None:
    sys.modules[module] = _StandIn(module)
    vars(sys.modules[module]).update(names)


def _drop_stand_ins() -> None:
    for name in [name for name, module in sys.modules.items() if isinstance(module, _StandIn)]:
        del sys.modules[name]


def _unmarked(function: Callable[..., Any] | None = None, *_: Any, **__: Any) -> Any:
    """In place of the decorator that keeps the compiler away from a function."""
    return function if function is not None else lambda later: later


def _is_compile_supported(device: str) -> bool:
    return bool(import_module(f"{COMPILER}.utils").is_compile_supported(device))


def at_least_one(text: str) -> int:
    """An option's value. Raises ArgumentTypeError for what is no whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, not {text}")
    return int(text)


def add_version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", action="version", version=f"deepfake-lens {__version__}")


def add_track_option(command: argparse.ArgumentParser) -> None:
    """--track: of every clip that is read."""
    command.add_argument(
        "--track", type=at_least_one, metavar="N", help="which of a clip's video tracks, from 1 on"
    )


def add_detector_options(command: argparse.ArgumentParser) -> None:
    """--frames (None without it: the detector's default), --device and --model."""
    command.add_argument(
        "--frames", type=at_least_one, metavar="N", help="frames sampled of a clip"
    )
    command.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        default="auto",
        help="auto takes a GPU where one is",
    )
    command.add_argument(
        "--model", metavar="NAME|DIR", help="a shipped model's name or a model folder"
    )
