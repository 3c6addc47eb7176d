"""The digits that the GAN and the autoencoder learn: scikit-learn's bundled ones, 1,797 of them,
enlarged to 28x28.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits

SIDE_PX = 28
UNSEEN_EVERY = 5  # every fifth digit is kept from training


@dataclass(frozen=True, eq=False)
class Digits:
    """Pictures (N, 28, 28) float32 in [0, 1], white on black, and which digit each shows."""

    pictures: NDArray[np.float32]
    labels: NDArray[np.int64]


@lru_cache(maxsize=1)
def digits() -> Digits:
    """All of them."""
    bundled = load_digits()
    small = bundled.images.astype(np.float32) / 16
    large = [
        cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC) for picture in small
    ]
    return Digits(
        np.clip(np.stack(large), 0, 1).astype(np.float32), bundled.target.astype(np.int64)
    )


def split() -> tuple[Digits, Digits]:
    """(seen, unseen): what is trained on, and what is kept to see how far it carries."""
    every, unseen = digits(), np.arange(len(digits().labels)) % UNSEEN_EVERY == 0
    return tuple(Digits(every.pictures[k], every.labels[k]) for k in (~unseen, unseen))  # type: ignore[return-value]
