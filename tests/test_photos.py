"""Photos as phones and cameras make them: HEIC, raw, cut off at the end, with more inside."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from fuzz_files import clip, face, picture
from media_files import UPRIGHT, corners, quarters
from PIL import Image

from detector.contract import analysis_json
from detector.errors import MediaError
from detector.media import open_media
from detector.pipeline import Detector
from detector.types import Media


def opened(path: Path, content: bytes) -> Media:
    path.write_bytes(content)
    return open_media(path)


# --------------------------------------------------------------------------------------------------
# HEIC


def heic(image: Image.Image | None = None, **options: object) -> bytes:
    return picture("HEIF", image or Image.fromarray(quarters()), quality=95, **options)


def test_heic_is_read(tmp_path: Path) -> None:
    found = opened(tmp_path / "IMG_0001.HEIC", heic())
    assert (found.kind, found.width, found.height, found.notes) == ("image", 96, 64, ())
    assert corners(found.frames[0].rgb) == UPRIGHT
    assert found.metadata["Format"] == "HEIF"


@pytest.mark.parametrize("turns_itself", [True, False])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_heic_is_put_upright_once(tmp_path: Path, orientation: int, turns_itself: bool) -> None:
    """By its own turn, as phones write it with an EXIF tag that says the same, or by the tag."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(quarters())
    turned = opened(tmp_path / "turned.jpg", picture("JPEG", stored, exif=exif, quality=95))
    content = heic(exif=exif.tobytes() if turns_itself else exif)
    assert turns_itself == (b"irot" in content or b"imir" in content) or orientation == 1
    found = opened(tmp_path / "turned.heic", content)
    assert (found.width, found.height) == (turned.width, turned.height)
    assert corners(found.frames[0].rgb) == corners(turned.frames[0].rgb)


def test_heic_of_ten_bits_keeps_its_range(tmp_path: Path) -> None:
    deep = np.repeat(quarters().astype(np.uint16) * 257, 2, axis=0)
    file = pillow_heif.from_bytes("RGB;16", (96, 128), np.ascontiguousarray(deep).tobytes())
    saved = BytesIO()
    file.save(saved, quality=95)
    found = opened(tmp_path / "deep.heic", saved.getvalue())
    assert corners(found.frames[0].rgb) == UPRIGHT
    assert found.frames[0].rgb.max() >= 250


@pytest.mark.parametrize(("transfer", "white", "grey"), [(16, 148, 90), (18, 191, 87)])
def test_an_hdr_heic_is_shown_as_srgb(tmp_path: Path, transfer: int, white: int, grey: int) -> None:
    """Paper white and a grey of a tenth of it, by the transfer's own levels of 255."""
    levels = Image.fromarray(np.repeat([[white, grey]], 64, 0).repeat(64, 1).astype(np.uint8))
    nclx = {"color_primaries": 9, "transfer_characteristics": transfer, "matrix_coefficients": 9}
    found = opened(tmp_path / "hdr.heic", heic(levels.convert("RGB"), **nclx)).frames[0].rgb
    assert 245 <= found[32, 32, 0] <= 253
    assert 85 <= found[32, 96, 0] <= 95


def test_more_pictures_in_a_heic_are_told(tmp_path: Path) -> None:
    more = [Image.fromarray(quarters()[::-1].copy())]
    found = opened(tmp_path / "burst.heic", heic(save_all=True, append_images=more))
    assert corners(found.frames[0].rgb) == UPRIGHT
    assert found.notes == ("Only one of the 2 pictures in this file was looked at.",)


@pytest.mark.parametrize("brand", [b"hevc", b"msf1"])
def test_a_sequence_of_heic_is_a_clip(tmp_path: Path, brand: bytes) -> None:
    content = clip("mp4", "libx264", n=5)
    found = opened(tmp_path / "live.heics", content[:8] + brand + content[12:])
    assert (found.kind, len(found.frames)) == ("video", 5)


def test_a_damaged_heic_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"^half\.heic is a damaged or incomplete picture\.$"):
        opened(tmp_path / "half.heic", heic()[:-100])


def named_colours(kind: str, image: Image.Image, **options: object) -> bytes:
    """A picture that says its primaries are BT.2020's and its transfer is PQ."""
    content = picture(kind, image, **options)
    if kind == "PNG":
        chunk = b"cICP" + bytes([9, 16, 0, 1])
        check = struct.pack(">I", zlib.crc32(chunk))
        return content[:33] + struct.pack(">I", 4) + chunk + check + content[33:]
    at = content.index(b"colrnclx") + 8
    return content[:at] + struct.pack(">HH", 9, 16) + content[at + 4 :]


@pytest.mark.parametrize(("kind", "frames"), [("AVIF", 1), ("AVIF", 3), ("PNG", 1), ("PNG", 3)])
def test_an_hdr_avif_or_png_is_shown_as_srgb_and_said(
    tmp_path: Path, kind: str, frames: int
) -> None:
    """Paper white and a grey of a tenth of it."""
    levels = Image.fromarray(np.repeat([[148, 90]], 64, 0).repeat(64, 1).astype(np.uint8))
    levels = levels.convert("RGB")
    more = [levels.rotate(180 * i) for i in range(1, frames)]
    options = {"save_all": True, "append_images": more} if more else {}
    found = opened(tmp_path / "hdr", named_colours(kind, levels, **options))
    rgb = found.frames[0].rgb
    assert 240 <= rgb[32, 32, 0] <= 253 and 85 <= rgb[32, 96, 0] <= 95
    assert found.hdr and found.notes[0].startswith("The colours are HDR's")
    assert not opened(tmp_path / "plain", picture(kind, levels)).hdr


def test_the_picture_beside_an_animation_is_said(tmp_path: Path) -> None:
    grey = [Image.new("L", (64, 48), 10 * i) for i in range(4)]
    options = {"save_all": True, "append_images": grey[1:], "duration": 100}
    found = opened(tmp_path / "a.png", picture("PNG", grey[0], default_image=True, **options))
    assert (found.kind, len(found.frames)) == ("video", 3)
    assert found.notes == (
        "The still picture that programs without animation show was not looked at.",
    )
    assert opened(tmp_path / "b.png", picture("PNG", grey[0], **options)).notes == ()


# --------------------------------------------------------------------------------------------------
# raw


def tiff(*directories: list[tuple[int, int, int, bytes | int]], data: bytes, order: str) -> bytes:
    """A TIFF of directories of (tag, type, count, value or bytes to point at); a value of -1 - i
    points at directory i. Only the first is in the chain.
    """
    mark = b"II*\0" if order == "<" else b"MM\0*"
    at, offsets = 8 + len(data), []
    for entries in directories:
        offsets.append(at)
        at += 6 + 12 * len(entries) + sum(len(v) for *_, v in entries if isinstance(v, bytes))
    body = b""
    for offset, entries in zip(offsets, directories, strict=True):
        rows, tail, end = b"", b"", offset + 6 + 12 * len(entries)
        for tag, kind, count, value in sorted(entries, key=lambda entry: entry[0]):
            if isinstance(value, bytes):
                value, tail = end + len(tail), tail + value
            elif value < 0:
                value = offsets[-1 - value]
            short = kind == 3 and count == 1
            packed = struct.pack(order + ("HH" if short else "I"), *((value, 0)[: 1 + short]))
            rows += struct.pack(order + "HHI", tag, kind, count) + packed
        body += struct.pack(order + "H", len(entries)) + rows + bytes(4) + tail
    return mark + struct.pack(order + "I", offsets[0]) + data + body


def raw(
    jpeg: bytes | None, order: str = "<", orientation: int = 1, dng: bool = False, side: int = 640
) -> bytes:
    """As cameras lay out NEF and DNG: a thumbnail of 160 px first, JPEG and sensor data below."""
    small = Image.new("RGB", (160, 106), "red").tobytes()
    sensor = bytes(1000)
    data = small + sensor + (jpeg or b"")
    first: list[tuple[int, int, int, bytes | int]] = [
        (254, 4, 1, 1), (256, 4, 1, 160), (257, 4, 1, 106),
        (258, 3, 3, struct.pack(order + "3H", 8, 8, 8)),
        (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8), (274, 3, 1, orientation), (277, 3, 1, 3),
        (278, 4, 1, 106), (279, 4, 1, len(small)), (330, 4, 1, -2),
    ]  # fmt: skip
    if dng:
        first.append((50706, 1, 4, 1))
    cfa: list[tuple[int, int, int, bytes | int]] = [
        (254, 4, 1, 0), (256, 4, 1, side), (257, 4, 1, side), (258, 3, 1, 14), (259, 3, 1, 34713),
        (262, 3, 1, 32803), (273, 4, 1, 8 + len(small)), (277, 3, 1, 1), (279, 4, 1, len(sensor)),
    ]  # fmt: skip
    return tiff(first, cfa, data=data, order=order)


def preview(width: int = 480) -> bytes:
    stored = Image.fromarray(quarters()).resize((width, width * 2 // 3), Image.Resampling.NEAREST)
    return picture("JPEG", stored, quality=95)


@pytest.mark.parametrize(("name", "order"), [("a.NEF", ">"), ("a.dng", "<"), ("a.arw", "<")])
def test_of_a_raw_photo_the_cameras_jpeg_is_taken(tmp_path: Path, name: str, order: str) -> None:
    found = opened(tmp_path / name, raw(preview(), order, dng=name == "a.dng"))
    assert (found.kind, found.width, found.height) == ("image", 480, 320)
    assert corners(found.frames[0].rgb) == UPRIGHT
    assert found.notes == (
        "This is a raw photo: the JPEG inside it was looked at, not the raw data.",
    )


def test_the_largest_jpeg_of_a_raw_photo_by_its_orientation(tmp_path: Path) -> None:
    several = preview(320) + bytes(50) + preview(640) + bytes(50) + preview(480)
    found = opened(tmp_path / "tall.nef", raw(several, orientation=6))
    assert (found.width, found.height) == (426, 640)
    assert corners(found.frames[0].rgb) == ["blue", "red", "white", "green"]


@pytest.mark.parametrize("jpeg", [None, preview(160), preview(480)[:600]])
def test_a_raw_photo_with_thumbnails_alone_is_refused(tmp_path: Path, jpeg: bytes | None) -> None:
    with pytest.raises(MediaError, match=r"^a\.nef is a raw photo .*: export it as JPEG\.$"):
        opened(tmp_path / "a.nef", raw(jpeg))


def test_a_preview_far_smaller_than_the_raw_photo_is_a_thumbnail(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="export it as JPEG"):
        opened(tmp_path / "a.nef", raw(preview(480), side=6000))


@pytest.mark.parametrize(
    "head",
    [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08\0\0\0", b"IIU\0\x18\0\0\0", b"\0\0\0\x18ftypcrx \0\0\0\1"],
)
def test_other_raw_photos(tmp_path: Path, head: bytes) -> None:
    found = opened(tmp_path / "photo.raw", head + bytes(200) + preview() + bytes(200))
    assert (found.width, found.height) == (480, 320)
    with pytest.raises(MediaError, match=r"^photo\.raw is a raw photo .*: export it as JPEG\.$"):
        opened(tmp_path / "photo.raw", head + bytes(5000))


def test_a_tiff_is_no_raw_photo_and_its_thumbnail_is_not_the_photo(tmp_path: Path) -> None:
    pages = BytesIO()
    small = Image.fromarray(quarters()[::4, ::4].copy())
    small.save(
        pages, "TIFF", save_all=True, append_images=[Image.fromarray(quarters())],
        tiffinfo={254: 1},
    )  # fmt: skip
    with Image.open(pages) as file:
        marks = [file.tag_v2.get(254) for page in range(2) if not file.seek(page)]
    found = opened(tmp_path / "pages.tiff", pages.getvalue())
    assert found.notes == ("Only one of the 2 pictures in this file was looked at.",)
    if marks == [1, None]:
        assert (found.width, found.height) == (96, 64)


# --------------------------------------------------------------------------------------------------
# no end, and more than a photo


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("tail", [b"", bytes(3000), b"\xff"])
def test_a_jpeg_that_lacks_nothing_but_its_end_marker_is_taken(
    tmp_path: Path, progressive: bool, tail: bytes
) -> None:
    whole = picture("JPEG", progressive=progressive, quality=90)
    expected = opened(tmp_path / "whole.jpg", whole).frames[0].rgb
    assert whole.endswith(b"\xff\xd9")
    found = opened(tmp_path / "endless.jpg", whole[:-2] + tail)
    assert np.array_equal(found.frames[0].rgb, expected)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("tail", [b"", bytes(3000), b"#" * 500])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_jpeg_that_lacks_rows_is_refused(
    tmp_path: Path, progressive: bool, share: float, tail: bytes
) -> None:
    whole = picture("JPEG", progressive=progressive, quality=90)
    with pytest.raises(MediaError, match=r"^cut\.jpg is a damaged or incomplete picture\.$"):
        opened(tmp_path / "cut.jpg", whole[: int(share * len(whole))] + tail)


def test_a_progressive_jpeg_without_its_last_scans_is_refused(tmp_path: Path) -> None:
    whole = picture("JPEG", progressive=True, quality=90)
    *_, last = [at for at in range(len(whole)) if whole[at : at + 2] == b"\xff\xda"]
    tables = whole.rindex(b"\xff\xc4", 0, last)
    with pytest.raises(MediaError, match="damaged or incomplete"):
        opened(tmp_path / "cut.jpg", whole[:tables])


def test_an_endless_jpeg_keeps_its_orientation(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    stored = Image.fromarray(np.ascontiguousarray(quarters()[::-1, ::-1]))
    found = opened(tmp_path / "a.jpg", picture("JPEG", stored, exif=exif, quality=95)[:-2])
    assert corners(found.frames[0].rgb) == UPRIGHT


def test_the_clip_in_a_motion_photo_is_told(tmp_path: Path) -> None:
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a GCamera:MotionPhoto="1"/></x:xmpmeta>'
    photo = picture("JPEG", xmp=xmp) + clip("mp4", "libx264")
    found = opened(tmp_path / "motion.jpg", photo)
    assert found.kind == "image"
    assert found.notes == ("The short clip inside this photo was not looked at.",)
    assert opened(tmp_path / "plain.jpg", picture("JPEG")).notes == ()


def test_notes_are_in_the_json_and_in_the_words(tmp_path: Path) -> None:
    photo = raw(picture("JPEG", face().resize((360, 360))), dng=True)
    (tmp_path / "a.dng").write_bytes(photo)
    answer = analysis_json(Detector.untrained().analyze(tmp_path / "a.dng"))
    assert answer["notes"] == [
        "This is a raw photo: the JPEG inside it was looked at, not the raw data."
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500)),
        ("a.y4m", b"YUV4MPEG2 W96 H64 F25:1 Ip C420\nFRAME\n" + bytes(96 * 64 * 3 // 2)),
        ("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
        ("a.txt", b"no picture"),
    ],
)
def test_a_refusal_lists_what_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(MediaError) as caught:
        opened(tmp_path / name, content)
    assert str(caught.value) == (
        f"{name} is not a picture or a clip that can be read; what can be read is JPEG, PNG, WebP, "
        "AVIF, HEIC, TIFF, BMP and GIF, and clips in MP4, MOV, MKV, WebM, AVI, MPEG, TS, FLV, WMV, "
        "OGG and MXF."
    )
