"""From logits to an answer: calibrate, aggregate over frames and faces, abstain with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.profile import Profile, Thresholds
from detector.types import FaceAnalysis, FaceCrop, Label, Verdict

MIN_JUDGED_FACE_PX = 48  # below this a 224 px crop is mostly interpolation
# Laplacian spread (grey levels) of the 224 px crop under which no detail is left to judge
MIN_SHARPNESS = 4.0
MAX_SHIFT = 0.35  # change of probability under a mild JPEG that counts as unstable
MIN_RUN = 3  # sampled frames in a row that look forged before a clip counts as forged in part
MIN_STRETCH = 6  # or in a row whose mean leans towards forged: a quarter of a clip's
# faces smaller than this share of the largest are listed but cannot disagree with it
MAIN_FACE = 0.4


def sharpness(rgb: NDArray[np.uint8]) -> float:
    """Spread of the Laplacian of a crop in grey levels: how much fine detail is left."""
    return float(cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std())


def judge_face(
    logit: float,
    crops: Sequence[FaceCrop],
    profile: Profile,
    p_reencoded: float | None = None,
    p_frames: Sequence[float] = (),
) -> Verdict:
    """Return the verdict on one person: three-way, and with a reason where there is no answer.

    p_reencoded: probability of the same face after a mild JPEG, when it was measured. p_frames:
    probability per crop of a clip; a stretch of forged-looking frames in a clip that as a whole
    looks authentic is said, not averaged away.
    """
    p, thresholds = profile.calibration.probability(logit), profile.thresholds

    def answer(label: Label, reason: str) -> Verdict:
        return Verdict(label, reason, p, logit)

    if (unfit := _unfit(crops, profile.min_frames)) is not None:
        return answer(Label.UNCERTAIN, unfit)
    if p <= thresholds.forged_above and _forged_in_part(p_frames, thresholds):
        return answer(
            Label.UNCERTAIN,
            "Part of the clip looks forged and the rest does not: the timeline shows where.",
        )
    if thresholds.authentic_below <= p <= thresholds.forged_above:
        return answer(
            Label.UNCERTAIN, "The score lies in the band where this detector is often wrong."
        )
    if p_reencoded is not None and abs(p_reencoded - p) > MAX_SHIFT:
        return answer(
            Label.UNCERTAIN,
            "The score changes a lot when the picture is saved once more as a JPEG.",
        )
    if p > thresholds.forged_above:
        return answer(
            Label.FORGED,
            "The face carries traces like those of the forgeries this detector was trained on.",
        )
    return answer(
        Label.AUTHENTIC,
        "No trace like those of the forgeries this detector was trained on was found.",
    )


def _unfit(crops: Sequence[FaceCrop], min_frames: int) -> str | None:
    """Return why the crops cannot carry an answer; None where they can."""
    size = float(np.median([crop.face_px for crop in crops]))
    if size < MIN_JUDGED_FACE_PX:
        return (
            f"The face is too small to judge: {size:.0f} pixels, {MIN_JUDGED_FACE_PX} are needed."
        )
    if float(np.median([sharpness(crop.rgb) for crop in crops])) < MIN_SHARPNESS:
        return "The face is too blurred: no fine detail is left to judge."
    if len(crops) < min_frames:
        return f"The face is seen in too few frames: {len(crops)}, {min_frames} are needed."
    return None


def _forged_in_part(p_frames: Sequence[float], thresholds: Thresholds) -> bool:
    leaning = (thresholds.authentic_below + thresholds.forged_above) / 2
    return (
        longest_run(p_frames, thresholds.forged_above) >= MIN_RUN
        or highest_stretch(p_frames) > leaning
    )


def longest_run(values: Sequence[float], above: float) -> int:
    """How many values in a row lie above a bound, at most."""
    longest = run = 0
    for value in values:
        run = run + 1 if value > above else 0
        longest = max(longest, run)
    return longest


def highest_stretch(values: Sequence[float], length: int = MIN_STRETCH) -> float:
    """The highest mean of `length` values in a row; 0 where there are fewer."""
    return max(
        (fmean(values[k : k + length]) for k in range(len(values) - length + 1)), default=0.0
    )


def judge_file(faces: Sequence[FaceAnalysis]) -> Verdict:
    """The file's verdict: that of its largest face, the subject; none without a face.

    The most forged-looking of several faces is one too often by chance: on authentic group photos
    the highest of k scores grows with k (measured on genuine forgeries: AUC of stills .646 by the
    highest score, .675 by the largest face). Where another face of comparable size carries traces
    that the subject lacks, the faces disagree and the file gets no answer; each face keeps its own.
    """
    if not faces:
        return Verdict(Label.NO_FACE, "No face was found, and this detector judges faces only.")
    largest = subject(faces)
    verdict = largest.verdict
    main = [face for face in faces if _size(face) >= MAIN_FACE * _size(largest)]
    forged = sum(face.verdict.label is Label.FORGED for face in main)
    if len(main) == 1 or not forged:
        return verdict
    traces = f"{forged} of {len(main)} faces carr{'ies' if forged == 1 else 'y'} traces like those of known forgeries"
    if verdict.label is Label.FORGED:
        return Verdict(
            Label.FORGED, f"{traces}, the largest among them.", verdict.p_fake, verdict.logit
        )
    reason = f"The faces disagree: {traces}, but not the largest. Each face has its own score."
    return Verdict(Label.UNCERTAIN, reason, verdict.p_fake, verdict.logit)


def subject(faces: Sequence[FaceAnalysis]) -> FaceAnalysis:
    """The largest face: the one that a file is about."""
    return max(faces, key=_size)


def _size(face: FaceAnalysis) -> float:
    return float(np.median([crop.face_px for crop in face.track.crops]))
