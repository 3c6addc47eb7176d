"""How one copy of a face is made to differ from another: colour, resolution, sharpness."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from detector.forgery.regions import Mask, Rgb

LEAST_SIDE_PX = 8
UNSHARP_PX = 1.2  # sigma of the blur that sharpening takes away


@dataclass(frozen=True)
class Appearance:
    """What is changed; zeros and ones change nothing."""

    rgb_shift: tuple[float, float, float] = (0.0, 0.0, 0.0)  # grey levels
    hue: float = 0.0  # OpenCV hue units (0..179)
    saturation: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0  # grey levels
    down: float = 1.0  # scaled to this fraction and back: a generator's lower resolution
    sharpen: float = 0.0  # unsharp amount


def apply_appearance(rgb: Rgb, appearance: Appearance) -> Rgb:
    """Return the picture (H, W, 3) with another appearance."""
    out = rgb
    if appearance.hue or appearance.saturation != 1.0:
        levels = np.arange(256)
        hue = ((levels + appearance.hue) % 180).astype(np.uint8)
        saturation = np.clip(levels * appearance.saturation, 0, 255).astype(np.uint8)
        table = np.dstack([hue, saturation, levels.astype(np.uint8)])
        out = cv2.cvtColor(cv2.LUT(cv2.cvtColor(out, cv2.COLOR_RGB2HSV), table), cv2.COLOR_HSV2RGB)
    if any(appearance.rgb_shift) or appearance.contrast != 1.0 or appearance.brightness:
        grey = np.arange(256, dtype=np.float32) - 128
        grey = grey * appearance.contrast + 128 + appearance.brightness
        curves = [np.clip(grey + s, 0, 255).astype(np.uint8) for s in appearance.rgb_shift]
        out = cv2.LUT(out, np.dstack(curves))
    if appearance.down < 1.0:
        height, width = out.shape[:2]
        small = (
            max(LEAST_SIDE_PX, int(width * appearance.down)),
            max(LEAST_SIDE_PX, int(height * appearance.down)),
        )
        out = cv2.resize(out, small, interpolation=cv2.INTER_AREA)
        out = cv2.resize(out, (width, height), interpolation=cv2.INTER_CUBIC)
    if appearance.sharpen > 0:
        soft = cv2.GaussianBlur(out, (0, 0), UNSHARP_PX)
        out = cv2.addWeighted(out, 1 + appearance.sharpen, soft, -appearance.sharpen, 0)
    return out


def draw_appearance(rng: np.random.Generator, strength: float = 0.5) -> Appearance:
    """Draw an appearance. strength 1: far apart and easy to see (start of the curriculum); 0:
    barely different.
    """
    reach = 0.35 + 0.9 * strength
    detail = rng.random()  # below .5 a lower resolution, above .7 sharpened
    return Appearance(
        rgb_shift=tuple(rng.uniform(-20, 20, 3) * reach) if rng.random() < 0.7 else (0.0, 0.0, 0.0),
        hue=float(rng.uniform(-7, 7) * reach) if rng.random() < 0.4 else 0.0,
        saturation=float(1 + rng.uniform(-0.3, 0.3) * reach) if rng.random() < 0.4 else 1.0,
        contrast=float(1 + rng.uniform(-0.18, 0.18) * reach) if rng.random() < 0.6 else 1.0,
        brightness=float(rng.uniform(-18, 18) * reach) if rng.random() < 0.6 else 0.0,
        down=float(rng.uniform(0.25, 0.9)) if detail < 0.5 else 1.0,
        sharpen=float(rng.uniform(0.3, 1.5) * reach) if detail > 0.7 else 0.0,
    )


def match_colour(source: Rgb, target: Rgb, mask: Mask) -> Rgb:
    """Return `source` with the mean and spread of `target` inside the mask, per Lab channel
    (Reinhard et al., 2001).
    """
    inside = mask > 0.5
    if inside.sum() < 16:
        return source
    lab_source = cv2.cvtColor(source, cv2.COLOR_RGB2LAB).astype(np.float32)
    lab_target = cv2.cvtColor(target, cv2.COLOR_RGB2LAB)
    a, b = lab_source[inside], lab_target[inside].astype(np.float32)
    gain = np.clip(b.std(0) / (a.std(0) + 1e-3), 0.5, 2.0)
    matched = np.clip((lab_source - a.mean(0)) * gain + b.mean(0), 0, 255).astype(np.uint8)
    return cv2.cvtColor(matched, cv2.COLOR_LAB2RGB)


def soften_like(rgb: Rgb, reference: Rgb) -> Rgb:
    """Return `rgb` blurred until its Laplacian energy is that of `reference` (a few tries of
    sigma); unchanged if it is below.
    """
    goal = _detail(reference)
    candidate = rgb
    for sigma in (0.0, 0.4, 0.5, 0.6, 0.75, 0.9, 1.1, 1.4, 1.8):
        candidate = cv2.GaussianBlur(rgb, (0, 0), sigma) if sigma else rgb
        if _detail(candidate) <= goal:
            break
    return candidate


def _detail(rgb: Rgb) -> float:
    return cv2.Laplacian(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), cv2.CV_32F).std()
