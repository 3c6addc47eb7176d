"""Faces that lie sideways or upside down: the pictures are turned until one stands upright.

MTCNN was trained on upright faces. A photo whose orientation tag was lost, or a clip filmed with
the phone on its side, shows it none, or one in the wrong place that it is hardly sure of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.tracking import Detection
from detector.types import FaceCrop, FaceTrack, Frame

QUARTERS = (1, 2, 3)  # turns by 90 degrees clockwise
# of 225 photos 199 reach it as they are, and none of them does after a turn
SURE = 0.999
# most false alarms lie below 0.9, but three more searches give three times as many of them
MIN_CONFIDENCE = 0.98
MAX_ROLL_DEG = 45.0  # from here on another turn is nearer to upright


def sure_upright(found: Sequence[Sequence[Detection]]) -> bool:
    """Whether a face stands upright beyond doubt in half of the frames that show one.

    In one frame alone it may be a false alarm: of 27 clips upside down 4 had such a frame, 6 of
    their 24 at most. As they are, 25 of the 27 have such a face in half of their frames.
    """
    shown = [best for best in _surest(found) if best > 0]
    return bool(shown) and sum(best >= SURE for best in shown) >= len(shown) / 2


def certainty(found: Sequence[Sequence[Detection]]) -> float:
    """Return the sum of -log10(1 - confidence) over the surest upright face of each frame; 0.0
    without a face.

    Of 225 photos the right turn always has the highest.
    """
    return sum(-float(np.log10(max(1 - best, 1e-7))) for best in _surest(found))


def _surest(found: Sequence[Sequence[Detection]]) -> list[float]:
    """The confidence of each frame's surest upright face; 0.0 without one."""
    return [max((f.confidence for f in faces if _stands(f)), default=0.0) for faces in found]


def well_formed(found: Sequence[Sequence[Detection]]) -> list[list[Detection]]:
    """Leave of the faces on turned frames those that stand upright and are no false alarms."""
    return [
        [face for face in faces if face.confidence >= MIN_CONFIDENCE and _stands(face)]
        for faces in found
    ]


def shrunk(frames: Sequence[Frame], longer_px: int) -> tuple[list[Frame], float]:
    """Frames of one size of at most that longer side, at least a pixel wide and high, and how much
    smaller they are now: at least 1.
    """
    longer = max((max(frame.rgb.shape[:2]) for frame in frames), default=0)
    if longer <= longer_px:
        return list(frames), 1.0
    smaller = longer / longer_px
    height, width = (max(1, round(side / smaller)) for side in frames[0].rgb.shape[:2])
    size = (width, height)
    return [
        replace(frame, rgb=cv2.resize(frame.rgb, size, interpolation=cv2.INTER_AREA))
        for frame in frames
    ], smaller


def enlarged(found: Sequence[Sequence[Detection]], times: float) -> list[list[Detection]]:
    """The faces of shrunk frames in coordinates of the frames themselves."""

    def at_full_size(face: Detection) -> Detection:
        x0, y0, x1, y1 = face.box_xyxy_px
        # pixel centres at integers, unlike the edges of a box
        landmarks = ((face.landmarks_px + 0.5) * times - 0.5).astype(np.float32)
        box = (times * x0, times * y0, times * x1, times * y1)
        return replace(face, box_xyxy_px=box, landmarks_px=landmarks)

    return [[at_full_size(face) for face in faces] for faces in found]


def stood(frames: Sequence[Frame], quarters: int) -> list[Frame]:
    """Turn frames clockwise by so many times 90 degrees."""
    if quarters == 0:
        return list(frames)
    # laid out anew: whatever reads a turned view of a large photo takes a second each time
    turns = [cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE]
    turn = turns[quarters - 1]
    return [
        Frame(frame.index, frame.t, cv2.rotate(np.ascontiguousarray(frame.rgb), turn))
        for frame in frames
    ]


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
    linear = back[:, :2]
    shift = back[:, 2]
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
        frame_px=crop.frame_px if crop.frame_px is None or back[0, 0] else crop.frame_px[::-1],
    )


def _stands(face: Detection) -> bool:
    """Whether the eyes are above the mouth, and beside each other."""
    across, down = face.landmarks_px[1] - face.landmarks_px[0]
    above = face.landmarks_px[:2, 1].max() < face.landmarks_px[3:, 1].min()
    return bool(above and abs(np.degrees(np.arctan2(down, across))) < MAX_ROLL_DEG)
