"""Re-enactment: a face moved by somebody else's key points.

The idea of the first-order motion model (Siarohin et al., arXiv:2003.00196): around every key point
the movement is nearly affine, and soft weights join those local movements to one flow. There a
generator then paints what the flow cannot know. Here there is no generator, so one sees what it
would have to invent: teeth, the inside of a mouth, what was hidden.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.forgery.regions import FIVE_POINTS, Points, Rgb, face_affine
from detector.types import Progress
from explain.lab.builtin import subjects
from explain.lab.swap import watermarked

# Key points in units of the eye distance: the five landmarks, upper and lower lip, chin, and the
# two sides of the head.
KEY_POINTS = np.vstack(
    [FIVE_POINTS, [[0, 1.02], [0, 1.3], [0, 1.86], [-1.0, 0.3], [1.0, 0.3]]]
).astype(np.float32)
LOWER_LIP = 6
CHIN = 7
REACH = 0.34  # sigma of a key point's weight, in eye distances
BACKGROUND_WEIGHT = 0.02  # of staying in place, beside the key points' weights
FRAMES = 24
WATERMARK = "TEACHING EXAMPLE: MOVED FACE"


@dataclass(frozen=True, eq=False)
class Drive:
    """Key points of a driving face through time."""

    points: NDArray[np.float32]  # (T, K, 2) in eye distances
    turn: NDArray[np.float32]  # (T,) in radians


def driving(opened: float, turned_deg: float, frames: int = FRAMES) -> Drive:
    """A face that opens its mouth by `opened` eye distances and tilts by `turned_deg`, and back."""
    points = []
    turns = []
    for phase in np.sin(np.linspace(0, np.pi, frames)):
        moved = KEY_POINTS.copy()
        moved[LOWER_LIP, 1] += opened * phase
        moved[CHIN, 1] += 0.8 * opened * phase
        moved[[3, 4], 1] += 0.3 * opened * phase
        moved[[3, 4], 0] *= 1 - 0.25 * opened * phase
        angle = np.deg2rad(turned_deg) * phase
        pivot = np.array([0.0, 2.2], np.float32)  # the neck
        points.append((moved - pivot) @ _rotation(angle).T + pivot)
        turns.append(angle)
    return Drive(np.array(points, np.float32), np.array(turns, np.float32))


def move(rgb: Rgb, landmarks_px: Points, drive: Drive, at: int) -> tuple[Rgb, NDArray[np.float32]]:
    """The face as the drive's frame `at` moves it, and how far each pixel is stretched (H, W).

    Movements are relative to the drive's first frame, so that the face keeps its own shape. A
    stretch of 1 is unchanged, of 2 twice as long.
    """
    place = face_affine(landmarks_px)
    start = KEY_POINTS @ place[:, :2].T + place[:, 2]
    goal = start + (drive.points[at] - drive.points[0]) @ place[:, :2].T
    unit = float(np.sqrt(abs(np.linalg.det(place[:, :2]))))
    back = _rotation(-float(drive.turn[at] - drive.turn[0]))
    height, width = rgb.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    total = np.full((height, width), BACKGROUND_WEIGHT, np.float32)
    flow = np.zeros((height, width, 2), np.float32)
    for from_px, to_px in zip(start, goal, strict=True):
        off = np.stack([x - to_px[0], y - to_px[1]], axis=-1)
        weight = np.exp(-(off**2).sum(axis=-1) / (2 * (REACH * unit) ** 2))
        flow += weight[..., None] * (off @ back.T + from_px - np.stack([x, y], axis=-1))
        total += weight
    flow /= total[..., None]
    source = np.stack([x, y], axis=-1) + flow
    moved = cv2.remap(
        rgb, source.astype(np.float32), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8), _stretch(source)


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def _stretch(source: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far pixels are pulled apart: one over the smaller singular value of the derivative of
    `source`, the place (H, W, 2) that each pixel comes from.
    """
    (ay, ax), (by, bx) = np.gradient(source[..., 0]), np.gradient(source[..., 1])
    size = ax**2 + ay**2 + bx**2 + by**2
    area = ax * by - ay * bx
    smaller = np.sqrt(
        np.clip((size - np.sqrt(np.clip(size**2 - 4 * area**2, 0, None))) / 2, 1e-4, None)
    )
    return np.asarray(1 / smaller, np.float32)


def play(
    person: int,
    opened: float,
    turned_deg: float,
    frames: int = FRAMES,
    progress: Progress | None = None,
) -> tuple[tuple[Rgb, ...], float]:
    """Watermarked frames of a built-in face that moves, and the strongest stretch at the mouth."""
    report = progress or (lambda share, stage: None)
    drive = driving(opened, turned_deg, frames)
    subject = subjects()[person]
    moved = []
    worst = 1.0
    mouth = subject.landmarks_px[3:].mean(axis=0).astype(int)
    half = int(np.linalg.norm(subject.landmarks_px[1] - subject.landmarks_px[0]) / 2)
    for at in range(frames):
        report(at / frames, f"Frame {at + 1} of {frames}")
        rgb, stretch = move(subject.rgb, subject.landmarks_px, drive, at)
        near = stretch[mouth[1] - half : mouth[1] + half, mouth[0] - half : mouth[0] + half]
        worst = max(worst, float(np.percentile(near, 99)))
        moved.append(watermarked(rgb, WATERMARK))
    report(1.0, "Done")
    return tuple(moved), worst
