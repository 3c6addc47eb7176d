"""The two public-domain faces that lessons use, cut out and ready."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from explain.lab.examples import ASTRONAUT_POINTS, HOPPER_POINTS, Points, Rgb, astronaut, hopper
from explain.lab.forgery import Subject, cut_subject

NAMES = ("Eileen Collins, astronaut", "Grace Hopper, rear admiral")
BOX_HEIGHT = 2.35  # face box height / distance between eyes and mouth, as MTCNN draws it


@lru_cache(maxsize=1)
def pictures() -> tuple[tuple[Rgb, Points], ...]:
    """(picture, its five landmarks in px) of each."""
    return (astronaut(), ASTRONAUT_POINTS), (hopper(), HOPPER_POINTS)


@lru_cache(maxsize=1)
def subjects() -> tuple[Subject, ...]:
    """Each face with its surroundings, the box placed by the landmarks."""
    return tuple(cut_subject(rgb, box_around(points), points) for rgb, points in pictures())


def box_around(points: Points) -> tuple[float, float, float, float]:
    """A face box (x0, y0, x1, y1) from five landmarks."""
    eyes = points[:2].mean(axis=0)
    mouth = points[3:].mean(axis=0)
    height = BOX_HEIGHT * float(np.linalg.norm(mouth - eyes))
    x, y = (float(v) for v in (eyes + mouth) / 2)
    return x - 0.4 * height, y - 0.55 * height, x + 0.4 * height, y + 0.5 * height


def crops() -> tuple[NDArray[np.uint8], ...]:
    """(CROP_PX, CROP_PX, 3) of each, as the detector sees it."""
    return tuple(subject.crop(subject.rgb) for subject in subjects())
