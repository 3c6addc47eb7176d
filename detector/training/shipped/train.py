"""Train the shipped network on pairs made from authentic faces.

A run is measured in minutes rather than epochs, so that it ends when the time given ends: the
learning rate, the curriculum (strong forgeries and little augmentation first) and the crop size
(160 px, then 224) follow the share of time spent. Checkpoints every few minutes; the same command
resumes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader

from detector.forgery.pairs import FAMILIES, FAMILY_WEIGHTS, P_RETOUCHED, PairMaker
from detector.forgery.pictures import LabelledFace
from detector.nets.network import DeepfakeNetwork
from detector.training.checkpoints import half_precision, load_state, save_state, save_weights
from detector.training.loop import Learner, Loop, cosine
from detector.training.shipped.networks import AVERAGED, learning_device
from detector.training.shipped.objective import pair_loss
from detector.training.shipped.stream import Difficulty, PairBatch, PairStream, SharedDifficulty
from detector.training.shipped.validation import (
    VALIDATION_PAIRS,
    ValidationSet,
    make_validation,
    validate,
)
from detector.types import CROP_PX

BACKBONE_LR = 5e-4  # measured: ImageNet features survive this, and move
HEAD_LR = 1e-3
LEAST_RATE = 0.02  # of the peak, at the end of a falling rate
WARM_UP = 0.02  # share of the run over which the rate rises
WEIGHT_DECAY = 0.02
CLIP_NORM = 5.0
EMA_DECAY = 0.998
SMALL_PX = 160  # crops of the first part of a run
ERROR_DECAY = 0.98  # of the running error per family
HARD_ERROR = 0.35  # running error of a family from which on it is drawn most


@dataclass(frozen=True)
class TrainConfig:
    """One run. Everything that changes its result is here and is written beside its checkpoint."""

    minutes: float = 100.0
    pairs_per_batch: int = 12
    seed: int = 0
    workers: int = 1
    threads: int = 1
    small_until: float = 0.35  # share of the run with crops of SMALL_PX
    # share of the run over which the curriculum rises to full augmentation
    gentle_until: float = 0.12
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 12.0
    validation_pairs: int = VALIDATION_PAIRS
    lr_scale: float = 1.0  # below 1 where a run goes on from trained weights
    # after the warm-up; the averaged weights then do what a falling rate does
    constant_rate: bool = False
    ema_decay: float = EMA_DECAY
    retouched: float = P_RETOUCHED
    family_weights: dict[str, float] = field(default_factory=lambda: dict(FAMILY_WEIGHTS))


def split_parameters(net: DeepfakeNetwork, lr_scale: float) -> list[dict[str, Any]]:
    """Return the optimizer's groups: backbone and the rest at their own rates; no weight decay on
    vectors (norms, biases).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if name.startswith("denoiser."):
            continue
        lr = (BACKBONE_LR if ".rgb.net." in name else HEAD_LR) * lr_scale
        decay = 0.0 if parameter.ndim < 2 else WEIGHT_DECAY
        groups.setdefault((lr, decay), []).append(parameter)
    return [{"params": p, "lr": lr, "weight_decay": decay} for (lr, decay), p in groups.items()]


def schedule(share: float, constant: bool = False) -> float:
    """Return the factor of the learning rate: a warm-up, then constant, or a cosine.

    At a constant rate the mean of the weights along the way is what is kept, which carries over to
    other material better than the end of a falling rate (Cha et al. 2021, arXiv 2102.08604).
    """
    if share < WARM_UP:
        return 0.1 + 0.9 * share / WARM_UP
    return 1.0 if constant else cosine((share - WARM_UP) / (1 - WARM_UP), LEAST_RATE)


class Trainer:
    """One run in one folder: what it learns, how far it is, and what it needs to go on."""

    def __init__(self, net: DeepfakeNetwork, config: TrainConfig, out: Path) -> None:
        self.device = learning_device()
        self.net = net.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.config = config
        self.out = out
        groups = split_parameters(net, config.lr_scale)
        optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.99), fused=True)
        self.learner = Learner(net, optimizer, CLIP_NORM, config.ema_decay)
        self.loop = Loop(config.minutes * 60)
        self.images = 0
        self.history: list[dict[str, Any]] = []
        # running error per family: hard ones are drawn more often
        self.errors = dict.fromkeys(FAMILIES, 0.5)
        self.shared = SharedDifficulty(self.difficulty())
        out.mkdir(parents=True, exist_ok=True)

    def resume(self) -> bool:
        """Go on where an earlier run in this folder stopped; False where there was none."""
        state = load_state(self.out / "last.pt")
        if state is None:
            return False
        self.learner.load_state_dict(state)
        self.loop.spent_s = state["spent_s"]
        self.images = state["images"]
        self.history = state["history"]
        self.errors.update(state["errors"])
        self.shared.set(self.difficulty())
        return True

    def save(self) -> None:
        state: dict[str, Any] = {"spent_s": self.loop.spent_s, "images": self.images}
        state |= {"history": self.history, "errors": self.errors}
        save_state(self.learner.state_dict() | state, self.out / "last.pt")
        save_weights(half_precision(self.learner.averaged), self.out / AVERAGED)
        (self.out / "config.json").write_text(json.dumps(asdict(self.config), indent=1))
        (self.out / "history.json").write_text(json.dumps(self.history, indent=1))

    def difficulty(self) -> Difficulty:
        """Return what is to be drawn at this point of the run."""
        share = self.loop.share
        rise = min(1.0, share / self.config.gentle_until)
        side_px = SMALL_PX if share < self.config.small_until else CROP_PX
        emphasis = {f: 0.5 + min(1.0, self.errors[f] / HARD_ERROR) for f in FAMILIES}
        return Difficulty(1.0 - 0.6 * rise, 0.2 + 0.8 * rise, side_px, emphasis)

    def step(self, batch: PairBatch) -> float:
        """Learn from one batch of a PairStream; return its loss."""
        crops, masks = (part.to(self.device) for part in batch[:2])
        families = batch[2]
        self.net.train()
        images = crops.float().div_(255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss, logits = pair_loss(self.net, images, masks)
        loss_value = self.learner.update(loss, schedule(self.loop.share, self.config.constant_rate))
        self.images += len(images)
        wrong = ((logits[1::2] < logits[0::2]).float() + (logits[1::2] < 0).float()) / 2
        for family, error in zip(families.tolist(), wrong.tolist(), strict=True):
            name = FAMILIES[family]
            self.errors[name] = ERROR_DECAY * self.errors[name] + (1 - ERROR_DECAY) * error
        self.shared.set(self.difficulty())
        return loss_value

    def validate(self, held: ValidationSet) -> None:
        """Note and print the figures of the averaged weights."""
        figures = validate(self.learner.averaged, held) | {"loss": self.loop.recent_loss}
        minutes = self.loop.spent_s / 60
        self.history.append({"minutes": minutes, "images": self.images, **figures})
        shown = " ".join(f"{k} {v:.3f}" for k, v in figures.items())
        print(f"[{minutes:.1f} min, {self.images} images] {shown}", flush=True)


def train(
    net: DeepfakeNetwork, pictures: Sequence[LabelledFace], config: TrainConfig, out: Path
) -> Trainer:
    """Run, or go on with, one training run until its minutes are spent."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    trainer = Trainer(net, config, out)
    resumed = trainer.resume()
    held = make_validation(pictures, config.validation_pairs)
    learnt = [p for p in pictures if p.split == "train"]
    maker = PairMaker(learnt, config.family_weights, config.retouched)
    seed = config.seed + trainer.images
    stream = PairStream(maker, config.pairs_per_batch, seed, trainer.shared)
    ahead = 4 if config.workers else None
    loader = DataLoader(stream, batch_size=None, num_workers=config.workers, prefetch_factor=ahead)
    verb = "resumed" if resumed else "started"
    print(f"{verb}: {len(pictures)} pictures, families {maker.families}", flush=True)
    trainer.loop.run(
        loader,
        trainer.step,
        every=[
            (config.validate_minutes * 60, lambda: trainer.validate(held)),
            (config.checkpoint_minutes * 60, trainer.save),
        ],
    )
    return trainer
