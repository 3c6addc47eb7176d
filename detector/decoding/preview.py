"""A small copy of a clip that every browser plays: H.264, without sound."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Literal

import av
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from detector.decoding.clips import Listing, list_clip, opened_at, pictures
from detector.decoding.common import unreadable
from detector.decoding.pictures import is_animated_picture
from detector.decoding.view import FrameConverter
from detector.errors import MediaError

PREVIEW_PX = 480  # longer side
PREVIEW_S = 30.0  # from the start
PREVIEW_FPS = 30.0
# of processor time: what is encoded by then is the preview; the sandbox ends the process later
BUDGET_S = 15.0
# x264's constant rate factor: half a minute takes a few megabytes at most
CRF = 28
TICKS_PER_S = 1000

# what Chrome, Firefox and Safari play as it is: ending -> codecs
_PLAYABLE = {".mp4": ("h264",), ".m4v": ("h264",), ".webm": ("vp8", "vp9")}
_PLAYABLE_PIXELS = ("yuv420p", "yuvj420p")

How = Literal["as it is", "as a picture", "encoded"]


@dataclass(frozen=True, eq=False)
class Preview:
    """How a clip can be shown in a browser."""

    how: How
    mp4: bytes = b""  # where it is encoded

    def __post_init__(self) -> None:
        if self.how not in ("as it is", "as a picture", "encoded"):
            raise ValueError(f"expected a way to show a clip, but got {self.how}")
        if (self.how == "encoded") != bool(self.mp4):
            raise ValueError("expected bytes exactly where the clip is encoded")


def make_preview(path: Path) -> Preview:
    """Encode at most PREVIEW_S seconds of a clip at most PREVIEW_PX large, where browsers need it.

    Times are the clip's own, from its first frame on. Raises MediaError for what is no clip.
    """
    if is_animated_picture(path):
        return Preview("as a picture")
    try:
        listings = list_clip(path)
        if len(listings) == 1 and _playable(path, listings[0]):
            return Preview("as it is")
        mp4 = _encoded(path, listings)
    except av.FFmpegError as err:
        raise unreadable(path.name) from err
    if not mp4:
        raise MediaError(f"{path.name} holds no frame that can be decoded.")
    return Preview("encoded", mp4)


def _playable(path: Path, listing: Listing) -> bool:
    with opened_at(listing.recording, listing.timeline) as (container, stream):
        codec = stream.codec_context
        return (
            listing.tracks == 1
            and listing.timeline.joints == 0
            and codec.name in _PLAYABLE.get(path.suffix.lower(), ())
            and codec.pix_fmt in _PLAYABLE_PIXELS
            and not container.metadata.get("major_brand", "").startswith("qt")
        )


def _encoded(path: Path, listings: Sequence[Listing]) -> bytes:
    """The clip as MP4; empty where nothing decodes."""
    memory = BytesIO()
    out = None
    converter = None
    with av.open(memory, "w", format="mp4") as target:
        for t, picture, stream in _timed(listings):
            if converter is None or out is None:
                converter = _small(FrameConverter.for_stream(path.name, picture, stream))
                rgb = converter.rgb(picture)
                out = target.add_stream(
                    "libx264",
                    rate=Fraction(PREVIEW_FPS),
                    options={"crf": str(CRF), "preset": "ultrafast"},
                )
                out.height, out.width = (side // 2 * 2 for side in rgb.shape[:2])
                out.pix_fmt = "yuv420p"
                out.codec_context.time_base = Fraction(1, TICKS_PER_S)
            frame = VideoFrame.from_ndarray(
                converter.rgb(picture)[: out.height, : out.width].copy(), format="rgb24"
            )
            frame.pts = round(t * TICKS_PER_S)
            frame.time_base = Fraction(1, TICKS_PER_S)
            target.mux(out.encode(frame))
        if out is not None:
            target.mux(out.encode(None))
    return memory.getvalue() if out is not None else b""


def _small(converter: FrameConverter) -> FrameConverter:
    """The same at a size within PREVIEW_PX; sides of at least two pixels, for yuv420p."""
    scale = min(1.0, PREVIEW_PX / max(converter.width, converter.height))
    return replace(
        converter,
        width=max(2, round(converter.width * scale)),
        height=max(2, round(converter.height * scale)),
    )


def _timed(listings: Sequence[Listing]) -> Iterator[tuple[float, VideoFrame, VideoStream]]:
    """Yield (seconds from the first frame, picture, stream), at most PREVIEW_FPS of them a second.

    Ends after PREVIEW_S, after BUDGET_S of processor time, and where the file breaks off.
    """
    end = time.process_time() + BUDGET_S
    last = -1.0
    for t, picture, stream in _one_after_another(listings):
        if t > PREVIEW_S or time.process_time() > end:
            return
        if last >= 0 and t - last < 0.9 / PREVIEW_FPS:
            continue
        last = t
        yield t, picture, stream


def _one_after_another(
    listings: Sequence[Listing],
) -> Iterator[tuple[float, VideoFrame, VideoStream]]:
    """Yield (seconds from the first frame of the first recording, picture, stream)."""
    start_s = 0.0
    for listing in listings:
        for t, picture, stream in pictures(listing):
            yield start_s + t, picture, stream
        start_s += listing.timeline.duration_s
