"""The validation set of genuine forgeries: three figures, never one pooled.

Swaps and re-enactment in clips, swaps in stills and generated pictures are three questions. Each
figure is the mean AUC over its forgery types (macro), every type held against authentic files of
its own kind and history. Beside them: how often a forgery scores above the file it was made from,
and false positives for each authentic source. The set chooses between models and calibrates them,
so the figures flatter a little; held-back sets decide.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from detector.benchmark.accuracy import score_files
from detector.benchmark.metrics import BOOTSTRAPS, LabelledScores
from detector.pipeline import Detector
from detector.types import Label

MIN_TYPE_FILES = 10  # forged files a type needs to count in a figure; smaller ones get a row alone
RESTORED = "restored by a network"  # authentic people, edited pictures: reported, never pooled
FFPP = "FaceForensics++ c23"
SHARP = "high-quality face swap"
STUDIO = ("authentic FFHQ photo", "authentic CelebA-HQ photo")
# forged type, by the start of its name -> the authentic types it is held against
AUTHENTIC_HALF: Mapping[str, tuple[str, ...]] = {
    **{
        f"{m} ({FFPP})": (f"authentic clip ({FFPP})",)
        for m in ("Deepfakes", "Face2Face", "FaceSwap")
    },
    "lip sync": ("authentic clip (lipsync)",),
    "face swap (Celeb-DF": ("authentic clip (celebdf_v2_crops)",),
    "GAN face swap (OpenForensics)": ("authentic OpenImages photo",),
    SHARP: ("authentic photo (targets of the sharp swaps)",),
    "face swap (SimSwap": ("authentic photo (swap targets)",),
    "StyleGAN3 face (matched pairs)": ("authentic FFHQ photo (matched pairs)",),
    "StyleGAN3 face": STUDIO,
    "Stable Diffusion": STUDIO,
    "generated face": STUDIO,
}
GENERATED = ("StyleGAN3 face", "Stable Diffusion", "generated face")
GENUINE = "genuine forgeries"  # name of the set in the tables
FIGURES = ("swaps in clips", "swaps in stills", "generated pictures")


@dataclass(frozen=True)
class ScoredFile:
    """One file of the set and what the detector said of it."""

    file: str
    kind: str  # image or video
    type: str
    label: int  # 1 forged
    original: str  # the authentic file it was made from; "" where unknown
    p_fake: float
    logit: float
    margin: float  # see detector.benchmark.accuracy.FileScore
    forged: bool  # called forged at the shipped thresholds


def read_scores(path: Path) -> list[ScoredFile]:
    """Return the scores that `write_scores` wrote. Raises ValueError for another table."""
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        missing = {f.name for f in fields(ScoredFile)} - set(reader.fieldnames or ())
        if missing:
            raise ValueError(
                f"expected a table of scores, but {path.name} has no {sorted(missing)}"
            )
        return [
            ScoredFile(
                row["file"],
                row["kind"],
                row["type"],
                int(row["label"]),
                row["original"],
                float(row["p_fake"]),
                float(row["logit"]),
                float(row["margin"]),
                row["forged"] == "True",
            )
            for row in reader
        ]


def write_scores(scored: Sequence[ScoredFile], path: Path) -> None:
    """Write one row per file, for `compare` to read again."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(ScoredFile)])
        writer.writeheader()
        writer.writerows(asdict(one) for one in scored)


def figure_of(name: str, kind: str) -> str:
    """Return which of the three figures a forged type belongs to."""
    if kind == "video":
        return FIGURES[0]
    return FIGURES[2] if name.startswith(GENERATED) else FIGURES[1]


def score_set(detector: Detector, folder: Path, cache: Path | None) -> list[ScoredFile]:
    """Score the files that the CSV beside `folder` names; those without a face are left out.

    Found faces are kept in `cache`.
    """
    with folder.with_suffix(".csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    scores = score_files(detector, [folder / row["file"] for row in listed], cache)
    scored = [
        ScoredFile(
            row["file"],
            one.kind,
            row["type"],
            int(row["label"]),
            row.get("original") or "",
            one.p_fake,
            one.logit,
            one.margin,
            one.label == Label.FORGED,
        )
        for row, one in zip(listed, scores, strict=True)
        if one is not None
    ]
    left_out = len(listed) - len(scored)
    print(f"{len(listed)} files, {left_out} without a face or unreadable", file=sys.stderr)
    return scored


def by_kind(scored: Sequence[ScoredFile]) -> dict[str, LabelledScores]:
    """The scores of stills and of clips, for the calibration diagram."""
    pooled = [one for one in scored if RESTORED not in one.type]
    return {
        f"{GENUINE}, {kind}s": LabelledScores(
            np.array([one.label for one in pooled if one.kind == kind]),
            np.array([one.p_fake for one in pooled if one.kind == kind]),
        )
        for kind in sorted({one.kind for one in pooled})
    }


def authentic_half(name: str, kind: str, scored: Sequence[ScoredFile]) -> list[int]:
    """Return the positions of the authentic files that a forged type is held against.

    Its own half where there is one, else all authentic files of its kind.
    """
    # the longest name that fits: "StyleGAN3 face (matched pairs)" before "StyleGAN3 face"
    key = max((k for k in AUTHENTIC_HALF if name.startswith(k)), key=len, default=None)
    own = AUTHENTIC_HALF[key] if key else ()
    half = [i for i, one in enumerate(scored) if not one.label and one.type in own]
    return half or [
        i
        for i, one in enumerate(scored)
        if not one.label and one.kind == kind and RESTORED not in one.type
    ]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The positions of one forged type's files and of its authentic half."""

    name: str
    figure: str
    forged: NDArray[np.int64]
    authentic: NDArray[np.int64]

    def auc(self, scores: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
        """AUC with every file counted `counts` times; NaN where a side is empty."""
        chosen = np.concatenate([self.authentic, self.forged])
        weight = counts[chosen]
        labels = np.repeat([0, 1], [len(self.authentic), len(self.forged)])
        if not weight[labels == 0].any() or not weight[labels == 1].any():
            return float("nan")
        return float(roc_auc_score(labels, scores[chosen], sample_weight=weight))


def comparisons(scored: Sequence[ScoredFile]) -> list[Comparison]:
    """Every forged type with its authentic half, in the order of their names."""
    types = {one.type: one.kind for one in scored if one.label}
    return [
        Comparison(
            name,
            figure_of(name, kind),
            np.array([i for i, one in enumerate(scored) if one.type == name]),
            np.array(authentic_half(name, kind, scored)),
        )
        for name, kind in sorted(types.items())
    ]


def macro(
    pairs: Sequence[Comparison], scores: NDArray[np.float64], counts: NDArray[np.int64]
) -> dict[str, float]:
    """The three figures: mean AUC over the types with at least MIN_TYPE_FILES files."""
    found: dict[str, list[float]] = defaultdict(list)
    for pair in pairs:
        if len(pair.forged) >= MIN_TYPE_FILES:
            found[pair.figure].append(pair.auc(scores, counts))
    return {name: float(np.nanmean(found[name])) for name in FIGURES if found.get(name)}


def resamples(
    scored: Sequence[ScoredFile], times: int = BOOTSTRAPS, seed: int = 0
) -> NDArray[np.int64]:
    """How often each file is drawn (times, N) when *originals* are drawn with replacement.

    A forgery and the file it was made from come and go together: they share person and history.
    """
    keys = [one.original or one.file for one in scored]
    names = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    cluster = np.array([names[key] for key in keys])
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(names), size=(times, len(names)))
    return np.stack([np.bincount(row, minlength=len(names))[cluster] for row in drawn])


def interval(values: Sequence[float]) -> tuple[float, float]:
    """The middle 95% of bootstrap values."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def within_original(scored: Sequence[ScoredFile]) -> tuple[int, int]:
    """(how many forgeries score above the file they were made from, how many are known)."""
    by_file = {one.file: one for one in scored}
    pairs = [
        (one, by_file[one.original])
        for one in scored
        if one.label and one.original in by_file and one.original != one.file
    ]
    return sum(forged.logit > authentic.logit for forged, authentic in pairs), len(pairs)


def summary_rows(scored: Sequence[ScoredFile]) -> list[dict[str, Any]]:
    """The three figures, recall and false positives, then a row per type; each with its count.

    The AUC ranks files by ScoredFile.margin. The n of a figure counts its small types, too, which
    its mean AUC leaves out.
    """
    scores = np.array([one.margin for one in scored])
    pairs = comparisons(scored)
    once = np.ones(len(scored), np.int64)
    drawn = resamples(scored)
    spread = [macro(pairs, scores, counts) for counts in drawn]
    rows: list[dict[str, Any]] = []
    for name, value in macro(pairs, scores, once).items():
        low, high = interval([sample[name] for sample in spread if name in sample])
        count = sum(len(p.forged) for p in pairs if p.figure == name)
        rows.append(
            _row(f"macro: {name}", count) | {"auc": value, "auc_low": low, "auc_high": high}
        )
    above, known = within_original(scored)
    if known:
        rows.append(_row("forgery above its own original", known) | {"share": above / known})
    rows += _rates(scored)
    for pair in pairs:
        low, high = interval([pair.auc(scores, counts) for counts in drawn])
        recall = float(np.mean([scored[i].forged for i in pair.forged]))
        figures = {
            "auc": pair.auc(scores, once),
            "auc_low": low,
            "auc_high": high,
            "recall": recall,
        }
        rows.append(_row(pair.name, len(pair.forged)) | figures)
    for name in sorted({one.type for one in scored if not one.label}):
        own = [one.forged for one in scored if one.type == name]
        rows.append(_row(name, len(own)) | {"false_positives": float(np.mean(own))})
    return rows


def _row(family: str, n: int) -> dict[str, Any]:
    return {"set": GENUINE, "family": family, "degradation": "as found", "n": n}


def _rates(scored: Sequence[ScoredFile]) -> list[dict[str, Any]]:
    """Recall and false positives at the shipped thresholds: over all files, stills and clips."""
    chosen: dict[str, Callable[[ScoredFile], bool]] = {
        "all files": lambda one: True,
        "all stills": lambda one: one.kind == "image",
        "all clips": lambda one: one.kind == "video",
    }
    rows = []
    for name, keep in chosen.items():
        some = [one for one in scored if keep(one) and RESTORED not in one.type]
        forged = [one.forged for one in some if one.label]
        authentic = [one.forged for one in some if not one.label]
        if forged and authentic:
            rates = {"recall": np.mean(forged), "false_positives": np.mean(authentic)}
            rows.append(_row(name, len(some)) | {k: float(v) for k, v in rates.items()})
    return rows


def paired_rows(before: Sequence[ScoredFile], after: Sequence[ScoredFile]) -> list[dict[str, Any]]:
    """How the three figures differ between two models on the files that both scored.

    The bootstrap is paired: both models see the same draw of originals. Raises ValueError where
    the tables share no forged type.
    """
    there = {one.file: one for one in after}
    first = [one for one in before if one.file in there]
    second = [there[one.file] for one in first]
    pairs = comparisons(first)
    if not pairs:
        raise ValueError("expected two tables of scores of the same set, but they share no file")
    scores = [np.array([one.margin for one in some]) for some in (first, second)]
    once = np.ones(len(first), np.int64)
    old, new = (macro(pairs, values, once) for values in scores)
    spread = [
        {name: macro(pairs, scores[1], counts)[name] - value for name, value in sample.items()}
        for counts in resamples(first)
        for sample in [macro(pairs, scores[0], counts)]
    ]
    rows = []
    for name in old:
        low, high = interval([sample[name] for sample in spread if name in sample])
        change = {"before": old[name], "after": new[name], "difference": new[name] - old[name]}
        rows.append({"figure": name} | change | {"low": low, "high": high})
    return rows
