"""What pictures and clips share: the limits, the sampling in time, the tags that may be shown."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.errors import MediaError
from detector.types import Frame, Kind

# The limits. Each protects something; beyond them decoding raises MediaError.
# per picture: 240 MB as RGB and some copies; below Pillow's own warning at 89 million
MAX_PIXELS = 80_000_000
# half an hour: with frames a minute apart nothing can be said about the time between them
MAX_SECONDS = 1800.0
# pixels x frames of a GIF: these cannot be skipped, so 10-20 s of decoding
MAX_ANIMATION_PIXELS = 1_000_000_000
# longer side of a kept video frame: beyond it, 32 frames of 4K would take 0.8 GB
MAX_VIDEO_SIDE_PX = 1920
# metadata is shown to people; nobody reads more, and a file may hold megabytes
MAX_TAGS = 64
MAX_TAG_CHARS = 200
# What Pillow raises on damaged bytes, as its plugins parse them.
DAMAGE = (
    ArithmeticError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    Warning,
    struct.error,
    Image.DecompressionBombError,
)
_ARE_READ = (
    "what can be read is JPEG, PNG, WebP, AVIF, HEIC, TIFF, BMP and GIF, and clips in MP4, MOV, "
    "MKV, WebM, AVI, MPEG, TS, FLV, WMV, OGG and MXF"
)
# where a picture was taken has no place in a report that gets passed on
_PRIVATE_TAGS = ("gps", "location")


@dataclass(frozen=True, eq=False)
class Decoded:
    """What decoding says of a file."""

    kind: Kind
    duration_s: float  # 0.0 for a photo
    frames: tuple[Frame, ...]  # sampled, upright, ascending in time
    tags: Mapping[str, str]
    notes: tuple[str, ...] = ()  # what of the file was not looked at, in sentences
    hdr: bool = False  # whether its colours were HDR's, and were converted


HDR = (
    "The colours are HDR's: they were converted for ordinary screens, which makes scores less sure."
)


def unreadable(name: str) -> MediaError:
    """The refusal of what is none of the kinds of file that are read."""
    return MediaError(f"{name} is not a picture or a clip that can be read; {_ARE_READ}.")


def sampled_note(taken: int, there: int, duration_s: float) -> list[str]:
    """That some frames of a clip were looked at; nothing where all were."""
    if taken >= there:
        return []
    every_s = f"one about every {duration_s / taken:.1f} s"
    return [f"Only {taken} of {there} frames were looked at, {every_s}."]


def check_size(name: str, width: int, height: int, count: int = 1) -> None:
    """Raise MediaError for a picture, or for so many pictures, of too many pixels."""
    if width * height > MAX_PIXELS:
        raise MediaError(
            f"{name} has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are read."
        )
    if count > 1 and width * height * count > MAX_ANIMATION_PIXELS:
        raise MediaError(f"{name} is an animation of too many frames of {width} x {height} pixels.")


def check_seconds(name: str, seconds: float) -> None:
    """Raise MediaError for a clip that is too long."""
    if seconds > MAX_SECONDS:
        raise MediaError(
            f"{name} lasts {seconds / 60:.0f} minutes; at most {MAX_SECONDS / 60:.0f} are read."
        )


def middles(times_s: NDArray[np.float64], duration_s: float, n: int) -> list[int]:
    """Return the frames shown in the middle of n equal slices of [0, duration_s].

    Ascending indices into the frames' times; all of them if there are no more than n.
    """
    if len(times_s) <= n:
        return list(range(len(times_s)))
    # on the start of a frame means this frame, despite rounding
    wanted_s = (np.arange(n) + 0.5) * duration_s / n + 1e-6
    return np.unique(np.searchsorted(times_s, wanted_s, side="right") - 1).tolist()


def shown_tags(tags: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Return at most MAX_TAGS printable tags of at most MAX_TAG_CHARS each, without places."""
    shown: dict[str, str] = {}
    for key, value in tags:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        name = "".join(c for c in str(key)[:MAX_TAG_CHARS] if c.isprintable())
        text = "".join(c for c in text[: 2 * MAX_TAG_CHARS] if c.isprintable())
        text = text[:MAX_TAG_CHARS].strip()
        if name and text and not any(word in name.lower() for word in _PRIVATE_TAGS):
            shown[name] = text
        if len(shown) == MAX_TAGS:
            break
    return shown
