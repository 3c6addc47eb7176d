"""The reference index: embeddings of held-back faces and of forgeries made from them, and no
pictures.

`python -m detector.release.reference --data DIR --generators runs/generators` writes
weights/reference.safetensors for the shipped model. It is to be made again whenever the weights
change: the index knows their sha256, and the page says so when they are not the detector's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from detector.degrade import draw_training
from detector.embeddings import REFERENCE, Index, build_index
from detector.errors import DetectorError
from detector.forgery.pairs import STRENGTH, PairMaker
from detector.forgery.pictures import LabelledFace, load_all
from detector.manifest import SHIPPED
from detector.pipeline import Detector
from detector.types import CROP_PX

AUGMENTATION = 0.3  # little: the map is to show faces and forgeries, not codecs


def reference_index(
    detector: Detector, pictures: Sequence[LabelledFace], per_family: int, seed: int = 0
) -> Index:
    """`per_family` pairs of each family of forgeries: authentic halves as "authentic", forged ones
    by their family.
    """
    maker = PairMaker(pictures)
    rng = np.random.default_rng(seed)
    crops = []
    kinds = []
    for family in maker.families:
        for _ in range(per_family):
            forgery = maker.make(family, STRENGTH, rng)
            pair, _ = maker.to_crops(forgery, draw_training(rng, AUGMENTATION), CROP_PX, rng)
            crops.append(pair)
            kinds += ["authentic", family]
    return build_index(
        detector, np.concatenate(crops), [int(kind != "authentic") for kind in kinds], kinds
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m detector.release.reference",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--generators", type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--model", metavar="NAME|DIR")
    parser.add_argument("--per-family", type=int, default=60)
    parser.add_argument("--out", type=Path, default=SHIPPED / REFERENCE)
    args = parser.parse_args(argv)
    try:
        held = load_all(args.data, args.cache, args.generators, splits=("val",))
        index = reference_index(Detector(args.model), held, args.per_family)
    except DetectorError as err:
        print(err, file=sys.stderr)
        return 1
    index.save(args.out)
    print(
        f"{len(index.kinds)} embeddings of {index.vectors.shape[1]} numbers, "
        f"{args.out.stat().st_size / 1e6:.1f} MB"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
