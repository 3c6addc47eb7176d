"""How a run is judged on its way: fixed pairs of held-back faces with fresh forgeries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from detector.degrade import draw_training
from detector.forgery.pairs import FAMILY_WEIGHTS, STRENGTH, PairMaker
from detector.forgery.pictures import LabelledFace
from detector.nets.clip import ClipExpert
from detector.types import CROP_PX, MAP_SIZE

VALIDATION_PAIRS = 300


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """N pairs, authentic and forged."""

    crops: NDArray[np.uint8]  # (N, 2, S, S, 3)
    masks: NDArray[np.float32]  # (N, 2, MAP_SIZE, MAP_SIZE), NaN where unknown
    families: tuple[str, ...]  # (N,)


def make_validation(
    pictures: Sequence[LabelledFace],
    pairs: int = VALIDATION_PAIRS,
    seed: int = 1234,
    family_weights: Mapping[str, float] = FAMILY_WEIGHTS,
) -> ValidationSet:
    """Return pairs of pictures of the `val` split, under the full augmentation of training."""
    maker = PairMaker([p for p in pictures if p.split == "val"], family_weights)
    rng = np.random.default_rng(seed)
    crops = []
    masks = []
    families = []
    for _ in range(pairs):
        family = maker.draw_family(rng)
        forgery = maker.make(family, STRENGTH, rng)
        pair, mask = maker.to_crops(forgery, draw_training(rng, 1.0), CROP_PX, rng)
        crops.append(pair)
        masks.append(mask)
        families.append(family)
    return ValidationSet(np.stack(crops), np.stack(masks), tuple(families))


@torch.inference_mode()
def predict(net: Any, crops: NDArray[np.uint8], batch: int = 32) -> tuple[NDArray, NDArray]:
    """Return frame logits (N,) and map logits (N, MAP_SIZE, MAP_SIZE) of crops (N, S, S, 3); maps
    of zeros from a network without a map.
    """
    logits = []
    maps = []
    device = next(net.parameters()).device
    for start in range(0, len(crops), batch):
        some = torch.from_numpy(crops[start : start + batch]).to(device)
        x = some.permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast(device.type, torch.bfloat16):
            out = net.frames(x.contiguous(memory_format=torch.channels_last))
        logits.append(out.logit.float().cpu().numpy())
        if out.map_logits is None:
            maps.append(np.zeros((len(x), MAP_SIZE, MAP_SIZE), np.float32))
        else:
            maps.append(out.map_logits.float().cpu().numpy())
    return np.concatenate(logits), np.concatenate(maps)


def validate(net: Any, held: ValidationSet) -> dict[str, float]:
    """Return the image AUC over all and per family, and the pixel AUC of the map."""
    net.eval()
    logits, maps = predict(net, held.crops.reshape(-1, *held.crops.shape[2:]))
    pairs = logits.reshape(-1, 2)
    labels = np.tile([0, 1], len(pairs))
    figures = {"auc": float(roc_auc_score(labels, logits))}
    truth = held.masks.reshape(-1, *held.masks.shape[2:])
    known = ~np.isnan(truth).any((1, 2))
    figures["pixel_auc"] = float(roc_auc_score((truth[known] > 0.5).ravel(), maps[known].ravel()))
    families = np.array(held.families)
    for family in sorted(set(held.families)):
        own = pairs[families == family]
        # against every authentic crop, as a threshold would
        truths = np.r_[np.zeros(len(pairs)), np.ones(len(own))]
        scores = np.r_[pairs[:, 0], own[:, 1]]
        figures[f"auc {family}"] = float(roc_auc_score(truths, scores))
    return figures


@torch.inference_mode()
def validate_clip(
    expert: ClipExpert, held: ValidationSet, generated: str = "generated", batch: int = 24
) -> dict[str, float]:
    """Return the AUC of both questions: what was put in, by the pairs of all families but
    `generated`, and what was generated, by all pairs.
    """
    expert.eval()
    device = expert.mean.device
    crops = held.crops.reshape(-1, *held.crops.shape[2:])
    answers = []
    for start in range(0, len(crops), batch):
        images = torch.from_numpy(crops[start : start + batch]).to(device).permute(0, 3, 1, 2)
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            out = expert(images.float().div_(255))
        answers.append(torch.stack([out.manipulated, out.generated], 1).float().cpu().numpy())
    put_in, made = np.moveaxis(np.concatenate(answers).reshape(-1, 2, 2), 2, 0)
    of_generated = np.array(held.families) == generated
    figures = {}
    if not of_generated.all():
        figures["auc manipulated"] = float(
            roc_auc_score(np.tile([0, 1], (~of_generated).sum()), put_in[~of_generated].ravel())
        )
    if of_generated.any():
        forged = np.stack([np.zeros_like(of_generated), of_generated], 1).ravel()
        figures["auc generated"] = float(roc_auc_score(forged, made.ravel()))
    return figures
