"""Small generators with different up-samplers, for the generator-fingerprint family.

Each is an autoencoder: what it gives back shows the same face, but drawn by an up-sampler, and an
up-sampler leaves a periodic trace in the spectrum whatever it draws (Zhang et al.,
arXiv:1907.06515; Durall et al., arXiv:2003.01826). `detector.training.shipped.generators` trains
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn


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
