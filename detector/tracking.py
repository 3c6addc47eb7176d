"""Tracking: faces found in successive frames become people, by a Kalman filter and an assignment.

Detections of a new frame are assigned to the people seen so far so that the sum of their misfits is
smallest (Hungarian algorithm); what fits nobody begins a new person. A person is a mapping from the
position of a frame to a Detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in frame px; pixel i covers [i, i + 1)

MAX_FACES = 64  # tracks kept: a school class twice over, some 20 s of two cores
OFTEN = 12  # of so many people every frame is judged; of more, as many crops in all...
MIN_CROPS = 6  # ...but so many of each at least
MAX_GAP_FRAMES = 5  # missed detections in a row that are filled in, at most...
MAX_GAP_S = 2.0  # ...over this time: longer, and a straight line is a guess
# standard deviations of the prediction within which a detection may be the same person...
GATE_STD = 4.0
# ...but at least and at most this many face sizes: after a cut, faces apart stay apart
GATE_SIZES = (0.5, 1.0)
GATE_ZOOM = 1.8  # and at most this factor between the sizes
# after this time out of sight a face is a new track, unless frames are sampled more sparsely
RETURN_S = 5.0
# a face detected once beside a track of this many detections is taken for a false alarm
FLICKER_BESIDE = 8


@dataclass(frozen=True, eq=False)
class Detection:
    """One face as MTCNN found it, in pixels of the whole frame."""

    box_xyxy_px: Box
    # (5, 2): left eye, right eye, nose, left and right mouth corner, as seen
    landmarks_px: NDArray[np.float32]
    confidence: float  # in [0, 1]; 0.0 for one that was interpolated

    @property
    def size_px(self) -> float:
        x0, y0, x1, y1 = self.box_xyxy_px
        return max(x1 - x0, y1 - y0)

    @property
    def centre_size_px(self) -> NDArray[np.float64]:
        """(3,): centre x, centre y, longer side."""
        x0, y0, x1, y1 = self.box_xyxy_px
        return np.array([(x0 + x1) / 2, (y0 + y1) / 2, self.size_px])


@dataclass(frozen=True, eq=False)
class KalmanBox:
    """Constant-velocity Kalman filter of a face box: centre x, centre y and longer side in px, and
    their rates per s.

    The usual equations (Kalman 1960) with white-noise acceleration. All noise is measured in face
    sizes, so that the filter behaves alike for near and far faces.
    """

    state: NDArray[np.float64]  # (6,)
    covariance: NDArray[np.float64]  # (6, 6)

    MEASURED_STD = 0.05  # jitter of MTCNN's boxes, in face sizes
    RATE_STD = 1.0  # face sizes per second before anything is known
    ACCELERATION_STD = 3.0  # face sizes per second squared: a quick turn of the head
    # heads go back and forth: beyond it the last speed says nothing, and only the uncertainty grows
    HORIZON_S = 0.25

    @classmethod
    def start(cls, centre_size_px: NDArray[np.float64]) -> KalmanBox:
        size = float(centre_size_px[2])
        variances = [(cls.MEASURED_STD * size) ** 2] * 3 + [(cls.RATE_STD * size) ** 2] * 3
        return cls(np.concatenate([centre_size_px, np.zeros(3)]), np.diag(variances))

    def predict(self, dt_s: float) -> KalmanBox:
        """Return the filter dt_s seconds later."""
        forward = min(dt_s, self.HORIZON_S)
        one = np.eye(3)
        move = np.block([[one, forward * one], [np.zeros((3, 3)), one]])
        push = np.array([[dt_s**4 / 4, dt_s**3 / 2], [dt_s**3 / 2, dt_s**2]])
        noise = (self.ACCELERATION_STD * self.state[2]) ** 2 * np.kron(push, one)
        state = move @ self.state
        state[2] = max(state[2], 1.0)  # a quickly shrinking face stays a face
        return KalmanBox(state, move @ self.covariance @ move.T + noise)

    def update(self, centre_size_px: NDArray[np.float64]) -> KalmanBox:
        """Return the filter after a measurement."""
        measured = np.eye(3) * (self.MEASURED_STD * self.state[2]) ** 2
        gain = self.covariance[:, :3] @ np.linalg.inv(self.covariance[:3, :3] + measured)
        state = self.state + gain @ (centre_size_px - self.state[:3])
        return KalmanBox(state, self.covariance - gain @ self.covariance[:3, :])

    @property
    def centre_std_px(self) -> float:
        """How far from the predicted centre a measurement is expected, one standard deviation."""
        return float(
            np.sqrt(self.covariance[:2, :2].trace() / 2 + (self.MEASURED_STD * self.state[2]) ** 2)
        )


@dataclass(eq=False)
class _Trail:
    """A person while the clip is being walked through."""

    filter: KalmanBox  # as of the last detection
    last_t: float  # its time
    seen: dict[int, Detection]  # by position in the sequence of frames, ascending


@dataclass(frozen=True, eq=False)
class Place:
    """Where a face must be in a frame that was not searched whole."""

    frame: int  # position in the sequence of frames
    centre_size_px: NDArray[np.float64]  # (3,): centre x, centre y, longer side


def places_between(
    keys: Sequence[int], found: Sequence[Sequence[Detection]], times_s: Sequence[float]
) -> list[Place]:
    """Return where faces must be in the frames between the key frames they are seen in.

    keys: positions of the frames that were searched whole; found: their faces; times_s: of all
    frames.
    """
    places = []
    for trail in _link(found, [times_s[key] for key in keys]):
        seen = {keys[number]: face.centre_size_px for number, face in trail.seen.items()}
        for before, after in pairwise(keys):
            first = seen.get(before, seen.get(after))
            last = seen.get(after, seen.get(before))
            if first is None or last is None:
                continue
            span = max(times_s[after] - times_s[before], 1e-9)
            for index in range(before + 1, after):
                part = (times_s[index] - times_s[before]) / span
                places.append(Place(index, (1 - part) * first + part * last))
    return places


def people(
    found: Sequence[Sequence[Detection]], times_s: Sequence[float]
) -> list[dict[int, Detection]]:
    """Return everybody behind the detections of successive frames, short gaps filled.

    Those seen longest and largest come first.
    """
    trails = _without_flicker(_link(found, times_s))
    return by_time_and_size([_fill_gaps(trail, times_s) for trail in trails])


def by_time_and_size(everybody: Sequence[dict[int, Detection]]) -> list[dict[int, Detection]]:
    """People by position of their frames, those seen longest and largest first."""
    return sorted(
        everybody,
        key=lambda seen: (len(seen), float(np.median([d.size_px for d in seen.values()]))),
        reverse=True,
    )


def spread(positions: Sequence[int], most: int) -> list[int]:
    """Return up to `most` of the positions, evenly through them."""
    count = min(most, len(positions))
    return [positions[round(i)] for i in np.linspace(0, len(positions) - 1, count)]


def _misfit(trail: _Trail, predicted: KalmanBox, face: Detection) -> float:
    """Return how ill a detection fits the predicted box: 1 - IoU + mean landmark distance; inf out
    of reach.
    """
    centre = predicted.state[:2]
    size = float(predicted.state[2])
    reach_px = float(np.clip(GATE_STD * predicted.centre_std_px / size, *GATE_SIZES)) * size
    zoom = face.size_px / size
    if (
        np.linalg.norm(face.centre_size_px[:2] - centre) > reach_px
        or not 1 / GATE_ZOOM <= zoom <= GATE_ZOOM
    ):
        return float("inf")
    # The last detection, moved and scaled to the predicted box.
    last = next(reversed(trail.seen.values()))
    was = last.centre_size_px[:2]
    grown = size / last.size_px
    box = (np.reshape(last.box_xyxy_px, (2, 2)) - was) * grown + centre
    landmarks = (last.landmarks_px - was) * grown + centre
    apart = np.linalg.norm(landmarks - face.landmarks_px, axis=1).mean() / size
    return 1 - _iou(box.ravel(), face.box_xyxy_px) + float(apart)


def _iou(first: Sequence[float] | NDArray, second: Sequence[float] | NDArray) -> float:
    """Return intersection over union of two x0, y0, x1, y1 boxes."""
    a, b = np.asarray(first), np.asarray(second)
    shared = np.prod(np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None))
    return float(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))


def _link(found: Sequence[Sequence[Detection]], times_s: Sequence[float]) -> list[_Trail]:
    """Link the detections of successive frames into trails, the cheapest assignment frame by
    frame.
    """
    trails: list[_Trail] = []
    step = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
    patience = max(RETURN_S, 2.5 * step)  # sparsely sampled, a face may still be missed once
    for index, (faces, t) in enumerate(zip(found, times_s, strict=True)):
        near = [trail for trail in trails if t - trail.last_t <= patience]
        predicted = [trail.filter.predict(t - trail.last_t) for trail in near]
        misfits = np.full((len(near), len(faces)), np.inf)
        for row, column in np.ndindex(misfits.shape):
            misfits[row, column] = _misfit(near[row], predicted[row], faces[column])
        matched = set()
        for row, column in _cheapest(misfits):
            if np.isfinite(misfits[row, column]):
                face = faces[column]
                near[row].filter = predicted[row].update(face.centre_size_px)
                near[row].last_t = t
                near[row].seen[index] = face
                matched.add(column)
        for column, face in enumerate(faces):
            if column not in matched:
                trails.append(_Trail(KalmanBox.start(face.centre_size_px), t, {index: face}))
    return trails


def _cheapest(misfits: NDArray[np.float64]) -> list[tuple[int, int]]:
    """The cheapest assignment of rows to columns, as pairs."""
    if misfits.size == 0:
        return []
    if min(misfits.shape) == 1:  # one person: no solver, and no third of a second to import it
        row, column = np.unravel_index(misfits.argmin(), misfits.shape)
        return [(int(row), int(column))]
    from scipy.optimize import linear_sum_assignment

    # The solver refuses infinity; a million is as far out of reach.
    rows, columns = linear_sum_assignment(np.minimum(misfits, 1e6))
    return list(zip(rows.tolist(), columns.tolist(), strict=True))


def _without_flicker(trails: list[_Trail]) -> list[_Trail]:
    """Drop what was detected once beside a long track: a false alarm, most likely."""
    longest = max((len(trail.seen) for trail in trails), default=0)
    return [trail for trail in trails if len(trail.seen) > 1 or longest < FLICKER_BESIDE]


def _fill_gaps(trail: _Trail, times_s: Sequence[float]) -> dict[int, Detection]:
    """Return the detections by position of their frame, short gaps filled along straight lines in
    time.
    """
    filled = dict(trail.seen)
    known = sorted(trail.seen)
    for before, after in pairwise(known):
        span = max(times_s[after] - times_s[before], 1e-9)
        if after - before - 1 > MAX_GAP_FRAMES or span > MAX_GAP_S:
            continue
        first = trail.seen[before]
        last = trail.seen[after]
        for index in range(before + 1, after):
            part = (times_s[index] - times_s[before]) / span
            box = (1 - part) * np.array(first.box_xyxy_px) + part * np.array(last.box_xyxy_px)
            landmarks = (1 - part) * first.landmarks_px + part * last.landmarks_px
            x0, y0, x1, y1 = box.tolist()
            filled[index] = Detection((x0, y0, x1, y1), landmarks.astype(np.float32), 0.0)
    return filled
