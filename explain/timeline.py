"""One person's score through the clip, the stretches that look forged, and how steady the face is.

Numbers only, shared by the page's drawing and the report's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detector.decide import asked_thresholds
from detector.profile import Thresholds
from detector.types import Analysis, FaceAnalysis

# sigma of the smoothing, in sampling distances: one odd frame alone makes no interval
SMOOTH_SAMPLES = 1.0
GAP_SAMPLES = 3.0  # a longer pause without the face ends an interval


@dataclass(frozen=True)
class Interval:
    """A stretch that looks forged."""

    start_s: float
    end_s: float


@dataclass(frozen=True)
class Timeline:
    """One person through the clip."""

    track: int
    t: tuple[float, ...]  # seconds
    p: tuple[float, ...]  # calibrated probability of each frame
    p_smooth: tuple[float, ...]
    thresholds: Thresholds
    intervals: tuple[Interval, ...]
    # cosine of the embeddings of frame i and i + 1; one less than frames
    similarity: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.t) == len(self.p) == len(self.p_smooth) == len(self.similarity) + 1:
            raise ValueError(
                f"expected traces of one length, but got {len(self.t)} times, {len(self.p)} "
                f"scores, {len(self.p_smooth)} smoothed ones and {len(self.similarity)} "
                "similarities"
            )


def build_timeline(face: FaceAnalysis, thresholds: Thresholds) -> Timeline:
    """The timeline of one analysed face. A photo's has one point and no intervals."""
    t = np.array([crop.t for crop in face.track.crops])
    p = np.array(face.p_frames)
    smoothed = smooth(t, p)
    middle = (thresholds.authentic_below + thresholds.forged_above) / 2
    found = suspicious(t, smoothed, low=middle, high=thresholds.forged_above)
    if face.verdict.part is not None:
        found = _with_part(found, face.verdict.part)
    return Timeline(
        track=face.track.track,
        t=tuple(t.tolist()),
        p=tuple(p.tolist()),
        p_smooth=tuple(smoothed.tolist()),
        thresholds=thresholds,
        intervals=tuple(found),
        similarity=tuple(similarities(np.stack([e.embedding for e in face.evidence]))),
    )


def build_timelines(
    analysis: Analysis, thresholds: Thresholds, of_stills: Thresholds | None = None
) -> tuple[Timeline, ...]:
    """The timeline of every face, in the order of the faces.

    thresholds: a profile's; each face's are those that its verdict was reached with. of_stills:
    those of faces that a clip shows as stills.
    """
    faces = analysis.faces
    own = [of_stills if face.track.still and of_stills else thresholds for face in faces]
    return tuple(
        build_timeline(face, asked_thresholds(some, faces, face.verdict))
        for face, some in zip(faces, own, strict=True)
    )


def _with_part(found: list[Interval], part: tuple[float, float]) -> list[Interval]:
    """The part that the verdict names, in place of every interval that touches it."""
    start, end = part
    apart = [i for i in found if i.end_s < start or i.start_s > end]
    return sorted([*apart, Interval(start, end)], key=lambda i: i.start_s)


def smooth(t: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores (n,) at seconds (n,) smoothed by a Gaussian kernel in time (Nadaraya-Watson).

    Uneven sampling doesn't matter to it.
    """
    if len(t) < 2:
        return p.astype(np.float64)
    sigma = SMOOTH_SAMPLES * _spacing(t)
    weight = np.exp(-0.5 * ((t[:, None] - t[None]) / sigma) ** 2)
    return weight @ p / weight.sum(axis=1)


def suspicious(
    t: NDArray[np.float64], p: NDArray[np.float64], low: float, high: float
) -> list[Interval]:
    """Stretches above `low` that reach above `high` somewhere (hysteresis thresholding).

    An end lies where the line between two samples crosses `low`, or at the outermost sample.
    """
    if len(t) < 2:
        return []
    longest = GAP_SAMPLES * _spacing(t)
    found = []
    start = 0
    for i in range(1, len(t) + 1):
        if i < len(t) and (p[i] > low) == (p[start] > low) and t[i] - t[i - 1] <= longest:
            continue
        if p[start] > low and p[start:i].max() > high:
            begin = _crossing(t, p, start, start - 1, low, longest)
            end = _crossing(t, p, i - 1, i, low, longest)
            found.append(Interval(begin, end))
        start = i
    return found


def _crossing(
    t: NDArray, p: NDArray, inside: int, outside: int, low: float, longest: float
) -> float:
    if not 0 <= outside < len(t) or abs(t[outside] - t[inside]) > longest:
        return float(t[inside])
    share = (p[inside] - low) / (p[inside] - p[outside])
    return float(t[inside] + share * (t[outside] - t[inside]))


def _spacing(t: NDArray[np.float64]) -> float:
    return max(float(np.median(np.diff(t))), 1e-3)


def similarities(embeddings: NDArray[np.float32]) -> list[float]:
    """Cosine of each embedding (n, D) to the next: n - 1 values in [-1, 1]."""
    unit = embeddings / np.maximum(np.linalg.norm(embeddings, axis=1, keepdims=True), 1e-9)
    return [float(np.clip(v, -1, 1)) for v in (unit[:-1] * unit[1:]).sum(axis=1)]
