"""Tracks of faces and their forgeries: a still face set in motion, a clip forged frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.degrade import apply_clip, draw_training
from detector.faces import cut_square
from detector.forgery import blending
from detector.forgery.pictures import (
    FORGING_MARGIN,
    FORGING_PX,
    LabelledFace,
    cut_forging_crop,
)

MOVED_PX = 280  # side of the frames of a still face in motion
P_FLICKER = 0.6


def animated(picture: LabelledFace, n_frames: int, rng: np.random.Generator) -> list[LabelledFace]:
    """A still face moved by a smooth pan, zoom and turn, as `n_frames` pictures with their
    landmarks.
    """
    side = MOVED_PX
    work = cut_forging_crop(picture, side, bool(rng.random() < 0.5))
    phase = rng.uniform(0, 2 * np.pi, 4)
    swing = rng.uniform(0.2, 1.0, 4) * [6.0, 6.0, 0.04, 4.0]
    pace = rng.uniform(0.7, 1.3, 4)
    out = []
    for t in np.linspace(0, np.pi, n_frames):
        x, y, zoom, turn = swing * np.sin(t * pace + phase)
        move = cv2.getRotationMatrix2D((side / 2, side / 2), float(turn), float(1 + zoom))
        move[:, 2] += (x, y)
        rgb = cv2.warpAffine(
            work.rgb, move, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        points = (np.hstack([work.landmarks_px, np.ones((5, 1))]) @ move.T).astype(np.float32)
        reach = side / FORGING_MARGIN / 2
        centre = np.array([side / 2 + x, side / 2 + y])
        box = (*(centre - reach).tolist(), *(centre + reach).tolist())
        out.append(replace(picture, rgb=rgb, landmarks_px=points, box_xyxy_px=box, rebuilt=()))
    return out


def forged_pair(
    frames: Sequence[LabelledFace],
    rng: np.random.Generator,
    augmentation: float = 0.8,
    strength: float = 0.5,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return authentic and forged crops (T, CROP_PX, CROP_PX, 3) of one track, through one
    augmentation (0 to 1 strong).
    """
    x0, y0, x1, y1 = frames[0].box_xyxy_px
    native = FORGING_MARGIN * max(x1 - x0, y1 - y0)
    side = int(np.clip(native * rng.uniform(0.7, 1.0), *FORGING_PX))
    flip = bool(rng.random() < 0.5)
    authentic: list[NDArray[np.uint8]] = []
    forged: list[NDArray[np.uint8]] = []
    for frame, blend in zip(frames, _blends(rng, strength), strict=False):
        work = cut_forging_crop(frame, side, flip)
        blend = replace(blend, ratio=max(blend.ratio, 0.5))
        made = blending.self_blend(work.rgb, work.landmarks_px, blend, rng)
        authentic.append(made.authentic)
        forged.append(made.forged)
    degradation = draw_training(rng, augmentation)
    reach = side / FORGING_MARGIN / 2 * float(rng.uniform(0.94, 1.06))  # as boxes differ in size...
    centre = side / 2 + rng.uniform(-0.05, 0.05, 2) * 2 * reach  # ...and place
    (x0, y0), (x1, y1) = (centre - reach).tolist(), (centre + reach).tolist()
    box = (x0, y0, x1, y1)
    cut = [
        np.stack([cut_square(rgb, box)[0] for rgb in apply_clip(clip, degradation)])
        for clip in (authentic, forged)
    ]
    return cut[0], cut[1]


def _blends(rng: np.random.Generator, strength: float) -> Iterator[blending.Blend]:
    """One blend per frame: each its own, as frame-wise conversion flickers, or one that drifts."""
    blend = blending.draw_blend(rng, strength)
    flicker = bool(rng.random() < P_FLICKER)
    while True:
        if flicker:
            yield blending.draw_blend(rng, strength, (blend.region,))
            continue
        before = blend
        shift_x = blend.shift_x + float(rng.normal(0, 0.002))
        blend = replace(blend, shift_x=shift_x, grow=blend.grow + float(rng.normal(0, 0.01)))
        yield before
