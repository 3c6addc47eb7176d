"""Evidence in words: numbers in, two or three cautious sentences out.

Only templates are filled. The words are never surer than the calibrated score, a place is named
only when the map that names it passed its check, and the closing sentence is always there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.decide import format_probability
from detector.profile import Thresholds
from detector.types import FaceCrop, Label
from explain.cam import Heat
from explain.capture import NOISE_STREAM
from explain.timeline import Interval

CLOSING = "This is the estimate of one detector; it is not evidence against a person."
EYES = "the eyes"
NOSE = "the nose"
MOUTH = "the mouth"
EDGE = "the edge of the face"
WHOLE = "the whole face"
OUTSIDE = "the surroundings of the face"
EVERYWHERE = "the face and its surroundings"
MIDDLE = "the middle of the face, from the eyes to the mouth"

# Ellipses (x, y, rx, ry) in the face's own frame: origin between the eyes, unit = the distance
# between them.
_PARTS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    EYES: ((-0.5, 0.0, 0.4, 0.27), (0.5, 0.0, 0.4, 0.27)),
    NOSE: ((0.0, 0.42, 0.32, 0.42),),
    MOUTH: ((0.0, 1.16, 0.6, 0.34),),
}
_FACE = (0.0, 0.55, 1.05, 1.35)
_RING = (0.78, 1.2)  # the edge of the face, as shares of the face ellipse
# of an average face
_FIVE_POINTS = np.array([[-0.5, 0.0], [0.5, 0.0], [0.0, 0.57], [-0.414, 1.155], [0.414, 1.155]])

STANDS_OUT = 2.0  # times the crop's mean heat that a part needs to be named
ALSO_HOT = 0.5  # of the hottest part's heat: a part with so much is named as well
MOSTLY = 0.5  # of all heat: what holds less is not said to hold most of it
CLEARLY_HOTTER = 1.5  # times as hot on average: a face or its surroundings with less is not alone
STREAM_LEADS = 0.65  # share of the pull above which one stream is said to carry the score
SURE = 0.1  # within this of 0 or 1 the lean is called clear
STEADY = 0.1  # a change of probability smaller than this is called small


@dataclass(frozen=True)
class FrameScores:
    """Calibrated probabilities of the explained frame."""

    p: float  # as it is
    p_resaved: float  # after a mild JPEG
    p_hidden: Mapping[str, float]  # with one part of the face heavily compressed, by part


@dataclass(frozen=True)
class Findings:
    """The numbers behind the sentences."""

    label: Label
    p: float  # calibrated probability behind the label: of the person, or of the part
    thresholds: Thresholds
    part: tuple[float, float] | None = None  # from, to in seconds: only this part looks forged
    t: float | None = None  # of the explained frame in seconds; None in a photo
    p_frame: float | None = None  # calibrated probability of the explained frame alone
    tested: bool = True  # whether a map was tested on this face, so that a place may be named
    # where the evidence lies; None: nowhere in particular, or not to be trusted
    place: str | None = None
    # "rgb stream", "noise stream" and the like, summing to 1; empty without two streams
    stream_shares: Mapping[str, float] = field(default_factory=dict)
    intervals: Sequence[Interval] = ()  # suspicious stretches of a clip
    frame: FrameScores | None = None


def face_parts(crop: FaceCrop) -> dict[str, NDArray[np.bool_]]:
    """Masks (S, S) of the face's parts by name, placed by the five landmarks."""
    side = crop.rgb.shape[0]
    back = np.asarray(cv2.invertAffineTransform(crop.to_frame.astype(np.float64)))
    points = crop.landmarks_px @ back[:, :2].T + back[:, 2]
    design = np.hstack([points, np.ones((5, 1))])
    # crop px -> the face's own frame
    to_face, *_ = np.linalg.lstsq(design, _FIVE_POINTS, rcond=None)
    y, x = np.mgrid[:side, :side]
    u, v = (to_face[0, k] * x + to_face[1, k] * y + to_face[2, k] for k in (0, 1))

    def reach(ellipse: tuple[float, float, float, float]) -> NDArray[np.float64]:
        return np.hypot((u - ellipse[0]) / ellipse[2], (v - ellipse[1]) / ellipse[3])

    parts = {
        name: np.min([reach(e) for e in ellipses], axis=0) <= 1 for name, ellipses in _PARTS.items()
    }
    face = reach(_FACE)
    return {**parts, EDGE: (face >= _RING[0]) & (face <= _RING[1]), WHOLE: face <= _RING[1]}


def place_of(heat: Heat, parts: Mapping[str, NDArray[np.bool_]]) -> str | None:
    """The parts of the face where a map's positive heat is densest; None where there is no heat.

    Parts are named when the hottest is STANDS_OUT times as hot as the crop on average, and with
    it all that have ALSO_HOT of its heat; alone only when they hold MOSTLY of the heat, and the
    whole face where all of them glow. Otherwise it is the whole face, or its surroundings if they
    hold most of the heat, whichever is CLEARLY_HOTTER than the other; or else both.
    """
    hot = np.maximum(heat.map, 0)
    total = float(hot.sum(dtype=np.float64))
    if total <= 0:
        return None
    face = parts[WHOLE]
    of_face, around = (float(hot[m].mean()) if m.any() else 0.0 for m in (face, ~face))
    held = float(hot[face].sum(dtype=np.float64)) / total
    if held < 0.5 and around >= CLEARLY_HOTTER * of_face:
        return OUTSIDE
    density = {
        n: float(hot[m].mean()) / float(hot.mean())
        for n, m in parts.items()
        if n != WHOLE and m.any()
    }
    hottest = max(density.values())
    if hottest < STANDS_OUT:
        return WHOLE if of_face >= CLEARLY_HOTTER * around else EVERYWHERE
    hot_parts = [name for name, own in density.items() if own >= max(1.0, ALSO_HOT * hottest)]
    if len(hot_parts) == len(density):  # the edge of the face, too
        return WHOLE
    inside = np.any([parts[name] for name in hot_parts], axis=0)
    named = MIDDLE if {EYES, NOSE, MOUTH} <= set(hot_parts) else " and ".join(hot_parts)
    if float(hot[inside].sum(dtype=np.float64)) >= MOSTLY * total:
        return named
    return f"{WHOLE}, most strongly on {named}"


def describe(findings: Findings) -> tuple[str, ...]:
    """The sentences, in order; the closing one last."""
    sentences = (
        _lean(findings),
        _frame(findings),
        _streams_and_seconds(findings),
        _steadiness(findings),
        CLOSING,
    )
    return tuple(sentence for sentence in sentences if sentence)


def zone_name(p: float, thresholds: Thresholds) -> str:
    """What a probability means."""
    if p < thresholds.authentic_below:
        return "authentic-looking"
    return "forged-looking" if p > thresholds.forged_above else "no verdict"


def _lean(f: Findings) -> str:
    score = format_probability(f.p)
    whole = "over the whole clip" if f.t is not None else ""
    if f.label is Label.UNCERTAIN:
        subject = f"{whole} the score" if whole else "the score"
        return _sentence([f"{subject} is {score}, and the detector gives no verdict"])
    clear = f.p >= 1 - SURE if f.label is Label.FORGED else f.p <= SURE
    lean = f"the detector leans {'clearly ' if clear else ''}towards {f.label} (score {score})"
    if f.part is not None:
        lean = f"from {f.part[0]:.1f} to {f.part[1]:.1f} s {lean}"
    if f.label is Label.AUTHENTIC and f.intervals:
        spans = _spans(f.intervals)
        return _sentence([f"{lean} {whole}", f"too few seconds to be called forged: {spans}"])
    if f.label is Label.AUTHENTIC:
        lean += ": it found no trace like those of the forgeries it knows"
    elif f.place == EVERYWHERE:
        lean += f"; the traces lie all over {f.place}"
    elif f.place is not None:
        lean += f"; the traces lie mostly on {f.place}"
    elif f.tested:
        lean += ", but its map does not say reliably where on the face"
    return _sentence([lean])


def _frame(f: Findings) -> str:
    """What the explained frame of a clip says by itself, where that differs from the answer."""
    if f.t is None or f.p_frame is None:
        return ""
    score = format_probability(f.p_frame)
    if f.part is not None and not f.part[0] <= f.t <= f.part[1]:
        return f"This frame, at {f.t:.2f} s, lies outside that part; by itself it scores {score}."
    alone = zone_name(f.p_frame, f.thresholds)
    if alone == zone_name(f.p, f.thresholds):
        return ""
    if alone == "forged-looking":
        return (
            f"This frame by itself scores {score}; too few frames in a row do so for the clip, "
            "or a part of it, to be called forged."
        )
    return f"This frame by itself scores {score}; the answer rests on the others, too."


def _streams_and_seconds(f: Findings) -> str:
    if f.label is Label.AUTHENTIC:
        return ""
    parts = []
    if f.stream_shares:
        visible = 1 - f.stream_shares[NOISE_STREAM]
        if visible >= STREAM_LEADS:
            parts.append("it rests mostly on what is visible rather than on fine noise")
        elif visible <= 1 - STREAM_LEADS:
            parts.append("it rests mostly on fine noise rather than on what is visible")
        else:
            parts.append("it rests on what is visible and on fine noise alike")
    others = [i for i in f.intervals if (i.start_s, i.end_s) != f.part]
    if others:
        parts.append(f"the suspicious seconds are {_spans(others)}")
    return _sentence(parts)


def _spans(intervals: Sequence[Interval]) -> str:
    return " and ".join(f"{i.start_s:.1f}-{i.end_s:.1f} s" for i in intervals)


def _steadiness(f: Findings) -> str:
    """How the explained frame's score moves, and what would change its answer."""
    if f.frame is None:
        return ""
    p = f.frame.p
    p_resaved = f.frame.p_resaved
    size = "hardly moves" if abs(p_resaved - p) < STEADY else "moves"
    both = f"{format_probability(p)} to {format_probability(p_resaved)}"
    parts = [f"saved once more as a JPEG, this frame's score {size} ({both})"]
    now = zone_name(p, f.thresholds)
    changed = {
        name: hidden
        for name, hidden in f.frame.p_hidden.items()
        if zone_name(hidden, f.thresholds) != now
    }
    if changed:
        name = max(changed, key=lambda n: abs(changed[n] - p))
        then = zone_name(changed[name], f.thresholds)
        score = format_probability(changed[name])
        parts.append(f"with {name} heavily compressed it would be {score} ({then})")
    elif f.frame.p_hidden:
        parts.append("heavily compressing any single part of the face would not change the answer")
    return _sentence(parts)


def _sentence(parts: Sequence[str]) -> str:
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""
