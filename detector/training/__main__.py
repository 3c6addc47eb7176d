"""python -m detector.training: train the shipped network from folders of authentic faces and clips.

With --recipe NAME and --data LAYOUT:PATH: train one of the documents' systems on a labelled data
set.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from detector.errors import DetectorError
from detector.training.data import P_RETOUCHED, Picture, load_clips, load_pictures
from detector.training.generators import load_generators, rebuild
from detector.training.train import TrainConfig, is_whole, new_network, train

FOLDERS = ("faces", "faces_openimages", "faces_diverse", "faces_openforensics", "faces_generated")


def load_all(
    data: Path, cache: Path, generators: Path | None, splits: tuple[str, ...] = ("train", "val")
) -> list[Picture]:
    """All pictures under a data folder, clip frames included; some authentic ones with their
    re-drawn copies.
    """
    pictures = [
        p for name in FOLDERS if (data / name).is_dir() for p in load_pictures(data / name, splits)
    ]
    if (data / "clips").is_dir():
        pictures += load_clips(data / "clips", cache / "clips")
    pictures = [p for p in pictures if p.split in splits]
    nets = list(load_generators(generators).values()) if generators is not None else []
    if not nets:
        return pictures
    rng = np.random.default_rng(7)
    out = []
    for picture in pictures:
        # A fifth of the authentic faces, each through two of the generators: enough variety for an
        # eighth of the draws.
        if picture.label == 0 and rng.random() < 0.2:
            chosen = rng.choice(len(nets), size=min(2, len(nets)), replace=False)
            picture = replace(picture, rebuilt=tuple(rebuild(nets[i], picture.rgb) for i in chosen))
        out.append(picture)
    return out


def main(argv: list[str] | None = None) -> int:
    # here, because it needs Accelerate, and load_all is read without
    from detector.training import command

    parser = argparse.ArgumentParser(prog="python -m detector.training", description=__doc__)
    parser.add_argument(
        "--data", required=True, help="folder with faces/, clips/ and the like, CSVs beside"
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="run folder: checkpoints, history; the same folder resumes",
    )
    parser.add_argument(
        "--init", type=Path, help="start: ImageNet weights of the backbone, or a whole run's"
    )
    parser.add_argument(
        "--generators", type=Path, help="folder of small generators for the generator family"
    )
    parser.add_argument("--minutes", type=float, help="100 without a recipe, no limit with one")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--retouched",
        type=float,
        default=P_RETOUCHED,
        help="share of pairs with twins retouched apart",
    )
    parser.add_argument("--without", choices=["noise", "map"], help="ablation: leave a part out")
    command.add_options(parser)
    args = parser.parse_args(argv)
    if args.recipe:
        try:
            command.run(args, args.minutes)
        except DetectorError as err:
            print(err, file=sys.stderr)
            return 1
        return 0
    config = TrainConfig(
        args.minutes or 100.0,
        seed=args.seed,
        workers=args.workers,
        threads=args.threads,
        retouched=args.retouched,
    )
    # no gentle start, and a lower rate, for weights that are already trained
    if is_whole(args.init):
        config = replace(
            config,
            gentle_until=0.02,
            small_until=0.1,
            lr_scale=0.3,
            constant_rate=True,
            ema_decay=0.9992,
        )
    net = new_network(args.init, use_noise=args.without != "noise", use_map=args.without != "map")
    pictures = load_all(Path(args.data), args.out.parent / "cache", args.generators)
    train(net, pictures, config, args.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
