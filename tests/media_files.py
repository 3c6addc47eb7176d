"""Small pictures and clips whose right values are known, for the tests of media."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from detector.decoding import Decoded

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(size: int = 64) -> np.ndarray:
    """Return (size, size + 32, 3) uint8: red top left, green top right, blue bottom left, white
    bottom right.
    """
    rgb = np.empty((size, size + 32, 3), np.uint8)
    half, middle = size // 2, size // 2 + 16
    rgb[:half, :middle], rgb[:half, middle:], rgb[half:, :middle], rgb[half:, middle:] = (
        RED,
        GREEN,
        BLUE,
        WHITE,
    )
    return rgb


def numbers(decoded: Decoded) -> list[int]:
    """Return which frames of the file were taken."""
    return [frame.index for frame in decoded.frames]


def corners(rgb: np.ndarray) -> list[str]:
    """Name the colours of the corners: top left, top right, bottom left, bottom right."""
    names = {RED: "red", GREEN: "green", BLUE: "blue", WHITE: "white"}
    found = [rgb[8, 8], rgb[8, -8], rgb[-8, 8], rgb[-8, -8]]
    return [
        names[min(names, key=lambda c: int(np.abs(pixel.astype(int) - c).sum()))] for pixel in found
    ]


UPRIGHT = ["red", "green", "blue", "white"]


def grey_levels(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Frame i is a flat grey of level 10 i, so that a decoded frame tells its number."""
    return [np.full((height, width, 3), 10 * i, np.uint8) for i in range(count)]


def level(rgb: np.ndarray) -> int:
    return round(float(rgb.mean()) / 10)


def encode(
    path: Path, pts: list[int], codec: str = "libx264", options: dict[str, str] | None = None
) -> Path:
    """Encode grey levels at the given presentation times in milliseconds."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for when, rgb in zip(pts, grey_levels(len(pts)), strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = when, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path
