"""Train the shipped network on pairs made from authentic faces.

One loop, measured in minutes rather than epochs, so that it ends when the time given ends: the
learning rate, the curriculum (strong forgeries and little nuisance first) and the crop size (160
px, then 224) follow the share of time spent. Checkpoints every few minutes; the same command
resumes.
"""

from __future__ import annotations

import json
import multiprocessing as mp
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader
from tqdm import tqdm

from detector.degrade import draw_preset, draw_training
from detector.forgery.pairs import FAMILIES, FAMILY_WEIGHTS, P_RETOUCHED, PairMaker
from detector.forgery.pictures import Picture
from detector.nets.backbones import load_weights, read_tensors
from detector.nets.network import DeepfakeNetwork, GlobalBranch, NetworkConfig, lower_half
from detector.training.shipped.stream import PairStream

BACKBONE_LR = 5e-4  # measured: ImageNet features survive this, and move
HEAD_LR = 1e-3
EMA_DECAY = 0.998
# a forgery that changes less counts for less: its label can only be learnt by heart
VISIBLE_LEVELS = 8.0
LEAST_WEIGHT = 0.1
MAP_LOSS = 2.0  # the mask teaches where to look long before the label does
MAP_POSITIVE = 2.0  # masks cover a fifth of the crop
VALIDATION_PAIRS = 300


@dataclass(frozen=True)
class TrainConfig:
    """One run. Everything that changes its result is here and is written beside its checkpoint."""

    minutes: float = 100.0
    pairs_per_batch: int = 12
    seed: int = 0
    workers: int = 1
    threads: int = 1
    small_until: float = 0.35  # share of the run at 160 px
    gentle_until: float = 0.12  # share of the run over which the curriculum rises to full nuisance
    checkpoint_minutes: float = 3.0
    validate_minutes: float = 12.0
    lr_scale: float = 1.0  # below 1 where a run goes on from trained weights
    # after the warm-up; the averaged weights then do what a falling rate does
    constant_rate: bool = False
    ema_decay: float = EMA_DECAY
    retouched: float = P_RETOUCHED
    family_weights: dict[str, float] = field(default_factory=lambda: dict(FAMILY_WEIGHTS))


def split_parameters(net: DeepfakeNetwork, lr_scale: float) -> list[dict[str, Any]]:
    """Backbone and the rest at their own rates; no weight decay on vectors (norms, biases)."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in net.named_parameters():
        if name.startswith("denoiser."):
            continue
        lr = (BACKBONE_LR if ".rgb.net." in name else HEAD_LR) * lr_scale
        groups.setdefault((lr, 0.0 if parameter.ndim < 2 else 0.02), []).append(parameter)
    return [
        {"params": p, "lr": lr, "peak_lr": lr, "weight_decay": wd} for (lr, wd), p in groups.items()
    ]


def schedule(share: float, constant: bool = False) -> float:
    """Learning rate factor: 2% warm-up, then constant, or a cosine down to 2%.

    At a constant rate the mean of the weights along the way is what is kept, which carries over to
    other material better than the end of a falling rate (Cha et al. 2021, arXiv 2102.08604).
    """
    if share < 0.02:
        return 0.1 + 0.9 * share / 0.02
    if constant:
        return 1.0
    return float(0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * min(1.0, (share - 0.02) / 0.98))))


def visible(images: Tensor, masks: Tensor) -> Tensor:
    """Grey levels (P,) by which twins differ where the forged one is forged, beyond what they
    differ elsewhere.

    images (2P, 3, S, S) in [0, 1], authentic, forged, authentic, ...; masks (2P, S/8, S/8).
    Infinite where the mask is not known: genuine forgeries and their partners are different
    pictures.
    """
    change = 255 * (images[1::2] - images[0::2]).abs().mean(1, keepdim=True)
    change = F.interpolate(change, size=masks.shape[-2:], mode="area")[:, 0]
    inside, outside = masks[1::2], 1 - masks[1::2]

    def mean(share: Tensor) -> Tensor:
        return (change * share).sum((1, 2)) / share.sum((1, 2)).clamp(min=1e-3)

    elsewhere = torch.where(outside.mean((1, 2)) > 0.1, mean(outside), 0.0)
    return torch.nan_to_num((mean(inside) - elsewhere).clamp(min=0), nan=torch.inf)


def loss_of(net: DeepfakeNetwork, images: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Loss of a batch of pairs (authentic, forged, authentic, ...) and the detached frame logits.

    images (2P, 3, S, S) in [0, 1]; masks (2P, S/8, S/8), NaN where the mask of a genuine forgery is
    unknown. Forgeries of which next to nothing is left to see count for less, and their authentic
    twins for somewhat less.
    """
    out = net.frames(images)
    labels = torch.arange(len(images), device=images.device).remainder(2).float()
    logit = out.logit.float()
    seen = (visible(images, masks) / VISIBLE_LEVELS).clamp(LEAST_WEIGHT, 1.0)
    weight = torch.stack([(1 + seen) / 2, seen], 1).flatten()
    each = F.binary_cross_entropy_with_logits(logit, labels, reduction="none")
    loss = (weight * each).sum() / weight.sum()
    if out.map_logits is not None:
        known = ~torch.isnan(masks).flatten(1).any(1)
        loss = loss + MAP_LOSS * F.binary_cross_entropy_with_logits(
            out.map_logits.float()[known],
            masks[known],
            pos_weight=torch.tensor(MAP_POSITIVE, device=images.device),
        )
    return loss, logit.detach()


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Fixed pairs of held-back faces with fresh forgeries: crops (N, 2, S, S, 3), masks (N, 2, 28,
    28), families.
    """

    crops: NDArray[np.uint8]
    masks: NDArray[np.float32]
    families: tuple[str, ...]
    sources: tuple[str, ...] = ()


def make_validation(
    pictures: Sequence[Picture],
    pairs: int = VALIDATION_PAIRS,
    seed: int = 1234,
    preset: str | None = None,
) -> ValidationSet:
    """Pairs from the `val` split only. preset None: the training nuisance at full strength; else a
    degrade preset.
    """
    maker = PairMaker([p for p in pictures if p.split == "val"])
    rng = np.random.default_rng(seed)
    crops, masks, families = [], [], []
    for _ in range(pairs):
        family = maker.draw_family(rng)
        forgery = maker.make(family, 0.5, rng)
        recipe = draw_training(rng, 1.0) if preset is None else draw_preset(preset, rng)
        pair, mask = maker.finish(forgery, recipe, 224, rng)
        crops.append(pair)
        masks.append(mask)
        families.append(family)
    return ValidationSet(np.stack(crops), np.stack(masks), tuple(families))


@torch.inference_mode()
def predict(net: Any, crops: NDArray[np.uint8], batch: int = 32) -> tuple[NDArray, NDArray]:
    """Frame logits (N,) and map logits (N, 28, 28) of crops (N, S, S, 3) uint8."""
    logits, maps = [], []
    for start in range(0, len(crops), batch):
        x = torch.from_numpy(crops[start : start + batch]).permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast("cpu", torch.bfloat16):
            out = net.frames(x.contiguous(memory_format=torch.channels_last))
        logits.append(out.logit.float().numpy())
        maps.append(
            out.map_logits.float().numpy()
            if out.map_logits is not None
            else np.zeros((len(x), 28, 28), np.float32)
        )
    return np.concatenate(logits), np.concatenate(maps)


def validate(net: Any, held: ValidationSet) -> dict[str, float]:
    """Image AUC over all and per family, pixel AUC of the map."""
    net.eval()
    logits, maps = predict(net, held.crops.reshape(-1, *held.crops.shape[2:]))
    pairs = logits.reshape(-1, 2)
    labels = np.tile([0, 1], len(pairs))
    figures = {"auc": float(roc_auc_score(labels, logits))}
    truth = held.masks.reshape(-1, *held.masks.shape[2:])
    known = ~np.isnan(truth).any((1, 2))
    figures["pixel_auc"] = float(roc_auc_score((truth[known] > 0.5).ravel(), maps[known].ravel()))
    families = np.array(held.families)
    for family in sorted(set(held.families)):
        some = pairs[families == family]
        # against every authentic crop, as a threshold would
        score = roc_auc_score(
            np.r_[np.zeros(len(pairs)), np.ones(len(some))], np.r_[pairs[:, 0], some[:, 1]]
        )
        figures[f"auc {family}"] = float(score)
    return figures


class Trainer:
    """Holds what a run needs to go on after an interruption."""

    def __init__(self, net: DeepfakeNetwork, config: TrainConfig, out: Path) -> None:
        self.net = net.to(memory_format=torch.channels_last)
        self.config, self.out = config, out
        self.opt = torch.optim.AdamW(
            split_parameters(net, config.lr_scale), betas=(0.9, 0.99), fused=True
        )
        self.ema = AveragedModel(
            net, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True
        )
        self.spent_s, self.images, self.history = 0.0, 0, []  # type: ignore[var-annotated]
        # running error per family: hard ones are drawn more often
        self.errors = {f: 0.5 for f in FAMILIES}
        self.stage = mp.Array("d", 3 + len(FAMILIES))
        out.mkdir(parents=True, exist_ok=True)

    @property
    def share(self) -> float:
        return self.spent_s / (self.config.minutes * 60)

    def resume(self) -> bool:
        path = self.out / "last.pt"
        if not path.is_file():
            return False
        state = torch.load(path, weights_only=True)
        self.net.load_state_dict(state["net"])
        self.ema.load_state_dict(state["ema"])
        self.opt.load_state_dict(state["opt"])
        self.spent_s, self.images, self.history = (
            state["spent_s"],
            state["images"],
            state["history"],
        )
        self.errors.update(state["errors"])
        return True

    def save(self) -> None:
        """Checkpoint, written beside and moved over the old one, so that a kill never leaves half a
        file.
        """
        state = {
            "net": self.net.state_dict(), "ema": self.ema.state_dict(), "opt": self.opt.state_dict(),
            "spent_s": self.spent_s, "images": self.images, "history": self.history, "errors": self.errors,
        }  # fmt: skip
        torch.save(state, self.out / "last.pt.new")
        (self.out / "last.pt.new").replace(self.out / "last.pt")
        save_file(half(self.ema.module), self.out / "ema.safetensors")
        (self.out / "config.json").write_text(json.dumps(asdict(self.config), indent=1))
        (self.out / "history.json").write_text(json.dumps(self.history, indent=1))

    def set_stage(self) -> None:
        cfg, share = self.config, self.share
        rise = min(1.0, share / cfg.gentle_until)
        size = 160 if share < cfg.small_until else 224
        emphasis = [0.5 + min(1.0, self.errors[f] / 0.35) for f in FAMILIES]
        self.stage[:] = [1.0 - 0.6 * rise, 0.2 + 0.8 * rise, size, *emphasis]

    def step(self, crops: Tensor, masks: Tensor, families: Tensor) -> float:
        self.net.train()
        factor = schedule(self.share, self.config.constant_rate)
        for group in self.opt.param_groups:
            group["lr"] = group["peak_lr"] * factor
        images = crops.float().div_(255).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss, logits = loss_of(self.net, images, masks)
        self.opt.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), 5.0)
        self.opt.step()
        self.ema.update_parameters(self.net)
        self.images += len(images)
        wrong = ((logits[1::2] < logits[0::2]).float() + (logits[1::2] < 0).float()) / 2
        for family, error in zip(families.tolist(), wrong.tolist(), strict=True):
            name = FAMILIES[family]
            self.errors[name] = 0.98 * self.errors[name] + 0.02 * error
        return float(loss.detach())


def half(net: nn.Module) -> dict[str, Tensor]:
    """The state in fp16, contiguous, as it ships (integers as they are)."""
    return {
        k: (v.half() if v.is_floating_point() else v).contiguous().clone()
        for k, v in net.state_dict().items()
    }


def load_backbone(net: DeepfakeNetwork, path: Path) -> None:
    """ImageNet weights for the RGB stream from a file of the whole backbone. Raises
    WeightsError.
    """
    load_weights(net.embedder.rgb.net, path, "the backbone")  # type: ignore[union-attr, arg-type]


def train(
    net: DeepfakeNetwork, pictures: Sequence[Picture], config: TrainConfig, out: Path
) -> Trainer:
    """Run, or go on with, one training run until its minutes are spent."""
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    trainer = Trainer(net, config, out)
    resumed = trainer.resume()
    held = make_validation(pictures)
    trainer.set_stage()
    maker = PairMaker(
        [p for p in pictures if p.split == "train"], config.family_weights, config.retouched
    )
    stream = PairStream(maker, config.pairs_per_batch, config.seed + trainer.images, trainer.stage)
    ahead = 4 if config.workers else None
    loader: Iterator[Any] = iter(
        DataLoader(stream, batch_size=None, num_workers=config.workers, prefetch_factor=ahead)
    )
    bar = tqdm(total=config.minutes, initial=trainer.spent_s / 60, unit="min", disable=None)
    print(
        f"{'resumed' if resumed else 'started'}: {len(pictures)} pictures, families {maker.families}",
        flush=True,
    )
    last_save = last_check = trainer.spent_s
    recent: list[float] = []
    while trainer.share < 1:
        began = time.monotonic()
        recent = [*recent[-199:], trainer.step(*next(loader))]
        trainer.spent_s += time.monotonic() - began
        trainer.set_stage()
        bar.n = trainer.spent_s / 60
        bar.set_postfix(loss=f"{np.mean(recent):.3f}", images=trainer.images)
        if trainer.spent_s - last_check >= config.validate_minutes * 60 or trainer.share >= 1:
            last_check = trainer.spent_s
            figures = validate(trainer.ema.module, held) | {"loss": float(np.mean(recent))}
            trainer.history.append(
                {"minutes": trainer.spent_s / 60, "images": trainer.images, **figures}
            )
            shown = " ".join(f"{k} {v:.3f}" for k, v in figures.items())
            print(f"[{trainer.spent_s / 60:.1f} min, {trainer.images} images] {shown}", flush=True)
        if trainer.spent_s - last_save >= config.checkpoint_minutes * 60 or trainer.share >= 1:
            last_save = trainer.spent_s
            trainer.save()
    bar.close()
    return trainer


def is_whole(path: Path | None) -> bool:
    """Whether a weights file holds the whole network (a finished run's) and not a backbone
    alone.
    """
    return path is not None and any(key.startswith("embedder.") for key in read_tensors(path))


def new_network(start: Path | None, **options: Any) -> DeepfakeNetwork:
    """The default network without a denoiser: its RGB stream from a backbone's file, or all of it
    from a run's.
    """
    net = DeepfakeNetwork(NetworkConfig(embedder_options=options, denoiser_widths=()))
    if is_whole(start):
        load_weights(net, start, "the network")  # type: ignore[arg-type]
    elif start is not None:
        load_backbone(net, start)
    return net


def assemble(
    runs: Sequence[Path], denoiser: Path | None, shares: Sequence[float] | None = None
) -> DeepfakeNetwork:
    """The mean of the averaged weights of runs from one start (folders, or files of weights), and a
    run's denoiser.

    shares: how much each counts, alike when None. Along a line of training, or between runs from
    one start, such a mean
    is often better than any of its parts (Izmailov et al. 2018, arXiv 1803.05407; Wortsman et al.
    2022, arXiv
    2203.05482). Raises ValueError for another number of shares than of runs.
    """
    widths = NetworkConfig().denoiser_widths if denoiser is not None else ()
    network = DeepfakeNetwork(NetworkConfig(denoiser_widths=widths))
    shares = [1.0] * len(runs) if shares is None else shares
    weights = [load_file(run if run.is_file() else run / "ema.safetensors") for run in runs]
    parts = [(part, share / sum(shares)) for part, share in zip(weights, shares, strict=True)]
    state = {
        k: sum((part[k].float() * share for part, share in parts), torch.zeros(()))
        if v.is_floating_point()
        else v
        for k, v in weights[0].items()
        if not k.startswith("denoiser.")
    }
    if denoiser is not None:
        own = load_file(denoiser if denoiser.is_file() else denoiser / "denoiser.safetensors")
        state |= {f"denoiser.{k.removeprefix('denoiser.')}": v for k, v in own.items()}
    network.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
    )
    return network


def fit_global_branch(network: DeepfakeNetwork, held: ValidationSet) -> GlobalBranch:
    """Fit the global branch (see FrameHead): on authentic crops it gets the spread of the logit.

    Its mean comes to lie one standard deviation below the logit's, so that a wholly quiet map has
    no influence.
    """
    logits, maps = predict(network.eval(), held.crops[:, 0])
    quiet = lower_half(torch.from_numpy(maps)).numpy()
    gain = float(logits.std() / quiet.std())
    offset = float(logits.mean() - logits.std() - gain * quiet.mean())
    return GlobalBranch(round(gain, 4), round(offset, 4))
