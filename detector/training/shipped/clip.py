"""Tune CLIP's layer norms and both its heads on pairs (the network of `detector.nets.clip`).

Everything else of the tower stays as it was: less than a thousandth of its weights is learnt. Two
questions, one batch: was something put into this face, and was the picture generated as a whole? A
run writes `tuned.safetensors`, which `python -m detector.release.fusion --tuned` puts into a model
folder. The same command resumes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from detector.forgery.pairs import FAMILIES, PairMaker
from detector.forgery.pictures import LabelledFace
from detector.nets.clip import ClipExpert, tuned_state
from detector.training.checkpoints import load_state, save_state, save_weights
from detector.training.loop import Learner, Loop, cosine
from detector.training.shipped.networks import place
from detector.training.shipped.objective import clip_loss
from detector.training.shipped.stream import PairBatch, batch_of
from detector.training.shipped.validation import ValidationSet, make_validation, validate_clip

TUNED = "tuned.safetensors"  # a run's averaged norms and heads, in its folder
NORM_LR = 6e-4
HEAD_LR = 1e-3
HEAD_DECAY = 0.05
BETAS = (0.9, 0.98)
LEAST_RATE = 0.02  # of the peak, at the end
WARM_UP_STEPS = 60
CLIP_NORM = 2.0
EMA_DECAY = 0.995
STRENGTHS = (0.4, 1.0)  # strong forgeries to the end of a run
AUGMENTATIONS = (0.2, 1.0)
FAMILY_WEIGHTS = {
    "self-blend": 0.30,
    "cross-blend": 0.17,
    "part splice": 0.13,
    "openforensics": 0.06,
    "swap pairs": 0.07,
    "faceswap": 0.05,
    "generated": 0.22,
}
AUGMENTATION_SHARE = {"openforensics": 0.6, "generated": 0.6}
GENERATED = FAMILIES.index("generated")


@dataclass(frozen=True)
class ClipTrainConfig:
    """One run. Everything that changes its result is here and is written beside its checkpoint."""

    minutes: float = 100.0
    pairs_per_batch: int = 8
    seed: int = 0
    workers: int = 1
    threads: int = 1
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 15.0
    validation_pairs: int = 150
    video_share: float = 0.5  # of the authentic pictures that are forged: frames of clips
    family_weights: dict[str, float] = field(default_factory=lambda: dict(FAMILY_WEIGHTS))


class ClipPairStream(IterableDataset[PairBatch]):
    """Endless batches of pairs, each pair of its own strength and augmentation."""

    def __init__(self, maker: PairMaker, pairs_per_batch: int, seed: int) -> None:
        self.maker = maker
        self.pairs = pairs_per_batch
        self.seed = seed

    def __iter__(self) -> Iterator[PairBatch]:
        cv2.setNumThreads(0)
        info = get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            drawn = []
            for _ in range(self.pairs):
                augmentation = float(rng.uniform(*AUGMENTATIONS))
                drawn.append(self.maker.draw(rng, float(rng.uniform(*STRENGTHS)), augmentation))
            yield batch_of(drawn)


class Tuned(nn.Module):
    """What is learnt of a network, by itself: what a checkpoint and the moving average hold."""

    def __init__(self, expert: ClipExpert) -> None:
        super().__init__()
        # a ParameterDict takes no dots in its names
        self.parts = nn.ParameterDict(
            {k.replace(".", "/"): p for k, p in expert.named_parameters() if p.requires_grad}
        )

    def by_name(self) -> dict[str, Tensor]:
        return {k.replace("/", "."): p.detach() for k, p in self.parts.items()}


class ClipTrainer:
    """One run in one folder: what it learns, how far it is, and what it needs to go on."""

    def __init__(self, expert: ClipExpert, config: ClipTrainConfig, out: Path) -> None:
        self.expert = expert
        self.config = config
        self.out = out
        self.device = place(expert)
        self.tuned = Tuned(expert)
        learnt = [(k, p) for k, p in expert.named_parameters() if p.requires_grad]
        norms = [p for k, p in learnt if k.startswith("tower.")]
        heads = [p for k, p in learnt if not k.startswith("tower.")]
        groups = [
            {"params": norms, "lr": NORM_LR, "weight_decay": 0.0},
            {"params": heads, "lr": HEAD_LR, "weight_decay": HEAD_DECAY},
        ]
        optimizer = torch.optim.AdamW(groups, betas=BETAS)
        self.learner = Learner(self.tuned, optimizer, CLIP_NORM, EMA_DECAY, decay_rises=True)
        self.loop = Loop(config.minutes * 60)
        self.images = 0
        self.history: list[dict[str, Any]] = []
        out.mkdir(parents=True, exist_ok=True)

    def resume(self) -> bool:
        """Go on where an earlier run in this folder stopped; False where there was none."""
        state = load_state(self.out / "last.pt")
        if state is None:
            return False
        self.learner.load_state_dict(state)
        self.loop.spent_s = state["spent_s"]
        self.loop.done = state["steps"]
        self.images = state["images"]
        self.history = state["history"]
        return True

    def save(self) -> None:
        state: dict[str, Any] = {"spent_s": self.loop.spent_s, "steps": self.loop.done}
        state |= {"images": self.images, "history": self.history}
        save_state(self.learner.state_dict() | state, self.out / "last.pt")
        with self.averaged_weights():
            tuned = {k: v.float().cpu() for k, v in tuned_state(self.expert).items()}
        save_weights(tuned, self.out / TUNED)
        (self.out / "config.json").write_text(json.dumps(asdict(self.config), indent=1))
        (self.out / "history.json").write_text(json.dumps(self.history, indent=1))

    def step(self, batch: PairBatch) -> float:
        """Learn from one batch of a stream of pairs; return its loss."""
        crops, masks, families = (part.to(self.device) for part in batch)
        self.expert.train()
        self.expert.tower.eval()
        images = crops.float().div_(255)
        with torch.autocast("cuda", torch.bfloat16, enabled=self.device.type == "cuda"):
            out = self.expert(images)
        loss = clip_loss(out, images, masks, families == GENERATED)
        rise = min(1.0, (self.loop.done + 1) / WARM_UP_STEPS)
        value = self.learner.update(loss, rise * cosine(self.loop.share, LEAST_RATE))
        self.images += len(images)
        return value

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Within, the network has the averaged weights."""
        average = self.learner.averaged
        assert isinstance(average, Tuned)
        own = self.tuned.by_name()
        kept = {k: v.clone() for k, v in own.items()}
        try:
            for name, value in average.by_name().items():
                own[name].copy_(value)
            yield
        finally:
            for name, value in kept.items():
                own[name].copy_(value)

    def validate(self, held: ValidationSet) -> None:
        """Note and print the figures of the averaged weights."""
        with self.averaged_weights():
            figures = validate_clip(self.expert, held) | {"loss": self.loop.recent_loss}
        minutes = self.loop.spent_s / 60
        self.history.append({"minutes": minutes, "images": self.images, **figures})
        shown = " ".join(f"{k} {v:.3f}" for k, v in figures.items())
        print(f"[{minutes:.1f} min, {self.images} images] {shown}", flush=True)


def train_clip(
    expert: ClipExpert, pictures: Sequence[LabelledFace], config: ClipTrainConfig, out: Path
) -> ClipTrainer:
    """Run, or go on with, one training run until its minutes are spent."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    trainer = ClipTrainer(expert, config, out)
    resumed = trainer.resume()
    held = make_validation(pictures, config.validation_pairs, family_weights=config.family_weights)
    maker = PairMaker(
        [p for p in pictures if p.split == "train"],
        config.family_weights,
        p_retouched=0.0,
        video_share=config.video_share,
        augmentation_share=AUGMENTATION_SHARE,
    )
    stream = ClipPairStream(maker, config.pairs_per_batch, config.seed + trainer.images)
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
