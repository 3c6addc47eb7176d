"""What the networks answer for a batch of crops, as NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class ClipLogits:
    """CLIP's answers for N crops, (N,) float32 each."""

    manipulated: NDArray[np.float32]
    generated: NDArray[np.float32]
    drawn: NDArray[np.float32]  # above 0: no photograph

    def at(self, where: NDArray, there: NDArray) -> ClipLogits:
        """Return the answers at positions `where`, linearly between those known at `there`."""
        columns = (self.manipulated, self.generated, self.drawn)
        return ClipLogits(*(np.interp(where, there, c).astype(np.float32) for c in columns))

    def part(self, start: int, count: int) -> ClipLogits:
        """The answers for `count` of the crops, from number `start` on."""
        own = slice(start, start + count)
        return ClipLogits(self.manipulated[own], self.generated[own], self.drawn[own])


@dataclass(frozen=True, eq=False)
class Predictions:
    """The two-stream network's answer for N crops, before calibration."""

    logits: NDArray[np.float32]  # (N,)
    maps: NDArray[np.float32]  # (N, MAP_SIZE, MAP_SIZE) logits
    embeddings: NDArray[np.float32]  # (N, D)

    def part(self, start: int, count: int) -> Predictions:
        """The answer for `count` of the crops, from number `start` on."""
        own = slice(start, start + count)
        return Predictions(self.logits[own], self.maps[own], self.embeddings[own])
