"""python -m detector.training: train the shipped network from folders of authentic faces and clips.

With --recipe NAME and --data LAYOUT:PATH: train one of the documents' systems on a labelled data
set.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from detector.errors import DetectorError
from detector.forgery.pairs import P_RETOUCHED
from detector.forgery.pictures import load_all
from detector.training.shipped.networks import is_whole, new_network
from detector.training.shipped.train import TrainConfig, train


def main(argv: list[str] | None = None) -> int:
    # here, because it needs Accelerate, and load_all is read without
    from detector.training.recipes import command

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
        help="share of pairs whose halves are retouched apart",
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
