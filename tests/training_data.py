"""Made-up faces and sources for the tests of training: nothing is read from a data set."""

import csv
from pathlib import Path

import cv2
import numpy as np

from detector.forgery.pictures import LabelledFace
from detector.training.recipes.catalogue import Recipe, Stage, network_of
from detector.training.recipes.sources import Data, FixedCrops

LANDMARKS = np.array([[80, 90], [130, 90], [105, 118], [84, 148], [126, 148]], np.float32)


def picture(seed: int, split: str = "train", person: str = "") -> LabelledFace:
    """A blocky picture where a face would be."""
    noise = np.random.default_rng(seed).integers(60, 200, (28, 28, 3)).astype(np.uint8)
    rgb = np.ascontiguousarray(noise.repeat(8, 0).repeat(8, 1))
    return LabelledFace(
        rgb, (45.0, 45.0, 165.0, 185.0), LANDMARKS, "made up", person or f"p{seed}", split, 0
    )


def data_folder(folder: Path, per_split: int = 3) -> Path:
    """A data folder with authentic and generated faces, as `load_all` reads it."""
    rows: list[dict[str, object]] = []
    (folder / "faces").mkdir(parents=True)
    for split in ("train", "val"):
        for label, name in ((0, "made up"), (1, "generator")):
            for number in range(per_split):
                made = picture(len(rows), split)
                file = f"{split}-{label}-{number}.png"
                cv2.imwrite(str(folder / "faces" / file), made.rgb[..., ::-1])
                box = dict(zip(("x0", "y0", "x1", "y1"), made.box_xyxy_px, strict=True))
                points = {
                    f"lm{i}{a}": LANDMARKS[i, k] for i in range(5) for k, a in enumerate("xy")
                }
                row = {"file": file, "set": name, "split": split, "identity": made.person}
                rows.append({**row, "label": label, **box, **points})
    with (folder / "faces.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return folder


def easy_source(n: int, n_frames: int = 1, seed: int = 0) -> FixedCrops:
    """Dark authentic and bright forged crops: anything that learns at all tells them apart."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.array([0, 1], np.int64), n // 2)
    crops = rng.integers(0, 100, (n, n_frames, 224, 224, 3)).astype(np.uint8)
    crops[labels == 1] += 120
    return FixedCrops(crops, labels, [f"o{k // 2}" for k in range(n)])


def easy_data(n: int = 8, n_frames: int = 1) -> Data:
    return Data(easy_source(n, n_frames), easy_source(n, n_frames, seed=1))


def tiny_recipe(
    *stages: Stage, frames: int = 1, temporal: str = "mean", augment: str = "flip", **parts: object
) -> Recipe:
    """A recipe around timm's test network, a hundredth of any real one."""
    options = {"embedder_options": {"name": "test_resnet", "input_px": 64}, **parts}
    network = network_of(
        "timm", temporal, {"hidden": 8} if temporal in ("gru", "lstm") else None, **options
    )
    return Recipe(
        "tiny",
        "test",
        "made up for a test",
        network,
        stages or (Stage(2, "adam", 3e-3),),
        frames=frames,
        batch=4,
        augment=augment,
    )  # type: ignore[arg-type]
