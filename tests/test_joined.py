"""Files of any kinds joined byte by byte: read on, or what lies behind the first is said."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from test_tracks import encoded, levels

from detector.decoding import decode


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
