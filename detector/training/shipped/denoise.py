"""The first of the two stages of `compression-resilient` (docs/SOURCES.md): the denoiser learns to
undo the presets of detector.degrade.

`python -m detector.training.shipped.denoise --data DIR --out runs/denoiser --minutes 15`
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from detector.degrade import apply_preset
from detector.faces import CROP_MARGIN, cut_square
from detector.forgery.pictures import LabelledFace, load_pictures
from detector.nets.autoencoder import DenoisingAutoencoder
from detector.nets.network import NetworkConfig
from detector.training.checkpoints import half_precision, save_weights, widened
from detector.training.loop import Learner, Loop, cosine
from detector.training.shipped.networks import DENOISER
from detector.types import CROP_PX

SEVERITIES = ("light", "medium", "heavy")
DRAWN = (0.4, 0.3, 0.3)  # light is the hardest to improve on, so it is drawn most
PATCH_PX = 96  # the damage is local: patches of a crop teach as much at a fifth of the cost
PEAK_LR = 1.5e-3
CHECKPOINT_S = 300.0


def clean_crop(picture: LabelledFace, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A crop to be restored. Faces shrink to 70-100% first, and their own JPEG's blocks with
    them.
    """
    return cut_square(
        picture.rgb, picture.box_xyxy_px, CROP_PX, CROP_MARGIN * float(rng.uniform(1.0, 1.4))
    )[0]


class Damaged(IterableDataset):  # type: ignore[type-arg]
    """Endless batches of (damaged, clean) patches, (2, N, P, P, 3) uint8."""

    def __init__(self, pictures: Sequence[LabelledFace], batch: int, seed: int) -> None:
        self.pictures = pictures
        self.batch = batch
        self.seed = seed

    def __iter__(self) -> Iterator[torch.Tensor]:
        cv2.setNumThreads(0)
        rng = np.random.default_rng(self.seed)
        while True:
            pairs = []
            for _ in range(self.batch // 2):
                clean = clean_crop(self.pictures[int(rng.integers(len(self.pictures)))], rng)
                if rng.random() < 0.5:
                    clean = np.ascontiguousarray(clean[:, ::-1])
                damaged = apply_preset(clean, str(rng.choice(SEVERITIES, p=DRAWN)), rng)
                for _ in range(2):
                    # Corners on the 8 px grid of the JPEG blocks, as whole crops have them.
                    y, x = rng.integers(0, (CROP_PX - PATCH_PX) // 8 + 1, 2) * 8
                    pairs.append([p[y : y + PATCH_PX, x : x + PATCH_PX] for p in (damaged, clean)])
            yield torch.from_numpy(np.array(pairs).swapaxes(0, 1).copy())


@torch.inference_mode()
def gains_db(net: nn.Module, pictures: Sequence[LabelledFace], seed: int = 5) -> dict[str, float]:
    """Mean PSNR(output, clean) - PSNR(input, clean) in dB per severity."""
    rng = np.random.default_rng(seed)
    gains = {}
    for severity in SEVERITIES:
        before = []
        after = []
        for picture in pictures:
            clean = clean_crop(picture, rng)
            damaged = apply_preset(clean, severity, rng)
            x = torch.from_numpy(damaged).permute(2, 0, 1)[None].float() / 255
            restored = (
                (net(x).clamp(0, 1)[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            )
            before.append(peak_signal_noise_ratio(clean, damaged, data_range=255))
            after.append(peak_signal_noise_ratio(clean, restored, data_range=255))
        gains[severity] = float(np.mean(np.array(after) - np.array(before)))
    return gains


def train_denoiser(
    pictures: Sequence[LabelledFace],
    out: Path,
    minutes: float,
    threads: int = 1,
    seed: int = 0,
    batch: int = 16,
) -> dict[str, float]:
    """Train for some minutes, save an averaged fp16 copy, return its gains on the held-back faces.

    Weights already in `out` are where it starts.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    out.mkdir(parents=True, exist_ok=True)
    path = out / DENOISER
    net = DenoisingAutoencoder(NetworkConfig().denoiser_widths)
    if path.is_file():  # go on from what an earlier run left
        net.load_state_dict(widened(load_file(path)))
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(
        net.parameters(), PEAK_LR, betas=(0.9, 0.99), weight_decay=1e-4, fused=True
    )
    learner = Learner(net, optimizer, clip_norm=1.0, decay=0.995)
    loop = Loop(minutes * 60)
    held = [p for p in pictures if p.split == "val"][:60]
    stream = Damaged([p for p in pictures if p.split == "train"], batch, seed)

    def step(patches: Tensor) -> float:
        damaged, clean = (
            t.permute(0, 3, 1, 2).float().div_(255).contiguous(memory_format=torch.channels_last)
            for t in patches
        )
        with torch.autocast("cpu", torch.bfloat16):
            # log MSE is PSNR itself
            loss = ((net(damaged) - clean) ** 2).mean((1, 2, 3)).add(1e-6).log().mean()
        return learner.update(loss, cosine(loop.share, 0.02))

    def checkpoint() -> None:
        save_weights(half_precision(learner.averaged), path)
        gains = gains_db(learner.averaged.eval(), held[:20])
        print({k: round(v, 2) for k, v in gains.items()}, f"{loop.share:.0%}", flush=True)

    loader = DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4)
    loop.run(loader, step, every=[(CHECKPOINT_S, checkpoint)])
    gains = gains_db(learner.averaged.eval(), held)
    (out / "gains.json").write_text(json.dumps(gains, indent=1))
    return gains


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m detector.training.shipped.denoise",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    pictures = load_pictures(args.data / "faces")
    print(train_denoiser(pictures, args.out, args.minutes, args.threads))


if __name__ == "__main__":
    main()
