"""Every degradation by name, with the parameters that a page or a test can set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from detector.degrade.checks import Rgb
from detector.degrade.codecs import (
    CHROMA_STEP,
    CODECS,
    JPEG_SUBSAMPLING,
    PRESETS,
    block_artifacts,
    chroma_subsampling,
    jpeg,
    video_codec,
    webp,
)
from detector.degrade.operations import (
    INTERPOLATION,
    bilateral,
    brightness_contrast,
    colour_shift,
    gamma,
    gaussian_blur,
    hue_saturation,
    median,
    motion_blur,
    noise,
    non_local_means,
    rescale,
    sharpen,
    vignette,
)

Value = bool | int | float | str


@dataclass(frozen=True)
class Parameter:
    """One parameter of an operation: a slider from `low` to `high`, or one of `choices`.

    The slider's ends are what is sensible to try; the operation itself may accept more.
    """

    name: str
    label: str
    default: Value
    low: float = 0.0
    high: float = 0.0
    step: float = 1.0
    choices: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One operation: its function, its parameters, and a phrase with a place for each parameter
    that it mentions.
    """

    function: Callable[..., Rgb]
    label: str
    phrase: str
    parameters: tuple[Parameter, ...]


def _choice(
    name: str, label: str, choices: Sequence[Value] | Mapping[str, object], default: Value
) -> Parameter:
    return Parameter(name, label, default, choices=tuple(choices))


OPERATIONS: dict[str, Operation] = {
    "jpeg": Operation(
        jpeg,
        "JPEG",
        "JPEG at quality {quality} ({subsampling})",
        (
            Parameter("quality", "Quality", 50, 10, 100),
            _choice("subsampling", "Chroma subsampling", JPEG_SUBSAMPLING, "4:2:0"),
        ),
    ),
    "webp": Operation(
        webp, "WebP", "WebP at quality {quality}", (Parameter("quality", "Quality", 50, 10, 100),)
    ),
    "video_codec": Operation(
        video_codec,
        "Video codec",
        "{codec} video at CRF {crf}",
        (
            _choice("codec", "Codec", CODECS, "h264"),
            Parameter("crf", "CRF (larger is worse)", 28, 10, 51),
            _choice("preset", "Encoder preset", PRESETS, "veryfast"),
            _choice("as_p_frame", "Predicted from earlier frames", (False, True), False),
        ),
    ),
    "gaussian_blur": Operation(
        gaussian_blur,
        "Gaussian blur",
        "Gaussian blur of {sigma:.2g} px",
        (Parameter("sigma", "Sigma (px)", 1.0, 0.3, 5, 0.1),),
    ),
    "motion_blur": Operation(
        motion_blur,
        "Motion blur",
        "motion blur of {length_px} px at {angle_deg:.0f} degrees",
        (
            Parameter("length_px", "Length (px)", 7, 3, 31, 2),
            Parameter("angle_deg", "Angle (degrees)", 0.0, 0, 180),
        ),
    ),
    "rescale": Operation(
        rescale,
        "Shrink and enlarge",
        "shrunk to {factor:.0%} ({down}) and enlarged back ({up})",
        (
            Parameter("factor", "Scale", 0.7, 0.1, 1, 0.05),
            _choice("down", "Method downwards", INTERPOLATION, "area"),
            _choice("up", "Method upwards", INTERPOLATION, "bilinear"),
        ),
    ),
    "sharpen": Operation(
        sharpen,
        "Sharpen",
        "sharpened by {amount:.2g}",
        (Parameter("amount", "Amount", 1.0, 0, 3, 0.1),),
    ),
    "bilateral": Operation(
        bilateral,
        "Smoothing that keeps edges",
        "smoothed by {sigma_levels:.0f} levels over {sigma_px:.1f} px, edges kept",
        (
            Parameter("sigma_levels", "Sigma (8-bit levels)", 30.0, 5, 80),
            Parameter("sigma_px", "Sigma (px)", 2.5, 0.5, 6, 0.5),
        ),
    ),
    "non_local_means": Operation(
        non_local_means,
        "Noise reduction",
        "noise reduced with strength {strength:.2g}",
        (Parameter("strength", "Strength", 5.0, 1, 15, 0.5),),
    ),
    "median": Operation(
        median,
        "Median",
        "median over {kernel_px} px",
        (Parameter("kernel_px", "Side (px)", 3, 3, 9, 2),),
    ),
    "vignette": Operation(
        vignette,
        "Vignette",
        "corners darkened by {amount:.0%}",
        (Parameter("amount", "Amount", 0.5, 0, 1, 0.05),),
    ),
    "colour_shift": Operation(
        colour_shift,
        "Colour shift",
        "red, green, blue shifted by {red:+.0f}, {green:+.0f}, {blue:+.0f}",
        tuple(
            Parameter(name, name.capitalize(), 0.0, -40, 40) for name in ("red", "green", "blue")
        ),
    ),
    "brightness_contrast": Operation(
        brightness_contrast,
        "Brightness and contrast",
        "brightness {brightness:+.0f} and contrast x{contrast:.2f}",
        (
            Parameter("brightness", "Brightness", 0.0, -80, 80),
            Parameter("contrast", "Contrast", 1.0, 0.3, 2, 0.05),
        ),
    ),
    "gamma": Operation(
        gamma,
        "Gamma",
        "gamma {exponent:.2f}",
        (Parameter("exponent", "Exponent", 1.0, 0.3, 3, 0.05),),
    ),
    "hue_saturation": Operation(
        hue_saturation,
        "Hue and saturation",
        "hue turned by {hue_deg:+.0f} degrees and saturation x{saturation:.2f}",
        (
            Parameter("hue_deg", "Hue (degrees)", 0.0, -60, 60),
            Parameter("saturation", "Saturation", 1.0, 0, 2, 0.05),
        ),
    ),
    "noise": Operation(
        noise,
        "Noise",
        "noise of sigma {sigma:.2g}",
        (
            Parameter("sigma", "Sigma (8-bit levels)", 10.0, 0, 50),
            Parameter("seed", "Seed", 0, 0, 2**31 - 1),
        ),
    ),
    "block_artifacts": Operation(
        block_artifacts,
        "8x8 block artefacts",
        "8x8 block artefacts of strength {strength:.2g}",
        (Parameter("strength", "Strength", 1.0, 0, 5, 0.1),),
    ),
    "chroma_subsampling": Operation(
        chroma_subsampling,
        "Chroma subsampling",
        "colour stored as {mode}",
        (_choice("mode", "Mode", CHROMA_STEP, "4:2:0"),),
    ),
}
