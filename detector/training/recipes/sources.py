"""Where training crops come from, and how a recipe is shown them.

A FaceSource gives the crops of one file or one forgery; `Clips` turns them into what a batch is
made of: as many frames as the recipe takes, padded with a mask, augmented alike over time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from detector.degrade import SEVERITIES, apply_clip, draw_preset, draw_training
from detector.forgery.pairs import PairMaker
from detector.forgery.pictures import LabelledFace
from detector.forgery.tracks import animated, forged_pair
from detector.training.recipes.catalogue import Recipe
from detector.training.recipes.facecache import Stored, read_crops
from detector.types import CROP_PX

VALIDATION_FRAMES = 4  # of a clip that validation averages over, for recipes of single crops
TURN_DEG = 18.0  # rotation by up to 5% of a full turn
CONTRAST = 0.2
# of made forgeries: between what a person sees at once and what the shipped model ends its training
# on
STRENGTH = 0.7


class FaceSource(Protocol):
    """Labelled crops by number."""

    labels: NDArray[np.int64]  # (N,), 1 forged
    # what each was made from: forgeries of one original stand side by side in the charts
    originals: Sequence[str]

    def crops(self, index: int, epoch: int) -> NDArray[np.uint8]:
        """Return (T, CROP_PX, CROP_PX, 3), T >= 1, in time. A source that makes its material makes
        fresh material each epoch.
        """
        ...


class CachedFaces:
    """The faces of a labelled data set."""

    def __init__(self, stored: Sequence[Stored]) -> None:
        self.stored = stored
        self.labels = np.array([s.item.label for s in stored], np.int64)
        self.originals: Sequence[str] = [s.item.original for s in stored]

    def crops(self, index: int, epoch: int) -> NDArray[np.uint8]:
        return read_crops(self.stored[index])


class ForgedFaces:
    """Authentic faces and forgeries made of them, in equal numbers: crops 2k and 2k + 1 are a pair.

    With n_frames > 1 a face is animated and forged frame by frame.
    """

    def __init__(
        self,
        pictures: Sequence[LabelledFace],
        pairs: int,
        n_frames: int = 1,
        seed: int = 0,
        augmentation: float = 0.3,
        strength: float = STRENGTH,
    ) -> None:
        self.maker = PairMaker(pictures)
        self.n_frames = n_frames
        self.seed = seed
        self.augmentation = augmentation
        self.strength = strength
        self.labels = np.tile(np.array([0, 1], np.int64), pairs)
        self.originals: Sequence[str] = [f"pair {k}" for k in range(pairs) for _ in range(2)]

    def crops(self, index: int, epoch: int) -> NDArray[np.uint8]:
        return self.pair(index // 2, epoch)[index % 2]

    def pair(self, number: int, epoch: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Authentic and forged crops (T, CROP_PX, CROP_PX, 3)."""
        rng = np.random.default_rng([self.seed, epoch, number])
        if self.n_frames > 1:
            frames = animated(self.maker.draw_picture(rng), self.n_frames, rng)
            return forged_pair(frames, rng, self.augmentation, self.strength)
        forgery = self.maker.make(self.maker.draw_family(rng), self.strength, rng)
        both, _ = self.maker.to_crops(forgery, draw_training(rng, self.augmentation), CROP_PX, rng)
        return both[:1], both[1:]


class FixedCrops:
    """Crops that are already in memory: (N, T, CROP_PX, CROP_PX, 3)."""

    def __init__(
        self, crops: NDArray[np.uint8], labels: NDArray[np.int64], originals: Sequence[str]
    ) -> None:
        self.stack = crops
        self.labels = labels
        self.originals = originals

    def crops(self, index: int, epoch: int) -> NDArray[np.uint8]:
        return self.stack[index]


@dataclass(frozen=True)
class Data:
    """What a run trains on and what chooses its best state."""

    train: FaceSource
    val: FaceSource


class Clips(Dataset[dict[str, Tensor]]):
    """Items for a DataLoader: images (T, 3, S, S) uint8, clean (the same before compression), mask
    (T,), label.

    `epoch` is set by the loop before each pass. Held-back material (training=False) is the same
    every time.
    """

    def __init__(self, source: FaceSource, recipe: Recipe, training: bool, seed: int = 0) -> None:
        self.source = source
        self.recipe = recipe
        self.training = training
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.source.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        epoch = self.epoch if self.training else 0
        rng = np.random.default_rng([self.seed, int(self.training), epoch, index])
        crops = self.source.crops(index, epoch)
        length = (
            self.recipe.frames if self.training or self.recipe.frames > 1 else VALIDATION_FRAMES
        )
        chosen = pick_frames(len(crops), length, rng if self.training else None)
        clean = crops[chosen]
        if self.training:
            clean = augment(clean, self.recipe.augment, rng)
        seen = compress(clean, rng) if self.recipe.augment == "compress" else clean
        mask = torch.arange(length) < len(seen)
        label = torch.tensor(float(self.source.labels[index]))
        return {
            "images": _padded(seen, length),
            "clean": _padded(clean, length),
            "mask": mask,
            "label": label,
        }


def pick_frames(there: int, wanted: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    """Up to `wanted` of `there` frame numbers in time: random ones with rng, evenly spread
    without.
    """
    if there <= wanted:
        return np.arange(there)
    if rng is None:
        return np.linspace(0, there - 1, wanted).round().astype(np.int64)
    return np.sort(rng.choice(there, wanted, replace=False))


def augment(crops: NDArray[np.uint8], kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Mirror half of the clips; "rotate" and "contrast" in the kind turn and stretch them too, all
    frames alike.
    """
    if rng.random() < 0.5:
        crops = crops[:, :, ::-1]
    if "rotate" in kind:
        side = crops.shape[1]
        turn = cv2.getRotationMatrix2D(
            (side / 2, side / 2), float(rng.uniform(-TURN_DEG, TURN_DEG)), 1.0
        )
        plain = np.ascontiguousarray(crops)
        crops = np.stack(
            [cv2.warpAffine(c, turn, (side, side), borderMode=cv2.BORDER_REFLECT) for c in plain]
        )
    if "contrast" in kind:
        mean = crops.mean((1, 2), keepdims=True)
        stretched = (crops - mean) * rng.uniform(1 - CONTRAST, 1 + CONTRAST) + mean
        crops = np.clip(stretched.round(), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(crops)


def compress(crops: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """The clip as it is or through one of the three severities, the same settings for every
    frame.
    """
    severity = str(rng.choice(["none", *SEVERITIES]))
    return np.stack(apply_clip(list(crops), draw_preset(severity, rng)))


def _padded(crops: NDArray[np.uint8], length: int) -> Tensor:
    images = torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2)
    return torch.cat([images, images.new_zeros(length - len(images), *images.shape[1:])])
