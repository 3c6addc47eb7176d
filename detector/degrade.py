"""What happens to a picture on its way to us: compression, rescaling, blur, noise, colour.

One definition for training, benchmark and user interface. Every operation takes and returns (H, W,
3) uint8 sRGB of the same size, changes nothing in place, and raises ValueError for a bad parameter.

Drawing and applying are apart: `draw_preset` and `draw_training` return a Recipe, `apply` carries
it out and always gives the same result, so that a real face and its forged twin can get the
identical nuisance.

The file is longer than most because operations, their registry and the recipes drawn from it have
to agree.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Rgb = NDArray[np.uint8]  # (H, W, 3), sRGB
Value = bool | int | float | str

JPEG_SUBSAMPLING = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}
# luma px per chroma sample: across, down
CHROMA_STEP = {"4:2:0": (2, 2), "4:2:2": (2, 1), "4:1:1": (4, 1)}
INTERPOLATION = {
    "area": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
    "nearest": cv2.INTER_NEAREST,
}
CODECS = {"h264": ("libx264", "h264"), "h265": ("libx265", "hevc")}  # encoder, decoder
PRESETS = ("ultrafast", "veryfast", "medium")
# one H.265 coding tree; x265's look-ahead writes past its memory on smaller pictures
MIN_CODED_PX = 64
# Quiet and single-threaded: the caller's workers are the parallelism.
X265_PARAMS = "log-level=none:pools=none:frame-threads=1:wpp=0"

# Luminance quantisation at quality 50, ITU-T T.81 table K.1.
JPEG_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_K = np.arange(8)
# Orthonormal DCT-II; one row per frequency.
DCT_8 = (0.5 * np.cos((2 * _K + 1) * _K[:, None] * math.pi / 16)).astype(np.float32)
DCT_8[0] = math.sqrt(1 / 8)
RGB_TO_YIQ = np.array(
    [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]]
)


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ValueError(message)


def _require_within(name: str, value: float, low: float, high: float) -> None:
    _require(low <= value <= high, f"{name} must lie between {low} and {high}, but is {value}.")


def _require_odd(name: str, px: float, low: int, high: int) -> None:
    fits = px % 2 == 1 and low <= px <= high
    _require(fits, f"{name} must be odd and between {low} and {high} px, but is {px}.")


def _require_choice(
    name: str, value: object, choices: Sequence[object] | Mapping[str, object]
) -> None:
    _require(
        value in choices, f"{name} must be one of {', '.join(map(str, choices))}, but is {value}."
    )


def _require_rgb(rgb: np.ndarray) -> None:
    fits = rgb.ndim == 3 and rgb.shape[2] == 3 and rgb.size > 0 and rgb.dtype == np.uint8
    _require(
        fits,
        f"A picture must have shape (H, W, 3) and type uint8, but has {rgb.shape} and {rgb.dtype}.",
    )


def _u8(picture: np.ndarray) -> Rgb:
    return np.asarray(picture, dtype=np.uint8)


def _to_u8(picture: np.ndarray) -> Rgb:
    """Round and saturate a float picture."""
    return _u8(np.clip(np.rint(picture), 0, 255))


# Still-picture codecs


def jpeg(rgb: Rgb, quality: int, subsampling: str = "4:2:0") -> Rgb:
    """Code and decode as JPEG. `quality` is libjpeg's, 1..100."""
    _require_within("JPEG quality", quality, 1, 100)
    _require_choice("JPEG chroma subsampling", subsampling, JPEG_SUBSAMPLING)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        int(quality),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        JPEG_SUBSAMPLING[subsampling],
    ]
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return _u8(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def webp(rgb: Rgb, quality: int) -> Rgb:
    """Code and decode as lossy WebP, quality 1..100."""
    _require_within("WebP quality", quality, 1, 100)
    buffer = io.BytesIO()
    # Pillow, because OpenCV offers no choice of method, and its own takes more than twice as long.
    Image.fromarray(rgb).save(buffer, "WEBP", quality=int(quality), method=0)
    return np.array(Image.open(buffer).convert("RGB"))


# Resolution, blur, sharpness


def gaussian_blur(rgb: Rgb, sigma: float = 0.0, kernel_px: int = 0) -> Rgb:
    """Blur by `sigma` px, or by an odd kernel whose sigma OpenCV derives (3, 5, 7 px: 0.8, 1.1, 1.4
    px).
    """
    _require(
        (sigma > 0) != (kernel_px > 0),
        "Gaussian blur needs either sigma or kernel_px, and not both.",
    )
    _require_within("Blur sigma", sigma, 0, 50)
    _require(
        kernel_px == 0 or kernel_px % 2 == 1, f"The blur kernel must be odd, but is {kernel_px} px."
    )
    return _u8(cv2.GaussianBlur(rgb, (int(kernel_px), int(kernel_px)), sigma))


def motion_blur(rgb: Rgb, length_px: int, angle_deg: float) -> Rgb:
    """Blur along a straight line of odd length 3..51 px; 0 degrees is horizontal."""
    _require_odd("The motion blur's length", length_px, 3, 51)
    length_px = int(length_px)
    kernel = np.zeros((length_px, length_px), np.float32)
    kernel[length_px // 2] = 1
    centre = (length_px // 2, length_px // 2)
    kernel = np.asarray(
        cv2.warpAffine(
            kernel, cv2.getRotationMatrix2D(centre, angle_deg, 1), (length_px, length_px)
        )
    )
    return _u8(cv2.filter2D(rgb, -1, kernel / kernel.sum()))


def rescale(rgb: Rgb, factor: float, down: str = "area", up: str = "bilinear") -> Rgb:
    """Scale both sides by `factor` (0.05..1) with the method `down`, and back to the original size
    with `up`.
    """
    _require_within("The scale", factor, 0.05, 1)
    _require_choice("The interpolation downwards", down, INTERPOLATION)
    _require_choice("The interpolation upwards", up, INTERPOLATION)
    height, width = rgb.shape[:2]
    small_size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(rgb, small_size, interpolation=INTERPOLATION[down])
    return _u8(cv2.resize(small, (width, height), interpolation=INTERPOLATION[up]))


def sharpen(rgb: Rgb, amount: float) -> Rgb:
    """Unsharp mask: add `amount` (0..5) times the difference to a Gaussian blur of 1 px."""
    _require_within("The amount of sharpening", amount, 0, 5)
    return _u8(cv2.addWeighted(rgb, 1 + amount, cv2.GaussianBlur(rgb, (0, 0), 1.0), -amount, 0))


def bilateral(rgb: Rgb, sigma_levels: float, sigma_px: float) -> Rgb:
    """Smooth what differs by less than about `sigma_levels` (1..150) within `sigma_px` (0.5..10),
    and keep the edges.

    What a phone's noise reduction and a beauty filter do to skin (Tomasi & Manduchi, ICCV 1998).
    """
    _require_within("The smoothing's sigma in levels", sigma_levels, 1, 150)
    _require_within("The smoothing's sigma in px", sigma_px, 0.5, 10)
    return _u8(cv2.bilateralFilter(rgb, 0, sigma_levels, sigma_px))


def non_local_means(rgb: Rgb, strength: float) -> Rgb:
    """Average each patch of 5 px with those like it within 11 px; `strength` (1..30) is how unlike
    they may be.

    Stronger noise reduction, as in photo editors: flat skin, sharp edges (Buades et al., CVPR
    2005).
    """
    _require_within("The strength of noise reduction", strength, 1, 30)
    return _u8(cv2.fastNlMeansDenoisingColored(rgb, None, strength, strength, 5, 11))


def median(rgb: Rgb, kernel_px: int) -> Rgb:
    """The median of each channel over a square of odd side (3..15 px)."""
    _require_odd("The median's side", kernel_px, 3, 15)
    return _u8(cv2.medianBlur(rgb, int(kernel_px)))


# Colour and noise


def colour_shift(rgb: Rgb, red: float = 0, green: float = 0, blue: float = 0) -> Rgb:
    """Add an offset, in 8-bit levels, to each channel."""
    for name, offset in (("red", red), ("green", green), ("blue", blue)):
        _require_within(f"The shift of {name}", offset, -255, 255)
    return _u8(cv2.LUT(rgb, _to_u8(np.arange(256)[None, :, None] + np.array([red, green, blue]))))


def brightness_contrast(rgb: Rgb, brightness: float = 0.0, contrast: float = 1.0) -> Rgb:
    """Multiply the distance from mid-grey by `contrast` (0..4), then add `brightness` (8-bit
    levels).
    """
    _require_within("Brightness", brightness, -255, 255)
    _require_within("Contrast", contrast, 0, 4)
    return _u8(cv2.LUT(rgb, _to_u8((np.arange(256) - 127.5) * contrast + 127.5 + brightness)))


def gamma(rgb: Rgb, exponent: float) -> Rgb:
    """Raise levels (as 0..1) to `exponent` (0.1..10); above 1 darkens."""
    _require_within("Gamma", exponent, 0.1, 10)
    return _u8(cv2.LUT(rgb, _to_u8(255 * (np.arange(256) / 255) ** exponent)))


def hue_saturation(rgb: Rgb, hue_deg: float = 0.0, saturation: float = 1.0) -> Rgb:
    """Turn hue by `hue_deg` (red towards yellow) and multiply saturation (0..4) in the YIQ plane,
    so that luma stays.

    A linear map rather than 8-bit HSV, whose 180 hue steps would leave a trace of their own.
    """
    _require_within("The turn of hue", hue_deg, -180, 180)
    _require_within("Saturation", saturation, 0, 4)
    cos, sin = (saturation * f(math.radians(hue_deg)) for f in (math.cos, math.sin))
    turn = np.array([[1, 0, 0], [0, cos, sin], [0, -sin, cos]])
    return _u8(cv2.transform(rgb, np.linalg.inv(RGB_TO_YIQ) @ turn @ RGB_TO_YIQ))


def vignette(rgb: Rgb, amount: float) -> Rgb:
    """Darken towards the corners, by `amount` (0..1) there, with the square of the distance from
    the centre.
    """
    _require_within("The vignette's amount", amount, 0, 1)
    height, width = rgb.shape[:2]
    across, down = (
        np.linspace(-1, 1, width, dtype=np.float32),
        np.linspace(-1, 1, height, dtype=np.float32),
    )
    light = 1 - amount * (across[None] ** 2 + down[:, None] ** 2) / 2
    return _to_u8(rgb * light[..., None])


def noise(rgb: Rgb, sigma: float, seed: int | np.random.Generator) -> Rgb:
    """Add independent Gaussian noise of `sigma` 8-bit levels (0..100)."""
    _require_within("The noise's sigma", sigma, 0, 100)
    grain = np.random.default_rng(seed).standard_normal(rgb.shape, np.float32)
    return _to_u8(cv2.addWeighted(rgb, 1, grain, sigma, 0, dtype=cv2.CV_32F))


# Parts of a codec on their own


def block_artifacts(rgb: Rgb, strength: float) -> Rgb:
    """Quantise the 8x8 DCT of every channel with JPEG's quality-50 luminance table times `strength`
    (0..10).
    """
    _require_within("The strength of block artefacts", strength, 0, 10)
    if strength == 0:
        return rgb.copy()
    height, width = rgb.shape[:2]
    padded = cv2.copyMakeBorder(rgb, 0, -height % 8, 0, -width % 8, cv2.BORDER_REPLICATE)
    tall, wide = padded.shape[:2]
    # Planes one below the other: the transform down a column is then one batched product, along a
    # row a single one.
    planes = padded.transpose(2, 0, 1).astype(np.float32).reshape(-1, 8, wide) - 128
    coefficients = ((DCT_8 @ planes).reshape(-1, 8) @ DCT_8.T).reshape(-1, 8, wide // 8, 8)
    table = strength * JPEG_LUMINANCE[:, None, :]
    coefficients = np.rint(coefficients / table) * table
    planes = DCT_8.T @ (coefficients.reshape(-1, 8) @ DCT_8).reshape(-1, 8, wide) + 128
    return np.ascontiguousarray(
        _to_u8(planes).reshape(3, tall, wide).transpose(1, 2, 0)[:height, :width]
    )


def chroma_subsampling(rgb: Rgb, mode: str = "4:2:0") -> Rgb:
    """Store colour (YCbCr) at fewer points than brightness: area average down, bilinear up."""
    _require_choice("Chroma subsampling", mode, CHROMA_STEP)
    across, down = CHROMA_STEP[mode]
    height, width = rgb.shape[:2]
    ycc = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb))
    chroma = cv2.resize(
        ycc[..., 1:], (-(-width // across), -(-height // down)), interpolation=cv2.INTER_AREA
    )
    ycc[..., 1:] = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    return _u8(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB))


# Video codecs


def _code(
    frames: Sequence[Rgb], codec: str, crf: int, preset: str, options: Mapping[str, str]
) -> list[Rgb]:
    """Code and decode, in memory and without a container, frames whose sides are even and large
    enough.
    """
    _require_choice("The video codec", codec, CODECS)
    _require_within("CRF", crf, 0, 51)
    _require_choice("The encoder's preset", preset, PRESETS)
    encoder_name, decoder_name = CODECS[codec]
    encoder: Any = av.CodecContext.create(encoder_name, "w")
    encoder.height, encoder.width = frames[0].shape[:2]
    encoder.pix_fmt, encoder.time_base, encoder.thread_count = "yuv420p", Fraction(1, 25), 1
    encoder.options = {"crf": str(int(crf)), "preset": preset, **options}
    if codec == "h265":
        # No look-ahead for clips either: it is the part of x265 that has crashed (see
        # MIN_CODED_PX).
        encoder.options |= {"tune": "zerolatency", "x265-params": X265_PARAMS}
    decoder: Any = av.CodecContext.create(decoder_name, "r")
    decoder.thread_count = 1

    packets = []
    for index, rgb in enumerate(frames):
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
        frame.pts = index
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoded = [frame for packet in (*packets, None) for frame in decoder.decode(packet)]
    return [frame.to_ndarray(format="rgb24") for frame in decoded]


def _pad_for_codec(rgb: Rgb, margin_px: int = 0) -> Rgb:
    """Repeat the last row and column until the sides are even and large enough, then by `margin_px`
    (even) more.
    """
    bottom, right = (max(MIN_CODED_PX - side, side % 2) + margin_px for side in rgb.shape[:2])
    return _u8(cv2.copyMakeBorder(rgb, 0, bottom, 0, right, cv2.BORDER_REPLICATE))


def video_codec(
    rgb: Rgb, codec: str, crf: int, preset: str = "veryfast", as_p_frame: bool = False
) -> Rgb:
    """Code and decode one picture as H.264 or H.265, 4:2:0, at a constant rate factor 0..51 (larger
    is worse).

    Alone it becomes an I frame. With `as_p_frame` it follows two copies shifted by 2 and 1 px and
    is predicted from them, as most frames of a real clip are.
    """
    height, width = rgb.shape[:2]
    if as_p_frame:
        wide = _pad_for_codec(rgb, margin_px=2)
        tall_px, wide_px = wide.shape[0] - 2, wide.shape[1] - 2
        frames = [np.ascontiguousarray(wide[k : k + tall_px, k : k + wide_px]) for k in (2, 1, 0)]
    else:
        frames = [_pad_for_codec(rgb)]
    # Without look-ahead there are no B frames: the last frame of several is a P frame.
    last = _code(frames, codec, crf, preset, {"tune": "zerolatency"})[-1]
    return np.ascontiguousarray(last[:height, :width])


def video_codec_clip(
    frames: Sequence[Rgb], codec: str, crf: int, preset: str = "veryfast"
) -> list[Rgb]:
    """Code and decode a clip of equally large frames as a whole; the result has as many frames, in
    the same order.
    """
    _require(len(frames) > 0, "A clip must have at least one frame.")
    _require(
        len({frame.shape for frame in frames}) == 1, "All frames of a clip must have the same size."
    )
    height, width = frames[0].shape[:2]
    decoded = _code([_pad_for_codec(frame) for frame in frames], codec, crf, preset, {})
    return [np.ascontiguousarray(frame[:height, :width]) for frame in decoded]


# Registry


@dataclass(frozen=True)
class Parameter:
    """One knob of an operation: a slider from `low` to `high`, or a choice if `choices` is given.

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
    """A degradation: its function, its knobs, and a phrase with a place for each knob worth
    telling.
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


# Recipes


@dataclass(frozen=True)
class Step:
    """One operation by name, with its parameters; those left out take the registry's defaults."""

    name: str
    params: Mapping[str, Value] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        _require_choice("The degradation", self.name, OPERATIONS)
        known = {parameter.name: parameter for parameter in OPERATIONS[self.name].parameters}
        params = {parameter.name: parameter.default for parameter in known.values()}
        for name, value in self.params.items():
            _require_choice(f"A parameter of {self.name}", name, known)
            if known[name].choices:
                _require_choice(f"The parameter {name} of {self.name}", value, known[name].choices)
                params[name] = value
            else:
                # a slider hands over 50.0 where 50 is meant
                params[name] = type(known[name].default)(value)
        object.__setattr__(self, "params", params)


Recipe = tuple[Step, ...]


def apply(rgb: Rgb, recipe: Recipe) -> Rgb:
    """Carry out the steps in order. The same picture and recipe always give the same result."""
    _require_rgb(rgb)
    for step in recipe:
        rgb = OPERATIONS[step.name].function(rgb, **step.params)
    return rgb


def apply_clip(frames: Sequence[Rgb], recipe: Recipe) -> list[Rgb]:
    """Carry out the steps on a clip: a video codec sees it as a whole, noise differs from frame to
    frame.
    """
    clip = list(frames)
    for step in recipe:
        if step.name == "video_codec":
            params = {name: value for name, value in step.params.items() if name != "as_p_frame"}
            clip = video_codec_clip(clip, **params)  # type: ignore[arg-type]  # checked by Step and by the codec
        elif step.name == "noise":
            seed = int(step.params["seed"])
            clip = [
                apply(rgb, (Step("noise", {**step.params, "seed": seed + i}),))
                for i, rgb in enumerate(clip)
            ]
        else:
            clip = [apply(rgb, (step,)) for rgb in clip]
    return clip


def describe(recipe: Recipe) -> str:
    """The recipe in plain words, e.g. 'noise of sigma 5, then JPEG at quality 50 (4:2:0)';
    'unchanged' if empty.
    """
    return (
        ", then ".join(OPERATIONS[step.name].phrase.format(**step.params) for step in recipe)
        or "unchanged"
    )


@dataclass(frozen=True)
class Severity:
    """Ranges a preset draws from, both ends included; None leaves the operation out."""

    jpeg_quality: tuple[int, int]
    blur_sigma_px: tuple[float, float]
    rescale_factor: tuple[float, float] | None = None
    noise_sigma: tuple[float, float] | None = None


# The blurs of medium and heavy are those of kernels of 3..5 and 5..7 px; that of light is hardly
# seen.
SEVERITIES: dict[str, Severity] = {
    "light": Severity(jpeg_quality=(70, 90), blur_sigma_px=(0.3, 0.6)),
    "medium": Severity(jpeg_quality=(50, 70), blur_sigma_px=(0.8, 1.1), rescale_factor=(0.7, 0.9)),
    "heavy": Severity(
        jpeg_quality=(30, 50),
        blur_sigma_px=(1.1, 1.4),
        rescale_factor=(0.5, 0.7),
        noise_sigma=(5.0, 15.0),
    ),
}


def _between(rng: np.random.Generator, low: float, high: float) -> float:
    return round(float(rng.uniform(low, high)), 3)


def _integer(rng: np.random.Generator, low: float, high: float) -> int:
    return int(rng.integers(round(low), round(high), endpoint=True))


def _seed(rng: np.random.Generator) -> int:
    return _integer(rng, 0, 2**31 - 1)


def _one_of(rng: np.random.Generator, names: Sequence[str] | Mapping[str, object]) -> str:
    return list(names)[int(rng.integers(len(names)))]


def draw_preset(severity: str, rng: np.random.Generator) -> Recipe:
    """Draw from 'none', 'light', 'medium' or 'heavy', in the order of a real upload: shrink, blur,
    noise, JPEG.
    """
    _require_choice("The severity", severity, ("none", *SEVERITIES))
    if severity == "none":
        return ()
    ranges = SEVERITIES[severity]
    steps = []
    if ranges.rescale_factor:
        steps.append(Step("rescale", {"factor": _between(rng, *ranges.rescale_factor)}))
    steps.append(Step("gaussian_blur", {"sigma": _between(rng, *ranges.blur_sigma_px)}))
    if ranges.noise_sigma:
        steps.append(
            Step("noise", {"sigma": _between(rng, *ranges.noise_sigma), "seed": _seed(rng)})
        )
    steps.append(Step("jpeg", {"quality": _integer(rng, *ranges.jpeg_quality)}))
    return tuple(steps)


def apply_preset(rgb: Rgb, severity: str, rng: np.random.Generator) -> Rgb:
    """Draw a preset and apply it at once."""
    return apply(rgb, draw_preset(severity, rng))


# The training distribution

P_UNTOUCHED = 0.1  # the network must also know pictures as they came


def draw_training(rng: np.random.Generator, strength: float = 1.0) -> Recipe:
    """Draw a training nuisance. `strength` in [0, 1] scales how often an operation occurs and how
    far it goes.
    """
    _require_within("The strength of augmentation", strength, 0, 1)
    if rng.random() < P_UNTOUCHED:
        return ()
    return (
        *_draw_colour(rng, strength),
        *_draw_detail(rng, strength),
        *_draw_codecs(rng, strength),
    )


def draw_retouch(rng: np.random.Generator) -> Recipe:
    """What may have been done to one picture alone before anybody saw it: nothing, enlarged,
    softened, sharpened.
    """
    kind = rng.random()
    if kind < 0.3:
        return ()
    if kind < 0.5:
        return (_draw_rescale(rng, 0.3),)
    if kind < 0.6:
        return (Step("gaussian_blur", {"sigma": _between(rng, 0.3, 1.5)}),)
    if kind < 0.7:
        return (Step("sharpen", {"amount": _between(rng, 0.2, 1.5)}),)
    if kind < 0.75:
        return (Step("noise", {"sigma": _between(rng, 1, 8), "seed": _seed(rng)}),)
    if kind < 0.95:
        return (draw_smoothing(rng, 1.0),)
    return (Step("vignette", {"amount": _between(rng, 0.1, 0.9)}),)


def draw_smoothing(rng: np.random.Generator, s: float) -> Step:
    """Noise reduction or a beauty filter: without it smooth skin, a phone's too, means forged
    (measured).
    """
    kind = rng.random()
    if kind < 0.2:
        return Step("median", {"kernel_px": 3 if rng.random() < 0.6 else 5})
    if kind < 0.45:
        return Step("non_local_means", {"strength": _between(rng, 2, 3 + 5 * s)})
    levels, reach_px = _between(rng, 10, 15 + 45 * s), _between(rng, 1, 1.5 + 3 * s)
    return Step("bilateral", {"sigma_levels": levels, "sigma_px": reach_px})


def _hit(rng: np.random.Generator, p: float) -> bool:
    """True with probability `p` of all draws, those left untouched included."""
    return bool(rng.random() < p / (1 - P_UNTOUCHED))


def _draw_colour(rng: np.random.Generator, s: float) -> list[Step]:
    steps = []
    if _hit(rng, 0.25 * s):
        steps.append(
            Step(
                "colour_shift",
                {c: _integer(rng, -15 * s, 15 * s) for c in ("red", "green", "blue")},
            )
        )
    if _hit(rng, 0.3 * s):
        contrast = _between(rng, 1 - 0.25 * s, 1 + 0.25 * s)
        steps.append(
            Step(
                "brightness_contrast",
                {"brightness": _between(rng, -25 * s, 25 * s), "contrast": contrast},
            )
        )
    if _hit(rng, 0.15 * s):
        steps.append(
            Step("gamma", {"exponent": round(math.exp(_between(rng, -0.3 * s, 0.3 * s)), 3)})
        )
    if _hit(rng, 0.25 * s):
        hue_deg, saturation = (
            _between(rng, -12 * s, 12 * s),
            _between(rng, 1 - 0.4 * s, 1 + 0.4 * s),
        )
        steps.append(Step("hue_saturation", {"hue_deg": hue_deg, "saturation": saturation}))
    if _hit(rng, 0.1 * s):
        steps.append(Step("vignette", {"amount": _between(rng, 0.1, 0.1 + 0.7 * s)}))
    return steps


def _draw_rescale(rng: np.random.Generator, low: float) -> Step:
    down, up = _one_of(rng, INTERPOLATION), _one_of(rng, INTERPOLATION)
    return Step("rescale", {"factor": _between(rng, low, 0.95), "down": down, "up": up})


def _draw_detail(rng: np.random.Generator, s: float) -> list[Step]:
    steps = []
    if _hit(rng, 0.18 * s):
        steps.append(draw_smoothing(rng, s))
    if _hit(rng, 0.35 * s):
        steps.append(_draw_rescale(rng, 0.95 - 0.55 * s))
    if _hit(rng, 0.2 * s):
        steps.append(Step("gaussian_blur", {"sigma": _between(rng, 0.3, 0.4 + 1.4 * s)}))
    elif _hit(rng, 0.08 * s):
        length_px = 2 * _integer(rng, 1, 1 + 3 * s) + 1
        steps.append(
            Step("motion_blur", {"length_px": length_px, "angle_deg": _between(rng, 0, 180)})
        )
    if _hit(rng, 0.15 * s):
        steps.append(Step("sharpen", {"amount": _between(rng, 0.1, 0.2 + 1.3 * s)}))
    if _hit(rng, 0.25 * s):
        steps.append(Step("noise", {"sigma": _between(rng, 0.5, 1 + 11 * s), "seed": _seed(rng)}))
    return steps


def _draw_video(rng: np.random.Generator, s: float) -> list[Step]:
    kind = rng.random() * (1 - P_UNTOUCHED)
    if kind >= 0.48 * s:
        return []
    # H.265 is rarer because it takes three times as long, and even then only with its fastest
    # preset.
    codec, preset = ("h264", "veryfast") if kind < 0.4 * s else ("h265", "ultrafast")
    crf, as_p_frame = _integer(rng, 18, 18 + 20 * s), bool(rng.random() < 0.35)
    return [
        Step(
            "video_codec", {"codec": codec, "crf": crf, "preset": preset, "as_p_frame": as_p_frame}
        )
    ]


def _draw_jpeg(rng: np.random.Generator, s: float) -> Step:
    quality, subsampling = _integer(rng, 98 - 63 * s, 98), _one_of(rng, JPEG_SUBSAMPLING)
    return Step("jpeg", {"quality": quality, "subsampling": subsampling})


def _draw_stills(rng: np.random.Generator, s: float) -> list[Step]:
    if not _hit(rng, 0.6 * s):
        return []
    steps = [_draw_jpeg(rng, s)]
    if rng.random() < 0.2:  # a screenshot of a JPEG, shared again
        steps += [_draw_rescale(rng, 0.8), _draw_jpeg(rng, s)]
    return steps


def _draw_codecs(rng: np.random.Generator, s: float) -> list[Step]:
    groups = [_draw_video(rng, s), _draw_stills(rng, s)]
    if _hit(rng, 0.08 * s):
        groups.append([Step("webp", {"quality": _integer(rng, 98 - 60 * s, 98)})])
    if _hit(rng, 0.04 * s):
        groups.append([Step("block_artifacts", {"strength": _between(rng, 0.1, 0.2 + 1.3 * s)})])
    if _hit(rng, 0.04 * s):
        groups.append([Step("chroma_subsampling", {"mode": _one_of(rng, CHROMA_STEP)})])
    return [step for index in rng.permutation(len(groups)) for step in groups[index]]
