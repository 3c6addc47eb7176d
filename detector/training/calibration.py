"""From logits to answers: sharpness calibration, Platt scaling and thresholds, fitted on material
whose truth is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from detector.profile import Calibration, SharpnessCalibration, Thresholds

FPR_TARGET = 0.05  # share of authentic material that may be called forged
ANSWERED = 0.70  # share of calibration material outside the abstention band


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Logits of one kind of material; every set and each label in it counts the same."""

    logits: NDArray[np.float64]  # (N,)
    labels: NDArray[np.int64]  # (N,) 1 forged
    log_sharpness: NDArray[np.float64] | None = None  # (N,), as in detector.profile

    def __post_init__(self) -> None:
        if set(np.unique(self.labels)) != {0, 1} or self.labels.shape != self.logits.shape:
            raise ValueError(
                f"expected both labels for {self.logits.shape} logits, but got "
                f"{np.unique(self.labels)} of shape {self.labels.shape}"
            )

    @property
    def weights(self) -> NDArray[np.float64]:
        """(N,) weights, of sum 2, with which both labels count the same."""
        return np.where(self.labels == 1, 1 / self.labels.sum(), 1 / (1 - self.labels).sum())

    @property
    def authentic(self) -> NDArray[np.float64]:
        """Logits of the authentic material."""
        return self.logits[self.labels == 0]


def fit_sharpness(sets: Sequence[CalibrationSet], sharp_from: float = 0.5) -> SharpnessCalibration:
    """Fit the sharpness calibration of stills; every set carries its log-sharpness.

    Platt's logistic regression with the sharpness below the quantile `sharp_from` as a second
    variable and its product with the logit as a third; below the softest fiftieth it goes no
    further.
    """
    logits, labels, weight = _pooled(sets)
    detail = np.concatenate([one.log_sharpness for one in sets if one.log_sharpness is not None])
    low, high = np.quantile(detail, [0.02, sharp_from])
    below = high - np.clip(detail, low, high)
    variables = np.stack([logits, below * logits, below], 1)
    model = LogisticRegression(C=1e6, max_iter=1000).fit(variables, labels, sample_weight=weight)
    of_logit, of_product, of_sharpness = model.coef_[0]
    numbers = (high, of_product / of_logit, of_sharpness / of_logit, low)
    return SharpnessCalibration(*(round(float(number), 4) for number in numbers))


def fit_calibration(
    sets: Sequence[CalibrationSet], answered: float = ANSWERED
) -> tuple[Calibration, Thresholds]:
    """Fit Platt's two parameters at even odds, then the thresholds around them.

    Forged begins where every set keeps the false-positive target; authentic ends where `answered`
    of all material is answered.
    """
    logits, labels, weight = _pooled(sets)
    model = LogisticRegression(C=1e6).fit(logits[:, None], labels, sample_weight=weight)
    calibration = Calibration(float(model.coef_[0, 0]), float(model.intercept_[0]))
    p = np.array([calibration.probability(float(logit)) for logit in logits])
    ceiling = max(float(np.quantile(one.authentic, 1 - FPR_TARGET)) for one in sets)
    above = max(calibration.probability(ceiling), 0.5)
    below = float(np.quantile(p, max(0.0, answered - float((p > above).mean()))))
    return calibration, Thresholds(round(min(below, 0.5), 4), round(above, 4))


def _pooled(sets: Sequence[CalibrationSet]) -> tuple[NDArray, NDArray, NDArray]:
    """Logits, labels and weights (mean 1) of all sets."""
    logits = np.concatenate([one.logits for one in sets])
    labels = np.concatenate([one.labels for one in sets])
    weight = np.concatenate([one.weights for one in sets])
    return logits, labels, weight * len(logits) / weight.sum()
