"""JPEGs without their end marker: taken where nothing but the marker is missing.

libjpeg fills what is missing with grey and says nothing, so completeness has to be shown: a
complete picture is the same whatever follows it, and another one without its last bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from detector.decoding.common import DAMAGE

END = b"\xff\xd9"
# data of no picture: changes every block that is decoded from it. Without 0xff, so no marker
NOISE = bytes(Random(0).choices(range(255), k=4096))
LAST_BYTES = 32
_END = 0xD9
_START_OF_SCAN = 0xDA
_PROGRESSIVE = 0xC2
_FRAMES = (0xC0, 0xC1, 0xC2)  # baseline, extended, progressive
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # none of these is within a scan's data


def lacks_end(path: Path) -> bool:
    """Whether a JPEG breaks off before its end marker."""
    return end_of_jpeg(path.read_bytes()) is None


def end_of_jpeg(content: bytes) -> int | None:
    """How many bytes of the content are a JPEG; None where it breaks off before its end marker."""
    return next((at for kind, _, at in _segments(content) if kind == _END), None)


def completed(path: Path) -> Image.Image | None:
    """The loaded picture of a JPEG that lacks its end marker alone; None for any other."""
    content = path.read_bytes().rstrip(b"\0")  # an aborted download is filled up with zeros
    try:
        if not _scans_are_complete(content):
            return None
        whole = _decoded(content)
        if not np.array_equal(whole, _decoded(content + NOISE)):
            return None  # blocks are missing
        if np.array_equal(whole, _decoded(content[:-LAST_BYTES] + NOISE)):
            return None  # its data ended before: what follows is none of the picture's
        image = _opened(content)
        image.load()
        return image
    except DAMAGE:
        return None


def _opened(content: bytes) -> Image.Image:
    return Image.open(BytesIO(content + END), formats=("JPEG",))


def _decoded(content: bytes) -> np.ndarray:
    with _opened(content) as image:
        return np.asarray(image)


def _scans_are_complete(content: bytes) -> bool:
    """Whether the content ends within a scan and, of a progressive JPEG, whether every coefficient
    of every component came down to its last bit.
    """
    components: list[int] = []
    progressive = False
    kind = 0
    lowest: dict[tuple[int, int], int] = {}  # (component, coefficient) -> bits still missing
    for kind, body, _ in _segments(content):
        if kind in _FRAMES:
            components = list(body[6 : 6 + 3 * body[5] : 3])
            progressive = kind == _PROGRESSIVE
        elif kind == _START_OF_SCAN:
            count = body[0]
            first = body[1 + 2 * count]
            last = body[2 + 2 * count]
            bits = body[3 + 2 * count] & 15
            for component in body[1 : 1 + 2 * count : 2]:
                lowest |= {(component, k): bits for k in range(first, last + 1)}
    if kind != _START_OF_SCAN or not progressive:
        return kind == _START_OF_SCAN
    return all(lowest.get((c, k)) == 0 for c in components for k in range(64))


def _segments(content: bytes) -> Iterator[tuple[int, bytes, int]]:
    """Yield (marker, body, where the marker ends) up to the end marker or to where the content
    breaks off.
    """
    at = 2
    while (found := _MARKER.search(content, at)) is not None:
        at = found.end()
        kind = content[at - 1]
        length = int.from_bytes(content[at : at + 2], "big")
        yield kind, content[at + 2 : at + length], at
        if kind == _END:
            return
        at += length
