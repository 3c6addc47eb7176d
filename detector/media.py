"""Media: the facade over files. A path in, upright RGB frames with their times out, and back.

All decoding happens in a child process (detector.sandbox): what a hostile file does to a codec, it
does not do to this process.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from detector import sandbox
from detector.decoding import (
    MAX_PIXELS,
    MAX_VIDEO_SIDE_PX,
    Preview,
    Traces,
    decode,
    find_traces,
    make_preview,
    unreadable,
)
from detector.errors import MediaError, text_of
from detector.types import Media

N_FRAMES = 32  # sampled from a clip unless told otherwise: enough for a vote, seconds on two cores
# of an analysis: twice as many move the score by less than its own noise
DEFAULT_FRAMES = 24

# The limits that need no decoding; the others are in detector.decoding.
# 2 GiB: every byte is hashed and every packet listed, which takes about 10 s at this size
MAX_BYTES = 2 << 30
# of clips of two frames x265 gave FFmpeg a damaged header for every other one with B-frames, and
# for none of 250 without
X265_PARAMS = "log-level=none:bframes=0"
MAX_FRAMES = 256  # sampled frames: 1.6 GB in memory at 1920 x 1080


def open_media(path: str | Path, n_frames: int = N_FRAMES, track: int | None = None) -> Media:
    """Open a picture or a clip; return its sampled frames as upright sRGB.

    A picture has one frame at t = 0. A clip is cut into n_frames equal slices of time and the frame
    shown in the middle of each is taken (all frames if there are no more than that); in clips where
    this would decode too many frames, a sample may move a little towards a keyframe. Frame.t is
    always the taken frame's own time, counted from the first frame. Frames of a clip longer than
    MAX_VIDEO_SIDE_PX are scaled down. track: the number of a clip's video track, from 1 on; the one
    that is the clip without it. Media.notes says what was not looked at.

    Raises MediaError, in one sentence without folders, for anything unreadable or beyond a limit,
    time and memory for decoding among them. Of a damaged clip what decodes is taken; a damaged
    picture is refused.
    """
    path = Path(path)
    if not 1 <= n_frames <= MAX_FRAMES:
        raise MediaError(f"Between 1 and {MAX_FRAMES} frames can be sampled, not {n_frames}.")
    try:
        _check_file(path)
        most_bytes = max(MAX_PIXELS, n_frames * MAX_VIDEO_SIDE_PX**2) * 3
        forks = hasattr(os, "fork")  # Windows has none, and decodes here
        decoded = (
            sandbox.read(path, n_frames, most_bytes, track)
            if forks
            else decode(path, n_frames, track)
        )
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        height, width = decoded.frames[0].rgb.shape[:2]
        return Media(
            text_of(path.name),
            sha256,
            decoded.kind,
            width,
            height,
            decoded.duration_s,
            decoded.frames,
            decoded.tags,
            decoded.notes,
            decoded.hdr,
        )
    except OSError as err:  # permissions, a vanished file
        raise MediaError(f"{path.name} cannot be read from disk.") from err
    # only what a hijacked child says does not fit the types
    except (KeyError, TypeError, ValueError) as err:
        raise unreadable(path.name) from err


def open_preview(path: str | Path) -> Preview:
    """Return how a browser can show a clip: as it is, as a picture, or small and encoded anew.

    Raises MediaError.
    """
    path = Path(path)
    _check_file(path)
    try:
        return sandbox.preview(path) if hasattr(os, "fork") else make_preview(path)
    except OSError as err:
        raise MediaError(f"{path.name} cannot be read from disk.") from err


def open_traces(path: str | Path) -> Traces:
    """Return what a file's bytes tell of its past: Content Credentials, JPEG's traces.

    Raises MediaError.
    """
    path = Path(path)
    try:
        _check_file(path)
        return sandbox.traces(path) if hasattr(os, "fork") else find_traces(path)
    except OSError as err:
        raise MediaError(f"{path.name} cannot be read from disk.") from err


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise MediaError(f"{path.name} is a folder, not a file.")
    size = path.stat().st_size if path.is_file() else -1
    if size < 0:
        raise MediaError(f"{path.name} is not a file that exists.")
    if size == 0:
        raise MediaError(f"{path.name} is empty.")
    if size > MAX_BYTES:
        raise MediaError(
            f"{path.name} has {size / 2**30:.1f} GiB; at most {MAX_BYTES / 2**30:.0f} GiB are read."
        )


def write_video(
    path: str | Path,
    frames_rgb: Iterable[NDArray[np.uint8]],
    fps: float,
    codec: str = "libx264",
    crf: int = 20,
    pix_fmt: str = "yuv420p",
) -> None:
    """Encode frames of (H, W, 3) uint8 sRGB, all of one size, into the container named by the
    path's ending.

    fps in frames per second. crf is the constant rate factor of x264, x265, VP9 and AV1 (lower is
    better); other codecs ignore it. An odd width or height is padded by repeating the last column
    or row, since yuv420p needs even ones. Raises ValueError without frames or with frames of
    unequal size, MediaError if the codec is not available.
    """
    path = Path(path)
    try:
        _encode(path, frames_rgb, fps, codec, crf, pix_fmt)
    except (av.FFmpegError, UnknownCodecError) as err:
        raise MediaError(f"{path.name} cannot be written with {codec}.") from err


def _encode(
    path: Path,
    frames_rgb: Iterable[NDArray[np.uint8]],
    fps: float,
    codec: str,
    crf: int,
    pix_fmt: str,
) -> None:
    """See `write_video`. Raises FFmpegError or UnknownCodecError, too."""
    options = {"crf": str(crf)} | ({"x265-params": X265_PARAMS} if codec == "libx265" else {})
    shape: tuple[int, ...] | None = None
    with av.open(path, "w") as container:
        stream = container.add_stream(
            codec, rate=Fraction(fps).limit_denominator(1001), options=options
        )
        if not isinstance(stream, VideoStream):
            raise MediaError(f"{codec} is not a video codec.")
        stream.pix_fmt = pix_fmt
        for rgb in frames_rgb:
            if shape is None:
                shape = rgb.shape
                stream.height = shape[0] + shape[0] % 2
                stream.width = shape[1] + shape[1] % 2
            if rgb.shape != shape:
                raise ValueError(f"expected frames of shape {shape}, but got {rgb.shape}")
            even = np.pad(rgb, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
            container.mux(
                stream.encode(VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24"))
            )
        if shape is None:
            raise ValueError("expected at least one frame, but got 0")
        container.mux(stream.encode(None))
