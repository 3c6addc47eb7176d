"""Training data: pictures of faces with boxes and landmarks, and the pairs made from them.

`load_pictures` reads the folders of authentic faces (a CSV beside each names box, five landmarks,
set and split); `load_clips` takes frames of authentic clips. `PairStream` draws (authentic, forged,
mask) crops without end.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import SynchronizedArray
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset

from detector.degrade import Recipe, apply, draw_retouch, draw_smoothing, draw_training
from detector.errors import DataError
from detector.faces import CROP_MARGIN, CROP_PX, cut_square
from detector.training import forge
from detector.types import MAP_SIZE, FaceTrack, Frame

WORK_MARGIN = 1.7  # the forge works on this much of a face's surroundings
WORK_PX = (120, 300)  # side of the picture the forge works on: a face of 70 to 176 px
FAMILIES = ("self-blend", "cross-blend", "part splice", "generator", "openforensics", "generated")
# How often each family is drawn. Self-blends reach most face swaps; the genuine forgeries are few
# and weighted low.
FAMILY_WEIGHTS = {
    "self-blend": 0.34,
    "cross-blend": 0.15,
    "part splice": 0.12,
    "generator": 0.12,
    "openforensics": 0.12,
    "generated": 0.15,
}
# measured: without it any patch over a face, a caption or a hand, raises the logit
P_OCCLUDED = 0.1
# pairs whose twins are softened, sharpened or left alone each by itself: sharpness tells nothing
P_RETOUCHED = 0.5
P_RECOLOURED = 0.5  # genuine forgeries and their partners: one of the two takes the other's colours
# generated skin is smooth; so is that of authentic faces after a phone's noise reduction
P_SMOOTH_PARTNER = 0.35
# Share of the nuisance a family gets: whole-face fingerprints are the first thing nuisance kills.
GENTLE = {"generator": 0.4, "openforensics": 0.5, "generated": 0.5}


@dataclass(frozen=True, eq=False)
class Picture:
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


def load_pictures(folder: Path, splits: Sequence[str] = ("train", "val")) -> list[Picture]:
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
                Picture(
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
                )
            )
    return pictures


def load_clips(folder: Path, cache: Path, frames_per_clip: int = 12) -> list[Picture]:
    """Face pictures (1.7 x box) from authentic clips, found once and kept in `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    pictures: list[Picture] = []
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
                pictures.append(
                    Picture(
                        rgb, tuple(box), landmarks, f"clip {row['set']}", person, row["split"], 0
                    )
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
    """The detected faces of a track with their surroundings (1.7 x box): (T, 320, 320, 3), boxes
    (T, 4), landmarks (T, 5, 2), both in the pictures' own pixels."""
    by_index = {frame.index: frame for frame in frames}
    rgb, boxes, landmarks = [], [], []
    for crop in track.crops if track is not None else ():
        if crop.confidence <= 0:
            continue
        side = int(np.clip(WORK_MARGIN * crop.face_px, 96, 320))
        cut, to_frame = cut_square(
            by_index[crop.frame_index].rgb, crop.box_xyxy_px, side, WORK_MARGIN
        )
        box, points = to_crop(to_frame, crop.box_xyxy_px, crop.landmarks_px)
        rgb.append(_padded(cut))
        boxes.append(box)
        landmarks.append(points)
    return (
        np.array(rgb, np.uint8).reshape(-1, 320, 320, 3),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(landmarks, np.float32).reshape(-1, 5, 2),
    )


def _padded(cut: NDArray[np.uint8]) -> NDArray[np.uint8]:
    missing = 320 - cut.shape[0]
    return cv2.copyMakeBorder(cut, 0, missing, 0, missing, cv2.BORDER_REPLICATE)


def to_crop(
    to_frame: NDArray[np.float32], box_xyxy_px: Sequence[float], landmarks_px: NDArray[np.float32]
) -> tuple[tuple[float, float, float, float], NDArray[np.float32]]:
    """Box and landmarks in the crop's own pixels."""
    scale, left, top = float(to_frame[0, 0]), float(to_frame[0, 2]), float(to_frame[1, 2])
    offset = np.array([left, top])
    box = (np.array(box_xyxy_px).reshape(2, 2) - offset) / scale
    return tuple(box.ravel().tolist()), ((landmarks_px - offset) / scale).astype(np.float32)  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class Work:
    """A face cut out for the forge: square picture, landmarks, and which Picture it came from."""

    rgb: NDArray[np.uint8]
    landmarks_px: NDArray[np.float32]
    picture: Picture
    rebuilt: NDArray[np.uint8] | None = None


def cut_work(picture: Picture, side_px: int, flip: bool, rebuilt_index: int | None = None) -> Work:
    """Cut the forge's square from a picture, mirrored or not; landmarks keep their left-to-right
    order.
    """
    rgb, to_frame = cut_square(picture.rgb, picture.box_xyxy_px, side_px, WORK_MARGIN)
    _, points = to_crop(to_frame, picture.box_xyxy_px, picture.landmarks_px)
    rebuilt = None
    if rebuilt_index is not None:
        rebuilt, _ = cut_square(
            picture.rebuilt[rebuilt_index], picture.box_xyxy_px, side_px, WORK_MARGIN
        )
    if flip:
        rgb = np.ascontiguousarray(rgb[:, ::-1])
        rebuilt = np.ascontiguousarray(rebuilt[:, ::-1]) if rebuilt is not None else None
        points = (points[[1, 0, 2, 4, 3]] * [-1, 1] + [side_px - 1, 0]).astype(np.float32)
    return Work(rgb, points, picture, rebuilt)


def draw_side(picture: Picture, rng: np.random.Generator, most: float = 1.0) -> int:
    """Side of the forge's square: never above the picture's own resolution, often below it."""
    x0, y0, x1, y1 = picture.box_xyxy_px
    native = WORK_MARGIN * max(x1 - x0, y1 - y0)
    return int(np.clip(native * rng.uniform(0.6, 1.0) * most, *WORK_PX))


class PairMaker:
    """Draws one (authentic, forged) pair of crops with masks; everything random comes from the
    generator given.
    """

    def __init__(
        self,
        pictures: Sequence[Picture],
        family_weights: Mapping[str, float] = FAMILY_WEIGHTS,
        p_retouched: float = P_RETOUCHED,
    ) -> None:
        self.p_retouched = p_retouched
        authentic = [p for p in pictures if p.label == 0]
        self.by_source: dict[str, list[Picture]] = {}
        for picture in authentic:
            self.by_source.setdefault(picture.source, []).append(picture)
        if not self.by_source:
            raise DataError("There is no authentic face to forge.")
        self.sources = sorted(self.by_source)
        weights = np.sqrt([len(self.by_source[s]) for s in self.sources])
        self.source_weights = weights / weights.sum()
        self.genuine = {
            "openforensics": [p for p in pictures if p.label == 1 and p.source == "openforensics"],
            "generated": [p for p in pictures if p.label == 1 and p.source != "openforensics"],
        }
        self.with_rebuilt = [p for p in authentic if p.rebuilt]
        usable = dict(family_weights)
        for family, there in {**self.genuine, "generator": self.with_rebuilt}.items():
            if not there:
                usable.pop(family, None)
        self.families = [f for f in FAMILIES if usable.get(f)]
        self.family_weights = np.array([usable[f] for f in self.families])

    def draw_picture(
        self, rng: np.random.Generator, sources: Sequence[str] | None = None
    ) -> Picture:
        if sources:
            pool = self.by_source[str(rng.choice(list(sources)))]
        else:
            pool = self.by_source[str(rng.choice(self.sources, p=self.source_weights))]
        return pool[rng.integers(len(pool))]

    def draw_family(
        self, rng: np.random.Generator, emphasis: Mapping[str, float] | None = None
    ) -> str:
        weights = self.family_weights * [(emphasis or {}).get(f, 1.0) for f in self.families]
        return str(rng.choice(self.families, p=weights / weights.sum()))

    def make(self, family: str, strength: float, rng: np.random.Generator) -> forge.Forgery:
        """A forgery of one family on the forge's square, before any nuisance."""
        flip = bool(rng.random() < 0.5)
        if family in self.genuine:
            return self._genuine(family, flip, rng)
        if family == "generator":
            picture = self.with_rebuilt[rng.integers(len(self.with_rebuilt))]
            work = cut_work(
                picture, draw_side(picture, rng), flip, int(rng.integers(len(picture.rebuilt)))
            )
            assert work.rebuilt is not None
            blend = forge.draw_blend(
                rng, strength, ("face", "face and forehead", "inner face", "lower face")
            )
            return forge.resynthesis(
                work.rgb,
                work.rebuilt,
                work.landmarks_px,
                blend,
                rng,
                whole=rng.random() < 0.6,
                soften=rng.random() < 0.7,
            )
        picture = self.draw_picture(rng)
        work = cut_work(picture, draw_side(picture, rng), flip)
        if family == "part splice":
            region = str(rng.choice(["mouth", "mouth", "lower face", "lower face", "eyes", "nose"]))
            return forge.part_splice(
                work.rgb, work.landmarks_px, forge.draw_blend(rng, strength, (region,)), rng
            )
        if family == "cross-blend":
            return self._cross(work, strength, rng)
        on_target = bool(rng.random() < 0.5)
        return forge.self_blend(
            work.rgb, work.landmarks_px, forge.draw_blend(rng, strength), rng, on_target
        )

    def _cross(self, work: Work, strength: float, rng: np.random.Generator) -> forge.Forgery:
        """The donor is the most similar in pose of eight random faces of the same source."""
        shape = forge.face_shape(work.landmarks_px)
        pool = [self.draw_picture(rng, [work.picture.source]) for _ in range(8)]
        pool = [p for p in pool if p.person != work.picture.person] or pool
        donor = min(
            pool, key=lambda p: float(np.abs(forge.face_shape(p.landmarks_px) - shape).sum())
        )
        blend = forge.draw_blend(rng, strength, ("face", "face", "face and forehead", "inner face"))
        blend = replace(blend, ratio=max(blend.ratio, 0.75))
        return forge.cross_blend(
            work.rgb, work.landmarks_px, donor.rgb, donor.landmarks_px, blend, rng
        )

    def _genuine(self, family: str, flip: bool, rng: np.random.Generator) -> forge.Forgery:
        """A genuine forgery beside an authentic face of a like source, both brought to one size.

        Generated pictures and their partners have different codec histories: both are scaled down
        to at most 85% of their own resolution, so that neither's survives whole.
        """
        pool = self.genuine[family]
        fake = pool[rng.integers(len(pool))]
        like = (
            ("openimages",)
            if family == "openforensics"
            else ("ffhq", "officials", "web", "team18f", "london", "webmix")
        )
        partner = self.draw_picture(rng, [s for s in like if s in self.by_source])
        most = 0.85 if family == "generated" else 1.0
        side = min(draw_side(fake, rng, most), draw_side(partner, rng, most))
        forged, authentic = cut_work(fake, side, flip), cut_work(partner, side, flip)
        # where a mask is unknown it is NaN, and no loss reads it
        value = np.nan if family == "openforensics" else 1.0
        return forge.Forgery(
            authentic.rgb, forged.rgb, np.full((side, side), value, np.float32), family
        )

    def _alike(self, forgery: forge.Forgery, rng: np.random.Generator) -> forge.Forgery:
        """A genuine forgery and its partner without what tells them apart and is no trace: smooth
        skin, a palette.
        """
        authentic, forged = forgery.authentic, forgery.forged
        if forgery.family == "generated" and rng.random() < P_SMOOTH_PARTNER:
            authentic = apply(authentic, (draw_smoothing(rng, 1.0),))
        if rng.random() < P_RECOLOURED:
            whole = np.ones(authentic.shape[:2], np.float32)
            if rng.random() < 0.5:
                authentic = forge.match_colour(authentic, forged, whole)
            else:
                forged = forge.match_colour(forged, authentic, whole)
        return replace(forgery, authentic=authentic, forged=forged)

    def finish(
        self, forgery: forge.Forgery, recipe: Recipe, size_px: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Put both twins through one nuisance and one crop: (2, S, S, 3) uint8 and masks (2, S/8,
        S/8).
        """
        side = forgery.authentic.shape[0]
        twins, mask = [forgery.authentic, forgery.forged], forgery.mask
        if rng.random() < P_OCCLUDED:
            cover, opacity = forge.draw_occluder(forgery.authentic, rng)
            left = mask * (1 - opacity)
            if not left.sum() < 0.5 * mask.sum():  # what is forged must still be seen
                twins, mask = [forge.blend_in(twin, cover, opacity, 1.0) for twin in twins], left
        if rng.random() < 0.2:
            turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(-12, 12)), 1.0)
            twins = [_turned(twin, turn) for twin in twins]
            mask = _turned(mask, turn)
        face = side / WORK_MARGIN
        centre = side / 2 + rng.uniform(-0.05, 0.05, 2) * face
        reach = face / 2
        box = (centre[0] - reach, centre[1] - reach, centre[0] + reach, centre[1] + reach)
        margin = CROP_MARGIN * float(rng.uniform(0.88, 1.15))
        crops = [cut_square(apply(t, recipe), box, size_px, margin)[0] for t in twins]
        small, _ = cut_square(
            (np.nan_to_num(mask, nan=0.0) * 255).astype(np.uint8)[..., None].repeat(3, 2),
            box,
            size_px,
            margin,
        )
        cells = size_px // 8
        seen = (
            cv2.resize(small[..., 0], (cells, cells), interpolation=cv2.INTER_AREA).astype(
                np.float32
            )
            / 255
        )
        if np.isnan(forgery.mask).any():
            seen[:] = np.nan
        return np.stack(crops), np.stack([np.zeros_like(seen), seen])

    def draw(
        self,
        rng: np.random.Generator,
        strength: float,
        nuisance: float,
        size_px: int = CROP_PX,
        emphasis: Mapping[str, float] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
        """One pair: crops (2, S, S, 3), masks (2, S/8, S/8) and the family."""
        family = self.draw_family(rng, emphasis)
        forgery = self.make(family, strength, rng)
        if family in self.genuine:
            forgery = self._alike(forgery, rng)
        if rng.random() < self.p_retouched:
            authentic, forged = (
                apply(twin, draw_retouch(rng)) for twin in (forgery.authentic, forgery.forged)
            )
            forgery = replace(forgery, authentic=authentic, forged=forged)
        recipe = draw_training(rng, nuisance * GENTLE.get(family, 1.0))
        crops, masks = self.finish(forgery, recipe, size_px, rng)
        return crops, masks, family


def _turned(image: NDArray[Any], affine: NDArray[Any]) -> NDArray[Any]:
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(
        image, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


class PairStream(IterableDataset):  # type: ignore[type-arg]
    """Endless batches of pairs for a DataLoader with batch_size=None.

    `stage` is shared with the training loop: [strength, nuisance, size_px, emphasis per family...];
    the loop moves it on and the workers follow.
    """

    def __init__(
        self, maker: PairMaker, pairs_per_batch: int, seed: int, stage: SynchronizedArray[Any]
    ) -> None:
        self.maker, self.pairs, self.seed, self.stage = maker, pairs_per_batch, seed, stage

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        cv2.setNumThreads(0)
        info = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.seed, info.id if info else 0])
        while True:
            strength, nuisance, size, *emphasis = list(self.stage)  # type: ignore[call-overload]
            weights = dict(zip(FAMILIES, emphasis, strict=True))
            drawn = [
                self.maker.draw(rng, strength, nuisance, int(size), weights)
                for _ in range(self.pairs)
            ]
            crops = (
                torch.from_numpy(np.concatenate([d[0] for d in drawn]))
                .permute(0, 3, 1, 2)
                .contiguous()
            )
            masks = torch.from_numpy(np.concatenate([d[1] for d in drawn]))
            families = torch.tensor([FAMILIES.index(d[2]) for d in drawn])
            yield crops, masks, families


__all__ = [
    "FAMILIES",
    "MAP_SIZE",
    "PairMaker",
    "PairStream",
    "Picture",
    "load_clips",
    "load_pictures",
]
