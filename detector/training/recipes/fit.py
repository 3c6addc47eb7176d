"""The one training loop behind all recipes, by Hugging Face Accelerate: any device, precision and
number of processes.

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
from typing import Any

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from detector.errors import DataError
from detector.nets.network import DeepfakeNetwork
from detector.training.recipes.catalogue import DENOISER, Recipe, Stage
from detector.training.recipes.objective import Objective, free, make_optimizer, train_mode
from detector.training.recipes.sources import Clips, Data
from detector.training.recipes.splits import BalancedSampler


@dataclass(frozen=True)
class FitConfig:
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
class Progress:
    """What a run needs to go on."""

    recipe: str
    stage: int = 0
    epoch: int = 0  # epochs done in this stage
    best: float = float("-inf")  # validation score of the stage
    stale: int = 0  # epochs since
    spent_s: float = 0.0


class Run:
    """One run of one recipe in one folder."""

    def __init__(self, recipe: Recipe, data: Data, out: Path, config: FitConfig) -> None:
        self.recipe, self.data, self.out, self.config = recipe, data, out, config
        self.accelerator = Accelerator(
            mixed_precision=config.precision, log_with="tensorboard", project_dir=out
        )
        torch.manual_seed(config.seed)
        out.mkdir(parents=True, exist_ok=True)
        self.accelerator.init_trackers("log")
        self.progress, self.history = Progress(recipe.name), list[dict[str, Any]]()
        self.optimizer_state: dict[str, Any] | None = None
        path = out / "last.pt"
        resumed = path.is_file()
        # What is about to be filled from a checkpoint needs no start of its own.
        self.network = DeepfakeNetwork(recipe.network.bare() if resumed else recipe.network)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if resumed:
            self._resume(torch.load(path, map_location="cpu", weights_only=True))

    def _resume(self, state: dict[str, Any]) -> None:
        if state["progress"]["recipe"] != self.recipe.name:
            raise DataError(
                f"The folder {self.out.name} holds a run of the recipe {state['progress']['recipe']}."
            )
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError as err:
            raise DataError(f"The folder {self.out.name} holds a run of another network.") from err
        self.progress, self.history = Progress(**state["progress"]), state["history"]
        self.optimizer_state = state["optimizer"]

    def _save(self, network: DeepfakeNetwork, optimizer: Any) -> None:
        if self.accelerator.is_main_process:
            state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(),
                     "progress": asdict(self.progress), "history": self.history}  # fmt: skip
            torch.save(state, self.out / "last.pt.new")
            (self.out / "last.pt.new").replace(self.out / "last.pt")
            (self.out / "history.json").write_text(json.dumps(self.history, indent=1))

    def fit(self) -> DeepfakeNetwork:
        """Run, or go on with, every stage; return the network at its best state, in evaluation
        mode, on the CPU.
        """
        while self.progress.stage < len(self.recipe.stages):
            self._stage(self.recipe.stages[self.progress.stage])
            spent_s = self.progress.spent_s
            self.progress = Progress(self.recipe.name, self.progress.stage + 1, spent_s=spent_s)
            self.optimizer_state = None
        self.accelerator.end_training()
        return self.network.cpu().eval()

    def _stage(self, stage: Stage) -> None:
        parameters = free(self.network, stage)
        optimizer = make_optimizer(stage, parameters)
        if self.optimizer_state is not None:
            optimizer.load_state_dict(self.optimizer_state)
        sampler = BalancedSampler(self.data.train.labels, self.config.seed)
        train = Clips(self.data.train, self.recipe, True, self.config.seed)
        val = Clips(self.data.val, self.recipe, False, self.config.seed)
        common: dict[str, Any] = {
            "batch_size": self.recipe.batch,
            "num_workers": self.config.workers,
        }
        objective, optimizer, loader, held = self.accelerator.prepare(
            Objective(self.network, stage), optimizer,
            # A last batch of one would stop batch normalisation.
            DataLoader(train, sampler=sampler, drop_last=len(sampler) >= self.recipe.batch, **common),
            DataLoader(val, **common),
        )  # fmt: skip
        epochs = min(stage.epochs, self.config.max_epochs or stage.epochs)
        deadline_s = self._deadline_s()
        while self.progress.epoch < epochs and self.progress.stale < self.recipe.patience:
            if (
                deadline_s is not None
                and self.progress.epoch > 0
                and self.progress.spent_s > deadline_s
            ):
                break
            began = self.config.clock()
            train.epoch = sampler.epoch = self.progress.epoch
            figures = self._train(objective, optimizer, loader, parameters, deadline_s)
            figures |= self._validate(objective, held)
            took_s = torch.tensor(self.config.clock() - began, device=self.accelerator.device)
            # alike in all processes
            self.progress.spent_s += float(self.accelerator.reduce(took_s, "mean"))
            self._judge(stage, figures)
            self._save(self.network, optimizer)
        self.accelerator.wait_for_everyone()
        self.accelerator.free_memory()
        self.network.load_state_dict(load_file(self.best))

    @property
    def best(self) -> Path:
        return self.out / f"best-{self.progress.stage + 1}.safetensors"

    def _deadline_s(self) -> float | None:
        """Seconds of the run at which this stage has had its share of the time."""
        if self.config.minutes is None:
            return None
        epochs = [stage.epochs for stage in self.recipe.stages]
        return self.config.minutes * 60 * sum(epochs[: self.progress.stage + 1]) / sum(epochs)

    def _train(
        self,
        objective: Any,
        optimizer: Any,
        loader: Any,
        parameters: list[nn.Parameter],
        deadline_s: float | None,
    ) -> dict[str, float]:
        """One pass, or as much of it as there is time for: mean loss, images seen, and how many a
        second.

        loss_start and loss_end are means over the pass's first and last quarter, since a pass can
        take all the time.
        """
        train_mode(self.network)
        clock, losses, images = self.config.clock, list[float](), 0
        began = clock()
        device = self.accelerator.device
        hidden = not self.accelerator.is_local_main_process
        for batch in tqdm(
            loader, desc=f"epoch {self.progress.epoch + 1}", disable=True if hidden else None
        ):
            loss, _ = objective(**batch)
            optimizer.zero_grad(set_to_none=True)
            self.accelerator.backward(loss)
            self.accelerator.clip_grad_norm_(parameters, self.config.clip_norm)
            optimizer.step()
            losses.append(float(loss.detach()))
            images += int(batch["mask"].sum())
            if deadline_s is not None:
                # All processes stop at the same step: when the slowest has run out of time.
                late = float(self.progress.spent_s + clock() - began > deadline_s)
                if float(self.accelerator.reduce(torch.tensor(late, device=device), "sum")):
                    break
        quarter = max(1, len(losses) // 4)
        parts = torch.tensor(
            [fmean(part) for part in (losses, losses[:quarter], losses[-quarter:])], device=device
        )
        # all processes took as many steps
        loss, loss_start, loss_end = self.accelerator.reduce(parts, "mean").tolist()
        seen = int(self.accelerator.reduce(torch.tensor(images, device=device), "sum"))
        speed = round(seen / (clock() - began), 2)
        return {
            "loss": loss,
            "loss_start": loss_start,
            "loss_end": loss_end,
            "images": seen,
            "images_per_s": speed,
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
        if self.recipe.stages[self.progress.stage].trains != DENOISER and len(truth.unique()) == 2:
            figures["val_auc"] = float(
                roc_auc_score(truth.numpy(), torch.cat(logits).nan_to_num().numpy())
            )
        return figures

    def _judge(self, stage: Stage, figures: dict[str, float]) -> None:
        """Note an epoch's figures and keep its state if it is the best so far."""
        self.progress.epoch += 1
        row = {
            "stage": self.progress.stage + 1,
            "epoch": self.progress.epoch,
            "lr": stage.lr,
            **figures,
        }
        row["seconds"] = round(self.progress.spent_s, 1)
        self.history.append(row)
        self.accelerator.log({k: v for k, v in row.items() if k != "stage"}, step=len(self.history))
        shown = "  ".join(
            f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()
        )
        self.accelerator.print(shown, flush=True)
        score = figures.get("val_auc", -figures["val_loss"])
        if score > self.progress.best or self.progress.epoch == 1:
            self.progress.best, self.progress.stale = score, 0
            if self.accelerator.is_main_process:
                save_file(
                    {k: v.contiguous().clone() for k, v in self.network.state_dict().items()},
                    self.best,
                )
        else:
            self.progress.stale += 1


def fit(recipe: Recipe, data: Data, out: Path, config: FitConfig | None = None) -> Run:
    """Train a recipe and return the finished run; `run.network` is at its best state. Raises
    DataError.
    """
    for name, source in (("train", data.train), ("validate", data.val)):
        if len(set(source.labels.tolist())) < 2:
            raise DataError(f"There are not faces of both labels to {name} on.")
    run = Run(recipe, data, out, config or FitConfig())
    run.fit()
    return run
