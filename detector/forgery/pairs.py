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
from detector.forgery.pictures import WORK_MARGIN, Picture, Work, cut_work, draw_side
from detector.types import CROP_PX

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
            raise DataError("There is no authentic face to blending.")
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

    def make(self, family: str, strength: float, rng: np.random.Generator) -> blending.Forgery:
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
            blend = blending.draw_blend(
                rng, strength, ("face", "face and forehead", "inner face", "lower face")
            )
            return blending.resynthesis(
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
            return blending.part_splice(
                work.rgb, work.landmarks_px, blending.draw_blend(rng, strength, (region,)), rng
            )
        if family == "cross-blend":
            return self._cross(work, strength, rng)
        on_target = bool(rng.random() < 0.5)
        return blending.self_blend(
            work.rgb, work.landmarks_px, blending.draw_blend(rng, strength), rng, on_target
        )

    def _cross(self, work: Work, strength: float, rng: np.random.Generator) -> blending.Forgery:
        """The donor is the most similar in pose of eight random faces of the same source."""
        shape = blending.face_shape(work.landmarks_px)
        pool = [self.draw_picture(rng, [work.picture.source]) for _ in range(8)]
        pool = [p for p in pool if p.person != work.picture.person] or pool
        donor = min(
            pool, key=lambda p: float(np.abs(blending.face_shape(p.landmarks_px) - shape).sum())
        )
        blend = blending.draw_blend(
            rng, strength, ("face", "face", "face and forehead", "inner face")
        )
        blend = replace(blend, ratio=max(blend.ratio, 0.75))
        return blending.cross_blend(
            work.rgb, work.landmarks_px, donor.rgb, donor.landmarks_px, blend, rng
        )

    def _genuine(self, family: str, flip: bool, rng: np.random.Generator) -> blending.Forgery:
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
        return blending.Forgery(
            authentic.rgb, forged.rgb, np.full((side, side), value, np.float32), family
        )

    def _alike(self, forgery: blending.Forgery, rng: np.random.Generator) -> blending.Forgery:
        """A genuine forgery and its partner without what tells them apart and is no trace: smooth
        skin, a palette.
        """
        authentic, forged = forgery.authentic, forgery.forged
        if forgery.family == "generated" and rng.random() < P_SMOOTH_PARTNER:
            authentic = apply(authentic, (draw_smoothing(rng, 1.0),))
        if rng.random() < P_RECOLOURED:
            whole = np.ones(authentic.shape[:2], np.float32)
            if rng.random() < 0.5:
                authentic = blending.match_colour(authentic, forged, whole)
            else:
                forged = blending.match_colour(forged, authentic, whole)
        return replace(forgery, authentic=authentic, forged=forged)

    def finish(
        self, forgery: blending.Forgery, recipe: Degradation, size_px: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Put both twins through one nuisance and one crop: (2, S, S, 3) uint8 and masks (2, S/8,
        S/8).
        """
        side = forgery.authentic.shape[0]
        twins, mask = [forgery.authentic, forgery.forged], forgery.mask
        if rng.random() < P_OCCLUDED:
            cover, opacity = blending.draw_occluder(forgery.authentic, rng)
            left = mask * (1 - opacity)
            if not left.sum() < 0.5 * mask.sum():  # what is forged must still be seen
                twins, mask = [blending.blend_in(twin, cover, opacity, 1.0) for twin in twins], left
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
