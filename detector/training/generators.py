"""Small generators with different up-samplers, trained on authentic faces for the
generator-fingerprint family.

Each is an autoencoder: what it gives back shows the same face, but drawn by an up-sampler, and an
up-sampler leaves a periodic trace in the spectrum whatever it draws (Zhang et al.,
arXiv:1907.06515; Durall et al., arXiv:2003.01826).

`python -m detector.training.generators --data DIR --out runs/generators`
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm


@dataclass(frozen=True)
class GeneratorConfig:
    """One small generator."""

    name: str
    upsampler: str  # transposed | nearest | bilinear | pixel shuffle
    stages: int  # down and up by 2 ** stages
    latent: int  # channels of the code: fewer keep less of the picture
    kernel: int = 4  # of the transposed convolution; 3 gives the stronger checkerboard
    adversarial: bool = False
    edge_loss: bool = False  # L1 on gradients too, else the result is soft
    # round the code to 16 levels, as a sub-sampled or vector-quantised latent does
    quantise: bool = False


GENERATORS = (
    GeneratorConfig("transposed4", "transposed", 2, 12, kernel=4, edge_loss=True),
    GeneratorConfig("transposed3", "transposed", 3, 48, kernel=3),
    GeneratorConfig("nearest", "nearest", 3, 32, edge_loss=True),
    GeneratorConfig("nearest-adversarial", "nearest", 2, 8, adversarial=True, edge_loss=True),
    GeneratorConfig("shuffle", "pixel shuffle", 2, 8, edge_loss=True),
    GeneratorConfig("shuffle-quantised", "pixel shuffle", 3, 48, quantise=True),
    GeneratorConfig("bilinear-adversarial", "bilinear", 2, 8, adversarial=True, edge_loss=True),
)

COARSE_PX = 3.0  # sigma below which a redrawn picture keeps what its generator drew


def _up(kind: str, c_in: int, c_out: int, kernel: int) -> nn.Module:
    if kind == "transposed":
        if kernel == 3:
            return nn.ConvTranspose2d(c_in, c_out, 3, 2, 1, output_padding=1)
        return nn.ConvTranspose2d(c_in, c_out, kernel, 2, (kernel - 2) // 2)
    if kind == "pixel shuffle":
        return nn.Sequential(nn.Conv2d(c_in, 4 * c_out, 3, padding=1), nn.PixelShuffle(2))
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode=kind), nn.Conv2d(c_in, c_out, 3, padding=1)
    )


class SmallGenerator(nn.Module):
    """(B, 3, H, W) in [0, 1] -> the same picture, redrawn. H and W multiples of 2 ** stages."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [3, 32, 64, 96][: config.stages + 1]
        down: list[nn.Module] = []
        for a, b in pairwise(widths):
            down += [
                nn.Conv2d(a, b, 4, 2, 1),
                nn.LeakyReLU(0.2),
                nn.Conv2d(b, b, 3, padding=1),
                nn.LeakyReLU(0.2),
            ]
        self.encoder = nn.Sequential(*down, nn.Conv2d(widths[-1], config.latent, 1))
        up: list[nn.Module] = [
            nn.Conv2d(config.latent, widths[-1], 3, padding=1),
            nn.LeakyReLU(0.2),
        ]
        for a, b in zip(widths[:0:-1], [*widths[-2:0:-1], 24], strict=True):
            up += [
                _up(config.upsampler, a, b, config.kernel),
                nn.LeakyReLU(0.2),
                nn.Conv2d(b, b, 3, padding=1),
                nn.LeakyReLU(0.2),
            ]
        self.decoder = nn.Sequential(*up, nn.Conv2d(24, 3, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        code = self.encoder(images * 2 - 1)
        if self.config.quantise:
            bounded = torch.tanh(code)
            code = bounded + (torch.round(bounded * 8) / 8 - bounded).detach()
        return (self.decoder(code) + 1) / 2


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


@torch.inference_mode()
def rebuild(net: SmallGenerator, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture as the generator gives it back: (H, W, 3) uint8 -> same.

    Colours and everything coarser than COARSE_PX are the original's: these generators are small and
    shift colours, and a shifted colour would be an easier lesson than the up-sampler's trace.
    """
    step = 2**net.config.stages
    height, width = rgb.shape[:2]
    padded = cv2.copyMakeBorder(rgb, 0, -height % step, 0, -width % step, cv2.BORDER_REFLECT)
    x = torch.from_numpy(padded).permute(2, 0, 1)[None].float() / 255
    y = net(x.contiguous(memory_format=torch.channels_last))[0].clamp(0, 1)
    drawn = y.permute(1, 2, 0).numpy()[:height, :width] * 255
    coarse = cv2.GaussianBlur(rgb.astype(np.float32) - drawn, (0, 0), COARSE_PX)
    return np.clip(drawn + coarse + 0.5, 0, 255).astype(np.uint8)


def load_generators(folder: Path) -> dict[str, SmallGenerator]:
    """The generators saved in a folder, ready to rebuild."""
    nets = {}
    for config in GENERATORS:
        path = folder / f"{config.name}.safetensors"
        if path.is_file():
            net = SmallGenerator(config)
            net.load_state_dict({k: v.float() for k, v in load_file(path).items()})
            nets[config.name] = net.eval().to(memory_format=torch.channels_last)
    return nets


def main() -> None:
    from detector.training.data import load_pictures

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
