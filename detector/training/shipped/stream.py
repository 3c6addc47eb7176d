"""Batches of pairs without end, made in the DataLoader's workers."""

from __future__ import annotations

import multiprocessing as mp
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from detector.forgery.pairs import FAMILIES, PairMaker

PairBatch = tuple[Tensor, Tensor, Tensor]  # crops, masks, families: see PairStream


@dataclass(frozen=True)
class Difficulty:
    """What pairs are made at a point of the curriculum."""

    strength: float  # of the forgeries: 1 easy to see, 0 barely different
    augmentation: float  # of both halves of a pair alike, 0 to 1
    side_px: int  # of the crops
    emphasis: Mapping[str, float]  # family -> how much more often than by its weight it is drawn


class SharedDifficulty:
    """A Difficulty that the loop sets and the worker processes read."""

    def __init__(self, first: Difficulty) -> None:
        self._numbers = mp.Array("d", 3 + len(FAMILIES))
        self.set(first)

    def set(self, now: Difficulty) -> None:
        emphasis = [now.emphasis[family] for family in FAMILIES]
        self._numbers[:] = [now.strength, now.augmentation, now.side_px, *emphasis]

    def get(self) -> Difficulty:
        strength, degradation, side_px, *emphasis = self._numbers[:]
        by_family = dict(zip(FAMILIES, emphasis, strict=True))
        return Difficulty(strength, degradation, int(side_px), by_family)


class PairStream(IterableDataset[PairBatch]):
    """Endless batches of P pairs, for a DataLoader with batch_size=None.

    A batch is crops (2P, 3, S, S) uint8, authentic and forged in turn, masks (2P, S/8, S/8) and the
    number of each pair's family in FAMILIES (P,).
    """

    def __init__(
        self, maker: PairMaker, pairs_per_batch: int, seed: int, difficulty: SharedDifficulty
    ) -> None:
        self.maker = maker
        self.pairs = pairs_per_batch
        self.seed = seed
        self.difficulty = difficulty

    def __iter__(self) -> Iterator[PairBatch]:
        cv2.setNumThreads(0)
        info = get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            now = self.difficulty.get()
            drawn = [
                self.maker.draw(rng, now.strength, now.augmentation, now.side_px, now.emphasis)
                for _ in range(self.pairs)
            ]
            yield batch_of(drawn)


def batch_of(drawn: Sequence[tuple[NDArray[np.uint8], NDArray[np.float32], str]]) -> PairBatch:
    """Return the batch of pairs that a PairMaker drew."""
    crops = torch.from_numpy(np.concatenate([d[0] for d in drawn])).permute(0, 3, 1, 2)
    masks = torch.from_numpy(np.concatenate([d[1] for d in drawn]))
    families = torch.tensor([FAMILIES.index(d[2]) for d in drawn])
    return crops.contiguous(), masks, families
