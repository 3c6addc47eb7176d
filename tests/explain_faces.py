"""Faces and analyses for the tests of explain: made by hand, so that nothing has to be found or
decoded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage import data

from detector.faces import cut_square
from detector.nets import clip
from detector.nets.clip import ClipExpert
from detector.pipeline import Detector
from detector.types import (
    Analysis,
    Evidence,
    FaceAnalysis,
    FaceCrop,
    FaceTrack,
    Frame,
    Kind,
    Label,
    Media,
    Verdict,
)
from explain.explainer import Explainer

BOX = (178.0, 60.0, 272.0, 172.0)  # the astronaut's face in her picture, px
LANDMARKS = np.array(
    [[205.0, 101.7], [246.8, 103.7], [224.7, 129.0], [201.7, 139.2], [245.3, 141.9]], np.float32
)


@lru_cache(maxsize=1)
def detector() -> Detector:
    """A detector of random weights whose two outputs are strong enough to be measured."""
    return Detector.untrained(seed=0)


@lru_cache(maxsize=1)
def explainer() -> Explainer:
    """Of that detector, for stills."""
    return Explainer(detector(), "image")


@lru_cache(maxsize=1)
def astronaut() -> NDArray[np.uint8]:
    return np.ascontiguousarray(data.astronaut())


def face_crop(frame: NDArray[np.uint8], index: int = 0, t: float = 0.0) -> FaceCrop:
    rgb, to_frame = cut_square(frame, BOX)
    return FaceCrop(rgb, to_frame, index, t, BOX, LANDMARKS, 1.0)


def analysis_of(
    frames: Sequence[NDArray[np.uint8]],
    label: Label = Label.FORGED,
    p_fake: float = 0.9,
    name: str = "astronaut.png",
) -> Analysis:
    """One face, a frame a second, judged as told."""
    net = detector()
    crops = [face_crop(frame, i, float(i)) for i, frame in enumerate(frames)]
    kind: Kind = "image" if len(frames) == 1 else "video"
    seen = net.predict(np.stack([crop.rgb for crop in crops]), kind=kind)
    evidence = tuple(
        Evidence(float(logit), heat, embedding)
        for logit, heat, embedding in zip(seen.logits, seen.maps, seen.embeddings, strict=True)
    )
    p_frames = tuple(net.profiles[kind].calibration.probability(e.logit) for e in evidence)
    verdict = Verdict(label, "Told so by the test.", p_fake, 2.0)
    face = FaceAnalysis(FaceTrack(0, tuple(crops)), evidence, p_frames, verdict)
    height, width = frames[0].shape[:2]
    media = Media(
        name=name,
        sha256="ab" * 32,
        kind=kind,
        width=width,
        height=height,
        duration_s=float(len(frames) - 1),
        frames=tuple(Frame(i, float(i), frame) for i, frame in enumerate(frames)),
        metadata={"Software": "a <b>test</b>"},
    )
    return Analysis(media, (face,), verdict, net.info, {"total": 1.0})


def crowd(name: str = "crowd.png", count: int = 64) -> Analysis:
    """Many faces in rows of eight, most forged-looking first as in every analysis: here the last
    of the last row.
    """
    one = analysis_of([astronaut()], name=name)
    (face,) = one.faces
    (crop,) = face.track.crops
    people = []
    for i in reversed(range(count)):
        x, y = 60.0 * (i % 8), 60.0 * (i // 8)
        moved = replace(crop, box_xyxy_px=(x, y + i % 3, x + 48, y + 52 + i % 3))
        verdict = Verdict(Label.UNCERTAIN, f"Reason number {i}.", i / count)
        people.append(replace(face, track=FaceTrack(i, (moved,)), verdict=verdict))
    return replace(one, faces=tuple(people))


def tiny_clip() -> ClipExpert:
    """A second network with a small tower and random weights, always the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip, "TOWER", "vit_tiny_patch16_224")
        torch.manual_seed(0)
        return ClipExpert().eval().requires_grad_(False)
