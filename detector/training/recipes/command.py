"""`python -m detector.training --recipe NAME --data LAYOUT:PATH --out DIR`: from a data set to a
model folder.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray

from detector.errors import DataError
from detector.forgery.pictures import LabelledFace, load_pictures
from detector.profile import DEFAULT_PROFILES, Profiles, profiles_to_dict
from detector.training import charts
from detector.training.calibration import CalibrationSet, fit_calibration
from detector.training.export import write_model
from detector.training.recipes.catalogue import Recipe, find_recipe
from detector.training.recipes.facecache import CacheConfig, Stored, extract, read_pictures
from detector.training.recipes.layouts import parse_spec, read_items
from detector.training.recipes.run import Run, RunConfig, train_recipe
from detector.training.recipes.sources import CachedFaces, Clips, Data, FaceSource, ForgedFaces
from detector.training.recipes.splits import split_items

FRAMES_OF_A_CLIP = 8  # kept per clip for recipes that train on single crops
VALIDATION_PAIRS = 100  # forgeries of held-back faces, where all the data is authentic
SHOWN = 18  # crops in the sample grid


def run(args: argparse.Namespace, minutes: float | None) -> None:
    """Extract faces, train, export, draw. Raises DetectorError."""
    recipe = chosen_recipe(args)
    cache = args.out / "faces"
    state = PartialState()
    part = parse_part(args.shard) if args.shard else (state.process_index, state.num_processes)
    if part[1] > 1:
        store_faces(args.data, recipe, cache, part)
        if args.shard:  # one of several machines that fill the cache; a run without --shard trains
            return
        state.wait_for_everyone()
    data = build_data(args.data, recipe, cache, args.pairs, args.seed)
    config = RunConfig(
        args.seed, args.workers, args.precision, minutes=minutes, max_epochs=args.epochs
    )
    finished = train_recipe(recipe, data, args.out, config)
    if finished.accelerator.is_main_process:
        publish(finished, args.push)


def parse_part(text: str) -> tuple[int, int]:
    """K/N. Raises DataError."""
    k, slash, n = text.partition("/")
    if not (slash and k.isdigit() and n.isdigit() and int(k) < int(n)):
        raise DataError(f"A part is named as K/N with K below N, for example 0/4, not {text!r}.")
    return int(k), int(n)


def chosen_recipe(args: argparse.Namespace) -> Recipe:
    recipe = find_recipe(args.recipe)
    if args.backbone:
        if recipe.network.embedder != "timm":
            raise DataError(
                f"The recipe {recipe.name} has its own backbone; "
                "--backbone goes with the recipe timm."
            )
        recipe = recipe.with_embedder_options({"name": args.backbone})
    recipe = recipe.with_start(args.weights, pretrained=not args.from_scratch)
    return replace(recipe, batch=args.batch or recipe.batch)


def store_faces(
    spec: str, recipe: Recipe, cache: Path, part: tuple[int, int] = (0, 1)
) -> list[Stored]:
    """The faces of LAYOUT:PATH, taken out where they are not in the cache yet; none where they are
    already listed.
    """
    layout, folder, _ = parse_spec(spec)
    wide = layout == "real-faces"
    if wide and _listed_pictures(folder):
        return []
    n_frames = FRAMES_OF_A_CLIP if wide else max(recipe.frames, FRAMES_OF_A_CLIP)
    return extract(read_items(spec), cache, CacheConfig(n_frames, wide), part)


def build_data(spec: str, recipe: Recipe, cache: Path, pairs: int = 1000, seed: int = 0) -> Data:
    """What a recipe trains on and is validated on, from LAYOUT:PATH. Raises DataError."""
    layout, folder, _ = parse_spec(spec)
    stored = store_faces(spec, recipe, cache)
    # Divided after the faces are found, so that files without one don't count.
    shares = {"train": 1 - recipe.held_share, "val": recipe.held_share}
    placed = {item.path: item for item in split_items([s.item for s in stored], shares, seed)}
    stored = [replace(s, item=placed[s.item.path]) for s in stored if s.item.path in placed]
    if layout != "real-faces":
        train, val = (
            CachedFaces([s for s in stored if s.item.split == split]) for split in ("train", "val")
        )
        return Data(train, val)
    pictures = [p for s in stored for p in read_pictures(s)] or _load_listed(folder)
    sides = [
        [p for p in pictures if p.split == split and p.label == 0] for split in ("train", "val")
    ]
    if not all(sides):
        raise DataError(f"The folder {folder.name} holds too few faces to keep some back.")
    held = min(VALIDATION_PAIRS, pairs)
    return Data(
        ForgedFaces(sides[0], pairs, recipe.frames, seed),
        ForgedFaces(sides[1], held, recipe.frames, seed),
    )


def _listed_pictures(folder: Path) -> list[Path]:
    """Folders of faces whose boxes and landmarks are already listed, in a CSV beside each."""
    found = []
    for table in sorted(folder.glob("*.csv")):
        with table.open(encoding="utf-8") as file:
            columns = set(file.readline().strip().split(","))
        if {"x0", "lm0x", "split"} <= columns and table.with_suffix("").is_dir():
            found.append(table.with_suffix(""))
    return found


def _load_listed(folder: Path) -> list[LabelledFace]:
    return [picture for faces in _listed_pictures(folder) for picture in load_pictures(faces)]


def publish(finished: Run, repository: str | None = None) -> Path:
    """Model folder, charts and samples of a finished run; returns the model folder."""
    run = finished
    out = finished.out
    logits = score(run, run.data.val)
    labels = run.data.val.labels
    calibration, thresholds = fit_calibration([CalibrationSet(logits, labels)])
    profiles: Profiles = {
        kind: replace(profile, calibration=calibration, thresholds=thresholds)
        for kind, profile in DEFAULT_PROFILES.items()
    }
    facts = {
        "profiles": profiles_to_dict(profiles),
        "recipe": run.recipe.name,
        "source": f"{run.recipe.source}: {run.recipe.summary}",
        "validation": {k: v for k, v in run.history[-1].items() if k.startswith("val_")},
    }
    write_model(run.network, run.recipe.name, out / "model", facts, fp16=False)
    p = [calibration.probability(float(v)) for v in logits]
    draw(run, p)
    if repository:
        from detector.training.hub import HubModel

        HubModel.of_folder(out / "model").push_to_hub(repository)
    return out / "model"


@torch.inference_mode()
def score(run: Run, source: FaceSource) -> NDArray[np.float64]:
    """(N,) logits of a source's clips, as validation sees them, from the finished network on the
    CPU.
    """
    clips = Clips(source, run.recipe, False, run.config.seed)
    logits = []
    for index in range(len(clips)):
        item = clips[index]
        out = run.network.frames(item["images"][item["mask"]].float() / 255)
        mask = torch.ones(1, len(out.logit), dtype=torch.bool)
        logits.append(float(run.network.video(out.embedding[None], out.logit[None], mask)))
    return np.nan_to_num(np.array(logits))


def draw(run: Run, p_fake: list[float]) -> None:
    """curves.png, classes.png, samples.png, strips.png and clip.gif of a finished run's held-back
    material.
    """
    source = run.data.val
    out = run.out
    labels = source.labels
    (out / "curves.png").write_bytes(charts.draw_curves(run.history))
    counts = {"train": run.data.train.labels.tolist(), "validation": labels.tolist()}
    (out / "classes.png").write_bytes(charts.draw_class_counts(counts))
    some = np.random.default_rng(run.config.seed).permutation(len(labels))[:SHOWN].tolist()
    crops = [source.crops(i, 0)[0] for i in some]
    grid = charts.draw_grid(crops, [int(labels[i]) for i in some], [p_fake[i] for i in some])
    (out / "samples.png").write_bytes(grid)
    strips = charts.same_original(source.originals, labels)
    if strips:
        pictures = [[source.crops(i, 0)[0] for i in strip] for strip in strips]
        (out / "strips.png").write_bytes(
            charts.draw_strips(pictures, [[int(labels[i]) for i in s] for s in strips])
        )
    longest = max(some, key=lambda i: len(source.crops(i, 0)))
    (out / "clip.gif").write_bytes(charts.draw_clip(source.crops(longest, 0), p_fake[longest]))
