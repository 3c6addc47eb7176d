"""Clips: any container and codec that is data by itself, read by libav.

A clip is read twice. The first pass only lists the packets (timeline.py). The second decodes just
what leads to the wanted frames, and only those are kept in memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import dropwhile
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import ThreadType
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import ContainerIO

from detector.decoding.colour import is_hdr
from detector.decoding.common import (
    HDR,
    Decoded,
    check_seconds,
    check_size,
    middles,
    sampled_note,
    shown_tags,
    unreadable,
)
from detector.decoding.recordings import (
    Recording,
    begins_as_clip,
    behind_note,
    missing_note,
    recordings,
)
from detector.decoding.timeline import (
    FrameTimeline,
    check_frames,
    choose_track,
    list_tracks,
    renumbered,
    timeline_of,
    tracks_note,
)
from detector.decoding.view import FrameConverter
from detector.errors import MediaError
from detector.types import Frame

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
NumberedFrame = tuple[int, VideoFrame]  # index in presentation order, decoded frame
UNHEARD = "The audio was not checked."
OPAQUE = "The clip may be transparent in part: that was left out, and everything counts as opaque."
JOINED = "The time stamps restart or leap: seconds are counted on from where they were."


@dataclass(frozen=True, eq=False)
class Listing:
    """What a recording holds, before a frame of it is decoded."""

    recording: Recording
    timeline: FrameTimeline  # of the track that is looked at
    tags: dict[str, str]
    tracks: int  # video tracks there are
    notes: tuple[str, ...]  # what is not looked at, in sentences
    hdr: bool  # whether the track's colours are HDR's


def decode_clip(path: Path, n_frames: int, track: int | None = None) -> Decoded:
    """Return the clip; track: the number of its video track, chosen without it. Raises MediaError
    for what is none, or is beyond a limit.
    """
    listings = list_clip(path, track)
    starts_s = np.cumsum([0.0, *(listing.timeline.duration_s for listing in listings)])
    firsts = np.cumsum([0, *(len(listing.timeline.ticks) for listing in listings)])
    times = np.concatenate(
        [x.timeline.times_s + s for x, s in zip(listings, starts_s, strict=False)]
    )
    wanted = middles(times, float(starts_s[-1]), n_frames)
    frames: list[Frame] = []
    for listing, start_s, first in zip(listings, starts_s, firsts, strict=False):
        own = [
            index - int(first)
            for index in wanted
            if 0 <= index - first < len(listing.timeline.ticks)
        ]
        frames += (
            Frame(frame.index + int(first), frame.t + float(start_s), frame.rgb)
            for frame in _of_recording(listing, own, SNAP * float(starts_s[-1]) / n_frames)
        )
    if not frames:
        raise MediaError(f"{path.name} holds no frame that can be decoded.")
    sampled = sampled_note(len(frames), len(times), float(starts_s[-1]))
    notes = dict.fromkeys(note for listing in listings for note in listing.notes)
    hdr = any(listing.hdr for listing in listings)
    told = (*sampled, *notes)
    return Decoded("video", float(starts_s[-1]), tuple(frames), listings[0].tags, told, hdr)


def _of_recording(listing: Listing, wanted: list[int], slack_s: float) -> list[Frame]:
    """The wanted frames of a recording, which may move by slack_s where exactness costs much."""
    recording = listing.recording
    timeline = listing.timeline
    if not wanted:
        return []
    wanted = _near_keyframes(timeline, wanted, slack_s)
    try:
        frames = list(_decode(recording, timeline, wanted, seek=_can_seek(timeline)))
        if _can_seek(timeline) and len(frames) <= len(wanted) // 2:
            # In some files seeking goes astray; reading through does not.
            frames = list(_decode(recording, timeline, wanted, seek=False)) or frames
    except av.FFmpegError as err:
        raise unreadable(recording.path.name) from err
    return frames


def list_clip(path: Path, track: int | None = None) -> list[Listing]:
    """List the frames of a clip's track, and what else it holds: of each of its recordings that can
    be read. Raises MediaError.
    """
    joined = recordings(path)
    parts = joined.recordings
    found: list[Listing] = []
    broken: MediaError | None = None
    for part in parts:
        try:
            found.append(_list_recording(part, track))
        except av.FFmpegError:
            broken = broken or _broken(path)
        except MediaError as err:
            broken = broken or err
        check_seconds(path.name, sum(listing.timeline.duration_s for listing in found))
        check_frames(path.name, sum(len(listing.timeline.ticks) for listing in found))
    if not found:
        raise broken or unreadable(path.name)
    notes = [_joined_note(len(parts), len(found))] * (len(parts) > 1)
    notes += behind_note(joined, "clip") + missing_note(joined)
    found[0] = replace(found[0], notes=(*notes, *found[0].notes))
    return found


def _broken(path: Path) -> MediaError:
    """The refusal of what libav does not open."""
    if begins_as_clip(path):
        return MediaError(f"{path.name} is a damaged or incomplete clip.")
    return unreadable(path.name)


def _joined_note(parts: int, readable: int) -> str:
    note = f"This file holds {parts} recordings one after another: seconds are counted on."
    if readable < parts:
        note += f" Only {readable} of them can be read."
    return note


def _list_recording(recording: Recording, track: int | None) -> Listing:
    """Raises MediaError, FFmpegError."""
    name = recording.path.name
    with opened(recording) as container:
        tracks = list_tracks(name, container)
        chosen = choose_track(name, tracks, track)
        check_size(name, *chosen.size)
        stream = container.streams[chosen.index]
        assert isinstance(stream, VideoStream)
        codec = stream.codec_context.codec.long_name
        tags = {"Format": container.format.long_name, "Codec": codec}
        timeline = timeline_of(container, chosen)
        notes = [
            *tracks_note(tracks, chosen),
            *[JOINED] * (timeline.joints > 0),
            *[OPAQUE] * _is_transparent(stream),
            *[UNHEARD] * bool(container.streams.audio),
        ]
        tags |= container.metadata | stream.metadata
        hdr = is_hdr(int(stream.codec_context.color_trc))
        shown = shown_tags(tags.items())
        return Listing(recording, timeline, shown, len(tracks), (*[HDR] * hdr, *notes), hdr)


def _is_transparent(stream: VideoStream) -> bool:
    """Whether a stream's pictures have an alpha channel, in their pixels or (WebM) beside them."""
    pixels = stream.codec_context.format
    in_pixels = pixels is not None and any(part.is_alpha for part in pixels.components)
    return in_pixels or stream.metadata.get("alpha_mode") == "1"


@contextmanager
def opened(recording: Recording) -> Iterator[InputContainer]:
    """A recording's container. Raises FFmpegError for what is none."""
    options = {
        "format_whitelist": _CLIP_FORMATS,
        "protocol_whitelist": "file",
        "merge_pmt_versions": "1",  # of joined transport streams, each with numbers of its own
    }
    with ExitStack() as stack:
        source: Any = os.path.abspath(recording.path)
        if recording.size is not None:
            file = stack.enter_context(recording.path.open("rb"))
            source = ContainerIO.ContainerIO(file, recording.start, recording.size)
        yield stack.enter_context(av.open(source, options=options, metadata_errors="replace"))


@contextmanager
def opened_at(
    recording: Recording, timeline: FrameTimeline
) -> Iterator[tuple[InputContainer, VideoStream]]:
    """A recording's container and the stream of its timeline, ready to decode."""
    with opened(recording) as container:
        stream = container.streams[timeline.stream]
        assert isinstance(stream, VideoStream)
        stream.codec_context.thread_type = ThreadType.AUTO
        yield container, stream


def _near_keyframes(timeline: FrameTimeline, wanted: list[int], slack_s: float) -> list[int]:
    """Return the ascending indices to decode: the wanted ones, or within slack_s of them those near
    a keyframe where exactness costs much.
    """
    times = timeline.times_s
    starts = np.maximum(timeline.keyframe[wanted], [0, *(index + 1 for index in wanted[:-1])])
    if not timeline.exact or int(np.sum(np.array(wanted) + 1 - starts)) <= MAX_DECODED:
        return wanted
    near = set()
    for index in wanted:
        low, high = np.searchsorted(
            times, (times[index] - slack_s, times[index] + slack_s), side="right"
        )
        window = np.arange(min(low, index), max(high, index + 1))
        cost = window - timeline.keyframe[window]
        shift = np.abs(times[window] - times[index])
        near.add(int(window[np.lexsort((shift, cost))[0]]))  # the cheapest, of these the nearest
    return sorted(near)


def _can_seek(timeline: FrameTimeline) -> bool:
    return timeline.exact and timeline.joints == 0


def _decode(
    recording: Recording, timeline: FrameTimeline, wanted: list[int], seek: bool
) -> Iterator[Frame]:
    """Yield the wanted frames; one that does not decode is replaced by the next that does."""
    converter: FrameConverter | None = None
    with opened_at(recording, timeline) as (container, stream):
        find = _by_seeking if seek else _by_reading
        for index, picture in find(container, stream, timeline, wanted):
            if converter is None or not converter.suits(picture):
                converter = FrameConverter.for_stream(recording.path.name, picture, stream)
            yield Frame(index, float(timeline.times_s[index]), converter.rgb(picture))


def _by_seeking(
    container: InputContainer, stream: VideoStream, timeline: FrameTimeline, wanted: list[int]
) -> Iterator[NumberedFrame]:
    """Groups of pictures without a wanted frame are jumped over."""
    left = list(wanted)
    position = 0
    while left:
        key = int(timeline.keyframe[left[0]])
        if key > position:
            # without an index, libav may land behind a keyframe
            if container.format.name in ("mpegts", "mpeg"):
                key = int(timeline.keyframe[key - 1])
            container.seek(int(timeline.ticks[key]), stream=stream)
        for index, picture in _pictures(container.demux(stream), stream, timeline, left):
            if index < left[0]:
                continue
            left = [later for later in left if later > index]
            position = index + 1
            yield index, picture
            if not left or timeline.keyframe[left[0]] > position:
                break
        else:
            return


def _by_reading(
    container: InputContainer, stream: VideoStream, timeline: FrameTimeline, wanted: list[int]
) -> Iterator[NumberedFrame]:
    """Every packet is read; where the timeline is exact, groups of pictures without a wanted frame
    are not decoded.
    """
    numbered = renumbered(container.demux(stream), timeline)
    starts = timeline.packet[timeline.keyframe] if timeline.exact else np.zeros_like(timeline.ticks)
    left = list(wanted)
    read = -1

    def packets() -> Iterator[Packet]:
        nonlocal read
        for read, packet in numbered:  # noqa: B007 - told to the loop below
            yield packet

    while left:
        start = int(starts[left[0]])
        if start > read + 1:
            numbered = _from(numbered, start)
            stream.codec_context.flush_buffers()
        for index, picture in _pictures(packets(), stream, timeline, left):
            if index < left[0]:
                continue
            left = [later for later in left if later > index]
            yield index, picture
            if not left or starts[left[0]] > read + 1:
                break
        else:
            return


def _from(numbered: Iterator[tuple[int, Packet]], start: int) -> Iterator[tuple[int, Packet]]:
    return dropwhile(lambda found: found[0] < start, numbered)


def pictures(listing: Listing) -> Iterator[tuple[float, VideoFrame, VideoStream]]:
    """Yield (seconds from the first frame, picture, stream) of every frame that decodes."""
    timeline = listing.timeline
    times = timeline.times_s
    everything = range(len(timeline.ticks))
    with opened_at(listing.recording, timeline) as (container, stream):
        packets = (packet for _, packet in renumbered(container.demux(stream), timeline))
        for index, picture in _pictures(packets, stream, timeline, everything):
            yield float(times[index]), picture, stream


def _pictures(
    packets: Iterable[Packet], stream: VideoStream, timeline: FrameTimeline, wanted: Iterable[int]
) -> Iterator[NumberedFrame]:
    """Yield the frames from where the packets begin, skipping damage.

    Frames that are not wanted and that no other frame is built on may be left out.
    """
    count = 0
    spare = timeline.exact and stream.codec_context.name in _SPARING_CODECS
    needed = {int(timeline.ticks[index]) for index in wanted}
    try:
        for packet in packets:
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
