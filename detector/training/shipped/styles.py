"""Photographs made into pictures that are none: painted, drawn, printed, cut in stone.

Each style is a function of a picture (H, W, 3) uint8 and a random generator and returns one of the
same shape. They need no pictures of other people, and no licence.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]
Style = Callable[[Rgb, np.random.Generator], Rgb]

STROKES = ((10, 4.0), (6, 2.5), (3, 1.2))  # width of a brush and blur of what it copies, in px


def _u8(values: NDArray) -> Rgb:
    return values.clip(0, 255).astype(np.uint8)


def _grey(rgb: Rgb) -> Rgb:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.uint8)


def _grain(rgb: Rgb, size_px: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Noise (H, W) of spread 1 whose grains have a size."""
    noise = cv2.GaussianBlur(rng.normal(size=rgb.shape[:2]).astype(np.float32), (0, 0), size_px)
    return np.asarray(noise / noise.std(), np.float32)


def stylised(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Flat regions inside dark edges (Gastal and Oliveira 2011)."""
    spatial = float(rng.uniform(20, 90))
    tonal = float(rng.uniform(0.25, 0.6))
    return np.asarray(cv2.stylization(rgb, sigma_s=spatial, sigma_r=tonal), np.uint8)


def poster(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Smoothed along edges, then few levels of each colour."""
    spatial = float(rng.uniform(30, 80))
    tonal = float(rng.uniform(0.25, 0.5))
    smooth = cv2.edgePreservingFilter(rgb, flags=1, sigma_s=spatial, sigma_r=tonal)
    step = 255 / (int(rng.integers(4, 9)) - 1)
    return _u8(np.round(smooth / step) * step)


def _pencil(rgb: Rgb, rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    shade = float(rng.uniform(0.02, 0.08))
    spatial = float(rng.uniform(30, 90))
    tonal = float(rng.uniform(0.05, 0.12))
    grey, colour = cv2.pencilSketch(rgb, sigma_s=spatial, sigma_r=tonal, shade_factor=shade)
    return np.asarray(grey, np.uint8), np.asarray(colour, np.uint8)


def pencil(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    return np.repeat(_pencil(rgb, rng)[0][..., None], 3, axis=2)


def crayon(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    return _pencil(rgb, rng)[1]


def kuwahara(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Each pixel the mean of the calmest of the four squares that it is a corner of."""
    reach = int(rng.integers(3, 7))
    padded = np.pad(rgb, [(reach, reach), (reach, reach), (0, 0)], "symmetric").astype(np.float32)
    grey = cv2.cvtColor(padded, cv2.COLOR_RGB2GRAY)
    window = (reach + 1, reach + 1)
    means = cv2.blur(padded, window)
    spread = cv2.blur(grey * grey, window) - cv2.blur(grey, window) ** 2
    (height, width), near, far = rgb.shape[:2], reach // 2, reach + (reach + 1) // 2
    parts = [
        (slice(top, top + height), slice(left, left + width))
        for top in (near, far)
        for left in (near, far)
    ]
    calmest = np.stack([spread[part] for part in parts]).argmin(0)[None, ..., None]
    return _u8(np.take_along_axis(np.stack([means[part] for part in parts]), calmest, 0)[0])


def oil(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Each pixel the mean colour of the commonest brightness around it."""
    levels = int(rng.integers(6, 12))
    side = 2 * int(rng.integers(2, 6)) + 1
    level = _grey(rgb).astype(np.int64) * levels // 256
    most = np.zeros(level.shape, np.float32)
    out = np.zeros(rgb.shape, np.float32)
    for number in range(levels):
        inside = (level == number).astype(np.float32)
        count = cv2.boxFilter(inside, -1, (side, side), normalize=False)
        total = cv2.boxFilter(rgb * inside[..., None], -1, (side, side), normalize=False)
        more = count > most
        most[more] = count[more]
        out[more] = total[more] / count[more][:, None]
    return _u8(out)


def few_colours(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """The colours of k means."""
    smooth = cv2.medianBlur(rgb, 5)
    cluster = (cv2.TERM_CRITERIA_COUNT, 10, 0.0)
    colours = smooth.reshape(-1, 3).astype(np.float32)
    cv2.setRNGSeed(int(rng.integers(1 << 20)))
    count = int(rng.integers(4, 10))
    _, owner, centres = cv2.kmeans(colours, count, None, cluster, 1, cv2.KMEANS_PP_CENTERS)  # type: ignore[call-overload]
    return np.asarray(cv2.medianBlur(_u8(centres[owner.ravel()].reshape(rgb.shape)), 3), np.uint8)


def cartoon(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Smooth and colourful, with black outlines."""
    smooth = rgb
    for _ in range(int(rng.integers(3, 7))):
        smooth = np.asarray(cv2.bilateralFilter(smooth, 9, float(rng.uniform(30, 70)), 7), np.uint8)
    hsv = cv2.cvtColor(smooth, cv2.COLOR_RGB2HSV).astype(np.float32)
    hsv[..., 1] *= rng.uniform(1, 1.6)
    mean = cv2.ADAPTIVE_THRESH_MEAN_C
    bias = float(rng.uniform(2, 6))
    soft = cv2.medianBlur(_grey(rgb), 5)
    lines = cv2.adaptiveThreshold(soft, 255, mean, cv2.THRESH_BINARY, 9, bias)
    return np.asarray(cv2.cvtColor(_u8(hsv), cv2.COLOR_HSV2RGB) & lines[..., None], np.uint8)


def marble(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Pale stone with smooth shading and veins."""
    grey = _grey(rgb)
    for _ in range(4):
        grey = np.asarray(cv2.bilateralFilter(grey, 11, 30, 7), np.uint8)
    light = cv2.createCLAHE(2.0, (3, 3)).apply(grey).astype(np.float32) / 255
    light = 0.35 + 0.6 * cv2.GaussianBlur(light, (0, 0), rng.uniform(0.6, 1.4))
    veins = np.exp(-np.abs(_grain(rgb, rng.uniform(8, 20), rng)) * rng.uniform(6, 12))
    tint = np.array([1, rng.uniform(0.95, 1), rng.uniform(0.88, 1)])
    return _u8(255 * (light - veins * rng.uniform(0, 0.12))[..., None] * tint)


def watercolour(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Washes of one colour each on rough paper."""
    space = int(rng.integers(8, 16))
    colour = int(rng.integers(20, 40))
    washes = cv2.pyrMeanShiftFiltering(rgb, space, colour).astype(np.float32)
    paper = rng.uniform(0.1, 0.35)
    grain = _grain(rgb, 1.2, rng) * rng.uniform(2, 6)
    return _u8(washes * (1 - paper) + 255 * paper + grain[..., None])


def brush(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Strokes along the edges, from a broad brush to a fine one (after Hertzmann 1998)."""
    height, width = rgb.shape[:2]
    light = cv2.GaussianBlur(_grey(rgb), (0, 0), 3).astype(np.float32)
    along = np.arctan2(cv2.Sobel(light, -1, 0, 1), cv2.Sobel(light, -1, 1, 0)) + np.pi / 2
    canvas = cv2.GaussianBlur(rgb, (0, 0), 8)
    for broad, blur in STROKES:
        wide = max(1, int(broad * rng.uniform(0.7, 1.3)))
        source = cv2.GaussianBlur(rgb, (0, 0), blur)
        count = int(1.3 * height * width / wide**2)
        length = wide * rng.uniform(1.5, 3)
        wrong = np.abs(source.astype(int) - canvas).sum(2)
        for y, x in zip(rng.integers(0, height, count), rng.integers(0, width, count), strict=True):
            if wrong[y, x] < 40:
                continue
            angle = along[y, x] + rng.normal() * 0.25
            dx, dy = int(np.cos(angle) * length), int(np.sin(angle) * length)
            colour = _u8(source[y, x] + rng.normal(size=3) * 8).tolist()
            cv2.line(canvas, (x - dx, y - dy), (x + dx, y + dy), colour, wide, cv2.LINE_AA)
    return np.asarray(canvas, np.uint8)


def on_canvas(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Painted on yellowed canvas."""
    painted = (kuwahara if rng.random() < 0.5 else brush)(rgb, rng)
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]] * rng.uniform(1.5, 3)
    threads = (np.sin(y) + np.sin(x)) * rng.uniform(3, 8)
    varnish = np.array([1, rng.uniform(0.85, 1), rng.uniform(0.6, 0.95)])
    return _u8(painted * varnish + threads[..., None])


def engraving(rgb: Rgb, rng: np.random.Generator) -> Rgb:
    """Black lines that swell with the shadows."""
    light = cv2.GaussianBlur(_grey(rgb), (0, 0), 1).astype(np.float32) / 255
    y, x = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
    angle = rng.uniform(0, np.pi)
    fine = rng.uniform(1.2, 2)
    wave = 0.5 + 0.5 * np.sin((x * np.cos(angle) + y * np.sin(angle)) * fine + 4 * light)
    ink = 255 / (1 + np.exp(-12 * (light - 0.8 * wave - 0.05)))
    return np.repeat(_u8(ink)[..., None], 3, axis=2)


STYLES: dict[str, Style] = {
    style.__name__: style
    for style in (
        *(stylised, poster, pencil, crayon, kuwahara, oil, few_colours),
        *(cartoon, marble, watercolour, brush, on_canvas, engraving),
    )
}
