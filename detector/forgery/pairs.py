"""Pairs (authentic, forged) of crops with the mask of what was changed, drawn from pictures of
faces.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.degrade import Degradation, apply, draw_retouch, draw_smoothing, draw_training
from detector.errors import DataError
from detector.faces import CROP_MARGIN, cut_square
from detector.forgery import blending
from detector.forgery.appearance import match_colour
from detector.forgery.genuine import GenuineForgeries
from detector.forgery.occlusion import draw_occluder
from detector.forgery.pictures import (
    CLIP_SOURCE,
    FORGING_MARGIN,
    ForgingCrop,
    LabelledFace,
    cut_forging_crop,
    draw_side,
)
from detector.forgery.regions import face_shape
from detector.types import CROP_PX, MAP_SIZE

STRENGTH = 0.5  # of forgeries that are measured: neither plain to see nor barely different
FAMILIES = (
    *("self-blend", "cross-blend", "part splice", "generator", "openforensics", "generated"),
    *("swap pairs", "faceswap"),
)
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
SPLICED_PARTS = ("mouth", "mouth", "lower face", "lower face", "eyes", "nose")
# measured: without it any patch over a face, a caption or a hand, raises the logit
P_OCCLUDED = 0.1
# pairs whose halves are softened, sharpened or left alone each by itself: sharpness tells nothing
P_RETOUCHED = 0.5
P_RECOLOURED = 0.5  # genuine forgeries and their partners: one of the two takes the other's colours
# generated skin is smooth; so is that of authentic faces after a phone's noise reduction
P_SMOOTH_PARTNER = 0.35
P_TURNED = 0.2
TURN_DEG = 12.0
# Share of the augmentation a family gets: it wipes out whole-face fingerprints first of all.
AUGMENTATION_SHARE = {"generator": 0.4, "openforensics": 0.5, "generated": 0.5}
# families whose halves are made alike in what is no trace; a swap's own target is alike already
MADE_ALIKE = ("openforensics", "generated")
# of their own resolution, at most, for generated pictures and their partners: neither's codec
# history survives whole
GENERATED_SCALE = 0.85
MAP_STRIDE = CROP_PX // MAP_SIZE


class PairMaker:
    """Draws one (authentic, forged) pair of crops with masks; everything random comes from the
    generator given. Raises DataError without an authentic face.
    """

    def __init__(
        self,
        pictures: Sequence[LabelledFace],
        family_weights: Mapping[str, float] = FAMILY_WEIGHTS,
        p_retouched: float = P_RETOUCHED,
        video_share: float | None = None,
        augmentation_share: Mapping[str, float] = AUGMENTATION_SHARE,
    ) -> None:
        """video_share: how many of the authentic pictures are frames of clips; None leaves that to
        the number of pictures. augmentation_share: of families that get less of it than others.
        """
        self.p_retouched = p_retouched
        self.augmentation_share = augmentation_share
        authentic = [p for p in pictures if p.label == 0]
        self.by_source: dict[str, list[LabelledFace]] = {}
        for picture in authentic:
            self.by_source.setdefault(picture.source, []).append(picture)
        if not self.by_source:
            raise DataError("There is no authentic face to forge.")
        self.sources = sorted(self.by_source)
        self.source_weights = _source_weights(self.by_source, video_share)
        self.forgeries = GenuineForgeries(pictures)
        self.genuine = self.forgeries.by_family
        self.with_rebuilt = [p for p in authentic if p.rebuilt]
        usable = dict(family_weights)
        for family, there in {**self.genuine, "generator": self.with_rebuilt}.items():
            if not there:
                usable.pop(family, None)
        self.families = [f for f in FAMILIES if usable.get(f)]
        self.family_weights = np.array([usable[f] for f in self.families])

    def draw(
        self,
        rng: np.random.Generator,
        strength: float,
        augmentation: float,
        size_px: int = CROP_PX,
        emphasis: Mapping[str, float] | None = None,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], str]:
        """Draw one pair: crops (2, S, S, 3), masks (2, S/8, S/8) and the family.

        strength: how easy to see the forgery is, 0 to 1. augmentation: how strong it is, 0 to 1.
        """
        family = self.draw_family(rng, emphasis)
        forgery = self.make(family, strength, rng)
        if family in MADE_ALIKE:
            forgery = self._without_shortcuts(forgery, rng)
        if rng.random() < self.p_retouched:
            authentic = apply(forgery.authentic, draw_retouch(rng))
            forged = apply(forgery.forged, draw_retouch(rng))
            forgery = replace(forgery, authentic=authentic, forged=forged)
        degradation = draw_training(rng, augmentation * self.augmentation_share.get(family, 1.0))
        crops, masks = self.to_crops(forgery, degradation, size_px, rng)
        return crops, masks, family

    def draw_picture(
        self, rng: np.random.Generator, sources: Sequence[str] | None = None
    ) -> LabelledFace:
        """Draw an authentic picture, of all sources by the square root of their size or of some."""
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

    def make(self, family: str, strength: float, rng: np.random.Generator) -> blending.Forgery:
        """Make a forgery of one family on the forging crop, before any augmentation."""
        flip = bool(rng.random() < 0.5)
        if family in self.genuine:
            return self._genuine(family, flip, rng)
        if family == "generator":
            return self._resynthesis(flip, strength, rng)
        picture = self.draw_picture(rng)
        work = cut_forging_crop(picture, draw_side(picture, rng), flip)
        if family == "part splice":
            blend = blending.draw_blend(rng, strength, (str(rng.choice(list(SPLICED_PARTS))),))
            return blending.part_splice(work.rgb, work.landmarks_px, blend, rng)
        if family == "cross-blend":
            return self._cross(work, strength, rng)
        change_target = bool(rng.random() < 0.5)
        blend = blending.draw_blend(rng, strength)
        return blending.self_blend(work.rgb, work.landmarks_px, blend, rng, change_target)

    def _resynthesis(
        self, flip: bool, strength: float, rng: np.random.Generator
    ) -> blending.Forgery:
        picture = self.with_rebuilt[rng.integers(len(self.with_rebuilt))]
        side = draw_side(picture, rng)
        work = cut_forging_crop(picture, side, flip, int(rng.integers(len(picture.rebuilt))))
        assert work.rebuilt is not None
        regions = ("face", "face and forehead", "inner face", "lower face")
        blend = blending.draw_blend(rng, strength, regions)
        whole = bool(rng.random() < 0.6)
        soften = bool(rng.random() < 0.7)
        return blending.resynthesis(
            work.rgb, work.rebuilt, work.landmarks_px, blend, rng, whole, soften
        )

    def _cross(
        self, work: ForgingCrop, strength: float, rng: np.random.Generator
    ) -> blending.Forgery:
        """The donor is the most similar in pose of eight random faces of the same source."""
        shape = face_shape(work.landmarks_px)
        pool = [self.draw_picture(rng, [work.picture.source]) for _ in range(8)]
        pool = [p for p in pool if p.person != work.picture.person] or pool
        donor = min(pool, key=lambda p: float(np.abs(face_shape(p.landmarks_px) - shape).sum()))
        regions = ("face", "face", "face and forehead", "inner face")
        blend = blending.draw_blend(rng, strength, regions)
        blend = replace(blend, ratio=max(blend.ratio, 0.75))
        return blending.cross_blend(
            work.rgb, work.landmarks_px, donor.rgb, donor.landmarks_px, blend, rng
        )

    def _genuine(self, family: str, flip: bool, rng: np.random.Generator) -> blending.Forgery:
        """A genuine forgery beside an authentic face of a like source, both brought to one size."""
        forged = self.forgeries.draw(family, rng)
        partner = self.forgeries.draw_partner(family, forged, rng, self.draw_picture)
        scale = GENERATED_SCALE if family == "generated" else 1.0
        forged_side = draw_side(forged, rng, scale)
        side = min(forged_side, draw_side(partner, rng, scale))
        # where a mask is unknown it is NaN, and no loss reads it
        value = 1.0 if family == "generated" else np.nan
        return blending.Forgery(
            cut_forging_crop(partner, side, flip).rgb,
            cut_forging_crop(forged, side, flip).rgb,
            np.full((side, side), value, np.float32),
            family,
        )

    def _without_shortcuts(
        self, forgery: blending.Forgery, rng: np.random.Generator
    ) -> blending.Forgery:
        """A genuine forgery and its partner without what tells them apart and is no trace: smooth
        skin, a palette.
        """
        authentic = forgery.authentic
        forged = forgery.forged
        if forgery.family == "generated" and rng.random() < P_SMOOTH_PARTNER:
            authentic = apply(authentic, (draw_smoothing(rng, 1.0),))
        if rng.random() < P_RECOLOURED:
            whole = np.ones(authentic.shape[:2], np.float32)
            if rng.random() < 0.5:
                authentic = match_colour(authentic, forged, whole)
            else:
                forged = match_colour(forged, authentic, whole)
        return replace(forgery, authentic=authentic, forged=forged)

    def to_crops(
        self,
        forgery: blending.Forgery,
        degradation: Degradation,
        size_px: int,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Put both halves through one degradation and one crop: (2, S, S, 3) uint8 and masks (2,
        S/8, S/8).
        """
        side = forgery.authentic.shape[0]
        pair = [forgery.authentic, forgery.forged]
        mask = forgery.mask
        if rng.random() < P_OCCLUDED:
            cover, opacity = draw_occluder(forgery.authentic, rng)
            left = mask * (1 - opacity)
            if not left.sum() < 0.5 * mask.sum():  # what is forged must still be seen
                pair = [blending.blend_in(half, cover, opacity, 1.0) for half in pair]
                mask = left
        if rng.random() < P_TURNED:
            angle_deg = float(rng.uniform(-TURN_DEG, TURN_DEG))
            turn = cv2.getRotationMatrix2D((side / 2, side / 2), angle_deg, 1.0)
            pair = [_turned(half, turn) for half in pair]
            mask = _turned(mask, turn)
        face_px = side / FORGING_MARGIN
        centre = side / 2 + rng.uniform(-0.05, 0.05, 2) * face_px
        box = (*(centre - face_px / 2).tolist(), *(centre + face_px / 2).tolist())
        margin = CROP_MARGIN * float(rng.uniform(0.88, 1.15))
        crops = [cut_square(apply(half, degradation), box, size_px, margin)[0] for half in pair]
        grey = (np.nan_to_num(mask, nan=0.0) * 255).astype(np.uint8)[..., None].repeat(3, 2)
        cut = cut_square(grey, box, size_px, margin)[0][..., 0]
        cells = (size_px // MAP_STRIDE, size_px // MAP_STRIDE)
        seen = cv2.resize(cut, cells, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        if np.isnan(forgery.mask).any():
            seen[:] = np.nan
        return np.stack(crops), np.stack([np.zeros_like(seen), seen])


def _source_weights(
    by_source: Mapping[str, Sequence[LabelledFace]], video_share: float | None
) -> NDArray[np.float64]:
    """Return how often each source is drawn, in alphabetical order: by the square root of its size,
    clips and photos apart where their share is given.
    """
    sources = sorted(by_source)
    weights = np.sqrt([len(by_source[s]) for s in sources])
    clips = np.array([s.startswith(CLIP_SOURCE) for s in sources])
    if video_share is not None and clips.any() and not clips.all():
        weights[clips] *= video_share / weights[clips].sum()
        weights[~clips] *= (1 - video_share) / weights[~clips].sum()
    return weights / weights.sum()


def _turned(image: NDArray[Any], affine: NDArray[Any]) -> NDArray[Any]:
    size = (image.shape[1], image.shape[0])
    return cv2.warpAffine(
        image, affine, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
