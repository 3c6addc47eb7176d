"""Does the score follow what is no forgery? False positives on held-back authentic faces, group by
group.

Groups: the set a face comes from, skin tone, brightness, sharpness, size of the face, file format,
what an editor did to it, and how it lies in its crop. Within each kind of group the rates at the
shipped threshold should lie within 5 points of each other; where they don't, the model card says
so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from detector.benchmark.accuracy import DEGRADATIONS
from detector.decide import sharpness
from detector.degrade import Degradation, Step, apply
from detector.faces import cut_square
from detector.forgery.pictures import LabelledFace
from detector.pipeline import Detector

PER_SOURCE = 40  # authentic faces of each set; small sets give all they have
LEAST = 10  # faces below which a group has no rate
# Individual typology angle: the usual classes (Chardon et al., 1991), the two lightest and the two
# darkest joined.
SKIN_TONES = (
    ("light", 41.0),
    ("intermediate", 28.0),
    ("tan", 10.0),
    ("brown", -30.0),
    ("dark", -np.inf),
)
# Kinds that are done to every face, instead of ways to sort them: each name is a group of its own.
TREATMENTS: dict[str, dict[str, Degradation]] = {
    "format": {
        "as found": (),
        "JPEG quality 85": (Step("jpeg", {"quality": 85}),),
        "WebP quality 85": (Step("webp", {"quality": 85}),),
        "H.264 crf 23": (Step("video_codec", {"codec": "h264", "crf": 23}),),
        "half size": (Step("rescale", {"factor": 0.5}),),
    },
    "editing": {
        "untouched": (),
        "skin smoothed": (Step("bilateral", {"sigma_levels": 40, "sigma_px": 3}),),
        "noise reduced": (Step("non_local_means", {"strength": 5}),),
        "sharpened": (Step("sharpen", {"amount": 1}),),
        "corners darkened": (Step("vignette", {"amount": 0.7}),),
        "black and white": (Step("hue_saturation", {"saturation": 0}),),
    },
}
# A face that lies otherwise in its crop, as after a mirror image or where MTCNN's box is off: by
# how many px to the right, how many times as large a square, and whether mirrored.
PLACING = "placing"
PLACINGS: dict[str, tuple[float, float, bool]] = {
    "1 px off": (1.0, 1.0, False),
    "3% smaller": (0.0, 1.03, False),
    "mirror image": (0.0, 1.0, True),
}

Grouping = dict[str, list[str]]


def choose(
    pictures: Sequence[LabelledFace], rng: np.random.Generator, per_source: int = PER_SOURCE
) -> list[LabelledFace]:
    """Up to `per_source` authentic pictures of each set, by chance."""
    chosen = []
    for source in sorted({p.source for p in pictures if p.label == 0}):
        own = [p for p in pictures if p.source == source and p.label == 0]
        chosen += [own[i] for i in rng.permutation(len(own))[:per_source]]
    return chosen


def groupings(pictures: Sequence[LabelledFace], crops: NDArray[np.uint8]) -> Grouping:
    """Kind of group -> the group of each picture; an empty name where it belongs to none."""
    size = np.array(
        [
            max(p.box_xyxy_px[2] - p.box_xyxy_px[0], p.box_xyxy_px[3] - p.box_xyxy_px[1])
            for p in pictures
        ]
    )
    return {
        "set": [p.source for p in pictures],
        "skin tone": [skin_tone(p.skin_ita_deg) for p in pictures],
        "brightness": thirds(crops.mean((1, 2, 3)), ("dark", "middle", "bright")),
        "sharpness": thirds(np.array([sharpness(c) for c in crops]), ("soft", "middle", "sharp")),
        "face size": thirds(size, ("small", "middle", "large")),
    }


def skin_tone(ita_deg: float) -> str:
    """Class of an individual typology angle in degrees; empty where it is not known."""
    return "" if np.isnan(ita_deg) else next(name for name, above in SKIN_TONES if ita_deg > above)


def thirds(values: NDArray, names: tuple[str, str, str]) -> list[str]:
    """The lowest, middle and highest third of values by name."""
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    return [names[int(v > low) + int(v > high)] for v in values]


def shortcut_rows(
    detector: Detector, pictures: Sequence[LabelledFace], seed: int = 5
) -> list[dict[str, Any]]:
    """Per degradation, treatment or placing, kind of group and group a row: n, mean and spread of
    the logit, false positives; of a treatment or placing also by how much it moves p, on average.
    """
    rng = np.random.default_rng(seed)
    chosen = choose(pictures, rng)
    profile = detector.profiles["image"]
    plain = np.stack([_crop(p, ()) for p in chosen])
    groups = groupings(chosen, plain)
    fixed = {name: steps for group in TREATMENTS.values() for name, steps in group.items()}
    kind_of = {name: kind for kind, group in TREATMENTS.items() for name in group}
    kind_of |= dict.fromkeys(PLACINGS, PLACING)
    rows: list[dict[str, Any]] = []
    p_plain = np.empty(0)
    # "none" is the first
    for name in tqdm([*DEGRADATIONS, *fixed, *PLACINGS], desc="degradations", disable=None):
        if name in PLACINGS:
            crops = np.stack([_placed(picture, *PLACINGS[name]) for picture in chosen])
        else:
            crops = np.stack(
                [
                    _crop(picture, fixed[name] if name in fixed else DEGRADATIONS[name](rng))
                    for picture in chosen
                ]
            )
        logits = detector.score(crops, kind="image").astype(float)
        p = np.array([profile.calibration.probability(v) for v in logits])
        p_plain = p if name == "none" else p_plain
        alarm = p > profile.thresholds.forged_above
        if name in kind_of:
            row = {"kind": kind_of[name], "group": name, "degradation": name}
            moved = float(np.abs(p - p_plain).mean())
            rows.append({**row, **_rates(logits, alarm), "moved": moved})
        if name in DEGRADATIONS:
            rows += _grouped(groups, name, logits, alarm)
    return rows


def _grouped(
    groups: Grouping, degradation: str, logits: NDArray, alarm: NDArray
) -> Iterator[dict[str, Any]]:
    for kind, names in groups.items():
        for group in sorted(set(names) - {""}):
            own = np.array(names) == group
            if own.sum() >= LEAST:
                yield {
                    "kind": kind,
                    "group": group,
                    "degradation": degradation,
                    **_rates(logits[own], alarm[own]),
                }


def _rates(logits: NDArray, alarm: NDArray) -> dict[str, float]:
    return {
        "n": len(logits),
        "logit": float(logits.mean()),
        "spread": float(logits.std()),
        "false_positives": float(alarm.mean()),
    }


def _crop(picture: LabelledFace, degradation: Degradation) -> NDArray[np.uint8]:
    return cut_square(apply(picture.rgb, degradation), picture.box_xyxy_px)[0]


def _placed(
    picture: LabelledFace, right_px: float, factor: float, mirrored: bool
) -> NDArray[np.uint8]:
    """A crop whose square lies otherwise around the face; see PLACINGS."""
    x0, y0, x1, y1 = picture.box_xyxy_px
    centre = np.array([(x0 + x1) / 2 + right_px, (y0 + y1) / 2])
    reach = factor * np.array([x1 - x0, y1 - y0]) / 2
    (left, top), (right, bottom) = (centre - reach).tolist(), (centre + reach).tolist()
    crop = cut_square(picture.rgb, (left, top, right, bottom))[0]
    return np.ascontiguousarray(crop[:, ::-1]) if mirrored else crop


def widest(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per kind of group and degradation the lowest and highest false-positive rate, and which
    groups have them.
    """
    found = []
    kinds = dict.fromkeys(
        (row["kind"], "" if row["kind"] in (*TREATMENTS, PLACING) else row["degradation"])
        for row in rows
    )
    for kind, degradation in kinds:
        own = [r for r in rows if r["kind"] == kind and degradation in ("", r["degradation"])]
        low, high = (pick(own, key=lambda r: r["false_positives"]) for pick in (min, max))
        found.append({
            "kind": kind, "degradation": degradation or "each", "lowest": low["false_positives"],
            "at": low["group"], "highest": high["false_positives"], "where": high["group"],
            "apart": high["false_positives"] - low["false_positives"],
        })  # fmt: skip
    return found
