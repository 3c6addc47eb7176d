"""The whole network: embedder + frame head + temporal head + denoiser, built from one small configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from detector.nets.autoencoder import DenoisingAutoencoder
from detector.nets.embedder import build_embedder
from detector.nets.temporal import build_temporal

TOP_K = 16  # map cells behind the frame logit: 16 of 784 is a mouth's worth


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

    def bare(self) -> NetworkConfig:
        """The same network without where its weights start from: what is stored beside trained weights."""
        kept = {k: v for k, v in self.embedder_options.items() if k not in ("pretrained", "weights")}
        return replace(self, embedder_options=kept)


@dataclass(frozen=True, eq=False)
class FrameOutput:
    """Per crop: logit (B,), map_logits (B, 28, 28) or None, embedding (B, D)."""

    logit: Tensor
    map_logits: Tensor | None
    embedding: Tensor


class FrameHead(nn.Module):
    """Embedding and the evidence map's strongest places -> one logit.

    Of the map it reads the mean of the TOP_K highest cells and the log-mean-exp, never the mean: a forged mouth is 3%
    of a crop, and a mean would drown it. With `whole_picture` there is a second way to look forged: where not even the
    lower half of the map is quiet, background included, the whole picture may be generated. The larger of both counts.
    """

    def __init__(self, dim: int, use_map: bool, whole_picture: tuple[float, float] | None = None) -> None:
        super().__init__()
        self.out = nn.Linear(dim + (2 if use_map else 0), 1)
        self.whole_picture = whole_picture

    def forward(self, embedding: Tensor, map_logits: Tensor | None) -> Tensor:
        parts = [embedding]
        if map_logits is not None:
            flat = map_logits.flatten(1).float()
            top = flat.topk(min(TOP_K, flat.shape[1]), dim=1).values.mean(1, keepdim=True)
            soft = torch.logsumexp(flat, dim=1, keepdim=True) - torch.log(torch.tensor(float(flat.shape[1])))
            parts += [top.to(embedding.dtype), soft.to(embedding.dtype)]
        logit = self.out(torch.cat(parts, dim=1)).squeeze(-1)
        if map_logits is None or self.whole_picture is None:
            return logit
        gain, offset = self.whole_picture
        whole = gain * lower_half(map_logits) + offset
        return torch.logsumexp(2 * torch.stack([logit.float(), whole]), dim=0) / 2  # a smooth maximum


def lower_half(map_logits: Tensor) -> Tensor:
    """Mean (B,) of the lower half of the cells of maps (B, H, W)."""
    flat = map_logits.flatten(1).float()
    return flat.topk(flat.shape[1] // 2, dim=1, largest=False).values.mean(1)


class DeepfakeNetwork(nn.Module):
    """Frame logit, video logit, evidence map, embedding and reconstruction from one object.

    Images are (B, 3, H, W) RGB in [0, 1].
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or NetworkConfig()
        self.embedder = build_embedder(config.embedder, **config.embedder_options)
        has_map = getattr(self.embedder, "map_head", None) is not None
        self.frame_head = FrameHead(self.embedder.dim, has_map, config.whole_picture)  # type: ignore[arg-type]
        self.temporal = build_temporal(config.temporal, self.embedder.dim, **config.temporal_options)  # type: ignore[arg-type]
        self.denoiser = (
            DenoisingAutoencoder(config.denoiser_widths, config.denoiser_skips) if config.denoiser_widths else None
        )

    def frames(self, images: Tensor) -> FrameOutput:
        """Look at crops one by one."""
        features = self.embedder(images)
        logit = self.frame_head(features.embedding, features.map_logits)
        return FrameOutput(logit, features.map_logits, features.embedding)

    def video(self, embeddings: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
        """(B, T, D), (B, T), (B, T) bool -> (B,) logits of whole tracks."""
        return self.temporal(embeddings, logits, mask)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Denoised images in [0, 1]. Raises RuntimeError where the network was built without a denoiser."""
        if self.denoiser is None:
            raise RuntimeError("This model has no denoiser.")
        return self.denoiser(images).clamp(0, 1)

    @overload
    def forward(self, images: Tensor, return_reconstruction: Literal[False] = False) -> Tensor: ...

    @overload
    def forward(self, images: Tensor, return_reconstruction: Literal[True]) -> tuple[Tensor, Tensor]: ...

    def forward(self, images: Tensor, return_reconstruction: bool = False) -> Tensor | tuple[Tensor, Tensor]:
        """Frame logits (B,); with return_reconstruction also the denoised images (B, 3, H, W)."""
        logit = self.frames(images).logit
        return (logit, self.reconstruct(images)) if return_reconstruction else logit
