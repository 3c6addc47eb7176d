"""Train the small generators of the generator-fingerprint family on authentic faces.

`python -m detector.training.shipped.generators --data DIR --out runs/generators`
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import count
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.forgery.generators import GENERATORS, GeneratorConfig, SmallGenerator
from detector.forgery.pictures import load_pictures
from detector.training.checkpoints import half_precision, save_weights
from detector.training.loop import Learner, Loop

GENERATOR_LR = 2e-3
CRITIC_LR = 5e-4


class PatchCritic(nn.Module):
    """Says of each 16 px patch whether it is a photo's; hinge loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(nn.Conv2d(3, 32, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(32, 64, 4, 2, 1), nn.LeakyReLU(0.2)),
            *(nn.Conv2d(64, 64, 3, 1, 1), nn.LeakyReLU(0.2)),
            nn.Conv2d(64, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images * 2 - 1)


def _edges(x: Tensor) -> tuple[Tensor, Tensor]:
    return x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :]


def train_generator(
    config: GeneratorConfig,
    faces: Sequence[NDArray[np.uint8]],
    seconds: float,
    seed: int,
    patch_px: int = 96,
    batch: int = 24,
) -> tuple[SmallGenerator, float]:
    """Train for a number of seconds on random patches; return the generator and its last mean L1
    (0..1 scale).
    """
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    net = SmallGenerator(config).to(memory_format=torch.channels_last)
    critic = PatchCritic().to(memory_format=torch.channels_last)
    generator = Learner(net, torch.optim.AdamW(net.parameters(), GENERATOR_LR))
    judge = Learner(critic, torch.optim.AdamW(critic.parameters(), CRITIC_LR, betas=(0.5, 0.99)))
    loop = Loop(seconds, title=config.name)
    errors: list[float] = []

    def step(patches: NDArray[np.uint8]) -> float:
        share = loop.share
        real = torch.from_numpy(patches).permute(0, 3, 1, 2) / 255
        real = real.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            redrawn = net(real)
            l1 = (redrawn - real).abs().mean()
            loss = l1
            if config.edge_loss:
                pairs = zip(_edges(redrawn), _edges(real), strict=True)
                loss = loss + sum((a - b).abs().mean() for a, b in pairs)
            if config.adversarial and share > 0.4:
                loss = loss - 0.02 * critic(redrawn).mean()
        errors.append(float(l1.detach()))
        generator.update(loss, min(1.0, 1.2 - share))
        if config.adversarial and share > 0.3:
            judge.update(_hinge(critic, real, redrawn.detach()))
        return float(loss.detach())

    patches = (np.stack([_patch(faces, patch_px, rng) for _ in range(batch)]) for _ in count())
    loop.run(patches, step)
    return net.eval(), float(np.mean(errors[-50:]))


def _hinge(critic: PatchCritic, real: Tensor, redrawn: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return F.relu(1 - critic(real)).mean() + F.relu(1 + critic(redrawn)).mean()


def _patch(
    faces: Sequence[NDArray[np.uint8]], px: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    face = faces[int(rng.integers(len(faces)))]
    scale = max(px / min(face.shape[:2]), float(rng.uniform(0.6, 1.0)))
    if scale != 1.0:
        face = cv2.resize(
            face,
            None,
            fx=scale,
            fy=scale,
            interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR,
        )
    y, x = rng.integers(face.shape[0] - px + 1), rng.integers(face.shape[1] - px + 1)
    return face[y : y + px, x : x + px]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m detector.training.shipped.generators",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with faces/ and faces.csv")
    parser.add_argument("--out", type=Path, default=Path("runs/generators"))
    parser.add_argument("--seconds", type=float, default=75, help="per generator")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    faces = [p.rgb for p in load_pictures(args.data / "faces") if p.split == "train"]
    for seed, config in enumerate(GENERATORS):
        net, l1 = train_generator(config, faces, args.seconds, seed)
        save_weights(half_precision(net), args.out / f"{config.name}.safetensors")
        print(f"{config.name}: L1 {l1 * 255:.2f} grey levels", flush=True)


if __name__ == "__main__":
    main()
