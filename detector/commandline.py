"""What the command lines share: options, and how each sets up its own process.

An import of the packages sets nothing. Nothing here loads more than the standard library before it
must, so that `--help`, `--version` and wrong usage are answered at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from detector import __version__

COMPILER = "torch._dynamo"


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


def add_detector_options(command: argparse.ArgumentParser) -> None:
    """--frames (None without it: the detector's default), --device and --model."""
    command.add_argument(
        "--frames", type=at_least_one, metavar="N", help="frames sampled of a clip"
    )
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    command.add_argument(
        "--model", metavar="NAME|DIR", help="a shipped model's name or a model folder"
    )
