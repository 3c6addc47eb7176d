"""The loss of a batch of pairs."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from detector.nets.network import DeepfakeNetwork

# a forgery that changes less counts for less: its label can only be learnt by heart
VISIBLE_LEVELS = 8.0
LEAST_WEIGHT = 0.1
MAP_LOSS = 2.0  # the mask teaches where to look long before the label does
MAP_POSITIVE = 2.0  # masks cover a fifth of the crop


def visible_change(images: Tensor, masks: Tensor) -> Tensor:
    """Return the grey levels (P,) by which the halves of a pair differ where it is forged, beyond
    what they differ elsewhere.

    images (2P, 3, S, S) in [0, 1], authentic, forged, authentic, ...; masks (2P, S/8, S/8).
    Infinite where the mask is not known: genuine forgeries and their partners are different
    pictures.
    """
    change = 255 * (images[1::2] - images[0::2]).abs().mean(1, keepdim=True)
    change = F.interpolate(change, size=masks.shape[-2:], mode="area")[:, 0]
    inside, outside = masks[1::2], 1 - masks[1::2]

    def mean(share: Tensor) -> Tensor:
        return (change * share).sum((1, 2)) / share.sum((1, 2)).clamp(min=1e-3)

    elsewhere = torch.where(outside.mean((1, 2)) > 0.1, mean(outside), 0.0)
    return torch.nan_to_num((mean(inside) - elsewhere).clamp(min=0), nan=torch.inf)


def pair_loss(net: DeepfakeNetwork, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch of pairs and the detached frame logits (2P,).

    images (2P, 3, S, S) in [0, 1], authentic, forged, authentic, ...; masks (2P, S/8, S/8), NaN
    where the mask of a genuine forgery is unknown. Forgeries of which next to nothing is left to
    see count for less, and the authentic halves of their pairs for somewhat less.
    """
    out = net.frames(images)
    labels = torch.arange(len(images), device=images.device).remainder(2).float()
    logit = out.logit.float()
    seen = (visible_change(images, masks) / VISIBLE_LEVELS).clamp(LEAST_WEIGHT, 1.0)
    weight = torch.stack([(1 + seen) / 2, seen], 1).flatten()
    each = F.binary_cross_entropy_with_logits(logit, labels, reduction="none")
    loss = (weight * each).sum() / weight.sum()
    if out.map_logits is not None:
        known = ~torch.isnan(masks).flatten(1).any(1)
        loss = loss + MAP_LOSS * F.binary_cross_entropy_with_logits(
            out.map_logits.float()[known],
            masks[known],
            pos_weight=torch.tensor(MAP_POSITIVE, device=images.device),
        )
    return loss, logit.detach()
