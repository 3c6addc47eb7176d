"""Fits the head that tells photographs from paintings, drawings, prints and statues.

`python -m detector.training.shipped.drawn --base clip.safetensors --tuned tuned.safetensors
--data DIR --out tuned.safetensors`

A logistic regression on the tokens of the tuned tower's eighth block, after the last step of
`detector.training.shipped.generated`. Authentic faces of every source, as they are and degraded,
and forged ones are photographs; the same faces in thirteen styles are none. The threshold is the
lowest that keeps false positives rare in every source, on people whom the head never saw. What an
unknown style costs is told beside it: each is left out once.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression

from detector.degrade import apply, draw_preset, draw_retouch, draw_smoothing, draw_training
from detector.faces import cut_square
from detector.forgery.pictures import FOLDERS, LabelledFace, load_pictures
from detector.nets.clip import drawn_features
from detector.training.shipped.generated import features_of, head_parser
from detector.training.shipped.networks import new_clip, place
from detector.training.shipped.styles import STYLES

PER_SOURCE = 40  # authentic faces, each twice; half as many forged ones
PER_STYLE = 40
REGULARISATION = 0.001  # C
FOLDS = 5
MIN_SOURCE = 20  # faces of a source whose false positives are counted
MOST_CLEAN = 0.01  # false positives allowed on faces as they are...
MOST_DEGRADED = 0.02  # ...and on degraded ones
MARGIN = 0.25  # logits that the threshold lies higher still

CLEAN = "as it is"
DEGRADED = "degraded"
FORGED = "forged"


@dataclass(frozen=True, eq=False)
class Material:
    """Crops (N, S, S, 3), and of each what was done to it, its source, and its fold."""

    crops: NDArray[np.uint8]
    done: NDArray[np.str_]
    sources: NDArray[np.str_]
    folds: NDArray[np.int64]

    @property
    def drawn(self) -> NDArray[np.bool_]:
        """Which are no photographs."""
        return np.isin(self.done, list(STYLES))


def draw_material(
    pictures: Sequence[LabelledFace], per_source: int, per_style: int, seed: int = 11
) -> Material:
    """Photographs of every source, and faces of the authentic ones in every style."""
    rng = np.random.default_rng(seed)
    rows = []
    authentic = []
    for some in _by_source(pictures).values():
        forged = some[0].label == 1
        most = per_source // 2 if forged else per_source
        for picture in (some[i] for i in rng.permutation(len(some))[:most]):
            crop = cut_square(picture.rgb, picture.box_xyxy_px)[0]
            rows.append((crop, FORGED if forged else CLEAN, picture))
            if not forged:
                rows.append((_degraded(crop, rng), DEGRADED, picture))
                authentic.append(picture)
    for name in STYLES:
        for _ in range(per_style):
            picture = authentic[rng.integers(len(authentic))]
            rows.append((_styled(picture, name, rng), name, picture))
    crops, done, of = zip(*rows, strict=True)
    folds = [zlib.crc32(picture.person.encode()) % FOLDS for picture in of]
    sources = [picture.source for picture in of]
    return Material(np.stack(crops), np.array(done), np.array(sources), np.array(folds))


def _by_source(pictures: Sequence[LabelledFace]) -> dict[tuple[str, int], list[LabelledFace]]:
    found = defaultdict(list)
    for picture in pictures:
        found[picture.source, picture.label].append(picture)
    return found


def _degraded(crop: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    kind = int(rng.integers(4))
    strength = float(rng.uniform(0.3, 1))
    if kind == 0:
        return apply(crop, draw_preset(str(rng.choice(["light", "medium", "heavy"])), rng))
    if kind == 1:
        return apply(crop, (draw_smoothing(rng, strength),))
    return apply(crop, draw_retouch(rng) if kind == 2 else draw_training(rng, strength))


def _styled(picture: LabelledFace, style: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A face in a style, at a size of its own; half of them degraded afterwards."""
    zoom = rng.uniform(0.8, 1.6)
    large = cv2.resize(picture.rgb, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    x0, y0, x1, y1 = (zoom * edge for edge in picture.box_xyxy_px)
    crop = cut_square(STYLES[style](np.asarray(large, np.uint8), rng), (x0, y0, x1, y1))[0]
    return apply(crop, draw_training(rng, float(rng.uniform(0, 0.6)) * (rng.random() < 0.5)))


@dataclass(frozen=True, eq=False)
class Head:
    """A logistic regression on features as they are."""

    slope: NDArray[np.float32]  # (D,)
    bias: float

    @classmethod
    def fit(cls, features: NDArray[np.float32], drawn: NDArray[np.bool_]) -> Head:
        mean = features.mean(0)
        spread = features.std(0) + 1e-3
        model = LogisticRegression(C=REGULARISATION, class_weight="balanced")
        model.fit((features - mean) / spread, drawn)
        slope = (model.coef_[0] / spread).astype(np.float32)
        return cls(slope, float(model.intercept_[0] - slope @ mean))

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(features @ self.slope + self.bias, np.float32)


def unseen_logits(features: NDArray[np.float32], material: Material) -> NDArray[np.float32]:
    """Logits (N,) of heads that knew no picture of the same person and no other of the style."""
    logits = np.zeros(len(features), np.float32)
    for fold in range(FOLDS):
        held = material.folds == fold
        logits[held] = Head.fit(features[~held], material.drawn[~held]).logits(features[held])
    for style in STYLES:
        held = material.done == style
        logits[held] = Head.fit(features[~held], material.drawn[~held]).logits(features[held])
    return logits


def threshold(logits: NDArray[np.float32], material: Material) -> float:
    """The lowest logit above which few enough photographs of every source lie, and a margin."""
    clean = material.done == CLEAN
    groups = [clean & (material.sources == source) for source in set(material.sources[clean])]
    tops = [_quantile(logits[group], MOST_CLEAN) for group in groups if group.sum() >= MIN_SOURCE]
    return max([*tops, _quantile(logits[material.done == DEGRADED], MOST_DEGRADED)]) + MARGIN


def _quantile(logits: NDArray[np.float32], most: float) -> float:
    """The highest of the logits but for a share of `most`."""
    return float(np.sort(logits)[::-1][int(most * len(logits))])


def main(argv: list[str] | None = None) -> None:
    parser = head_parser("python -m detector.training.shipped.drawn", __doc__)
    parser.add_argument("--per-source", type=int, default=PER_SOURCE)
    parser.add_argument("--per-style", type=int, default=PER_STYLE)
    args = parser.parse_args(argv)
    expert = new_clip(args.base, args.tuned, args.tower).eval()
    place(expert)
    folders = [args.data / name for name in FOLDERS if (args.data / name).is_dir()]
    pictures = [picture for folder in folders for picture in load_pictures(folder, ("train",))]
    material = draw_material(pictures, args.per_source, args.per_style)
    features = drawn_features(features_of(expert, material.crops))
    logits = unseen_logits(features, material)
    zero = threshold(logits, material)
    for done in (CLEAN, DEGRADED, FORGED, *STYLES):
        some = logits[material.done == done]
        print(f"{done}: {(some > zero).mean():.1%} of {len(some)} are called no photograph")
    head = Head.fit(features, material.drawn)
    tuned = load_file(args.tuned)
    tuned["drawn.weight"] = torch.tensor(head.slope[None])
    tuned["drawn.bias"] = torch.tensor([head.bias - zero], dtype=torch.float32)
    save_file(tuned, args.out)


if __name__ == "__main__":
    main()
