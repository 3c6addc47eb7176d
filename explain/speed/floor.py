"""The floor under a stage: its matrix products and convolutions alone, without anything around."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

REPEATS = 3  # of each product; the median counts, as of the stages
_NAMES = ("mm", "addmm", "bmm", "convolution", "linear", "matmul", "conv2d")
# the last three arrive whole in inference mode, and else as the first four
PRODUCTS = {getattr(torch.ops.aten, name).default for name in _NAMES}


class _Recorder(TorchDispatchMode):
    """Notes every product that runs: how often, and what one of each kind was called with."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[tuple[object, ...]] = Counter()
        self.calls: dict[tuple[object, ...], Callable[[], object]] = {}

    def __torch_dispatch__(
        self,
        func: Any,
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        if func in PRODUCTS:
            key = (func, *map(_kind, args), *options)
            self.counts[key] += 1
            self.calls.setdefault(key, lambda: func(*args, **options))
        return func(*args, **options)


def _kind(argument: Any) -> object:
    """What an argument's part in the time is: of a tensor its shape, layout and precision."""
    if isinstance(argument, Tensor):
        return tuple(argument.shape), argument.stride(), argument.dtype
    return tuple(argument) if isinstance(argument, list) else argument


def floor_s(work: Callable[[], object]) -> float:
    """Processor seconds that the matrix products and convolutions of `work` take by themselves.

    `work` is run once and each kind of product again, as often as it occurred; what is left of the
    stage's time goes to activations, attention, memory and Python.
    """
    with _Recorder() as recorder:
        work()
    with torch.inference_mode():
        return sum(count * _median_s(recorder.calls[key]) for key, count in recorder.counts.items())


def _median_s(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return median(seconds)
