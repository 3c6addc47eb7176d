"""Maps of the second network, CLIP's image tower: what its two logits rest on.

evidence map, CLIP          its own logits of 14 x 14 places
Grad-CAM, CLIP manipulated  after Selvaraju et al., ICCV 2017 (arXiv:1610.02391), of the first
Grad-CAM, CLIP generated    and second logit, at the lowest block whose tokens the logit reads
attention rollout, CLIP     what the class token attends to, through all blocks (Abnar &
                            Zuidema, ACL 2020, arXiv:2005.00928)
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.nets.clip import GENERATED_LEVELS, LEVELS, ClipExpert
from explain.cam import Heat, grad_cam, upsampled
from explain.capture import as_array, private_copy

CLIP_EVIDENCE = "evidence map, CLIP"
CAM_MANIPULATED, CAM_GENERATED = "Grad-CAM, CLIP manipulated", "Grad-CAM, CLIP generated"
ROLLOUT = "attention rollout, CLIP"
CLIP_METHODS = (CLIP_EVIDENCE, CAM_MANIPULATED, CAM_GENERATED, ROLLOUT)
LOWEST = (LEVELS[0], GENERATED_LEVELS[0])  # blocks, counted from 1, that all evidence goes through


@dataclass(frozen=True, eq=False)
class ClipCapture:
    """One forward and two backward passes over one crop; the grid of patches is (g, g)."""

    map_logits: NDArray[np.float32]  # (g, g)
    activations: tuple[NDArray[np.float32], ...]  # (1, D, g, g) of each of LOWEST
    gradients: tuple[NDArray[np.float32], ...]  # of the question's own logit; the same shapes
    rollout: NDArray[np.float32]  # (g, g), sums to the share that patches have


class ClipMaps:
    """A private copy of the second network with hooks on it. Safe to share between threads."""

    def __init__(self, expert: ClipExpert) -> None:
        """The copy shares every weight and costs no memory."""
        from pytorch_grad_cam.activations_and_gradients import ActivationsAndGradients

        self.expert = expert
        private = private_copy(expert)
        blocks = private.tower.blocks
        targets = [blocks[level - 1] for level in LOWEST]
        self._hooks = ActivationsAndGradients(private, targets, patches_to_grid)
        self._heads = int(blocks[0].attn.num_heads)
        self._projected: list[Tensor] = []  # of the pass that is under way
        for block in blocks:
            block.attn.qkv.register_forward_hook(self._keep)
        self._one_pass = threading.Lock()

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> None:
        self._projected.append(output.detach())

    def capture(self, image: Tensor) -> ClipCapture:
        """What the maps are drawn from, for one crop (1, 3, 224, 224) in [0, 1]."""
        with (
            self._one_pass,
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(image.device.type, enabled=False),
        ):
            try:
                out = self._hooks(image.clone().contiguous().requires_grad_())
                out.manipulated.sum().backward(retain_graph=True)
                manipulated = as_array(self._hooks.gradients[0])
                self._hooks.gradients = []
                out.generated.sum().backward()
                generated = as_array(self._hooks.gradients[1])
                activations = tuple(as_array(kept) for kept in self._hooks.activations)
                rollout = attention_rollout(self._projected, self._heads)
            finally:
                self._hooks.clear()
                self._projected.clear()
        return ClipCapture(
            as_array(out.map_logits[0]), activations, (manipulated, generated), as_array(rollout)
        )


def clip_heat(capture: ClipCapture, method: str, side: int) -> Heat:
    """One of CLIP_METHODS at a crop's resolution (side, side)."""
    if method == CLIP_EVIDENCE:
        target = "CLIP's evidence logit of each place"
        return Heat(upsampled(capture.map_logits, side), method, target, signed=True)
    if method == ROLLOUT:
        target = "none (class-blind)"
        return Heat(upsampled(capture.rollout, side), method, target, class_blind=True)
    which = (CAM_MANIPULATED, CAM_GENERATED).index(method)
    raw = grad_cam("Grad-CAM", capture.activations[which], capture.gradients[which])
    question = ("a face that was put in", "a picture generated as a whole")[which]
    return Heat(upsampled(raw, side), method, f"CLIP's logit of {question}")


def patches_to_grid(tokens: Tensor) -> Tensor:
    """Tokens (B, 1 + g * g, D), class token first -> (B, D, g, g); a CAM's reshape_transform."""
    side = math.isqrt(tokens.shape[1] - 1)
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (side, side))


def attention_rollout(projected: list[Tensor], heads: int) -> Tensor:
    """The class token's attention to (g, g) patches through all blocks.

    projected: per block the queries, keys and values (1, N, 3 D) of its attention. The residual
    path counts half, heads are averaged (equation 1 of arXiv:2005.00928).
    """
    count = projected[0].shape[1]
    identity = torch.eye(count, device=projected[0].device)
    mixed = identity
    for qkv in projected:
        queries, keys, _ = qkv[0].float().unflatten(1, (3, heads, -1)).permute(1, 2, 0, 3)
        weights = (queries @ keys.transpose(1, 2) / math.sqrt(queries.shape[-1])).softmax(-1)
        mixed = (weights.mean(0) + identity) / 2 @ mixed
    side = math.isqrt(count - 1)
    return mixed[0, 1:].unflatten(0, (side, side))
