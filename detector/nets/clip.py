"""The second network: CLIP's ViT-B/16 image tower with tuned layer norms and small heads.

CLIP (Radford et al. 2021, arXiv:2103.00020) has seen far more pictures than any set of forgeries
holds. Tuning nothing but its layer norms on pairs (0.04% of the weights) keeps what it knows and
carries over to unseen forgeries (Yermakov et al. 2026, arXiv:2508.06248). Two heads answer two
questions: was something put into this face (`manipulated`), and was the picture made as a whole
(`generated`)? The first also reads a map of 14 x 14 patches that masks supervised. The second is a
logistic regression on the tokens of the upper blocks, fitted when the tower was tuned. So are a
part of the first answer (`manipulated_upper`) and a third head, which says where there is no
photograph to judge (`drawn`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detector.nets.backbones import create_timm, timm_config

TOWER = "vit_base_patch16_clip_quickgelu_224.openai"
# blocks whose tokens each question reads, counted from 1
LEVELS = (6, 9, 12)
GENERATED_LEVELS = (8, 9, 10, 11, 12)
TOP_PATCHES = 6  # of 196: their mean goes to the logit, as a forged mouth fills no more
HEAD_DROPOUT = 0.2  # while training: thousands of features, and few pictures
NOTHING = -1e4  # logit of a patch that is not there
Features = TypeVar("Features", Tensor, np.ndarray)
QUICK_GELU = 1.702  # CLIP's activation is x * sigmoid(1.702 x)


@dataclass(frozen=True, eq=False)
class ClipOutput:
    """Per crop: logits (B,) of both questions, map_logits (B, 14, 14) of the first, and logits (B,)
    of what is painted, drawn or cut in stone.
    """

    manipulated: Tensor
    generated: Tensor
    map_logits: Tensor
    drawn: Tensor


class ClipExpert(nn.Module):
    """Input (B, 3, 224, 224) RGB in [0, 1]; normalisation to CLIP's statistics happens inside."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        pretrained: bool = False,
        map_width: int = 96,
        tower: str | None = None,
        draw_weights: bool = True,
    ) -> None:
        """tower: timm's name of another one, of at least twelve blocks. pretrained=True fetches it
        through timm and so needs a network. draw_weights=False spares timm's random start, where
        weights are assigned at once. Raises WeightsError where the tower cannot be had.
        """
        super().__init__()
        config = timm_config(tower or TOWER)
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)
        start = {} if draw_weights else {"weight_init": "skip"}
        self.tower = create_timm(tower or TOWER, pretrained, num_classes=0, **start)
        width = self.tower.embed_dim
        self.level_norms = nn.ModuleList(nn.LayerNorm(width) for _ in LEVELS)
        self.laterals = nn.ModuleList(
            nn.Linear(width, map_width, bias=level == LEVELS[0]) for level in LEVELS
        )
        self.map_head = nn.Sequential(nn.SiLU(), nn.Linear(map_width, 1))
        features = 2 * width * len(LEVELS)
        self.dropout = nn.Dropout(HEAD_DROPOUT)
        self.manipulated = nn.Linear(features + 2, 1)
        self.manipulated_upper = nn.Linear(2 * width * len(GENERATED_LEVELS), 1)
        nn.init.zeros_(self.manipulated_upper.weight)
        nn.init.zeros_(self.manipulated_upper.bias)
        self.generated = nn.Linear(2 * width * len(GENERATED_LEVELS), 1)
        self.drawn = nn.Linear(2 * width, 1)
        nn.init.zeros_(self.drawn.weight)
        nn.init.constant_(self.drawn.bias, -1.0)  # until it is fitted, all are photographs

    def forward(self, images: Tensor, seen: Tensor | None = None) -> ClipOutput:
        """seen: (B, S, S) bool, which pixels to look at; patches that show mostly others are left
        out as if they were not there, and their map is NOTHING.
        """
        x = ((images - self.mean) / self.std).to(self.tower.patch_embed.proj.weight.dtype)
        kept = None if seen is None else self._kept(seen)
        tokens = self._tokens(x, kept)
        pooled = []
        places = torch.zeros((), device=images.device)
        for level, norm, lateral in zip(LEVELS, self.level_norms, self.laterals, strict=True):
            normed = norm(tokens[level])
            pooled += [normed[:, 0], mean_patch(normed, kept)]
            places = places + lateral(normed[:, 1:])
        features = self.dropout(torch.cat(pooled, dim=1))
        map_logits = self.map_head(places).squeeze(-1)
        count = torch.tensor(float(map_logits.shape[1]), device=images.device)
        if kept is not None:
            map_logits = map_logits.masked_fill(~kept, NOTHING)
            count = kept.sum(1, keepdim=True)
        top = map_logits.topk(TOP_PATCHES, dim=1).values.mean(1, keepdim=True)
        spread = torch.logsumexp(map_logits, dim=1, keepdim=True) - torch.log(count)
        side = round(map_logits.shape[1] ** 0.5)
        of_levels = generated_features(tokens, kept)
        put_in = self.manipulated(torch.cat([features, top, spread], dim=1))
        return ClipOutput(
            (put_in + self.manipulated_upper(of_levels)).squeeze(1),
            self.generated(self.dropout(of_levels)).squeeze(1),
            map_logits.unflatten(1, (side, side)),
            self.drawn(drawn_features(of_levels)).squeeze(1),
        )

    def _kept(self, seen: Tensor) -> Tensor:
        """Which patches (B, 196) show mostly seen pixels."""
        share = F.avg_pool2d(seen[:, None].float(), self.tower.patch_embed.patch_size)
        return (share > 0.5).flatten(1)

    def _tokens(self, x: Tensor, kept: Tensor | None = None) -> dict[int, Tensor]:
        """Class and patch tokens (B, 197, D), float32, by the number of their block. No token
        attends to a patch that is not kept (B, 196).
        """
        mask = None if kept is None else F.pad(kept, (1, 0), value=True)[:, None, None]
        numbers = sorted({*LEVELS, *GENERATED_LEVELS})
        found = self.tower.forward_intermediates(
            x,
            indices=[number - 1 for number in numbers],
            return_prefix_tokens=True,
            output_fmt="NLC",
            intermediates_only=True,
            attn_mask=mask,
        )
        return {
            number: torch.cat([prefix, patches], dim=1).float()
            for number, (patches, prefix) in zip(numbers, found, strict=True)
        }

    def features(self, images: Tensor) -> Tensor:
        """What the heads fitted afterwards read of (B, 3, 224, 224) images."""
        x = ((images - self.mean) / self.std).to(self.tower.patch_embed.proj.weight.dtype)
        return generated_features(self._tokens(x))

    def in_precision(self, dtype: torch.dtype) -> ClipExpert:
        """The tower's matrices in `dtype`, norms and heads in float32, which they need."""
        self.tower.to(dtype)
        for module in self.tower.modules():
            if isinstance(module, nn.LayerNorm):
                module.float()
        return self


def mean_patch(tokens: Tensor, kept: Tensor | None = None) -> Tensor:
    """Mean (B, D) of the patch tokens of (B, 197, D), or of those that are kept (B, 196)."""
    if kept is None:
        return tokens[:, 1:].mean(1)
    weights = kept[..., None].float()
    return (tokens[:, 1:] * weights).sum(1) / weights.sum(1)


def generated_features(tokens: Mapping[int, Tensor], kept: Tensor | None = None) -> Tensor:
    """Class token and mean patch of each of GENERATED_LEVELS, normalised: (B, 2 D levels)."""
    parts = []
    for level in GENERATED_LEVELS:
        normed = F.layer_norm(tokens[level], tokens[level].shape[-1:])
        parts += [normed[:, 0], mean_patch(normed, kept)]
    return torch.cat(parts, dim=1)


def drawn_features(of_levels: Features) -> Features:
    """The part of `generated_features` (B, ...) that the third head reads: the lowest level's.

    Of single blocks the eighth tells styles best that it never saw.
    """
    return of_levels[:, : of_levels.shape[1] // len(GENERATED_LEVELS)]


def decode_base(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tower's float32 state from how it is stored.

    A matrix is int8 under `name.weight` with a scale per output channel under `name.scale`
    (weight = int8 * scale); everything else is a float. CLIP's projection into the space of texts
    ("head") is left out: nothing here reads it.
    """
    state = {}
    for name, tensor in stored.items():
        if name.endswith(".scale") or name.startswith("head."):
            continue
        value = tensor.float()
        if tensor.dtype == torch.int8:
            value = value * stored[name.removesuffix("weight") + "scale"].float()[:, None]
        state[name] = value
    return state


def encode_base(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a tower's state as it is stored: matrices of blocks in int8 per output channel."""
    stored = {}
    for name, value in state.items():
        if value.ndim == 2 and name.startswith("blocks."):
            scale = value.float().abs().amax(1).clamp(min=1e-12) / 127
            stored[name] = (value.float() / scale[:, None]).round().to(torch.int8)
            stored[name.removesuffix("weight") + "scale"] = scale
        else:
            stored[name] = value.half()
    return stored


def fold_quick_gelu(tower: nn.Module) -> None:
    """Turn QuickGELU into SiLU, in place: silu(1.702 x) / 1.702 is the same and one pass cheaper.

    The factor goes into the layers before and after.
    """
    for block in tower.blocks:  # type: ignore[union-attr]
        with torch.no_grad():
            block.mlp.fc1.weight.mul_(QUICK_GELU)
            block.mlp.fc1.bias.mul_(QUICK_GELU)
            block.mlp.fc2.weight.div_(QUICK_GELU)
        block.mlp.act = nn.SiLU(inplace=True)


def tuned_state(expert: ClipExpert) -> dict[str, Tensor]:
    """What is trained and ships in a file of its own: the tower's layer norms and all heads."""
    return {
        name: value.detach().clone().contiguous()
        for name, value in expert.state_dict().items()
        if not name.startswith("tower.") or "norm" in name
    }
