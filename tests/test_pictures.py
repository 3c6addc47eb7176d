"""Pictures and animations, built here with Pillow, so that what must come out is known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from media_files import UPRIGHT, corners, grey_levels, level, quarters
from PIL import Image, features

from detector.decoding import MAX_TAG_CHARS
from detector.errors import MediaError
from detector.media import open_media


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
