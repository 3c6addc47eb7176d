"""One run of one recipe, carried out by Hugging Face Accelerate on any device, in any precision, in
any number of processes.

Per stage: the parts it trains are freed, every epoch is validated, the best state is kept on disk,
and the stage ends early when nothing has become better for a while. `last.pt` lets the same command
go on after an interruption.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.utils.data import DataLoader

from detector.errors import DataError
from detector.nets.network import DeepfakeNetwork
from detector.training.checkpoints import load_state, save_state, save_weights, state_copy
from detector.training.loop import Learner, Loop
from detector.training.recipes.catalogue import DENOISER, Recipe, Stage
from detector.training.recipes.objective import Objective, free, make_optimizer, train_mode
from detector.training.recipes.sources import Clips, Data
from detector.training.recipes.splits import BalancedSampler


@dataclass(frozen=True)
class RunConfig:
    """How a run is carried out; what is learnt is the recipe's."""

    seed: int = 0
    workers: int = 2
    precision: str = "no"  # no, bf16 or fp16
    clip_norm: float = 1.0
    # for the whole run, divided among the stages by their epochs; None: all epochs
    minutes: float | None = None
    max_epochs: int | None = None  # per stage
    # what the minutes and the speeds are counted by, in seconds
    clock: Callable[[], float] = time.monotonic


@dataclass
class RunState:
    """How far a run is."""

    recipe: str
    stage: int = 0
    epoch: int = 0  # epochs done in this stage
    best: float = float("-inf")  # validation score of the stage
    stale: int = 0  # epochs since
    spent_s: float = 0.0


class StageParts(NamedTuple):
    """What one stage works with, as Accelerate prepared it."""

    objective: Any
    learner: Learner
    clips: Clips
    sampler: BalancedSampler
    train: Any  # loader
    held: Any  # loader


class Run:
    """One run of one recipe in one folder."""

    def __init__(self, recipe: Recipe, data: Data, out: Path, config: RunConfig) -> None:
        self.recipe = recipe
        self.data = data
        self.out = out
        self.config = config
        self.accelerator = Accelerator(
            mixed_precision=config.precision, log_with="tensorboard", project_dir=out
        )
        torch.manual_seed(config.seed)
        out.mkdir(parents=True, exist_ok=True)
        self.accelerator.init_trackers("log")
        self.state = RunState(recipe.name)
        self.history: list[dict[str, Any]] = []
        self.optimizer_state: dict[str, Any] | None = None
        stored = load_state(out / "last.pt")
        # What is about to be filled from a checkpoint needs no start of its own.
        self.network = DeepfakeNetwork(
            recipe.network if stored is None else recipe.network.without_pretrained()
        )
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if stored is not None:
            self._resume(stored)

    def train(self) -> DeepfakeNetwork:
        """Train, or go on with, every stage; return the network at its best state, in evaluation
        mode, on the CPU.
        """
        while self.state.stage < len(self.recipe.stages):
            self._train_stage(self.recipe.stages[self.state.stage])
            following = self.state.stage + 1
            spent_s = self.state.spent_s
            self.state = RunState(self.recipe.name, following, spent_s=spent_s)
            self.optimizer_state = None
        self.accelerator.end_training()
        return self.network.cpu().eval()

    @property
    def best(self) -> Path:
        return self.out / f"best-{self.state.stage + 1}.safetensors"

    def _resume(self, stored: dict[str, Any]) -> None:
        of = stored["progress"]["recipe"]
        if of != self.recipe.name:
            raise DataError(f"The folder {self.out.name} holds a run of the recipe {of}.")
        try:
            self.network.load_state_dict(stored["network"])
        except RuntimeError as err:
            raise DataError(f"The folder {self.out.name} holds a run of another network.") from err
        self.state = RunState(**stored["progress"])
        self.history = stored["history"]
        self.optimizer_state = stored["optimizer"]

    def _save(self, optimizer: torch.optim.Optimizer) -> None:
        if self.accelerator.is_main_process:
            state: dict[str, Any] = {
                "network": self.network.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            state |= {"progress": asdict(self.state), "history": self.history}
            save_state(state, self.out / "last.pt")
            (self.out / "history.json").write_text(json.dumps(self.history, indent=1))

    def _train_stage(self, stage: Stage) -> None:
        parts = self._prepare(stage)
        epochs = min(stage.epochs, self.config.max_epochs or stage.epochs)
        deadline_s = self._deadline_s()
        while self.state.epoch < epochs and self.state.stale < self.recipe.patience:
            late = deadline_s is not None and self.state.spent_s > deadline_s
            if late and self.state.epoch > 0:
                break
            began = self.config.clock()
            parts.clips.epoch = parts.sampler.epoch = self.state.epoch
            figures = self._train_epoch(parts, deadline_s)
            figures |= self._validate(parts.objective, parts.held)
            took_s = torch.tensor(self.config.clock() - began, device=self.accelerator.device)
            # alike in all processes
            self.state.spent_s += float(self.accelerator.reduce(took_s, "mean"))
            self._judge(stage, figures)
            self._save(parts.learner.optimizer)
        self.accelerator.wait_for_everyone()
        self.accelerator.free_memory()
        self.network.load_state_dict(load_file(self.best))

    def _prepare(self, stage: Stage) -> StageParts:
        optimizer = make_optimizer(stage, free(self.network, stage))
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        seed = self.config.seed
        batch = self.recipe.batch
        sampler = BalancedSampler(self.data.train.labels, seed)
        clips = Clips(self.data.train, self.recipe, True, seed)
        val = Clips(self.data.val, self.recipe, False, seed)
        common: dict[str, Any] = {"batch_size": batch, "num_workers": self.config.workers}
        # A last batch of one would stop batch normalisation.
        train = DataLoader(clips, sampler=sampler, drop_last=len(sampler) >= batch, **common)
        objective, optimizer, train, held = self.accelerator.prepare(
            Objective(self.network, stage), optimizer, train, DataLoader(val, **common)
        )
        learner = Learner(
            objective,
            optimizer,
            self.config.clip_norm,
            backward=self.accelerator.backward,
            clip=self.accelerator.clip_grad_norm_,
        )
        return StageParts(objective, learner, clips, sampler, train, held)

    def _deadline_s(self) -> float | None:
        """Seconds of the run at which this stage has had its share of the time."""
        if self.config.minutes is None:
            return None
        epochs = [stage.epochs for stage in self.recipe.stages]
        return self.config.minutes * 60 * sum(epochs[: self.state.stage + 1]) / sum(epochs)

    def _train_epoch(self, parts: StageParts, deadline_s: float | None) -> dict[str, float]:
        """One pass, or as much of it as there is time for: mean loss, images seen, and how many a
        second.

        loss_start and loss_end are means over the pass's first and last quarter, since a pass can
        take all the time.
        """
        train_mode(self.network)
        loop = Loop(
            None if deadline_s is None else max(0.0, deadline_s - self.state.spent_s),
            len(parts.train),
            clock=self.config.clock,
            title=f"epoch {self.state.epoch + 1}",
            quiet=not self.accelerator.is_local_main_process,
            agree=self._any_process,
        )
        images = 0

        def step(batch: dict[str, Tensor]) -> float:
            nonlocal images
            images += int(batch["mask"].sum())
            loss, _ = parts.objective(**batch)
            return parts.learner.update(loss)

        began = self.config.clock()
        loop.run(parts.train, step)
        return self._pass_figures(loop.losses, images, self.config.clock() - began)

    def _any_process(self, late: bool) -> bool:
        """All processes stop at the same step: when the slowest has run out of time."""
        flag = torch.tensor(float(late), device=self.accelerator.device)
        return float(self.accelerator.reduce(flag, "sum")) > 0

    def _pass_figures(self, losses: list[float], images: int, took_s: float) -> dict[str, float]:
        device = self.accelerator.device
        quarter = max(1, len(losses) // 4)
        parts = (losses, losses[:quarter], losses[-quarter:])
        means = torch.tensor([fmean(part) for part in parts], device=device)
        # all processes took as many steps
        loss, loss_start, loss_end = self.accelerator.reduce(means, "mean").tolist()
        seen = int(self.accelerator.reduce(torch.tensor(images, device=device), "sum"))
        return {
            "loss": loss,
            "loss_start": loss_start,
            "loss_end": loss_end,
            "images": seen,
            "images_per_s": round(seen / took_s, 2),
        }

    @torch.no_grad()
    def _validate(self, objective: Any, loader: Any) -> dict[str, float]:
        """Loss over the held-back material and, where a stage classifies, its AUC."""
        objective.eval()
        losses: list[Tensor] = []
        logits: list[Tensor] = []
        labels: list[Tensor] = []
        for batch in loader:
            loss, logit = objective(**batch)
            gathered = self.accelerator.gather_for_metrics(
                (loss.expand(len(logit)).clone(), logit, batch["label"])
            )
            for kept, part in zip((losses, logits, labels), gathered, strict=True):
                kept.append(part.float().cpu())
        figures = {"val_loss": float(torch.cat(losses).mean())}
        truth = torch.cat(labels)
        if self.recipe.stages[self.state.stage].trains != DENOISER and len(truth.unique()) == 2:
            scores = torch.cat(logits).nan_to_num()
            figures["val_auc"] = float(roc_auc_score(truth.numpy(), scores.numpy()))
        return figures

    def _judge(self, stage: Stage, figures: dict[str, float]) -> None:
        """Note an epoch's figures and keep its state if it is the best so far."""
        self.state.epoch += 1
        row = {"stage": self.state.stage + 1, "epoch": self.state.epoch, "lr": stage.lr, **figures}
        row["seconds"] = round(self.state.spent_s, 1)
        self.history.append(row)
        self.accelerator.log({k: v for k, v in row.items() if k != "stage"}, step=len(self.history))
        shown = "  ".join(
            f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
        )
        self.accelerator.print(shown, flush=True)
        score = figures.get("val_auc", -figures["val_loss"])
        if score > self.state.best or self.state.epoch == 1:
            self.state.best = score
            self.state.stale = 0
            if self.accelerator.is_main_process:
                save_weights(state_copy(self.network), self.best)
        else:
            self.state.stale += 1


def train_recipe(recipe: Recipe, data: Data, out: Path, config: RunConfig | None = None) -> Run:
    """Train a recipe and return the finished run; `run.network` is at its best state. Raises
    DataError.
    """
    for name, source in (("train", data.train), ("validate", data.val)):
        if len(set(source.labels.tolist())) < 2:
            raise DataError(f"There are not faces of both labels to {name} on.")
    run = Run(recipe, data, out, config or RunConfig())
    run.train()
    return run
