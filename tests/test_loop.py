"""The one loop: it ends with its batches or its time, acts at intervals, averages, goes on."""

from pathlib import Path

import pytest
import torch

from detector.training.checkpoints import load_state, save_state
from detector.training.loop import Learner, Loop, cosine


class Clock:
    """Seconds that pass when a step says so."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def run(loop: Loop, clock: Clock, batches: int, *intervals_s: float) -> list[list[int]]:
    """At which steps each action was called; every step takes 10 s."""
    called: list[list[int]] = [[] for _ in intervals_s]

    def step(batch: int) -> float:
        clock.now_s += 10
        return float(batch)

    every = [(s, lambda k=k: called[k].append(loop.done)) for k, s in enumerate(intervals_s)]
    loop.run(range(batches), step, every)
    return called


def test_it_ends_with_the_batches_or_with_the_time() -> None:
    clock = Clock()
    ends_with_batches, ends_with_time = Loop(steps=3), Loop(45, clock=clock)
    run(ends_with_batches, clock, 3)
    assert (ends_with_batches.losses, ends_with_batches.share) == ([0.0, 1.0, 2.0], 1.0)
    run(ends_with_time, clock, 100)
    assert (ends_with_time.done, ends_with_time.spent_s, ends_with_time.share) == (5, 50, 1.0)


def test_there_is_at_least_one_step_and_none_where_the_time_was_spent_before() -> None:
    clock = Clock()
    for seconds, spent_s, steps in ((0, 0, 1), (30, 20, 2), (30, 31, 0)):
        loop = Loop(seconds, spent_s=spent_s, clock=clock)
        called = run(loop, clock, 100, 1000)
        assert loop.done == steps and called == [[steps] if steps else []]


def test_actions_come_at_their_intervals_and_once_at_the_end() -> None:
    clock = Clock()
    assert run(Loop(70, clock=clock), clock, 100, 30, 20) == [[3, 6, 8], [2, 4, 6, 8]]


def test_any_of_several_processes_ends_all() -> None:
    clock = Clock()
    others = iter([False, False, True])
    loop = Loop(1000, clock=clock, agree=lambda late: late or next(others))
    run(loop, clock, 100)
    assert loop.done == 2


def test_the_average_follows_the_weights_and_comes_back_with_them(tmp_path: Path) -> None:
    def learner() -> Learner:
        net = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(net.weight)
        return Learner(net, torch.optim.SGD(net.parameters(), 1.0), clip_norm=1.0, decay=0.5)

    first = learner()
    for rate in (1.0, 0.5):  # a gradient of -10, clipped to -1
        first.update(-10 * first.net.weight.sum(), rate)
    assert first.net.weight.item() == pytest.approx(1.5)
    assert first.averaged.weight.item() == pytest.approx(0.5 * 1 + 0.5 * 1.5)
    save_state(first.state_dict() | {"images": 3}, tmp_path / "last.pt")
    stored = load_state(tmp_path / "last.pt")
    assert stored is not None and stored["images"] == 3
    second = learner()
    second.load_state_dict(stored)
    second.update(-10 * second.net.weight.sum())  # at the whole rate again
    assert second.net.weight.item() == pytest.approx(2.5)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert load_state(tmp_path / "nothing.pt") is None


def test_the_cosine_falls_from_one_to_its_floor() -> None:
    assert [round(cosine(share, 0.02), 2) for share in (0, 0.5, 1, 2)] == [1.0, 0.51, 0.02, 0.02]
