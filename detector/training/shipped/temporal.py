"""Train a temporal head on tracks, the embedder frozen, and hold it against the mean of the frame
logits.

Authentic tracks: frames of authentic clips, and still faces animated by a smooth motion. Forged
twins: every frame blended on its own (the flicker of frame-wise conversion), or a blend whose
settings drift slowly. Both twins go through the same codec.

`python -m detector.training.shipped.temporal --run runs/main --data DIR --out runs/temporal`; then
`python -m detector.benchmark ablations` holds the heads against the mean on genuine forgeries.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor
from tqdm import tqdm

from detector.forgery.pictures import Picture, load_pictures
from detector.forgery.tracks import animated, twins
from detector.nets.temporal import build_temporal, masked_mean
from detector.pipeline import Detector
from detector.training.shipped.train import assemble
from detector.types import ModelInfo

TRACK_FRAMES = 12
HEADS = {
    "gru": {"hidden": 64, "add_mean": True},
    "lstm": {"hidden": 64, "add_mean": True},
    "transformer": {"width": 64, "heads": 4, "layers": 1},
}

# embeddings (T, D), logits (T,), label
Track = tuple[NDArray[np.float32], NDArray[np.float32], int]


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
            seen = detector.predict(crops, kind="video")
            tracks.append((seen.embeddings, seen.logits, label))
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
    parser = argparse.ArgumentParser(
        prog="python -m detector.training.shipped.temporal", description=__doc__
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
