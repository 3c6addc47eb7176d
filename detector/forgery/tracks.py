"""Tracks of faces and their forgeries: a still face set in motion, a clip forged frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.degrade import apply_clip, draw_training
from detector.faces import CROP_MARGIN, cut_square
from detector.forgery import blending
from detector.forgery.pictures import WORK_MARGIN, Picture, cut_work


def animated(picture: Picture, n_frames: int, rng: np.random.Generator) -> list[Picture]:
    """A still face moved by a smooth pan, zoom and turn, as `n_frames` pictures with their
    landmarks.
    """
    side = 280
    work = cut_work(picture, side, bool(rng.random() < 0.5))
    phase, swing = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.2, 1.0, 4) * [6.0, 6.0, 0.04, 4.0]
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
        reach = side / WORK_MARGIN / 2
        box = (
            side / 2 + x - reach,
            side / 2 + y - reach,
            side / 2 + x + reach,
            side / 2 + y + reach,
        )
        out.append(replace(picture, rgb=rgb, landmarks_px=points, box_xyxy_px=box, rebuilt=()))
    return out


def forged_pair(
    frames: Sequence[Picture],
    rng: np.random.Generator,
    nuisance: float = 0.8,
    strength: float = 0.5,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Authentic and forged crops (T, 224, 224, 3) of one track, through one nuisance."""
    x0, y0, x1, y1 = frames[0].box_xyxy_px
    side = int(np.clip(WORK_MARGIN * max(x1 - x0, y1 - y0) * rng.uniform(0.7, 1.0), 120, 300))
    flip = bool(rng.random() < 0.5)
    blend = blending.draw_blend(rng, strength)
    flicker = bool(rng.random() < 0.6)
    target: list[NDArray[np.uint8]] = []
    forged: list[NDArray[np.uint8]] = []
    for frame in frames:
        work = cut_work(frame, side, flip)
        own = blending.draw_blend(rng, strength, (blend.region,)) if flicker else blend
        if not flicker:  # the settings drift a little from frame to frame
            blend = replace(
                blend,
                shift_x=blend.shift_x + float(rng.normal(0, 0.002)),
                grow=blend.grow + float(rng.normal(0, 0.01)),
            )
        made = blending.self_blend(
            work.rgb, work.landmarks_px, replace(own, ratio=max(own.ratio, 0.5)), rng
        )
        target.append(made.authentic)
        forged.append(made.forged)
    recipe = draw_training(rng, nuisance)
    face = side / WORK_MARGIN / 2
    box = (side / 2 - face, side / 2 - face, side / 2 + face, side / 2 + face)
    cut = [
        np.stack([cut_square(f, box, 224, CROP_MARGIN)[0] for f in apply_clip(clip, recipe)])
        for clip in (target, forged)
    ]
    return cut[0], cut[1]
