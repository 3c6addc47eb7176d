"""The whole network: embedder + frame head + temporal head + denoiser, built from one small
configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detector.nets.autoencoder import DenoisingAutoencoder
from detector.nets.embedder import TwoStream, build_embedder
from detector.nets.temporal import build_temporal
from detector.profile import Profile

TOP_K = 16  # map cells behind the frame logit: 16 of 784 is about the area of a mouth
# side that the low-pass view's crop is averaged down to: a face of 60 px ...
LOW_PASS_DETAIL_PX = 80
LOW_PASS_SIDE_PX = 176  # ... and up to again


@dataclass(frozen=True)
class GlobalBranch:
    """From the mean of the evidence map's lower half to a logit; see FrameHead."""

    gain: float
    offset: float  # logits

    def __post_init__(self) -> None:
        for number in (self.gain, self.offset):
            if not math.isfinite(number):
                raise ValueError(f"expected a finite gain and offset, but got {self}")


@dataclass(frozen=True)
class NetworkConfig:
    """The architecture; stored in the manifest beside the weights."""

    embedder: str = "two-stream"
    embedder_options: Mapping[str, Any] = field(default_factory=dict)
    temporal: str = "mean"
    temporal_options: Mapping[str, Any] = field(default_factory=dict)
    denoiser_widths: tuple[int, ...] = (32, 64, 128, 192, 128)  # () builds none
    denoiser_skips: bool = True
    global_branch: GlobalBranch | None = None

    def without_pretrained(self) -> NetworkConfig:
        """Return the same network without where its weights start from.

        That is what is stored beside trained weights.
        """
        kept = {
            k: v for k, v in self.embedder_options.items() if k not in ("pretrained", "weights")
        }
        return replace(self, embedder_options=kept)


@dataclass(frozen=True, eq=False)
class FrameOutput:
    """The answer for a batch of B crops."""

    logit: Tensor  # (B,)
    map_logits: Tensor | None  # (B, S/8, S/8): MAP_SIZE squared for the detector's crops
    embedding: Tensor  # (B, D)


class FrameHead(nn.Module):
    """Embedding and the evidence map's strongest places -> one logit.

    Of the map it reads the mean of the TOP_K highest cells and the log-mean-exp, never the mean: a
    forged mouth is 3% of a crop, and a mean would drown it. The global branch answers for pictures
    that were generated as a whole: there even the lower half of the map, background included, is
    high. The larger of the two logits counts (a smooth maximum).
    """

    def __init__(self, dim: int, use_map: bool, global_branch: GlobalBranch | None = None) -> None:
        super().__init__()
        self.out = nn.Linear(dim + (2 if use_map else 0), 1)
        self.global_branch = global_branch

    def forward(self, embedding: Tensor, map_logits: Tensor | None) -> Tensor:
        parts = [embedding]
        if map_logits is not None:
            flat = map_logits.flatten(1).float()
            top = flat.topk(min(TOP_K, flat.shape[1]), dim=1).values.mean(1, keepdim=True)
            log_mean_exp = torch.logsumexp(flat, dim=1, keepdim=True) - torch.log(
                torch.tensor(float(flat.shape[1]))
            )
            parts += [top.to(embedding.dtype), log_mean_exp.to(embedding.dtype)]
        logit = self.out(torch.cat(parts, dim=1)).squeeze(-1)
        if map_logits is None or self.global_branch is None:
            return logit
        generated = self.global_branch.gain * lower_half(map_logits) + self.global_branch.offset
        return torch.logsumexp(2 * torch.stack([logit.float(), generated]), dim=0) / 2


def lower_half(map_logits: Tensor) -> Tensor:
    """Mean (B,) of the lower half of the cells of maps (B, H, W)."""
    flat = map_logits.flatten(1).float()
    return flat.topk(flat.shape[1] // 2, dim=1, largest=False).values.mean(1)


def low_pass(images: Tensor) -> Tensor:
    """Return crops (B, 3, S, S) without their fine detail.

    Averaged down to LOW_PASS_DETAIL_PX, and up again to LOW_PASS_SIDE_PX.
    """
    small = F.interpolate(images, size=(LOW_PASS_DETAIL_PX, LOW_PASS_DETAIL_PX), mode="area")
    return F.interpolate(
        small, size=(LOW_PASS_SIDE_PX, LOW_PASS_SIDE_PX), mode="bilinear", align_corners=False
    )


def log_sharpness(images: Tensor) -> Tensor:
    """Fine detail (B,) of crops (B, 3, H, W) in [0, 1].

    log(1 + spread of the luma's Laplacian in grey levels).
    """
    red, green, blue = images.float().unbind(1)
    # whole levels, as detector.decide.sharpness has them
    luma = (255 * (0.299 * red + 0.587 * green + 0.114 * blue)).round()
    inner = luma[:, 1:-1, 1:-1]
    around = luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:]
    return torch.log1p((around - 4 * inner).flatten(1).std(1))


class DeepfakeNetwork(nn.Module):
    """Frame logit, video logit, evidence map, embedding and reconstruction from one object.

    Images are (B, 3, H, W) RGB in [0, 1].
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        self.embedder = build_embedder(config.embedder, **config.embedder_options)
        has_map = getattr(self.embedder, "map_head", None) is not None
        dim = int(self.embedder.dim)  # type: ignore[arg-type]
        self.frame_head = FrameHead(dim, has_map, config.global_branch)
        self.temporal = build_temporal(config.temporal, dim, **config.temporal_options)
        self.denoiser = (
            DenoisingAutoencoder(config.denoiser_widths, config.denoiser_skips)
            if config.denoiser_widths
            else None
        )

    def frames(self, images: Tensor, profile: Profile | None = None) -> FrameOutput:
        """Score crops one by one, as a profile says: its views averaged, its sharpness calibration.

        Without a profile one view and nothing else, as in training. The embedding is always that of
        the crop itself.
        """
        if profile is None:
            return self._view(images)
        out = self._views(images, profile) if profile.low_pass_weight else self._view(images)
        if profile.sharpness is None:
            return out
        logit = profile.sharpness.apply(out.logit.float(), log_sharpness(images))
        return replace(out, logit=logit)

    def _views(self, images: Tensor, profile: Profile) -> FrameOutput:
        """Two-view test-time averaging: the crop, and a low-pass copy of it.

        Fine detail tells of cameras, resizing and codecs as much as of forgeries, and training on
        blends teaches that sharp is authentic, which generated faces are. The low-pass view judges
        what is left without it.
        """
        full = self._view(images)
        weight = profile.low_pass_weight
        # The noise stream has next to nothing to see there; without it the AUC on the validation
        # set of genuine forgeries stays .768.
        silent = {"residual": False} if isinstance(self.embedder, TwoStream) else {}
        low = self._view(low_pass(images), **silent)
        logit = (1 - weight) * full.logit.float() + weight * low.logit.float()
        maps = full.map_logits
        if maps is not None and low.map_logits is not None:
            enlarged = F.interpolate(
                low.map_logits[:, None].float(), size=maps.shape[-2:], mode="bilinear"
            )[:, 0]
            map_weight = profile.low_pass_map_weight
            maps = (1 - map_weight) * maps.float() + map_weight * enlarged
        return FrameOutput(logit, maps, full.embedding)

    def _view(self, images: Tensor, **options: bool) -> FrameOutput:
        features = self.embedder(images, **options)
        logit = self.frame_head(features.embedding, features.map_logits)
        return FrameOutput(logit, features.map_logits, features.embedding)

    def video(self, embeddings: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T), (B, T) bool -> (B,) logits of whole tracks."""
        return self.temporal(embeddings, logits, mask)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Denoised images in [0, 1]. Raises RuntimeError where the network was built without a
        denoiser.
        """
        if self.denoiser is None:
            raise RuntimeError("This model has no denoiser.")
        return self.denoiser(images).clamp(0, 1)

    @overload
    def forward(self, images: Tensor, return_reconstruction: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(
        self, images: Tensor, return_reconstruction: Literal[True]
    ) -> tuple[Tensor, Tensor]: ...

    def forward(
        self, images: Tensor, return_reconstruction: bool = False
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Frame logits (B,); with return_reconstruction also the denoised images (B, 3, H, W)."""
        logit = self.frames(images).logit
        return (logit, self.reconstruct(images)) if return_reconstruction else logit
