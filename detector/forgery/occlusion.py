"""What may lie in front of a face, over both halves of a pair."""

from __future__ import annotations

import cv2
import numpy as np

from detector.forgery.regions import Mask, Rgb
from detector.types import CROP_PX

P_CAPTION = 0.35
P_PATCH = 0.3  # one colour; else a piece of the picture itself


def draw_occluder(rgb: Rgb, rng: np.random.Generator) -> tuple[Rgb, Mask]:
    """Draw what to lay over *both* halves, (H, W, 3), and its opacity, (H, W).

    A caption, a flat patch or a piece of the picture itself (a hand, another head), with the hard
    edge of a thing before a face: a soft one would look like a seam.
    """
    height, width = rgb.shape[:2]
    which = rng.random()
    opacity = np.zeros((height, width), np.float32)
    centre = (int(rng.uniform(0.2, 0.8) * width), int(rng.uniform(0.25, 0.85) * height))
    if which < P_CAPTION:
        return _caption(rgb, centre[1], rng)
    axes = (int(rng.uniform(0.05, 0.22) * width), int(rng.uniform(0.05, 0.22) * height))
    if rng.random() < 0.5:
        cv2.ellipse(opacity, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    else:
        corners = cv2.boxPoints((centre, (2 * axes[0], 2 * axes[1]), float(rng.uniform(-30, 30))))
        cv2.fillPoly(opacity, [corners.astype(np.int32)], 1.0)
    opacity = cv2.GaussianBlur(opacity, (0, 0), float(rng.uniform(0.4, 1.2)))
    if which < P_CAPTION + P_PATCH:
        cover = np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), rgb.shape).copy()
    else:
        cover = np.roll(rgb[:, ::-1], (int(rng.integers(height)), int(rng.integers(width))), (0, 1))
    return np.ascontiguousarray(cover), opacity


def _caption(rgb: Rgb, y: int, rng: np.random.Generator) -> tuple[Rgb, Mask]:
    """A line of letters, with or without a bar behind it."""
    height, width = rgb.shape[:2]
    opacity = np.zeros((height, width), np.float32)
    size = float(rng.uniform(0.35, 0.9)) * width / CROP_PX
    letters = "".join(chr(int(c)) for c in rng.integers(65, 91, int(rng.integers(4, 16))))
    ink = 0 if rng.random() < 0.5 else 255
    cover = np.full_like(rgb, 255 - ink)
    start = (int(rng.uniform(0, 0.3) * width), y)
    thick = max(1, round(1.6 * size))
    font = cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(cover, letters, start, font, size, (ink,) * 3, thick, cv2.LINE_AA)
    if rng.random() < 0.5:
        half = int(22 * size)
        opacity[max(0, y - half) : y + half // 2] = float(rng.uniform(0.6, 1.0))
    cv2.putText(opacity, letters, start, font, size, 1.0, thick, cv2.LINE_AA)
    return cover, opacity
