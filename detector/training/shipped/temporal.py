"""Train a temporal head on tracks, the embedder frozen, and hold it against the mean of the frame
logits.

Authentic tracks: frames of authentic clips, and still faces animated by a smooth motion. Forged
ones: every frame blended on its own (the flicker of frame-wise conversion), or a blend whose
settings drift slowly. Both tracks of a pair go through the same codec.

`python -m detector.training.shipped.temporal --run runs/main --data DIR --out runs/temporal`; then
`python -m detector.benchmark ablations` holds the heads against the mean on genuine forgeries.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from tqdm import tqdm

from detector.forgery.pictures import LabelledFace, load_pictures
from detector.forgery.tracks import animated, forged_pair
from detector.nets.temporal import build_temporal, masked_mean
from detector.pipeline import Detector
from detector.training.checkpoints import save_weights, state_copy
from detector.training.loop import Learner, Loop, cosine
from detector.training.shipped.networks import assemble
from detector.types import ModelInfo

TRACK_FRAMES = 12
TEMPORAL_HEADS = {
    "gru": {"hidden": 64, "add_mean": True},
    "lstm": {"hidden": 64, "add_mean": True},
    "transformer": {"width": 64, "heads": 4, "layers": 1},
}


@dataclass(frozen=True, eq=False)
class TrackFeatures:
    """What the frozen network makes of one track of T frames."""

    embeddings: NDArray[np.float32]  # (T, D)
    logits: NDArray[np.float32]  # (T,)
    label: int  # 1 forged


@dataclass(frozen=True, eq=False)
class TrackBatch:
    """B tracks of different length in one, padded with zeros to T frames."""

    embeddings: Tensor  # (B, T, D)
    logits: Tensor  # (B, T)
    mask: Tensor  # (B, T), False on the padding
    labels: Tensor  # (B,)

    @classmethod
    def of(cls, tracks: Sequence[TrackFeatures], rng: np.random.Generator | None = None) -> Self:
        """The tracks whole, or with rng a random part of each."""
        longest = max(len(track.logits) for track in tracks)
        embeddings = torch.zeros(len(tracks), longest, tracks[0].embeddings.shape[1])
        logits = torch.zeros(len(tracks), longest)
        mask = torch.zeros(len(tracks), longest, dtype=torch.bool)
        for row, track in enumerate(tracks):
            kept = _kept_frames(len(track.logits), rng)
            embeddings[row, : len(kept)] = torch.from_numpy(track.embeddings[kept])
            logits[row, : len(kept)] = torch.from_numpy(track.logits[kept])
            mask[row, : len(kept)] = True
        labels = torch.tensor([float(track.label) for track in tracks])
        return cls(embeddings, logits, mask, labels)


def _kept_frames(n_frames: int, rng: np.random.Generator | None) -> NDArray[np.int64]:
    if rng is None:
        return np.arange(n_frames)
    count = int(rng.integers(min(3, n_frames), n_frames + 1))
    return np.arange(count) + int(rng.integers(0, n_frames - count + 1))


def make_tracks(
    detector: Detector, groups: Sequence[Sequence[LabelledFace]], rounds: int, seed: int
) -> list[TrackFeatures]:
    """Authentic and forged tracks as the network sees them, `rounds` draws of every group of
    frames.
    """
    rng = np.random.default_rng(seed)
    tracks: list[TrackFeatures] = []
    for frames in tqdm([g for _ in range(rounds) for g in groups], desc="tracks", disable=None):
        for label, crops in enumerate(forged_pair(frames, rng)):
            seen = detector.predict(crops, kind="video")
            tracks.append(TrackFeatures(seen.embeddings, seen.logits, label))
    return tracks


def train_head(
    name: str,
    tracks: Sequence[TrackFeatures],
    held: Sequence[TrackFeatures],
    steps: int = 600,
    seed: int = 0,
) -> tuple[nn.Module, dict[str, float]]:
    """Train one head on stored tracks; return it with its AUC on held-back tracks beside the
    mean's.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    head = build_temporal(name, tracks[0].embeddings.shape[1], **TEMPORAL_HEADS[name])
    optimizer = torch.optim.AdamW(head.parameters(), 1e-3, weight_decay=0.05)
    learner = Learner(head, optimizer)
    loop = Loop(steps=steps, title=name)

    def step(batch: TrackBatch) -> float:
        logits = head(batch.embeddings, batch.logits, batch.mask)
        loss = F.binary_cross_entropy_with_logits(logits, batch.labels)
        return learner.update(loss, cosine(loop.share))

    drawn = (rng.integers(0, len(tracks), 32) for _ in range(steps))
    loop.run((TrackBatch.of([tracks[i] for i in chosen], rng) for chosen in drawn), step)
    return head, compare(head, held)


def compare(head: nn.Module, tracks: Sequence[TrackFeatures]) -> dict[str, float]:
    """AUC of a head beside that of the mean of the frame logits."""
    head.eval()
    with torch.inference_mode():
        batch = TrackBatch.of(tracks)
        scores = {
            "head": head(batch.embeddings, batch.logits, batch.mask),
            "mean": masked_mean(batch.logits, batch.mask),
        }
    return {name: float(roc_auc_score(batch.labels, score)) for name, score in scores.items()}


def clip_groups(cache: Path, table: Path) -> dict[str, list[list[LabelledFace]]]:
    """Frames of each authentic clip from the face cache, by split."""
    groups: dict[str, list[list[LabelledFace]]] = {"train": [], "val": []}
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        with np.load(cache / f"{row['file']}.npz") as data:
            frames = [
                LabelledFace(
                    rgb, tuple(box.tolist()), points, row["set"], row["file"], row["split"], 0
                )
                for rgb, box, points in zip(
                    data["rgb"], data["box"], data["landmarks"], strict=True
                )
            ]
        if len(frames) >= 4:
            groups[row["split"]].append(frames)
    return groups


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m detector.training.shipped.temporal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
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
    for name in TEMPORAL_HEADS:
        head, results[name] = train_head(name, tracks, held)
        save_weights(state_copy(head), args.out / f"{name}.safetensors")
    (args.out / "results.json").write_text(json.dumps(results, indent=1))
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
