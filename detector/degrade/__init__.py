"""What happens to a picture on its way to us: compression, rescaling, blur, noise, colour.

One definition for training, benchmark and user interface. Drawing and applying are apart:
`draw_preset` and `draw_training` return a Degradation, `apply` carries it out and always gives the
same result, so that a real face and its forgery can get the identical augmentation.
"""

from __future__ import annotations

from detector.degrade.augment import P_UNTOUCHED, draw_retouch, draw_smoothing, draw_training
from detector.degrade.checks import Rgb
from detector.degrade.codecs import (
    CHROMA_STEP,
    CODECS,
    DCT_8,
    JPEG_LUMINANCE,
    JPEG_SUBSAMPLING,
    MIN_CODED_PX,
    PRESETS,
    block_artifacts,
    chroma_subsampling,
    jpeg,
    video_codec,
    video_codec_clip,
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
from detector.degrade.presets import SEVERITIES, Severity, apply_preset, draw_preset
from detector.degrade.registry import OPERATIONS, Operation, Parameter, Value
from detector.degrade.steps import Degradation, Step, apply, apply_clip, describe

__all__ = [
    "CHROMA_STEP",
    "CODECS",
    "DCT_8",
    "INTERPOLATION",
    "JPEG_LUMINANCE",
    "JPEG_SUBSAMPLING",
    "MIN_CODED_PX",
    "OPERATIONS",
    "PRESETS",
    "P_UNTOUCHED",
    "SEVERITIES",
    "Degradation",
    "Operation",
    "Parameter",
    "Rgb",
    "Severity",
    "Step",
    "Value",
    "apply",
    "apply_clip",
    "apply_preset",
    "bilateral",
    "block_artifacts",
    "brightness_contrast",
    "chroma_subsampling",
    "colour_shift",
    "describe",
    "draw_preset",
    "draw_retouch",
    "draw_smoothing",
    "draw_training",
    "gamma",
    "gaussian_blur",
    "hue_saturation",
    "jpeg",
    "median",
    "motion_blur",
    "noise",
    "non_local_means",
    "rescale",
    "sharpen",
    "video_codec",
    "video_codec_clip",
    "vignette",
    "webp",
]
