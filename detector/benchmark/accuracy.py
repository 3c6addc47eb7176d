"""How often is the detector right, on what, and how sure are those figures?

`faces_rows` measures held-back authentic faces with fresh forgeries of every family, through every
degradation; `score_files` scores whole files, for the validation set of genuine forgeries.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit as log_odds
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from detector.benchmark.metrics import LabelledScores, Scores, figures
from detector.benchmark.trackcache import cached_tracks
from detector.decide import asked_thresholds, judge_file, sharpness, subject
from detector.degrade import Degradation, Step, draw_preset
from detector.errors import DetectorError
from detector.forgery.pairs import STRENGTH, PairMaker
from detector.forgery.pictures import LabelledFace
from detector.media import DEFAULT_FRAMES
from detector.pipeline import Detector
from detector.profile import Thresholds
from detector.types import CROP_PX, FaceAnalysis, Kind, Label, Verdict

HELD_BACK = "validation faces"  # name of the set in the tables

DEGRADATIONS: dict[str, Callable[[np.random.Generator], Degradation]] = {
    "none": lambda rng: (),
    "light": lambda rng: draw_preset("light", rng),
    "medium": lambda rng: draw_preset("medium", rng),
    "heavy": lambda rng: draw_preset("heavy", rng),
    **{
        f"H.264 crf {crf}": lambda rng, crf=crf: (
            Step("video_codec", {"codec": "h264", "crf": crf}),
        )  # type: ignore[misc]
        for crf in (23, 32, 40)
    },
}


@dataclass(frozen=True, eq=False)
class PairScores:
    """What the detector said of N fresh validation pairs, authentic and forged."""

    logits: Scores  # (N, 2)
    sharpness: Scores  # (N, 2), as in detector.decide
    families: tuple[str, ...]  # (N,)
    map_truth: NDArray[np.float32]  # (M, MAP_SIZE, MAP_SIZE), of the pairs whose mask is known
    map_logits: NDArray[np.float32]  # alike


def score_pairs(
    detector: Detector,
    pictures: Sequence[LabelledFace],
    degradation: str,
    per_family: int,
    seed: int = 99,
) -> PairScores:
    """Score fresh forgeries of held-back faces, `per_family` of each family, through one
    degradation.
    """
    maker = PairMaker(pictures)
    rng = np.random.default_rng(seed)
    logits = []
    detail = []
    truth = []
    maps = []
    for family in maker.families:
        made = [
            maker.to_crops(
                maker.make(family, STRENGTH, rng), DEGRADATIONS[degradation](rng), CROP_PX, rng
            )
            for _ in range(per_family)
        ]
        crops = np.concatenate([pair for pair, _ in made])
        masks = np.array([mask[1] for _, mask in made])
        predictions = detector.predict(crops, kind="image")
        fused = detector.fuse(predictions.logits, crops, kind="image")
        logits.append(fused.reshape(-1, 2))
        detail.append(np.reshape([sharpness(crop) for crop in crops], (-1, 2)))
        known = ~np.isnan(masks).any((1, 2))
        truth.append(masks[known])
        maps.append(predictions.maps[1::2][known])
    return PairScores(
        np.concatenate(logits).astype(float),
        np.concatenate(detail),
        tuple(np.repeat(maker.families, per_family).tolist()),
        np.concatenate(truth),
        np.concatenate(maps),
    )


def faces_rows(
    detector: Detector, pictures: Sequence[LabelledFace], per_family: int
) -> tuple[list[dict[str, Any]], dict[str, LabelledScores]]:
    """Return one row per family and degradation (each family against all authentic crops), and one
    for all families; beside them the scores of all degradations together, by the name of the
    material.
    """
    profile = detector.profiles["image"]
    rows = []
    pooled = []
    for degradation in tqdm(DEGRADATIONS, desc="degradations", disable=None):
        scored = score_pairs(detector, pictures, degradation, per_family)
        families = np.array(scored.families)
        for family in ("all", *dict.fromkeys(scored.families)):
            chosen = np.ones(len(families), bool) if family == "all" else families == family
            forged = scored.logits[chosen, 1]
            scores = np.r_[scored.logits[:, 0], forged]
            labels = np.r_[np.zeros(len(scored.logits)), np.ones(len(forged))]
            p = np.array([profile.calibration.probability(s) for s in scores])
            row = {"set": HELD_BACK, "family": family, "degradation": degradation, "n": len(forged)}
            row |= figures(labels, scores, p, profile.thresholds.forged_above)
            if family == "all":
                row |= map_figures(scored)
                pooled.append((labels, p))
            rows.append(row)
    labels, p = (np.concatenate(column) for column in zip(*pooled, strict=True))
    return rows, {"held-back faces, all degradations": LabelledScores(labels, p)}


def map_figures(scored: PairScores) -> dict[str, float]:
    """Pixel AUC of the evidence map and mean IoU at the true area (the map's strongest cells, as
    many as are true).
    """
    hard = scored.map_truth > 0.5
    ious = []
    for truth, heat in zip(hard, scored.map_logits, strict=True):
        if 0 < truth.sum() < truth.size:
            chosen = heat >= np.sort(heat.ravel())[-int(truth.sum())]
            ious.append((chosen & truth).sum() / (chosen | truth).sum())
    return {
        "pixel_auc": float(roc_auc_score(hard.ravel(), scored.map_logits.ravel())),
        "map_iou": float(np.mean(ious)) if ious else float("nan"),
    }


@dataclass(frozen=True)
class FileScore:
    """What the detector said of a file in which it found a face."""

    kind: Kind
    label: Label
    p_fake: float
    logit: float
    # log-odds of the score, less what the threshold was raised by for several faces or a part
    margin: float
    sharpness: float  # median over the crops of the main face, as in detector.decide


def decision_margin(
    thresholds: Thresholds, faces: Sequence[FaceAnalysis], verdict: Verdict
) -> float:
    """The score that decides, comparable between files with one face and several, or a part: see
    FileScore.margin.
    """
    asked = asked_thresholds(thresholds, faces, verdict).forged_above
    assert verdict.p_fake is not None
    return float(log_odds(verdict.p_fake) - log_odds(asked) + log_odds(thresholds.forged_above))


def score_files(
    detector: Detector,
    paths: Sequence[Path],
    cache: Path | None = None,
    n_frames: int = DEFAULT_FRAMES,
) -> list[FileScore | None]:
    """Score files; None for those that cannot be read or show no face.

    Found faces are kept in `cache`.
    """
    scores: list[FileScore | None] = []
    for path in tqdm(paths, desc="files", disable=None):
        try:
            kind, tracks = cached_tracks(detector, path, cache, n_frames)
        except DetectorError:
            scores.append(None)
            continue
        faces = detector.judge_tracks(tracks, kind=kind)
        verdict = judge_file(faces)
        if verdict.p_fake is None or verdict.logit is None:
            scores.append(None)
            continue
        detail = float(np.median([sharpness(crop.rgb) for crop in subject(faces).track.crops]))
        margin = decision_margin(detector.profiles[kind].thresholds, faces, verdict)
        found = FileScore(kind, verdict.label, verdict.p_fake, verdict.logit, margin, detail)
        scores.append(found)
    return scores


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """CSV with the union of the rows' columns, figures to four digits."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
