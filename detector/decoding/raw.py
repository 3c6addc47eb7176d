"""Raw photos: not developed here. The camera's own JPEG inside is taken, never its thumbnail."""

from __future__ import annotations

import mmap
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from PIL import ContainerIO, ExifTags, Image, TiffImagePlugin

from detector.decoding.common import DAMAGE, check_size
from detector.decoding.extents import extent_of_tiff

# Fujifilm, Olympus (three), Panasonic, Sigma, Minolta; Canon's CR3 is told by its brand
_MAGICS = (b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"FOVb", b"\0MRM")
_TIFF = (b"II*\0", b"MM\0*")  # of most raw photos: NEF, DNG, CR2, ARW, PEF
_JPEG_START = re.compile(rb"\xff\xd8\xff")
# candidates: a raw photo holds a handful of JPEGs, and chance makes one more in 16 MB
MAX_JPEGS = 200
# a preview is a photo from there on; thumbnails have 160 px
MIN_SIDE_PX = 320
# of the raw data's longer side: below that detail is lost that a face is judged by
MIN_SHARE = 0.25
_SUBFILE = 254
_PHOTOMETRIC = 262
_SUB_IFDS = 330
_DNG_VERSION = 50706
_SENSOR = (32803, 34892)  # photometric: colour filter array, linear raw
_REDUCED = 1  # of the subfile type: a smaller copy of another picture of the file

Directory = TiffImagePlugin.ImageFileDirectory_v2


def is_raw(path: Path) -> bool:
    """Whether a file is a raw photo, by its content."""
    with path.open("rb") as file:
        head = file.read(16)
        if head.startswith(_MAGICS) or head[4:12] == b"ftypcrx ":
            return True
        if not head.startswith(_TIFF):
            return False
        first, *others = _directories(file, head) or [Directory()]
        return (
            head[8:10] == b"CR"
            or _DNG_VERSION in first
            or any(found.get(_PHOTOMETRIC) in _SENSOR for found in (first, *others))
            or bool(others and _number(first, _SUBFILE) & _REDUCED)
        )


def raw_end(path: Path) -> int | None:
    """Where a raw photo ends; None where that is not known. Raises OSError."""
    with path.open("rb") as file:
        is_tiff = file.read(4) in _TIFF
    return extent_of_tiff(path).end if is_tiff else None


def camera_jpeg(path: Path, end: int | None = None) -> Image.Image | None:
    """The largest JPEG inside a raw photo, loaded, with the raw photo's orientation; None where
    there are only thumbnails.

    end: of the raw photo; what begins there is not inside. Raises MediaError for one that is too
    large.
    """
    with path.open("rb") as file:
        directories = _directories(file, file.read(16))
        least = max([MIN_SIDE_PX, *(MIN_SHARE * _side(found) for found in directories)])
        sized = []
        for start in _jpeg_starts(file, end):
            if (image := _opened(file, start)) is not None and max(image.size) >= least:
                sized.append((image.width * image.height, -start))
        for _, start in sorted(sized, reverse=True):
            image = _opened(file, -start)
            if image is not None and _loaded(path.name, image):
                turn = _number(directories[0], ExifTags.Base.Orientation) if directories else 0
                if turn and ExifTags.Base.Orientation not in image.getexif():
                    image.getexif()[ExifTags.Base.Orientation] = turn
                return image
    return None


def _directories(file: IO[bytes], head: bytes) -> list[Directory]:
    """A TIFF file's first directory and those below it; as far as they can be read."""
    found: list[Directory] = []
    if not head.startswith(_TIFF):
        return found
    try:
        offsets: list[Any] = [Directory(head[:8]).next]
        while offsets and len(found) < 16:
            directory = Directory(head[:8])
            file.seek(int(offsets.pop(0)))
            directory.load(file)
            found.append(directory)
            below = directory.get(_SUB_IFDS, ()) if len(found) == 1 else ()
            offsets += below if isinstance(below, tuple) else (below,)
    except DAMAGE:
        pass
    return found


def _jpeg_starts(file: IO[bytes], end: int | None) -> Iterator[int]:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        before = len(content) if end is None else end
        for count, match in enumerate(_JPEG_START.finditer(content, 0, before)):
            if count == MAX_JPEGS:
                return
            yield match.start()


def _opened(file: IO[bytes], start: int) -> Image.Image | None:
    """The JPEG that starts there, if it is a picture for people: lossless ones hold sensor data."""
    file.seek(0, 2)
    part = ContainerIO.ContainerIO(file, start, file.tell() - start)
    try:
        image = Image.open(part, formats=("JPEG",))  # type: ignore[arg-type]
    except DAMAGE:
        return None
    return image if image.mode == "RGB" and getattr(image, "bits", 0) == 8 else None


def _loaded(name: str, image: Image.Image) -> bool:
    check_size(name, *image.size)
    try:
        image.load()
    except DAMAGE:
        return False
    return True


def _side(directory: Directory) -> int:
    return max(_number(directory, 256), _number(directory, 257))


def _number(directory: Directory, tag: int) -> int:
    """A tag's number; 0 where it is none."""
    value = directory.get(tag, 0)
    return value if isinstance(value, int) else 0
