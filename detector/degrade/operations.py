"""Resolution, blur, sharpness, colour and noise.

Every operation takes and returns (H, W, 3) uint8 sRGB of the same size, changes nothing in place,
and raises ValueError for a bad parameter.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from detector.degrade.checks import (
    Rgb,
    as_u8,
    require,
    require_choice,
    require_odd,
    require_within,
    saturated,
)

INTERPOLATION = {
    "area": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
    "nearest": cv2.INTER_NEAREST,
}
RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
)


# Resolution, blur, sharpness


def gaussian_blur(rgb: Rgb, sigma: float = 0.0, kernel_px: int = 0) -> Rgb:
    """Blur by `sigma` px, or by an odd kernel whose sigma OpenCV derives (3, 5, 7 px: 0.8, 1.1, 1.4
    px).
    """
    require(
        (sigma > 0) != (kernel_px > 0),
        "Gaussian blur needs either sigma or kernel_px, and not both.",
    )
    require_within("Blur sigma", sigma, 0, 50)
    require(
        kernel_px == 0 or kernel_px % 2 == 1, f"The blur kernel must be odd, but is {kernel_px} px."
    )
    return as_u8(cv2.GaussianBlur(rgb, (int(kernel_px), int(kernel_px)), sigma))


def motion_blur(rgb: Rgb, length_px: int, angle_deg: float) -> Rgb:
    """Blur along a straight line of odd length 3..51 px; 0 degrees is horizontal."""
    require_odd("The motion blur's length", length_px, 3, 51)
    length_px = int(length_px)
    kernel = np.zeros((length_px, length_px), np.float32)
    kernel[length_px // 2] = 1
    centre = (length_px // 2, length_px // 2)
    kernel = np.asarray(
        cv2.warpAffine(
            kernel, cv2.getRotationMatrix2D(centre, angle_deg, 1), (length_px, length_px)
        )
    )
    return as_u8(cv2.filter2D(rgb, -1, kernel / kernel.sum()))


def rescale(rgb: Rgb, factor: float, down: str = "area", up: str = "bilinear") -> Rgb:
    """Scale both sides by `factor` (0.05..1) with the method `down`, and back to the original size
    with `up`.
    """
    require_within("The scale", factor, 0.05, 1)
    require_choice("The interpolation downwards", down, INTERPOLATION)
    require_choice("The interpolation upwards", up, INTERPOLATION)
    height, width = rgb.shape[:2]
    small_size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(rgb, small_size, interpolation=INTERPOLATION[down])
    return as_u8(cv2.resize(small, (width, height), interpolation=INTERPOLATION[up]))


def sharpen(rgb: Rgb, amount: float) -> Rgb:
    """Unsharp mask: add `amount` (0..5) times the difference to a Gaussian blur of 1 px."""
    require_within("The amount of sharpening", amount, 0, 5)
    return as_u8(cv2.addWeighted(rgb, 1 + amount, cv2.GaussianBlur(rgb, (0, 0), 1.0), -amount, 0))


def bilateral(rgb: Rgb, sigma_levels: float, sigma_px: float) -> Rgb:
    """Smooth what differs by less than about `sigma_levels` (1..150) within `sigma_px` (0.5..10),
    and keep the edges.

    What a phone's noise reduction and a beauty filter do to skin (Tomasi & Manduchi, ICCV 1998).
    """
    require_within("The smoothing's sigma in levels", sigma_levels, 1, 150)
    require_within("The smoothing's sigma in px", sigma_px, 0.5, 10)
    return as_u8(cv2.bilateralFilter(rgb, 0, sigma_levels, sigma_px))


def non_local_means(rgb: Rgb, strength: float) -> Rgb:
    """Average each patch of 5 px with those like it within 11 px; `strength` (1..30) is how unlike
    they may be.

    Stronger noise reduction, as in photo editors: flat skin, sharp edges (Buades et al., CVPR
    2005).
    """
    require_within("The strength of noise reduction", strength, 1, 30)
    return as_u8(cv2.fastNlMeansDenoisingColored(rgb, None, strength, strength, 5, 11))


def median(rgb: Rgb, kernel_px: int) -> Rgb:
    """The median of each channel over a square of odd side (3..15 px)."""
    require_odd("The median's side", kernel_px, 3, 15)
    return as_u8(cv2.medianBlur(rgb, int(kernel_px)))


# Colour and noise


def colour_shift(rgb: Rgb, red: float = 0, green: float = 0, blue: float = 0) -> Rgb:
    """Add an offset, in 8-bit levels, to each channel."""
    for name, offset in (("red", red), ("green", green), ("blue", blue)):
        require_within(f"The shift of {name}", offset, -255, 255)
    return as_u8(
        cv2.LUT(rgb, saturated(np.arange(256)[None, :, None] + np.array([red, green, blue])))
    )


def brightness_contrast(rgb: Rgb, brightness: float = 0.0, contrast: float = 1.0) -> Rgb:
    """Multiply the distance from mid-grey by `contrast` (0..4), then add `brightness` (8-bit
    levels).
    """
    require_within("Brightness", brightness, -255, 255)
    require_within("Contrast", contrast, 0, 4)
    return as_u8(cv2.LUT(rgb, saturated((np.arange(256) - 127.5) * contrast + 127.5 + brightness)))


def gamma(rgb: Rgb, exponent: float) -> Rgb:
    """Raise levels (as 0..1) to `exponent` (0.1..10); above 1 darkens."""
    require_within("Gamma", exponent, 0.1, 10)
    return as_u8(cv2.LUT(rgb, saturated(255 * (np.arange(256) / 255) ** exponent)))


def hue_saturation(rgb: Rgb, hue_deg: float = 0.0, saturation: float = 1.0) -> Rgb:
    """Turn hue by `hue_deg` (red towards yellow) and multiply saturation (0..4) in the YIQ plane,
    so that luma stays.

    A linear map rather than 8-bit HSV, whose 180 hue steps would leave a trace of their own.
    """
    require_within("The turn of hue", hue_deg, -180, 180)
    require_within("Saturation", saturation, 0, 4)
    cos, sin = (saturation * f(math.radians(hue_deg)) for f in (math.cos, math.sin))
    turn = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    return as_u8(cv2.transform(rgb, np.linalg.inv(RGB_TO_YIQ) @ turn @ RGB_TO_YIQ))


def vignette(rgb: Rgb, amount: float) -> Rgb:
    """Darken towards the corners, by `amount` (0..1) there, with the square of the distance from
    the centre.
    """
    require_within("The vignette's amount", amount, 0, 1)
    height, width = rgb.shape[:2]
    across = np.linspace(-1, 1, width, dtype=np.float32)
    down = np.linspace(-1, 1, height, dtype=np.float32)
    light = 1 - amount * (across[None] ** 2 + down[:, None] ** 2) / 2
    return saturated(rgb * light[..., None])


def noise(rgb: Rgb, sigma: float, seed: int | np.random.Generator) -> Rgb:
    """Add independent Gaussian noise of `sigma` 8-bit levels (0..100)."""
    require_within("The noise's sigma", sigma, 0, 100)
    grain = np.random.default_rng(seed).standard_normal(rgb.shape, np.float32)
    return saturated(cv2.addWeighted(rgb, 1, grain, sigma, 0, dtype=cv2.CV_32F))
