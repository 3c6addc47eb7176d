"""Face tracks of measured files, found once and kept: finding takes longer than judging."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from detector.media import open_media
from detector.pipeline import Detector
from detector.types import CROP_PX, FaceCrop, FaceTrack, Kind

Tracks = tuple[FaceTrack, ...]
VERSION = 4  # of the crops: since 4 margins of photos repeat the border
# column -> shape of one crop's entry
COLUMNS = {
    "track": (),
    "rgb": (CROP_PX, CROP_PX, 3),
    "to_frame": (2, 3),
    "index": (),
    "t": (),
    "box": (4,),
    "landmarks": (5, 2),
    "confidence": (),
    "frame": (2,),
    "still": (),
}


def cached_tracks(
    detector: Detector, path: Path, cache: Path | None, n_frames: int
) -> tuple[Kind, Tracks]:
    """Return kind and face tracks of a file, from the cache where they were found before. Raises
    DetectorError.
    """
    store = cache / f"{path.name}.{n_frames}.{VERSION}.npz" if cache is not None else None
    if store is not None and store.is_file():
        return _read(store)
    media = open_media(path, n_frames=n_frames)
    tracks = tuple(detector.finder.find_tracks(media.frames))
    if store is not None:
        _write(store, media.kind, tracks)
    return media.kind, tracks


def _read(store: Path) -> tuple[Kind, Tracks]:
    crops: dict[int, list[FaceCrop]] = {}
    stills = set()
    with np.load(store) as data:
        kind: Kind = "video" if str(data["kind"]) == "video" else "image"
        columns = [data[name] for name in COLUMNS]
    for track, rgb, to_frame, index, t, box, landmarks, confidence, frame, still in zip(
        *columns, strict=True
    ):
        crop = FaceCrop(
            rgb,
            to_frame,
            int(index),
            float(t),
            tuple(box.tolist()),
            landmarks,
            float(confidence),
            (int(frame[0]), int(frame[1])) if frame.all() else None,
        )
        crops.setdefault(int(track), []).append(crop)
        stills |= {int(track)} if still else set()
    return kind, tuple(FaceTrack(n, tuple(own), n in stills) for n, own in crops.items())


def _write(store: Path, kind: Kind, tracks: Tracks) -> None:
    columns: dict[str, list[object]] = {name: [] for name in COLUMNS}
    for track in tracks:
        for crop in track.crops:
            values = (
                track.track,
                crop.rgb,
                crop.to_frame,
                crop.frame_index,
                crop.t,
                crop.box_xyxy_px,
                crop.landmarks_px,
                crop.confidence,
                crop.frame_px or (0, 0),
                track.still,
            )
            for column, value in zip(columns.values(), values, strict=True):
                column.append(value)
    arrays: dict[str, Any] = {
        name: np.array(column).reshape(len(column), *COLUMNS[name])
        for name, column in columns.items()
    }
    store.parent.mkdir(parents=True, exist_ok=True)
    np.savez(store, kind=kind, **arrays)
