"""Pictures of faces with boxes and landmarks, and the squares that forgeries are made on.

`load_pictures` reads the folders of authentic faces (a CSV beside each names box, five landmarks,
set and split); `load_clips` takes frames of authentic clips; `load_all` reads a whole data folder.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import DataError
from detector.faces import cut_square
from detector.types import FaceTrack, Frame

FORGING_MARGIN = 1.7  # side of a forging crop, in sides of the face's box
FORGING_PX = (120, 300)  # side of a forging crop: a face of 70 to 176 px
WIDE_PX = 320  # side of a picture that `wide_faces` keeps, padded where the face is smaller
WIDE_LEAST_PX = 96
MIRRORED = [1, 0, 2, 4, 3]  # landmarks of a mirrored face, left to right again
REBUILT_SHARE = 0.2  # of the authentic faces, each by two generators: enough for an eighth of draws
PACKED = "faces_packed"  # a whole data folder in one, as `detector.training.pack` writes it
FOLDERS = (
    *("faces", "faces_openimages", "faces_diverse", "faces_openforensics", "faces_generated"),
    *("faces_more", PACKED),
)
CLIP_SOURCE = "clip "  # begins the source of a clip's frames


@dataclass(frozen=True, eq=False)
class LabelledFace:
    """A face picture in memory."""

    rgb: NDArray[np.uint8]  # (H, W, 3)
    box_xyxy_px: tuple[float, float, float, float]
    landmarks_px: NDArray[np.float32]  # (5, 2)
    source: str  # set it comes from
    person: str  # identity, or the clip's name
    split: str  # train or val
    label: int  # 1 forged
    rebuilt: tuple[NDArray[np.uint8], ...] = ()  # the same picture as small generators gave it back
    skin_ita_deg: float = float("nan")
    pair_id: str = ""  # shared by a genuine swap and its targets


@dataclass(frozen=True, eq=False)
class ForgingCrop:
    """A square cut out of a picture, on which the face is forged."""

    rgb: NDArray[np.uint8]  # (S, S, 3)
    landmarks_px: NDArray[np.float32]  # (5, 2) in the crop
    picture: LabelledFace  # what it was cut from
    rebuilt: NDArray[np.uint8] | None = None  # the same square of a copy by a small generator


def load_pictures(folder: Path, splits: Sequence[str] = ("train", "val")) -> list[LabelledFace]:
    """Pictures of one folder by the CSV of the same name beside it. Raises DataError when either is
    missing.
    """
    table = folder.with_suffix(".csv")
    if not table.is_file() or not folder.is_dir():
        raise DataError(f"Expected a folder {folder.name} with {table.name} beside it.")
    pictures = []
    with table.open(newline="") as file:
        for row in csv.DictReader(file):
            if row["split"] not in splits:
                continue
            bgr = cv2.imread(str(folder / row["file"]), cv2.IMREAD_COLOR)
            if bgr is None:
                continue
            pictures.append(
                LabelledFace(
                    rgb=cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB),
                    box_xyxy_px=tuple(float(row[k]) for k in ("x0", "y0", "x1", "y1")),  # type: ignore[arg-type]
                    landmarks_px=np.array(
                        [[row[f"lm{i}x"], row[f"lm{i}y"]] for i in range(5)], np.float32
                    ),
                    source=row["set"],
                    person=row.get("identity") or row.get("generator") or row["file"],
                    split=row["split"],
                    label=int(row.get("label") or 0),
                    skin_ita_deg=float(row.get("skin_tone_ita_deg") or "nan"),
                    pair_id=row.get("pair_id") or "",
                )
            )
    return pictures


def load_clips(folder: Path, cache: Path, frames_per_clip: int = 12) -> list[LabelledFace]:
    """Return face pictures with their surroundings from authentic clips, found once and kept in
    `cache`.
    """
    cache.mkdir(parents=True, exist_ok=True)
    pictures: list[LabelledFace] = []
    with folder.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        store = cache / f"{row['file']}.npz"
        if not store.is_file():
            _cut_clip(folder / row["file"], store, frames_per_clip)
        with np.load(store) as data:
            for rgb, box, landmarks in zip(
                data["rgb"], data["box"], data["landmarks"], strict=True
            ):
                person = row["person"] or row["file"]
                source = CLIP_SOURCE + row["set"]
                pictures.append(
                    LabelledFace(rgb, tuple(box), landmarks, source, person, row["split"], 0)
                )
    return pictures


def _cut_clip(path: Path, store: Path, n_frames: int) -> None:
    """Find the main face of a clip and keep its surroundings, one picture a frame."""
    from detector.faces import FaceFinder  # here, so that a filled cache needs no face detector
    from detector.media import open_media

    media = open_media(path, n_frames=n_frames)
    tracks = FaceFinder().find_tracks(media.frames)
    rgb, boxes, landmarks = wide_faces(tracks[0] if tracks else None, media.frames)
    np.savez(store, rgb=rgb, box=boxes, landmarks=landmarks)


def wide_faces(
    track: FaceTrack | None, frames: Sequence[Frame]
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Return the detected faces of a track with their surroundings: (T, WIDE_PX, WIDE_PX, 3), boxes
    (T, 4), landmarks (T, 5, 2), both in the pictures' own pixels. Faces that lie are left out.
    """
    by_index = {frame.index: frame for frame in frames}
    rgb = []
    boxes = []
    landmarks = []
    for crop in track.crops if track is not None else ():
        if crop.confidence <= 0 or crop.turned_deg:
            continue
        side = int(np.clip(FORGING_MARGIN * crop.face_px, WIDE_LEAST_PX, WIDE_PX))
        cut, to_frame = cut_square(
            by_index[crop.frame_index].rgb, crop.box_xyxy_px, side, FORGING_MARGIN
        )
        box, points = to_crop(to_frame, crop.box_xyxy_px, crop.landmarks_px)
        rgb.append(_padded(cut))
        boxes.append(box)
        landmarks.append(points)
    return (
        np.array(rgb, np.uint8).reshape(-1, WIDE_PX, WIDE_PX, 3),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(landmarks, np.float32).reshape(-1, 5, 2),
    )


def _padded(cut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    missing = WIDE_PX - cut.shape[0]
    return cv2.copyMakeBorder(cut, 0, missing, 0, missing, cv2.BORDER_REPLICATE)


def to_crop(
    to_frame: NDArray[np.float32], box_xyxy_px: Sequence[float], landmarks_px: NDArray[np.float32]
) -> tuple[tuple[float, float, float, float], NDArray[np.float32]]:
    """Box and landmarks in the crop's own pixels."""
    scale = float(to_frame[0, 0])
    left = float(to_frame[0, 2])
    top = float(to_frame[1, 2])
    offset = np.array([left, top])
    box = (np.array(box_xyxy_px).reshape(2, 2) - offset) / scale
    return tuple(box.ravel().tolist()), ((landmarks_px - offset) / scale).astype(np.float32)  # type: ignore[return-value]


def cut_forging_crop(
    picture: LabelledFace, side_px: int, flip: bool, rebuilt_index: int | None = None
) -> ForgingCrop:
    """Cut the forging crop out of a picture, mirrored or not; landmarks keep their left-to-right
    order.
    """
    box = picture.box_xyxy_px
    rgb, to_frame = cut_square(picture.rgb, box, side_px, FORGING_MARGIN)
    _, points = to_crop(to_frame, box, picture.landmarks_px)
    rebuilt = None
    if rebuilt_index is not None:
        rebuilt, _ = cut_square(picture.rebuilt[rebuilt_index], box, side_px, FORGING_MARGIN)
    if flip:
        rgb = np.ascontiguousarray(rgb[:, ::-1])
        rebuilt = np.ascontiguousarray(rebuilt[:, ::-1]) if rebuilt is not None else None
        points = (points[MIRRORED] * [-1, 1] + [side_px - 1, 0]).astype(np.float32)
    return ForgingCrop(rgb, points, picture, rebuilt)


def draw_side(picture: LabelledFace, rng: np.random.Generator, scale: float = 1.0) -> int:
    """Draw the side of a forging crop in px: never above the picture's own resolution, often below
    it.
    """
    x0, y0, x1, y1 = picture.box_xyxy_px
    native = FORGING_MARGIN * max(x1 - x0, y1 - y0)
    return int(np.clip(native * rng.uniform(0.6, 1.0) * scale, *FORGING_PX))


def load_all(
    data: Path, cache: Path, generators: Path | None, splits: tuple[str, ...] = ("train", "val")
) -> list[LabelledFace]:
    """All pictures under a data folder, clip frames included; some authentic ones with their
    re-drawn copies.
    """
    pictures = [
        p for name in FOLDERS if (data / name).is_dir() for p in load_pictures(data / name, splits)
    ]
    if (data / "clips").is_dir():
        pictures += load_clips(data / "clips", cache / "clips")
    pictures = [p for p in pictures if p.split in splits]
    from detector.forgery.generators import load_generators, rebuild

    nets = list(load_generators(generators).values()) if generators is not None else []
    if not nets:
        return pictures
    rng = np.random.default_rng(7)
    out = []
    for picture in pictures:
        if picture.label == 0 and rng.random() < REBUILT_SHARE:
            chosen = rng.choice(len(nets), size=min(2, len(nets)), replace=False)
            picture = replace(picture, rebuilt=tuple(rebuild(nets[i], picture.rgb) for i in chosen))
        out.append(picture)
    return out
