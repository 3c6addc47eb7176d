"""Activations and gradients of a network's layers, taken from a private copy of it.

Hooks on a shared network would mix two requests. The copy shares every weight and buffer, so it
costs some milliseconds and no memory, and its hooks are seen by nobody else.
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from detector.profile import Profile
from detector.types import CROP_PX

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from detector.nets.network import DeepfakeNetwork

Network = TypeVar("Network", bound="nn.Module")

RGB_STREAM = "rgb stream"
NOISE_STREAM = "noise stream"
MAP_HEAD = "map head"
LOW_PASS_VIEW = "low-pass view"  # the rgb stream's, where a profile averages two views
# layer name -> the part of the network whose last feature map is explained
PARTS = {
    RGB_STREAM: "embedder.rgb",
    NOISE_STREAM: "embedder.noise",
    MAP_HEAD: "embedder.map_head",
    LOW_PASS_VIEW: "embedder.rgb",
}
FALLBACK = "last convolution"  # of networks without these parts


@dataclass(frozen=True, eq=False)
class Capture:
    """One forward and backward pass over one crop."""

    logit: float  # the frame logit, in float32
    evidence: NDArray[np.float32] | None  # (MAP_SIZE, MAP_SIZE) logits; None without a map head
    activations: dict[str, NDArray[np.float32]]  # layer name -> (1, C, h, w)
    gradients: dict[str, NDArray[np.float32]]  # of the frame logit; the same shapes

    def stream_shares(self) -> dict[str, float]:
        """Each stream's share of the logit, to first order: |sum of gradient x activation|.

        Sums to 1; empty for a network without the two streams.
        """
        streams = (RGB_STREAM, NOISE_STREAM, LOW_PASS_VIEW)
        names = [name for name in streams if name in self.activations]
        pull = [
            abs(float((self.activations[n] * self.gradients[n]).sum(dtype=np.float64)))
            for n in names
        ]
        total = sum(pull)
        if len(names) < 2 or total == 0:
            return {}
        return {name: p / total for name, p in zip(names, pull, strict=True)}


def layer_names(network: DeepfakeNetwork, profile: Profile) -> tuple[str, ...]:
    """The layers that can be explained, in this network as a profile reads it."""
    there = {name for name, module in network.named_modules() if module is not None}
    names = [layer for layer, path in PARTS.items() if path in there]
    if not profile.low_pass_weight:
        names = [layer for layer in names if layer != LOW_PASS_VIEW]
    return tuple(names) or (FALLBACK,)


def private_copy(network: Network) -> Network:
    """A copy of the module tree that shares every weight and buffer."""
    shared = {id(t): t for t in chain(network.parameters(), network.buffers())}
    return copy.deepcopy(network, shared)  # type: ignore[arg-type]


class HookedNetwork:
    """A private copy of a network that keeps what its layers give. Safe to share between threads.

    The layers are found once, by watching one forward pass.
    """

    def __init__(self, network: DeepfakeNetwork, profile: Profile, device: torch.device) -> None:
        """Raises ValueError for a network that has no feature map in one of its parts."""
        self.device = device
        self._network = private_copy(network)
        self._profile = profile
        self._layers = _find_layers(self._network, profile, device)
        self._kept: dict[str, Tensor] = {}  # of the pass that is under way
        # module -> names of its outputs still to come in this pass: one for each view
        self._names_to_come: dict[nn.Module, Iterator[str]] = {}
        self._one_pass = threading.Lock()
        for module in set(self._layers.values()):
            module.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        name = next(self._names_to_come[module], None)
        if name is None:  # the low-pass view of a part that is explained at full detail only
            return output
        self._kept[name] = output
        # what follows may work in place, and must not change what was kept
        return output.clone()

    def capture(self, image: Tensor) -> Capture:
        """Activations and gradients of every layer for one crop (1, 3, S, S), in float32."""
        import torch

        with (
            self._one_pass,
            torch.inference_mode(False),
            torch.enable_grad(),
            torch.autocast(self.device.type, enabled=False),
        ):
            self._names_to_come = {
                module: iter([name for name, own in self._layers.items() if own is module])
                for module in self._layers.values()
            }
            try:
                # the weights ask for no gradients, so the input has to
                out = self._network.frames(image.clone().requires_grad_(), self._profile)
                logit = out.logit[0]
                kept = dict(self._kept)
            finally:
                self._kept.clear()
            gradients = torch.autograd.grad(logit, list(kept.values()), allow_unused=True)
        activations = {name: as_array(kept[name]) for name in self._layers}
        slopes = {
            name: np.zeros_like(activations[name]) if gradient is None else as_array(gradient)
            for name, gradient in zip(kept, gradients, strict=True)
        }
        evidence = None if out.map_logits is None else as_array(out.map_logits[0])
        return Capture(float(logit.detach()), evidence, activations, slopes)


def as_array(tensor: Tensor) -> NDArray[np.float32]:
    """A tensor of any precision and device, without its gradients."""
    return tensor.detach().float().cpu().numpy()


def _find_layers(
    network: DeepfakeNetwork, profile: Profile, device: torch.device
) -> dict[str, nn.Module]:
    """Layer name -> module, found by watching a forward pass: any backbone of any depth will do.

    The layer of a part is the last module in it whose output is a feature map (4-D, several
    channels); of a network without those parts, the last convolution that gives one.
    """
    from torch import nn

    ran = _feature_maps(network, profile, device)
    found = {}
    for name in layer_names(network, profile):
        part = PARTS.get(name)
        if part is not None:
            fitting = [path for path in ran if path.startswith(f"{part}.")]
        else:
            fitting = [path for path in ran if isinstance(network.get_submodule(path), nn.Conv2d)]
        if not fitting:
            raise ValueError(f"This network has no feature map to explain in its {name}.")
        found[name] = network.get_submodule(fitting[-1])
    return found


def _feature_maps(network: DeepfakeNetwork, profile: Profile, device: torch.device) -> list[str]:
    """Paths of the modules that give a feature map, in the order they run in."""
    import torch

    ran: list[str] = []
    handles = []
    for path, module in network.named_modules():

        def note(module: nn.Module, inputs: object, output: object, path: str = path) -> None:
            if isinstance(output, torch.Tensor) and output.ndim == 4 and output.shape[1] > 1:
                ran.append(path)

        handles.append(module.register_forward_hook(note))
    side = getattr(network.embedder, "input_px", CROP_PX)
    with torch.no_grad():
        network.frames(torch.zeros(1, 3, side, side, device=device), profile)
    for handle in handles:
        handle.remove()
    return ran
