"""Train a temporal head on tracks, the embedder frozen, and hold it against the mean of the frame
logits.

Authentic tracks: frames of authentic clips, and still faces animated by a smooth motion. Forged
twins: every frame blended on its own (the flicker of frame-wise conversion), or a blend whose
settings drift slowly. Both twins go through the same codec.

`python -m detector.training.temporal --run runs/main --data DIR --out runs/temporal`; then
`python -m detector.benchmark ablations` holds the heads against the mean on genuine forgeries.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from detector.degrade import apply_clip, draw_training
from detector.faces import CROP_MARGIN, cut_square
from detector.nets.temporal import build_temporal, masked_mean
from detector.pipeline import Detector
from detector.training import forge
from detector.training.data import WORK_MARGIN, Picture, cut_work
from detector.training.train import assemble
from detector.types import ModelInfo

TRACK_FRAMES = 12
HEADS = {
    "gru": {"hidden": 64, "add_mean": True},
    "lstm": {"hidden": 64, "add_mean": True},
    "transformer": {"width": 64, "heads": 4, "layers": 1},
}

# embeddings (T, D), logits (T,), label
Track = tuple[NDArray[np.float32], NDArray[np.float32], int]


def animated(picture: Picture, n_frames: int, rng: np.random.Generator) -> list[Picture]:
    """A still face moved by a smooth pan, zoom and turn, as `n_frames` pictures with their
    landmarks.
    """
    side = 280
    work = cut_work(picture, side, bool(rng.random() < 0.5))
    phase, swing = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.2, 1.0, 4) * [6.0, 6.0, 0.04, 4.0]
    pace = rng.uniform(0.7, 1.3, 4)
    out = []
    for t in np.linspace(0, np.pi, n_frames):
        x, y, zoom, turn = swing * np.sin(t * pace + phase)
        move = cv2.getRotationMatrix2D((side / 2, side / 2), float(turn), float(1 + zoom))
        move[:, 2] += (x, y)
        rgb = cv2.warpAffine(
            work.rgb, move, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        points = (np.hstack([work.landmarks_px, np.ones((5, 1))]) @ move.T).astype(np.float32)
        reach = side / WORK_MARGIN / 2
        box = (
            side / 2 + x - reach,
            side / 2 + y - reach,
            side / 2 + x + reach,
            side / 2 + y + reach,
        )
        out.append(replace(picture, rgb=rgb, landmarks_px=points, box_xyxy_px=box, rebuilt=()))
    return out


def twins(
    frames: Sequence[Picture],
    rng: np.random.Generator,
    nuisance: float = 0.8,
    strength: float = 0.5,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Authentic and forged crops (T, 224, 224, 3) of one track, through one nuisance."""
    x0, y0, x1, y1 = frames[0].box_xyxy_px
    side = int(np.clip(WORK_MARGIN * max(x1 - x0, y1 - y0) * rng.uniform(0.7, 1.0), 120, 300))
    flip = bool(rng.random() < 0.5)
    blend = forge.draw_blend(rng, strength)
    flicker = bool(rng.random() < 0.6)
    target: list[NDArray[np.uint8]] = []
    forged: list[NDArray[np.uint8]] = []
    for frame in frames:
        work = cut_work(frame, side, flip)
        own = forge.draw_blend(rng, strength, (blend.region,)) if flicker else blend
        if not flicker:  # the settings drift a little from frame to frame
            blend = replace(
                blend,
                shift_x=blend.shift_x + float(rng.normal(0, 0.002)),
                grow=blend.grow + float(rng.normal(0, 0.01)),
            )
        made = forge.self_blend(
            work.rgb, work.landmarks_px, replace(own, ratio=max(own.ratio, 0.5)), rng
        )
        target.append(made.authentic)
        forged.append(made.forged)
    recipe = draw_training(rng, nuisance)
    face = side / WORK_MARGIN / 2
    box = (side / 2 - face, side / 2 - face, side / 2 + face, side / 2 + face)
    cut = [
        np.stack([cut_square(f, box, 224, CROP_MARGIN)[0] for f in apply_clip(clip, recipe)])
        for clip in (target, forged)
    ]
    return cut[0], cut[1]


def make_tracks(
    detector: Detector, groups: Sequence[Sequence[Picture]], rounds: int, seed: int
) -> list[Track]:
    """Embeddings and frame logits of authentic and forged twins, `rounds` draws of every group of
    frames.
    """
    rng = np.random.default_rng(seed)
    tracks: list[Track] = []
    for frames in tqdm([g for _ in range(rounds) for g in groups], desc="tracks", disable=None):
        for label, crops in enumerate(twins(frames, rng)):
            looked = detector.look(crops)
            tracks.append((looked.embeddings, looked.logits, label))
    return tracks


def padded(
    tracks: Sequence[Track], rng: np.random.Generator | None = None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Embeddings (B, T, D), logits (B, T), mask (B, T), labels (B,); with rng a random part of each
    track.
    """
    longest = max(len(t[1]) for t in tracks)
    embeddings = torch.zeros(len(tracks), longest, tracks[0][0].shape[1])
    logits, mask = (
        torch.zeros(len(tracks), longest),
        torch.zeros(len(tracks), longest, dtype=torch.bool),
    )
    for row, (e, z, _) in enumerate(tracks):
        keep = np.arange(len(z))
        if rng is not None:
            n = int(rng.integers(min(3, len(z)), len(z) + 1))
            keep = np.arange(n) + int(rng.integers(0, len(z) - n + 1))
        embeddings[row, : len(keep)] = torch.from_numpy(e[keep])
        logits[row, : len(keep)] = torch.from_numpy(z[keep])
        mask[row, : len(keep)] = True
    return embeddings, logits, mask, torch.tensor([float(t[2]) for t in tracks])


def train_head(
    name: str, tracks: Sequence[Track], held: Sequence[Track], steps: int = 600, seed: int = 0
) -> tuple[torch.nn.Module, dict[str, float]]:
    """Train one head on stored tracks; return it with its AUC on held-back tracks beside the
    mean's.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = build_temporal(name, tracks[0][0].shape[1], **HEADS[name])
    opt = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
    for _ in range(steps):
        batch = [tracks[i] for i in rng.integers(0, len(tracks), 32)]
        embeddings, logits, mask, labels = padded(batch, rng)
        loss = F.binary_cross_entropy_with_logits(head(embeddings, logits, mask), labels)
        opt.zero_grad()
        loss.backward()
        opt.step()
        schedule.step()
    return head, compare(head, held)


def compare(head: torch.nn.Module, tracks: Sequence[Track]) -> dict[str, float]:
    """AUC of a head beside that of the mean of the frame logits."""
    head.eval()
    with torch.inference_mode():
        embeddings, logits, mask, labels = padded(tracks)
        video, mean = head(embeddings, logits, mask), masked_mean(logits, mask)
    return {"head": float(roc_auc_score(labels, video)), "mean": float(roc_auc_score(labels, mean))}


def clip_groups(cache: Path, table: Path) -> dict[str, list[list[Picture]]]:
    """Frames of each authentic clip from the face cache, by split."""
    groups: dict[str, list[list[Picture]]] = {"train": [], "val": []}
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        with np.load(cache / f"{row['file']}.npz") as data:
            frames = [
                Picture(rgb, tuple(box.tolist()), points, row["set"], row["file"], row["split"], 0)
                for rgb, box, points in zip(
                    data["rgb"], data["box"], data["landmarks"], strict=True
                )
            ]
        if len(frames) >= 4:
            groups[row["split"]].append(frames)
    return groups


def main() -> None:
    from detector.training.data import load_pictures

    parser = argparse.ArgumentParser(
        prog="python -m detector.training.temporal", description=__doc__
    )
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache/clips"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    detector = Detector.of(assemble([args.run], None), ModelInfo("run", "0" * 64))
    groups = clip_groups(args.cache, args.data / "clips.csv")
    rng = np.random.default_rng(0)
    stills = load_pictures(args.data / "faces")
    for split in ("train", "val"):
        some = [p for p in stills if p.split == split]
        chosen = rng.choice(len(some), min(len(some), len(groups[split]) // 2), replace=False)
        groups[split] += [animated(some[i], TRACK_FRAMES, rng) for i in chosen]
    tracks = make_tracks(detector, groups["train"], args.rounds, 1)
    held = make_tracks(detector, groups["val"], 3, 2)
    args.out.mkdir(parents=True, exist_ok=True)
    results = {}
    for name in HEADS:
        head, results[name] = train_head(name, tracks, held)
        save_file(
            {k: v.contiguous() for k, v in head.state_dict().items()},
            args.out / f"{name}.safetensors",
        )
    (args.out / "results.json").write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
