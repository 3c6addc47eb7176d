"""Where the regions of a face lie in a picture, by MTCNN's five points.

The points stand for a 68- or 81-point model through an affine fit of an average face.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Mask = NDArray[np.float32]
Points = NDArray[np.float32]

# An average face: origin between the eyes, x to the right, y down, unit = distance between the
# eyes. The five points are proportions of the 112 px alignment template common in face recognition.
FIVE_POINTS = np.array(
    [[-0.5, 0.0], [0.5, 0.0], [0.0, 0.57], [-0.414, 1.155], [0.414, 1.155]], np.float32
)
EYE_TO_MOUTH = 1.155  # eye distances
LEAST_UNIT_PX = 4.0
_OUTLINE = [(-1.0, -0.1), (-0.97, 0.4), (-0.89, 0.85), (-0.7, 1.32), (-0.4, 1.7), (0.0, 1.86),
            (0.4, 1.7), (0.7, 1.32), (0.89, 0.85), (0.97, 0.4), (1.0, -0.1),
            (0.82, -0.45), (0.45, -0.6), (0.0, -0.55), (-0.45, -0.6), (-0.82, -0.45)]  # fmt: skip
_FOREHEAD = [*_OUTLINE[:11], (0.9, -0.7), (0.5, -1.05), (0.0, -1.15), (-0.5, -1.05), (-0.9, -0.7)]
_INNER = [(-0.8, -0.4), (-0.3, -0.5), (0.3, -0.5), (0.8, -0.4), (0.72, 0.3), (0.6, 1.1),
          (0.35, 1.5), (0.0, 1.55), (-0.35, 1.5), (-0.6, 1.1), (-0.72, 0.3)]  # fmt: skip
_LOWER = [(-0.85, 0.55), (0.0, 0.7), (0.85, 0.55), (0.8, 1.1), (0.6, 1.5), (0.3, 1.78),
          (0.0, 1.86), (-0.3, 1.78), (-0.6, 1.5), (-0.8, 1.1)]  # fmt: skip


def _ellipse(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return [(x + rx * float(np.cos(a)), y + ry * float(np.sin(a))) for a in turn]


# Region name -> polygons in the average face's coordinates.
REGIONS: dict[str, list[list[tuple[float, float]]]] = {
    "face": [_OUTLINE],
    "face and forehead": [_FOREHEAD],
    "inner face": [_INNER],
    "lower face": [_LOWER],
    "mouth": [_ellipse(0.0, 1.16, 0.56, 0.32)],
    "eyes": [_ellipse(-0.5, 0.0, 0.36, 0.22), _ellipse(0.5, 0.0, 0.36, 0.22)],
    "nose": [_ellipse(0.0, 0.4, 0.3, 0.42)],
}


def face_affine(landmarks_px: Points) -> NDArray[np.float64]:
    """Return the (2, 3) least-squares affine from the average face to the picture. landmarks_px:
    (5, 2).
    """
    design = np.hstack([FIVE_POINTS.astype(np.float64), np.ones((5, 1))])
    solution, *_ = np.linalg.lstsq(design, landmarks_px.astype(np.float64), rcond=None)
    return solution.T


def eye_distance(landmarks_px: Points) -> float:
    """Return the scale of a face in px: its eye distance, or what its distance from eyes to mouth
    makes of it, whichever is larger, so that profiles keep their size.
    """
    eyes = float(np.linalg.norm(landmarks_px[1] - landmarks_px[0]))
    drop = float(np.linalg.norm(landmarks_px[3:].mean(0) - landmarks_px[:2].mean(0)))
    return max(eyes, drop / EYE_TO_MOUTH, LEAST_UNIT_PX)


def face_shape(landmarks_px: Points) -> NDArray[np.float64]:
    """Return (5, 2) landmarks relative to the eyes, in eye distances: place and size are gone, the
    pose is left.
    """
    return (landmarks_px - landmarks_px[:2].mean(0)) / eye_distance(landmarks_px)
