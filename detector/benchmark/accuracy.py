"""How often is the detector right, on what, and how sure are those figures?

Two parts. *Faces*: held-back authentic faces with fresh forgeries of every family, through every
degradation.
*Devset*: genuine forgeries, by type. `rows` of both go to one CSV.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from tqdm import tqdm

from detector.benchmark.metrics import Scores, figures
from detector.decide import judge_file, sharpness, subject
from detector.degrade import Degradation, Step, draw_preset
from detector.errors import DetectorError
from detector.media import open_media
from detector.pipeline import DEFAULT_FRAMES, Detector
from detector.types import Kind

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


# material -> labels (N,), p_fake (N,)
Answers = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


@dataclass(frozen=True, eq=False)
class PairScores:
    """Fresh validation pairs: logits (N, 2) authentic and forged, how sharp the crops are,
    families, masks and maps.
    """

    logits: Scores
    sharpness: Scores  # (N, 2), as in detector.decide
    families: tuple[str, ...]
    map_truth: NDArray[np.float32]  # (M, 28, 28), of the pairs whose mask is known
    map_logits: NDArray[np.float32]


def score_pairs(
    detector: Detector,
    pictures: Sequence[Any],
    degradation: str,
    per_family: int,
    seed: int = 99,
    size_px: int = 224,
) -> PairScores:
    """Fresh forgeries of held-back faces, `per_family` of each family, through one degradation."""
    from detector.forgery.pairs import PairMaker

    maker = PairMaker(pictures)
    rng = np.random.default_rng(seed)
    logits, detail, families, truth, maps = [], [], [], [], []
    for family in maker.families:
        crops, masks = [], []
        for _ in range(per_family):
            forgery = maker.make(family, 0.5, rng)
            pair, mask = maker.to_crops(forgery, DEGRADATIONS[degradation](rng), size_px, rng)
            crops.append(pair)
            masks.append(mask)
        predictions = detector.predict(np.concatenate(crops), kind="image")
        fused = detector.fuse(predictions.logits, np.concatenate(crops), kind="image")
        logits.append(fused.reshape(-1, 2))
        detail.append(np.reshape([sharpness(crop) for crop in np.concatenate(crops)], (-1, 2)))
        families += [family] * per_family
        known = ~np.isnan(np.array(masks)[:, 1]).any((1, 2))
        truth.append(np.array(masks)[known, 1])
        maps.append(predictions.maps.reshape(-1, 2, 28, 28)[known, 1])
    return PairScores(
        np.concatenate(logits).astype(float),
        np.concatenate(detail),
        tuple(families),
        np.concatenate(truth),
        np.concatenate(maps),
    )


def faces_rows(
    detector: Detector, pictures: Sequence[Any], per_family: int
) -> tuple[list[dict[str, Any]], Answers]:
    """One row per family and degradation (each family against all authentic crops), and one for all
    families; beside them what was answered on all degradations together."""
    profile = detector.profiles["image"]
    rows, answers = [], []
    for degradation in tqdm(DEGRADATIONS, desc="degradations", disable=None):
        scored = score_pairs(detector, pictures, degradation, per_family)
        families = np.array(scored.families)
        for family in ("all", *dict.fromkeys(scored.families)):
            chosen = np.ones(len(families), bool) if family == "all" else families == family
            forged = scored.logits[chosen, 1]
            scores = np.r_[scored.logits[:, 0], forged]
            labels = np.r_[np.zeros(len(scored.logits)), np.ones(len(forged))]
            p = np.array([profile.calibration.probability(s) for s in scores])
            row = {
                "set": "validation faces",
                "family": family,
                "degradation": degradation,
                "n": len(forged),
            }
            row |= figures(labels, scores, p, profile.thresholds.forged_above)
            if family == "all":
                row |= map_figures(scored)
                answers.append((labels, p))
            rows.append(row)
    labels, p = (np.concatenate(column) for column in zip(*answers, strict=True))
    return rows, {"held-back faces, all degradations": (labels, p)}


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


def score_files(
    detector: Detector,
    paths: Sequence[Path],
    cache: Path | None = None,
    n_frames: int = DEFAULT_FRAMES,
) -> list[dict[str, Any]]:
    """Per file: kind, p_fake, logit, label, and the (median) sharpness of its largest face.

    Found faces are kept in `cache`.
    """
    out = []
    for path in tqdm(paths, desc="files", disable=None):
        try:
            kind, tracks = cached_tracks(detector, path, cache, n_frames)
        except DetectorError as err:
            out.append({"file": path.name, "error": str(err)})
            continue
        faces = detector.judge_tracks(tracks, kind=kind)
        verdict = judge_file(faces)
        main = subject(faces) if faces else None
        out.append({
            "file": path.name, "kind": kind, "p": verdict.p_fake, "logit": verdict.logit, "label": str(verdict.label),
            "sharpness": float(np.median([sharpness(crop.rgb) for crop in main.track.crops])) if main else None,
        })  # fmt: skip
    return out


def cached_tracks(
    detector: Detector, path: Path, cache: Path | None, n_frames: int
) -> tuple[Kind, Any]:
    """Kind and face tracks of a file, from the cache where they were found before. Raises
    DetectorError.
    """
    from detector.types import FaceCrop, FaceTrack

    store = cache / f"{path.name}.{n_frames}.npz" if cache is not None else None
    if store is not None and store.is_file():
        with np.load(store) as data:
            columns = [
                data[k]
                for k in (
                    "track",
                    "rgb",
                    "to_frame",
                    "index",
                    "t",
                    "box",
                    "landmarks",
                    "confidence",
                )
            ]
            kind: Kind = "video" if str(data["kind"]) == "video" else "image"
        crops: dict[int, list[FaceCrop]] = {}
        for track, rgb, to_frame, index, t, box, landmarks, confidence in zip(
            *columns, strict=True
        ):
            crop = FaceCrop(
                rgb,
                to_frame,
                int(index),
                float(t),
                tuple(box.tolist()),
                landmarks,
                float(confidence),
            )
            crops.setdefault(int(track), []).append(crop)
        return kind, tuple(FaceTrack(k, tuple(v)) for k, v in crops.items())
    media = open_media(path, n_frames=n_frames)
    tracks = detector.finder.find_tracks(media.frames)
    if store is not None:
        store.parent.mkdir(parents=True, exist_ok=True)
        flat = [(t.track, c) for t in tracks for c in t.crops]
        np.savez(
            store, kind=media.kind, track=np.array([k for k, _ in flat], int),
            rgb=np.array([c.rgb for _, c in flat], np.uint8).reshape(-1, 224, 224, 3),
            to_frame=np.array([c.to_frame for _, c in flat], np.float32).reshape(-1, 2, 3),
            index=np.array([c.frame_index for _, c in flat], int), t=np.array([c.t for _, c in flat], float),
            box=np.array([c.box_xyxy_px for _, c in flat], float).reshape(-1, 4),
            landmarks=np.array([c.landmarks_px for _, c in flat], np.float32).reshape(-1, 5, 2),
            confidence=np.array([c.confidence for _, c in flat], float),
        )  # fmt: skip
    return media.kind, tracks


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """CSV with the union of the rows' columns, figures to four digits."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()})
