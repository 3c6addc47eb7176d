"""Compression: JPEG, WebP, H.264 and H.265, and the parts of a codec on their own.

Every operation takes and returns (H, W, 3) uint8 sRGB of the same size, changes nothing in place,
and raises ValueError for a bad parameter.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import av
import cv2
import numpy as np
from PIL import Image

from detector.degrade.checks import Rgb, as_u8, require, require_choice, require_within, saturated

JPEG_SUBSAMPLING = {
    "4:2:0": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
    "4:2:2": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
    "4:4:4": cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
}
# luma px per chroma sample: across, down
CHROMA_STEP = {"4:2:0": (2, 2), "4:2:2": (2, 1), "4:1:1": (4, 1)}
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


def jpeg(rgb: Rgb, quality: int, subsampling: str = "4:2:0") -> Rgb:
    """Code and decode as JPEG. `quality` is libjpeg's, 1..100."""
    require_within("JPEG quality", quality, 1, 100)
    require_choice("JPEG chroma subsampling", subsampling, JPEG_SUBSAMPLING)
    options = [
        cv2.IMWRITE_JPEG_QUALITY,
        int(quality),
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR,
        JPEG_SUBSAMPLING[subsampling],
    ]
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), options)
    decoded = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return as_u8(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))


def webp(rgb: Rgb, quality: int) -> Rgb:
    """Code and decode as lossy WebP, quality 1..100."""
    require_within("WebP quality", quality, 1, 100)
    buffer = io.BytesIO()
    # Pillow, because OpenCV offers no choice of method, and its own takes more than twice as long.
    Image.fromarray(rgb).save(buffer, "WEBP", quality=int(quality), method=0)
    return np.array(Image.open(buffer).convert("RGB"))


# Parts of a codec on their own


def block_artifacts(rgb: Rgb, strength: float) -> Rgb:
    """Quantise the 8x8 DCT of every channel with JPEG's quality-50 luminance table times `strength`
    (0..10).
    """
    require_within("The strength of block artefacts", strength, 0, 10)
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
        saturated(planes).reshape(3, tall, wide).transpose(1, 2, 0)[:height, :width]
    )


def chroma_subsampling(rgb: Rgb, mode: str = "4:2:0") -> Rgb:
    """Store colour (YCbCr) at fewer points than brightness: area average down, bilinear up."""
    require_choice("Chroma subsampling", mode, CHROMA_STEP)
    across, down = CHROMA_STEP[mode]
    height, width = rgb.shape[:2]
    ycc = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YCrCb))
    chroma = cv2.resize(
        ycc[..., 1:], (-(-width // across), -(-height // down)), interpolation=cv2.INTER_AREA
    )
    ycc[..., 1:] = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    return as_u8(cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB))


# Video codecs


def _code(
    frames: Sequence[Rgb], codec: str, crf: int, preset: str, options: Mapping[str, str]
) -> list[Rgb]:
    """Code and decode, in memory and without a container, frames whose sides are even and large
    enough.
    """
    require_choice("The video codec", codec, CODECS)
    require_within("CRF", crf, 0, 51)
    require_choice("The encoder's preset", preset, PRESETS)
    encoder_name, decoder_name = CODECS[codec]
    encoder: Any = av.CodecContext.create(encoder_name, "w")
    encoder.height, encoder.width = frames[0].shape[:2]
    encoder.pix_fmt = "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
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
    return as_u8(cv2.copyMakeBorder(rgb, 0, bottom, 0, right, cv2.BORDER_REPLICATE))


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
        tall_px = wide.shape[0] - 2
        wide_px = wide.shape[1] - 2
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
    require(len(frames) > 0, "A clip must have at least one frame.")
    require(
        len({frame.shape for frame in frames}) == 1, "All frames of a clip must have the same size."
    )
    height, width = frames[0].shape[:2]
    decoded = _code([_pad_for_codec(frame) for frame in frames], codec, crf, preset, {})
    return [np.ascontiguousarray(frame[:height, :width]) for frame in decoded]
