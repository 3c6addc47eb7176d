"""What an autoencoder keeps: a dense one on digits, 784 -> 128 -> 64 -> code -> 64 -> 128 -> 784
(sigmoid).

The size of the code decides what survives. Beside reconstruction it serves for anomaly detection,
denoising, inpainting and search for similar digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

from explain.lab.digits import SIDE_PX, split

if TYPE_CHECKING:
    from torch import Tensor, nn

CODE_SIZES = (2, 4, 8, 16, 32, 64)
LOSSES = ("MSE", "L1")
TASKS = ("rebuild", "denoise")
STEPS = 1000
BATCH = 128
LEARNING_RATE = 2e-3
NOISE = 0.35  # standard deviation, of a full range of 1
HOLE = slice(10, 18)  # rows and columns of the hole, px
FILL_ROUNDS = 12
PIXELS = SIDE_PX**2
LOSS_EVERY = 25  # steps between two kept losses
Pictures = NDArray[np.float32]  # (N, SIDE_PX, SIDE_PX) in [0, 1]


def dense_autoencoder(code: int) -> nn.Sequential:
    """Encoder and decoder: (B, 784) in [0, 1] -> the same, through `code` numbers. Raises
    ValueError.
    """
    from torch import nn

    if not CODE_SIZES[0] <= code <= CODE_SIZES[-1]:
        raise ValueError(
            f"expected a code of {CODE_SIZES[0]} to {CODE_SIZES[-1]} numbers, but got {code}"
        )
    encoder = nn.Sequential(
        nn.Linear(PIXELS, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, code)
    )
    decoder = nn.Sequential(
        nn.Linear(code, 64),
        nn.ReLU(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Linear(128, PIXELS),
        nn.Sigmoid(),
    )
    return nn.Sequential(encoder, decoder)


@dataclass(frozen=True, eq=False)
class TrainedAutoencoder:
    """An autoencoder and what it has learnt."""

    net: nn.Sequential  # of dense_autoencoder
    losses: tuple[float, ...]  # every LOSS_EVERY steps

    def rebuild(self, pictures: Pictures) -> Pictures:
        """Pictures -> the same, through the code."""
        return _through(self.net, pictures).reshape(-1, SIDE_PX, SIDE_PX)

    def codes(self, pictures: Pictures) -> NDArray[np.float32]:
        """(N, code)."""
        return _through(self.net[0], pictures)

    def error(self, pictures: Pictures) -> NDArray[np.float64]:
        """(N,) mean squared error of the rebuilt pictures: the anomaly score."""
        return squared_error(pictures, self.rebuild(pictures))

    def inpaint(self, holed: Pictures, rounds: int = FILL_ROUNDS) -> Pictures:
        """Fill the hole: rebuild, take over what lies in the hole, and again."""
        filled = holed.copy()
        for _ in range(rounds):
            filled[:, HOLE, HOLE] = self.rebuild(filled)[:, HOLE, HOLE]
        return filled

    def alike(
        self, picture: NDArray[np.float32], among: Pictures, count: int = 6
    ) -> NDArray[np.intp]:
        """Indices of the pictures whose codes are nearest to this one's, nearest first."""
        apart = np.linalg.norm(self.codes(among) - self.codes(picture[None]), axis=1)
        return np.argsort(apart)[:count]


class Training:
    """An autoencoder while it learns digits from scratch, step by step.

    The task "denoise" rebuilds clean digits from noisy ones. The same seed gives the same net.
    """

    def __init__(
        self, code: int, loss: str = "MSE", task: str = "rebuild", seed: int = 0, total: int = STEPS
    ) -> None:
        """total: steps after which it is done; the learning rate falls towards it.

        Raises ValueError for an unknown loss or task and for a code outside CODE_SIZES.
        """
        import torch
        from torch import nn

        if loss not in LOSSES or task not in TASKS:
            raise ValueError(
                f"expected a loss of {LOSSES} and a task of {TASKS}, but got {loss!r} and {task!r}"
            )
        self.code = code
        self.loss = loss
        self.task = task
        self.total = total
        self.steps = 0
        self.losses: list[float] = []  # every LOSS_EVERY steps
        self._random = torch.Generator().manual_seed(seed)
        with torch.random.fork_rng():
            torch.manual_seed(seed)  # the layers' own initialisation takes no generator
            self._net = dense_autoencoder(code)
        self._optimiser = torch.optim.Adam(self._net.parameters(), LEARNING_RATE)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimiser, max(total, 1))
        self._measure = nn.MSELoss() if loss == "MSE" else nn.L1Loss()
        self._seen = _flat(split()[0].pictures)

    @property
    def done(self) -> bool:
        return self.steps >= self.total

    def learnt(self) -> TrainedAutoencoder:
        """What it has learnt so far; it may go on learning."""
        return TrainedAutoencoder(self._net, tuple(self.losses))

    def step(self) -> None:
        """Learn from one batch; nothing once it is done."""
        import torch

        if self.done:
            return
        batch = self._seen[torch.randint(len(self._seen), (BATCH,), generator=self._random)]
        given = batch
        if self.task == "denoise":
            given = (batch + NOISE * torch.randn(batch.shape, generator=self._random)).clamp(0, 1)
        error = self._measure(self._net(given), batch)
        self._optimiser.zero_grad()
        error.backward()
        self._optimiser.step()
        self._schedule.step()
        if self.steps % LOSS_EVERY == 0:
            self.losses.append(float(error.detach()))
        self.steps += 1


def train(
    code: int, loss: str = "MSE", task: str = "rebuild", seed: int = 0, steps: int = STEPS
) -> TrainedAutoencoder:
    """Train to the end; see Training."""
    training = Training(code, loss, task, seed, steps)
    while not training.done:
        training.step()
    return training.learnt()


def _through(net: nn.Module, pictures: Pictures) -> NDArray[np.float32]:
    """What a network gives for pictures: (N, numbers)."""
    import torch

    with torch.inference_mode():
        return net(_flat(pictures)).numpy()


def _flat(pictures: Pictures) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(pictures)).reshape(-1, PIXELS)


def squared_error(pictures: Pictures, rebuilt: Pictures) -> NDArray[np.float64]:
    """(N,) mean squared error per picture."""
    return ((pictures.astype(np.float64) - rebuilt) ** 2).mean(axis=(1, 2))


@lru_cache(len(CODE_SIZES))
def pca_error(components: int) -> float:
    """Mean squared error on unseen digits of a PCA with so many components, fitted on seen ones."""
    seen, unseen = (part.pictures.reshape(-1, PIXELS).astype(np.float64) for part in split())
    mean = seen.mean(axis=0)
    axes = np.linalg.svd(seen - mean, full_matrices=False)[2][:components]
    return float((((unseen - mean) - (unseen - mean) @ axes.T @ axes) ** 2).mean())


# ----------------------------------------------------------------------------------------------
# what to try it with


def noisy(pictures: Pictures, rng: np.random.Generator) -> Pictures:
    """Pictures with Gaussian noise."""
    return np.clip(pictures + NOISE * rng.standard_normal(pictures.shape), 0, 1).astype(np.float32)


def holed(pictures: Pictures) -> Pictures:
    """Pictures with a black square in the middle."""
    out = pictures.copy()
    out[:, HOLE, HOLE] = 0
    return out


def not_digits() -> tuple[Pictures, tuple[str, ...]]:
    """Pictures of something else than digits, and what each shows."""
    face = cv2.cvtColor(np.ascontiguousarray(data.astronaut()[50:190, 150:290]), cv2.COLOR_RGB2GRAY)
    small = (
        cv2.resize(face, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    )
    cross = np.zeros((SIDE_PX, SIDE_PX), np.float32)
    cv2.line(cross, (4, 4), (23, 23), 1.0, 3)
    cv2.line(cross, (4, 23), (23, 4), 1.0, 3)
    checks = ((np.indices((SIDE_PX, SIDE_PX)) // 4).sum(axis=0) % 2).astype(np.float32)
    return np.stack([small, cross, checks]), ("a face", "a cross", "a chess board")
