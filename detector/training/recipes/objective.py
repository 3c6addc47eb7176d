"""What a stage of a recipe learns: its loss, the parts that are free, the optimizer."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from detector.errors import DataError
from detector.nets.network import DeepfakeNetwork
from detector.training.recipes.catalogue import ALL, DENOISER, HEADS, Stage


class Objective(nn.Module):
    """A stage's loss over a batch. The loop wraps this, not the network, so that every process runs
    the same code.
    """

    def __init__(self, network: DeepfakeNetwork, stage: Stage) -> None:
        super().__init__()
        self.network = network
        self.stage = stage

    def forward(
        self, images: Tensor, clean: Tensor, mask: Tensor, label: Tensor
    ) -> tuple[Tensor, Tensor]:
        """images, clean (B, T, 3, S, S) uint8; mask (B, T); label (B,) -> loss, logits (B,) of the
        whole clips.
        """
        # Padding is never computed; convolutions are faster with the channels last.
        seen = (images[mask].float() / 255).contiguous(memory_format=torch.channels_last)
        loss = seen.new_zeros(())
        logit = label.new_zeros(len(label))
        if self.stage.trains != DENOISER:
            out = self.network.frames(seen)
            frames = torch.zeros(mask.shape, device=mask.device).masked_scatter(
                mask, out.logit.float()
            )
            track = torch.zeros(*mask.shape, out.embedding.shape[1], device=mask.device)
            track[mask] = out.embedding.float()
            logit = self.network.video(track, frames, mask).float()
            loss = F.binary_cross_entropy_with_logits(logit, label)
            if any(True for _ in self.network.temporal.parameters()):
                # The frame head learns beside a learnt temporal head, for the timeline and for heat
                # maps.
                each = label[:, None].expand(mask.shape)[mask]
                loss = loss + F.binary_cross_entropy_with_logits(out.logit.float(), each)
        if self.stage.reconstruction:
            rebuilt = self.network.denoiser(seen)  # type: ignore[misc]
            loss = loss + self.stage.reconstruction * F.mse_loss(
                rebuilt.float(), clean[mask].float() / 255
            )
        return loss, logit


def free(network: DeepfakeNetwork, stage: Stage) -> list[nn.Parameter]:
    """Let a stage's parts learn and hold the rest still; return what learns.

    Raises DataError when the stage names a block the embedder doesn't have.
    """
    network.requires_grad_(False)
    if stage.reconstruction:
        network.denoiser.requires_grad_(True)  # type: ignore[union-attr]
    if stage.trains != DENOISER:
        network.temporal.requires_grad_(True)
        network.frame_head.requires_grad_(True)
    if stage.trains == ALL:
        network.embedder.requires_grad_(True)
    elif stage.trains not in (DENOISER, HEADS):
        reached = False
        for name, parameter in network.embedder.named_parameters():
            reached = reached or name.startswith(f"{stage.trains}.")
            parameter.requires_grad_(reached)
        if not reached:
            raise DataError(f"The embedder has no block called {stage.trains!r} to train from.")
    return [p for p in network.parameters() if p.requires_grad]


def train_mode(network: DeepfakeNetwork) -> None:
    """Training mode for what learns; what is frozen keeps its batch statistics, too, and drops
    nothing.
    """
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(p.requires_grad for p in parameters):
            module.eval()


def make_optimizer(stage: Stage, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    options: dict[str, Any] = {"lr": stage.lr, "weight_decay": stage.weight_decay}
    if stage.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=stage.momentum, **options)
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "nadam": torch.optim.NAdam}
    return kinds[stage.optimizer](parameters, **options)
