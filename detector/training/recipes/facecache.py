"""Faces taken out of a data set once and kept: shards of safetensors that any number of readers can
open at a time.

A shard holds SHARD_ITEMS files' faces and is written in one go, so an interrupted run goes on where
it stopped, and several machines can share the work by taking every n-th shard. Its name is the
digest of what it was made from: when files come, go or change, only their shards are made again.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from detector.errors import DetectorError
from detector.faces import FaceFinder
from detector.forgery.pictures import LabelledFace, wide_faces
from detector.media import open_media
from detector.training.recipes.layouts import Item

SHARD_ITEMS = 32  # of 20 crops each: 96 MB, and a minute or two lost at most when a run is stopped
NO_FACE = "No face was found."


@dataclass(frozen=True)
class CacheConfig:
    n_frames: int  # sampled of each clip
    # keep 1.7 x the box and the landmarks, to be forged, instead of the detector's crop
    wide: bool = False


@dataclass(frozen=True)
class Stored:
    """Where one file's faces lie."""

    item: Item
    shard: Path
    key: str


def extract(
    items: Sequence[Item],
    cache: Path,
    config: CacheConfig,
    part: tuple[int, int] = (0, 1),
    finder: FaceFinder | None = None,
) -> list[Stored]:
    """Fill the cache and return the files that have a face; the others are listed in skipped.csv
    with the reason.

    part: (k, n) makes every n-th shard from the k-th on; the answer then covers the shards that
    exist.
    """
    cache.mkdir(parents=True, exist_ok=True)
    finder = finder or FaceFinder()
    shards = [(cache / f"{_digest(some, config)}.safetensors", some) for some in _parts(items)]
    with tqdm(total=len(items), unit="file", desc="faces", disable=None) as bar:
        for index, (shard, some) in enumerate(shards):
            if index % part[1] == part[0] and not shard.is_file():
                _write(shard, some, config, finder, bar)
            else:
                bar.update(len(some))
    found: list[Stored] = []
    skipped: list[tuple[str, str]] = []
    for shard, some in shards:
        if shard.is_file():
            with safe_open(shard, "numpy") as file:
                reasons = json.loads(file.metadata()["skipped"])
            found += [
                Stored(item, shard, str(k)) for k, item in enumerate(some) if str(k) not in reasons
            ]
            skipped += [
                (str(item.path), reasons[str(k)])
                for k, item in enumerate(some)
                if str(k) in reasons
            ]
    with (cache / "skipped.csv").open("w", newline="", encoding="utf-8") as table:
        csv.writer(table).writerows([("file", "reason"), *skipped])
    return found


def read_crops(stored: Stored) -> NDArray[np.uint8]:
    """(T, CROP_PX, CROP_PX, 3) crops of one file's main face, in time; T >= 1."""
    return _read(stored, "rgb")


def read_pictures(stored: Stored) -> list[LabelledFace]:
    """Return the wide pictures of one file's main face, to be forged."""
    item = stored.item
    columns = [_read(stored, name) for name in ("rgb", "box", "landmarks")]
    return [
        LabelledFace(
            rgb, tuple(box.tolist()), landmarks, "own", item.people[0], item.split, item.label
        )
        for rgb, box, landmarks in zip(*columns, strict=True)
    ]


def _read(stored: Stored, name: str) -> NDArray:
    with safe_open(stored.shard, "numpy") as file:
        return file.get_tensor(f"{stored.key}.{name}")


def _parts(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), SHARD_ITEMS):
        yield items[start : start + SHARD_ITEMS]


def _digest(items: Sequence[Item], config: CacheConfig) -> str:
    stats = [(item.path, item.path.stat()) for item in items]
    lines = [f"{path}|{stat.st_size}|{stat.st_mtime_ns}" for path, stat in stats]
    return hashlib.sha256("\n".join([repr(config), *lines]).encode()).hexdigest()[:20]


def _write(
    shard: Path, items: Sequence[Item], config: CacheConfig, finder: FaceFinder, bar: tqdm
) -> None:
    tensors: dict[str, NDArray] = {}
    reasons: dict[str, str] = {}
    for key, item in enumerate(items):
        try:
            faces = _faces(item, config, finder)
            if len(faces["rgb"]):
                tensors |= {f"{key}.{name}": array for name, array in faces.items()}
            else:
                reasons[str(key)] = NO_FACE
        except DetectorError as err:
            reasons[str(key)] = str(err)
        bar.update()
    # moved over when whole: a kill never leaves half a shard
    unfinished = shard.with_suffix(".part")
    save_file(tensors, unfinished, {"skipped": json.dumps(reasons)})
    unfinished.replace(shard)


def _faces(item: Item, config: CacheConfig, finder: FaceFinder) -> dict[str, NDArray]:
    media = open_media(item.path, n_frames=config.n_frames)
    tracks = finder.find_tracks(media.frames)
    main = tracks[0] if tracks else None
    if config.wide:
        return dict(zip(("rgb", "box", "landmarks"), wide_faces(main, media.frames), strict=True))
    return {"rgb": np.array([crop.rgb for crop in main.crops] if main else [], np.uint8)}
