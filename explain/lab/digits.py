"""The digits that the GAN and the autoencoder learn: scikit-learn's bundled ones, enlarged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE_PX = 28  # the size that both networks are built for
UNSEEN_EVERY = 5  # every fifth digit is kept from training


@dataclass(frozen=True, eq=False)
class Digits:
    """Pictures of digits, white on black, and which digit each shows."""

    pictures: NDArray[np.float32]  # (N, SIDE_PX, SIDE_PX) in [0, 1]
    labels: NDArray[np.int64]  # (N,)


@lru_cache(maxsize=1)
def digits() -> Digits:
    """All 1,797 digits."""
    from sklearn.datasets import load_digits

    bundled = load_digits()
    small = bundled.images.astype(np.float32) / 16
    large = [
        cv2.resize(picture, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_CUBIC) for picture in small
    ]
    return Digits(
        np.clip(np.stack(large), 0, 1).astype(np.float32), bundled.target.astype(np.int64)
    )


def split() -> tuple[Digits, Digits]:
    """(seen, unseen): the digits to train on, and those held back for testing."""
    every = digits()
    unseen = np.arange(len(digits().labels)) % UNSEEN_EVERY == 0
    return tuple(Digits(every.pictures[k], every.labels[k]) for k in (~unseen, unseen))  # type: ignore[return-value]
