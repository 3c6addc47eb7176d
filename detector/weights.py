"""Weights: manifest -> sha256 -> safetensors -> network. Nothing is unpickled anywhere."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from detector.errors import DeviceError, WeightsError
from detector.manifest import find_model, sha256_of
from detector.nets.clip import ClipExpert, decode_base, fold_quick_gelu, tuned_state
from detector.nets.embedder import TwoStream
from detector.nets.network import DeepfakeNetwork, GlobalBranch, NetworkConfig
from detector.profile import Profiles, profiles_from_dict
from detector.stopping import pause_to_look
from detector.types import ModelInfo

ALIGNED_BYTES = 64  # as torch allocates: elsewhere its kernels round otherwise


@dataclass(frozen=True)
class ClipFiles:
    """The files of the second network: its base (fetched through timm when empty), and what was
    tuned. Names and sums as in the manifest."""

    folder: Path
    base: tuple[tuple[str, str], ...]  # file name, sha256
    tuned: tuple[str, str]
    # a file for the network as it is used, which several processes map instead of each holding it
    mapped: Path | None = None

    @classmethod
    def from_entry(cls, folder: Path, stored: Mapping[str, Any]) -> ClipFiles:
        """Read a manifest's description. Raises WeightsError for what is none or is not there."""
        try:
            base = tuple((file["name"], file["sha256"]) for file in stored["base"])
            found = cls(folder, base, (stored["tuned"]["name"], stored["tuned"]["sha256"]))
        except (KeyError, TypeError) as err:
            raise WeightsError(
                "The manifest describes no second network that can be read."
            ) from err
        for name, _ in (*found.base, found.tuned):
            if not (folder / name).is_file():
                raise WeightsError(f"The weights file {name} is missing.")
        return found

    def load(self, device: torch.device) -> ClipExpert:
        """Return the network on a device, in bf16 where the processor has it. Raises WeightsError.

        On a GPU everything stays in float32, for autocast.
        """
        expert = ClipExpert(draw_weights=False) if self.base else ClipExpert(pretrained=True)
        state: dict[str, torch.Tensor] = {}
        for name, digest in self.base:
            state.update(read_verified(self.folder / name, digest))
        tuned = read_verified(self.folder / self.tuned[0], self.tuned[1])
        try:
            if state:
                expert.tower.load_state_dict(decode_base(state), assign=True)
                state.clear()
            own = {name: value.float() for name, value in tuned.items()}
            unknown = expert.load_state_dict(own, strict=False, assign=True).unexpected_keys
        except (RuntimeError, KeyError) as err:
            raise WeightsError("The weights of the second network do not fit it.") from err
        if unknown or set(tuned) != set(tuned_state(expert)):
            raise WeightsError("The weights of the second network do not fit it.")
        fold_quick_gelu(expert.tower)
        expert.eval().requires_grad_(False)
        if device.type == "cpu" and bf16_pays():
            expert.in_precision(torch.bfloat16)
        if device.type == "cpu" and self.mapped is not None:
            map_weights(expert, self.mapped)
        for block in expert.tower.blocks:  # a batch takes more than a second on a slow core
            block.register_forward_pre_hook(lambda *_: pause_to_look())
        return expert.to(device)


@dataclass(frozen=True, eq=False)
class LoadedModel:
    network: DeepfakeNetwork  # eval mode, no gradients on parameters
    info: ModelInfo
    profiles: Profiles
    entry: Mapping[str, Any]  # the manifest's entry, for the model card
    clip: ClipFiles | None = None  # where CLIP's weights lie; read when it is first asked


def load_model(model: str | Path | None = None) -> LoadedModel:
    """Load a model by its name in the shipped manifest, or from a folder with a manifest; None is
    the default.

    Raises WeightsError with one sentence when anything is missing, damaged or of another shape.
    """
    found = find_model(model)
    folder, name, entry = found
    state: dict[str, torch.Tensor] = {}
    for file in entry["files"]:
        state.update(read_verified(folder / file["name"], file["sha256"]))
    network = build_network(entry["network"])
    try:
        network.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
        )
    except RuntimeError as err:
        raise WeightsError(
            f"The weights of {name} do not fit the network its manifest describes."
        ) from err
    if isinstance(network.embedder, TwoStream):
        fold_batch_norm(network.embedder.eval())
    info = ModelInfo(name, found.sha256)
    profiles = read_profiles(entry.get("profiles", {}))
    clip = ClipFiles.from_entry(folder, entry["clip"]) if entry.get("clip") else None
    if clip is None and any(profile.fusion for profile in profiles.values()):
        raise WeightsError(f"The manifest of {name} weighs a second network that it does not name.")
    return LoadedModel(frozen(network), info, profiles, entry, clip)


def build_network(description: Mapping[str, Any]) -> DeepfakeNetwork:
    """The network a manifest describes. Raises WeightsError for a description that cannot be
    built.
    """
    try:
        options = dict(description)
        options["denoiser_widths"] = tuple(options.get("denoiser_widths", ()))
        if options.get("global_branch") is not None:
            options["global_branch"] = GlobalBranch(**options["global_branch"])
        # A manifest from elsewhere must not make other files be read or fetched.
        return DeepfakeNetwork(NetworkConfig(**options).without_pretrained())
    except (TypeError, ValueError, KeyError, AttributeError) as err:
        raise WeightsError(f"The manifest describes a network that cannot be built: {err}") from err


def read_profiles(stored: Mapping[str, Any]) -> Profiles:
    """The profiles a manifest holds. Raises WeightsError for what are none."""
    try:
        return profiles_from_dict(stored)
    except (TypeError, ValueError) as err:
        raise WeightsError(f"The manifest holds a profile that cannot be read: {err}") from err


def pick_device(name: str) -> torch.device:
    """auto, cpu or cuda -> torch.device. Raises DeviceError."""
    if name not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"The device must be auto, cpu or cuda, not {name!r}.")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise DeviceError("No CUDA device is available on this machine.")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


@lru_cache(maxsize=1)
def bf16_pays() -> bool:
    """Whether this CPU multiplies bf16 natively; elsewhere emulation makes it slower."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def frozen(network: DeepfakeNetwork) -> DeepfakeNetwork:
    """Evaluation mode, channels last, no gradients on parameters."""
    return network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fold_batch_norm(network: nn.Module) -> None:
    """Fold every batch norm that directly follows a convolution into it, in place.

    The answers stay the same and come 15-25% sooner. For networks in evaluation mode whose modules
    are defined in the order in which they run.
    """
    for parent in network.modules():
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            fused = fuse_conv_bn_eval(conv, norm)
            conv.weight = fused.weight
            conv.bias = fused.bias
            # timm's norm has the activation in it
            setattr(parent, name, getattr(norm, "act", nn.Identity()))


def map_weights(network: nn.Module, path: Path) -> None:
    """Let a network's weights lie in a file, which is written where it is not there yet: processes
    that map the same file hold them once.
    """
    state = network.state_dict()
    ends = list(
        accumulate(-(-value.nbytes // ALIGNED_BYTES) * ALIGNED_BYTES for value in state.values())
    )

    def parts(file: Path, write: bool) -> dict[str, torch.Tensor]:
        flat = torch.from_file(str(file), shared=write, size=ends[-1], dtype=torch.uint8)
        return {
            name: flat[start : start + value.nbytes].view(value.dtype).view(value.shape)
            for (name, value), start in zip(state.items(), [0, *ends], strict=False)
        }

    if not path.exists():
        own = path.with_name(f"{os.getpid()}-{path.name}")  # whole or not at all
        for name, part in parts(own, write=True).items():
            part.copy_(state[name])
        own.replace(path)
    network.load_state_dict(parts(path, write=False), assign=True)
    network.requires_grad_(False)


def read_verified(path: Path, sha256: str) -> dict[str, torch.Tensor]:
    """A safetensors file's tensors after its sum was checked. Raises WeightsError."""
    if not path.is_file():
        raise WeightsError(f"The weights file {path.name} is missing.")
    if sha256_of(path) != sha256:
        raise WeightsError(
            f"The weights file {path.name} is damaged: its sha256 is not the manifest's."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as err:
        raise WeightsError(f"The weights file {path.name} is not a safetensors file.") from err
