"""The whole network: embedder + frame head + temporal head + denoiser, built from one small
configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detector.nets.autoencoder import DenoisingAutoencoder
from detector.nets.embedder import TwoStream, build_embedder
from detector.nets.temporal import build_temporal

TOP_K = 16  # map cells behind the frame logit: 16 of 784 is a mouth's worth
SOFT_DETAIL_PX = 80  # side that the soft look's crop is averaged down to: a face of 60 px
SOFT_SIDE_PX = 176  # and up to again
# of the evidence map; measured: pixel AUC of clean crops -.003, of heavily degraded ones +.05
SOFT_MAP_SHARE = 0.25


@dataclass(frozen=True)
class NetworkConfig:
    """What to build; stored in the manifest beside the weights."""

    embedder: str = "two-stream"
    embedder_options: Mapping[str, Any] = field(default_factory=dict)
    temporal: str = "mean"
    temporal_options: Mapping[str, Any] = field(default_factory=dict)
    denoiser_widths: tuple[int, ...] = (32, 64, 128, 192, 128)  # () builds none
    denoiser_skips: bool = True
    whole_picture: tuple[float, float] | None = (
        None  # gain, offset: from the map's lower half to a logit; see FrameHead
    )
    soft_share: float = 0.0  # share of a second look, at a soft copy, in the logit; 0: one look
    soft_share_clips: float | None = None  # the same in clips; None: as in stills
    # see at_sharpness; for stills alone
    by_sharpness: tuple[float, float, float, float] | None = None

    def of_kind(self, kind: str) -> NetworkConfig:
        """What stills ("image") or clips ("video") are looked at with."""
        if kind != "video":
            return self
        share = self.soft_share if self.soft_share_clips is None else self.soft_share_clips
        return replace(self, soft_share=share, by_sharpness=None)

    def bare(self) -> NetworkConfig:
        """The same network without where its weights start from: what is stored beside trained
        weights.
        """
        kept = {
            k: v for k, v in self.embedder_options.items() if k not in ("pretrained", "weights")
        }
        return replace(self, embedder_options=kept)


@dataclass(frozen=True, eq=False)
class FrameOutput:
    """Per crop: logit (B,), map_logits (B, 28, 28) or None, embedding (B, D)."""

    logit: Tensor
    map_logits: Tensor | None
    embedding: Tensor


class FrameHead(nn.Module):
    """Embedding and the evidence map's strongest places -> one logit.

    Of the map it reads the mean of the TOP_K highest cells and the log-mean-exp, never the mean: a
    forged mouth is 3% of a crop, and a mean would drown it. With `whole_picture` there is a second
    way to look forged: where not even the lower half of the map is quiet, background included, the
    whole picture may be generated. The larger of both counts.
    """

    def __init__(
        self, dim: int, use_map: bool, whole_picture: tuple[float, float] | None = None
    ) -> None:
        super().__init__()
        self.out = nn.Linear(dim + (2 if use_map else 0), 1)
        self.whole_picture = whole_picture

    def forward(self, embedding: Tensor, map_logits: Tensor | None) -> Tensor:
        parts = [embedding]
        if map_logits is not None:
            flat = map_logits.flatten(1).float()
            top = flat.topk(min(TOP_K, flat.shape[1]), dim=1).values.mean(1, keepdim=True)
            soft = torch.logsumexp(flat, dim=1, keepdim=True) - torch.log(
                torch.tensor(float(flat.shape[1]))
            )
            parts += [top.to(embedding.dtype), soft.to(embedding.dtype)]
        logit = self.out(torch.cat(parts, dim=1)).squeeze(-1)
        if map_logits is None or self.whole_picture is None:
            return logit
        gain, offset = self.whole_picture
        whole = gain * lower_half(map_logits) + offset
        # a smooth maximum
        return torch.logsumexp(2 * torch.stack([logit.float(), whole]), dim=0) / 2


def lower_half(map_logits: Tensor) -> Tensor:
    """Mean (B,) of the lower half of the cells of maps (B, H, W)."""
    flat = map_logits.flatten(1).float()
    return flat.topk(flat.shape[1] // 2, dim=1, largest=False).values.mean(1)


def soft_copy(images: Tensor) -> Tensor:
    """Crops (B, 3, S, S) without their fine detail: averaged down to SOFT_DETAIL_PX, and up to
    SOFT_SIDE_PX.
    """
    small = F.interpolate(images, size=(SOFT_DETAIL_PX, SOFT_DETAIL_PX), mode="area")
    return F.interpolate(
        small, size=(SOFT_SIDE_PX, SOFT_SIDE_PX), mode="bilinear", align_corners=False
    )


def log_sharpness(images: Tensor) -> Tensor:
    """Fine detail (B,) of crops (B, 3, H, W) in [0, 1]: log(1 + spread of the luma's Laplacian in
    grey levels).
    """
    red, green, blue = images.float().unbind(1)
    # whole levels, as detector.decide reads them
    luma = (255 * (0.299 * red + 0.587 * green + 0.114 * blue)).round()
    inner = luma[:, 1:-1, 1:-1]
    around = luma[:, :-2, 1:-1] + luma[:, 2:, 1:-1] + luma[:, 1:-1, :-2] + luma[:, 1:-1, 2:]
    return torch.log1p((around - 4 * inner).flatten(1).std(1))


def at_sharpness(logit: Tensor, sharpness: Tensor, by: tuple[float, float, float, float]) -> Tensor:
    """What a logit (B,) says at a crop's log-sharpness (B,).

    On soft and compressed crops little evidence is all there ever is, and the same logit means
    more. A temperature that depends on the input, after Tomani et al. 2022 (arXiv:2102.12182).
    `by`: the sharpness from which on nothing changes, what it adds to scale and logit per unit
    below, and the sharpness from which down it adds no more.
    """
    middle, steepness, shift, low = by
    below = middle - sharpness.clamp(low, middle)
    return (1 + steepness * below) * logit + shift * below


class DeepfakeNetwork(nn.Module):
    """Frame logit, video logit, evidence map, embedding and reconstruction from one object.

    Images are (B, 3, H, W) RGB in [0, 1]. With `soft_share` the same weights look twice: at the
    crop, and at a soft copy of it. Fine detail tells of cameras, resizing and codecs as much as of
    forgeries, and training on blends teaches that sharp is authentic, which generated faces are;
    what a soft copy still shows is for the second look.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        for share in (config.soft_share, config.of_kind("video").soft_share):
            if not 0 <= share < 1:
                raise ValueError(
                    f"expected a share of the soft look from 0 to below 1, but got {share}"
                )
        self.embedder = build_embedder(config.embedder, **config.embedder_options)
        has_map = getattr(self.embedder, "map_head", None) is not None
        self.frame_head = FrameHead(self.embedder.dim, has_map, config.whole_picture)  # type: ignore[arg-type]
        self.temporal = build_temporal(
            config.temporal, self.embedder.dim, **config.temporal_options
        )  # type: ignore[arg-type]
        self.denoiser = (
            DenoisingAutoencoder(config.denoiser_widths, config.denoiser_skips)
            if config.denoiser_widths
            else None
        )

    def frames(self, images: Tensor) -> FrameOutput:
        """Look at crops one by one. The embedding is that of the crop itself."""
        seen = self._looks(images)
        if self.config.by_sharpness is None:
            return seen
        return replace(
            seen,
            logit=at_sharpness(seen.logit.float(), log_sharpness(images), self.config.by_sharpness),
        )

    def _looks(self, images: Tensor) -> FrameOutput:
        seen, share = self._look(images), self.config.soft_share
        if not share:
            return seen
        # All detail being gone, a noise stream would have next to nothing to see: left out, the
        # devset AUC stays .768.
        silent = {"residual": False} if isinstance(self.embedder, TwoStream) else {}
        soft = self._look(soft_copy(images), **silent)
        logit = (1 - share) * seen.logit.float() + share * soft.logit.float()
        maps = seen.map_logits
        if maps is not None and soft.map_logits is not None:
            raised = F.interpolate(
                soft.map_logits[:, None].float(), size=maps.shape[-2:], mode="bilinear"
            )[:, 0]
            maps = (1 - SOFT_MAP_SHARE) * maps.float() + SOFT_MAP_SHARE * raised
        return FrameOutput(logit, maps, seen.embedding)

    def _look(self, images: Tensor, **options: bool) -> FrameOutput:
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
