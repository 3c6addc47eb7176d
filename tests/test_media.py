"""Media: every file is built here with Pillow or PyAV, so that what must come out is known."""

from __future__ import annotations

import hashlib
import struct
import zlib
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, features

from detector import media
from detector.decoding import MAX_TAG_CHARS, Decoded, clips, common, decode
from detector.errors import MediaError
from detector.media import MAX_FRAMES, N_FRAMES, open_media, write_video

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quarters(size: int = 64) -> np.ndarray:
    """Return (size, size + 32, 3) uint8: red top left, green top right, blue bottom left, white
    bottom right.
    """
    rgb = np.empty((size, size + 32, 3), np.uint8)
    half, middle = size // 2, size // 2 + 16
    rgb[:half, :middle], rgb[:half, middle:], rgb[half:, :middle], rgb[half:, middle:] = (
        RED,
        GREEN,
        BLUE,
        WHITE,
    )
    return rgb


def numbers(decoded: Decoded) -> list[int]:
    """Return which frames of the file were taken."""
    return [frame.index for frame in decoded.frames]


def corners(rgb: np.ndarray) -> list[str]:
    """Name the colours of the corners: top left, top right, bottom left, bottom right."""
    names = {RED: "red", GREEN: "green", BLUE: "blue", WHITE: "white"}
    found = [rgb[8, 8], rgb[8, -8], rgb[-8, 8], rgb[-8, -8]]
    return [
        names[min(names, key=lambda c: int(np.abs(pixel.astype(int) - c).sum()))] for pixel in found
    ]


UPRIGHT = ["red", "green", "blue", "white"]


def grey_levels(count: int, height: int = 64, width: int = 96) -> list[np.ndarray]:
    """Frame i is a flat grey of level 10 i, so that a decoded frame tells its number."""
    return [np.full((height, width, 3), 10 * i, np.uint8) for i in range(count)]


def level(rgb: np.ndarray) -> int:
    return round(float(rgb.mean()) / 10)


def encode(
    path: Path, pts: list[int], codec: str = "libx264", options: dict[str, str] | None = None
) -> Path:
    """Encode grey levels at the given presentation times in milliseconds."""
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for when, rgb in zip(pts, grey_levels(len(pts)), strict=True):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts, frame.time_base = when, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


# ----------------------------------------------------------------------------------------------------
# pictures


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "gif", "jpg", "webp", "avif"])
def test_formats_of_pictures(tmp_path: Path, ending: str) -> None:
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this build of Pillow lacks AVIF")
    path = tmp_path / f"photo.{ending}"
    Image.fromarray(quarters()).save(path)
    opened = open_media(path)
    assert (opened.kind, opened.name, opened.width, opened.height, opened.duration_s) == (
        "image",
        f"photo.{ending}",
        96,
        64,
        0.0,
    )
    assert [(f.index, f.t) for f in opened.frames] == [(0, 0.0)]
    assert corners(opened.frames[0].rgb) == UPRIGHT
    assert opened.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_exif_orientation(tmp_path: Path, orientation: int, ending: str) -> None:
    upright = quarters()
    turns = {  # how a camera stores an upright scene under each orientation
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: np.rot90(upright, 2).transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"turned.{ending}"
    Image.fromarray(np.ascontiguousarray(turns[orientation])).save(path, exif=exif, quality=95)
    opened = open_media(path)
    assert (opened.width, opened.height) == (96, 64)
    assert corners(opened.frames[0].rgb) == UPRIGHT


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    values = np.array([[0, 255, 257, 32768, 65535]], np.uint16)
    for ending in ("png", "tiff"):
        path = tmp_path / f"deep.{ending}"
        Image.fromarray(values).save(path)
        assert open_media(path).frames[0].rgb[0, :, 0].tolist() == [0, 1, 1, 128, 255]
    Image.fromarray(np.array([[0, 200]], np.uint16)).save(tmp_path / "dark.png")
    assert open_media(tmp_path / "dark.png").frames[0].rgb.max() == 1  # a dark picture stays dark


def test_float_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "float.tiff")
    assert open_media(tmp_path / "float.tiff").frames[0].rgb[0, :, 2].tolist() == [0, 128, 255]


def test_cmyk(tmp_path: Path) -> None:
    Image.fromarray(quarters()).convert("CMYK").save(tmp_path / "press.jpg", quality=95)
    assert corners(open_media(tmp_path / "press.jpg").frames[0].rgb) == UPRIGHT


def test_palette_grey_and_bilevel(tmp_path: Path) -> None:
    picture = Image.fromarray(quarters())
    picture.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert corners(open_media(tmp_path / "palette.png").frames[0].rgb) == UPRIGHT
    Image.new("L", (8, 8), 77).save(tmp_path / "grey.png")
    assert open_media(tmp_path / "grey.png").frames[0].rgb[3, 3].tolist() == [77, 77, 77]
    Image.new("1", (8, 8), 1).save(tmp_path / "bilevel.png")
    assert open_media(tmp_path / "bilevel.png").frames[0].rgb[3, 3].tolist() == [255, 255, 255]


def test_transparency_lies_over_white(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (200, 0, 0, 0)).save(tmp_path / "clear.png")
    assert open_media(tmp_path / "clear.png").frames[0].rgb[0, 0].tolist() == [255, 255, 255]
    Image.new("LA", (8, 8), (0, 51)).save(tmp_path / "faint.png")  # a fifth of black
    assert open_media(tmp_path / "faint.png").frames[0].rgb[0, 0].tolist() == [204, 204, 204]


def test_metadata_is_capped_and_without_places(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0110] = "Camera \x00\x07" + "x" * 1000  # model
    exif.get_ifd(0x8825)[2] = (51.0, 28.0, 0.0)  # GPS latitude
    exif.get_ifd(0x8769)[0x9003] = "2024:05:01 10:00:00"
    Image.fromarray(quarters()).save(tmp_path / "tags.jpg", exif=exif)
    tags = open_media(tmp_path / "tags.jpg").metadata
    assert tags["Model"].startswith("Camera") and len(tags["Model"]) <= MAX_TAG_CHARS
    assert tags["DateTimeOriginal"] == "2024:05:01 10:00:00"
    assert not any("gps" in key.lower() for key in tags)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_is_no_reason_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "exif.jpg"
    Image.fromarray(quarters()).save(
        path, exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff\x01\x12", quality=95
    )
    assert corners(open_media(path).frames[0].rgb) == UPRIGHT


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff", "bmp", "gif"])
def test_a_truncated_picture_is_refused(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    path = tmp_path / f"half.{ending}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match=rf"^half\.{ending} is .*\.$") as caught:
        open_media(path)
    assert str(tmp_path) not in str(caught.value)


# --------------------------------------------------------------------------------------------------
# animations


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_an_animation_is_a_clip_with_its_durations(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"moving.{ending}"
    first, *rest = [Image.fromarray(rgb) for rgb in grey_levels(4)]
    first.save(
        path,
        save_all=True,
        append_images=rest,
        duration=[100, 300, 200, 400],
        loop=0,
        lossless=True,
    )
    opened = open_media(path)
    assert opened.kind == "video"
    assert opened.duration_s == pytest.approx(1.0)
    assert [f.t for f in opened.frames] == pytest.approx([0.0, 0.1, 0.4, 0.6])
    assert [level(f.rgb) for f in opened.frames] == [0, 1, 2, 3]


def test_an_animation_is_sampled_evenly_in_time(tmp_path: Path) -> None:
    path = tmp_path / "moving.gif"
    first, *rest = [Image.fromarray(rgb) for rgb in grey_levels(5)]
    first.save(path, save_all=True, append_images=rest, duration=[1000, 100, 100, 100, 700], loop=0)
    # Slices of 1 s: their middles, 0.5 s and 1.5 s, show the first and the last frame.
    assert [f.index for f in open_media(path, n_frames=2).frames] == [0, 4]


def test_of_a_truncated_animation_what_decodes_is_taken(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (6, 64, 64, 3), np.uint8)
    first, *rest = [Image.fromarray(rgb) for rgb in noise]
    path = tmp_path / "half.gif"
    first.save(path, save_all=True, append_images=rest, duration=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert [f.index for f in open_media(path).frames] in ([0, 1], [0, 1, 2])


# -------------------------------------------------------------------------------------------------------
# clips


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
    tmp_path: Path, decoded: list[int], codec: str
) -> None:
    path = tmp_path / "long.mp4"
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


# --------------------------------------------------------------------------------------------
# limits and damage


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
        (clips, "MAX_CLIP_FRAMES", 10, "clip.mp4", "more than 10 frames"),
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
    for path in (tmp_path / "nowhere.mp4", tmp_path):
        with pytest.raises(MediaError, match=f"^{path.name} is not a file that exists.$"):
            open_media(path)


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


# -----------------------------------------------------------------------------------------------------
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
