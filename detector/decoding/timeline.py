"""The frames of a clip's video tracks, listed from the packets without decoding.

So the true times, length and keyframes are known whatever the header says, and which of several
tracks is the clip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.stream import VideoStream
from numpy.typing import NDArray

from detector.errors import MediaError

# frames in a track: MAX_SECONDS at 240 per second; bounds the list of packets
MAX_CLIP_FRAMES = 432_000
# Where decoding time goes back or leaps by more, time goes on from where it was, as in ffmpeg:
# streams were joined or recorded again. In other containers a picture may stand for a while.
BACK_S = 0.1
BACK_WITHIN_S = 1.0  # at no keyframe: longer than frames are reordered for
LEAP_S = 10.0
LEAP_ELSEWHERE_S = 60.0
_STREAMS = ("mpegts", "mpeg")  # transport and program streams
# of the frames of the track that has most: below it a track is a picture, or a few
REAL_SHARE = 0.02

Listed = tuple[int | None, int | None, bool]  # presentation time, decoding time, keyframe


@dataclass(eq=False)
class Track:
    """One video track that is no cover art."""

    number: int  # from 1 on
    index: int  # of the stream in the container
    size: tuple[int, int]  # width, height in px
    decodable: bool
    is_default: bool
    frame_s: Fraction  # seconds per frame, as the header has it
    time_base: Fraction  # seconds per tick
    packets: list[Listed] = field(default_factory=list)

    @property
    def area_px(self) -> int:
        return self.size[0] * self.size[1]

    @property
    def in_words(self) -> str:
        count = len(self.packets)
        frames = f"{count} frame{'' if count == 1 else 's'}"
        size = f"{self.size[0]} x {self.size[1]} px for {frames}"
        what = size if self.decodable else "of an unknown codec"
        return f"track {self.number} ({what})"


@dataclass(frozen=True, eq=False)
class FrameTimeline:
    """The frames of a clip in presentation order, as listed without decoding."""

    stream: int  # index in the container
    ticks: NDArray[np.int64]  # ascending presentation times in units of time_base
    keyframe: NDArray[np.int64]  # for each frame the index of the keyframe it is decoded from
    packet: NDArray[np.int64]  # for each frame the number of its packet, as they are stored
    time_base: Fraction  # seconds per tick
    duration_s: float
    exact: bool  # the ticks tell the frames of the decoder
    joints: int  # places where time restarted or leapt; without any, one can seek to the ticks

    @property
    def times_s(self) -> NDArray[np.float64]:
        return (self.ticks - self.ticks[0]) * float(self.time_base)

    @property
    def ticks_as_stored(self) -> NDArray[np.int64]:
        """The frames' times in the order of their packets."""
        stored = np.empty_like(self.ticks)
        stored[self.packet] = self.ticks
        return stored


def list_tracks(name: str, container: InputContainer) -> list[Track]:
    """The video tracks with their packets, up to the end or the first unreadable byte. Raises
    MediaError for more frames than are read.
    """
    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    tracks = {s.index: _track(number, s) for number, s in enumerate(streams, 1)}
    if not streams:
        return []
    try:
        for packet in container.demux(streams):
            if not is_frame(packet):
                continue
            packets = tracks[packet.stream.index].packets
            packets.append((packet.pts, packet.dts, packet.is_keyframe))
            check_frames(name, len(packets))
    except av.FFmpegError:
        pass  # cut off in the middle: what was listed can still be decoded
    return list(tracks.values())


def check_frames(name: str, count: int) -> None:
    """Raise MediaError for a clip of too many frames."""
    if count > MAX_CLIP_FRAMES:
        raise MediaError(f"{name} has more than {MAX_CLIP_FRAMES} frames, which is too much.")


def is_frame(packet: Packet) -> bool:
    """Whether a packet holds a frame that is shown: not the end marker or what an edit list cuts
    off.
    """
    return packet.size > 0 and not packet.is_discard


def _track(number: int, stream: VideoStream) -> Track:
    codec = stream.codec_context
    return Track(
        number,
        stream.index,
        (codec.width, codec.height) if codec is not None else (0, 0),
        codec is not None,
        bool(stream.disposition & Disposition.default),
        1 / (stream.average_rate or Fraction(25)),
        stream.time_base or Fraction(1, 1000),
    )


def choose_track(name: str, tracks: Sequence[Track], number: int | None) -> Track:
    """The track of a number, or the one that is the clip: never a picture beside one that moves;
    the default where it is not just the first, else the largest. Raises MediaError.
    """
    if number is not None:
        for track in tracks:
            if track.number == number and track.decodable and track.packets:
                return track
        count = f"{len(tracks)} video track{'' if len(tracks) == 1 else 's'}"
        raise MediaError(f"{name} has {count}; track {number} cannot be read.")
    if not any(track.decodable for track in tracks):
        raise MediaError(f"{name} holds no video that can be decoded.")
    listed = [track for track in tracks if track.decodable and track.packets]
    if not listed:
        raise MediaError(f"{name} holds no frame that can be decoded.")
    most = max(len(track.packets) for track in listed)
    real = [track for track in listed if len(track.packets) >= min(most, max(2, REAL_SHARE * most))]
    defaults = [track for track in real if track.is_default]
    if len(defaults) == 1 and defaults[0].number > 1:
        return defaults[0]
    return max(real, key=lambda track: (track.area_px, -track.number))


def tracks_note(tracks: Sequence[Track], chosen: Track) -> list[str]:
    """That further tracks were not looked at; nothing where there are none."""
    others = [track.in_words for track in tracks if track is not chosen]
    if not others:
        return []
    return [
        f"Of {len(tracks)} video tracks, track {chosen.number} was looked at and "
        f"{', '.join(others)} {'was' if len(others) == 1 else 'were'} not."
    ]


def timeline_of(container: InputContainer, track: Track) -> FrameTimeline:
    """The track's frames. The container is the one that the track was listed from."""
    stream = container.streams[track.index]
    assert isinstance(stream, VideoStream)
    shown, decoded, keys = zip(*track.packets, strict=True)
    time_base = track.time_base
    # AVI stores no presentation times, and what libav makes up is wrong where frames are reordered.
    # The decoding times are the same set up to a shift; a raw stream has not even these, so its
    # frames are taken as evenly spaced. Either way the file is decoded through and its frames are
    # counted.
    exact = None not in shown and not (
        "avi" in container.format.name and stream.codec_context.has_b_frames
    )
    if not exact and None in decoded:
        time_base = track.frame_s
        decoded = tuple(range(len(shown)))
    leap_s = LEAP_S if container.format.name in _STREAMS else LEAP_ELSEWHERE_S
    restarts = _restarts(track.packets, decoded, float(time_base))
    ticks = np.array(shown if exact else decoded, np.int64)
    ticks, joints = _joined(ticks, restarts, leap_s / float(time_base))
    packet = np.argsort(ticks, kind="stable")
    ticks, positions = ticks[packet], np.arange(len(ticks))
    keyframe = np.maximum.accumulate(np.where(np.array(keys)[packet], positions, 0))
    step_s = float(_step(ticks) * time_base) or float(track.frame_s)
    duration_s = float((ticks[-1] - ticks[0]) * time_base) + step_s
    return FrameTimeline(track.index, ticks, keyframe, packet, time_base, duration_s, exact, joints)


def _restarts(packets: Sequence[Listed], decoded: Sequence[int | None], tick_s: float) -> list[int]:
    """The numbers of the packets at which time goes back.

    decoded: their decoding times; where there are none, the keyframes' presentation times tell.
    """
    known = any(when is not None for when in decoded)
    found = []
    last = None
    for number, ((shown, _, key), when) in enumerate(zip(packets, decoded, strict=True)):
        if not known and key:
            when = shown
        if when is None:
            continue
        back_s = BACK_S if key else BACK_WITHIN_S
        if last is not None and (last - when) * tick_s > back_s:
            found.append(number)
            last = when
        last = when if last is None else max(last, when)
    return found


def _joined(
    ticks: NDArray[np.int64], restarts: Sequence[int], leap: float
) -> tuple[NDArray[np.int64], int]:
    """The ticks with each part behind the one before and leaps of more than so many ticks left
    out; and the number of joints.
    """
    joined = []
    step = 1
    end = int(ticks.min())
    joints = len(restarts)
    for here in np.split(ticks, restarts):
        order = np.argsort(here, kind="stable")
        gaps = np.diff(here[order])
        step = round(float(np.median(gaps))) if len(gaps) and np.median(gaps) >= 1 else step
        joints += int(np.sum(gaps > leap))
        laid = np.empty_like(here)
        laid[order] = np.cumsum([end, *np.where(gaps > leap, step, gaps)])
        joined.append(laid)
        end = int(laid.max()) + step
    return np.concatenate(joined), joints


def _step(ticks: NDArray[np.int64]) -> float:
    """The usual time between two of ascending ticks; 0 where there is one."""
    return float(np.median(np.diff(ticks))) if len(ticks) > 1 else 0.0


def renumbered(packets: Iterator[Packet], timeline: FrameTimeline) -> Iterator[tuple[int, Packet]]:
    """Yield (number of the packet, packet with its time on the timeline), in the order stored."""
    ticks = timeline.ticks_as_stored
    number = 0
    for packet in packets:
        here = min(number, len(ticks) - 1)
        if is_frame(packet):
            packet.pts = int(ticks[here])
            number += 1
        yield here, packet
