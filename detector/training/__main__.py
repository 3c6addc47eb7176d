"""python -m detector.training: train the shipped network from folders of authentic faces and clips.

With --expert clip: tune CLIP's layer norms and two heads on the same folders.

With --recipe NAME and --data LAYOUT:PATH: train one of the systems of docs/SOURCES.md on a
labelled data set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from detector.commandline import extra, finish
from detector.errors import DetectorError
from detector.forgery.pairs import P_RETOUCHED
from detector.forgery.pictures import LabelledFace, load_all
from detector.training.recipes.catalogue import RECIPES
from detector.training.recipes.layouts import LAYOUTS
from detector.training.shipped.clip import ClipTrainConfig, train_clip
from detector.training.shipped.networks import is_whole, new_clip, new_network
from detector.training.shipped.train import TrainConfig, train


def main(argv: list[str] | None = None) -> int:
    return finish(lambda: run(read_arguments(argv)))


def run(args: argparse.Namespace) -> int:
    if args.recipe:
        try:
            with extra("train"):
                import tensorboard  # noqa: F401 - better missed now than after the faces are found

                from detector.training.recipes import command
            command.run(args, args.minutes)
        except DetectorError as err:
            print(err, file=sys.stderr)
            return 1
        return 0
    pictures = load_all(Path(args.data), args.out.parent / "cache", args.generators)
    if args.expert == "clip":
        return tune_clip(args, pictures)
    net = new_network(args.init, use_noise=args.without != "noise", use_map=args.without != "map")
    train(net, pictures, config_of(args), args.out)
    return 0


def tune_clip(args: argparse.Namespace, pictures: Sequence[LabelledFace]) -> int:
    config = ClipTrainConfig(
        args.minutes or 100.0,
        args.pairs_per_batch or ClipTrainConfig.pairs_per_batch,
        validation_pairs=args.validation_pairs or ClipTrainConfig.validation_pairs,
        seed=args.seed,
        workers=args.workers,
        threads=args.threads,
    )
    try:
        expert = new_clip(args.base, args.init, args.tower)
    except DetectorError as err:
        print(err, file=sys.stderr)
        return 1
    train_clip(expert, pictures, config, args.out)
    return 0


def config_of(args: argparse.Namespace) -> TrainConfig:
    config = TrainConfig(
        args.minutes or 100.0,
        args.pairs_per_batch or TrainConfig.pairs_per_batch,
        validation_pairs=args.validation_pairs or TrainConfig.validation_pairs,
        seed=args.seed,
        workers=args.workers,
        threads=args.threads,
        retouched=args.retouched,
    )
    if not is_whole(args.init):
        return config
    # no gentle start, and a lower rate, for weights that are already trained
    return replace(
        config,
        gentle_until=0.02,
        small_until=0.1,
        lr_scale=0.3,
        constant_rate=True,
        ema_decay=0.9992,
    )


def read_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m detector.training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", required=True, help="folder with faces/, clips/ and the like, CSVs beside")
    folder = "run folder: checkpoints, history; the same folder resumes"
    add("--out", type=Path, required=True, help=folder)
    add("--expert", choices=["two-stream", "clip"], default="two-stream")
    tower = "CLIP's tower, one file or its shards; fetched through timm when left out"
    add("--base", type=Path, nargs="+", default=[], help=tower)
    add("--tower", metavar="NAME", help="timm's name of a smaller tower, to rehearse a run")
    start = "start: ImageNet weights of the backbone, or a whole run's; with --expert clip a run's"
    add("--init", type=Path, help=start)
    add("--generators", type=Path, help="folder of small generators for the generator family")
    add("--minutes", type=float, help="100 without a recipe, no limit with one")
    add("--pairs-per-batch", type=int, help="12, with --expert clip 8")
    add("--validation-pairs", type=int, help="300, with --expert clip 150")
    add("--threads", type=int, default=1)
    add("--workers", type=int, default=1)
    add("--seed", type=int, default=0)
    retouched = "share of pairs whose halves are retouched apart"
    add("--retouched", type=float, default=P_RETOUCHED, help=retouched)
    add("--without", choices=["noise", "map"], help="ablation: leave a part out")
    add_recipe_options(parser)
    return parser.parse_args(argv)


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """The options of recipe training, beside those of the default command."""
    group = parser.add_argument_group(
        "recipes",
        "with --recipe, --data is LAYOUT:PATH and the epochs are the recipe's; LAYOUT is one of "
        f"{', '.join(sorted(LAYOUTS))}",
    )
    group.add_argument(
        "--recipe", choices=sorted(RECIPES), help="one of the systems of docs/SOURCES.md"
    )
    group.add_argument(
        "--weights", help="the backbone's pretrained weights, a safetensors or pth file"
    )
    group.add_argument(
        "--from-scratch", action="store_true", help="no pretrained start; nothing stays frozen"
    )
    group.add_argument("--backbone", help="the timm network of the recipe timm")
    group.add_argument("--epochs", type=int, help="at most so many in each stage")
    group.add_argument("--batch", type=int)
    group.add_argument(
        "--pairs", type=int, default=1000, help="forged pairs an epoch, of real-faces data"
    )
    group.add_argument("--precision", choices=["no", "bf16", "fp16"], default="no")
    group.add_argument(
        "--shard", metavar="K/N", help="only extract every N-th shard of faces from K on"
    )
    group.add_argument(
        "--push", metavar="USER/NAME", help="push the model folder to the Hugging Face Hub"
    )


if __name__ == "__main__":
    sys.exit(main())
