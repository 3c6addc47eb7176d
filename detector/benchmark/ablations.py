"""What does each part of the detector add? The same small budget of training with one part left out
at a time.

The figures compare with each other, not with the shipped model, which has seen a hundred times the
images.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from detector.benchmark.accuracy import DEGRADATIONS, HELD_BACK, faces_rows
from detector.benchmark.metrics import auc_interval
from detector.benchmark.trackcache import cached_tracks
from detector.benchmark.validation import GENUINE
from detector.forgery.pairs import STRENGTH, PairMaker
from detector.forgery.pictures import LabelledFace
from detector.media import DEFAULT_FRAMES
from detector.nets.network import DeepfakeNetwork
from detector.nets.temporal import build_temporal
from detector.pipeline import Detector
from detector.training.shipped.networks import new_network
from detector.training.shipped.temporal import TEMPORAL_HEADS, TrackBatch, TrackFeatures
from detector.training.shipped.train import TrainConfig, train
from detector.training.shipped.validation import predict
from detector.types import CROP_PX, ModelInfo

VARIANTS: dict[str, dict[str, bool]] = {
    "all parts": {},
    "no noise stream": {"use_noise": False},
    "no map head": {"use_map": False},
    "no ImageNet start": {},
}
GENERATORS = {  # families as `generator` in the table of generated faces names their members
    "StyleGAN2": ("stylegan2", "stylegan2-sfhq"),
    "Stable Diffusion": ("stable-diffusion-1.5", "stable-diffusion-3", "sdxl"),
    "FLUX.1": ("flux.1-dev", "flux.1-pro", "flux.1-schnell"),
}


def ablation_rows(
    pictures: Sequence[LabelledFace],
    init: Path,
    minutes: float,
    out: Path,
    per_family: int,
    variants: Sequence[str],
) -> list[dict[str, Any]]:
    """Train the variants for `minutes` with one seed and measure it on held-back faces: the rows of
    all families.
    """
    rows = []
    for name in variants:
        start = None if name == "no ImageNet start" else init
        net = new_network(start, **VARIANTS[name])
        config = TrainConfig(minutes=minutes, small_until=1.0, validate_minutes=minutes)
        trainer = train(net, pictures, config, out / name.replace(" ", "-"))
        network = cast(DeepfakeNetwork, trainer.learner.averaged)
        detector = Detector.of(network.eval(), ModelInfo(name, "0" * 64))
        found, _ = faces_rows(detector, [p for p in pictures if p.split == "val"], per_family)
        rows += [
            row | {"model": name, "images": trainer.images}
            for row in found
            if row["family"] == "all"
        ]
    return rows


def generator_rows(
    pictures: Sequence[LabelledFace], init: Path, minutes: float, pairs: int, out: Path
) -> list[dict[str, Any]]:
    """Leave one family of generators out: train on generated faces of the others, then score its
    own.

    Two rows per family and degradation: AUC on the generators left out, and on held-back pictures
    of those trained on. Both against held-back authentic faces that went through the same.
    """
    made = PairMaker(pictures).genuine["generated"]
    config = TrainConfig(
        minutes=minutes,
        small_until=1.0,
        validate_minutes=minutes,
        family_weights={"generated": 1.0},
    )
    authentic = [p for p in pictures if p.label == 0]
    held = [p for p in authentic if p.split == "val"]
    rows = []
    for name, own in GENERATORS.items():
        unseen = [p for p in made if p.person in own]
        others = [p for p in made if p.person not in own]
        folder = out / f"without-{name.replace(' ', '-')}"
        trainer = train(new_network(init), [*authentic, *others], config, folder)
        network = trainer.learner.averaged.eval()
        seen = [p for p in others if p.split == "val"]
        for family, forged in ((f"{name}, left out", unseen), ("the others, trained on", seen)):
            maker = PairMaker([*held, *forged])
            for degradation in ("none", "medium"):
                logits = predict(network, _pairs(maker, pairs, degradation, 23, "generated"))[0]
                labels = np.tile([0, 1], pairs)
                row = _row(labels, logits, f"trained without {name}", degradation, family)
                rows.append(row | {"n": pairs, "images": trainer.images})
    return rows


def _pairs(
    maker: PairMaker, pairs: int, degradation: str, seed: int, family: str | None = None
) -> NDArray[np.uint8]:
    """Return fresh pairs of a PairMaker, of one family or of all: crops (2 x pairs, CROP_PX,
    CROP_PX, 3), authentic and forged in turn.
    """
    rng = np.random.default_rng(seed)
    degrade = DEGRADATIONS[degradation]
    crops = []
    for _ in range(pairs):
        forgery = maker.make(family or maker.draw_family(rng), STRENGTH, rng)
        crops.append(maker.to_crops(forgery, degrade(rng), CROP_PX, rng)[0])
    return np.concatenate(crops)


def _row(
    labels: NDArray,
    scores: NDArray,
    model: str,
    degradation: str,
    family: str = "all",
    of: str = HELD_BACK,
) -> dict[str, Any]:
    """A row of the table: AUC with its interval. n counts what was scored."""
    low, high = auc_interval(labels, scores)
    auc = float(roc_auc_score(labels, scores))
    row = {"set": of, "family": family, "degradation": degradation, "n": len(labels)}
    return row | {"auc": auc, "auc_low": low, "auc_high": high, "model": model}


def residual_rows(
    detector: Detector, pictures: Sequence[LabelledFace], pairs: int, seed: int = 11
) -> list[dict[str, Any]]:
    """Does the denoiser's residual add to the logit? A logistic regression with and without it,
    half fitted, half held.

    The residual enters as mean, spread and energy of its fine detail, inside and outside the
    evidence map's strongest tenth.
    """

    rows = []
    maker = PairMaker(pictures)
    for degradation in ("none", "medium", "heavy"):
        crops = _pairs(maker, pairs, degradation, seed)
        predictions = detector.predict(crops, kind="image")
        features = residual_features(crops, detector.reconstruct(crops), predictions.maps)
        labels = np.tile([0, 1], pairs)
        fitted = slice(0, pairs)
        held = slice(pairs, None)
        for name, table in (
            ("logit alone", predictions.logits[:, None]),
            ("logit and denoiser residual", np.column_stack([predictions.logits, features])),
        ):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, max_iter=1000))
            score = model.fit(table[fitted], labels[fitted]).decision_function(table[held])
            rows.append(_row(labels[held], score, name, degradation) | {"n": pairs // 2})
    return rows


def temporal_rows(
    detector: Detector, heads: Path, devset: Path, cache: Path
) -> list[dict[str, Any]]:
    """Return a row for the mean of the frame logits and for every trained temporal head, on the
    clips of the validation set of genuine forgeries, longest track each.
    """
    with devset.with_suffix(".csv").open(newline="") as file:
        listed = [row for row in csv.DictReader(file) if row["kind"] == "video"]
    tracks = []
    for row in listed:
        _, found = cached_tracks(detector, devset / row["file"], cache, DEFAULT_FRAMES)
        if found:
            crops = np.stack([c.rgb for c in max(found, key=lambda t: len(t.crops)).crops])
            seen = detector.predict(crops, kind="video")
            tracks.append(TrackFeatures(seen.embeddings, seen.logits, int(row["label"])))
    batch = TrackBatch.of(tracks)
    rows = []
    for name in ("mean", *TEMPORAL_HEADS):
        options = TEMPORAL_HEADS.get(name, {})
        head = build_temporal(name, batch.embeddings.shape[-1], **options).eval()
        if name in TEMPORAL_HEADS:
            head.load_state_dict(load_file(heads / f"{name}.safetensors"))
        with torch.inference_mode():
            score = head(batch.embeddings, batch.logits, batch.mask).numpy()
        labels = batch.labels.numpy()
        model = f"temporal head: {name}"
        rows.append(_row(labels, score, model, "as found", "all videos", GENUINE))
    return rows


def residual_features(
    crops: NDArray[np.uint8], denoised: NDArray[np.uint8], maps: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(N, 6) of crops and their reconstructions (N, S, S, 3) and maps (N, M, M): see
    `residual_rows`.
    """
    residual = crops.astype(np.float32).mean(3) - denoised.astype(np.float32).mean(3)
    step = crops.shape[1] // maps.shape[1]
    rows = []
    for image, heat in zip(residual, maps, strict=True):
        inside = np.kron(heat >= np.quantile(heat, 0.9), np.ones((step, step))) > 0
        fine = np.abs(np.diff(image, axis=1, prepend=image[:, :1]))
        row = []
        for where in (inside, ~inside):
            row += [np.abs(image[where]).mean(), image[where].std(), fine[where].mean()]
        rows.append(row)
    return np.array(rows, np.float32)
