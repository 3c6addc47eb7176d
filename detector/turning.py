"""Faces that lie sideways or upside down: the pictures are turned until one stands upright.

MTCNN was trained on upright faces. A photo whose orientation tag was lost, or a clip filmed with
the phone on its side, shows it none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from detector.tracking import Detection
from detector.types import FaceCrop, FaceTrack, Frame

QUARTERS = (1, 2, 3)  # turns by 90 degrees clockwise
# of a clip: what a turned picture costs is what an upright one costs, three times over
MOST_LOOKED_AT = 4
# most false alarms lie below 0.9, but three more looks give three times as many of them
MIN_CONFIDENCE = 0.98

Detect = Callable[[Sequence[NDArray[np.uint8]]], list[list[Detection]]]


def best_turn(frames: Sequence[Frame], detect: Detect) -> int | None:
    """Return after how many quarters clockwise faces are found with most confidence, or None.

    frames: of one file, in which no face was found upright; a few of them are looked at.
    """
    some = np.unique(np.linspace(0, len(frames) - 1, min(MOST_LOOKED_AT, len(frames))).round())
    pictures = [frames[int(index)].rgb for index in some]
    sure = {
        quarters: sum(
            face.confidence
            for faces in detect([turned(rgb, quarters) for rgb in pictures])
            for face in faces
            if face.confidence >= MIN_CONFIDENCE and _eyes_above_mouth(face)
        )
        for quarters in QUARTERS
    }
    best = max(sure, key=lambda quarters: sure[quarters])
    return best if sure[best] > 0 else None


def turned(rgb: NDArray[np.uint8], quarters: int) -> NDArray[np.uint8]:
    """Turn an (H, W, 3) picture clockwise by so many times 90 degrees."""
    return np.ascontiguousarray(np.rot90(rgb, -quarters))


def track_turned_back(
    track: FaceTrack, quarters: int, sizes_px: Mapping[int, tuple[int, ...]]
) -> FaceTrack:
    """Return a track that was found on turned frames in coordinates of the frames as they are.

    sizes_px: Frame.index -> (height, width) of those. The crops' pixels stay upright; their affine,
    box and landmarks are mapped.
    """
    crops = (
        _crop_turned_back(crop, _turn_back(quarters, *sizes_px[crop.frame_index]))
        for crop in track.crops
    )
    return replace(track, crops=tuple(crops))


def _turn_back(quarters: int, height: int, width: int) -> NDArray[np.float64]:
    """The (2, 3) affine from a turned picture's px to those of the (height, width) original."""
    affine = {
        1: [[0, 1, 0], [-1, 0, height - 1]],
        2: [[-1, 0, width - 1], [0, -1, height - 1]],
        3: [[0, -1, width - 1], [1, 0, 0]],
    }
    return np.array(affine[quarters], np.float64)


def _crop_turned_back(crop: FaceCrop, back: NDArray[np.float64]) -> FaceCrop:
    linear, shift = back[:, :2], back[:, 2]
    to_frame = np.column_stack(
        [linear @ crop.to_frame[:, :2], linear @ crop.to_frame[:, 2] + shift]
    )
    # edges of boxes lie half a pixel off the pixel centres that the affine maps
    corners = (np.reshape(crop.box_xyxy_px, (2, 2)) - 0.5) @ linear.T + shift + 0.5
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return replace(
        crop,
        to_frame=to_frame.astype(np.float32),
        box_xyxy_px=(x0, y0, x1, y1),
        landmarks_px=(crop.landmarks_px @ linear.T + shift).astype(np.float32),
    )


def _eyes_above_mouth(face: Detection) -> bool:
    return bool(face.landmarks_px[:2, 1].max() < face.landmarks_px[3:, 1].min())
