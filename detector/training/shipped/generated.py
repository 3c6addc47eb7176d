"""Fits the head of the second question, whether a picture was generated as a whole.

`python -m detector.training.shipped.generated --base clip.safetensors --tuned tuned.safetensors
--data DIR --out tuned.safetensors`

The last step after `python -m detector.training --expert clip`: a logistic regression on the tokens
of a tuned tower. A head trained along with the norms was worse: AUC .66 instead of .80 on
generators that it never saw. Generated pictures and the portraits that resemble them go through the
same degradations; authentic faces of every other source are added.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from tqdm import tqdm

from detector.degrade import Degradation, Step, draw_preset, draw_training
from detector.forgery.blending import Forgery
from detector.forgery.pairs import PairMaker
from detector.forgery.pictures import cut_forging_crop, draw_side, load_all
from detector.nets.clip import ClipExpert
from detector.training.shipped.networks import new_clip, place
from detector.types import CROP_PX

PAIRS = 8000
PORTION = 200  # pairs whose crops are in memory at a time
OTHERS = 60  # authentic faces of any source in a portion, at half weight
REGULARISATION = 0.1  # C; from .01 to .1 the validation set's figure changes by less than .01
SEED = 1000  # of the first portion
BATCH = 16
AROUND_PAIRS = 1000  # for `--around`...
HEAVY = 400  # ...with so many heavily degraded authentic faces in a portion
HEAVY_CRF = (30, 45)  # of H.264, which half of those go through
PULL = 1000.0  # towards the head that is there, per squared unit of standardised weight
Draw = Callable[[np.random.Generator], Degradation]


def draw_material(
    pictures: Sequence[Any], pairs: int, others: int, seed: int = SEED
) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.float64]]:
    """Crops (N, S, S, 3), labels (N,), 1 generated, and weights (N,)."""
    maker = PairMaker(pictures)
    rng = np.random.default_rng(seed)
    crops = [
        maker.to_crops(maker.make("generated", 0.5, rng), draw_mild(rng), CROP_PX, rng)[0]
        for _ in range(pairs)
    ]
    crops += draw_authentic(maker, others, rng, draw_mild)
    labels = np.r_[np.tile([0, 1], pairs), np.zeros(others, np.int64)]
    return np.concatenate(crops), labels, np.repeat([1.0, 0.5], [2 * pairs, others])


def draw_authentic(
    maker: PairMaker, count: int, rng: np.random.Generator, draw: Draw
) -> list[NDArray[np.uint8]]:
    """Crops (1, S, S, 3) of authentic faces of any source, each degraded as `draw` says."""
    crops = []
    for _ in range(count):
        picture = maker.draw_picture(rng)
        cut = cut_forging_crop(picture, draw_side(picture, rng), bool(rng.random() < 0.5))
        nothing = np.zeros(cut.rgb.shape[:2], np.float32)
        same = Forgery(cut.rgb, cut.rgb, nothing, "none")
        crops.append(maker.to_crops(same, draw(rng), CROP_PX, rng)[0][:1])
    return crops


def draw_mild(rng: np.random.Generator) -> Degradation:
    """Draw what pairs go through: heavy degradation hides generators."""
    return draw_training(rng, float(rng.uniform(0, 0.6)))


def draw_heavy(rng: np.random.Generator) -> Degradation:
    """Draw the preset "heavy" or strong H.264, at even odds."""
    if rng.random() < 0.5:
        return draw_preset("heavy", rng)
    return (Step("video_codec", {"codec": "h264", "crf": int(rng.integers(*HEAVY_CRF))}),)


@torch.inference_mode()
def features_of(expert: ClipExpert, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the head reads of (N, S, S, 3) uint8 crops."""
    rows = []
    for start in tqdm(range(0, len(crops), BATCH), desc="features", disable=None):
        batch = torch.from_numpy(crops[start : start + BATCH]).to(expert.mean.device)
        rows.append(expert.features(batch.permute(0, 3, 1, 2).float().div_(255)).cpu().numpy())
    return np.concatenate(rows)


def fit_head(
    features: NDArray[np.float32],
    labels: NDArray,
    weights: NDArray,
    regularisation: float = REGULARISATION,
) -> tuple[Tensor, Tensor]:
    """Weight (1, D) and bias (1,) of a logistic regression, its standardisation folded in.

    regularisation: scikit-learn's C.
    """
    mean = features.mean(0)
    spread = features.std(0) + 1e-6
    model = LogisticRegression(C=regularisation, max_iter=200)
    model.fit((features - mean) / spread, labels, sample_weight=weights)
    slope = model.coef_[0] / spread
    bias = model.intercept_ - float(slope @ mean)
    return torch.tensor(slope[None], dtype=torch.float32), torch.tensor(bias, dtype=torch.float32)


def fit_around(
    features: NDArray[np.float32],
    labels: NDArray,
    weights: NDArray,
    head: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor]:
    """Weight (1, D) and bias (1,) of a logistic regression near another head's (1, D) and (1,):
    PULL / 2 times the squared distance of the standardised weights is added to the loss, which is
    a Gaussian prior.
    """
    mean, spread = (torch.from_numpy(a) for a in (features.mean(0), features.std(0) + 1e-6))
    x = (torch.from_numpy(features) - mean) / spread
    y, counted = (torch.from_numpy(np.asarray(a, np.float32)) for a in (labels, weights))
    start = head[0][0].float() * spread
    slope = start.clone().requires_grad_()
    bias = (head[1].float().reshape(()) + head[0][0].float() @ mean).requires_grad_()
    optimizer = torch.optim.LBFGS([slope, bias], max_iter=300, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        losses = F.binary_cross_entropy_with_logits(x @ slope + bias, y, reduction="none")
        total = (counted * losses).sum() + PULL / 2 * (slope - start).square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    weight = slope.detach() / spread
    return weight[None], (bias.detach() - weight @ mean).reshape(1)


def in_portions(
    pairs: int, portion: Callable[[int, int], tuple[NDArray, NDArray, NDArray]]
) -> tuple[NDArray[np.float32], NDArray, NDArray]:
    """Features, labels and weights of material that is drawn PORTION pairs at a time.

    portion: how many pairs, and which portion this is -> the same of that portion.
    """
    drawn = [
        portion(min(PORTION, pairs - start), number)
        for number, start in enumerate(range(0, pairs, PORTION))
    ]
    features, labels, weights = (np.concatenate(column) for column in zip(*drawn, strict=True))
    return features.astype(np.float32), labels, weights


def head_parser(prog: str, description: str | None) -> argparse.ArgumentParser:
    """The options of every command that fits a head to a tuned tower."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    tower = "the tower's weights, one file or its shards"
    parser.add_argument("--base", type=Path, nargs="+", required=True, help=tower)
    parser.add_argument("--tower", metavar="NAME", help="of a rehearsal's run")
    parser.add_argument("--tuned", type=Path, required=True, help="norms and heads of a run")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def main(argv: list[str] | None = None) -> None:
    parser = head_parser("python -m detector.training.shipped.generated", __doc__)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--pairs", type=int, help=f"{PAIRS}, with --around {AROUND_PAIRS}")
    parser.add_argument("--around", action="store_true", help="go on from the head in --tuned")
    args = parser.parse_args(argv)
    expert = new_clip(args.base, tower=args.tower)
    tuned = load_file(args.tuned)
    expert.load_state_dict(
        {k: v for k, v in tuned.items() if not k.startswith("generated.")}, strict=False
    )
    place(expert)
    expert.eval()
    pictures = load_all(args.data, args.cache, None, splits=("train",))
    most = args.pairs or (AROUND_PAIRS if args.around else PAIRS)
    features, labels, weights = in_portions(
        most, lambda pairs, number: _portion(expert, pictures, pairs, SEED + number, args.around)
    )
    if args.around:
        head = (tuned["generated.weight"], tuned["generated.bias"])
        weight, bias = fit_around(features, labels, weights, head)
    else:
        weight, bias = fit_head(features, labels, weights)
    save_file(tuned | {"generated.weight": weight, "generated.bias": bias}, args.out)


def _portion(
    expert: ClipExpert, pictures: Sequence[Any], pairs: int, seed: int, heavy: bool
) -> tuple[NDArray[np.float16], NDArray[np.int64], NDArray[np.float64]]:
    """Features, labels and weights of some pairs and other authentic faces."""
    crops, labels, weights = draw_material(pictures, pairs, OTHERS * pairs // PORTION, seed)
    if heavy:
        maker = PairMaker(pictures)
        rng = np.random.default_rng(seed)
        more = draw_authentic(maker, HEAVY * pairs // PORTION, rng, draw_heavy)
        crops = np.concatenate([crops, *more])
        labels = np.r_[labels, np.zeros(len(more), np.int64)]
        weights = np.r_[weights, np.full(len(more), 0.5)]
    return features_of(expert, crops).astype(np.float16), labels, weights


if __name__ == "__main__":
    main()
