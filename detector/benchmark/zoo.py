"""Every recipe trained for the same minutes on the same forged tracks, and one table of what came
of it.

A small budget ranks how quickly the systems learn here, not how good they become. So that it buys
some hundred steps from each, all see small crops in small batches, and what does without its
pretrained start learns at a gentler rate than the one its source gives for a new head on
pretrained features.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from tqdm import tqdm

from detector.benchmark.accuracy import write_rows
from detector.errors import DataError, WeightsError
from detector.forgery.pictures import LabelledFace, load_pictures
from detector.nets.network import DeepfakeNetwork
from detector.pipeline import Detector, bf16_pays
from detector.training.recipes.catalogue import RECIPES, Recipe, Stage, find_recipe
from detector.training.recipes.command import publish, score
from detector.training.recipes.run import Run, RunConfig, train_recipe
from detector.training.recipes.sources import Data, FixedCrops, ForgedFaces
from detector.types import CROP_PX

ANY_SIDE = ("two-stream", "resilient")  # embedders that take crops as they are
# single images timed per model, after two to warm up; the fastest counts: other work only slows
TIMED_IMAGES = 8


@dataclass(frozen=True)
class Budget:
    """What each recipe gets."""

    # of computing, so that other work on the machine takes nothing from a recipe
    minutes: float = 2.8
    pairs: int = 100  # tracks to train on; each is seen several times
    side_px: int = 128  # of the crops: a third of the computing of the full side
    batch: int = 8  # crops to a step, in four clips at least
    # at most, without the pretrained start: of SGD, of the others
    scratch_rates: tuple[float, float] = (0.01, 2e-4)
    frames: int = 4  # of a track: the sources' 16 to 20 would leave five times fewer faces
    held_pairs: int = 10  # to choose a state by
    # to report: an AUC of .7 is known to about .06; more would take longer than the training
    test_pairs: int = 40
    # forgeries that anybody sees, under little augmentation: minutes don't teach anything subtler
    strength: float = 2.0
    augmentation: float = 0.1


def compare_recipes(
    faces: Path,
    out: Path,
    budget: Budget,
    names: Sequence[str] | None = None,
    weights: Mapping[str, str] | None = None,
    pretrained: bool = False,
    model: str | None = None,
    backbone: str | None = None,
) -> list[dict[str, Any]]:
    """One row per recipe and one for the shipped model, in zoo.csv and returned. Raises DataError.

    weights: recipe -> file of its backbone; the other backbones are fetched (pretrained) or start
    from scratch. backbone: the timm network of the recipe timm.
    """
    recipes = [
        _recipe(name, budget, weights or {}, pretrained, backbone) for name in names or RECIPES
    ]
    data, whole = _tracks(faces, budget)
    test = shrunk(whole, budget.side_px)
    config = RunConfig(
        workers=0,
        minutes=budget.minutes,
        clock=time.process_time,
        precision="bf16" if bf16_pays() else "no",
    )
    rows = []
    for recipe in recipes:
        print(f"{recipe.name}: {recipe.summary} ({recipe.source})", flush=True)
        run = train_recipe(recipe, data, out / recipe.name, config)
        publish(run)
        rows.append(row_of(run, test))
        # after each, so that an interrupted run leaves what it found
        write_rows(rows, out / "zoo.csv")
    try:
        rows.append(shipped_row(Detector(model), whole))
        write_rows(rows, out / "zoo.csv")
    except WeightsError as err:
        print(f"The trained model is left out: {err}")
    return rows


def _tracks(faces: Path, budget: Budget) -> tuple[Data, FixedCrops]:
    """What the recipes train on and are chosen by, and the tracks to report, at their full side."""
    pictures = [p for p in load_pictures(faces / "faces") if p.label == 0]
    train = [p for p in pictures if p.split == "train"]
    val = [p for p in pictures if p.split == "val"]
    if not train or not val:
        raise DataError(f"The folder {faces.name} holds too few faces to keep some back.")
    whole = material(val, budget.test_pairs, budget, 3)
    learnt = material(train, budget.pairs, budget, 1)
    held = material(val, budget.held_pairs, budget, 2)
    return Data(shrunk(learnt, budget.side_px), shrunk(held, budget.side_px)), whole


def _recipe(
    name: str,
    budget: Budget,
    weights: Mapping[str, str],
    pretrained: bool,
    backbone: str | None = None,
) -> Recipe:
    try:
        recipe = find_recipe(name)
    except ValueError as err:
        raise DataError(str(err)) from err
    if backbone and recipe.network.embedder == "timm":
        recipe = recipe.with_embedder_options({"name": backbone})
    meant = recipe.start
    recipe = recipe.with_start(weights.get(name), pretrained)
    # the others would scale the crops back to their own side
    if recipe.network.embedder not in ANY_SIDE:
        recipe = recipe.with_embedder_options({"input_px": budget.side_px})
    frames = min(recipe.frames, budget.frames)
    from_scratch = recipe.start != meant  # its rates are meant for pretrained weights
    stages = tuple(_gentler(s, budget) for s in recipe.stages) if from_scratch else recipe.stages
    return replace(recipe, frames=frames, batch=max(4, budget.batch // frames), stages=stages)


def _gentler(stage: Stage, budget: Budget) -> Stage:
    return replace(stage, lr=min(stage.lr, budget.scratch_rates[stage.optimizer != "sgd"]))


def material(pictures: Sequence[LabelledFace], pairs: int, budget: Budget, seed: int) -> FixedCrops:
    """Pairs of tracks, made once, so that all recipes see the same crops."""
    source = ForgedFaces(pictures, pairs, budget.frames, seed, budget.augmentation, budget.strength)
    crops = [
        crop for k in tqdm(range(pairs), desc="forging", disable=None) for crop in source.pair(k, 0)
    ]
    return FixedCrops(np.stack(crops), source.labels, source.originals)


def shrunk(source: FixedCrops, side_px: int) -> FixedCrops:
    """The same crops at another side."""
    side = (side_px, side_px)
    small = [
        [cv2.resize(crop, side, interpolation=cv2.INTER_AREA) for crop in track]
        for track in source.stack
    ]
    return FixedCrops(np.array(small), source.labels, source.originals)


def row_of(run: Run, test: FixedCrops) -> dict[str, Any]:
    """What the table says of a finished run. The losses are the means over the first pass and over
    the last two, the training speed is the last stage's; size and time per image are the recipe's
    own, at its own side."""
    last = [row for row in run.history if row["stage"] == run.history[-1]["stage"]]
    own_side = {
        k: v
        for k, v in run.recipe.network.without_pretrained().embedder_options.items()
        if k != "input_px"
    }
    full = DeepfakeNetwork(replace(run.recipe.network, embedder_options=own_side)).eval()
    own = [row for row in run.history if "val_auc" in row]  # a denoiser's stage has another loss
    first = own[0]["loss_start"]
    end = own[-1]["loss_end"]
    if len(own) > 1:  # a quarter of a small pass is a few steps, which say little
        late = own[1:][-2:]
        images = [row["images"] for row in late]  # the time ends in the midst of the last pass
        first = own[0]["loss"]
        end = float(np.average([row["loss"] for row in late], weights=images))
    auc = float(roc_auc_score(test.labels, score(run, test)))
    return {
        "recipe": run.recipe.name,
        "start": "pretrained" if run.recipe.start else "scratch",
        "auc": auc,
        "loss_first": first,
        "loss_last": end,
        **size_and_speed(full),
        "train_images_per_s": float(np.median([row["images_per_s"] for row in last])),
        "images_seen": sum(row["images"] for row in run.history),
        "seconds": run.history[-1]["seconds"],
    }


def shipped_row(detector: Detector, test: FixedCrops) -> dict[str, Any]:
    logits = [detector.track_logit(detector.predict(track, kind="video")) for track in test.stack]
    auc = float(roc_auc_score(test.labels, logits))
    row = {"recipe": f"{detector.info.name} (trained)", "start": "trained", "auc": auc}
    return row | size_and_speed(detector.network)


def size_and_speed(network: nn.Module) -> dict[str, float]:
    """Millions of parameters of what detects (the denoiser apart), and ms for one image on
    the CPU.
    """
    count = sum(
        p.numel() for name, p in network.named_parameters() if not name.startswith("denoiser.")
    )
    image = torch.rand(1, 3, CROP_PX, CROP_PX)
    times = []
    device = next(network.parameters()).device
    with torch.inference_mode():
        for _ in range(TIMED_IMAGES + 2):
            began = time.perf_counter()
            network(image.to(device)).cpu()
            times.append(1000 * (time.perf_counter() - began))
    return {"parameters_m": count / 1e6, "ms_per_image": min(times[2:])}


def draw_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as aligned text, figures to three digits."""
    columns = list(dict.fromkeys(k for row in rows for k in row))
    shown = [
        [f"{v:.3f}" if isinstance(v, float) else str(v) for v in (row.get(c, "") for c in columns)]
        for row in rows
    ]
    widths = [max(len(line[k]) for line in [columns, *shown]) for k in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        for line in [columns, *shown]
    )
