"""Heat maps: a method's name in, one map in logit units out.

    evidence map            the network's own 28 x 28 logits
    Grad-CAM, rgb stream    and Grad-CAM++, LayerCAM, EigenCAM, each on "rgb stream", "noise
                            stream", "map head" or, where two views are averaged, "low-pass view"
    occlusion               how far the frame logit falls when a patch is taken away: the plain
                            control

The formulas of the CAM family are pytorch-grad-cam's, applied to raw activations and gradients: its
own pipeline rescales every map to [0, 1], and a map a thousand times weaker would look the same.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, LayerCAM
from pytorch_grad_cam.base_cam import BaseCAM
from torch import Tensor, nn

from detector.degrade import jpeg
from detector.nets.network import DeepfakeNetwork
from detector.pipeline import Detector
from detector.profile import Profile
from detector.types import Kind

EVIDENCE_MAP = "evidence map"
OCCLUSION = "occlusion"
CAMS: dict[str, type[BaseCAM]] = {
    "Grad-CAM": GradCAM,
    "Grad-CAM++": GradCAMPlusPlus,
    "LayerCAM": LayerCAM,
    "EigenCAM": EigenCAM,
}
CLASS_BLIND = ("EigenCAM",)  # shows the layer's strongest pattern, whatever the network makes of it
# Where to look: name -> the part of the network whose last feature map is explained.
LOW_PASS_VIEW = "low-pass view"  # the rgb stream's, where a profile averages two views
PARTS = {
    "rgb stream": "embedder.rgb",
    "noise stream": "embedder.noise",
    "map head": "embedder.map_head",
    LOW_PASS_VIEW: "embedder.rgb",
}
FALLBACK = "last convolution"  # of networks without these parts

# occluded patch: an eye's size in a 224 px crop, overlapping a little (81 crops)
PATCH_PX, STRIDE_PX = 32, 24
# What stands in for pixels that are taken away. To this detector nearly every cover is a forgery of
# its own: blurring the *true* region of a forgery raised the logit (1.5 to 2.7, twelve forgeries),
# so did grey, noise and median filters. Heavy JPEG wipes the traces, leaves no foreign patch, and
# acts much like putting the authentic pixels back.
COVER_QUALITY = 15


@dataclass(frozen=True, eq=False)
class Heat:
    """One explanation of one crop."""

    map: NDArray[np.float32]  # (S, S) at crop resolution; above 0 speaks for a forgery
    method: str
    target: str  # the number that is explained
    class_blind: bool = False  # does not know what is being explained
    signed: bool = False  # below 0 has a meaning, too: it speaks for an authentic face

    def __post_init__(self) -> None:
        if self.map.ndim != 2 or self.map.dtype != np.float32:
            raise ValueError(
                f"expected a (h, w) float32 map, but got {self.map.shape} {self.map.dtype}"
            )
        if not np.isfinite(self.map).all():
            raise ValueError(f"expected a finite map from {self.method}, but got NaN or infinity")

    @property
    def unit(self) -> str:
        return "activation" if self.class_blind else "logit"


@dataclass(frozen=True, eq=False)
class Capture:
    """One forward and backward pass over one crop.

    activations and gradients of the frame logit: layer name -> (1, C, h, w) float32; evidence (28,
    28) or None.
    """

    logit: float
    evidence: NDArray[np.float32] | None
    activations: dict[str, NDArray[np.float32]]
    gradients: dict[str, NDArray[np.float32]]

    def stream_shares(self) -> dict[str, float]:
        """How much of the logit runs through each stream, to first order: |sum of gradient x
        activation|.

        Sums to 1; empty for a network without the two streams.
        """
        names = [
            name
            for name in ("rgb stream", "noise stream", LOW_PASS_VIEW)
            if name in self.activations
        ]
        pull = [
            abs(float((self.activations[n] * self.gradients[n]).sum(dtype=np.float64)))
            for n in names
        ]
        total = sum(pull)
        return (
            {name: p / total for name, p in zip(names, pull, strict=True)}
            if len(names) > 1 and total > 0
            else {}
        )


def method_names(network: DeepfakeNetwork, profile: Profile) -> tuple[str, ...]:
    """Every method this network can be explained with as a profile reads it, the default first."""
    own = (EVIDENCE_MAP,) if getattr(network.embedder, "map_head", None) is not None else ()
    return (
        *own,
        *(f"{cam}, {layer}" for cam in CAMS for layer in layer_names(network, profile)),
        OCCLUSION,
    )


def layer_names(network: DeepfakeNetwork, profile: Profile) -> tuple[str, ...]:
    """The layers the CAM family can explain, in this network as a profile reads it."""
    there = {name for name, module in network.named_modules() if module is not None}
    one_view = not profile.low_pass_weight
    parts = (layer for layer, path in PARTS.items() if path in there)
    kept = tuple(layer for layer in parts if not (one_view and layer == LOW_PASS_VIEW))
    return kept or (FALLBACK,)


def heat(detector: Detector, kind: Kind, crop: NDArray[np.uint8], method: str) -> Heat:
    """One map of one (S, S, 3) uint8 crop. Raises ValueError for a method this network doesn't
    have.
    """
    return heats(detector, kind, crop, (method,))[method]


def heats(
    detector: Detector,
    kind: Kind,
    crop: NDArray[np.uint8],
    methods: Sequence[str],
    capture: Capture | None = None,
) -> dict[str, Heat]:
    """Several maps of one crop for the price of one forward and backward pass (and the occlusions,
    if asked for).
    """
    known = method_names(detector.network, detector.profiles[kind])
    for method in methods:
        if method not in known:
            raise ValueError(f"No explanation is called {method!r}; there are {', '.join(known)}.")
    found: dict[str, Heat] = {}
    for method in methods:
        if method == OCCLUSION:
            found[method] = _occlusion(detector, kind, crop)
            continue
        capture = capture or capture_pass(detector, kind, crop)
        side = crop.shape[0]
        found[method] = (
            evidence_heat(capture.evidence, side)
            if method == EVIDENCE_MAP and capture.evidence is not None
            else _cam(capture, method, side)
        )
    return found


def capture_pass(detector: Detector, kind: Kind, crop: NDArray[np.uint8]) -> Capture:
    """Activations and gradients of every layer, in float32, from a private copy of the network.

    Hooks on a shared network would mix two requests; the copy shares the weights but no hooks, so
    no lock is needed.
    """
    network, profile = private_copy(detector.network), detector.profiles[kind]
    kept: dict[str, Tensor] = {}

    def keep(module: nn.Module, names: Sequence[str]) -> None:
        views = iter(names)

        def hook(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            name = next(views, None)
            if name is None:  # the low-pass view of a part that has no map for it
                return output
            kept[name] = output
            # what follows may work in place, and must not change what was kept
            return output.clone()

        module.register_forward_hook(hook)

    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        torch.autocast(detector.device.type, enabled=False),
    ):
        layers = _layers(network, profile, detector)
        for module in dict.fromkeys(layers.values()):
            # one name for each view
            keep(module, [name for name, own in layers.items() if own is module])
        # The weights ask for no gradients, so the input has to.
        images = detector.tensor(crop[None]).clone().requires_grad_()
        out = network.frames(images, profile)
        logit = out.logit[0]  # the explained target: the one frame logit, upwards = forged
        gradients = torch.autograd.grad(logit, list(kept.values()), allow_unused=True)
    arrays = {name: _array(kept[name]) for name in layers}
    slopes = {
        n: np.zeros_like(arrays[n]) if g is None else _array(g)
        for n, g in zip(kept, gradients, strict=True)
    }
    evidence = None if out.map_logits is None else _array(out.map_logits[0])
    return Capture(float(logit.detach()), evidence, arrays, slopes)


def private_copy(network: DeepfakeNetwork) -> DeepfakeNetwork:
    """A copy of the module tree that shares every weight and buffer (some milliseconds, no
    memory).
    """
    shared = {id(t): t for t in chain(network.parameters(), network.buffers())}
    return copy.deepcopy(network, shared)  # type: ignore[arg-type]


def _array(tensor: Tensor) -> NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()


def _layers(network: DeepfakeNetwork, profile: Profile, detector: Detector) -> dict[str, nn.Module]:
    """Layer name -> module, found by watching a forward pass: any backbone of any depth will do.

    The layer of a part is the last module in it whose output is a feature map (4-D, several
    channels); of a network without those parts, the last convolution that gives one.
    """
    side = getattr(network.embedder, "input_px", 224)
    ran: list[str] = []
    handles = []
    for path, module in network.named_modules():

        def note(module: nn.Module, inputs: object, output: object, path: str = path) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and output.shape[1] > 1:
                ran.append(path)

        handles.append(module.register_forward_hook(note))
    with torch.no_grad():
        network.frames(torch.zeros(1, 3, side, side, device=detector.device), profile)
    for handle in handles:
        handle.remove()
    found = {}
    for name in layer_names(network, profile):
        prefix = PARTS.get(name)
        if prefix is not None:
            fitting = [path for path in ran if path.startswith(prefix + ".")]
        else:
            fitting = [path for path in ran if isinstance(network.get_submodule(path), nn.Conv2d)]
        if not fitting:
            raise ValueError(f"This network has no feature map to explain in its {name}.")
        found[name] = network.get_submodule(fitting[-1])
    return found


def evidence_heat(map_logits: NDArray[np.float32], side: int) -> Heat:
    """The network's own evidence map (h, w) at a crop's resolution (side, side)."""
    return Heat(
        _upsampled(map_logits, side),
        EVIDENCE_MAP,
        "evidence logit of each place",
        signed=True,
    )


def _cam(capture: Capture, method: str, side: int) -> Heat:
    """One CAM; >= 0 after the ReLU of equation 2 of arXiv:1610.02391."""
    cam_name, layer = method.split(", ", 1)
    activations, gradients = capture.activations[layer], capture.gradients[layer]
    formula = CAMS[cam_name](nn.Conv2d(1, 1, 1), [])  # a formula only: it hooks nothing
    raw = formula.get_cam_image(None, None, None, activations, gradients, False)[0].astype(
        np.float32
    )
    blind = cam_name in CLASS_BLIND
    if blind and -raw.min() > raw.max():
        raw = -raw  # a principal component has no sign of its own: the larger side is up
    target = "none (class-blind)" if blind else "frame logit"
    return Heat(_upsampled(np.maximum(raw, 0), side), method, target, class_blind=blind)


def _upsampled(small: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Bilinear, cell k of n covering the crop's pixels [k, k + 1) * side / n."""
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def wiped(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The crop without the traces a detector reads: what stands in for a place that is taken
    away.
    """
    return jpeg(crop, COVER_QUALITY)


def _occlusion(detector: Detector, kind: Kind, crop: NDArray[np.uint8]) -> Heat:
    """Fall of the frame logit when a patch is wiped, mean over the patches on a pixel (Zeiler &
    Fergus, 2014).
    """
    side = crop.shape[0]
    cover = wiped(crop)
    patches = list(_patches(side))
    pictures = np.repeat(crop[None], len(patches) + 1, axis=0)
    for picture, (rows, columns) in zip(pictures, patches, strict=False):
        picture[rows, columns] = cover[rows, columns]
    logits = detector.predict(pictures, kind=kind).logits
    total, times = np.zeros((side, side)), np.zeros((side, side))
    for logit, (rows, columns) in zip(logits, patches, strict=False):
        total[rows, columns] += logits[-1] - logit  # the last picture is the whole crop
        times[rows, columns] += 1
    return Heat(
        (total / times).astype(np.float32), OCCLUSION, "fall of the frame logit", signed=True
    )


def _patches(side: int) -> Iterator[tuple[slice, slice]]:
    starts = range(0, max(side - PATCH_PX, 0) + STRIDE_PX, STRIDE_PX)
    for top in starts:
        for left in starts:
            yield slice(top, top + PATCH_PX), slice(left, left + PATCH_PX)
