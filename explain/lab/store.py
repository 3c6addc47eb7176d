"""Weights of the teaching models: weights/lessons.json names each file's sha256. Nothing is
unpickled.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from detector.errors import WeightsError
from detector.manifest import SHIPPED, sha256_of
from detector.weights import read_verified

SUMS = "lessons.json"


def load(name: str, folder: Path = SHIPPED) -> dict[str, torch.Tensor]:
    """A lesson's tensors as float32. Raises WeightsError where the file is missing, unlisted or
    damaged.
    """
    sums = _sums(folder)
    if name not in sums:
        raise WeightsError(f"The weights file {name} of a lesson is missing from this copy.")
    return {key: value.float() for key, value in read_verified(folder / name, sums[name]).items()}


def save(name: str, state: dict[str, torch.Tensor], folder: Path = SHIPPED) -> None:
    """Write a lesson's tensors in half precision and list the file. Raises OSError."""
    save_file(
        {key: value.detach().half().contiguous() for key, value in state.items()}, folder / name
    )
    sums = {**_sums(folder), name: sha256_of(folder / name)}
    (folder / SUMS).write_text(
        json.dumps(dict(sorted(sums.items())), indent=1) + "\n", encoding="utf-8"
    )


def _sums(folder: Path) -> dict[str, str]:
    path = folder / SUMS
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
