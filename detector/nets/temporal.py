"""Temporal heads: a track's frame embeddings and logits -> one video logit, padding always through
a mask.

`forward(embeddings (B, T, D), logits (B, T), mask (B, T) bool, True where there is a frame) ->
(B,)`. A still photo is a track of length 1. What stands in padded places cannot change the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over time of (B, T) or (B, T, D), of the places where mask (B, T) is True."""
    weight = mask.to(values.dtype)
    if values.ndim == 3:
        weight = weight.unsqueeze(-1)
    return (values.masked_fill(weight == 0, 0.0)).sum(1) / weight.sum(1).clamp(min=1)


class MeanHead(nn.Module):
    """The mean of the frame logits: no parameters, and the bar every learnt head has to clear."""

    def __init__(self, dim: int = 512) -> None:
        super().__init__()

    def forward(self, embeddings: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
        return masked_mean(logits, mask)


class RecurrentHead(nn.Module):
    """LSTM or GRU over the embeddings; the state at the last *real* frame goes to a linear layer or
    a small MLP.
    """

    def __init__(
        self,
        dim: int = 512,
        cell: str = "lstm",
        hidden: int | Sequence[int] = 256,
        layers: int = 1,
        dropout: float = 0.0,
        add_mean: bool = False,
        dense: Sequence[int] = (),
        dropout_before: float = 0.0,
        dropout_after: float = 0.0,
    ) -> None:
        """hidden: a state size, or one per recurrence where they differ (16, 8); layers, dropout:
        of each recurrence.

        dense: ReLU layers between the last state and the logit, with dropout before the first and
        after each. add_mean: answer with a correction to the mean of the frame logits instead of
        from nothing.
        """
        super().__init__()
        self.add_mean = add_mean
        kind = {"lstm": nn.LSTM, "gru": nn.GRU}[cell]
        sizes = (dim, hidden) if isinstance(hidden, int) else (dim, *hidden)
        rnns = [
            kind(a, b, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
            for a, b in pairwise(sizes)
        ]
        self.rnn = rnns[0]
        self.deeper = nn.ModuleList(rnns[1:])
        mlp: list[nn.Module] = [nn.Dropout(dropout_before)] if dropout_before else []
        for a, b in pairwise((sizes[-1], *dense)):
            mlp += [nn.Linear(a, b), nn.ReLU(), nn.Dropout(dropout_after)]
        last = nn.Linear(dense[-1] if dense else sizes[-1], 1)
        self.out = nn.Sequential(*mlp, last) if mlp else last

    def forward(self, embeddings: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
        lengths = mask.sum(1)
        packed = nn.utils.rnn.pack_padded_sequence(
            _left_aligned(embeddings, mask),
            lengths.clamp(min=1).cpu(),
            batch_first=True,
            enforce_sorted=False,
        )
        for rnn in (self.rnn, *self.deeper):
            packed = rnn(packed)[0]
        states, _ = nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        last = (lengths.clamp(min=1) - 1).view(-1, 1, 1).expand(-1, 1, states.shape[-1])
        video = self.out(states.gather(1, last).squeeze(1)).squeeze(-1)
        return video + masked_mean(logits, mask) if self.add_mean else video


class TransformerHead(nn.Module):
    """A small transformer over time with a class token: with a ViT per frame this is ViViT's
    factorised encoder.
    """

    def __init__(
        self,
        dim: int = 512,
        width: int = 128,
        heads: int = 4,
        layers: int = 2,
        max_frames: int = 128,
    ) -> None:
        super().__init__()
        self.inward = nn.Linear(dim, width)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.randn(1, max_frames, width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout=0.1, batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.out = nn.Linear(width, 1)

    def forward(self, embeddings: Tensor, logits: Tensor, mask: Tensor) -> Tensor:
        x = self.inward(_left_aligned(embeddings, mask)) + self.position[:, : embeddings.shape[1]]
        x = torch.cat([self.token.expand(len(x), -1, -1), x], dim=1)
        real = torch.arange(mask.shape[1], device=mask.device)[None] < mask.sum(1, keepdim=True)
        padded = torch.cat([torch.zeros_like(real[:, :1]), ~real], dim=1)
        return self.out(self.encoder(x, src_key_padding_mask=padded)[:, 0]).squeeze(-1)


def _left_aligned(embeddings: Tensor, mask: Tensor) -> Tensor:
    """Move the real frames to the front, in order, and zero the rest, wherever the padding
    stood.
    """
    order = torch.argsort((~mask).to(torch.int8), dim=1, stable=True)
    moved = embeddings.gather(1, order.unsqueeze(-1).expand_as(embeddings))
    real = torch.arange(mask.shape[1], device=mask.device)[None] < mask.sum(1, keepdim=True)
    return moved * real.unsqueeze(-1)


TEMPORAL_HEADS: dict[str, Callable[..., nn.Module]] = {
    "mean": MeanHead,
    "lstm": RecurrentHead,
    "gru": lambda dim=512, **options: RecurrentHead(dim, cell="gru", **options),
    "transformer": TransformerHead,
}


def build_temporal(name: str, dim: int, **options: object) -> nn.Module:
    """Return the temporal head registered under a name. Raises ValueError for a name that is not
    there.
    """
    if name not in TEMPORAL_HEADS:
        raise ValueError(
            f"No temporal head is called {name!r}; there are {', '.join(sorted(TEMPORAL_HEADS))}."
        )
    return TEMPORAL_HEADS[name](dim=dim, **options)
