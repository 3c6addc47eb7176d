"""The denoising autoencoder: a compressed crop in, a cleaner one out.

Five stride-2 convolutions down to (B, latent, 7, 7) and five transposed ones back. The bottleneck
alone gives back a picture blurrier than the compressed input, so the shipped configuration carries
skip connections and predicts the residual. `skips=False` is the network of `compression-resilient`
(docs/SOURCES.md) unchanged.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


class DenoisingAutoencoder(nn.Module):
    """(B, 3, H, W) RGB in [0, 1] -> the same shape in [0, 1]; H and W multiples of 32.

    widths: channels of the five encoder stages, the last being the latent's.
    """

    def __init__(
        self, widths: Sequence[int] = (64, 128, 256, 512, 256), skips: bool = True
    ) -> None:
        super().__init__()
        self.skips = skips
        down = (3, *widths)
        self.encoder = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(a, b, 4, 2, 1, bias=False),
                nn.BatchNorm2d(b),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for a, b in pairwise(down)
        )
        # With skips each decoder stage also reads the encoder stage of its own resolution.
        up = tuple(reversed(widths))
        last = 16 if skips else 3
        outs = (*up[1:], last)
        ins = [up[0], *(c * 2 if skips else c for c in up[1:])]
        stages: list[nn.Module] = []
        for index, (a, b) in enumerate(zip(ins, outs, strict=True)):
            layers: list[nn.Module] = [nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False)]
            if index < len(outs) - 1 or skips:
                layers += [nn.BatchNorm2d(b), nn.ReLU(inplace=True)]
            stages.append(nn.Sequential(*layers))
        self.decoder = nn.ModuleList(stages)
        self.refine = (
            nn.Sequential(
                nn.Conv2d(16 + 3, 16, 3, padding=1), nn.ReLU(inplace=True),
                nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(inplace=True),
                nn.Conv2d(16, 3, 3, padding=1),
            )
            if skips
            else None
        )  # fmt: skip
        # start as the identity: the first picture out is the picture in
        if self.refine is not None:
            nn.init.zeros_(self.refine[-1].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.refine[-1].bias)  # type: ignore[arg-type]

    def encode(self, images: Tensor) -> list[Tensor]:
        """All encoder stages' outputs; the last is the latent (B, widths[-1], H/32, W/32)."""
        x = images * 2 - 1
        features = []
        for stage in self.encoder:
            x = stage(x)
            features.append(x)
        return features

    def forward(self, images: Tensor) -> Tensor:
        features = self.encode(images)
        x = features[-1]
        for index, stage in enumerate(self.decoder):
            if index > 0 and self.skips:
                x = torch.cat([x, features[-1 - index]], dim=1)
            x = stage(x)
        if self.refine is None:
            return (torch.tanh(x) + 1) / 2
        return images + self.refine(torch.cat([x, images * 2 - 1], dim=1))
