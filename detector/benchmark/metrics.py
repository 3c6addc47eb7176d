"""The figures themselves: AUC with intervals, calibration error, equal error rate, risk against
coverage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

Scores = NDArray[np.float64]
BOOTSTRAPS = 400  # 95% intervals settle to two digits
COVERAGE = 0.70  # share answered at which the selective risk is told


@dataclass(frozen=True, eq=False)
class LabelledScores:
    """What the detector said of material whose truth is known."""

    labels: NDArray  # (N,) 1 forged
    p_fake: Scores  # (N,) calibrated

    def __post_init__(self) -> None:
        if self.labels.shape != self.p_fake.shape or self.labels.ndim != 1:
            shapes = (self.labels.shape, self.p_fake.shape)
            raise ValueError(f"expected as many labels as scores, but got {shapes}")


def even_odds(labels: NDArray) -> Scores:
    """Weights (N,), sum 1, with which authentic and forged files are equally common, whatever the
    set's own shares.
    """
    return (
        1 / len(np.unique(labels)) / np.where(labels == 1, (labels == 1).sum(), (labels != 1).sum())
    )


def reliability(labels: NDArray, p: Scores, bins: int = 10) -> tuple[Scores, Scores, Scores]:
    """Mean score, share that was forged, and weight of each of `bins` equally filled bins, at even
    odds: what a score says holds if forged and authentic files are equally common."""
    weight = even_odds(labels)
    parts = [part for part in np.array_split(np.argsort(p, kind="stable"), bins) if len(part)]
    means = [
        [np.average(values[part], weights=weight[part]) for part in parts] for values in (p, labels)
    ]
    return np.array(means[0]), np.array(means[1]), np.array([weight[part].sum() for part in parts])


def expected_calibration_error(labels: NDArray, p: Scores, bins: int = 10) -> float:
    """Mean distance of confidence and frequency over equally filled bins, weighted by their size
    (Guo et al., 2017); at even odds, as the scores are meant."""
    confidence, frequency, weight = reliability(labels, p, bins)
    return float((weight * np.abs(frequency - confidence)).sum())


def equal_error_rate(labels: NDArray, scores: Scores) -> float:
    """Where the false alarm and the miss rate meet."""
    fpr, tpr, _ = roc_curve(labels, scores)
    at = np.argmin(np.abs(fpr - (1 - tpr)))
    return float((fpr[at] + 1 - tpr[at]) / 2)


def risk_coverage(labels: NDArray, p: Scores) -> tuple[Scores, Scores]:
    """Return (coverage, selective risk): the error among the most confident share of the answers,
    for each share (Geifman & El-Yaniv, 2017).
    """
    wrong = ((p > 0.5) != (labels == 1)).astype(float)[np.argsort(-np.abs(p - 0.5), kind="stable")]
    count = np.arange(1, len(p) + 1)
    return count / len(p), np.cumsum(wrong) / count


def selective_risk(labels: NDArray, p: Scores, coverage: float = COVERAGE) -> float:
    """Return the error among the most confident `coverage` of the answers."""
    return float(risk_coverage(labels, p)[1][max(0, round(coverage * len(p)) - 1)])


def auc_interval(labels: NDArray, scores: Scores, seed: int = 0) -> tuple[float, float]:
    """95% bootstrap interval of the AUC, resampled within each label."""
    rng = np.random.default_rng(seed)
    parts = [np.flatnonzero(labels == label) for label in (0, 1)]
    drawn = []
    for _ in range(BOOTSTRAPS):
        i = np.concatenate([rng.choice(part, len(part)) for part in parts])
        drawn.append(roc_auc_score(labels[i], scores[i]))
    return float(np.percentile(drawn, 2.5)), float(np.percentile(drawn, 97.5))


def figures(labels: NDArray, scores: Scores, p: Scores, forged_above: float) -> dict[str, float]:
    """Return AUC with interval, AP, EER, accuracy at p = 0.5, selective risk at 70% coverage, ECE,
    and false-positive rate and recall at the shipped threshold.
    """
    low, high = auc_interval(labels, scores)
    return {
        "auc": float(roc_auc_score(labels, scores)),
        "auc_low": low,
        "auc_high": high,
        "ap": float(average_precision_score(labels, scores)),
        "eer": equal_error_rate(labels, scores),
        "accuracy": float(((p > 0.5) == (labels == 1)).mean()),
        "selective_risk_at_70": selective_risk(labels, p),
        "ece": expected_calibration_error(labels, p),
        "false_positives": float((p[labels == 0] > forged_above).mean()),
        "recall": float((p[labels == 1] > forged_above).mean()),
    }
