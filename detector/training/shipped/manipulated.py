"""Fits a part of the first answer, whether something was put into the face.

`python -m detector.training.shipped.manipulated --base clip.safetensors --tuned tuned.safetensors
--data DIR --out tuned.safetensors`

A logistic regression on the tokens of the upper blocks of a tuned tower, whose logit is added to
that of the head trained along with the norms. Its regularisation is strong: it learns little more
than the direction from the mean authentic to the mean forged face, which carries over to forgeries
that it never saw. Heavily degraded authentic faces are negatives of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from detector.forgery.pairs import PairMaker
from detector.forgery.pictures import load_all
from detector.nets.clip import ClipExpert
from detector.training.shipped.clip import (
    AUGMENTATION_SHARE,
    FAMILY_WEIGHTS,
    STRENGTHS,
    ClipTrainConfig,
)
from detector.training.shipped.generated import (
    PORTION,
    draw_authentic,
    draw_heavy,
    features_of,
    fit_head,
    head_parser,
    in_portions,
)
from detector.training.shipped.networks import new_clip, place
from detector.types import CROP_PX

PAIRS = 2000
HEAVY = 60  # heavily degraded authentic faces in a portion, at half weight
REGULARISATION = 5e-6  # C; up to .00003 the validation set's figures are much the same
GAIN = 3.5  # of this logit: spreads like that of the head trained along, on authentic faces


def draw_material(
    pictures: Sequence[Any], pairs: int, heavy: int, seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]:
    """Crops (N, S, S, 3), labels (N,), 1 forged, and weights (N,)."""
    families = {k: v for k, v in FAMILY_WEIGHTS.items() if k != "generated"}
    maker = PairMaker(
        pictures,
        families,
        p_retouched=0.0,
        video_share=ClipTrainConfig.video_share,
        augmentation_share=AUGMENTATION_SHARE,
    )
    rng = np.random.default_rng(seed)
    crops = [
        maker.draw(rng, float(rng.uniform(*STRENGTHS)), float(rng.uniform(0, 1)), CROP_PX)[0]
        for _ in range(pairs)
    ]
    crops += draw_authentic(maker, heavy, rng, draw_heavy)
    labels = np.r_[np.tile([0, 1], pairs), np.zeros(heavy, np.int64)]
    return np.concatenate(crops), labels, np.repeat([1.0, 0.5], [2 * pairs, heavy])


def main(argv: list[str] | None = None) -> None:
    parser = head_parser("python -m detector.training.shipped.manipulated", __doc__)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--pairs", type=int, default=PAIRS)
    args = parser.parse_args(argv)
    expert = new_clip(args.base, args.tuned, args.tower).eval()
    place(expert)
    pictures = load_all(args.data, args.cache, None, splits=("train",))
    features, labels, weights = in_portions(
        args.pairs, lambda pairs, number: _portion(expert, pictures, pairs, number)
    )
    weight, bias = fit_head(features, labels, weights, REGULARISATION)
    head = {"manipulated_upper.weight": GAIN * weight, "manipulated_upper.bias": GAIN * bias}
    save_file(load_file(args.tuned) | head, args.out)


def _portion(
    expert: ClipExpert, pictures: Sequence[Any], pairs: int, seed: int
) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.float64]]:
    """Features, labels and weights of some pairs and other authentic faces."""
    crops, labels, weights = draw_material(pictures, pairs, HEAVY * pairs // PORTION, seed)
    return features_of(expert, crops).astype(np.float16), labels, weights


if __name__ == "__main__":
    main()
