"""Evidence in words: numbers in, two or three cautious sentences out.

Templates only. The words are never surer than the calibrated score, a place is named only when the
map that names it passed its check, and the closing sentence is always there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.types import FaceCrop, Label
from explain.cam import Heat

CLOSING = "This is the estimate of one detector; it is not evidence against a person."
EYES, NOSE, MOUTH, EDGE = "the eyes", "the nose", "the mouth", "the edge of the face"
WHOLE, OUTSIDE = "the whole face", "the surroundings of the face"

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
STREAM_LEADS = 0.65  # share of the pull above which one stream is said to carry the score
SURE = 0.1  # within this of 0 or 1 the lean is called clear
STEADY = 0.1  # a change of probability smaller than this is called small


@dataclass(frozen=True)
class Findings:
    """The numbers behind the sentences."""

    label: Label
    p: float  # calibrated probability of the person or file
    band: tuple[float, float]  # between these two no answer is given
    # where the evidence lies; None: nowhere in particular, or not to be trusted
    place: str | None = None
    # "rgb stream", "noise stream" and the like, summing to 1
    stream_shares: Mapping[str, float] | None = None
    seconds: Sequence[tuple[float, float]] = ()  # suspicious stretches of a clip
    p_frame: float | None = None  # probability of the explained frame
    p_resaved: float | None = None  # the same after a mild JPEG
    # the same with one part of the face heavily compressed
    p_hidden: Mapping[str, float] | None = None


def face_parts(crop: FaceCrop) -> dict[str, NDArray[np.bool_]]:
    """Masks (S, S) of eyes, nose, mouth, edge of the face and the whole face, placed by the five
    landmarks.
    """
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
    """The part of the face where a map's positive heat is densest; None where there is none.

    A part is named when it is STANDS_OUT times as hot as the crop on average; otherwise the whole
    face, or its surroundings where most of the heat lies there and not only because they are large.
    """
    hot = np.maximum(heat.map, 0)
    total = float(hot.sum(dtype=np.float64))
    if total <= 0:
        return None
    face = parts[WHOLE]
    if float(hot[face].sum(dtype=np.float64)) < 0.5 * total and float(hot[face].mean()) < float(
        hot.mean()
    ):
        return OUTSIDE
    density = {
        n: float(hot[m].mean()) / float(hot.mean())
        for n, m in parts.items()
        if n != WHOLE and m.any()
    }
    best = max(density, key=lambda name: density[name])
    return best if density[best] >= STANDS_OUT else WHOLE


def describe(findings: Findings) -> tuple[str, ...]:
    """The sentences, in order; the closing one last."""
    sentences = [_lean(findings), _how(findings), _steadiness(findings), CLOSING]
    return tuple(s for s in sentences if s)


def said(p: float) -> str:
    """A probability in words' precision; the ends are never reached."""
    if p > 0.99:
        return "above 0.99"
    return "below 0.01" if p < 0.01 else f"{p:.2f}"


def zone(p: float, band: tuple[float, float]) -> str:
    """What a probability means."""
    if p < band[0]:
        return "authentic-looking"
    return "forged-looking" if p > band[1] else "no verdict"


def _lean(f: Findings) -> str:
    if f.label is Label.UNCERTAIN:
        return f"The score is {said(f.p)}, and the detector gives no verdict."
    clear = f.p >= 1 - SURE if f.label is Label.FORGED else f.p <= SURE
    lean = f"The detector leans {'clearly ' if clear else ''}towards {f.label} (score {said(f.p)})"
    if f.label is Label.AUTHENTIC and f.seconds:
        return f"{lean} over the whole clip, but some seconds look forged: {_spans(f.seconds)}."
    if f.label is Label.AUTHENTIC:
        return f"{lean}: it found no trace like those of the forgeries it knows."
    if f.place is None:
        return f"{lean}, but its map does not say reliably where on the face."
    return f"{lean}; the traces lie mostly on {f.place}."


def _how(f: Findings) -> str:
    if f.label is Label.AUTHENTIC:
        return ""
    parts = []
    if f.stream_shares:
        visible = 1 - f.stream_shares["noise stream"]
        if visible >= STREAM_LEADS:
            parts.append("it rests mostly on what is visible rather than on fine noise")
        elif visible <= 1 - STREAM_LEADS:
            parts.append("it rests mostly on fine noise rather than on what is visible")
        else:
            parts.append("it rests on what is visible and on fine noise alike")
    if f.seconds:
        parts.append(f"the suspicious seconds are {_spans(f.seconds)}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _spans(seconds: Sequence[tuple[float, float]]) -> str:
    return " and ".join(f"{a:.1f}-{b:.1f} s" for a, b in seconds)


def _steadiness(f: Findings) -> str:
    """How the explained frame's score moves, and what would change its answer."""
    parts = []
    if f.p_frame is not None and f.p_resaved is not None:
        size = "hardly moves" if abs(f.p_resaved - f.p_frame) < STEADY else "moves"
        parts.append(
            f"saved once more as a JPEG, this frame's score {size} ({said(f.p_frame)} to {said(f.p_resaved)})"
        )
    if f.p_frame is not None and f.p_hidden:
        now = zone(f.p_frame, f.band)
        changed = {name: p for name, p in f.p_hidden.items() if zone(p, f.band) != now}
        if changed:
            name = max(changed, key=lambda n: abs(changed[n] - f.p_frame))  # type: ignore[operator]
            now = zone(changed[name], f.band)
            parts.append(
                f"with {name} heavily compressed it would be {said(changed[name])} ({now})"
            )
        else:
            parts.append(
                "heavily compressing any single part of the face would not change the answer"
            )
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""
