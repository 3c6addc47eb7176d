"""Draws of single numbers, rounded so that a degradation can be written down and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def between(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 3)


def integer(rng: np.random.Generator, low: float, high: float) -> int:
    return int(rng.integers(round(low), round(high), endpoint=True))


def seed(rng: np.random.Generator) -> int:
    return integer(rng, 0, 2**31 - 1)


def one_of(rng: np.random.Generator, names: Sequence[str] | Mapping[str, object]) -> str:
    return list(names)[int(rng.integers(len(names)))]
