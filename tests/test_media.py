"""Media as a whole: limits, files that are none, and writing."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import UPRIGHT, corners, grey_levels, quarters
from PIL import Image

from detector import media
from detector.decoding import common, decode, timeline
from detector.errors import MediaError
from detector.media import MAX_FRAMES, N_FRAMES, open_media, write_video


def test_limits_give_one_sentence_without_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.fromarray(quarters()).save(tmp_path / "photo.png")
    write_video(tmp_path / "clip.mp4", grey_levels(25), fps=25)
    first, *rest = [Image.fromarray(rgb) for rgb in grey_levels(5)]
    first.save(tmp_path / "moving.gif", save_all=True, append_images=rest, duration=1000)
    limits = [
        (media, "MAX_BYTES", 100, "photo.png", "GiB are read"),
        (common, "MAX_PIXELS", 6000, "photo.png", "has 96 x 64 pixels"),
        (common, "MAX_PIXELS", 6000, "clip.mp4", "has 96 x 64 pixels"),
        (common, "MAX_PIXELS", 6000, "moving.gif", "has 96 x 64 pixels"),
        (common, "MAX_ANIMATION_PIXELS", 30000, "moving.gif", "too many frames"),
        (common, "MAX_SECONDS", 0.5, "clip.mp4", "lasts"),
        (common, "MAX_SECONDS", 3.0, "moving.gif", "lasts"),
        (timeline, "MAX_CLIP_FRAMES", 10, "clip.mp4", "more than 10 frames"),
    ]
    for home, name, limit, file, words in limits:
        with monkeypatch.context() as patch:
            patch.setattr(home, name, limit)
            read = open_media if name == "MAX_BYTES" else decode
            with pytest.raises(MediaError, match=words) as caught:
                read(tmp_path / file, N_FRAMES)
        message = str(caught.value)
        assert message.startswith(file) and message.endswith(".") and str(tmp_path) not in message
        open_media(tmp_path / file)  # within the real limits it opens


@pytest.mark.parametrize("n_frames", [0, -3, MAX_FRAMES + 1])
def test_number_of_frames_is_limited(tmp_path: Path, n_frames: int) -> None:
    Image.fromarray(quarters()).save(tmp_path / "photo.png")
    with pytest.raises(MediaError, match=f"not {n_frames}"):
        open_media(tmp_path / "photo.png", n_frames=n_frames)


@pytest.mark.parametrize("side", [9_500, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(tmp_path: Path, side: int) -> None:
    """9,500 squared is where Pillow only warns, 60,000 squared where it raises."""
    path = tmp_path / "bomb.png"
    Image.new("1", (8, 8)).save(path)
    content = bytearray(path.read_bytes())
    struct.pack_into(">II", content, 16, side, side)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(MediaError, match="at most 80 million are read"):
        open_media(path)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jpg", b""),
        ("noise.mp4", np.random.default_rng(1).bytes(5000)),
        ("text.png", b"this is no picture at all\n" * 50),
        ("start.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF"),
        ("box.mp4", b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2" + bytes(200)),
        ("heic.jpg", b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(200)),
        (
            "list.mp4",
            b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        ),
        ("concat.mp4", b"ffconcat version 1.0\nfile other.mp4\n"),
        ("script.jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"),
    ],
)
def test_garbage_gives_a_media_error(
    tmp_path: Path, capfd: pytest.CaptureFixture, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=rf"^{name} .*\.$") as caught:
        open_media(path)
    assert str(tmp_path) not in str(caught.value)
    assert capfd.readouterr() == ("", "")  # neither libav nor Pillow speaks to the terminal


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"^nowhere\.mp4 is not a file that exists\.$"):
        open_media(tmp_path / "nowhere.mp4")
    with pytest.raises(MediaError, match=f"^{tmp_path.name} is a folder, not a file.$"):
        open_media(tmp_path)


def test_sound_alone_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(path, "w") as container:
        sound = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, 44100), np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate = 44100
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    with pytest.raises(MediaError, match=r"^song\.mp4 holds no video that can be decoded\.$"):
        open_media(path)


# ----------------------------------------------------------------------------------------------
# writing


def test_write_video_pads_odd_sizes(tmp_path: Path) -> None:
    odd = quarters()[:63, :95]
    write_video(tmp_path / "odd.mp4", [odd] * 4, fps=29.97)
    opened = open_media(tmp_path / "odd.mp4")
    assert (opened.width, opened.height) == (96, 64)
    assert corners(opened.frames[0].rgb) == UPRIGHT
    assert opened.frames[1].t == pytest.approx(1 / 29.97, abs=1e-4)


def test_write_video_quality(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (5, 64, 96, 3), np.uint8)
    sizes = []
    for crf in (10, 40):
        write_video(tmp_path / f"{crf}.mp4", noise, fps=25, crf=crf)
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[1] < sizes[0] / 2


def test_write_video_refuses(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        write_video(tmp_path / "none.mp4", [], fps=25)
    with pytest.raises(ValueError, match="frames of shape"):
        write_video(tmp_path / "mixed.mp4", [quarters(64), quarters(32)], fps=25)
    with pytest.raises(MediaError, match=r"^clip\.mp4 cannot be written with nosuchcodec\.$"):
        write_video(tmp_path / "clip.mp4", [quarters()], fps=25, codec="nosuchcodec")
