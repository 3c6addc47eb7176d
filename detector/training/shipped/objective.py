"""The losses of a batch of pairs: of the two-stream network and of CLIP's heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from detector.nets.clip import ClipOutput
from detector.nets.network import DeepfakeNetwork

# a forgery that changes less counts for less: its label can only be learnt by heart
VISIBLE_LEVELS = 8.0
LEAST_WEIGHT = 0.1
MAP_LOSS = 2.0  # the mask teaches where to look long before the label does
MAP_POSITIVE = 2.0  # masks cover a fifth of the crop
# CLIP's
GENERATED_LOSS = 0.7
PATCH_LOSS = 1.5  # of the map of patches
AUTHENTIC_OF_GENERATED = 0.5  # weight of their partners in the question of what was put in
NOT_GENERATED = 0.15  # weight of all other crops in the question of what was generated


def visible_change(images: Tensor, masks: Tensor) -> Tensor:
    """Return the grey levels (P,) by which the halves of a pair differ where it is forged, beyond
    what they differ elsewhere.

    images (2P, 3, S, S) in [0, 1], authentic, forged, authentic, ...; masks (2P, S/8, S/8).
    Infinite where the mask is not known: genuine forgeries and their partners are different
    pictures.
    """
    change = 255 * (images[1::2] - images[0::2]).abs().mean(1, keepdim=True)
    change = F.interpolate(change, size=masks.shape[-2:], mode="area")[:, 0]
    inside = masks[1::2]
    outside = 1 - masks[1::2]

    def mean(share: Tensor) -> Tensor:
        return (change * share).sum((1, 2)) / share.sum((1, 2)).clamp(min=1e-3)

    elsewhere = torch.where(outside.mean((1, 2)) > 0.1, mean(outside), 0.0)
    return torch.nan_to_num((mean(inside) - elsewhere).clamp(min=0), nan=torch.inf)


def weights(images: Tensor, masks: Tensor) -> Tensor:
    """Return how much each crop counts (2P,): a forgery by how much of it can be seen, its
    authentic half half as much by that.
    """
    seen = (visible_change(images, masks) / VISIBLE_LEVELS).clamp(LEAST_WEIGHT, 1.0)
    return torch.stack([(1 + seen) / 2, seen], 1).flatten()


def pair_loss(net: DeepfakeNetwork, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch of pairs and the detached frame logits (2P,).

    images (2P, 3, S, S) in [0, 1], authentic, forged, authentic, ...; masks (2P, S/8, S/8), NaN
    where the mask of a genuine forgery is unknown. Forgeries of which next to nothing is left to
    see count for less, and the authentic halves of their pairs for somewhat less.
    """
    out = net.frames(images)
    labels = torch.arange(len(images), device=images.device).remainder(2).float()
    logit = out.logit.float()
    loss = weighted_bce(logit, labels, weights(images, masks))
    if out.map_logits is not None:
        known = ~torch.isnan(masks).flatten(1).any(1)
        loss = loss + MAP_LOSS * F.binary_cross_entropy_with_logits(
            out.map_logits.float()[known],
            masks[known],
            pos_weight=torch.tensor(MAP_POSITIVE, device=images.device),
        )
    return loss, logit.detach()


def clip_loss(out: ClipOutput, images: Tensor, masks: Tensor, generated: Tensor) -> Tensor:
    """Return the loss of a batch of pairs for both questions that CLIP's heads answer.

    images and masks as in `pair_loss`; generated (P,) bool: pairs whose forged half was generated
    as a whole. Whether anything was put into such a picture is not asked, of its authentic partner
    with half the weight, and its mask is no truth for the map.
    """
    forged = torch.arange(len(images), device=images.device).remainder(2).bool()
    of_generated = generated.repeat_interleave(2)
    weight = weights(images, masks)
    weight = torch.where(of_generated, AUTHENTIC_OF_GENERATED * weight, weight)
    put_in = weighted_bce(out.manipulated, forged, weight * ~(of_generated & forged))
    made = weighted_bce(
        out.generated, of_generated & forged, torch.where(of_generated, 1.0, NOT_GENERATED)
    )
    side = out.map_logits.shape[-1]
    patches = F.adaptive_avg_pool2d(masks[:, None], side)[:, 0]
    known = ~torch.isnan(patches).flatten(1).any(1) & ~of_generated
    if not known.any():
        return put_in + GENERATED_LOSS * made
    where = F.binary_cross_entropy_with_logits(
        out.map_logits.float()[known],
        patches[known],
        pos_weight=torch.tensor(MAP_POSITIVE, device=images.device),
    )
    return put_in + GENERATED_LOSS * made + PATCH_LOSS * where


def weighted_bce(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """Return the mean binary cross-entropy of (N,) logits by weight; 0 where nothing has any."""
    each = F.binary_cross_entropy_with_logits(logits.float(), labels.float(), reduction="none")
    return (weight * each).sum() / weight.sum().clamp(min=1e-6)
