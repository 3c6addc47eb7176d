"""What flows through the detector. Every type checks its values when it is made and is frozen.

path -> Media -> [Frame] -> [FaceTrack(FaceCrop...)] -> Evidence per crop -> Verdict -> Analysis
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Kind = Literal["image", "video"]
KINDS: tuple[Kind, ...] = ("image", "video")
# told of a run as it goes on: the share that is done, and what is done now
Progress = Callable[[float, str], None]

CROP_PX = 224  # a face crop's side: what the network sees
MAP_SIZE = 28  # the evidence map's side: stride 8 of a face crop


class Label(StrEnum):
    """The four answers. Abstaining (UNCERTAIN) is an answer, and always has a reason."""

    FORGED = "forged"
    AUTHENTIC = "authentic"
    UNCERTAIN = "uncertain"
    NO_FACE = "no_face"

    @property
    def headline(self) -> str:
        """The answer in words: the same ones on the command line, the page and in reports."""
        return _HEADLINES[self]


_HEADLINES = {
    Label.FORGED: "forged-looking",
    Label.AUTHENTIC: "authentic-looking",
    Label.UNCERTAIN: "cannot say",
    Label.NO_FACE: "no face",
}


def expect(ok: bool, what: str, got: object) -> None:
    """Raise ValueError that says what was expected, and what was got, unless it is ok."""
    if not ok:
        raise ValueError(f"expected {what}, but got {got}")


def _expect_array(array: np.ndarray, shape: tuple[int | None, ...], dtype: type, name: str) -> None:
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    expect(fits, f"{name} of shape {shape}", array.shape)
    expect(array.dtype == dtype, f"{name} of type {np.dtype(dtype)}", array.dtype)


@dataclass(frozen=True, eq=False)
class Frame:
    """One decoded picture, upright."""

    index: int  # frame number in the file, in presentation order; 0 for a photo
    t: float  # presentation time in seconds; 0.0 for a photo
    rgb: NDArray[np.uint8]  # (H, W, 3) uint8, sRGB

    def __post_init__(self) -> None:
        _expect_array(self.rgb, (None, None, 3), np.uint8, "rgb")
        expect(self.index >= 0, "index >= 0", self.index)


@dataclass(frozen=True, eq=False)
class Media:
    """An opened file: what it is, and its sampled frames."""

    name: str  # file name without folders
    sha256: str  # of the original bytes
    kind: Kind
    width: int  # px, upright
    height: int
    duration_s: float  # 0.0 for a photo
    frames: tuple[Frame, ...]  # evenly sampled in time, ascending t
    # EXIF or container tags; shown, never scored
    metadata: Mapping[str, str] = field(default_factory=dict)
    # what of the file was not looked at, in sentences: sound, frames between samples, and the like
    notes: tuple[str, ...] = ()
    hdr: bool = False  # whether its colours were HDR's, and were converted

    def __post_init__(self) -> None:
        expect(self.kind in KINDS, "kind image or video", self.kind)
        expect(len(self.frames) > 0, "at least one frame", 0)
        times = [frame.t for frame in self.frames]
        expect(times == sorted(times), "frames in ascending time", times)


@dataclass(frozen=True, eq=False)
class FaceCrop:
    """One face in one frame, cut out as a square."""

    rgb: NDArray[np.uint8]  # (S, S, 3) uint8, sRGB
    to_frame: NDArray[np.float32]  # (2, 3) affine, crop px -> frame px (pixel centres at integers)
    frame_index: int  # Frame.index
    t: float  # seconds
    box_xyxy_px: tuple[float, float, float, float]  # the face box in frame px (not the wider crop)
    # (5, 2) frame px: left eye, right eye, nose, left and right mouth corner, as seen
    landmarks_px: NDArray[np.float32]
    # MTCNN's probability in [0, 1]; 0.0 where the box was interpolated between detections
    confidence: float
    frame_px: tuple[int, int] | None = None  # the frame's width and height; None: all is inside it

    def __post_init__(self) -> None:
        _expect_array(self.rgb, (None, None, 3), np.uint8, "rgb")
        expect(self.rgb.shape[0] == self.rgb.shape[1], "a square crop", self.rgb.shape)
        _expect_array(self.to_frame, (2, 3), np.float32, "to_frame")
        _expect_array(self.landmarks_px, (5, 2), np.float32, "landmarks_px")
        x0, y0, x1, y1 = self.box_xyxy_px
        expect(x1 > x0 and y1 > y0, "a box with area", self.box_xyxy_px)

    @property
    def face_px(self) -> float:
        """The face box's longer side in frame pixels."""
        x0, y0, x1, y1 = self.box_xyxy_px
        return max(x1 - x0, y1 - y0)

    @property
    def missing(self) -> float:
        """Share of the face box that lies outside the frame."""
        if self.frame_px is None:
            return 0.0
        x0, y0, x1, y1 = self.box_xyxy_px
        width, height = self.frame_px
        inside = max(0.0, min(x1, width) - max(x0, 0.0)) * max(0.0, min(y1, height) - max(y0, 0.0))
        return 1 - inside / ((x1 - x0) * (y1 - y0))

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """(S, S): which of the crop's pixels lie in the frame; what lies outside is filled."""
        side = self.rgb.shape[0]
        if self.frame_px is None:
            return np.ones((side, side), bool)
        x, y = np.meshgrid(np.arange(side), np.arange(side))
        (a, b, c), (d, e, f) = self.to_frame.astype(np.float64)
        u, v = a * x + b * y + c, d * x + e * y + f
        width, height = self.frame_px
        return (u > -0.51) & (u < width - 0.49) & (v > -0.51) & (v < height - 0.49)

    @property
    def shown(self) -> NDArray[np.uint8]:
        """The crop as people see it: black beyond the frame's edge, where nothing was seen."""
        return np.where(self.inside[..., None], self.rgb, np.uint8(0))

    @property
    def turned_deg(self) -> int:
        """By how many degrees clockwise the frame was turned for this face to stand upright."""
        angle = np.degrees(np.arctan2(self.to_frame[1, 0], self.to_frame[0, 0]))
        return -round(float(angle)) % 360


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One person through the clip; a photo's face is a track of length 1."""

    track: int
    crops: tuple[FaceCrop, ...]  # ascending time
    still: bool = False  # of a clip whose frames show this face as one and the same picture

    def __post_init__(self) -> None:
        expect(len(self.crops) > 0, "at least one crop", 0)
        times = [crop.t for crop in self.crops]
        expect(times == sorted(times), "crops in ascending time", times)

    def judged_as(self, kind: Kind) -> Kind:
        """As which kind this person of a file of a kind is judged."""
        return "image" if self.still else kind


@dataclass(frozen=True, eq=False)
class Evidence:
    """The network's answer for one crop, before calibration."""

    logit: float  # frame logit; above 0 leans to forged
    # (MAP_SIZE, MAP_SIZE) logits: where the blend or the synthesis is seen
    map: NDArray[np.float32]
    embedding: NDArray[np.float32]  # (D,)

    def __post_init__(self) -> None:
        _expect_array(self.map, (None, None), np.float32, "map")
        _expect_array(self.embedding, (None,), np.float32, "embedding")
        expect(bool(np.isfinite(self.logit)), "a finite logit", self.logit)


@dataclass(frozen=True)
class Verdict:
    """The answer for a file or for one face."""

    label: Label
    reason: str  # one sentence; why this label, or why none
    p_fake: float | None = None  # calibrated probability; None without a face
    logit: float | None = None  # before calibration; None without a face
    part: tuple[float, float] | None = None  # from, to in seconds: only this part looks forged
    faces: tuple[int, int] | None = None  # of several faces: how many look forged, of how many

    @property
    def headline(self) -> str:
        """The answer in a few words, the same on the page, in reports and on the command line."""
        if self.faces is not None:
            forged, count = self.faces
            where = (
                "" if self.part is None else f", from {self.part[0]:.1f} to {self.part[1]:.1f} s"
            )
            return f"{forged} of {count} faces look{'s' if forged == 1 else ''} forged{where}"
        if self.part is not None:
            return f"Part of this clip looks forged: {self.part[0]:.1f}-{self.part[1]:.1f} s"
        return self.label.headline

    def __post_init__(self) -> None:
        expect(bool(self.reason), "a reason", repr(self.reason))
        if self.p_fake is not None:
            expect(0.0 <= self.p_fake <= 1.0, "p_fake in [0, 1]", self.p_fake)
        expect(
            (self.p_fake is None) == (self.label is Label.NO_FACE),
            "p_fake exactly when there is a face",
            self,
        )


@dataclass(frozen=True, eq=False)
class FaceAnalysis:
    """One person's part of the analysis."""

    track: FaceTrack
    evidence: tuple[Evidence, ...]  # one per crop of the track
    p_frames: tuple[float, ...]  # calibrated probability per crop
    verdict: Verdict
    # calibrated, each question by itself; None where the model has one network
    manipulated: float | None = None  # probability that something was put into this face
    generated: float | None = None  # probability that the picture was generated as a whole

    def __post_init__(self) -> None:
        expect(
            len(self.evidence) == len(self.track.crops),
            f"{len(self.track.crops)} pieces of evidence",
            len(self.evidence),
        )
        expect(
            len(self.p_frames) == len(self.evidence),
            f"{len(self.evidence)} probabilities",
            len(self.p_frames),
        )


@dataclass(frozen=True)
class ModelInfo:
    name: str
    sha256: str  # of the weights file


@dataclass(frozen=True, eq=False)
class Analysis:
    """Everything known about one file."""

    media: Media
    faces: tuple[FaceAnalysis, ...]  # most forged-looking first
    verdict: Verdict
    model: ModelInfo
    timing_s: Mapping[str, float] = field(default_factory=dict)
    faces_left_out: int = 0  # found, but beyond the number that is judged
