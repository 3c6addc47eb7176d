"""Clips: any container and codec that is data by itself, read by libav.

A clip is read twice. The first pass only lists the packets, without decoding, so that the true
times, length and keyframes are known whatever the header says. The second decodes just what leads
to the wanted frames, and only those are kept in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from detector.decoding.common import (
    MAX_VIDEO_SIDE_PX,
    Decoded,
    check_seconds,
    check_size,
    middles,
    sampled_note,
    shown_tags,
    unreadable,
)
from detector.errors import MediaError
from detector.types import Frame

# frames in the file: MAX_SECONDS at 240 per second; bounds the list of packets
MAX_CLIP_FRAMES = 432_000
# video frames decoded for exact sampling: a minute at 25 per second; beyond it keyframes help out
MAX_DECODED = 1500
# how far a sample of a long clip may move towards a keyframe, in sample distances: still evenly
# spread
SNAP = 0.25
# Demuxers for files that are a clip by themselves; playlists (hls, concat) could reach other files
# and the network.
_CLIP_FORMATS = "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,h264,hevc,m4v,ivf,dv,mxf"
# which heed skip_frame packet by packet; half of a clip's frames, often
_SPARING_CODECS = ("h264", "hevc")
UNHEARD = "The audio was not checked."


@dataclass(frozen=True, eq=False)
class _Timeline:
    """The frames of a clip in presentation order, as listed without decoding."""

    ticks: NDArray[np.int64]  # ascending presentation times in units of time_base
    keyframe: NDArray[np.int64]  # for each frame the index of the keyframe it is decoded from
    time_base: Fraction  # seconds per tick
    duration_s: float
    exact: bool  # the ticks are the container's own presentation times, so one can seek to them

    @property
    def times_s(self) -> NDArray[np.float64]:
        return (self.ticks - self.ticks[0]) * float(self.time_base)


def decode_clip(path: Path, n_frames: int) -> Decoded:
    """Return the clip. Raises MediaError for what is none, or is beyond a limit."""
    try:
        with opened_clip(path) as (container, stream):
            timeline = _list_frames(path.name, container, stream)
            tags = {
                "Format": container.format.long_name,
                "Codec": stream.codec_context.codec.long_name,
            }
            tags |= container.metadata | stream.metadata
            unheard = [UNHEARD] if container.streams.audio else []
        check_seconds(path.name, timeline.duration_s)
        wanted = _choose(timeline, n_frames)
        frames = list(_decode(path, timeline, wanted, seek=timeline.exact))
        if timeline.exact and len(frames) <= len(wanted) // 2:
            # In some files seeking goes astray; decoding through does not.
            frames = list(_decode(path, timeline, wanted, seek=False)) or frames
    except av.FFmpegError as err:
        raise unreadable(path.name) from err
    if not frames:
        raise MediaError(f"{path.name} holds no frame that can be decoded.")
    shown = shown_tags(tags.items())
    sampled = sampled_note(len(frames), len(timeline.ticks), timeline.duration_s)
    notes = (*sampled, *unheard)
    return Decoded("video", timeline.duration_s, tuple(frames), shown, notes)


@contextmanager
def opened_clip(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a clip at its first video stream that is no cover art. Raises MediaError if it holds
    none, or too large.
    """
    options = {"format_whitelist": _CLIP_FORMATS, "protocol_whitelist": "file"}
    with av.open(os.path.abspath(path), options=options, metadata_errors="replace") as container:
        for stream in container.streams.video:
            if (
                stream.codec_context is not None
                and not stream.disposition & Disposition.attached_pic
            ):
                check_size(path.name, stream.codec_context.width, stream.codec_context.height)
                stream.codec_context.thread_type = ThreadType.AUTO
                yield container, stream
                return
        raise MediaError(f"{path.name} holds no video that can be decoded.")


def _list_frames(name: str, container: InputContainer, stream: VideoStream) -> _Timeline:
    """List the frames' times and keyframes from the packets alone, up to the end or the first
    unreadable byte.
    """
    packets = []  # (presentation time, decoding time, keyframe)
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:  # the end marker; what an edit list cuts off
                continue
            packets.append((packet.pts, packet.dts, packet.is_keyframe))
            if len(packets) > MAX_CLIP_FRAMES:
                raise MediaError(
                    f"{name} has more than {MAX_CLIP_FRAMES} frames, which is too much."
                )
    except av.FFmpegError:
        pass  # cut off in the middle: what was listed can still be decoded
    if not packets:
        raise MediaError(f"{name} holds no frame that can be decoded.")
    shown, decoded, keys = zip(*packets, strict=True)
    time_base, frame_s = (
        stream.time_base or Fraction(1, 1000),
        1 / (stream.average_rate or Fraction(25)),
    )
    # AVI stores no presentation times, and what libav makes up is wrong where frames are reordered.
    # The decoding times are the same set up to a shift; a raw stream has not even these, so its
    # frames are taken as evenly spaced. Either way the file is decoded through and its frames are
    # counted.
    exact = None not in shown and not (
        "avi" in container.format.name and stream.codec_context.has_b_frames
    )
    if not exact and None in decoded:
        time_base = frame_s
        decoded = tuple(range(len(packets)))
    ticks = np.array(shown if exact else decoded, np.int64)
    order = np.argsort(ticks, kind="stable")
    ticks, positions = ticks[order], np.arange(len(ticks))
    keyframe = np.maximum.accumulate(np.where(np.array(keys)[order], positions, 0))
    step_s = float(np.median(np.diff(ticks)) * time_base) if len(ticks) > 1 else 0.0
    duration_s = float((ticks[-1] - ticks[0]) * time_base) + (step_s or float(frame_s))
    return _Timeline(ticks, keyframe, time_base, duration_s, exact)


def _choose(timeline: _Timeline, n: int) -> list[int]:
    """Return the ascending indices to decode: the middles of n slices, near a keyframe where
    exactness costs much.
    """
    times = timeline.times_s
    wanted = middles(times, timeline.duration_s, n)
    starts = np.maximum(timeline.keyframe[wanted], [0, *(index + 1 for index in wanted[:-1])])
    if not timeline.exact or int(np.sum(np.array(wanted) + 1 - starts)) <= MAX_DECODED:
        return wanted
    slack = SNAP * timeline.duration_s / n
    near = set()
    for index in wanted:
        low, high = np.searchsorted(
            times, (times[index] - slack, times[index] + slack), side="right"
        )
        window = np.arange(min(low, index), max(high, index + 1))
        cost = window - timeline.keyframe[window]
        shift = np.abs(times[window] - times[index])
        near.add(int(window[np.lexsort((shift, cost))[0]]))  # the cheapest, of these the nearest
    return sorted(near)


def _decode(path: Path, timeline: _Timeline, wanted: list[int], seek: bool) -> Iterator[Frame]:
    """Yield the wanted frames; one that does not decode is replaced by the next that does.

    With seek, groups of pictures without a wanted frame are jumped over.
    """
    left = list(wanted)
    position = 0
    view: View | None = None
    with opened_clip(path) as (container, stream):
        while left:
            key = int(timeline.keyframe[left[0]])
            if seek and key > position:
                # without an index, libav may land behind a keyframe
                if container.format.name in ("mpegts", "mpeg"):
                    key = int(timeline.keyframe[key - 1])
                container.seek(int(timeline.ticks[key]), stream=stream)
            for index, picture in _pictures(container, stream, timeline, left):
                if index < left[0]:
                    continue
                left = [later for later in left if later > index]
                position = index + 1
                view = view or View.of(path.name, picture, stream)
                yield Frame(index, float(timeline.times_s[index]), view.rgb(picture))
                if not left or (seek and timeline.keyframe[left[0]] > position):
                    break
            else:
                return


def _pictures(
    container: InputContainer, stream: VideoStream, timeline: _Timeline, wanted: Iterable[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield (index in presentation order, decoded frame) from where the container stands, skipping
    damage.

    Frames that are not wanted and that no other frame is built on may be left out.
    """
    count = 0
    spare = timeline.exact and stream.codec_context.name in _SPARING_CODECS
    needed = {int(timeline.ticks[index]) for index in wanted}
    try:
        for packet in container.demux(stream):
            if spare:
                stream.codec_context.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue
            for picture in decoded:
                index = count
                if timeline.exact:
                    if picture.pts is None:
                        continue
                    index = int(np.searchsorted(timeline.ticks, picture.pts))
                yield min(index, len(timeline.ticks) - 1), picture
                count += 1
    except av.FFmpegError:
        return


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
class View:
    """How a clip's decoded frames become upright RGB of one size, even if the stream changes its
    size on the way.
    """

    width: int  # px as stored, with square pixels, within MAX_VIDEO_SIDE_PX
    height: int
    turn: tuple[int, int, int, int]  # the signs of the display matrix

    @classmethod
    def of(cls, name: str, picture: VideoFrame, stream: VideoStream) -> View:
        check_size(name, picture.width, picture.height)
        aspect = float(stream.sample_aspect_ratio or 1)
        # beyond that a damaged header speaks
        width = picture.width * (aspect if 0.25 <= aspect <= 4 else 1)
        scale = min(1.0, MAX_VIDEO_SIDE_PX / max(width, picture.height))
        a, b, c, d = _display_matrix(picture)
        # Players turn by quarters; the larger diagonal says which.
        a, b, c, d = (a, 0, 0, d) if abs(a) > abs(b) else (0, b, c, 0)
        signs = (a > 0) - (a < 0), (b > 0) - (b < 0), (c > 0) - (c < 0), (d > 0) - (d < 0)
        return cls(max(1, round(width * scale)), max(1, round(picture.height * scale)), signs)

    def rgb(self, picture: VideoFrame) -> NDArray[np.uint8]:
        same = (picture.width, picture.height) == (self.width, self.height)
        resized = picture.reformat(
            self.width, self.height, "rgb24", interpolation="BILINEAR" if same else "AREA"
        )
        rgb = resized.to_ndarray()
        a, b, c, d = self.turn
        if a == 0:
            rgb = rgb.transpose(1, 0, 2)
        if a + c < 0:
            rgb = rgb[:, ::-1]
        if b + d < 0:
            rgb = rgb[::-1]
        return np.ascontiguousarray(rgb, dtype=np.uint8)
