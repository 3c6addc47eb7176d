"""Train the small generators of the generator-fingerprint family on authentic faces.

`python -m detector.training.shipped.generators --data DIR --out runs/generators`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from detector.forgery.generators import GENERATORS, GeneratorConfig, SmallGenerator
from detector.forgery.pictures import load_pictures


class PatchCritic(nn.Module):
    """Says of each 16 px patch whether it is a photo's; hinge loss."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, 32, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(32, 64, 4, 2, 1), nn.LeakyReLU(0.2),
            nn.Conv2d(64, 64, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(64, 1, 1),
        )  # fmt: skip

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
    net, critic = (
        SmallGenerator(config).to(memory_format=torch.channels_last),
        PatchCritic().to(memory_format=torch.channels_last),
    )
    opt = torch.optim.AdamW(net.parameters(), 2e-3)
    opt_critic = torch.optim.AdamW(critic.parameters(), 5e-4, betas=(0.5, 0.99))
    start, losses = time.monotonic(), []
    bar = tqdm(desc=config.name, unit="step")
    while (spent := (time.monotonic() - start) / seconds) < 1:
        for group in opt.param_groups:
            group["lr"] = 2e-3 * min(1.0, 1.2 - spent)
        real = (
            torch.from_numpy(
                np.stack([_patch(faces, patch_px, rng) for _ in range(batch)])
            ).permute(0, 3, 1, 2)
            / 255
        )
        real = real.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            fake = net(real)
            l1 = (fake - real).abs().mean()
            loss = l1
            if config.edge_loss:
                loss = loss + sum(
                    (a - b).abs().mean() for a, b in zip(_edges(fake), _edges(real), strict=True)
                )
            if config.adversarial and spent > 0.4:
                loss = loss - 0.02 * critic(fake).mean()
        opt.zero_grad()
        loss.backward()
        opt.step()
        if config.adversarial and spent > 0.3:
            with torch.autocast("cpu", torch.bfloat16):
                hinge = F.relu(1 - critic(real)).mean() + F.relu(1 + critic(fake.detach())).mean()
            opt_critic.zero_grad()
            hinge.backward()
            opt_critic.step()
        losses.append(float(l1.detach()))
        bar.update()
    bar.close()
    return net.eval(), float(np.mean(losses[-50:]))


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

    parser = argparse.ArgumentParser(description=__doc__)
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
        save_file(
            {k: v.half().contiguous() for k, v in net.state_dict().items()},
            args.out / f"{config.name}.safetensors",
        )
        print(f"{config.name}: L1 {l1 * 255:.2f} grey levels", flush=True)


if __name__ == "__main__":
    main()
