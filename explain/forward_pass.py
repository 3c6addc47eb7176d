"""One face's way through the networks: what every part gives, from one forward pass each.

Nothing is drawn that was not computed: the numbers at the end are those of the detector.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.decide import log_sharpness
from detector.nets.embedder import TwoStream
from detector.pipeline import Detector
from detector.types import FaceCrop, Kind
from explain.capture import as_array, private_copy
from explain.restore import noise_residual

Energy = NDArray[np.float32]  # (h, w): root mean square of a stage's features over its channels


@dataclass(frozen=True, eq=False)
class ClipAnswers:
    """What CLIP says of the crop."""

    map_logits: NDArray[np.float32]  # (14, 14), of its first question
    manipulated: float  # logits of both questions
    generated: float


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """What the parts of both networks give for one crop."""

    residual: NDArray[np.float32]  # (S, S, 3) grey levels
    rgb: Mapping[int, Energy]  # stride -> its features' energy; empty for other embedders
    noise: Mapping[int, Energy]
    embedding: NDArray[np.float32]  # (D,)
    evidence: NDArray[np.float32] | None  # (g, g) logits; None without a map head
    views: tuple[float, ...]  # the frame head's logit: at full detail and, if asked, low-pass
    logit: float  # of the two-stream network, after views and sharpness calibration
    clip: ClipAnswers | None
    fused: float  # of both networks; `logit` where there is one


@torch.inference_mode()
def forward_pass(detector: Detector, crop: FaceCrop, *, kind: Kind) -> ForwardPass:
    """Send a crop through the detector's networks as it judges files of a kind."""
    profile = detector.profiles[kind]
    network = private_copy(detector.network)
    embedder = network.embedder
    two = isinstance(embedder, TwoStream)
    views = _Kept(network.frame_head)
    stages = _Kept()
    blocks = _Kept()
    if isinstance(embedder, TwoStream):
        stages = _Kept(embedder.rgb.net)
        blocks = _Kept(*(embedder.noise.blocks if embedder.noise is not None else ()))
    side = crop.rgb.shape[0]
    out = network.frames(detector.tensor(crop.rgb[None]), profile)
    logit = float(out.logit[0])
    clip = None
    fused = logit
    if profile.fusion is not None:
        clip = _clip_answers(detector, crop)
        fused = float(
            profile.fusion.fuse(
                np.array([logit], np.float32),
                clip.manipulated,
                clip.generated,
                log_sharpness([crop.rgb]),
            )[0]
        )
    return ForwardPass(
        residual=noise_residual(crop.rgb),
        rgb=_energies(stages.first()[0], side) if two else {},
        noise=_energies(blocks.first(), side) if two else {},
        embedding=as_array(out.embedding[0]),
        evidence=None if out.map_logits is None else as_array(out.map_logits[0]),
        views=tuple(float(view[0]) for view in views.outputs),
        logit=logit,
        clip=clip,
        fused=fused,
    )


class _Kept:
    """The outputs of some modules, in the order they come."""

    def __init__(self, *modules: nn.Module) -> None:
        self.outputs: list = []
        self.count = len(modules)
        for module in modules:
            module.register_forward_hook(lambda module, inputs, output: self.outputs.append(output))

    def first(self) -> list:
        """One output of each: of the first view, where there are several."""
        return self.outputs[: self.count]


def _energies(features: Sequence[Tensor], side: int) -> dict[int, Energy]:
    """The features' energy by stride; `side` is the crop's."""
    return {
        side // feature.shape[-1]: as_array(feature[0].float().square().mean(0).sqrt())
        for feature in features
    }


def _clip_answers(detector: Detector, crop: FaceCrop) -> ClipAnswers:
    clip = detector.clip
    assert clip is not None  # a profile that fuses has a second network
    seen = None if crop.inside.all() else torch.from_numpy(crop.inside[None]).to(detector.device)
    out = clip(detector.tensor(crop.rgb[None]).contiguous(), seen)
    return ClipAnswers(
        as_array(out.map_logits[0]), float(out.manipulated[0]), float(out.generated[0])
    )
