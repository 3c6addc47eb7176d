"""Colouring the past: a small autoencoder that guesses colour (Lab's a and b) from lightness (L).

A coloured photograph is edited, and yet nobody's face was forged: the lesson shows how the detector
scores one.

`python -m explain.lab.colour --faces FOLDER` trains the shipped weights on authentic faces; with
`--measure` it measures them instead.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.color import lab2rgb, rgb2lab
from torch import Tensor, nn

from detector.forgery.pictures import load_pictures
from detector.pipeline import Detector, bf16_pays
from detector.types import Progress
from explain.figures import Rgb
from explain.lab import store

WEIGHTS = "lesson-colour.safetensors"
SIDE_PX = 64  # of the guessed colours; the lightness keeps its full resolution
SCALE = 50.0  # divides a and b, which brings them to about -1..1
BATCH = 32
LEARNING_RATE = 2e-3


class Colouriser(nn.Module):
    """(B, 1, H, W) lightness in [-1, 1] -> (B, 2, H, W) colour / SCALE; H and W multiples of 16."""

    def __init__(self) -> None:
        super().__init__()
        widths = (24, 48, 72, 96)
        self.down = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.BatchNorm2d(b), nn.LeakyReLU(0.1))
            for a, b in zip((1, *widths), widths, strict=False)
        )
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.Upsample(scale_factor=2, mode="bilinear"),
                nn.Conv2d(a, b, 3, 1, 1),
                nn.BatchNorm2d(b),
                nn.LeakyReLU(0.1),
            )
            for a, b in ((96, 72), (144, 48), (96, 24), (48, 16))
        )
        self.out = nn.Conv2d(17, 2, 3, 1, 1)

    def forward(self, lightness: Tensor) -> Tensor:
        kept = [lightness]
        x = lightness
        for part in self.down:
            x = part(x)
            kept.append(x)
        kept.pop()
        for part in self.up:
            x = torch.cat([part(x), kept.pop()], dim=1)
        return self.out(x)


@dataclass(frozen=True, eq=False)
class Coloured:
    """One photo in its own colours, in grey, and in guessed colours."""

    pictures: dict[str, Rgb]  # "original", "grey", "coloured"
    p: dict[str, float]  # the detector's score of each
    error: float  # mean distance of the guessed a and b from the true ones (Lab units)
    error_grey: float  # the same for no colour at all


@lru_cache(maxsize=1)
def shipped() -> Colouriser:
    """The trained colouriser. Raises WeightsError."""
    net = Colouriser()
    net.load_state_dict({**net.state_dict(), **store.load(WEIGHTS)})
    return net.eval().requires_grad_(False)


def grey(rgb: Rgb) -> Rgb:
    """A black-and-white print of a photo."""
    return np.repeat(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)


@torch.inference_mode()
def colourise(net: Colouriser, rgb: Rgb, strength: float = 1.0) -> Rgb:
    """Guess the colours of a (H, W, 3) uint8 picture from its lightness alone; strength 2 doubles
    their depth.
    """
    lightness = rgb2lab(grey(rgb))[..., 0].astype(np.float32)
    small = cv2.resize(lightness, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
    guess = net(torch.from_numpy(small / 50 - 1)[None, None])[0].permute(1, 2, 0).numpy()
    guess = guess * SCALE * strength
    colour = cv2.resize(guess, (rgb.shape[1], rgb.shape[0]), interpolation=cv2.INTER_CUBIC)
    whole = lab2rgb(np.dstack([lightness, np.clip(colour, -100, 100)]))
    return np.rint(255 * np.clip(whole, 0, 1)).astype(np.uint8)


def colour_error(rgb: Rgb, guessed: Rgb) -> float:
    """Mean distance of two pictures' colours in the plane of a and b (Lab units)."""
    difference = (rgb2lab(rgb) - rgb2lab(guessed))[..., 1:]
    return float(np.linalg.norm(difference, axis=-1).mean())


def compare_colours(
    detector: Detector, crop: Rgb, strength: float = 1.0, progress: Progress | None = None
) -> Coloured:
    """Take a face's colours away, guess them, and score all three pictures."""
    report = progress or (lambda share, stage: None)
    report(0.0, "Guessing the colours")
    pictures = {
        "original": crop,
        "grey": grey(crop),
        "coloured": colourise(shipped(), crop, strength),
    }
    report(0.5, "Asking the detector")
    logits = detector.score(np.stack(list(pictures.values())), kind="image")
    chance = detector.profiles["image"].calibration.probability
    p = {name: chance(float(logit)) for name, logit in zip(pictures, logits, strict=True)}
    report(1.0, "Done")
    errors = [colour_error(crop, pictures[name]) for name in ("coloured", "grey")]
    return Coloured(pictures, p, *errors)


# ----------------------------------------------------------------------------------------------
# training


def train(faces: Sequence[Rgb], steps: int, seed: int = 0) -> Colouriser:
    """Learn colours from (64, 64, 3) uint8 faces, mirrored and in changing light."""
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the layers' own initialisation takes no generator
        net = Colouriser()
    optimiser = torch.optim.AdamW(net.parameters(), LEARNING_RATE)
    every = np.stack([rgb2lab(face).astype(np.float32) for face in faces])
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, 2 * (1 - step / steps))
        lab = every[rng.integers(len(every), size=BATCH)]
        if rng.random() < 0.5:
            lab = lab[:, :, ::-1]
        batch = torch.from_numpy(np.ascontiguousarray(lab)).permute(0, 3, 1, 2)
        light = batch[:, :1] / 50 - 1
        gain, shift = (
            torch.from_numpy(rng.uniform(*r, (BATCH, 1, 1, 1))).float()
            for r in ((0.8, 1.2), (-0.15, 0.15))
        )
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays()):
            guess = net((light * gain + shift).clamp(-1, 1))
        loss = nn.functional.smooth_l1_loss(guess.float(), batch[:, 1:] / SCALE, beta=0.1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return net.eval().requires_grad_(False)


def mean_errors(net: Colouriser, faces: Sequence[Rgb]) -> tuple[float, float]:
    """Mean colour error of the guess and of the grey picture."""
    guessed = [colour_error(face, colourise(net, face)) for face in faces]
    uncoloured = [colour_error(face, grey(face)) for face in faces]
    return float(np.mean(guessed)), float(np.mean(uncoloured))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the colouriser.")
    parser.add_argument(
        "--faces", type=Path, required=True, help="folder of authentic faces with its CSV beside it"
    )
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument(
        "--measure",
        action="store_true",
        help="the shipped weights on the unseen faces, no training",
    )
    args = parser.parse_args()
    parts: dict[str, list[Rgb]] = {"train": [], "val": []}
    for picture in load_pictures(args.faces, ("val",) if args.measure else ("train", "val")):
        small = cv2.resize(picture.rgb, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA)
        parts[picture.split].append(np.asarray(small, np.uint8))
    if not args.measure:
        net = train(parts["train"], args.steps)
        store.save(WEIGHTS, {k: v for k, v in net.state_dict().items() if v.is_floating_point()})
    guess, without = mean_errors(shipped(), parts["val"])
    count = len(parts["val"])
    print(f"mean ab error on {count} unseen faces: guess {guess:.2f}, grey {without:.2f}")


if __name__ == "__main__":
    main()
