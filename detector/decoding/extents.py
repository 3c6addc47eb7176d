"""Where a TIFF, a raw photo and an MPO end, and how many pictures they hold.

They say so themselves, in tables that point to places anywhere in the file.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from detector.decoding.common import DAMAGE
from detector.decoding.unended import end_of_jpeg

MAX_DIRECTORIES = 1000  # of a TIFF, pages and what lies below them
MAX_VALUES = 1_000_000  # of a tag: the strips of a large picture
# TIFF 6.0 and BigTIFF: bytes of a value by its type
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_BYTES |= {16: 8, 17: 8, 18: 8}
_NUMBERS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_WIDTH = 256
_ENTRIES = 0xB002  # of an MPO's index
_BELOW = (330, 34665, 34853, 40965)  # pages, EXIF, GPS, interoperability
_DATA = {273: 279, 324: 325, 513: 514}  # places of strips, tiles, a JPEG: their sizes
_READ = {*_BELOW, *_DATA, *_DATA.values()}
# in the head of a picture of an MPO that is a map of its photo's light or depth
_MAPS = (b"hdrgm", b"21496", b"AuxiliaryImageType", b"DepthMap")


@dataclass(frozen=True)
class Extent:
    """What a file says of itself."""

    end: int | None  # the byte behind the last one that it names; None where that is not known
    pictures: int  # at least 1; without an MPO's thumbnails and maps of its photo


@dataclass(frozen=True)
class _Entry:
    """One tag of a directory."""

    tag: int
    values: tuple[int, ...]  # as far as they are whole numbers
    end: int  # of the values, where they lie elsewhere; else 0


def extent_of_tiff(path: Path) -> Extent:
    """The extent of a TIFF, also of a raw photo that is one. Raises OSError."""
    ends: list[int | None] = [8]
    pictures = 0
    with path.open("rb") as file:
        try:
            for entries, end in _directories(file):
                pictures += any(entry.tag == _WIDTH for entry in entries)
                ends += [end, *(entry.end for entry in entries), *_ends_of_data(entries)]
        except DAMAGE:
            ends.append(None)
    known = [end for end in ends if end is not None and end <= path.stat().st_size]
    return Extent(max(known) if len(known) == len(ends) else None, max(1, pictures))


def extent_of_mpo(path: Path) -> Extent:
    """The extent of an MPO: a photo, what belongs to it, and further photos such as those of a
    second lens. Raises OSError.
    """
    last = 0
    pictures = 1
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            index = getattr(image, "mpinfo", {})[_ENTRIES]
            for number, entry in enumerate(index[1:], 1):
                image.seek(number)
                last = max(last, int(getattr(image, "offset", 0)))
                is_copy = "Thumbnail" in entry["Attribute"]["MPType"]
                pictures += not is_copy and not _is_map(image)
    except DAMAGE:
        return Extent(path.stat().st_size, pictures)
    content = path.read_bytes()[last:]
    return Extent(last + (end_of_jpeg(content) or len(content)), pictures)


def _is_map(image: Image.Image) -> bool:
    """Whether a JPEG of an MPO says that it is a map of its photo's light or depth."""
    return any(word in part for _, part in getattr(image, "applist", []) for word in _MAPS)


def _ends_of_data(entries: Sequence[_Entry]) -> Iterator[int | None]:
    """Yield where each strip, tile or JPEG of a directory ends; None where that is not known."""
    tags = {entry.tag: entry.values for entry in entries}
    for place, count in _DATA.items():
        sizes = tags.get(count, ())
        if len(tags.get(place, ())) != len(sizes):
            yield None
        yield from (offset + size for offset, size in zip(tags.get(place, ()), sizes, strict=False))


def _directories(file: BinaryIO) -> Iterator[tuple[list[_Entry], int]]:
    """Yield a TIFF's directories: their entries, and where each ends. Raises one of DAMAGE where
    they are damaged.
    """
    head = file.read(16)
    order = "<" if head[:1] == b"I" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    offsets = [*struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)]
    seen: set[int] = set()
    while offsets and len(seen) < MAX_DIRECTORIES:
        if (at := offsets.pop()) in seen or at == 0:
            continue
        seen.add(at)
        entries, after = _entries(file, at, order, big)
        yield entries, file.tell()
        offsets.append(after)
        offsets += [value for e in entries if e.tag in _BELOW for value in e.values]
    if offsets:
        raise ValueError(f"expected at most {MAX_DIRECTORIES} directories")


def _entries(file: BinaryIO, at: int, order: str, big: bool) -> tuple[list[_Entry], int]:
    """The entries of the directory at an offset, and the offset of the one that follows; the file
    then stands at its end.
    """
    counter, row, word = ("Q", "HHQ8s", "Q") if big else ("H", "HHI4s", "I")
    file.seek(at)
    (count,) = _read(file, order + counter)
    if count > MAX_VALUES:
        raise ValueError(f"expected at most {MAX_VALUES} tags, but got {count}")
    rows = [_read(file, order + row) for _ in range(count)]
    (after,) = _read(file, order + word)
    end = file.tell()
    entries = [_entry(file, order, word, *found) for found in rows]
    file.seek(end)
    return entries, after


def _entry(
    file: BinaryIO, order: str, word: str, tag: int, kind: int, count: int, field: bytes
) -> _Entry:
    length = _BYTES.get(kind, 1) * count
    end = 0
    content = field
    wanted = tag in _READ and kind in _NUMBERS and count <= MAX_VALUES
    if length > len(field):
        (at,) = struct.unpack(order + word, field)
        end = at + length
        if wanted:
            file.seek(at)
            content = file.read(length)
    if not wanted:
        return _Entry(tag, (), end)
    return _Entry(tag, struct.unpack_from(f"{order}{count}{_NUMBERS[kind]}", content), end)


def _read(file: BinaryIO, layout: str) -> tuple:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
