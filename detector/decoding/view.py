"""How a clip's decoded frames become upright sRGB."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Colorspace
from av.video.stream import VideoStream
from numpy.typing import NDArray

from detector.decoding.colour import is_foreign, to_srgb
from detector.decoding.common import MAX_VIDEO_SIDE_PX, check_size

_UNSPECIFIED = 2
# beyond the sizes of standard definition; a player takes BT.709 for what such a clip leaves unsaid
SD_WIDTH, SD_HEIGHT = 1280, 576
SAME_SHAPE = 0.05  # by which the ratio of the sides may differ: rounding, rows of padding


def _matrix(picture: VideoFrame) -> int | None:
    """Which matrix made the frame's luma and chroma; None is the one that the frame names."""
    if picture.colorspace != _UNSPECIFIED:
        return None
    is_hd = picture.width >= SD_WIDTH or picture.height > SD_HEIGHT
    return Colorspace.ITU709 if is_hd else None


def _display_matrix(picture: VideoFrame) -> tuple[int, int, int, int]:
    """Return (a, b, c, d) of the frame's display matrix, (x, y) -> (ax + cy, bx + dy), y
    downwards.
    """
    try:
        side_data: Any = picture.side_data  # PyAV's stub names motion vectors only
        if "DISPLAYMATRIX" not in side_data:
            return (1, 0, 0, 1)
        a, b, _, c, d = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)[:5].tolist()
    # a kind of side data beside it that PyAV does not know; this loses mirroring
    except ValueError:
        quarter = round(picture.rotation / 90) % 4  # counterclockwise
        return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[quarter]
    return a, b, c, d


@dataclass(frozen=True, eq=False)
class FrameConverter:
    """How a clip's decoded frames become upright RGB of one size, even if the stream changes its
    resolution on the way; frames of another shape need another converter.
    """

    width: int  # px as stored, with square pixels, within MAX_VIDEO_SIDE_PX
    height: int
    turn: tuple[int, int, int, int]  # the signs of the display matrix
    transfer: int  # of the stream, by the numbers of ITU-T H.273
    primaries: int
    stored: tuple[int, int]  # width and height of the frame that it was made for

    @classmethod
    def for_stream(cls, name: str, picture: VideoFrame, stream: VideoStream) -> FrameConverter:
        check_size(name, picture.width, picture.height)
        aspect = float(stream.sample_aspect_ratio or 1)
        # a ratio beyond these comes from a damaged header
        width = picture.width * (aspect if 0.25 <= aspect <= 4 else 1)
        scale = min(1.0, MAX_VIDEO_SIDE_PX / max(width, picture.height))
        a, b, c, d = _display_matrix(picture)
        # Players turn by quarters; the larger diagonal says which.
        a, b, c, d = (a, 0, 0, d) if abs(a) > abs(b) else (0, b, c, 0)
        signs = (a > 0) - (a < 0), (b > 0) - (b < 0), (c > 0) - (c < 0), (d > 0) - (d < 0)
        size = max(1, round(width * scale)), max(1, round(picture.height * scale))
        codec = stream.codec_context
        stored = picture.width, picture.height
        return cls(*size, signs, int(codec.color_trc), int(codec.color_primaries), stored)

    def suits(self, picture: VideoFrame) -> bool:
        """Whether a frame has the shape that this was made for, at whatever size."""
        width, height = self.stored
        return abs(picture.width * height / (picture.height * width) - 1) < SAME_SHAPE

    def rgb(self, picture: VideoFrame) -> NDArray[np.uint8]:
        same = (picture.width, picture.height) == (self.width, self.height)
        foreign = is_foreign(self.transfer, self.primaries)
        # of the chroma: in HDR's curves a blur of it is seen, and judged, more strongly
        method = "LANCZOS" if foreign else "BILINEAR"
        resized = picture.reformat(
            self.width,
            self.height,
            "rgb48le" if foreign else "rgb24",
            src_colorspace=_matrix(picture),
            interpolation=method if same else "AREA",
        )
        rgb: NDArray[Any] = resized.to_ndarray()
        if foreign:
            rgb = to_srgb(rgb, self.transfer, self.primaries)
        a, b, c, d = self.turn
        if a == 0:
            rgb = rgb.transpose(1, 0, 2)
        if a + c < 0:
            rgb = rgb[:, ::-1]
        if b + d < 0:
            rgb = rgb[::-1]
        return np.ascontiguousarray(rgb, dtype=np.uint8)
