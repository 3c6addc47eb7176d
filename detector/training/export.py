"""From a trained network to a model folder: weights in safetensors, and the manifest."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from detector.manifest import sha256_of
from detector.nets.network import DeepfakeNetwork
from detector.training.checkpoints import half_precision, save_weights, state_copy


def write_model(
    network: DeepfakeNetwork, name: str, out: Path, facts: dict[str, Any], fp16: bool = True
) -> None:
    """Weights (detector and denoiser apart) and the manifest entry of one model; fp16=False keeps
    every bit.
    """
    out.mkdir(parents=True, exist_ok=True)
    state = half_precision(network) if fp16 else state_copy(network)
    parts = {name: {k: v for k, v in state.items() if not k.startswith("denoiser.")}}
    parts[f"{name}-denoiser"] = {k: v for k, v in state.items() if k.startswith("denoiser.")}
    files = []
    for part, tensors in parts.items():
        if tensors:
            path = out / f"{part}.safetensors"
            save_weights(tensors, path)
            files.append({"name": path.name, "sha256": sha256_of(path)})
    manifest_path = out / "manifest.json"
    manifest: dict[str, Any] = (
        json.loads(manifest_path.read_text())
        if manifest_path.is_file()
        else {"default": name, "models": {}}
    )
    manifest["models"][name] = {
        "files": files,
        "network": asdict(network.config.without_pretrained()),
        **_input_of(network),
        "classes": ["authentic", "forged"],
        **facts,
    }
    manifest_path.write_text(json.dumps(manifest, indent=1) + "\n")


def _input_of(network: DeepfakeNetwork) -> dict[str, Any]:
    """What the embedder makes of a crop by itself, for the reader of the manifest."""

    def three(name: str, otherwise: float) -> list[float]:
        stored = getattr(network.embedder, name, None)
        return (
            [otherwise] * 3 if stored is None else [round(v, 6) for v in stored.flatten().tolist()]
        )

    return {
        "input_px": network.embedder.input_px,
        "mean": three("mean", 0.0),
        "std": three("std", 1.0),
    }
