"""Frame embedders with one stream: a trunk of a known network, or a small CNN.

All take (B, 3, H, W) RGB in [0, 1] of any size: they resize to their own side and normalise with
their own statistics. The embedding is the mean over places of the last feature map, so a heat map
of that layer explains the whole of it.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from detector.errors import WeightsError
from detector.types import CROP_PX


@dataclass(frozen=True, eq=False)
class FrameFeatures:
    """An embedder's answer for a batch."""

    embedding: Tensor  # (B, D)
    # (B, H/8, W/8) evidence logits, or None where the embedder has no map head
    map_logits: Tensor | None


class SingleStream(nn.Module):
    """Resize, normalise, trunk, head. `rgb` gives (B, C, h, w), `head` makes (B, dim) of it."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        rgb: nn.Module,
        head: nn.Module,
        dim: int,
        input_px: int,
        mean: tuple[float, ...] = (0.0, 0.0, 0.0),
        std: tuple[float, ...] = (1.0, 1.0, 1.0),
    ) -> None:
        super().__init__()
        self.rgb = rgb
        self.head = head
        self.dim = dim
        self.input_px = input_px
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> FrameFeatures:
        if images.shape[-2:] != (self.input_px, self.input_px):
            side = (self.input_px, self.input_px)
            images = F.interpolate(
                images, side, mode="bilinear", align_corners=False, antialias=True
            )
        return FrameFeatures(self.head(self.rgb((images - self.mean) / self.std)), None)


class Grid(nn.Module):
    """Any timm network's last features as a map (B, C, h, w): a transformer's tokens are laid out
    as they were cut.
    """

    def __init__(self, prefix_tokens: int, channels_last: bool) -> None:
        super().__init__()
        self.prefix_tokens = prefix_tokens
        self.channels_last = channels_last

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim == 4:
            return features.permute(0, 3, 1, 2) if self.channels_last else features
        tokens = features[:, self.prefix_tokens :].transpose(1, 2)
        side = round(tokens.shape[2] ** 0.5)
        return tokens.unflatten(2, (side, side))


class TimmTrunk(nn.Module):
    """A timm network up to its last feature map."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net
        self.grid = Grid(
            getattr(net, "num_prefix_tokens", 0), getattr(net, "output_fmt", "NCHW") == "NHWC"
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.grid(self.net.forward_features(x))


def mean_over_places() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())


def timm_embedder(
    name: str = "resnet50",
    pretrained: bool = False,
    weights: str | None = None,
    input_px: int | None = None,
) -> SingleStream:
    """Any timm network by its name; convolutional ones see the 224 px crop, others their own size.

    pretrained=True fetches timm's weights, `weights` reads a safetensors or pth file. Raises
    ValueError for a name timm doesn't know and WeightsError when the weights cannot be had.
    """
    config = timm_config(name)
    side = input_px or (config.input_size[-1] if config.fixed_input_size else CROP_PX)
    sized = {"img_size": side} if config.fixed_input_size else {}
    net = create_timm(name, pretrained and weights is None, num_classes=0, **sized)
    if weights is not None:
        load_weights(net, weights, name)
    return SingleStream(
        TimmTrunk(net), mean_over_places(), net.num_features, side, config.mean, config.std
    )


def timm_config(name: str) -> Any:
    """timm's facts about a network. Raises ValueError for a name it doesn't know."""
    if not timm.is_model(name):
        raise ValueError(f"timm knows no network called {name!r}.")
    return timm.get_pretrained_cfg(name)


def create_timm(name: str, pretrained: bool, **options: Any) -> Any:
    """timm.create_model; without a network pretrained=True raises WeightsError, which names the
    file and its place.
    """
    config = timm_config(name)
    try:
        return timm.create_model(name, pretrained=pretrained, **options)
    except OSError as err:  # what urllib and the hub's client raise without a network
        where = f"huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else config.url
        file = "model.safetensors" if config.hf_hub_id else Path(config.url).name
        raise WeightsError(cannot_fetch(name, file, where)) from err


class UnitLength(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(x, dim=1)


def facenet_embedder(
    pretrained: bool = False, weights: str | None = None, input_px: int = 160
) -> SingleStream:
    """facenet-pytorch's InceptionResnetV1: 160 px, 512-d of unit length, normalised as (x - 127.5)
    / 128.

    pretrained=True fetches its VGGFace2 weights, `weights` reads a file of them. Raises
    WeightsError.
    """
    from facenet_pytorch import (
        InceptionResnetV1,
    )  # here, since it is slow to import and seldom needed

    try:
        net = InceptionResnetV1(pretrained="vggface2" if pretrained and weights is None else None)
    except OSError as err:
        file = "20180402-114759-vggface2.pt"
        where = f"github.com/timesler/facenet-pytorch/releases/download/v2.2.9/{file}"
        raise WeightsError(cannot_fetch("InceptionResnetV1", file, where)) from err
    if weights is not None:
        load_weights(net, weights, "InceptionResnetV1")
    trunk = takewhile(lambda child: child[0] != "avgpool_1a", net.named_children())
    head = nn.Sequential(
        mean_over_places(), net.dropout, net.last_linear, net.last_bn, UnitLength()
    )
    return SingleStream(
        nn.Sequential(OrderedDict(trunk)), head, 512, input_px, (127.5 / 255,) * 3, (128 / 255,) * 3
    )


def baseline_cnn(input_px: int = CROP_PX) -> SingleStream:
    """The baseline CNN of `cnn-rnn-article` (docs/SOURCES.md).

    Conv64 7x7, MaxPool, Conv128 twice, MaxPool, Flatten, then Dense 128 and 64 with Dropout .5.
    Its Dense 1 is the network's frame head. Nearly all of its 51 million parameters sit behind
    Flatten.
    """

    def conv(c_in: int, c_out: int, kernel_px: int) -> list[nn.Module]:
        return [nn.Conv2d(c_in, c_out, kernel_px, padding="same"), nn.ReLU()]

    layers = [
        *conv(3, 64, 7),
        nn.MaxPool2d(2),
        *conv(64, 128, 3),
        *conv(128, 128, 3),
        nn.MaxPool2d(2),
    ]
    head = nn.Sequential(
        nn.Flatten(), nn.Linear(128 * (input_px // 4) ** 2, 128), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.5),
    )  # fmt: skip
    return SingleStream(nn.Sequential(*layers), head, 64, input_px)


def named(timm_name: str) -> Callable[..., SingleStream]:
    """A registry entry for one timm network; a recipe may name a smaller one of its family."""

    def build(name: str = timm_name, **options: Any) -> SingleStream:
        return timm_embedder(name, **options)

    return build


def cannot_fetch(network: str, file: str, where: str) -> str:
    return (
        f"The pretrained weights of {network} could not be fetched; download {file} from {where} "
        "and give its path as --weights (the embedder's option 'weights')."
    )


def load_weights(module: nn.Module, path: str | Path, name: str) -> None:
    """Fill a network from a safetensors or a pth file (tensors only, nothing else is unpickled);
    extra tensors, a classifier's, are passed over. Raises WeightsError, in one sentence, when it
    cannot be done."""
    path = Path(path)
    state = read_tensors(path)
    try:
        missing = module.load_state_dict(state, strict=False).missing_keys
    except RuntimeError as err:
        raise WeightsError(f"The weights file {path.name} does not fit {name}.") from err
    if missing:
        raise WeightsError(
            f"The weights file {path.name} lacks {len(missing)} tensors of {name}, "
            f"{missing[0]} first."
        )


# What torch's restricted unpickler raises on bytes that are no checkpoint.
_DAMAGE = (
    UnpicklingError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors or pth file. Raises WeightsError."""
    if not path.is_file():
        raise WeightsError(f"The weights file {path.name} is missing.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        stored = torch.load(path, map_location="cpu", weights_only=True)
        for key in ("state_dict", "model"):  # how training scripts wrap them
            if isinstance(stored.get(key), dict):
                stored = stored[key]
        return {k.removeprefix("module."): v for k, v in stored.items() if isinstance(v, Tensor)}
    except (SafetensorError, struct.error, *_DAMAGE) as err:
        raise WeightsError(
            f"The weights file {path.name} cannot be read as a table of tensors."
        ) from err
