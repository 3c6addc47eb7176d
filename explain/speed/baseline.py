"""The baseline: the same work the way of the sources that this project grew from (`cnn-rnn-article`
and `inception-lstm-blog` in docs/SOURCES.md).

OpenCV decodes every frame, MTCNN searches the sampled ones at full size one by one, the network
sees one crop at a time in fp32, short clips are padded with black frames, and LIME takes 1000
samples in batches of 10.
"""

from __future__ import annotations

import copy
from pathlib import Path

import cv2
import numpy as np
import torch
from lime.lime_image import LimeImageExplainer
from numpy.typing import NDArray

from detector.faces import cut_square
from detector.media import DEFAULT_FRAMES
from detector.pipeline import Detector
from explain.regions import superpixels
from explain.speed.clock import Clock
from explain.speed.inputs import Rgb

LIME_SAMPLES = 1000  # of the baseline
LIME_BATCH = 10


@torch.inference_mode()
def run_baseline(path: Path, is_clip: bool, detector: Detector, clock: Clock) -> None:
    """Time the stages of the baseline, once."""
    with clock.lap("total"):
        with clock.lap("decode"):
            frames = (
                _every_frame(path)
                if is_clip
                else [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)]
            )
        networks = copy.deepcopy(detector.finder.cascade().networks)
        mtcnn = networks.to(memory_format=torch.contiguous_format)
        with clock.lap("detect"):
            boxes = [mtcnn.detect(rgb)[0] for rgb in frames]
        with clock.lap("crop"):
            pairs = [
                (rgb, box)
                for rgb, some in zip(frames, boxes, strict=True)
                if some is not None
                for box in some
            ]
            crops = [cut_square(rgb, tuple(box))[0] for rgb, box in pairs]
            crops += [np.zeros_like(crops[0])] * (DEFAULT_FRAMES - len(crops) if is_clip else 0)
        with clock.lap("embed"):
            profile = detector.profiles["video" if is_clip else "image"]
            outs = [detector.network.frames(detector.tensor(crop[None]), profile) for crop in crops]
        with clock.lap("temporal"):
            embeddings, logits = (
                torch.cat([o.embedding for o in outs])[None],
                torch.cat([o.logit for o in outs])[None],
            )
            detector.network.video(embeddings, logits, torch.ones_like(logits, dtype=torch.bool))


def _every_frame(path: Path) -> list[Rgb]:
    capture = cv2.VideoCapture(str(path))
    every = max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // DEFAULT_FRAMES)
    kept: list[Rgb] = []
    number = 0
    while True:
        there, bgr = capture.read()
        if not there:
            capture.release()
            return kept[:DEFAULT_FRAMES]
        if number % every == 0:
            kept.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        number += 1


def baseline_lime(detector: Detector, crop: Rgb) -> NDArray[np.float32]:
    """Weights of the same superpixels by lime's own loop."""
    segments = superpixels(crop)

    @torch.inference_mode()
    def logits_of(pictures: Rgb) -> NDArray[np.float32]:
        images = detector.tensor(np.asarray(pictures, np.uint8))
        logits = detector.network.frames(images, detector.profiles["image"]).logit
        return logits.float().cpu().numpy()[:, None]

    found = LimeImageExplainer(feature_selection="none", random_state=0).explain_instance(
        crop,
        logits_of,
        labels=(0,),
        top_labels=None,
        num_samples=LIME_SAMPLES,
        batch_size=LIME_BATCH,
        segmentation_fn=lambda picture: segments,
        random_seed=0,
    )
    weights = dict(found.local_exp[0])
    return np.array([weights[i] for i in range(int(segments.max()) + 1)], np.float32)
