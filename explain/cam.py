"""Heat maps by name, in logit units.

    evidence map            the network's own logits of MAP_SIZE x MAP_SIZE places
    Grad-CAM, rgb stream    and Grad-CAM++, LayerCAM, EigenCAM, each on "rgb stream", "noise
                            stream", "map head" or, where two views are averaged, "low-pass view"
    occlusion               how far the frame logit falls when a patch is taken away

The formulas of the CAM family are pytorch-grad-cam's, applied to raw activations and gradients: its
own pipeline rescales every map to [0, 1], and a map a thousand times weaker would look the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.degrade import jpeg
from explain.capture import Capture

# crops (N, S, S, 3) uint8 -> frame logits (N,) float32
Score = Callable[[NDArray[np.uint8]], NDArray[np.float32]]

EVIDENCE_MAP = "evidence map"
OCCLUSION = "occlusion"
# name -> its class in pytorch_grad_cam, which takes seconds to import
CAMS = {
    "Grad-CAM": "GradCAM",
    "Grad-CAM++": "GradCAMPlusPlus",
    "LayerCAM": "LayerCAM",
    "EigenCAM": "EigenCAM",
}
CLASS_BLIND = ("EigenCAM",)  # shows the layer's strongest pattern, whatever the logit is

# occluded patch: an eye's size in a crop of CROP_PX, overlapping a little (81 crops)
PATCH_PX, STRIDE_PX = 32, 24
# JPEG quality of the pixels that stand in for those taken away. This detector calls most other
# covers forged: blurring the *true* region of a forgery raised the logit (1.5 to 2.7, twelve
# forgeries), so did grey, noise and median filters. Heavy JPEG removes the traces of a forgery,
# leaves no foreign patch, and acts much like the authentic pixels.
COVER_QUALITY = 15


@dataclass(frozen=True, eq=False)
class Heat:
    """One explanation of one crop."""

    map: NDArray[np.float32]  # (S, S) at crop resolution; above 0 speaks for a forgery
    method: str
    target: str  # the number that is explained
    class_blind: bool = False  # the same whatever number is explained
    signed: bool = False  # values below 0 speak for an authentic face

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

    def inside_frame(self, inside: NDArray[np.bool_]) -> Heat:
        """The map without what lies outside the frame (S, S), which says nothing."""
        return replace(self, map=np.where(inside, self.map, np.float32(0)))


def captured_heat(capture: Capture, method: str, side: int) -> Heat:
    """The evidence map or one CAM of a captured crop, (side, side)."""
    if method == EVIDENCE_MAP:
        assert capture.evidence is not None  # no network without a map offers the method
        return evidence_heat(capture.evidence, side)
    return cam_heat(capture, method, side)


def evidence_heat(map_logits: NDArray[np.float32], side: int) -> Heat:
    """The network's own evidence map (h, w) at a crop's resolution (side, side)."""
    return Heat(
        upsampled(map_logits, side),
        EVIDENCE_MAP,
        "evidence logit of each place",
        signed=True,
    )


def cam_heat(capture: Capture, method: str, side: int) -> Heat:
    """One CAM; >= 0 after the ReLU of equation 2 of arXiv:1610.02391."""
    name, layer = method.split(", ", 1)
    raw = grad_cam(name, capture.activations[layer], capture.gradients[layer])
    blind = name in CLASS_BLIND
    target = "none (class-blind)" if blind else "frame logit"
    return Heat(upsampled(raw, side), method, target, class_blind=blind)


def grad_cam(
    name: str, activations: NDArray[np.float32], gradients: NDArray[np.float32]
) -> NDArray[np.float32]:
    """One of CAMS of a layer's activations and gradients (1, C, h, w): a map (h, w) >= 0."""
    import pytorch_grad_cam
    from torch import nn

    # a formula only: it hooks nothing
    formula = getattr(pytorch_grad_cam, CAMS[name])(nn.Conv2d(1, 1, 1), [])
    raw = formula.get_cam_image(None, None, None, activations, gradients, False)[0]
    if name in CLASS_BLIND and -raw.min() > raw.max():
        raw = -raw  # a principal component has no sign of its own: the larger side is up
    return np.maximum(raw.astype(np.float32), 0)


def upsampled(small: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Bilinear, cell k of n covering the crop's pixels [k, k + 1) * side / n."""
    return np.asarray(cv2.resize(small, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)


def compressed(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The crop heavily compressed, which stands in for a place that is taken away."""
    return jpeg(crop, COVER_QUALITY)


def occlusion(score: Score, crop: NDArray[np.uint8]) -> Heat:
    """Fall of the frame logit when a patch is compressed, mean over the patches on a pixel.

    After Zeiler & Fergus, ECCV 2014 (arXiv:1311.2901).
    """
    side = crop.shape[0]
    cover = compressed(crop)
    patches = list(_patches(side))
    pictures = np.repeat(crop[None], len(patches) + 1, axis=0)
    for picture, (rows, columns) in zip(pictures, patches, strict=False):
        picture[rows, columns] = cover[rows, columns]
    logits = score(pictures)
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
