"""Files of a run, each written beside the old one and moved over it when whole.

A run that is killed never leaves half a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn


def save_state(state: Mapping[str, Any], path: Path) -> None:
    """Write what a run needs to go on."""
    unfinished = path.with_name(f"{path.name}.new")
    torch.save(dict(state), unfinished)
    unfinished.replace(path)


def load_state(path: Path) -> dict[str, Any] | None:
    """Return what `save_state` wrote, on the CPU; None where nothing was written yet."""
    if not path.is_file():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)


def save_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Write named tensors as safetensors."""
    unfinished = path.with_name(f"{path.name}.new")
    save_file(dict(weights), unfinished)
    unfinished.replace(path)


def state_copy(net: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a module's state, every bit of it, contiguous."""
    return {name: tensor.contiguous().clone() for name, tensor in net.state_dict().items()}


def half_precision(net: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a module's state in fp16, as it ships; integers stay integers."""
    return {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in state_copy(net).items()
    }


def widened(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return stored tensors with the floating-point ones in fp32."""
    return {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
    }
