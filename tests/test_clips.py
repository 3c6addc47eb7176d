"""Clips: every file is built here with PyAV, so that what must come out is known."""

from __future__ import annotations

import struct
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from fuzz_files import clip
from media_files import UPRIGHT, corners, encode, grey_levels, level, numbers, quarters
from PIL import Image

from detector import media
from detector.decoding import clips, decode
from detector.errors import MediaError
from detector.media import open_media, write_video


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("mkv", "libx265"),
        ("webm", "libvpx-vp9"),
        ("avi", "mpeg4"),
        ("avi", "libx264"),
        ("mpg", "mpeg1video"),
        ("ts", "libx264"),
    ],
)
def test_formats_of_clips(tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"clip.{ending}"
    write_video(path, grey_levels(20), fps=25, codec=codec)
    opened = open_media(path)
    assert (opened.kind, opened.width, opened.height) == ("video", 96, 64)
    assert opened.duration_s == pytest.approx(0.8, abs=0.001)
    assert [f.index for f in opened.frames] == list(range(20))
    assert [f.t for f in opened.frames] == pytest.approx([i / 25 for i in range(20)], abs=0.001)
    assert [level(f.rgb) for f in opened.frames] == list(range(20))


def test_content_decides_not_the_ending(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", grey_levels(3), fps=25)
    (tmp_path / "clip.mp4").rename(tmp_path / "photo.jpg")
    Image.fromarray(quarters()).save(tmp_path / "photo.png")
    (tmp_path / "photo.png").rename(tmp_path / "clip.mp4")
    assert open_media(tmp_path / "photo.jpg").kind == "video"
    assert open_media(tmp_path / "clip.mp4").kind == "image"


def test_frames_are_sampled_evenly_in_time(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", grey_levels(25), fps=25)
    opened = open_media(tmp_path / "clip.mp4", n_frames=5)
    # Five slices of 0.2 s; in their middles, 0.1 s, 0.3 s, ..., frames 2, 7, 12, 17, 22 are shown.
    assert [f.index for f in opened.frames] == [2, 7, 12, 17, 22]
    assert [f.t for f in opened.frames] == pytest.approx([0.08, 0.28, 0.48, 0.68, 0.88])
    assert [level(f.rgb) for f in opened.frames] == [2, 7, 12, 17, 22]


def test_variable_frame_rate_is_sampled_in_time(tmp_path: Path) -> None:
    # Twelve frames in the first half second, then one each half second.
    pts = [*range(0, 480, 40), 500, 1000, 1500, 2000, 2500, 3000]
    opened = open_media(encode(tmp_path / "phone.mp4", pts))
    assert [round(f.t * 1000) for f in opened.frames] == pts
    few = open_media(tmp_path / "phone.mp4", n_frames=3)
    # The clip lasts 3.04 s (the last frame for the usual 40 ms), so the middles are 0.51, 1.52 and
    # 2.53 s.
    assert [round(f.t * 1000) for f in few.frames] == [500, 1500, 2500]
    assert [level(f.rgb) for f in few.frames] == [12, 14, 16]


def test_a_clip_of_one_frame_stays_a_clip(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", grey_levels(1), fps=25)
    opened = open_media(tmp_path / "one.mp4")
    assert (opened.kind, len(opened.frames), opened.duration_s) == ("video", 1, pytest.approx(0.04))


@pytest.mark.parametrize(("kind", "kept"), [("mp4", 0.5), ("mov", 0.5), ("matroska", 0.02)])
def test_a_clip_without_its_index_is_damaged_and_no_foreign_file(
    tmp_path: Path, kind: str, kept: float
) -> None:
    whole = clip(kind, "libx264", size=256)
    (tmp_path / "cut").write_bytes(whole[: round(kept * len(whole))])
    with pytest.raises(MediaError, match=r"^cut is a damaged or incomplete clip\.$"):
        open_media(tmp_path / "cut")


@pytest.mark.parametrize(
    ("kind", "codec", "pix_fmt", "transparent"),
    [
        ("mov", "prores_ks", "yuva444p10le", True),
        ("mov", "prores_ks", "yuv422p10le", False),
        ("mov", "png", "rgba", True),
        ("webm", "libvpx-vp9", "yuva420p", True),
        ("webm", "libvpx-vp9", "yuv420p", False),
    ],
)
def test_transparency_that_is_left_out_is_said(
    tmp_path: Path, kind: str, codec: str, pix_fmt: str, transparent: bool
) -> None:
    options = {"profile": "4444"} if pix_fmt == "yuva444p10le" else {}
    (tmp_path / "a").write_bytes(clip(kind, codec, pix_fmt, **options))
    note = (
        "The clip may be transparent in part: that was left out, and everything counts as opaque."
    )
    assert open_media(tmp_path / "a").notes == (note,) * transparent


def test_audio_is_ignored(tmp_path: Path) -> None:
    path = tmp_path / "talk.mp4"
    with av.open(path, "w") as container:
        sound = container.add_stream("aac", rate=44100)
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        noise = av.AudioFrame.from_ndarray(
            np.zeros((2, 44100), np.float32), format="fltp", layout="stereo"
        )
        noise.sample_rate = 44100
        container.mux(sound.encode(noise))
        for rgb in grey_levels(5):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode(None))
        container.mux(sound.encode(None))
    opened = open_media(path)
    assert [level(f.rgb) for f in opened.frames] == [0, 1, 2, 3, 4]
    assert opened.duration_s == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("matrix", "stored"),
    [
        ((0, 1, -1, 0), np.rot90(quarters())),  # shown turned clockwise: the phone held upright
        ((-1, 0, 0, -1), np.rot90(quarters(), 2)),
        ((0, -1, 1, 0), np.rot90(quarters(), -1)),
        ((-1, 0, 0, 1), quarters()[:, ::-1]),  # mirrored
        ((0, 1, 1, 0), quarters().transpose(1, 0, 2)),
    ],
)
def test_a_turned_phone_clip_is_put_upright(
    tmp_path: Path, matrix: tuple[int, ...], stored: np.ndarray
) -> None:
    path = tmp_path / "phone.mp4"
    write_video(path, [stored] * 3, fps=25)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # the matrix follows 40 bytes of a version 0 track header
    assert struct.unpack_from(">i", content, at) == (65536,)
    a, b, c, d = (value * 65536 for value in matrix)
    struct.pack_into(">9i", content, at, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    opened = open_media(path)
    assert (opened.width, opened.height) == (96, 64)
    assert corners(opened.frames[0].rgb) == UPRIGHT


def test_a_header_that_lies_about_length(tmp_path: Path) -> None:
    path = tmp_path / "liar.mkv"
    write_video(path, grey_levels(10), fps=25)
    content = bytearray(path.read_bytes())
    at = content.index(b"\x44\x89\x88") + 3  # Matroska's Duration, a double in milliseconds
    assert struct.unpack_from(">d", content, at) == (400.0,)
    struct.pack_into(">d", content, at, 7_200_000.0)
    path.write_bytes(content)
    with av.open(path) as container:
        assert container.duration == 7_200_000_000  # two hours instead of 0.4 s
    opened = open_media(path, n_frames=5)
    assert opened.duration_s == pytest.approx(0.4)
    assert [f.index for f in opened.frames] == [1, 3, 5, 7, 9]


@pytest.mark.parametrize(
    ("ending", "codec"), [("mkv", "libx264"), ("webm", "libvpx"), ("mpg", "mpeg2video")]
)
def test_of_a_truncated_clip_what_decodes_is_taken(tmp_path: Path, ending: str, codec: str) -> None:
    path = tmp_path / f"half.{ending}"
    noise = np.random.default_rng(0).integers(0, 256, (20, 64, 96, 3), np.uint8)
    write_video(path, noise, fps=25, codec=codec)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    opened = open_media(path)
    assert 4 <= len(opened.frames) <= 16
    assert opened.frames[0].index == 0
    assert opened.duration_s < 0.7
    times = [f.t for f in opened.frames]
    assert all(later > earlier for earlier, later in pairwise(times))


def test_damage_in_the_middle_costs_only_what_it_hits(tmp_path: Path) -> None:
    path = tmp_path / "hole.mkv"
    noise = np.random.default_rng(0).integers(0, 256, (30, 64, 96, 3), np.uint8)
    write_video(path, noise, fps=25, codec="mjpeg", pix_fmt="yuvj420p")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 40] = bytes(40)
    path.write_bytes(content)
    assert len(open_media(path).frames) >= 28


def test_only_groups_with_a_wanted_frame_are_decoded(tmp_path: Path, decoded: list[int]) -> None:
    path = tmp_path / "long.mp4"
    pts = [40 * i for i in range(25)]
    encode(path, pts, options={"g": "5", "keyint_min": "5", "sc_threshold": "0", "bf": "0"})
    assert numbers(decode(path, 2)) == [6, 18]
    assert decoded == [5, 6, 15, 16, 17, 18]


@pytest.mark.parametrize("codec", ["libx264", "libx265"])
def test_frames_that_nothing_is_built_on_are_not_decoded(
    tmp_path: Path, decoded: list[int], codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "long.mp4"
    monkeypatch.setattr(media, "X265_PARAMS", "log-level=none")  # with B-frames
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (64, 96, 3), np.uint8)
    moving = [np.roll(noise, (i, 2 * i), (0, 1)) for i in range(60)]
    write_video(path, moving, fps=25, codec=codec)
    every = decode(path, 60).frames
    decoded.clear()
    some = decode(path, 6)
    assert numbers(some) == [5, 15, 25, 35, 45, 55]
    assert all(np.array_equal(frame.rgb, every[frame.index].rgb) for frame in some.frames)
    assert len(decoded) < 45


def test_long_clips_sample_near_keyframes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pts = [40 * i for i in range(25)]
    path = encode(
        tmp_path / "long.mp4",
        pts,
        options={"g": "5", "keyint_min": "5", "sc_threshold": "0", "bf": "0"},
    )
    monkeypatch.setattr(clips, "MAX_DECODED", 5)
    # The middles are frames 6 and 18; a quarter of a slice is 0.125 s, three frames, which reaches
    # keyframes 5, 15, 20.
    found = decode(path, 2)
    assert numbers(found) == [5, 20]
    assert [level(frame.rgb) for frame in found.frames] == [5, 20]


def test_large_frames_are_scaled_down(tmp_path: Path) -> None:
    write_video(tmp_path / "big.mp4", [np.full((1200, 2400, 3), 90, np.uint8)], fps=25)
    opened = open_media(tmp_path / "big.mp4")
    assert (opened.width, opened.height) == (1920, 960)
    assert opened.frames[0].rgb.shape == (960, 1920, 3)


def test_wide_pixels_are_made_square(tmp_path: Path) -> None:
    path = tmp_path / "dvd.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(4, 3)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(quarters(), format="rgb24")))
        container.mux(stream.encode(None))
    opened = open_media(path)
    assert (opened.width, opened.height) == (128, 64)
    assert corners(opened.frames[0].rgb) == UPRIGHT
