"""How a GAN learns: a DCGAN on 28x28 digits, trained step by step before the learner's eyes.

Generator: 100 numbers -> Dense 7*7*256, BatchNorm, LeakyReLU -> transposed convolutions 5x5 to 128
(stride 1), 64 (stride 2) and 1 (stride 2), tanh. Discriminator: convolutions 5x5 stride 2 to 64 and
128, LeakyReLU and dropout 0.3 each, Dense 1. Losses and optimiser after Radford et al.,
arXiv:1511.06434.

`python -m explain.lab.gan` trains the shipped longer run.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.manifest import SHIPPED
from detector.pipeline import bf16_pays
from detector.types import Progress
from explain.lab import store
from explain.lab.digits import digits

NOISE = 100
BATCH = 32  # of each kind; small, so that a hundred steps take seconds
LEARNING_RATE = 2e-4
# The longer run has minutes, not hours, so its learning rate is higher and falls towards the end.
LONG_RATE = 4e-4
# One-sided label smoothing (Salimans et al., arXiv:1606.03498) and noise over the discriminator's
# input that fades away (Sonderby et al., arXiv:1610.04490) keep the discriminator from getting too
# sure of itself.
LONG_LABEL_SMOOTHING = 0.1
LONG_INPUT_NOISE = 0.1
# The generator learns from the most convincing samples of a batch (Sinha et al., arXiv:2002.06224).
LONG_KEPT = 24
# The discriminator's rate / the generator's (Heusel et al., arXiv:1706.08500): at the same rate it
# hardly told the two kinds apart.
LONG_DISCRIMINATOR_PACE = 3.0
# A mixture of Gaussians for the latent code (Ben-Yosef and Weinshall, arXiv:1808.10356): digits
# come in separate kinds, and one Gaussian always has something between two of them. The mixture's
# centres are learnt with the generator.
CENTRES = 60
CENTRE_SPREAD = 0.4  # share of a code that is noise around its centre
CENTRE_PACE = 10.0  # the centres' learning rate / the generator's
HEAD_START = 300  # steps that a new discriminator gets against a generator that was loaded
# samples of the grid, always of the same codes, so that one can watch each of them change
SHOWN = 36
MARGIN = 1.1  # second nearest digit / nearest: from there on a sample counts as that digit
MOST_STEPS = 2000  # of a visitor's game
WEIGHTS = "lesson-gan.safetensors"
# Collapse on demand: the discriminator no longer learns, so the generator repeats what pleases it.
COLLAPSE_RATE = 2e-3


def generator() -> nn.Sequential:
    """(B, 100) noise -> (B, 1, 28, 28) in [-1, 1]."""
    return nn.Sequential(
        nn.Linear(NOISE, 7 * 7 * 256, bias=False), nn.BatchNorm1d(7 * 7 * 256), nn.LeakyReLU(0.3),
        nn.Unflatten(1, (256, 7, 7)),
        nn.ConvTranspose2d(256, 128, 5, 1, 2, bias=False), nn.BatchNorm2d(128), nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(128, 64, 5, 2, 2, 1, bias=False), nn.BatchNorm2d(64), nn.LeakyReLU(0.3),
        nn.ConvTranspose2d(64, 1, 5, 2, 2, 1, bias=False), nn.Tanh(),
    )  # fmt: skip


def discriminator() -> nn.Sequential:
    """(B, 1, 28, 28) -> (B, 1) logit; above 0: taken for a real digit."""
    return nn.Sequential(
        nn.Conv2d(1, 64, 5, 2, 2), nn.LeakyReLU(0.3), nn.Dropout(0.3),
        nn.Conv2d(64, 128, 5, 2, 2), nn.LeakyReLU(0.3), nn.Dropout(0.3),
        nn.Flatten(), nn.Linear(128 * 7 * 7, 1),
    )  # fmt: skip


@dataclass(frozen=True)
class StepLosses:
    """Cross-entropy of both players at one step."""

    generator: float
    discriminator: float


@dataclass(eq=False)
class Game:
    """The two players, and how the game has gone. The same seed gives the same game."""

    seed: int = 0
    steps: int = 0
    losses: list[StepLosses] = field(default_factory=list)
    collapsing: bool = False
    label_smoothing: float = 0.0  # the target for real digits is 1 minus this
    kept: int = BATCH  # samples of a batch that the generator learns from: the most convincing ones
    # standard deviation of noise over all that the discriminator sees, of a range of 2
    input_noise: float = 0.0
    centres: int = 0  # of the mixture that codes are drawn from; 0: one Gaussian

    def __post_init__(self) -> None:
        self.random = torch.Generator().manual_seed(self.seed)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)  # the layers' own initialisation takes no generator
            self.generator = generator()
            self.discriminator = discriminator()
        self._generator_steps, self._discriminator_steps = (
            torch.optim.Adam(player.parameters(), LEARNING_RATE, betas=(0.5, 0.999))
            for player in (self.generator, self.discriminator)
        )
        self.points = nn.Parameter(torch.randn(self.centres, NOISE, generator=self.random))
        self._generator_steps.add_param_group({"params": [self.points]})
        self._shown = torch.randn(SHOWN, NOISE, generator=self.random)
        real = torch.from_numpy(digits().pictures)[:, None]
        self._real = real * 2 - 1

    def play(self, steps: int, progress: Progress | None = None) -> None:
        """Let both players learn for a number of steps; raising in progress stops between two of
        them.
        """
        report = progress or (lambda share, stage: None)
        for i in range(steps):
            report(i / steps, f"Step {self.steps + 1}")
            self._step()
        report(1.0, "Done")

    def collapse(self) -> None:
        """From now on only the generator learns, and fast."""
        self.collapsing = True
        self.set_rate(COLLAPSE_RATE)

    def set_rate(self, rate: float, discriminator_rate: float | None = None) -> None:
        """Set the learning rate of both players; None: the discriminator's is the generator's."""
        own = rate if discriminator_rate is None else discriminator_rate
        self._generator_steps.param_groups[0]["lr"] = rate
        self._generator_steps.param_groups[1]["lr"] = CENTRE_PACE * rate
        self._discriminator_steps.param_groups[0]["lr"] = own

    def samples(self, count: int = SHOWN) -> NDArray[np.float32]:
        """(count, 28, 28) in [0, 1]; the first SHOWN are always of the same noise."""
        noise = self._shown
        if count > SHOWN:
            more = torch.randn(
                count - SHOWN, NOISE, generator=torch.Generator().manual_seed(self.seed + 1)
            )
            noise = torch.cat([noise, more])
        return draw(self.generator, noise[:count])

    def _step(self) -> None:
        picked = torch.randint(len(self._real), (BATCH,), generator=self.random)
        real = self._real[picked]
        noise = draw_noise(BATCH, self.points, self.random)
        self.generator.train()
        self.discriminator.train()
        with torch.random.fork_rng(), torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays()):
            torch.manual_seed(self.seed + self.steps)  # dropout takes no generator
            made = self.generator(noise)
            caught = self._discriminator_loss(real, made.detach())
            if not self.collapsing:
                _learn(self._discriminator_steps, caught)
            # it only judges here; its own gradients would cost time
            self.discriminator.requires_grad_(False)
            most_convincing = self._judged(made).topk(self.kept, dim=0).values
            fooled = _cross_entropy(most_convincing, 1.0)
            _learn(self._generator_steps, fooled)
            self.discriminator.requires_grad_(True)
        self.losses.append(StepLosses(float(fooled.detach()), float(caught.detach())))
        self.steps += 1

    def _discriminator_loss(self, real: Tensor, made: Tensor) -> Tensor:
        of_real = _cross_entropy(self._judged(real), 1.0 - self.label_smoothing)
        return of_real + _cross_entropy(self._judged(made), 0.0)

    def _judged(self, pictures: Tensor) -> Tensor:
        """The discriminator's logits (B, 1) of pictures with its input noise."""
        if self.input_noise:
            pictures = pictures + self.input_noise * torch.randn(pictures.shape)
        return self.discriminator(pictures)


@dataclass(eq=False)
class Match(Game):
    """A game that ends, since somebody may leave the page open."""

    @property
    def done(self) -> bool:
        return self.steps >= MOST_STEPS

    def step(self) -> None:
        self.play(1)


def draw_noise(count: int, points: Tensor, random: torch.Generator) -> Tensor:
    """(count, 100) codes of variance 1 around points (N, 100) drawn at random; N may be 0."""
    noise = torch.randn(count, NOISE, generator=random)
    if not len(points):
        return noise
    centres = points[torch.randint(len(points), (count,), generator=random)]
    return (1 - CENTRE_SPREAD**2) ** 0.5 * centres + CENTRE_SPREAD * noise


def _cross_entropy(logits: Tensor, real: float) -> Tensor:
    """Binary cross-entropy against the target probability `real` for every sample."""
    return F.binary_cross_entropy_with_logits(
        logits.float(), torch.full_like(logits, real, dtype=torch.float32)
    )


def _learn(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()


@torch.inference_mode()
def draw(net: nn.Module, noise: Tensor) -> NDArray[np.float32]:
    """Pictures (N, 28, 28) in [0, 1] of noise (N, 100)."""
    net.eval()
    return ((net(noise)[:, 0].float() + 1) / 2).numpy()


def variety(samples: NDArray[np.float32]) -> float:
    """Mean distance (RMS over pixels) between two samples; falls when the generator repeats
    itself.
    """
    flat = samples.reshape(len(samples), -1).astype(np.float64)
    n = len(flat)
    squares = (flat**2).sum(1)
    apart = squares[:, None] + squares[None] - 2 * flat @ flat.T
    return float(np.sqrt(np.clip(apart, 0, None) / flat.shape[1]).sum() / (n * (n - 1)))


# ----------------------------------------------------------------------------------------------
# is it a digit, and which one?


@dataclass(frozen=True, eq=False)
class Recognised:
    """What a nearest-neighbour classifier trained on real digits says of samples."""

    labels: NDArray[np.int64]  # (N,) the nearest real digit's
    # (N,) distance to the second digit / distance to the first; 1: a tie
    margin: NDArray[np.float64]


def recognise(samples: NDArray[np.float32]) -> Recognised:
    """Compare each sample with every real digit."""
    real = digits()
    a, b = (p.reshape(len(p), -1).astype(np.float64) for p in (samples, real.pictures))
    apart = np.sqrt(
        np.clip((a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T, 1e-12, None)
    )
    best = np.stack([apart[:, real.labels == digit].min(axis=1) for digit in range(10)], axis=1)
    ordered = np.sort(best, axis=1)
    return Recognised(best.argmin(axis=1), ordered[:, 1] / ordered[:, 0])


# ----------------------------------------------------------------------------------------------
# the longer run


def shipped() -> tuple[nn.Module, Tensor]:
    """The generator of the longer run and the points of its noise. Raises WeightsError."""
    net = generator()
    state = store.load(WEIGHTS)
    points = state.pop("points")
    net.load_state_dict({**net.state_dict(), **state})
    return net.eval().requires_grad_(False), points


def shipped_samples(count: int, seed: int) -> NDArray[np.float32]:
    """(count, 28, 28) samples of the longer run."""
    net, points = shipped()
    return draw(net, draw_noise(count, points, torch.Generator().manual_seed(seed)))


def train_longer(minutes: float, folder: Path, seed: int = 0, go_on: bool = False) -> Game:
    """Play for some minutes and save the generator's moving average now and then.

    go_on: from the generator in `folder` instead of from scratch.
    """
    torch.set_flush_denormal(True)
    game = Game(seed, label_smoothing=LONG_LABEL_SMOOTHING, kept=LONG_KEPT, centres=CENTRES)
    start = time.monotonic()
    for player in (game.generator, game.discriminator):
        player.to(memory_format=torch.channels_last)
    if go_on:
        state = store.load(WEIGHTS, folder)
        game.points.data = state.pop("points")
        game.generator.load_state_dict({**game.generator.state_dict(), **state})
    mean = torch.optim.swa_utils.AveragedModel(
        game.generator,
        multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998),
        use_buffers=True,
    )
    rate = LONG_RATE / 2 if go_on else LONG_RATE
    while (spent := (time.monotonic() - start) / (60 * minutes)) < 1:
        now = rate * min(1.0, 3.0 * (1 - spent) + 0.02)
        waits = go_on and game.steps < HEAD_START
        game.set_rate(0.0 if waits else now, LONG_DISCRIMINATOR_PACE * now)
        game.input_noise = 0.0 if go_on else LONG_INPUT_NOISE * max(0.0, 1 - 2 * spent)
        game.play(1)
        mean.update_parameters(game.generator)
        if game.steps % 500 == 0:
            keep(mean.module, game.points, folder)
            quality = how_good(mean.module, game.points)
            print(f"{spent:.0%}, {game.steps} steps: {quality}; {game.losses[-1]}", flush=True)
    keep(mean.module, game.points, folder)
    return game


def keep(net: nn.Module, points: Tensor, folder: Path) -> None:
    """Save a generator as the longer run's."""
    state = {k: v for k, v in net.state_dict().items() if v.is_floating_point()}
    store.save(WEIGHTS, state | {"points": points.detach()}, folder)


@torch.no_grad()
def how_good(net: nn.Module, points: Tensor) -> str:
    """How many of 500 samples a nearest-neighbour classifier takes for a digit."""
    made = draw(net, draw_noise(500, points, torch.Generator().manual_seed(1)))
    found = recognise(made)
    digit = "/".join(str(n) for n in np.bincount(found.labels, minlength=10))
    share = (found.margin > MARGIN).mean()
    return f"{share:.1%} clear a margin of {MARGIN}; per digit {digit}; variety {variety(made):.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train the digits GAN of the longer run.")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--go-on", action="store_true", help="from the generator in --out")
    parser.add_argument(
        "--out", type=Path, default=SHIPPED, help="folder of the weights and of their sums"
    )
    args = parser.parse_args()
    played = train_longer(args.minutes, args.out, go_on=args.go_on)
    print(f"{played.steps} steps: {how_good(played.generator, played.points)} without the average")
