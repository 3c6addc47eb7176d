"""Checks that all degradations share. Each raises ValueError with one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]  # (H, W, 3), sRGB


def require(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


def require_within(name: str, value: float, low: float, high: float) -> None:
    require(low <= value <= high, f"{name} must lie between {low} and {high}, but is {value}.")


def require_odd(name: str, px: float, low: int, high: int) -> None:
    fits = px % 2 == 1 and low <= px <= high
    require(fits, f"{name} must be odd and between {low} and {high} px, but is {px}.")


def require_choice(
    name: str, value: object, choices: Sequence[object] | Mapping[str, object]
) -> None:
    require(
        value in choices, f"{name} must be one of {', '.join(map(str, choices))}, but is {value}."
    )


def require_rgb(rgb: np.ndarray) -> None:
    fits = rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size > 0 and rgb.dtype == np.uint8
    require(
        fits,
        f"A picture must have shape (H, W, 3) and type uint8, but has {rgb.shape} and {rgb.dtype}.",
    )


def as_u8(picture: np.ndarray) -> Rgb:
    return np.asarray(picture, dtype=np.uint8)


def saturated(picture: np.ndarray) -> Rgb:
    """Round and saturate a float picture."""
    return as_u8(np.clip(np.rint(picture), 0, 255))
