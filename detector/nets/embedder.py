"""Frame embedders: (B, 3, H, W) RGB in [0, 1] -> embedding and, for the shipped one, an evidence
map.

Two streams see each crop. The RGB stream sees what is there; the noise-residual stream sees what a
camera and a codec left on it, after the picture itself is taken away (x minus its Gaussian blur). A
registry maps a name to a builder, so that a recipe is a name and a few numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detector.nets.backbones import (
    FrameFeatures,
    baseline_cnn,
    create_timm,
    facenet_embedder,
    load_weights,
    named,
    timm_embedder,
)
from detector.types import CROP_PX

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# side of an all-zero residual: twice the receptive field at stride 16, so that the middle of the
# response does not depend on the borders
ZERO_RESIDUAL_PX = 96


class NoiseResidual(nn.Module):
    """x minus its Gaussian blur, amplified: (B, 3, H, W) -> same shape, roughly in [-1, 1].

    A fixed 5x5 kernel, sigma 1.0 px: wide enough to remove content, narrow enough to keep blending
    and codec traces.
    """

    kernel: Tensor

    def __init__(self, kernel_px: int = 5, sigma_px: float = 1.0, gain: float = 8.0) -> None:
        super().__init__()
        grid = torch.arange(kernel_px, dtype=torch.float32) - (kernel_px - 1) / 2
        line = torch.exp(-(grid**2) / (2 * sigma_px**2))
        line = line / line.sum()
        self.register_buffer(
            "kernel", torch.outer(line, line).expand(3, 1, -1, -1).contiguous(), persistent=False
        )
        # residuals are a few grey levels; the gain brings them to the order of the RGB input
        self.gain = gain

    def forward(self, x: Tensor) -> Tensor:
        pad = self.kernel.shape[-1] // 2
        blurred = F.conv2d(
            F.pad(x, (pad, pad, pad, pad), mode="reflect"), self.kernel.to(x.dtype), groups=3
        )
        return (x - blurred) * self.gain


def conv_block(c_in: int, c_out: int, activation: type[nn.Module]) -> nn.Sequential:
    """The block of `compression-resilient`: 3x3 convolution, norm, activation, 2x2 max pooling."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(c_out),
        activation(inplace=True),
        nn.MaxPool2d(2),
    )


class ConvStream(nn.Module):
    """Four conv blocks; gives the features at strides 8 and 16."""

    def __init__(
        self, widths: Sequence[int] = (32, 64, 128, 256), activation: type[nn.Module] = nn.ReLU
    ) -> None:
        super().__init__()
        channels = (3, *widths)
        self.blocks = nn.ModuleList(conv_block(a, b, activation) for a, b in pairwise(channels))
        self.channels = (widths[2], widths[3])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for block in self.blocks[:-1]:
            x = block(x)
        return x, self.blocks[-1](x)


class TimmStream(nn.Module):
    """A timm backbone's features at strides 8 and 16; what lies deeper is cut off.

    pretrained=True goes through timm and so needs a network; `weights` loads a file of the whole
    backbone. Raises WeightsError.
    """

    def __init__(
        self,
        name: str = "tf_efficientnetv2_b0",
        pretrained: bool = False,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        fetch = pretrained and weights is None
        net: Any = create_timm(name, fetch, features_only=True, out_indices=(0, 1, 2, 3))
        channels = net.feature_info.channels()
        if net.feature_info.reduction()[2:] != [8, 16]:
            raise ValueError(
                f"expected strides 8 and 16 from {name}, but got {net.feature_info.reduction()}"
            )
        if name.startswith("tf_efficientnetv2_b"):
            # the stages behind stride 16 cost half the parameters and are never read
            net.blocks = net.blocks[:5]
        if weights is not None:
            load_weights(net, weights, name)
        self.net = net
        self.channels = (channels[2], channels[3])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        features = self.net(x)
        return features[2], features[3]


class TwoStream(nn.Module):
    """The shipped embedder: RGB stream + noise-residual stream -> 512-d embedding and an evidence
    map at stride 8.

    Input (B, 3, H, W) RGB in [0, 1], H and W multiples of 16; normalisation to ImageNet's
    statistics happens inside. `use_noise` and `use_map` exist for the ablations.
    """

    dim = 512
    input_px = CROP_PX
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        backbone: str = "tf_efficientnetv2_b0",
        noise_widths: Sequence[int] = (16, 32, 64, 128),
        pretrained: bool = False,
        use_noise: bool = True,
        use_map: bool = True,
        dropout: float = 0.2,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.rgb = TimmStream(backbone, pretrained, weights)
        self.residual = NoiseResidual()
        self.noise = ConvStream(noise_widths) if use_noise else None
        rgb8, rgb16 = self.rgb.channels
        noise8, noise16 = self.noise.channels if self.noise is not None else (0, 0)
        half = self.dim // 2
        self.rgb_head = _pooled_head(rgb16, half if use_noise else self.dim)
        self.noise_head = _pooled_head(noise16, half) if use_noise else None
        self.fusion = nn.Sequential(
            nn.Linear(self.dim, self.dim), nn.LayerNorm(self.dim), nn.SiLU(), nn.Dropout(dropout)
        )
        self.lateral16 = nn.Conv2d(rgb16 + noise16, 64, 1) if use_map else None
        self.lateral8 = nn.Conv2d(rgb8 + noise8, 64, 1) if use_map else None
        self.map_head = (
            nn.Sequential(
                nn.BatchNorm2d(64), nn.SiLU(), nn.Conv2d(64, 64, 3, padding=1, bias=False),
                nn.BatchNorm2d(64), nn.SiLU(), nn.Conv2d(64, 1, 1),
            )
            if use_map
            else None
        )  # fmt: skip

    def forward(self, images: Tensor, residual: bool = True) -> FrameFeatures:
        """Embed (B, 3, H, W).

        residual=False takes the noise residual for zero: cheaper, and nearly true of pictures
        without fine detail.
        """
        rgb8, rgb16 = self.rgb((images - self.mean) / self.std)
        parts = [self.rgb_head(rgb16)]
        at8 = [rgb8]
        at16 = [rgb16]
        if self.noise is not None and self.noise_head is not None:
            if residual:
                noise8, noise16 = self.noise(self.residual(images))
            else:
                noise8, noise16 = self._zero_residual_response(images, rgb8, rgb16)
            parts.append(self.noise_head(noise16))
            at8.append(noise8)
            at16.append(noise16)
        embedding = self.fusion(torch.cat(parts, dim=1))
        if self.map_head is None or self.lateral8 is None or self.lateral16 is None:
            return FrameFeatures(embedding, None)
        fine = self.lateral8(torch.cat(at8, dim=1))
        coarse = self.lateral16(torch.cat(at16, dim=1))
        joined = fine + F.interpolate(coarse, size=fine.shape[-2:], mode="nearest")
        return FrameFeatures(embedding, self.map_head(joined).squeeze(1))

    def _zero_residual_response(self, images: Tensor, *rgb: Tensor) -> list[Tensor]:
        """The noise stream's constant response to an all-zero residual.

        Taken far from the borders and broadcast to the RGB feature sizes.
        """
        assert self.noise is not None
        zero = images.new_zeros(1, 3, ZERO_RESIDUAL_PX, ZERO_RESIDUAL_PX)
        broadcast = []
        for response, like in zip(self.noise(zero), rgb, strict=True):
            middle = response.shape[-1] // 2
            cell = response[..., middle, None, middle, None]
            broadcast.append(cell.expand(len(like), -1, *like.shape[-2:]))
        return broadcast


def _pooled_head(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 1, bias=False),
        nn.BatchNorm2d(out),
        nn.SiLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


class ResilientEmbedder(nn.Module):
    """The embedder of `compression-resilient` (docs/SOURCES.md), unchanged.

    Both streams from scratch, no map head.
    """

    dim = 512
    input_px = CROP_PX

    def __init__(self, embedding_dim: int = 512) -> None:
        super().__init__()
        self.dim = embedding_dim
        half = embedding_dim // 2
        self.rgb = ConvStream(activation=nn.SiLU)
        self.residual = NoiseResidual(gain=1.0)
        self.noise = ConvStream(activation=nn.ReLU)
        self.rgb_head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, half))
        self.noise_head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, half))
        self.fusion = nn.Sequential(nn.Linear(embedding_dim, embedding_dim), nn.ReLU(inplace=True))

    def forward(self, images: Tensor) -> FrameFeatures:
        _, rgb = self.rgb(images)
        _, noise = self.noise(self.residual(images))
        return FrameFeatures(
            self.fusion(torch.cat([self.rgb_head(rgb), self.noise_head(noise)], dim=1)), None
        )


EMBEDDERS: dict[str, Callable[..., nn.Module]] = {
    "two-stream": TwoStream,
    "resilient": ResilientEmbedder,
    "timm": timm_embedder,
    "resnet50": named("resnet50"),
    "inception-resnet-v1": facenet_embedder,
    "xception": named("legacy_xception"),
    "inception-v3": named("inception_v3"),
    "efficientnet-b4": named("efficientnet_b4"),
    "vit": named("vit_small_patch16_224"),
    "baseline-cnn": baseline_cnn,
}


def build_embedder(name: str, /, **options: object) -> nn.Module:
    """Return the embedder registered under a name. Raises ValueError for a name that is not
    there.
    """
    if name not in EMBEDDERS:
        raise ValueError(
            f"No frame embedder is called {name!r}; there are {', '.join(sorted(EMBEDDERS))}."
        )
    return EMBEDDERS[name](**options)
