"""Forgeries made from authentic faces, each with the mask of what was changed.

Every family takes one authentic picture with its five landmarks and gives a Forgery: the authentic
twin, the forged twin and the mask. Both twins have gone through the same hands except for the
forgery itself, and the caller puts both through the same later nuisance, so that nothing but the
forgery tells them apart.

Sources: self-blending after Shiohara & Yamasaki, CVPR 2022 (arXiv:2204.08376); cross-blending after
Li et al., "Face X-ray", CVPR 2020 (arXiv:1912.13458); generator fingerprints after Zhang et al.,
WIFS 2019 (arXiv:1907.06515). All written anew from the papers' descriptions. The masks are placed
by MTCNN's five points instead of a 68- or 81-point model, through an affine fit of an average face.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Mask = NDArray[np.float32]
Points = NDArray[np.float32]

# An average face: origin between the eyes, x to the right, y down, unit = distance between the
# eyes. The five points are proportions of the 112 px alignment template common in face recognition.
FIVE_POINTS = np.array(
    [[-0.5, 0.0], [0.5, 0.0], [0.0, 0.57], [-0.414, 1.155], [0.414, 1.155]], np.float32
)
_OUTLINE = [(-1.0, -0.1), (-0.97, 0.4), (-0.89, 0.85), (-0.7, 1.32), (-0.4, 1.7), (0.0, 1.86),
            (0.4, 1.7), (0.7, 1.32), (0.89, 0.85), (0.97, 0.4), (1.0, -0.1),
            (0.82, -0.45), (0.45, -0.6), (0.0, -0.55), (-0.45, -0.6), (-0.82, -0.45)]  # fmt: skip
_FOREHEAD = [*_OUTLINE[:11], (0.9, -0.7), (0.5, -1.05), (0.0, -1.15), (-0.5, -1.05), (-0.9, -0.7)]
_INNER = [(-0.8, -0.4), (-0.3, -0.5), (0.3, -0.5), (0.8, -0.4), (0.72, 0.3), (0.6, 1.1), (0.35, 1.5), (0.0, 1.55),
          (-0.35, 1.5), (-0.6, 1.1), (-0.72, 0.3)]  # fmt: skip
_LOWER = [(-0.85, 0.55), (0.0, 0.7), (0.85, 0.55), (0.8, 1.1), (0.6, 1.5), (0.3, 1.78), (0.0, 1.86), (-0.3, 1.78),
          (-0.6, 1.5), (-0.8, 1.1)]  # fmt: skip


def _ellipse(x: float, y: float, rx: float, ry: float) -> list[tuple[float, float]]:
    turn = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    return [(x + rx * float(np.cos(a)), y + ry * float(np.sin(a))) for a in turn]


# Region name -> polygons in the average face's coordinates.
REGIONS: dict[str, list[list[tuple[float, float]]]] = {
    "face": [_OUTLINE],
    "face and forehead": [_FOREHEAD],
    "inner face": [_INNER],
    "lower face": [_LOWER],
    "mouth": [_ellipse(0.0, 1.16, 0.56, 0.32)],
    "eyes": [_ellipse(-0.5, 0.0, 0.36, 0.22), _ellipse(0.5, 0.0, 0.36, 0.22)],
    "nose": [_ellipse(0.0, 0.4, 0.3, 0.42)],
}
_DRAWN_REGIONS = (
    "face",
    "face",
    "face",
    "face and forehead",
    "inner face",
    "inner face",
    "lower face",
    "mouth",
    "eyes",
    "nose",
)


@dataclass(frozen=True, eq=False)
class Forgery:
    """authentic and forged (H, W, 3) uint8; mask (H, W) float32 in [0, 1], 1 where pixels come from
    the forgery.
    """

    authentic: Rgb
    forged: Rgb
    mask: Mask
    family: str

    def __post_init__(self) -> None:
        if self.authentic.shape != self.forged.shape or self.mask.shape != self.forged.shape[:2]:
            shapes = (self.authentic.shape, self.forged.shape, self.mask.shape)
            raise ValueError(f"expected twins and a mask of one size, but got {shapes}")


@dataclass(frozen=True)
class Look:
    """How one copy of the face is made to differ from the other; zeros and ones change nothing."""

    rgb_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)  # grey levels
    hue: float = 0.0  # OpenCV hue units (0..179)
    saturation: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0  # grey levels
    down: float = 1.0  # scaled to this fraction and back: a generator's lower resolution
    sharpen: float = 0.0  # unsharp amount


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
    look: Look = Look()


def face_affine(landmarks_px: Points) -> NDArray[np.float64]:
    """(2, 3) least-squares affine from the average face to the picture. landmarks_px: (5, 2)."""
    design = np.hstack([FIVE_POINTS.astype(np.float64), np.ones((5, 1))])
    solution, *_ = np.linalg.lstsq(design, landmarks_px.astype(np.float64), rcond=None)
    return solution.T


def eye_distance(landmarks_px: Points) -> float:
    """Scale of a face in px: eye distance or eye-to-mouth distance / 1.155, the larger, so profiles
    keep their size.
    """
    eyes = float(np.linalg.norm(landmarks_px[1] - landmarks_px[0]))
    drop = float(np.linalg.norm(landmarks_px[3:].mean(0) - landmarks_px[:2].mean(0))) / 1.155
    return max(eyes, drop, 4.0)


def face_shape(landmarks_px: Points) -> NDArray[np.float64]:
    """(5, 2) landmarks in the eye frame's own units: what is left of a face is its pose."""
    return (landmarks_px - landmarks_px[:2].mean(0)) / eye_distance(landmarks_px)


def region_mask(
    shape: tuple[int, int], landmarks_px: Points, blend: Blend, rng: np.random.Generator
) -> Mask:
    """Soft mask (H, W) of a region of this face: polygon, wobble, grow or shrink, blur. Raises
    KeyError on a region.
    """
    unit = eye_distance(landmarks_px)
    affine = face_affine(landmarks_px)
    hard = np.zeros(shape, np.uint8)
    for polygon in REGIONS[blend.region]:
        points = np.array(polygon) + rng.normal(0, 0.3 * blend.elastic, (len(polygon), 2))
        placed = np.hstack([points, np.ones((len(points), 1))]) @ affine.T
        cv2.fillPoly(hard, [np.round(placed).astype(np.int32)], 255)
    if blend.grow:
        k = 2 * max(1, round(abs(blend.grow) * unit)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (k, k))
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
    return cv2.remap(
        image, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )


def apply_look(rgb: Rgb, look: Look) -> Rgb:
    """The face in another look: colour, contrast, resolution, sharpness."""
    out = rgb
    if look.hue or look.saturation != 1.0:
        hsv = cv2.cvtColor(out, cv2.COLOR_RGB2HSV)
        hue = ((np.arange(256) + look.hue) % 180).astype(np.uint8)
        sat = np.clip(np.arange(256) * look.saturation, 0, 255).astype(np.uint8)
        same = np.arange(256, dtype=np.uint8)
        out = cv2.cvtColor(cv2.LUT(hsv, np.dstack([hue, sat, same])), cv2.COLOR_HSV2RGB)
    if any(look.rgb_shift) or look.contrast != 1.0 or look.brightness:
        levels = (np.arange(256, dtype=np.float32) - 128) * look.contrast + 128 + look.brightness
        curves = [np.clip(levels + shift, 0, 255).astype(np.uint8) for shift in look.rgb_shift]
        out = cv2.LUT(out, np.dstack(curves))
    if look.down < 1.0:
        height, width = out.shape[:2]
        small = cv2.resize(
            out,
            (max(8, int(width * look.down)), max(8, int(height * look.down))),
            interpolation=cv2.INTER_AREA,
        )
        out = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    if look.sharpen > 0:
        out = cv2.addWeighted(
            out, 1 + look.sharpen, cv2.GaussianBlur(out, (0, 0), 1.2), -look.sharpen, 0
        )
    return out


def blend_in(target: Rgb, source: Rgb, mask: Mask, ratio: float) -> Rgb:
    """target * (1 - ratio mask) + source * ratio mask, rounded."""
    weight = (mask * ratio)[..., None]
    return np.clip(target + weight * (source.astype(np.float32) - target) + 0.5, 0, 255).astype(
        np.uint8
    )


def draw_look(rng: np.random.Generator, strength: float = 0.5) -> Look:
    """A random look. strength 1: far apart and easy to see (start of the curriculum); 0: barely
    different.
    """
    s = 0.35 + 0.9 * strength
    kind = rng.random()
    return Look(
        rgb_shift=tuple(rng.uniform(-20, 20, 3) * s) if rng.random() < 0.7 else (0.0, 0.0, 0.0),
        hue=float(rng.uniform(-7, 7) * s) if rng.random() < 0.4 else 0.0,
        saturation=float(1 + rng.uniform(-0.3, 0.3) * s) if rng.random() < 0.4 else 1.0,
        contrast=float(1 + rng.uniform(-0.18, 0.18) * s) if rng.random() < 0.6 else 1.0,
        brightness=float(rng.uniform(-18, 18) * s) if rng.random() < 0.6 else 0.0,
        down=float(rng.uniform(0.25, 0.9)) if kind < 0.5 else 1.0,
        sharpen=float(rng.uniform(0.3, 1.5) * s) if kind > 0.7 else 0.0,
    )


def draw_blend(
    rng: np.random.Generator, strength: float = 0.5, regions: tuple[str, ...] = _DRAWN_REGIONS
) -> Blend:
    """A random self-blend. Ratios and shifts are the paper's; strength moves look and opacity
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
        look=draw_look(rng, strength),
    )


def self_blend(
    rgb: Rgb,
    landmarks_px: Points,
    blend: Blend,
    rng: np.random.Generator,
    look_on_target: bool = False,
) -> Forgery:
    """The face blended with a copy of itself that looks a little different and sits a little off.

    look_on_target changes the picture under the copy instead; then the authentic twin is that
    changed picture, so that the look itself is never what tells the twins apart.
    """
    height, width = rgb.shape[:2]
    changed = apply_look(rgb, blend.look)
    target, source = (changed, rgb) if look_on_target else (rgb, changed)
    centre = landmarks_px.mean(0)
    move = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), 0, blend.scale)
    move[:, 2] += (blend.shift_x * width, blend.shift_y * height)
    source = cv2.warpAffine(
        source, move, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    mask = region_mask((height, width), landmarks_px, blend, rng)
    return Forgery(target, blend_in(target, source, mask, blend.ratio), mask, "self-blend")


def match_colour(source: Rgb, target: Rgb, mask: Mask) -> Rgb:
    """Give `source` the mean and spread of `target` inside the mask, per Lab channel (Reinhard et
    al., 2001).
    """
    inside = mask > 0.5
    if inside.sum() < 16:
        return source
    lab_s = cv2.cvtColor(source, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab_t = cv2.cvtColor(target, cv2.COLOR_RGB2LAB)
    a, b = lab_s[inside], lab_t[inside].astype(np.float32)
    gain = np.clip(b.std(0) / (a.std(0) + 1e-3), 0.5, 2.0)
    return cv2.cvtColor(
        np.clip((lab_s - a.mean(0)) * gain + b.mean(0), 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB
    )


def cross_blend(
    rgb: Rgb,
    landmarks_px: Points,
    donor: Rgb,
    donor_landmarks_px: Points,
    blend: Blend,
    rng: np.random.Generator,
) -> Forgery:
    """Another person's face, moved onto this one by the five points and matched in colour."""
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
    placed = apply_look(match_colour(placed, rgb, mask), blend.look)
    return Forgery(rgb, blend_in(rgb, placed, mask, blend.ratio), mask, "cross-blend")


def part_splice(rgb: Rgb, landmarks_px: Points, blend: Blend, rng: np.random.Generator) -> Forgery:
    """A mouth, pair of eyes or nose replaced by a warped, lower-resolution copy: what re-enactment
    and lip sync leave.

    The part is stretched about its own centre (a mouth opens or closes), goes through the look and
    comes back under a soft mask.
    """
    height, width = rgb.shape[:2]
    unit = eye_distance(landmarks_px)
    polygon = np.concatenate([np.array(p) for p in REGIONS[blend.region]])
    centre = np.append(polygon.mean(0), 1.0) @ face_affine(landmarks_px).T
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    spread = unit * (0.75 if blend.region == "lower face" else 0.5)
    near = np.exp(-(((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * spread**2)))
    stretch_x, stretch_y = rng.uniform(-0.18, 0.18), rng.uniform(-0.35, 0.35)
    warped = cv2.remap(
        rgb,
        (x - near * (x - centre[0]) * stretch_x).astype(np.float32),
        (y - near * (y - centre[1]) * stretch_y).astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    mask = region_mask((height, width), landmarks_px, blend, rng)
    return Forgery(
        rgb, blend_in(rgb, apply_look(warped, blend.look), mask, blend.ratio), mask, "part splice"
    )


def resynthesis(
    rgb: Rgb,
    rebuilt: Rgb,
    landmarks_px: Points,
    blend: Blend,
    rng: np.random.Generator,
    whole: bool,
    soften: bool,
) -> Forgery:
    """The face (or, with `whole`, the whole picture) as a small generator gave it back.

    A generator also blurs. With `soften` the authentic twin is resampled to the same spectrum, so
    that what is left to learn is the up-sampler's trace and not softness.
    """
    height, width = rgb.shape[:2]
    twin = soften_like(rgb, rebuilt) if soften else rgb
    if whole:
        return Forgery(twin, rebuilt, np.ones((height, width), np.float32), "generator")
    mask = region_mask((height, width), landmarks_px, blend, rng)
    return Forgery(
        rgb,
        blend_in(rgb, apply_look(rebuilt, replace(blend.look, down=1.0)), mask, blend.ratio),
        mask,
        "generator",
    )


def soften_like(rgb: Rgb, reference: Rgb) -> Rgb:
    """Blur `rgb` until its Laplacian energy is that of `reference` (a few tries of sigma);
    unchanged if it is below.
    """
    goal = cv2.Laplacian(cv2.cvtColor(reference, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std()
    candidate = rgb
    for sigma in (0.0, 0.4, 0.5, 0.6, 0.75, 0.9, 1.1, 1.4, 1.8):
        candidate = cv2.GaussianBlur(rgb, (0, 0), sigma) if sigma else rgb
        if cv2.Laplacian(cv2.cvtColor(candidate, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std() <= goal:
            break
    return candidate


def draw_occluder(rgb: Rgb, rng: np.random.Generator) -> tuple[Rgb, Mask]:
    """What to lay over *both* twins, (H, W, 3), and its opacity, (H, W): a caption, a flat patch or
    a piece of the picture itself (a hand, another head), with the hard edge of a thing before a
    face: a soft one would look like a seam."""
    height, width = rgb.shape[:2]
    kind = rng.random()
    opacity = np.zeros((height, width), np.float32)
    centre = (int(rng.uniform(0.2, 0.8) * width), int(rng.uniform(0.25, 0.85) * height))
    if kind < 0.35:
        return _caption(rgb, centre[1], rng)
    axes = (int(rng.uniform(0.05, 0.22) * width), int(rng.uniform(0.05, 0.22) * height))
    if rng.random() < 0.5:
        cv2.ellipse(opacity, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1.0, -1)
    else:
        corners = cv2.boxPoints((centre, (2 * axes[0], 2 * axes[1]), float(rng.uniform(-30, 30))))
        cv2.fillPoly(opacity, [corners.astype(np.int32)], 1.0)
    opacity = cv2.GaussianBlur(opacity, (0, 0), float(rng.uniform(0.4, 1.2)))
    if kind < 0.65:
        cover = np.broadcast_to(rng.integers(0, 256, 3).astype(np.uint8), rgb.shape).copy()
    else:
        cover = np.roll(rgb[:, ::-1], (int(rng.integers(height)), int(rng.integers(width))), (0, 1))
    return np.ascontiguousarray(cover), opacity


def _caption(rgb: Rgb, y: int, rng: np.random.Generator) -> tuple[Rgb, Mask]:
    """A line of letters, with or without a bar behind it."""
    height, width = rgb.shape[:2]
    opacity = np.zeros((height, width), np.float32)
    size = float(rng.uniform(0.35, 0.9)) * width / 224
    letters = "".join(chr(int(c)) for c in rng.integers(65, 91, int(rng.integers(4, 16))))
    ink = 0 if rng.random() < 0.5 else 255
    cover = np.full_like(rgb, 255 - ink)
    start = (int(rng.uniform(0, 0.3) * width), y)
    thick = max(1, round(1.6 * size))
    cv2.putText(
        cover, letters, start, cv2.FONT_HERSHEY_SIMPLEX, size, (ink,) * 3, thick, cv2.LINE_AA
    )
    if rng.random() < 0.5:
        half = int(22 * size)
        opacity[max(0, y - half) : y + half // 2] = float(rng.uniform(0.6, 1.0))
    cv2.putText(opacity, letters, start, cv2.FONT_HERSHEY_SIMPLEX, size, 1.0, thick, cv2.LINE_AA)
    return cover, opacity
