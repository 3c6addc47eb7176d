"""Decoding: the codecs. A path in, upright RGB frames with their times out.

Whether a file is a picture or a clip is decided by its content, never by its name. Files come from
strangers: detector.media has this done in a child process (detector.sandbox), so that what a
hostile file does to a codec, it does not do to the process that asked.
"""

from __future__ import annotations

from pathlib import Path

from detector.decoding.clips import decode_clip
from detector.decoding.common import (
    MAX_PIXELS,
    MAX_SECONDS,
    MAX_TAG_CHARS,
    MAX_TAGS,
    MAX_VIDEO_SIDE_PX,
    Decoded,
    unreadable,
)
from detector.decoding.pictures import decode_picture
from detector.decoding.preview import Preview, make_preview
from detector.decoding.traces import Traces, find_traces
from detector.errors import MediaError

__all__ = [
    "MAX_PIXELS",
    "MAX_SECONDS",
    "MAX_TAGS",
    "MAX_TAG_CHARS",
    "MAX_VIDEO_SIDE_PX",
    "Decoded",
    "Preview",
    "Traces",
    "decode",
    "find_traces",
    "make_preview",
    "unreadable",
]


def decode(path: Path, n_frames: int, track: int | None = None) -> Decoded:
    """Decode a picture or a clip in this process; see detector.media.open_media.

    Raises MediaError for anything unreadable or beyond a limit.
    """
    picture = decode_picture(path, n_frames)
    if picture is not None and track is not None:
        raise MediaError(f"{path.name} is a picture, which has no tracks to choose from.")
    return picture or decode_clip(path, n_frames, track)
