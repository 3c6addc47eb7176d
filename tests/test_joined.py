"""Files of any kinds joined byte by byte: read on, or what lies behind the first is said."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import av
import pytest
from fuzz_files import picture
from PIL import ExifTags, Image
from test_photos import preview, raw
from test_tracks import encoded, levels

from detector.decoding import decode
from detector.decoding.recordings import recordings


@pytest.mark.parametrize(
    "kinds",
    [
        ("mp4", "matroska"),
        ("matroska", "mp4"),
        ("avi", "mp4"),
        ("mp4", "avi"),
        ("mpegts", "mp4"),
        ("mp4", "mpegts"),
        ("mpeg", "mp4"),
        ("mp4", "mpeg"),
        ("flv", "matroska"),
        ("matroska", "flv"),
        ("mp4", "flv"),
        ("ivf", "mp4"),
        ("mp4", "mxf", "matroska"),
        ("matroska", "ogg"),
        ("asf", "webm"),
    ],
)
def test_recordings_of_different_kinds_joined_byte_by_byte(
    tmp_path: Path, kinds: tuple[str, ...]
) -> None:
    """A forged part behind an authentic one of another kind is seen."""
    codecs = {"mpeg": "mpeg2video", "flv": "flv", "ivf": "libvpx", "mxf": "mpeg2video"}
    codecs |= {"ogg": "libvpx", "webm": "libvpx", "asf": "wmv2"}
    path = tmp_path / "joined"
    path.write_bytes(
        b"".join(
            encoded(kind, range(k, k + 6), codecs.get(kind, "libx264"), bf="0")
            for k, kind in zip((0, 6, 12), kinds, strict=False)
        )
    )
    found = decode(path, 32)
    # a program or a transport stream's demuxer may keep the last frame to itself
    seen = set(levels(found))
    assert {0, 2, 4, 6, 8, 10} <= seen
    assert found.notes[-1] == (
        f"This file holds {len(kinds)} recordings one after another: seconds are counted on."
    )


def test_bytes_behind_a_clip_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(encoded("mp4", range(10)) + b"\xfe" * 5000 + bytes(900))
    assert decode(path, 32).notes == (
        "5,000 bytes behind the end of this clip were not looked at.",
    )
    path.write_bytes(encoded("mp4", range(10)) + b"\xfe" * 500)
    assert decode(path, 32).notes == ()


@pytest.mark.parametrize("kind", ["mp4", "matroska", "avi"])
def test_a_clip_that_breaks_off_is_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(encoded(kind, [0, 12] * 100, g="1"))
    if kind == "mp4":  # its index comes last, unless one asks for it
        made = {"format": kind, "options": {"movflags": "faststart"}}
        with av.open(path) as source, av.open(tmp_path / "b", "w", **made) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.dts is not None:
                    packet.stream = stream
                    target.mux(packet)
        path = tmp_path / "b"
    content = path.read_bytes()
    assert not any("breaks off" in note for note in decode(path, 8).notes)
    path.write_bytes(content[: len(content) * 6 // 10])
    assert "This file breaks off: about 40% of it is missing." in decode(path, 8).notes
    path.write_bytes(content + b"ABCDEFGH" * 1000)  # no box, though its first bytes may look so
    assert not any("breaks off" in note for note in decode(path, 8).notes)


def test_a_picture_behind_a_clip_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(encoded("mp4", range(10)) + saved("JPEG"))
    assert decode(path, 32).notes == (
        "This file holds 2 recordings one after another: seconds are counted on. "
        "Only 1 of them can be read.",
    )


def saved(kind: str, frames: int = 1) -> bytes:
    file = BytesIO()
    pictures = [Image.new("RGB", (64, 48), (60 * i, 90, 30)) for i in range(frames)]
    more = {"save_all": True, "append_images": pictures[1:]} if frames > 1 else {}
    pictures[0].save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "AVIF", "HEIF"])
def test_another_file_behind_a_picture_is_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    for content, others in {
        saved(kind): 0,
        saved(kind) + saved(kind): 1,
        saved(kind) + encoded("mp4", range(3)): 1,
        saved(kind) + encoded("matroska", range(3)): 1,
        saved(kind) + saved("PNG") + saved("JPEG"): 2,
    }.items():
        path.write_bytes(content)
        notes = {
            0: (),
            1: ("Behind this picture lies another file, which was not looked at.",),
            2: ("Behind this picture lie 2 other files, which were not looked at.",),
        }
        assert decode(path, 4).notes == notes[others]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_another_file_behind_an_animation_is_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(saved(kind, 3))
    assert decode(path, 8).notes == ()
    path.write_bytes(saved(kind, 3) + saved(kind, 3))
    found = decode(path, 8)
    assert (found.kind, len(found.frames)) == ("video", 3)
    assert found.notes == ("Behind this picture lies another file, which was not looked at.",)


def test_bytes_behind_a_picture_are_said(tmp_path: Path) -> None:
    for kind in ("JPEG", "PNG", "GIF", "WEBP"):
        path = tmp_path / kind
        path.write_bytes(saved(kind) + b"\xfe" * 5000)
        assert decode(path, 1).notes == (
            "5,000 bytes behind the end of this picture were not looked at.",
        )
        path.write_bytes(saved(kind) + bytes(9000) + b"a tag")
        assert decode(path, 1).notes == ()


# --------------------------------------------------------------------------------------------------
# files that say themselves where they end


def paged(kind: str, pictures: int = 1) -> bytes:
    """A TIFF or an MPO of some pictures, with a profile and EXIF data, behind each other."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "x" * 9000
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = "y" * 9000
    file = BytesIO()
    first, *more = (Image.new("RGB", (64, 48), (60 * i, 90, 30)) for i in range(pictures))
    first.save(file, kind, save_all=True, append_images=more, exif=exif)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        paged("TIFF"),
        paged("TIFF", 3),
        paged("MPO", 2),
        paged("MPO", 3),
        raw(preview(), ">"),
        raw(preview(), dng=True),
        picture("TIFF", compression="jpeg"),
        picture("TIFF", big_tiff=True),
    ],
)
def test_another_file_behind_what_names_its_end_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a"
    path.write_bytes(content)
    alone = decode(path, 1).notes
    for behind, note in {
        bytes(9000): (),
        b"\xfe" * 5000: ("5,000 bytes behind the end of this picture were not looked at.",),
        saved("JPEG"): ("Behind this picture lies another file, which was not looked at.",),
        encoded("mp4", range(3)) + saved("PNG"): (
            "Behind this picture lie 2 other files, which were not looked at.",
        ),
    }.items():
        path.write_bytes(content + behind)
        assert decode(path, 1).notes == (*alone, *note)


def test_a_file_behind_padding_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(saved("JPEG") + bytes(5000) + encoded("mp4", range(3)))
    assert decode(path, 1).notes == (
        "Behind this picture lies another file, which was not looked at.",
    )
    path.write_bytes(encoded("mp4", range(6)) + bytes(5000) + encoded("mp4", range(6, 12)))
    assert levels(decode(path, 32)) == list(range(12))
    whole = encoded("mp4", range(6))
    index = whole.rindex(b"moov") - 4
    assert len(recordings(path).recordings) == 2
    path.write_bytes(whole[:index] + bytes(5000) + whole[index:])  # its own index, behind a gap
    assert len(recordings(path).recordings) == 1


@pytest.mark.parametrize("kind", ["TIFF", "MPO"])
def test_further_pictures_of_a_file_are_said(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    for count in (1, 2, 3):
        path.write_bytes(paged(kind, count))
        note = f"Only one of the {count} pictures in this file was looked at."
        assert decode(path, 1).notes == ((note,) if count > 1 else ())


def test_copies_and_maps_of_a_photo_are_no_further_pictures(tmp_path: Path) -> None:
    path = tmp_path / "a"
    two = paged("MPO", 2)
    second = two.rindex(b"\xff\xd8\xff")
    size = (len(two) - second).to_bytes(4, "little")
    at = two.index(bytes(4) + size)  # the entry of an undefined picture
    path.write_bytes(two[:at] + (0x010001).to_bytes(4, "little") + two[at + 4 :])  # a thumbnail
    assert decode(path, 1).notes == ()
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a hdrgm:Version="1.0"/></x:xmpmeta>'
    light = picture("JPEG", Image.new("L", (64, 48)), xmp=xmp)
    path.write_bytes(two[:second] + light)
    assert decode(path, 1).notes == ()


def test_a_larger_jpeg_behind_a_raw_photo_is_not_the_cameras(tmp_path: Path) -> None:
    path = tmp_path / "a.nef"
    path.write_bytes(raw(preview(480)) + preview(640))
    found = decode(path, 1)
    assert found.frames[0].rgb.shape == (320, 480, 3)
    assert found.notes[1:] == ("Behind this picture lies another file, which was not looked at.",)


@pytest.mark.parametrize("packet", [192, 204])
def test_a_clip_behind_a_cameras_transport_stream(tmp_path: Path, packet: int) -> None:
    """M2TS has a time stamp before each packet, DVB a checksum behind it."""
    stream = encoded("mpegts", range(6), bf="0")
    packets = [stream[at : at + 188] for at in range(0, len(stream), 188)]
    stamped = (bytes(4) + p if packet == 192 else p + bytes(16) for p in packets)
    path = tmp_path / "a.m2ts"
    path.write_bytes(b"".join(stamped) + encoded("mp4", range(6, 12)))
    found = decode(path, 32)
    assert {0, 1, 2, 3, 4, 6, 8, 10} <= set(levels(found))
    assert found.notes[0].startswith("This file holds 2 recordings one after another")
