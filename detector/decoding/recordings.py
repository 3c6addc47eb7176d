"""Files joined byte by byte: where each begins, in a file whose first part ends by itself.

A demuxer stops at the end of the first, or reads the next with the first one's tables; a picture's
decoder ends with the picture. Of one kind, joined transport streams, program streams, Matroska, AVI
and raw streams are read through by libav, and timeline.py lays their times behind each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from detector.decoding.unended import end_of_jpeg

MAX_RECORDINGS = 64  # of a file: a camera's day; the last one then holds the rest
# parts of a container that are passed: frames of sound and pictures, for half an hour
MAX_PARTS = 1_000_000
MAX_JPEG_BYTES = 1 << 28  # more than 80 million pixels take
# behind the end of a file, fewer bytes than this hold tags and padding, and no picture of a face
MIN_BEHIND = 4096

_ASF = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_KLV = bytes.fromhex("060e2b34")
# SMPTE 377-1: a header partition; the byte after its version says how it was left
_MXF = bytes.fromhex("060e2b34020501010d01020101")
_HEADER_PARTITION = 2
_EBML = bytes.fromhex("1a45dfa3")
_PNG = b"\x89PNG\r\n\x1a\n"
_ELEMENTS = (  # of Matroska, at the top, in a segment, in a cluster; and what pads them
    *(_EBML, b"\x18\x53\x80\x67"),
    *(b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1f\x43\xb6\x75"),
    *(b"\x1c\x53\xbb\x6b", b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67"),
    *(b"\xe7", b"\xa3", b"\xa0", b"\xab", b"\xa7", b"\xec", b"\xbf"),
)
_PS_PACK = 0xBA
_PS_END = 0xB9
_LONGEST_PACKET = 204  # bytes of a transport stream's
_SURE = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75", b"RIFF")  # a segment, a cluster, an AVI
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")

# At a part -> whether a file begins with it, and the part's size, 0 where it is not known; None
# for what is no part of this kind
Step = Callable[[BinaryIO], tuple[bool, int] | None]


@dataclass(frozen=True)
class Container:
    """How to walk through files of a kind."""

    step: Step
    splits: bool = True  # one that follows another of its kind is read by itself
    ends: bool = False  # what follows its last part is nothing that libav would find
    clips: bool = True  # it holds clips, or else one picture or animation


@dataclass(frozen=True)
class Recording:
    """One recording of a file: a range of its bytes."""

    path: Path
    start: int = 0
    size: int | None = None  # None: it is the whole file


@dataclass(frozen=True)
class Joined:
    """What a file holds one after another."""

    recordings: tuple[Recording, ...]  # at least one
    behind: int = 0  # bytes after the end of the last that are none, from MIN_BEHIND on
    missing: float = 0.0  # share of the bytes that should be there, where the file breaks off


def recordings(path: Path, first_end: int | None = None) -> Joined:
    """What a file of pictures or clips holds one after another. Raises OSError.

    first_end: where the first of them ends, if that is known.
    """
    end = path.stat().st_size
    with path.open("rb") as file:
        starts, last = _starts(file, end, first_end)
        behind = 0 if last is None or last > end else _content(file, last)
    lacking = 0 if last is None else last - end
    missing = lacking / (end + lacking) if lacking >= MIN_BEHIND else 0.0
    if len(starts) == 1:
        return Joined((Recording(path),), behind, missing)
    bounds = [*starts[:MAX_RECORDINGS], end]
    parts = (Recording(path, start, after - start) for start, after in pairwise(bounds))
    return Joined(tuple(parts), behind, missing)


def begins_as_clip(path: Path) -> bool:
    """Whether a file begins as clips of a known kind do. Raises OSError."""
    with path.open("rb") as file:
        container = _container_at(file, 0)
    return container is not None and container.clips


def behind_note(joined: Joined, kind: str) -> list[str]:
    """That a picture's or a clip's file goes on behind it; nothing where it does not."""
    if not joined.behind:
        return []
    return [f"{joined.behind:,} bytes behind the end of this {kind} were not looked at."]


def missing_note(joined: Joined) -> list[str]:
    """That a clip's file breaks off; nothing where it does not."""
    if not joined.missing:
        return []
    return [f"This file breaks off: about {max(0.01, joined.missing):.0%} of it is missing."]


def _starts(
    file: BinaryIO, size: int, first_end: int | None = None
) -> tuple[list[int], int | None]:
    """Where files begin, the first at 0, and where the last one ends, by its own account, which may
    be beyond the end; None where it may reach to the end.
    """
    starts = [0]
    container = _container_at(file, 0) if first_end is None else _ENDED
    at, began = first_end or 0, True
    for _ in range(MAX_PARTS):
        if container is None or at >= size or len(starts) > MAX_RECORDINGS:
            return starts, None
        file.seek(at)
        part = container.step(file)
        if part is None or at + part[1] > size:
            after, other = _behind_padding(file, at)
            padded = after > at and container.splits
            if other is None or (other is container and not padded):
                if part is not None and _is_sure(file, at):
                    return starts, at + part[1]
                return starts, at if container.ends and part is None else None
            at, container, began = after, other, True
            starts.append(at)
            continue
        begins, length = part
        if begins and not began and container.splits:
            starts.append(at)
        began = begins and not container.ends  # an Ogg begins with several pages
        if length <= 0:
            return starts, None
        at += length
    return starts, None


def _is_sure(file: BinaryIO, at: int) -> bool:
    """Whether what begins there is surely a part, whose size counts, and no other bytes behind the
    end that look like one.
    """
    file.seek(at)
    head = file.read(8)
    return head[4:] in (*_BOXES, b"moof") or head[:4] in _SURE


def _behind_padding(file: BinaryIO, at: int) -> tuple[int, Container | None]:
    """Where the next file begins, there or behind zeros, and its kind; None where there is none."""
    first = at
    file.seek(at)
    while (block := file.read(1 << 20)) and not block.strip(b"\0"):
        first += len(block)
    first += len(block) - len(block.lstrip(b"\0"))
    if (found := _container_at(file, at)) is not None:
        return at, found
    for begin in range(max(at, first - 3), first + 1):  # some begin with zeros of their own
        found = _container_at(file, begin)
        if found is not None and (found is not _ISO or _is_type(file, begin)):
            return begin, found
    return at, None


def _is_type(file: BinaryIO, at: int) -> bool:
    """Whether the box there is the first of an MP4 and its like, and no later one."""
    file.seek(at)
    return file.read(8)[4:] == b"ftyp"


def _container_at(file: BinaryIO, at: int) -> Container | None:
    """The kind of file that begins there; None for one that is read through, or none."""
    file.seek(at)
    head = file.read(5 * _LONGEST_PACKET)
    if head[4:8] in _BOXES:
        return _ISO
    for (size, mark), container in _TRANSPORT.items():
        if head[mark : 5 * size : size] == b"G" * 5:
            return container
    if head[:4] == b"RIFF":
        return {b"WEBP": _WEBP, b"AVI ": _AVI}.get(head[8:12])
    return next((kind for magic, kind in _KINDS.items() if head.startswith(magic)), None)


def _content(file: BinaryIO, at: int) -> int:
    """How many bytes follow that are no padding; 0 for fewer than MIN_BEHIND."""
    file.seek(at)
    count = 0
    while block := file.read(1 << 20):
        count += len(block) - block.count(0)
    return count if count >= MIN_BEHIND else 0


def _box(file: BinaryIO) -> tuple[bool, int] | None:
    """MP4, MOV, HEIC and AVIF (ISO/IEC 14496-12): boxes; each file begins with its type."""
    head = file.read(16)
    if len(head) < 8 or not head[4:8].replace(b"\xa9", b"").isalnum():
        return None
    size = int.from_bytes(head[:4], "big")
    if size == 1:
        size = int.from_bytes(head[8:16], "big")
    return (head[4:8] == b"ftyp", size) if size == 0 or size >= 8 else None


def _flv(file: BinaryIO) -> tuple[bool, int] | None:
    """FLV: tags, each with its own size behind it."""
    head = file.read(11)
    if head[:4] == b"FLV\x01":
        return True, int.from_bytes(head[5:9], "big") + 4
    if len(head) < 11 or head[0] & 31 not in (8, 9, 18):  # sound, pictures, a script
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


def _ebml(file: BinaryIO) -> tuple[bool, int] | None:
    """Matroska and WebM (RFC 8794, RFC 9559): elements; one steps into those of unknown size, which
    live streams have.
    """
    head = file.read(12)
    identifier = next((known for known in _ELEMENTS if head.startswith(known)), b"")
    at = len(identifier)
    width = 9 - head[at].bit_length() if identifier and len(head) > at else 9
    if width > 8 or len(head) < at + width:
        return None
    most = (1 << 7 * width) - 1
    size = int.from_bytes(head[at : at + width], "big") & most
    return identifier == _EBML, at + width + (0 if size == most else size)


def _avi(file: BinaryIO) -> tuple[bool, int] | None:
    """AVI: chunks of even size."""
    head = file.read(12)
    if len(head) < 12 or (head[:4] != b"JUNK" and head[8:] not in (b"AVI ", b"AVIX")):
        return None
    size = int.from_bytes(head[4:8], "little")
    return head[8:] == b"AVI ", 8 + size + size % 2


def _packets(size: int, mark: int) -> Step:
    """A transport stream of packets of a size, each with a mark at a place: as many packets as
    follow each other, a thousand at most.
    """

    def step(file: BinaryIO) -> tuple[bool, int] | None:
        marks = file.read(1000 * size)[mark::size]
        count = len(marks) - len(marks.lstrip(b"G"))
        return (False, count * size) if count else None

    return step


def _ps(file: BinaryIO) -> tuple[bool, int] | None:
    """A program stream (ISO/IEC 13818-1, and 11172-1 before it): packs of packets."""
    head = file.read(14)
    if len(head) < 4 or head[:3] != b"\0\0\1" or head[3] < _PS_END:
        return None
    if head[3] == _PS_END:
        return False, 4
    if head[3] == _PS_PACK:
        return True, 14 + (head[-1] & 7) if head[4:5] >= b"\x40" else 12
    return False, 6 + int.from_bytes(head[4:6], "big")


def _webp(file: BinaryIO) -> tuple[bool, int] | None:
    """WebP, whole."""
    head = file.read(12)
    if head[:4] != b"RIFF" or head[8:] != b"WEBP":
        return None
    size = int.from_bytes(head[4:8], "little")
    return True, 8 + size + size % 2


def _png(file: BinaryIO) -> tuple[bool, int] | None:
    """PNG, whole: its signature, then chunks up to IEND."""
    start = file.tell()
    if file.read(8) != _PNG:
        return None
    for _ in range(MAX_PARTS):
        head = file.read(8)
        if len(head) < 8:
            break
        file.seek(int.from_bytes(head[:4], "big") + 4, 1)
        if head[4:] == b"IEND":
            return True, file.tell() - start
    return True, 0


def _gif(file: BinaryIO) -> tuple[bool, int] | None:
    """GIF: a header with its colours, then images and extensions up to the trailer."""
    start = file.tell()
    kind = file.read(1)
    if kind == b"G":
        head = file.read(12)
        colours = 3 * (2 << (head[9] & 7)) if len(head) == 12 and head[9] & 128 else 0
        return (True, 13 + colours) if head[:3] == b"IF8" else None
    if kind == b";":
        return False, 1
    if kind == b",":
        head = file.read(9)
        colours = 3 * (2 << (head[8] & 7)) if len(head) == 9 and head[8] & 128 else 0
        file.seek(colours, 1)
    elif kind != b"!":
        return None
    file.seek(1, 1)  # the label, or the size of a code
    while (size := file.read(1)) > b"\0":
        file.seek(size[0], 1)
    return False, file.tell() - start


def _jpeg(file: BinaryIO) -> tuple[bool, int] | None:
    """JPEG, whole; one that lacks its end marker reaches to the end."""
    content = file.read(MAX_JPEG_BYTES)
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    return True, end_of_jpeg(content) or 0


def _bmp(file: BinaryIO) -> tuple[bool, int] | None:
    """BMP, whole, by the size in its header, which some leave at 0."""
    head = file.read(6)
    return (True, int.from_bytes(head[2:], "little")) if head[:2] == b"BM" else None


_ISO = Container(_box, ends=True)
_ENDED = Container(lambda file: None, ends=True)  # what has ended before
_TRANSPORT = {  # (bytes of a packet, place of its mark): as it is, M2TS's time stamps, DVB's sums
    (size, mark): Container(_packets(size, mark), splits=False)
    for size, mark in ((188, 0), (192, 4), (_LONGEST_PACKET, 0))
}
_AVI = Container(_avi, splits=False)
_WEBP = Container(_webp, ends=True, clips=False)
_KINDS = {
    b"FLV\x01": Container(_flv),
    _ASF: Container(_asf),
    b"DKIF": Container(_ivf),
    _MXF: Container(_mxf),
    b"OggS": Container(_ogg),
    _EBML: Container(_ebml, splits=False),
    b"\0\0\1\xba": Container(_ps, splits=False),
    _PNG: Container(_png, ends=True, clips=False),
    b"GIF8": Container(_gif, ends=True, clips=False),
    b"\xff\xd8\xff": Container(_jpeg, ends=True, clips=False),
    b"BM": Container(_bmp, ends=True, clips=False),
}
