"""The one training loop: batches until they end or the time is spent.

`Loop` counts time and steps, shows them, and calls at intervals what validates or saves; a
`Learner` is one module with its optimizer and, if wanted, the running mean of its weights. What is
learnt is the caller's step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

Batch = TypeVar("Batch")
RECENT_STEPS = 200  # the loss that is shown is the mean over so many


def cosine(share: float, floor: float = 0.0) -> float:
    """Return a factor of the learning rate: 1 at a share of 0, falling to `floor` at 1."""
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def rising_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """Return the update of a moving average whose decay rises to `decay` with the steps n, as
    (1 + n) / (10 + n): the random start is soon forgotten.
    """

    def update(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
        now = min(decay, (1 + int(count)) / (10 + int(count)))
        get_ema_multi_avg_fn(now)(averaged, current, count)

    return update


class Learner:
    """A module that learns, with its optimizer and the moving average of its weights.

    decay: of the exponential moving average over steps; None keeps none. decay_rises: the average
    reaches back over no more than a tenth of the steps taken, as long as these are few. backward
    and clip: Accelerate's, where it carries out the run.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        clip_norm: float | None = None,
        decay: float | None = None,
        backward: Callable[[Tensor], Any] = Tensor.backward,
        clip: Callable[[list[nn.Parameter], float], Any] = nn.utils.clip_grad_norm_,
        decay_rises: bool = False,
    ) -> None:
        self.net = net
        self.optimizer = optimizer
        self.clip_norm = clip_norm
        self._backward = backward
        self._clip = clip
        self._average = None
        if decay is not None:
            mean: Any = rising_average(decay) if decay_rises else get_ema_multi_avg_fn(decay)
            self._average = AveragedModel(net, multi_avg_fn=mean, use_buffers=True)

    @property
    def averaged(self) -> nn.Module:
        """The module with the averaged weights; the module itself where no average is kept."""
        return self.net if self._average is None else self._average.module

    def update(self, loss: Tensor, rate: float = 1.0) -> float:
        """Take one step at `rate` times the optimizer's own rates; return the loss."""
        groups = self.optimizer.param_groups
        for group in groups:
            group["lr"] = rate * group.setdefault("peak_lr", group["lr"])
        self.optimizer.zero_grad(set_to_none=True)
        self._backward(loss)
        if self.clip_norm is not None:
            self._clip([p for group in groups for p in group["params"]], self.clip_norm)
        self.optimizer.step()
        if self._average is not None:
            self._average.update_parameters(self.net)
        return float(loss.detach())

    def state_dict(self) -> dict[str, Any]:
        state = {"net": self.net.state_dict(), "opt": self.optimizer.state_dict()}
        return state if self._average is None else state | {"ema": self._average.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["opt"])
        if self._average is not None:
            self._average.load_state_dict(state["ema"])


class Loop:
    """How far a run is, and the loop that carries it on.

    seconds: of steps, what is done at intervals apart; None: as many as it takes. steps: how many
    batches there will be, where that is known. spent_s: what an interrupted run has spent already.
    agree: of several processes, whether any of them says so.
    """

    def __init__(
        self,
        seconds: float | None = None,
        steps: int | None = None,
        spent_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        title: str | None = None,
        quiet: bool = False,
        agree: Callable[[bool], bool] = bool,
    ) -> None:
        self.seconds = seconds
        self.steps = steps
        self.spent_s = spent_s
        self.clock = clock
        self.title = title
        self.quiet = quiet
        self.agree = agree
        self.done = 0  # steps
        self.losses: list[float] = []  # one per step

    @property
    def share(self) -> float:
        """How much of the run is done, 0 to 1: of its time where that is limited, else of its
        steps.
        """
        if self.seconds is not None:
            return min(1.0, self.spent_s / max(self.seconds, 1e-9))
        return 0.0 if self.steps is None else min(1.0, self.done / self.steps)

    @property
    def recent_loss(self) -> float:
        """Mean over the latest steps; not a number before the first."""
        return fmean(self.losses[-RECENT_STEPS:]) if self.losses else math.nan

    def run(
        self,
        batches: Iterable[Batch],
        step: Callable[[Batch], float],
        every: Sequence[tuple[float, Callable[[], None]]] = (),
    ) -> None:
        """Take steps, each of which returns its loss, until the batches end or the time is spent.

        every: (seconds, action): done whenever so much time has passed, and once more at the end.
        """
        last_s = [self.spent_s] * len(every)
        by_time = self.seconds is not None and self.steps is None
        stream = iter(batches)
        end = object()
        with self._bar(by_time) as bar:
            while self.seconds is None or not self.agree(self.spent_s > self.seconds):
                began = self.clock()
                batch = next(stream, end)
                if batch is end:
                    break
                self.losses.append(step(batch))  # type: ignore[arg-type]
                took_s = self.clock() - began
                self.spent_s += took_s
                self.done += 1
                bar.set_postfix(loss=f"{self.recent_loss:.3f}", refresh=False)
                bar.update(took_s / 60 if by_time else 1)
                for k, (interval_s, action) in enumerate(every):
                    if self.spent_s - last_s[k] >= interval_s:
                        last_s[k] = self.spent_s
                        action()
        for last, (_, action) in zip(last_s, every, strict=True):
            if last < self.spent_s:
                action()

    def _bar(self, by_time: bool) -> tqdm:
        shown: dict[str, Any] = {"desc": self.title, "disable": True if self.quiet else None}
        if not by_time:
            return tqdm(total=self.steps, unit="step", **shown)
        form = "{l_bar}{bar}| {n:.1f}/{total:.1f} min [{elapsed}{postfix}]"
        minutes = self.seconds / 60  # type: ignore[operator]
        return tqdm(total=minutes, initial=self.spent_s / 60, bar_format=form, **shown)
