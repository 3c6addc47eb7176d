"""From logits to an answer: calibrate, aggregate over frames and faces, abstain with a reason."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.profile import MIN_CLIP_FRAMES, Calibration, Profile, Thresholds
from detector.tracking import MAX_FACES
from detector.types import FaceAnalysis, FaceCrop, FaceTrack, Label, Verdict

MIN_JUDGED_FACE_PX = 48  # below this a face crop is mostly interpolation
# spread of the crop's Laplacian (grey levels) under which no detail is left to judge
MIN_SHARPNESS = 4.0
MAX_MISSING = 0.3  # share of the face's box outside the picture above which too little is left
MAX_SHIFT = 0.35  # change of probability under a mild JPEG that counts as unstable
MIN_STRETCH = 6  # sampled frames in a row that can be called a forged part: a quarter of a clip's
# Score up to which no face of HDR is called forged: such clips are encoded with coarser chroma, and
# the conversion enlarges its errors. Authentic clips' log-odds rise by 1 to 4 (PQ, x265 at crf 20)
HDR_FORGED_ABOVE = 0.98
# faces smaller than this share of the subject are listed but have no say in the file's answer
MAIN_FACE = 0.4
# faces of at least this share of the largest are as large as it: within 10%, and MTCNN's boxes
# differ by another 10% between a picture, its mirror image and its JPEG
EQUAL_FACE = 0.8
NO_PHOTOGRAPH = "This does not look like a photograph, and only photographs can be judged."
AS_KNOWN = "like those of the forgeries this detector was trained on"


@dataclass(frozen=True)
class TypeScores:
    """The calibrated probability of each type of forgery; drawn: whether it is no photograph."""

    manipulated: float  # that something was put into this face
    generated: float  # that the picture was generated as a whole
    drawn: bool = False  # or painted, or sculpted: then neither probability means anything

    @property
    def in_words(self) -> str:
        """The traces of the more likely type."""
        if self.generated > self.manipulated:
            return "traces of a picture generated as a whole"
        return "traces of a face that was put in"


def sharpness(rgb: NDArray[np.uint8]) -> float:
    """Spread of the Laplacian of a crop in grey levels: how much fine detail is left."""
    return float(cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std())


def log_sharpness(crops: Iterable[NDArray[np.uint8]]) -> NDArray[np.float32]:
    """(N,) log(1 + sharpness) of N crops, as detector.profile reads it."""
    return np.log1p([sharpness(crop) for crop in crops], dtype=np.float32)


def format_probability(p: float) -> str:
    """A probability to two digits; it is never said to be 0 or 1."""
    if p > 0.99:
        return "above 0.99"
    return "below 0.01" if p < 0.01 else f"{p:.2f}"


def judge_face(
    logit: float,
    crops: Sequence[FaceCrop],
    profile: Profile,
    p_reencoded: float | None = None,
    frame_logits: Sequence[float] = (),
    type_scores: TypeScores | None = None,
    faces: int = 1,
) -> Verdict:
    """Return the verdict on one person: three-way, and with a reason where there is no answer.

    p_reencoded: probability of the same face after a mild JPEG, when it was measured. frame_logits:
    one per crop of a clip; where only a stretch of them looks forged, and the rest by itself does
    not, that part is called forged and the verdict's score is the part's. type_scores: of the two
    types of forgery; the reason names the more likely one. faces: how many faces of the file are
    asked; each must then clear a higher threshold.
    """
    calibration = profile.calibration
    thresholds = profile.thresholds.for_faces(faces)
    p = calibration.probability(logit)

    def answer(label: Label, reason: str) -> Verdict:
        return Verdict(label, reason, p, logit)

    if (unfit := _unfit(crops, profile.min_frames)) is not None:
        return answer(Label.UNCERTAIN, unfit)
    if type_scores is not None and type_scores.drawn:
        return answer(Label.UNCERTAIN, NO_PHOTOGRAPH)
    found = type_scores.in_words if type_scores else "traces"
    part = forged_part([crop.t for crop in crops], frame_logits, calibration, thresholds)
    if part is not None and (p <= thresholds.forged_above or part.rest_p < 0.5):
        reason = (
            f"This part carries {found}, {AS_KNOWN}; over the whole clip the score is "
            f"{format_probability(p)}."
        )
        of_part = calibration.probability(part.logit)
        return Verdict(Label.FORGED, reason, of_part, part.logit, (part.from_s, part.to_s))
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
        return answer(Label.FORGED, f"The face carries {found}, {AS_KNOWN}.")
    return answer(Label.AUTHENTIC, f"No trace {AS_KNOWN} was found.")


def _unfit(crops: Sequence[FaceCrop], min_frames: int) -> str | None:
    """Return why the crops cannot carry an answer; None where they can."""
    size = float(np.median([crop.face_px for crop in crops]))
    if size < MIN_JUDGED_FACE_PX:
        return (
            f"The face is too small to judge: {size:.0f} pixels, {MIN_JUDGED_FACE_PX} are needed."
        )
    if float(np.median([sharpness(crop.rgb) for crop in crops])) < MIN_SHARPNESS:
        return "The face is too blurred: no fine detail is left to judge."
    if (missing := _missing(crops)) > MAX_MISSING:
        return (
            f"The picture's edge cuts off too much of the face: {missing:.0%}, at most "
            f"{MAX_MISSING:.0%} may be missing."
        )
    if len(crops) < min_frames:
        return f"The face is seen in too few frames: {len(crops)}, {min_frames} are needed."
    return None


def _missing(crops: Sequence[FaceCrop]) -> float:
    """Which share of a face lies outside the picture, in the median crop."""
    return float(np.median([crop.missing for crop in crops]))


@dataclass(frozen=True)
class Part:
    """A stretch of a clip in seconds, the mean logit of its frames, and the probability that the
    mean logit of all others gives; 1.0 where they are too few to tell.
    """

    from_s: float
    to_s: float
    logit: float
    rest_p: float


def forged_part(
    times: Sequence[float],
    frame_logits: Sequence[float],
    calibration: Calibration,
    thresholds: Thresholds,
) -> Part | None:
    """Return the stretch of a clip that looks forged; None where there is none.

    A stretch counts when its MIN_STRETCH frames in a row have a mean logit whose probability lies
    above `stretch_above`. It then reaches as far to both sides as single frames are more likely
    forged than not.
    """
    if thresholds.stretch_above is None or len(frame_logits) < MIN_STRETCH:
        return None
    means = np.convolve(frame_logits, np.full(MIN_STRETCH, 1 / MIN_STRETCH), mode="valid")
    best = int(means.argmax())
    if calibration.probability(float(means[best])) <= thresholds.stretch_above:
        return None
    looks_forged = [calibration.probability(float(value)) > 0.5 for value in frame_logits]
    inside = [i for i in range(best, best + MIN_STRETCH) if looks_forged[i]]
    first = inside[0]
    last = inside[-1]
    while first > 0 and looks_forged[first - 1]:
        first -= 1
    while last + 1 < len(looks_forged) and looks_forged[last + 1]:
        last += 1
    mean = float(np.mean(frame_logits[first : last + 1]))
    rest = [*frame_logits[:first], *frame_logits[last + 1 :]]
    rest_p = calibration.probability(fmean(rest)) if len(rest) >= MIN_STRETCH else 1.0
    return Part(float(times[first]), float(times[last]), mean, rest_p)


def highest_stretch(values: Sequence[float], length: int = MIN_STRETCH) -> float:
    """The highest mean of `length` values in a row; of all of them where there are fewer."""
    length = min(length, len(values))
    return max(fmean(values[k : k + length]) for k in range(len(values) - length + 1))


def judge_file(
    faces: Sequence[FaceAnalysis], left_out: int = 0, frames: int | None = None
) -> Verdict:
    """The file's verdict: that of its most forged-looking main face where one is called forged,
    else that of its subject; none without a face, and not "authentic" while faces are unjudged.

    left_out: how many more faces were found. frames: of a clip, how many were looked at. The
    highest of several scores is high too often by chance: on authentic group photos it grows with
    the number of faces. So each face had to clear a threshold raised for their number.
    """
    if not faces:
        where = "" if frames is None else f" in the {frames} frames looked at"
        reason = f"No face was found{where}, and this detector judges faces only."
        return Verdict(Label.NO_FACE, reason)
    small = [face for face in faces if _size(face.track) < MIN_JUDGED_FACE_PX]
    cut = [face for face in faces if face not in small and _is_cut(face)]
    verdict = _with_unjudged(_of_faces(faces), len(faces), len(small), len(cut), left_out)
    judged = [face for face in faces if face not in small and face not in cut]
    verdict = _with_no_say(verdict, judged, faces)
    told = [verdict.reason]
    if verdict.label is Label.AUTHENTIC and frames is not None:
        told.append(f"{frames} frames were looked at.")
    if turned_deg := faces[0].track.crops[0].turned_deg:
        told.append(f"Found after turning the picture by {turned_deg} degrees clockwise.")
    return replace(verdict, reason=" ".join(told))


def _with_unjudged(
    verdict: Verdict, looked_at: int, small: int, cut: int, left_out: int
) -> Verdict:
    """The verdict on a file of whose faces some were not judged: of those looked at the small ones
    and those that the picture's edge cuts, and those left out.
    """
    judged = looked_at - small - cut
    unjudged = {
        f"smaller than {MIN_JUDGED_FACE_PX} pixels": small,
        "cut off by the picture's edge": cut,
        f"beyond the {MAX_FACES} that are looked at": left_out,
    }
    if judged == 0 or not any(unjudged.values()):
        return verdict
    count = f"{judged} of {looked_at + left_out} faces were judged: {_counted(unjudged)}."
    if verdict.label is not Label.AUTHENTIC:
        return replace(verdict, reason=f"{verdict.reason} Only {count}")
    reason = f"No trace was found, but only {count}"
    return replace(verdict, label=Label.UNCERTAIN, reason=reason)


def _with_no_say(
    verdict: Verdict, judged: Sequence[FaceAnalysis], faces: Sequence[FaceAnalysis]
) -> Verdict:
    """The verdict on a file, and how many of its judged faces had no say in it, and why."""
    main = main_faces(faces)
    enough = _long_enough([face.track for face in faces])
    others = [face for face in judged if face not in main]
    if not others:
        return verdict
    brief = sum(face.track not in enough for face in others)
    why = {f"smaller than {MAIN_FACE:.0%} of the largest": len(others) - brief}
    why |= {"seen too briefly": brief}
    forged = sum(face.verdict.label is Label.FORGED for face in others)
    told = f"Of {len(faces)} faces, {len(others)} had no say: {_counted(why)}."
    if forged:
        told += f" By {'itself, one' if forged == 1 else f'themselves, {forged}'} of these would"
        told += " be called forged."
    return replace(verdict, reason=f"{verdict.reason} {told}")


def _counted(parts: Mapping[str, int]) -> str:
    """How many are what, of what there is any."""
    return " and ".join(f"{n} {'is' if n == 1 else 'are'} {what}" for what, n in parts.items() if n)


def _is_cut(face: FaceAnalysis) -> bool:
    return _missing(face.track.crops) > MAX_MISSING


def _of_faces(faces: Sequence[FaceAnalysis]) -> Verdict:
    """The verdict on a file that the judged ones of its faces give."""
    main = main_faces(faces)
    forged = [face.verdict for face in main if face.verdict.label is Label.FORGED]
    if not forged:
        return _without_a_forged_face(faces)
    worst = max(forged, key=lambda verdict: verdict.p_fake or 0.0)
    return worst if len(main) == 1 else replace(worst, faces=(len(forged), len(main)))


def _without_a_forged_face(faces: Sequence[FaceAnalysis]) -> Verdict:
    """The subject's verdict, and whether it stands for others as large."""
    verdict = subject(faces).verdict
    equals = len(_equals(faces))
    if equals == 1 or verdict.label is Label.AUTHENTIC:
        return verdict
    note = f"It is the least certain of {equals} faces of about one size."
    return replace(verdict, reason=f"{verdict.reason} {note}")


def of_still(face: FaceAnalysis, still: FaceTrack) -> FaceAnalysis:
    """The analysis of a still that a clip shows for several frames, scored once."""
    count = len(still.crops)
    note = "The clip shows this face as a still picture, which is judged like a photo."
    verdict = replace(face.verdict, reason=f"{face.verdict.reason} {note}")
    return replace(
        face,
        track=still,
        evidence=face.evidence * count,
        p_frames=face.p_frames * count,
        verdict=verdict,
    )


def of_hdr(face: FaceAnalysis) -> FaceAnalysis:
    """The analysis of a face whose colours were HDR's: none is called forged on a score that the
    conversion alone may give.
    """
    verdict = face.verdict
    if verdict.label is not Label.FORGED or (verdict.p_fake or 0.0) > HDR_FORGED_ABOVE:
        return face
    reason = (
        f"HDR's colours were converted, which raises scores: up to {HDR_FORGED_ABOVE:.2f} it "
        "may come from that alone."
    )
    return replace(face, verdict=replace(verdict, label=Label.UNCERTAIN, reason=reason, part=None))


def deciding_face(faces: Sequence[FaceAnalysis], verdict: Verdict) -> FaceAnalysis | None:
    """The face whose score is the file's; None without a face."""
    return next((face for face in faces if face.verdict.logit == verdict.logit), None)


def asked_thresholds(
    thresholds: Thresholds, faces: Sequence[FaceAnalysis], verdict: Verdict
) -> Thresholds:
    """The thresholds that the verdict's score was compared with: raised for several faces, those
    of a stretch where a part of a clip is called forged.
    """
    asked = thresholds.for_faces(len(main_tracks([face.track for face in faces])))
    return asked if verdict.part is None else asked.of_part()


def subject(faces: Sequence[FaceAnalysis]) -> FaceAnalysis:
    """The face that a file is about: among equals, whose order a mirror image may turn round, one
    without an answer before an authentic one, and then the most forged-looking.
    """
    return max(
        _equals(faces),
        key=lambda face: (face.verdict.label is not Label.AUTHENTIC, face.verdict.p_fake or 0.0),
    )


def _equals(faces: Sequence[FaceAnalysis]) -> list[FaceAnalysis]:
    """The faces as large as the largest over time."""
    least = EQUAL_FACE * _prominence(subject_track([face.track for face in faces]))
    return [face for face in main_faces(faces) if _prominence(face.track) >= least]


def main_faces(faces: Sequence[FaceAnalysis]) -> list[FaceAnalysis]:
    """The faces that have a say in the file's answer; see main_tracks."""
    main = main_tracks([face.track for face in faces])
    return [face for face in faces if face.track in main]


def main_tracks(tracks: Sequence[FaceTrack]) -> list[FaceTrack]:
    """The tracks that have a say in the file's answer: as large as MAIN_FACE of the subject at a
    time, or over time. A bystander seen too briefly to be judged has none.
    """
    if not tracks:
        return []
    about = subject_track(tracks)
    return [
        track
        for track in _long_enough(tracks)
        if _size(track) >= MAIN_FACE * _size(about)
        or _prominence(track) >= MAIN_FACE * _prominence(about)
    ]


def subject_track(tracks: Sequence[FaceTrack]) -> FaceTrack:
    """The track that a file is about, before any is judged: the largest over time."""
    return max(_long_enough(tracks), key=_prominence)


def _long_enough(tracks: Sequence[FaceTrack]) -> list[FaceTrack]:
    """The tracks of as many frames as an answer needs; the longest where none has so many."""
    frames = min(MIN_CLIP_FRAMES, max(len(track.crops) for track in tracks))
    return [track for track in tracks if len(track.crops) >= frames]


def _prominence(track: FaceTrack) -> float:
    """Time on screen, in sampled frames, times size: what makes a face a file's subject."""
    return len(track.crops) * _size(track)


def _size(track: FaceTrack) -> float:
    return float(np.median([crop.face_px for crop in track.crops]))
