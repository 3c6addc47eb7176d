"""Batches of pairs without end, in the DataLoader's workers."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.sharedctypes import SynchronizedArray
from typing import Any

import cv2
import numpy as np
import torch
from torch.utils.data import IterableDataset

from detector.forgery.pairs import FAMILIES, PairMaker


class PairStream(IterableDataset):  # type: ignore[type-arg]
    """Endless batches of pairs for a DataLoader with batch_size=None.

    `stage` is shared with the training loop: [strength, nuisance, size_px, emphasis per family...];
    the loop moves it on and the workers follow.
    """

    def __init__(
        self, maker: PairMaker, pairs_per_batch: int, seed: int, stage: SynchronizedArray[Any]
    ) -> None:
        self.maker, self.pairs, self.seed, self.stage = maker, pairs_per_batch, seed, stage

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        cv2.setNumThreads(0)
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            strength, nuisance, size, *emphasis = list(self.stage)  # type: ignore[call-overload]
            weights = dict(zip(FAMILIES, emphasis, strict=True))
            drawn = [
                self.maker.draw(rng, strength, nuisance, int(size), weights)
                for _ in range(self.pairs)
            ]
            crops = (
                torch.from_numpy(np.concatenate([d[0] for d in drawn]))
                .permute(0, 3, 1, 2)
                .contiguous()
            )
            masks = torch.from_numpy(np.concatenate([d[1] for d in drawn]))
            families = torch.tensor([FAMILIES.index(d[2]) for d in drawn])
            yield crops, masks, families
