"""Forgeries made from authentic faces, each with the mask of what was changed.

Every family takes one authentic picture with its five landmarks and gives a Forgery: the authentic
half of the pair, the forged half and the mask. Both halves have been through the same processing
except for the forgery itself, and the caller puts both through the same augmentation, so that
nothing but the forgery tells them apart.

Sources: self-blending after Shiohara & Yamasaki, CVPR 2022 (arXiv:2204.08376); cross-blending after
Li et al., "Face X-ray", CVPR 2020 (arXiv:1912.13458); generator fingerprints after Zhang et al.,
WIFS 2019 (arXiv:1907.06515). All written anew from the papers' descriptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.forgery.appearance import (
    Appearance,
    apply_appearance,
    draw_appearance,
    match_colour,
    soften_like,
)
from detector.forgery.regions import REGIONS, Mask, Points, Rgb, eye_distance, face_affine

_DRAWN_REGIONS = (
    *("face",) * 3,
    "face and forehead",
    *("inner face",) * 2,
    "lower face",
    "mouth",
    "eyes",
    "nose",
)


@dataclass(frozen=True, eq=False)
class Forgery:
    """A pair: authentic and forged (H, W, 3) uint8; mask (H, W) float32 in [0, 1], 1 where pixels
    come from the forgery.
    """

    authentic: Rgb
    forged: Rgb
    mask: Mask
    family: str

    def __post_init__(self) -> None:
        if self.authentic.shape != self.forged.shape or self.mask.shape != self.forged.shape[:2]:
            shapes = (self.authentic.shape, self.forged.shape, self.mask.shape)
            raise ValueError(f"expected a pair and a mask of one size, but got {shapes}")


@dataclass(frozen=True)
class Blend:
    """How the copy is laid over the face."""

    region: str = "face"
    ratio: float = 1.0  # opacity of the copy inside the mask
    shift_x: float = 0.0  # of the picture's width
    shift_y: float = 0.0
    scale: float = 1.0
    grow: float = 0.0  # mask dilated (+) or eroded (-) by this fraction of the eye distance
    blur: float = 0.12  # softness of the seam, fraction of the eye distance (Gaussian sigma)
    elastic: float = 0.1  # wobble of the outline, fraction of the eye distance
    appearance: Appearance = field(default_factory=Appearance)


def region_mask(
    shape: tuple[int, int], landmarks_px: Points, blend: Blend, rng: np.random.Generator
) -> Mask:
    """Return a soft mask (H, W) of a region of this face: polygon, wobble, grow or shrink, blur.

    Raises KeyError on an unknown region.
    """
    unit = eye_distance(landmarks_px)
    affine = face_affine(landmarks_px)
    hard = np.zeros(shape, np.uint8)
    for polygon in REGIONS[blend.region]:
        points = np.array(polygon) + rng.normal(0, 0.3 * blend.elastic, (len(polygon), 2))
        placed = np.hstack([points, np.ones((len(points), 1))]) @ affine.T
        cv2.fillPoly(hard, [np.round(placed).astype(np.int32)], 255)
    if blend.grow:
        side = 2 * max(1, round(abs(blend.grow) * unit)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        hard = cv2.dilate(hard, kernel) if blend.grow > 0 else cv2.erode(hard, kernel)
    mask = hard.astype(np.float32) / 255
    if blend.elastic > 0:
        mask = _wobble(mask, blend.elastic * unit, rng)
    sigma = max(0.4, blend.blur * unit)
    return np.clip(cv2.GaussianBlur(mask, (0, 0), sigma), 0, 1)


def _wobble(image: NDArray, amplitude_px: float, rng: np.random.Generator) -> NDArray:
    """Smooth random displacement: a 5x5 grid of shifts, interpolated over the picture."""
    height, width = image.shape[:2]
    grid = rng.normal(0, amplitude_px, (5, 5, 2)).astype(np.float32)
    flow = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    x, y = x + flow[..., 0], y + flow[..., 1]
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def blend_in(target: Rgb, source: Rgb, mask: Mask, ratio: float) -> Rgb:
    """Return target * (1 - ratio mask) + source * ratio mask, rounded."""
    weight = (mask * ratio)[..., None]
    mixed = target + weight * (source.astype(np.float32) - target)
    return np.clip(mixed + 0.5, 0, 255).astype(np.uint8)


def draw_blend(
    rng: np.random.Generator, strength: float = 0.5, regions: tuple[str, ...] = _DRAWN_REGIONS
) -> Blend:
    """Draw a self-blend. Ratios and shifts are the paper's; strength moves appearance and opacity
    together.
    """
    ratio = float(rng.choice([0.25, 0.5, 0.75, 1.0, 1.0, 1.0])) if strength < 0.8 else 1.0
    return Blend(
        region=str(rng.choice(list(regions))),
        ratio=ratio,
        shift_x=float(rng.uniform(-0.03, 0.03)),
        shift_y=float(rng.uniform(-0.015, 0.015)),
        scale=float(rng.uniform(0.95, 1.05)),
        grow=float(rng.uniform(-0.15, 0.2)),
        blur=float(rng.choice([0.02, 0.05, 0.1, 0.16, 0.25]) * rng.uniform(0.7, 1.3)),
        elastic=float(rng.uniform(0.02, 0.18)),
        appearance=draw_appearance(rng, strength),
    )


def self_blend(
    rgb: Rgb,
    landmarks_px: Points,
    blend: Blend,
    rng: np.random.Generator,
    change_target: bool = False,
) -> Forgery:
    """Return the face blended with a copy of itself that differs a little and sits a little off.

    change_target changes the appearance of the picture under the copy instead; then the authentic
    half is that changed picture, so that the appearance itself never tells the halves apart.
    """
    height, width = rgb.shape[:2]
    changed = apply_appearance(rgb, blend.appearance)
    target, source = (changed, rgb) if change_target else (rgb, changed)
    centre = landmarks_px.mean(0)
    move = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), 0, blend.scale)
    move[:, 2] += (blend.shift_x * width, blend.shift_y * height)
    source = cv2.warpAffine(
        source, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    mask = region_mask((height, width), landmarks_px, blend, rng)
    return Forgery(target, blend_in(target, source, mask, blend.ratio), mask, "self-blend")


def cross_blend(
    rgb: Rgb,
    landmarks_px: Points,
    donor: Rgb,
    donor_landmarks_px: Points,
    blend: Blend,
    rng: np.random.Generator,
) -> Forgery:
    """Return the face with another person's face, moved onto it by the five points and matched in
    colour. Raises ValueError where the landmarks lie in one place.
    """
    height, width = rgb.shape[:2]
    move, _ = cv2.estimateAffinePartial2D(donor_landmarks_px, landmarks_px, method=cv2.LMEDS)
    if move is None:
        raise ValueError("expected five landmarks that are not all in one place")
    # A donor larger than its new place is averaged down first: no aliasing.
    shrink = float(np.hypot(move[0, 0], move[1, 0]))
    if shrink < 0.7:
        donor = cv2.resize(donor, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        move = move @ np.diag([1 / shrink, 1 / shrink, 1.0])
    placed = cv2.warpAffine(
        donor, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    mask = region_mask((height, width), landmarks_px, blend, rng)
    placed = apply_appearance(match_colour(placed, rgb, mask), blend.appearance)
    return Forgery(rgb, blend_in(rgb, placed, mask, blend.ratio), mask, "cross-blend")


def part_splice(rgb: Rgb, landmarks_px: Points, blend: Blend, rng: np.random.Generator) -> Forgery:
    """Return the face with a mouth, pair of eyes or nose replaced by a warped, lower-resolution
    copy: what re-enactment and lip sync leave.

    The part is stretched about its own centre (a mouth opens or closes), changes its appearance and
    comes back under a soft mask.
    """
    height, width = rgb.shape[:2]
    unit = eye_distance(landmarks_px)
    polygon = np.concatenate([np.array(p) for p in REGIONS[blend.region]])
    centre = np.append(polygon.mean(0), 1.0) @ face_affine(landmarks_px).T
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    spread = unit * (0.75 if blend.region == "lower face" else 0.5)
    near = np.exp(-(((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * spread**2)))
    stretch_x = rng.uniform(-0.18, 0.18)
    stretch_y = rng.uniform(-0.35, 0.35)
    warped = cv2.remap(
        rgb,
        (x - near * (x - centre[0]) * stretch_x).astype(np.float32),
        (y - near * (y - centre[1]) * stretch_y).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    mask = region_mask((height, width), landmarks_px, blend, rng)
    warped = apply_appearance(warped, blend.appearance)
    return Forgery(rgb, blend_in(rgb, warped, mask, blend.ratio), mask, "part splice")


def resynthesis(
    rgb: Rgb,
    rebuilt: Rgb,
    landmarks_px: Points,
    blend: Blend,
    rng: np.random.Generator,
    whole: bool,
    soften: bool,
) -> Forgery:
    """Return the face (or, with `whole`, the whole picture) as a small generator gave it back.

    A generator also blurs. With `soften` the authentic half is resampled to the same spectrum, so
    that what is left to learn is the up-sampler's trace and not softness.
    """
    height, width = rgb.shape[:2]
    if whole:
        authentic = soften_like(rgb, rebuilt) if soften else rgb
        return Forgery(authentic, rebuilt, np.ones((height, width), np.float32), "generator")
    mask = region_mask((height, width), landmarks_px, blend, rng)
    rebuilt = apply_appearance(rebuilt, replace(blend.appearance, down=1.0))
    return Forgery(rgb, blend_in(rgb, rebuilt, mask, blend.ratio), mask, "generator")
