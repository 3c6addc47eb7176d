"""Which frames of a clip's file are looked at: joined streams, leaps of time, several tracks."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from fuzz_files import picture
from media_files import grey_levels, level, numbers

from detector.__main__ import main
from detector.decoding import Decoded, clips, decode, make_preview
from detector.errors import MediaError
from detector.media import open_media, write_video

KEYS = {"g": "5", "keyint_min": "5", "sc_threshold": "0"}


def encoded(
    kind: str,
    levels: Sequence[int],
    codec: str = "libx264",
    start_ms: int = 0,
    pts_ms: Sequence[int] | None = None,
    muxer: dict[str, str] | None = None,
    **options: str,
) -> bytes:
    """Grey levels, one every 40 ms from a time on, or at given times."""
    file = BytesIO()
    with av.open(file, "w", format=kind, options=muxer or {}) as container:
        stream = container.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        if not codec.startswith("mpeg"):  # which know a few rates only
            stream.codec_context.time_base = Fraction(1, 1000)
        for i, grey in enumerate(levels):
            frame = av.VideoFrame.from_ndarray(grey_levels(grey + 1)[-1], format="rgb24")
            ms = start_ms + (40 * i if pts_ms is None else pts_ms[i])
            frame.time_base = Fraction(1, 25) if codec.startswith("mpeg") else Fraction(1, 1000)
            frame.pts = round(ms / 1000 / frame.time_base)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def levels(decoded: Decoded) -> list[int]:
    return [level(frame.rgb) for frame in decoded.frames]


def times_ms(decoded: Decoded) -> list[int]:
    return [round(1000 * frame.t) for frame in decoded.frames]


# --------------------------------------------------------------------------------------------------
# time stamps that restart or leap


@pytest.mark.parametrize(
    ("kind", "codec", "options"),
    [
        ("mpegts", "libx264", {}),
        ("mpegts", "libx264", {"bf": "0"}),
        ("mpegts", "mpeg2video", {}),
        ("mpeg", "mpeg1video", {}),
        ("matroska", "libx264", {}),
        ("webm", "libvpx", {}),
        ("mpeg", "mpeg2video", {}),
    ],
)
def test_joined_streams_are_one_clip(
    tmp_path: Path, kind: str, codec: str, options: dict[str, str]
) -> None:
    path = tmp_path / "joined"
    path.write_bytes(b"".join(encoded(kind, range(k, k + 10), codec, **options) for k in (0, 10)))
    found = decode(path, 32)
    assert numbers(found) == list(range(20))
    assert levels(found) == list(range(20))
    assert found.duration_s == pytest.approx(0.8, abs=0.05)
    assert times_ms(found) == pytest.approx([40 * i for i in range(20)], abs=45)
    assert clips.JOINED in found.notes


@pytest.mark.parametrize(
    ("kind", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("fragments", "libx264"),
        ("flv", "flv"),
        ("asf", "wmv2"),
        ("ivf", "libvpx"),
        ("mxf", "mpeg2video"),
        ("ogg", "libvpx"),
    ],
)
def test_recordings_joined_byte_by_byte_are_one_clip(tmp_path: Path, kind: str, codec: str) -> None:
    """Containers that end by themselves: a demuxer stops at the first, or mixes the two up."""
    path = tmp_path / "joined"
    flags = {"movflags": "frag_keyframe+empty_moov"} if kind == "fragments" else {}
    of_kind = "mp4" if kind == "fragments" else kind
    parts = [encoded(of_kind, range(k, k + 10), codec, muxer=flags) for k in (0, 10)]
    path.write_bytes(b"".join(parts))
    found = decode(path, 32)
    assert numbers(found) == list(range(20))
    assert levels(found) == list(range(20))
    # the Ogg files made here show their first frame for 1 ms, the first of each part
    late_ms = 85 if kind == "ogg" else 45
    assert times_ms(found) == pytest.approx([40 * i for i in range(20)], abs=late_ms)
    assert found.notes == (
        "This file holds 2 recordings one after another: seconds are counted on.",
    )
    assert levels(decode(path, 4)) == ([3, 7, 13, 17] if kind == "ogg" else [2, 7, 12, 17])


@pytest.mark.parametrize("kind", ["mp4", "mpegts"])
def test_a_part_of_another_shape_is_not_squeezed(tmp_path: Path, kind: str) -> None:
    ending = {"mp4": "mp4", "mpegts": "ts"}[kind]
    upright = tmp_path / f"upright.{ending}"
    write_video(upright, [np.full((96, 64, 3), 200, np.uint8)] * 5, fps=25)
    path = tmp_path / f"joined.{ending}"
    path.write_bytes(encoded(kind, range(5)) + upright.read_bytes())
    shapes = [frame.rgb.shape for frame in decode(path, 32).frames]
    assert shapes == [(64, 96, 3)] * 5 + [(96, 64, 3)] * 5


def test_a_joined_recording_that_breaks_off_is_told(tmp_path: Path) -> None:
    whole, other = encoded("mp4", range(10)), encoded("mp4", range(10, 20))
    half = other[: other.index(b"moov") - 4]  # ends before its tables
    for name, parts in {"a.mp4": (whole, half), "b.mp4": (half, whole)}.items():
        (tmp_path / name).write_bytes(b"".join(parts))
        found = decode(tmp_path / name, 32)
        assert levels(found) == list(range(10))
        assert found.notes[0].endswith("seconds are counted on. Only 1 of them can be read.")


def test_what_follows_a_recording_is_none_without_a_beginning(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(encoded("mp4", range(10)) + bytes(50) + b"ftyp" + bytes(500))
    found = decode(path, 32)
    assert (levels(found), found.notes) == (list(range(10)), ())


def test_segments_recorded_again_and_again(tmp_path: Path) -> None:
    """Four parts that all begin at the same time; few samples, so groups are left undecoded."""
    path = tmp_path / "segments.ts"
    parts = [encoded("mpegts", range(k, k + 6), **KEYS) for k in (0, 6, 12, 18)]
    path.write_bytes(b"".join(parts))
    found = decode(path, 4)
    assert (numbers(found), levels(found)) == ([3, 9, 15, 21], [3, 9, 15, 21])
    assert found.duration_s == pytest.approx(0.96, abs=0.01)


def test_joined_streams_decode_only_what_is_wanted(tmp_path: Path, decoded: list[int]) -> None:
    path = tmp_path / "joined.ts"
    parts = [encoded("mpegts", range(k, k + 10), bf="0", **KEYS) for k in (0, 10)]
    path.write_bytes(b"".join(parts))
    assert numbers(decode(path, 2)) == [5, 15]
    assert decoded == [5, 15]


@pytest.mark.parametrize("other_first", [False, True])
def test_joined_streams_with_numbers_of_their_own(tmp_path: Path, other_first: bool) -> None:
    """Another recorder's stream lies under another packet identifier."""
    parts = [encoded("mpegts", range(10)), encoded("mpegts", range(10, 20))]
    own = renamed_stream(parts[0 if other_first else 1])
    path = tmp_path / "joined.ts"
    path.write_bytes(own + parts[1] if other_first else parts[0] + own)
    found = decode(path, 32)
    # the demuxer ends a frame at the next one's start, which the first part's last does not have
    assert levels(found) == [*range(9), *range(10, 20)]


def renamed_stream(content: bytes) -> bytes:
    """A transport stream whose video lies under identifier 0x200 instead of 0x100."""
    packets = [bytearray(content[at : at + 188]) for at in range(0, len(content), 188)]
    for packet in packets:
        if (packet[1] & 0x1F) << 8 | packet[2] == 0x100:
            packet[1:3] = bytes([packet[1] & 0xE0 | 2, 0])
        elif (at := packet.find(b"\x1b\xe1\x00")) > 0:  # the programme's map: H.264 under 0x100
            packet[at + 1 : at + 3] = b"\xe2\x00"
            start = packet.index(b"\x02\xb0")
            end = start + 3 + packet[start + 2]
            packet[end - 4 : end] = crc(bytes(packet[start : end - 4]))
    return b"".join(packets)


def crc(data: bytes) -> bytes:
    """CRC-32/MPEG-2 of a section."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value & 1 << 31 else 0)) & 0xFFFFFFFF
    return value.to_bytes(4, "big")


@pytest.mark.parametrize("kind", ["mpegts", "mpeg"])
@pytest.mark.parametrize("leap_s", [60, 7200, 80_000])
def test_a_leap_of_time_is_left_out(tmp_path: Path, kind: str, leap_s: int) -> None:
    codec = "libx264" if kind == "mpegts" else "mpeg2video"
    path = tmp_path / "leap"
    parts = [encoded(kind, range(10), codec), encoded(kind, range(10, 20), codec, 1000 * leap_s)]
    path.write_bytes(b"".join(parts))
    found = decode(path, 32)
    assert levels(found) == list(range(20))
    assert found.duration_s == pytest.approx(0.8, abs=0.05)
    assert clips.JOINED in found.notes


@pytest.mark.parametrize("kind", ["mp4", "matroska", "flv"])
def test_a_leap_of_two_hours_within_a_file(tmp_path: Path, kind: str) -> None:
    pts = [40 * i + (7_200_000 if i >= 10 else 0) for i in range(20)]
    path = tmp_path / "leap"
    path.write_bytes(encoded(kind, range(20), "flv" if kind == "flv" else "libx264", pts_ms=pts))
    found = decode(path, 32)
    assert levels(found) == list(range(20))
    assert found.duration_s == pytest.approx(0.8, abs=0.05)


def test_a_picture_that_stands_for_half_a_minute_is_no_leap(tmp_path: Path) -> None:
    path = tmp_path / "slides.mp4"
    path.write_bytes(encoded("mp4", range(4), pts_ms=[0, 30_000, 60_000, 90_000]))
    found = decode(path, 32)
    assert times_ms(found) == [0, 30_000, 60_000, 90_000]
    assert clips.JOINED not in found.notes


@pytest.mark.parametrize("kind", ["mpegts", "mp4"])
def test_the_preview_of_joined_streams_shows_all(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "joined.mp4"
    path.write_bytes(b"".join(encoded(kind, range(k, k + 10)) for k in (0, 10)))
    preview = make_preview(path)
    (tmp_path / "preview.mp4").write_bytes(preview.mp4)
    found = decode(tmp_path / "preview.mp4", 32)
    assert preview.how == "encoded"
    assert levels(found) == list(range(20))
    assert found.duration_s == pytest.approx(0.8, abs=0.05)


# --------------------------------------------------------------------------------------------------
# several tracks


def with_tracks(
    path: Path,
    *tracks: tuple[int, int, int],
    default: int | None = None,
    codecs: Sequence[str] = (),
) -> Path:
    """A file of video tracks (side, frames, grey level), of which one may be the default alone."""
    with av.open(path, "w") as container:
        streams = []
        for i, (side, _, _) in enumerate(tracks):
            codec = codecs[i] if codecs else "libx264"
            stream = container.add_stream(codec, rate=25)
            stream.width = stream.height = side
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            if default is not None:
                stream.disposition = Disposition.default if i == default else Disposition(0)
            streams.append(stream)
        for stream, (side, count, grey) in zip(streams, tracks, strict=True):
            for _ in range(count):
                rgb = np.full((side, side, 3), 10 * grey, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_preview_or_a_picture_first_is_not_the_clip(tmp_path: Path, ending: str) -> None:
    path = with_tracks(tmp_path / f"a.{ending}", (64, 10, 1), (128, 10, 2))
    found = decode(path, 3)
    assert (levels(found), found.frames[0].rgb.shape) == ([2, 2, 2], (128, 128, 3))
    assert (
        "Of 2 video tracks, track 2 was looked at and track 1 (64 x 64 px for 10 frames) was not."
        in found.notes
    )
    path = with_tracks(
        tmp_path / f"b.{ending}", (256, 1, 3), (64, 10, 4), codecs=("mjpeg", "libx264")
    )
    found = decode(path, 3)
    assert levels(found) == [4, 4, 4]
    assert (
        "Of 2 video tracks, track 2 was looked at and track 1 (256 x 256 px for 1 frame) was not."
        in found.notes
    )


def test_the_default_that_is_not_the_first_is_the_clip(tmp_path: Path) -> None:
    path = with_tracks(tmp_path / "a.mkv", (96, 5, 1), (96, 5, 2), (64, 5, 3), default=2)
    assert levels(decode(path, 2)) == [3, 3]
    path = with_tracks(tmp_path / "b.mkv", (96, 5, 1), (96, 1, 2), default=1)  # a picture
    assert levels(decode(path, 2)) == [1, 1]


def test_two_cameras_are_told_and_can_be_chosen(tmp_path: Path) -> None:
    path = with_tracks(tmp_path / "dash.mp4", (96, 10, 5), (96, 8, 6), (64, 1, 7))
    assert levels(decode(path, 2)) == [5, 5]
    assert decode(path, 2).notes[1] == (
        "Of 3 video tracks, track 1 was looked at and track 2 (96 x 96 px for 8 frames), "
        "track 3 (64 x 64 px for 1 frame) were not."
    )
    assert [level(f.rgb) for f in open_media(path, 2, track=2).frames] == [6, 6]
    assert levels(decode(path, 2, 3)) == [7]
    with pytest.raises(MediaError, match=r"^dash\.mp4 has 3 video tracks; track 4 cannot be read"):
        open_media(path, 2, track=4)


def test_tracks_are_chosen_on_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = with_tracks(tmp_path / "dash.mp4", (96, 3, 5), (96, 3, 6))
    assert main(["analyze", str(path), "--track", "2"]) == 0
    assert main(["analyze", str(path), "--track", "3"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "track 2 was looked at and track 1 (96 x 96 px for 3 frames) was not." in lines[0]
    assert lines[1] == "dash.mp4: dash.mp4 has 2 video tracks; track 3 cannot be read."


def test_a_track_of_an_unknown_codec_is_told(tmp_path: Path) -> None:
    path = with_tracks(tmp_path / "a.mp4", (128, 5, 1), (64, 5, 2))
    content = path.read_bytes()
    at = content.index(b"avc1", content.index(b"stsd"))  # the first track's sample entry
    path.write_bytes(content[:at] + b"zzzz" + content[at + 4 :])
    found = decode(path, 2)
    assert levels(found) == [2, 2]
    assert found.notes[1] == (
        "Of 2 video tracks, track 2 was looked at and track 1 (of an unknown codec) was not."
    )
    with pytest.raises(MediaError, match="has 2 video tracks; track 1 cannot be read"):
        decode(path, 2, 1)


def test_a_picture_has_no_tracks(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(picture("PNG"))
    with pytest.raises(MediaError, match=r"^a\.png is a picture, which has no tracks"):
        open_media(path, track=1)


def test_what_is_between_the_samples_is_told(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(encoded("mp4", range(20)))
    assert decode(path, 4).notes == ("Only 4 of 20 frames were looked at, one about every 0.2 s.",)
    assert decode(path, 20).notes == ()
