"""Faces: the only door to facenet_pytorch's MTCNN. Detect, track, cut out."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils.detect_face import detect_face
from numpy.typing import NDArray

from detector.types import FaceCrop, FaceTrack, Frame

Box = tuple[float, float, float, float]  # x0, y0, x1, y1 in frame px; pixel i covers [i, i + 1)

CROP_PX = 224  # what the network sees
CROP_MARGIN = 1.3  # crop side / longer side of the face box: room for the seam of a swap

# longer side MTCNN sees: 32 frames of 720p take 1.5 s of one core; at 1280 four times that
DETECT_PX = 640
# the same of a photo: one more look costs little there, and group pictures are full of small faces
FINE_PX = 1600
# longer side of a face in frame px; smaller ones are no more than a dozen pixels of features
MIN_FACE_PX = 32
# the same on the scaled frame: MTCNN was trained on faces down to 12 px and errs below 20
MIN_DETECT_PX = 20
# of 1,163 frames with a face 99.5 % score above 0.98; most false alarms lie below 0.9
MIN_CONFIDENCE = 0.9
# share of the box inside the frame; of a face cut in half there is too little to judge
MIN_VISIBLE = 0.5
# second try, for pictures cut tightly around a face: repeat the border by this share of the longer
# side
BORDER = 0.3
# between two frames of a clip that are searched whole; those between only where the face must be...
KEY_S = 1.3
KEY_EVERY = 4  # ...and at most so many frames apart
# side of the square that is searched between, in face sizes: half a second of a quick turn
NEAR = 2.5
# to which it is scaled; the face is then 77 px, more than MTCNN's last stage takes in
NEAR_PX = 192
NEAR_BATCH = 64  # squares at a time

BATCH = 16  # frames at a time: larger is no faster on a CPU and takes more memory
THRESHOLDS = [0.6, 0.7, 0.7]  # of MTCNN's three stages, and
PYRAMID = 0.709  # the factor between its scales: the defaults of facenet_pytorch

# tracks kept: 12 faces x 32 frames are 384 crops, some 10 s of two cores; more is no readable
# report
MAX_FACES = 12
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


class FaceFinder:
    """Finds faces with MTCNN. Loads it at the first use; may be shared between threads."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        self.device = torch.device(device)
        self._lock = threading.Lock()
        self._mtcnn: MTCNN | None = None

    def detect_faces(self, rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Return the faces of one (H, W, 3) uint8 picture, largest first; empty if there is
        none.
        """
        return tuple(self._detect_all([rgb])[0])

    def find_tracks(
        self, frames: Sequence[Frame], max_faces: int = MAX_FACES
    ) -> tuple[FaceTrack, ...]:
        """Return the people of a clip, at most max_faces, those seen longest and largest first;
        empty without a face.

        frames in ascending time, as Media holds them. Short gaps are filled with interpolated boxes
        (confidence 0.0); a face that comes back after RETURN_S is a new track.
        """
        return tracks_of(self.detect(frames), frames, max_faces)

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """Return the faces of every frame, in no particular order.

        Where frames lie close in time, only some are searched whole; in those between, a face is
        looked for around where it is before and after. A face that is in none of the former is
        missed.
        """
        pictures, times_s = [frame.rgb for frame in frames], [frame.t for frame in frames]
        step = (times_s[-1] - times_s[0]) / max(1, len(times_s) - 1) if frames else 0.0
        every = int(min(KEY_EVERY, max(1.0, KEY_S // max(step, 1e-6))))
        keys = sorted({*range(0, len(pictures), every), len(pictures) - 1}) if frames else []
        found: list[list[Detection]] = [[] for _ in pictures]
        for key, some in zip(keys, self._detect_all([pictures[key] for key in keys]), strict=True):
            found[key] = some
        near = _between(keys, [found[key] for key in keys], times_s)
        for start in range(0, len(near), NEAR_BATCH):
            batch = near[start : start + NEAR_BATCH]
            for (index, _), face in zip(batch, self._detect_near(batch, pictures), strict=True):
                if face is not None and not any(_same(face, known) for known in found[index]):
                    found[index].append(face)
        return found

    def _detect_all(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Detect on every picture; if none shows a face, once more with a border around each.

        A single large picture is searched a second time, on a finer scale, for what is too small on
        the first.
        """
        found = self._detect(pictures, 0.0)
        if len(pictures) == 1 and max(pictures[0].shape) >= 2 * DETECT_PX:
            fine = self._detect_batch(list(pictures), 0.0, FINE_PX)[0]
            found = [
                found[0]
                + [face for face in fine if not any(_same(face, known) for known in found[0])]
            ]
        return found if any(found) else self._detect(pictures, BORDER)

    def _detect(
        self, pictures: Sequence[NDArray[np.uint8]], border: float
    ) -> list[list[Detection]]:
        # MTCNN's batches need pictures of one size
        same_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, rgb in enumerate(pictures):
            same_shape[rgb.shape].append(index)
        found: list[list[Detection]] = [[] for _ in pictures]
        for indices in same_shape.values():
            for start in range(0, len(indices), BATCH):
                batch = indices[start : start + BATCH]
                for index, faces in zip(
                    batch, self._detect_batch([pictures[i] for i in batch], border), strict=True
                ):
                    found[index] = faces
        return found

    def _detect_batch(
        self, pictures: list[NDArray[np.uint8]], border: float, longer_px: int = DETECT_PX
    ) -> list[list[Detection]]:
        height, width = pictures[0].shape[:2]
        pad = round(border * max(height, width))
        scale = min(1.0, longer_px / (max(height, width) + 2 * pad))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        # added after scaling: around a panorama it would take gigabytes before
        edge = round(pad * scale)
        min_px = max(MIN_DETECT_PX, MIN_FACE_PX * scale)
        if min(size) + 2 * edge < min_px:  # no scale to search; MTCNN would raise
            return [[] for _ in pictures]
        small = [cv2.resize(rgb, size, interpolation=cv2.INTER_AREA) for rgb in pictures]
        scaled = np.stack(
            [cv2.copyMakeBorder(rgb, edge, edge, edge, edge, cv2.BORDER_REPLICATE) for rgb in small]
        )
        boxes, points = self._search(scaled, min_px)
        zoom = np.array([size[0] / width, size[1] / height])
        faces = [
            [
                Detection(
                    box_xyxy_px=_box((np.reshape(row[:4], (2, 2)) - edge) / zoom),
                    # Pixel centres at integers, unlike the edges of a box.
                    landmarks_px=((np.asarray(five, np.float64) + 0.5 - edge) / zoom - 0.5).astype(
                        np.float32
                    ),
                    confidence=float(row[4]),
                )
                for row, five in zip(rows, fives, strict=True)
            ]
            for rows, fives in zip(boxes, points, strict=True)
        ]
        return [
            sorted(
                (face for face in some if _usable(face, width, height)),
                key=lambda face: -face.size_px,
            )
            for some in faces
        ]

    def _detect_near(
        self,
        places: Sequence[tuple[int, NDArray[np.float64]]],
        pictures: Sequence[NDArray[np.uint8]],
    ) -> list[Detection | None]:
        """Return for each (index of a picture, expected centre and size) the face that is nearest
        there, or None.
        """
        cuts = []
        for index, (x, y, size) in places:
            cuts.append(
                cut_square(
                    pictures[index],
                    (x - size / 2, y - size / 2, x + size / 2, y + size / 2),
                    NEAR_PX,
                    NEAR,
                )
            )
        boxes, points = self._search(np.stack([crop for crop, _ in cuts]), NEAR_PX / NEAR / 2)
        nearest: list[Detection | None] = []
        for (index, expected), (_, to_frame), rows, fives in zip(
            places, cuts, boxes, points, strict=True
        ):
            scale, shift = float(to_frame[0, 0]), to_frame[:, 2].astype(np.float64)
            faces = [
                Detection(
                    # Edges of boxes lie half a pixel off the pixel centres that the affine maps.
                    box_xyxy_px=_box((np.reshape(row[:4], (2, 2)) - 0.5) * scale + shift + 0.5),
                    landmarks_px=(np.asarray(five, np.float64) * scale + shift).astype(np.float32),
                    confidence=float(row[4]),
                )
                for row, five in zip(rows, fives, strict=True)
            ]
            height, width = pictures[index].shape[:2]
            nearest.append(
                min(
                    (face for face in faces if _usable(face, width, height)),
                    key=lambda face: float(np.abs(face.centre_size_px - expected).sum()),
                    default=None,
                )
            )
        return nearest

    def _search(self, scaled: NDArray[np.uint8], min_px: float) -> tuple[Any, Any]:
        """MTCNN on (N, H, W, 3) uint8: rows of x0, y0, x1, y1, confidence and (5, 2) points of
        each.
        """
        mtcnn = self.mtcnn()
        with torch.inference_mode():
            return detect_face(
                scaled, min_px, mtcnn.pnet, mtcnn.rnet, mtcnn.onet, THRESHOLDS, PYRAMID, self.device
            )

    def mtcnn(self) -> MTCNN:
        """The network itself, loaded at the first call."""
        with self._lock:
            if self._mtcnn is None:
                mtcnn = MTCNN(keep_all=True, device=self.device).eval()
                # a third off its time on a CPU
                self._mtcnn = mtcnn.to(memory_format=torch.channels_last)
            return self._mtcnn


def _box(corners: NDArray[np.float64]) -> Box:
    x0, y0, x1, y1 = corners.astype(np.float64).ravel().tolist()
    return x0, y0, x1, y1


def _usable(face: Detection, width: int, height: int) -> bool:
    x0, y0, x1, y1 = face.box_xyxy_px
    inside = max(0.0, min(x1, width) - max(x0, 0.0)) * max(0.0, min(y1, height) - max(y0, 0.0))
    return (
        face.confidence >= MIN_CONFIDENCE
        and face.size_px >= MIN_FACE_PX
        and inside >= MIN_VISIBLE * (x1 - x0) * (y1 - y0)
    )


def _same(face: Detection, other: Detection) -> bool:
    """Whether two boxes of one picture are of the same face: the centre of either lies in the
    other.
    """

    def holds(box: Box, point: NDArray[np.float64]) -> bool:
        return bool(box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3])

    a, b = face.box_xyxy_px, other.box_xyxy_px
    return holds(a, other.centre_size_px) or holds(b, face.centre_size_px)


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
        forward, one = min(dt_s, self.HORIZON_S), np.eye(3)
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


def _between(
    keys: Sequence[int], found: Sequence[Sequence[Detection]], times_s: Sequence[float]
) -> list[tuple[int, NDArray[np.float64]]]:
    """Return (index, centre and size) of where faces must be in the frames between the key frames
    they are seen in.
    """
    places = []
    for trail in _link(found, [times_s[key] for key in keys]):
        seen = {keys[number]: face.centre_size_px for number, face in trail.seen.items()}
        for before, after in pairwise(keys):
            first, last = seen.get(before, seen.get(after)), seen.get(after, seen.get(before))
            if first is None or last is None:
                continue
            span = max(times_s[after] - times_s[before], 1e-9)
            for index in range(before + 1, after):
                part = (times_s[index] - times_s[before]) / span
                places.append((index, (1 - part) * first + part * last))
    return places


def tracks_of(
    found: Sequence[Sequence[Detection]], frames: Sequence[Frame], max_faces: int = MAX_FACES
) -> tuple[FaceTrack, ...]:
    """Return the people behind the detections of successive frames, cut out; see
    FaceFinder.find_tracks.
    """
    trails = _without_flicker(_link(found, [frame.t for frame in frames]))
    filled = [_fill_gaps(trail, frames) for trail in trails]
    filled.sort(
        key=lambda seen: (len(seen), float(np.median([d.size_px for d in seen.values()]))),
        reverse=True,
    )
    return tuple(
        FaceTrack(number, tuple(_crop(frames[index], seen[index]) for index in sorted(seen)))
        for number, seen in enumerate(filled[:max_faces], start=1)
    )


def _misfit(trail: _Trail, predicted: KalmanBox, face: Detection) -> float:
    """Return how ill a detection fits the predicted box: 1 - IoU + mean landmark distance; inf out
    of reach.
    """
    centre, size = predicted.state[:2], float(predicted.state[2])
    reach_px = float(np.clip(GATE_STD * predicted.centre_std_px / size, *GATE_SIZES)) * size
    zoom = face.size_px / size
    if (
        np.linalg.norm(face.centre_size_px[:2] - centre) > reach_px
        or not 1 / GATE_ZOOM <= zoom <= GATE_ZOOM
    ):
        return float("inf")
    # The last detection, moved and scaled to the predicted box.
    last = next(reversed(trail.seen.values()))
    was, grown = last.centre_size_px[:2], size / last.size_px
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
                near[row].filter, near[row].last_t = predicted[row].update(face.centre_size_px), t
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
    longest = max((len(trail.seen) for trail in trails), default=0)
    return [trail for trail in trails if len(trail.seen) > 1 or longest < FLICKER_BESIDE]


def _fill_gaps(trail: _Trail, frames: Sequence[Frame]) -> dict[int, Detection]:
    """Return the detections by position of their frame, short gaps filled along straight lines in
    time.
    """
    filled = dict(trail.seen)
    known = sorted(trail.seen)
    for before, after in pairwise(known):
        span = max(frames[after].t - frames[before].t, 1e-9)
        if after - before - 1 > MAX_GAP_FRAMES or span > MAX_GAP_S:
            continue
        first, last = trail.seen[before], trail.seen[after]
        for index in range(before + 1, after):
            part = (frames[index].t - frames[before].t) / span
            box = (1 - part) * np.array(first.box_xyxy_px) + part * np.array(last.box_xyxy_px)
            landmarks = (1 - part) * first.landmarks_px + part * last.landmarks_px
            x0, y0, x1, y1 = box.tolist()
            filled[index] = Detection((x0, y0, x1, y1), landmarks.astype(np.float32), 0.0)
    return filled


def _crop(frame: Frame, face: Detection) -> FaceCrop:
    rgb, to_frame = cut_square(frame.rgb, face.box_xyxy_px)
    return FaceCrop(
        rgb, to_frame, frame.index, frame.t, face.box_xyxy_px, face.landmarks_px, face.confidence
    )


def cut_square(
    rgb: NDArray[np.uint8],
    box_xyxy_px: Box,
    size_px: int = CROP_PX,
    margin: float = CROP_MARGIN,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cut the square around a face box; return the crop and its affine back to the frame.

    rgb: (H, W, 3) uint8. The square is centred on the box, its side is margin x the box's longer
    side; what lies outside the frame repeats the border. Returns ((size, size, 3) uint8, (2, 3)
    float32 mapping crop pixel centres to frame pixel centres). Large faces are averaged down first
    (area), so no aliasing passes for a forgery's trace. Raises ValueError on an empty box.
    """
    x0, y0, x1, y1 = box_xyxy_px
    side = margin * max(x1 - x0, y1 - y0)
    if not side > 0:
        raise ValueError(f"expected a box with area, but got {box_xyxy_px}")
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    scale = side / size_px  # frame px per crop px
    # Pixel centres at integers: crop px 0 covers [left, left + scale) of the frame.
    to_frame = np.array(
        [[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]], np.float32
    )
    # Work on the neighbourhood only, so that a 12-megapixel photo is not warped whole.
    height, width = rgb.shape[:2]
    pad = 4 + int(2 * scale)
    u0, v0 = max(0, int(left) - pad), max(0, int(top) - pad)
    u1, v1 = min(width, int(left + side) + pad + 1), min(height, int(top + side) + pad + 1)
    if u1 <= u0 or v1 <= v0:
        raise ValueError(f"expected a box inside a {width}x{height} frame, but got {box_xyxy_px}")
    part = rgb[v0:v1, u0:u1]
    sx = sy = 1.0  # frame px per part px
    if scale > 1.0:
        new = (max(1, round(part.shape[1] / scale)), max(1, round(part.shape[0] / scale)))
        sx, sy = part.shape[1] / new[0], part.shape[0] / new[1]
        part = cv2.resize(part, new, interpolation=cv2.INTER_AREA)
    # crop px -> frame px -> part px
    back = to_frame.astype(np.float64)
    back[0] = [back[0, 0] / sx, 0, (back[0, 2] - u0 + 0.5) / sx - 0.5]
    back[1] = [0, back[1, 1] / sy, (back[1, 2] - v0 + 0.5) / sy - 0.5]
    crop = cv2.warpAffine(
        part,
        back,
        (size_px, size_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return crop, to_frame
