"""Recordings joined byte by byte: where each begins in a file whose container ends by itself.

A demuxer stops at the end of the first, or reads the next with the first one's tables. Joined
transport streams, program streams, Matroska, AVI and raw streams are read through by libav, and
timeline.py lays their times behind each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

MAX_RECORDINGS = 64  # of a file: a camera's day; the last one then holds the rest
# parts of a container that are passed: frames of sound and pictures, for half an hour
MAX_PARTS = 1_000_000

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_KLV = bytes.fromhex("060e2b34")
# SMPTE 377-1: a header partition; the byte after its version says how it was left
_MXF = bytes.fromhex("060e2b34020501010d01020101")
_HEADER_PARTITION = 2

# At a part -> whether a recording begins with it, and the part's size; None at the end
Step = Callable[[BinaryIO], tuple[bool, int] | None]


@dataclass(frozen=True)
class Recording:
    """One recording of a file: a range of its bytes."""

    path: Path
    start: int = 0
    size: int | None = None  # None: it is the whole file


def recordings(path: Path) -> list[Recording]:
    """The recordings that a clip's file holds one after another, at least one. Raises OSError."""
    end = path.stat().st_size
    with path.open("rb") as file:
        step = _step_of(file.read(16))
        starts = [0] if step is None else list(_starts(file, step))
    if len(starts) == 1:
        return [Recording(path)]
    bounds = [*starts[:MAX_RECORDINGS], end]
    return [Recording(path, start, after - start) for start, after in pairwise(bounds)]


def _step_of(head: bytes) -> Step | None:
    """How to walk through a kind of container; None for one that is read through."""
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return _box
    known = {b"FLV": _flv, _ASF: _asf, b"DKIF": _ivf, _MXF: _mxf, b"OggS": _ogg}
    return next((step for magic, step in known.items() if head.startswith(magic)), None)


def _starts(file: BinaryIO, step: Step) -> Iterator[int]:
    """Yield where recordings begin, the first at 0."""
    at = 0
    began = False
    for _ in range(MAX_PARTS):
        file.seek(at)
        begins, size = step(file) or (False, 0)
        if at == 0 or (begins and not began):
            yield at
        began = begins
        if size <= 0:
            return
        at += size


def _box(file: BinaryIO) -> tuple[bool, int] | None:
    """MP4 and MOV (ISO/IEC 14496-12): boxes; each recording begins with a file type."""
    head = file.read(16)
    if len(head) < 8:
        return None
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        size = int.from_bytes(head[8:16], "big")
    return head[4:8] == b"ftyp", size


def _flv(file: BinaryIO) -> tuple[bool, int] | None:
    """FLV: tags, each with its own size behind it."""
    head = file.read(11)
    if head[:4] == b"FLV\x01":
        return True, int.from_bytes(head[5:9], "big") + 4
    if len(head) < 11:
        return None
    return False, 11 + int.from_bytes(head[1:4], "big") + 4


def _asf(file: BinaryIO) -> tuple[bool, int] | None:
    """ASF, which WMV is: objects, the first of which is the header."""
    head = file.read(24)
    if len(head) < 24:
        return None
    return head.startswith(_ASF), int.from_bytes(head[16:], "little")


def _ivf(file: BinaryIO) -> tuple[bool, int] | None:
    """IVF: a header of a stated length, then frames."""
    head = file.read(12)
    if head[:4] == b"DKIF":
        return True, int.from_bytes(head[6:8], "little")
    return None if len(head) < 12 else (False, 12 + int.from_bytes(head[:4], "little"))


def _ogg(file: BinaryIO) -> tuple[bool, int] | None:
    """Ogg (RFC 3533): pages; a recording begins with the first page of each of its streams."""
    head = file.read(27)
    if len(head) < 27 or head[:4] != b"OggS":
        return None
    return bool(head[5] & 2), 27 + head[26] + sum(file.read(head[26]))


def _mxf(file: BinaryIO) -> tuple[bool, int] | None:
    """MXF: a key, a length, a value (SMPTE 336); each recording begins with a header partition."""
    head = file.read(25)
    if len(head) < 17 or not head.startswith(_KLV):
        return None
    begins = head.startswith(_MXF) and head[13] == _HEADER_PARTITION
    length = head[16]
    more = length - 0x80 if length > 0x80 else 0
    size = int.from_bytes(head[17 : 17 + more], "big") if more else length
    return begins, 17 + more + size
