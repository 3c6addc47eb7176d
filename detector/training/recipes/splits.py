"""Dividing a data set: nobody's face on both sides, both labels in their proportion, the same seed
the same split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from detector.training.recipes.layouts import Item

LARGEST = 0.5  # share of the files one group of linked people may hold before the links are cut


def split_items(items: Sequence[Item], shares: Mapping[str, float], seed: int = 0) -> list[Item]:
    """Every file with its split; those the data set itself placed stay where they are.

    People linked by a forgery (target and donor) go together. Where such links join most of
    a data set into one group, as in Celeb-DF, people are divided one by one, and a forgery between
    two splits is left out of the answer.
    """
    free = [item for item in items if not item.split]
    groups = _linked(free)
    knot = max((len(group) for group in groups), default=0) > LARGEST * len(free)
    if knot:
        groups = _by_target(free)
    placed = _place(groups, shares, np.random.default_rng(seed))
    if knot:
        home = {item.people[0]: item.split for item in placed}
        placed = [
            i for i in placed if all(home.get(person, i.split) == i.split for person in i.people)
        ]
    return sorted([item for item in items if item.split] + placed, key=lambda item: str(item.path))


def _linked(items: Sequence[Item]) -> list[list[Item]]:
    """Groups of files whose people are connected (union-find)."""
    parent: dict[str, str] = {}

    def root(person: str) -> str:
        while parent.setdefault(person, person) != person:
            parent[person] = person = parent[parent[person]]
        return person

    for item in items:
        for person in item.people:
            parent[root(person)] = root(item.people[0])
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(root(item.people[0]), []).append(item)
    return [groups[name] for name in sorted(groups)]


def _by_target(items: Sequence[Item]) -> list[list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(item.people[0], []).append(item)
    return [groups[name] for name in sorted(groups)]


def _place(
    groups: Sequence[list[Item]], shares: Mapping[str, float], rng: np.random.Generator
) -> list[Item]:
    """Large groups first, each to the split that lacks most of what it holds."""
    total = Counter(item.label for group in groups for item in group)
    have: Counter[tuple[str, int]] = Counter()
    order = sorted(rng.permutation(len(groups)), key=lambda index: -len(groups[index]))
    placed = []
    for index in order:
        counts = Counter(item.label for item in groups[index])

        def lack(split: str, counts: Counter[int] = counts) -> float:
            return sum(
                n * (1 - have[split, k] / (shares[split] * total[k])) for k, n in counts.items()
            )

        split = max(
            (s for s in shares if shares[s] > 0), key=lambda s: (round(lack(s), 9), shares[s])
        )
        have.update({(split, label): n for label, n in counts.items()})
        placed += [replace(item, split=split) for item in groups[index]]
    return placed


class BalancedSampler(Sampler[int]):
    """As many of one label as of the other in every epoch: all of the rarer, fresh ones of the
    commoner.
    """

    def __init__(self, labels: NDArray[np.int64], seed: int = 0) -> None:
        self.by_label = [np.flatnonzero(labels == k) for k in np.unique(labels)]
        self.size = min(len(some) for some in self.by_label)
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.size * len(self.by_label)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])  # the same in every process of a run
        chosen = np.concatenate([rng.permutation(some)[: self.size] for some in self.by_label])
        return iter(rng.permutation(chosen).tolist())
