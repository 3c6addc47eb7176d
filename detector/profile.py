"""What differs between stills and clips when a face is judged, one frozen Profile per kind.

The network and its weights are the same for both. A profile says how much the low-pass view counts,
how a logit is read at a crop's sharpness, how it becomes a probability, and where the answers part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from detector.types import KINDS, Kind, expect

if TYPE_CHECKING:
    from torch import Tensor

MIN_CLIP_FRAMES = 3  # fewer sampled frames with a face say little about a clip

Numbers = TypeVar("Numbers", "Tensor", np.ndarray)
Array = NDArray[np.float32]


def _expect_finite(values: object) -> None:
    for name, value in vars(values).items():
        expect(math.isfinite(value), f"a finite {name}", value)


@dataclass(frozen=True)
class SharpnessCalibration:
    """How a logit is read at a crop's log-sharpness: input-dependent temperature scaling.

    On blurred and compressed crops little evidence is all there ever is, and the same logit means
    more. After Tomani et al. 2022 (arXiv:2102.12182). Sharpness is log(1 + spread of the luma's
    Laplacian in grey levels).
    """

    sharp_above: float  # log-sharpness from which on the logit stays as it is
    scale_slope: float  # added to the scale per unit of log-sharpness below that
    shift_slope: float  # logits added per unit below
    soft_below: float  # log-sharpness below which no more is added

    def __post_init__(self) -> None:
        _expect_finite(self)
        ordered = self.soft_below <= self.sharp_above
        expect(ordered, f"soft_below of at most {self.sharp_above}", self.soft_below)

    def apply(self, logit: Numbers, log_sharpness: Numbers) -> Numbers:
        """Return the calibrated logits (B,) of crops with logits (B,) and log-sharpness (B,)."""
        below = self.sharp_above - log_sharpness.clip(self.soft_below, self.sharp_above)
        return (1 + self.scale_slope * below) * logit + self.shift_slope * below


@dataclass(frozen=True)
class Calibration:
    """p = sigmoid(scale * logit + bias), at even odds beforehand (Platt, 1999)."""

    scale: float = 1.0
    bias: float = 0.0

    def __post_init__(self) -> None:
        _expect_finite(self)

    def probability(self, logit: float) -> float:
        """Return the calibrated probability of a forgery."""
        z = self.scale * logit + self.bias
        return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


@dataclass(frozen=True)
class ExpertFusion:
    """How the logits of the two networks become one (late fusion).

    The two-stream network and CLIP's first head answer whether something was put into the face,
    CLIP's second head whether the picture was generated as a whole. Their weighted logits are
    added, and of stills the sum is read at the crop's sharpness.
    """

    two_stream: float  # weights of the three logits
    manipulated: float
    generated: float
    # each question by itself: of the two-stream and the manipulation logit's sum, and of the other
    manipulated_calibration: Calibration = field(default_factory=Calibration)
    generated_calibration: Calibration = field(default_factory=Calibration)
    sharpness: SharpnessCalibration | None = None  # of the sum
    clip_frames: int = 8  # sampled frames of a track that CLIP sees; the others are interpolated

    def __post_init__(self) -> None:
        for name in ("two_stream", "manipulated", "generated"):
            value = getattr(self, name)
            expect(math.isfinite(value), f"a finite weight of {name}", value)
        expect(self.clip_frames >= 1, "clip_frames of at least 1", self.clip_frames)

    def put_in(self, two_stream: Any, manipulated: Any) -> Any:
        """Return the logits (N,) that something was put into the face."""
        return self.two_stream * two_stream + self.manipulated * manipulated

    def fuse(
        self,
        two_stream: Array,
        manipulated: Array | float,
        generated: Array | float,
        log_sharpness: Array,
    ) -> Array:
        """Return the fused logits (N,) float32; one number counts for all N.

        log_sharpness: (N,), of the crops.
        """
        total = self.put_in(two_stream, manipulated) + self.generated * generated
        if self.sharpness is not None:
            total = self.sharpness.apply(total, log_sharpness)
        return total.astype(np.float32)


@dataclass(frozen=True)
class Thresholds:
    """Where the answers part, as calibrated probabilities; between the two nothing is said."""

    authentic_below: float = 0.4
    forged_above: float = 0.6
    # mean of a stretch of a clip's frames above which that part is called forged; None: never
    stretch_above: float | None = None
    # log-odds added per e-fold of faces asked: the scale of authentic faces' upper tail
    tail: float = 0.0

    def __post_init__(self) -> None:
        ordered = 0 <= self.authentic_below <= self.forged_above <= 1
        expect(ordered, "0 <= authentic_below <= forged_above <= 1", self)
        expect(0 <= self.tail < math.inf, "a finite tail of at least 0", self.tail)
        if self.stretch_above is not None:
            inside = 0 < self.stretch_above < 1
            expect(inside, "stretch_above between 0 and 1", self.stretch_above)

    def for_faces(self, count: int) -> Thresholds:
        """Return the thresholds of each of `count` faces, so that the file's false positives stay
        at the rate of one face's.

        Scores of authentic faces fall off exponentially above the threshold, so that the highest
        of n lies `tail * log(n)` higher.
        """
        if count <= 1 or not self.tail:
            return self

        def raised(p: float) -> float:
            z = math.log(p / (1 - p)) + self.tail * math.log(count)
            return 1 / (1 + math.exp(-z))

        stretch = None if self.stretch_above is None else raised(self.stretch_above)
        return replace(self, forged_above=raised(self.forged_above), stretch_above=stretch)

    def of_part(self) -> Thresholds:
        """Return the thresholds that the score of a part of a clip is compared with."""
        if self.stretch_above is None:
            return self
        low = min(self.authentic_below, self.stretch_above)
        return replace(self, authentic_below=low, forged_above=self.stretch_above)


@dataclass(frozen=True)
class Profile:
    """How material of one kind is read and judged; stored in the manifest."""

    low_pass_weight: float = 0.0  # of the low-pass view in the logit; 0: one view
    # of the low-pass view in the evidence map, where it has a weight in the logit; measured: pixel
    # AUC of clean crops -.003, of heavily degraded ones +.05
    low_pass_map_weight: float = 0.25
    sharpness: SharpnessCalibration | None = None
    calibration: Calibration = field(default_factory=Calibration)
    thresholds: Thresholds = field(default_factory=Thresholds)
    fusion: ExpertFusion | None = None  # None: the two-stream network alone
    min_frames: int = 1  # sampled frames with a face that an answer needs

    def __post_init__(self) -> None:
        for name in ("low_pass_weight", "low_pass_map_weight"):
            weight = getattr(self, name)
            expect(0 <= weight < 1, f"{name} from 0 to below 1", weight)
        expect(self.min_frames >= 1, "min_frames of at least 1", self.min_frames)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Profile:
        """Return the profile that `asdict` made. Raises TypeError or ValueError for any other."""
        parts = dict(stored)
        if parts.get("fusion") is not None:
            parts["fusion"] = _fusion_from_dict(parts["fusion"])
        for name, part in (
            ("sharpness", SharpnessCalibration),
            ("calibration", Calibration),
            ("thresholds", Thresholds),
        ):
            if parts.get(name) is not None:
                parts[name] = part(**parts[name])
        return cls(**parts)


def _fusion_from_dict(stored: Mapping[str, Any]) -> ExpertFusion:
    parts = dict(stored)
    for name in ("manipulated_calibration", "generated_calibration"):
        if parts.get(name) is not None:
            parts[name] = Calibration(**parts[name])
    if parts.get("sharpness") is not None:
        parts["sharpness"] = SharpnessCalibration(**parts["sharpness"])
    return ExpertFusion(**parts)


Profiles = Mapping[Kind, Profile]

# of networks that have not been calibrated
DEFAULT_PROFILES: Profiles = {"image": Profile(), "video": Profile(min_frames=MIN_CLIP_FRAMES)}


def profiles_from_dict(stored: Mapping[str, Any]) -> Profiles:
    """Return a manifest's profiles, the default where there is none for a kind.

    Raises TypeError or ValueError for what is no profile.
    """
    return {
        kind: Profile.from_dict(stored[kind]) if kind in stored else DEFAULT_PROFILES[kind]
        for kind in KINDS
    }


def profiles_to_dict(profiles: Profiles) -> dict[str, Any]:
    """Return profiles as JSON carries them."""
    return {kind: asdict(profiles[kind]) for kind in KINDS}
