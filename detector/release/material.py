"""What the shipped model is calibrated on: fresh forgeries and genuine ones."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from detector.benchmark.accuracy import score_files, score_pairs
from detector.forgery.pictures import LabelledFace
from detector.pipeline import Detector
from detector.profile import SharpnessCalibration
from detector.training.calibration import CalibrationSet
from detector.types import KINDS, Kind

DEGRADATION_MIX = ("none", "light", "medium", "heavy", "H.264 crf 23", "H.264 crf 32")
PAIRS_PER_FAMILY = 40  # for each degradation

Material = dict[Kind, list[CalibrationSet]]


def collect(
    detector: Detector, held: Sequence[LabelledFace], devset: Path | None, cache: Path | None
) -> Material:
    """Score what stills and clips are calibrated on.

    Fresh pairs of held-back faces under a mix of degradations and, where `devset` names it, the
    validation set of genuine forgeries, whose found faces are kept in `cache`. Clips are averages
    over frames, which single crops cannot stand for: where there are clips, only they count.
    """
    fresh = fresh_pairs(detector, held)
    genuine = genuine_files(detector, devset, cache) if devset is not None else {}
    return {"image": [fresh, *genuine.get("image", [])], "video": genuine.get("video", [fresh])}


def fresh_pairs(detector: Detector, held: Sequence[LabelledFace]) -> CalibrationSet:
    """Score fresh forgeries of held-back faces under every degradation of the mix."""
    scored = [score_pairs(detector, held, name, PAIRS_PER_FAMILY, 7) for name in DEGRADATION_MIX]
    logits = np.concatenate([one.logits for one in scored])
    detail = np.log1p(np.concatenate([one.sharpness for one in scored]))
    labels = np.tile([0, 1], len(logits))
    return CalibrationSet(logits.ravel(), labels, detail.ravel())


def genuine_files(detector: Detector, devset: Path, cache: Path | None) -> Material:
    """Score the files that the CSV beside `devset` lists; a kind that lacks one of the labels is
    left out.
    """
    with devset.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    scores = score_files(detector, [devset / row["file"] for row in rows], cache)
    found: Material = {}
    for kind in KINDS:
        own = [
            (one.logit, int(row["label"]), np.log1p(one.sharpness))
            for row, one in zip(rows, scores, strict=True)
            if one is not None and one.kind == kind
        ]
        if {label for _, label, _ in own} == {0, 1}:
            logits, labels, detail = (np.array(column) for column in zip(*own, strict=True))
            found[kind] = [CalibrationSet(logits, labels, detail)]
    return found


def read_at_sharpness(
    sets: Sequence[CalibrationSet], calibration: SharpnessCalibration
) -> list[CalibrationSet]:
    """Return sets as the network would have given them with a sharpness calibration.

    The same crops need not be scored again.
    """
    return [
        replace(one, logits=calibration.apply(one.logits, one.log_sharpness))
        for one in sets
        if one.log_sharpness is not None
    ]
