"""From a trained network to a model folder: weights in safetensors, calibration, manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from detector.manifest import sha256_of
from detector.nets.network import DeepfakeNetwork
from detector.profile import Calibration, SharpnessCalibration, Thresholds
from detector.training.checkpoints import full, half, save_weights

FPR_TARGET = 0.05  # share of authentic material that may be called forged
ANSWERED = 0.70  # share of calibration material outside the abstention band


def fit_sharpness(sets: Sequence[tuple[NDArray, NDArray]]) -> SharpnessCalibration:
    """Fit the sharpness calibration of stills.

    sets: (authentic, forged) per kind of material, (N, 2) each: logit and log-sharpness; sets and
    labels count the same. Platt's logistic regression with the sharpness below the median as a
    second variable and its product with the logit as a third; below the softest fiftieth it goes no
    further.
    """
    values, labels, weight = _pooled(sets)
    logit, detail = values.T
    low, middle = np.quantile(detail, [0.02, 0.5])
    below = middle - np.clip(detail, low, middle)
    variables = np.stack([logit, below * logit, below], 1)
    slopes = (
        LogisticRegression(C=1e6, max_iter=1000)
        .fit(variables, labels, sample_weight=weight)
        .coef_[0]
    )
    numbers = (middle, slopes[1] / slopes[0], slopes[2] / slopes[0], low)
    return SharpnessCalibration(*(round(float(number), 4) for number in numbers))


def _pooled(sets: Sequence[tuple[NDArray, NDArray]]) -> tuple[NDArray, NDArray, NDArray]:
    """All sets' values, labels, and weights (mean 1) with which every set and each label in it
    counts the same.
    """
    values = np.concatenate([np.concatenate(pair) for pair in sets])
    labels = np.concatenate([np.repeat([0.0, 1.0], [len(a), len(f)]) for a, f in sets])
    weight = np.concatenate(
        [np.r_[np.full(len(a), 1 / len(a)), np.full(len(f), 1 / len(f))] for a, f in sets]
    )
    return values, labels, weight * len(values) / weight.sum()


def fit_calibration(
    sets: Sequence[tuple[NDArray, NDArray]], answered: float = ANSWERED
) -> tuple[Calibration, Thresholds]:
    """Platt's two parameters at even odds, then the thresholds around them.

    sets: (authentic logits, forged logits) per kind of material; each set and each label in it
    counts the same. Forged begins where every set keeps the false-positive target; authentic ends
    where `answered` of all material is answered.
    """
    logits, labels, weight = _pooled(sets)
    model = LogisticRegression(C=1e6).fit(logits[:, None], labels, sample_weight=weight)
    calibration = Calibration(float(model.coef_[0, 0]), float(model.intercept_[0]))
    p = np.array([calibration.probability(float(v)) for v in logits])
    ceiling = max(float(np.quantile(a, 1 - FPR_TARGET)) for a, _ in sets)
    above = max(calibration.probability(ceiling), 0.5)
    below = float(np.quantile(p, max(0.0, answered - float((p > above).mean()))))
    return calibration, Thresholds(round(min(below, 0.5), 4), round(above, 4))


def write_model(
    network: DeepfakeNetwork, name: str, out: Path, facts: dict[str, Any], fp16: bool = True
) -> None:
    """Weights (detector and denoiser apart) and the manifest entry of one model; fp16=False keeps
    every bit.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = half(network) if fp16 else full(network)
    parts = {name: {k: v for k, v in state.items() if not k.startswith("denoiser.")}}
    parts[f"{name}-denoiser"] = {k: v for k, v in state.items() if k.startswith("denoiser.")}
    files = []
    for part, tensors in parts.items():
        if tensors:
            path = out / f"{part}.safetensors"
            save_weights(tensors, path)
            files.append({"name": path.name, "sha256": sha256_of(path)})
    manifest_path = out / "manifest.json"
    manifest: dict[str, Any] = (
        json.loads(manifest_path.read_text())
        if manifest_path.is_file()
        else {"default": name, "models": {}}
    )
    manifest["models"][name] = {
        "files": files, "network": asdict(network.config.without_pretrained()), **_input_of(network),
        "classes": ["authentic", "forged"], **facts,
    }  # fmt: skip
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")


def _input_of(network: DeepfakeNetwork) -> dict[str, Any]:
    """What the embedder makes of a crop by itself, for the reader of the manifest."""

    def three(name: str, otherwise: float) -> list[float]:
        stored = getattr(network.embedder, name, None)
        return (
            [otherwise] * 3 if stored is None else [round(v, 6) for v in stored.flatten().tolist()]
        )

    return {
        "input_px": network.embedder.input_px,
        "mean": three("mean", 0.0),
        "std": three("std", 1.0),
    }
