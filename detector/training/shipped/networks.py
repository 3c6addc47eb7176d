"""Networks to train, and what is put together of trained ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from detector.errors import WeightsError
from detector.nets.backbones import load_weights, read_tensors
from detector.nets.clip import ClipExpert, decode_base, fold_quick_gelu
from detector.nets.network import DeepfakeNetwork, NetworkConfig
from detector.training.checkpoints import widened
from detector.weights import bf16_pays

AVERAGED = "ema.safetensors"  # a run's averaged weights, in its folder
DENOISER = "denoiser.safetensors"


def is_whole(path: Path | None) -> bool:
    """Whether a weights file holds the whole network (a finished run's) and not a backbone
    alone.
    """
    return path is not None and any(key.startswith("embedder.") for key in read_tensors(path))


def new_network(start: Path | None, **options: Any) -> DeepfakeNetwork:
    """Return the default network without a denoiser: its RGB stream from a backbone's file, or all
    of it from a run's. Raises WeightsError.
    """
    net = DeepfakeNetwork(NetworkConfig(embedder_options=options, denoiser_widths=()))
    if start is None:
        return net
    if is_whole(start):
        load_weights(net, start, "the network")
    else:
        load_weights(net.embedder.rgb.net, start, "the backbone")  # type: ignore[union-attr, arg-type]
    return net


def new_clip(
    base: Sequence[Path] = (), start: Path | None = None, tower: str | None = None
) -> ClipExpert:
    """Return the network to tune: its tower from files, as stored or in floats, or else through
    timm; heads that answer 0 at first, or what an earlier run tuned. Raises WeightsError.
    """
    expert = ClipExpert(pretrained=not base, tower=tower)
    for head in (expert.manipulated, expert.generated):
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    try:
        if base:
            stored = {k: v for path in base for k, v in load_file(path).items()}
            expert.tower.load_state_dict(decode_base(stored))
        if start is not None:
            unknown = expert.load_state_dict(load_file(start), strict=False).unexpected_keys
            if unknown:
                raise WeightsError(f"{start.name} does not fit CLIP's heads and norms.")
    except (RuntimeError, KeyError, OSError, SafetensorError) as err:
        raise WeightsError("The weights given for CLIP do not fit it.") from err
    fold_quick_gelu(expert.tower)
    expert.requires_grad_(False)
    for name, parameter in expert.named_parameters():
        parameter.requires_grad_(is_tuned(name))
    return expert


def is_tuned(name: str) -> bool:
    """Whether a parameter is learnt with the others: heads and norms, but for the norm after the
    last block, which nothing reads, and the heads that are fitted afterwards alone.
    """
    own = not name.startswith(("tower.", "drawn.", "manipulated_upper."))
    return own or ("norm" in name and not name.startswith("tower.norm."))


def learning_device() -> torch.device:
    """Return a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def place(expert: ClipExpert) -> torch.device:
    """Move the network to where it learns, and return that device: on a GPU everything stays in
    float32, for autocast; on a CPU the tower is in bf16 where that pays.
    """
    device = learning_device()
    if device.type == "cpu":
        if bf16_pays():
            expert.in_precision(torch.bfloat16)
        for block in expert.tower.blocks:  # type: ignore[union-attr]
            # measured, 16 crops in bf16: scaled_dot_product_attention's backward takes 154 ms on a
            # CPU, that of the plain matrix products 50 ms
            block.attn.fused_attn = False
    expert.to(device)
    return device


def assemble(
    runs: Sequence[Path], denoiser: Path | None, shares: Sequence[float] | None = None
) -> DeepfakeNetwork:
    """Return the mean of the averaged weights of runs from one start (folders, or files of
    weights), with a run's denoiser.

    shares: how much each counts, alike when None. Along a line of training, or between runs from
    one start, such a mean is often better than any of its parts (Izmailov et al. 2018, arXiv
    1803.05407; Wortsman et al. 2022, arXiv 2203.05482). Raises ValueError for another number of
    shares than of runs.
    """
    widths = NetworkConfig().denoiser_widths if denoiser is not None else ()
    network = DeepfakeNetwork(NetworkConfig(denoiser_widths=widths))
    shares = [1.0] * len(runs) if shares is None else shares
    weights = [load_file(run if run.is_file() else run / AVERAGED) for run in runs]
    parts = [(part, share / sum(shares)) for part, share in zip(weights, shares, strict=True)]
    state = {
        k: sum((part[k].float() * share for part, share in parts), torch.zeros(()))
        if v.is_floating_point()
        else v
        for k, v in weights[0].items()
        if not k.startswith("denoiser.")
    }
    if denoiser is not None:
        own = load_file(denoiser if denoiser.is_file() else denoiser / DENOISER)
        state |= {f"denoiser.{k.removeprefix('denoiser.')}": v for k, v in own.items()}
    network.load_state_dict(widened(state))
    return network
