"""Pictures and animations: any format that Pillow reads and that is only data."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from pillow_heif import register_heif_opener

from detector.decoding.colour import is_hdr, to_srgb
from detector.decoding.common import (
    DAMAGE,
    HDR,
    MAX_PIXELS,
    MAX_VIDEO_SIDE_PX,
    Decoded,
    check_seconds,
    check_size,
    middles,
    sampled_note,
    shown_tags,
)
from detector.decoding.extents import Extent, extent_of_mpo, extent_of_tiff
from detector.decoding.raw import camera_jpeg, is_raw, raw_end
from detector.decoding.recordings import behind_note, recordings
from detector.decoding.unended import completed, lacks_end
from detector.errors import MediaError
from detector.types import Frame

# of a deep grey picture scaled at a time: as a whole, 80 million pixels would take 2.5 GB
BAND_ROWS = 256
MAX_PAGES = 64  # of a TIFF that are asked whether they are the photo
CAMERA_JPEG = "This is a raw photo: the JPEG inside it was looked at, not the raw data."
FALLBACK = "The still picture that programs without animation show was not looked at."
_SUBFILE = 254  # the TIFF tag whose lowest bit marks a smaller copy
_MOTION = (b"MotionPhoto", b"MicroVideo")  # in the XMP of photos with a clip

Image.init()
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
_IMAGE_FORMATS = tuple(  # never EPS and the like, which run code; older builds of Pillow lack AVIF
    name
    for name in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "HEIF")
    if name in Image.OPEN
)
JPEGS = ("JPEG", "MPO")
_HEIC_BRANDS = (b"hei", b"hev", b"mif", b"msf")
_SEQUENCE_BRANDS = (b"hevc", b"hevx", b"msf1")
# a TIFF's or MPO's further pages are no animation
_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
# where an AVIF and a PNG name primaries and transfer: what stands before them, and their layout
_COLOURS = {"AVIF": (b"colrnclx", ">HH"), "PNG": (b"cICP", "BB")}
COLOURS_WITHIN = 1 << 16  # bytes of such a file: they come before the picture's data
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Colours:
    """What a picture says of its colours, in numbers of ITU-T H.273."""

    primaries: int = 1  # BT.709
    transfer: int = 13  # sRGB

    @property
    def hdr(self) -> bool:
        return is_hdr(self.transfer)


SDR = Colours()


def decode_picture(path: Path, n_frames: int) -> Decoded | None:
    """Return the picture or animation, or None if the bytes are no picture.

    Raises MediaError for a damaged one, or one beyond a limit.
    """
    if is_raw(path):
        return _decode_raw(path)
    image: Image.Image
    try:
        image = Image.open(path, formats=_IMAGE_FORMATS)
    except UnidentifiedImageError as err:
        if _is_heic(path):  # libav would decode a tile of it
            raise _damaged(path.name) from err
        return None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise MediaError(
            f"{path.name} has too many pixels; at most {MAX_PIXELS // 10**6} million are read."
        ) from err
    except DAMAGE as err:
        raise _damaged(path.name) from err
    with image:
        check_size(path.name, *image.size)
        colours = _colours(path, image)
        if _is_animation(image):
            return _open_animation(path, image, n_frames, colours)
        notes = _notes(path, image)
        try:
            _go_to_photo(image)
            check_size(path.name, *image.size)
            if image.format in JPEGS and lacks_end(path):
                image = _ended(path)
            image.load()
        except DAMAGE as err:
            raise _damaged(path.name) from err
        if image.format == "HEIF":
            _turn_heic(path, image)
        return _still(image, notes, colours)


def _ended(path: Path) -> Image.Image:
    """A JPEG without its end marker. Raises MediaError where it lacks more than that."""
    image = completed(path)
    if image is None:
        raise _damaged(path.name)
    return image


def _turn_heic(path: Path, image: Image.Image) -> None:
    """Put the EXIF orientation back where the file does not turn the picture by itself."""
    content = path.read_bytes()
    turn = image.info.get("original_orientation")
    if turn and b"irot" not in content and b"imir" not in content:
        image.getexif()[ExifTags.Base.Orientation] = turn


def _decode_raw(path: Path) -> Decoded:
    end = raw_end(path)
    image = camera_jpeg(path, end)
    if image is None:
        raise MediaError(
            f"{path.name} is a raw photo without a picture of full size in it: export it as JPEG."
        )
    return _still(image, [CAMERA_JPEG, *_behind(path, end)])


def _still(image: Image.Image, notes: list[str], colours: Colours = SDR) -> Decoded:
    frame = Frame(0, 0.0, _upright_rgb(image, colours))
    told = (*[HDR] * colours.hdr, *notes)
    return Decoded("image", 0.0, (frame,), _image_tags(image), told, colours.hdr)


def _damaged(name: str) -> MediaError:
    return MediaError(f"{name} is a damaged or incomplete picture.")


def _is_heic(path: Path) -> bool:
    """Whether a file is HEIC by its name, and no sequence, which libav reads as a clip."""
    with path.open("rb") as file:
        head = file.read(12)
    is_heic = head[4:8] == b"ftyp" and head[8:].startswith(_HEIC_BRANDS)
    return is_heic and not (head[8:] in _SEQUENCE_BRANDS and b"moov" in path.read_bytes())


def _go_to_photo(image: Image.Image) -> None:
    """Of a TIFF whose first page is a smaller copy, go to the first that is none."""
    if image.format != "TIFF":
        return
    for page in range(min(MAX_PAGES, getattr(image, "n_frames", 1))):
        image.seek(page)
        if not int(getattr(image, "tag_v2", {}).get(_SUBFILE, 0)) & 1:
            return
    image.seek(0)


def _notes(path: Path, image: Image.Image) -> list[str]:
    """What of a photo's file is not looked at."""
    notes = []
    extent = _extent(path, image)
    if extent.pictures > 1:
        notes.append(f"Only one of the {extent.pictures} pictures in this file was looked at.")
    about = image.info.get("xmp", b"")
    if isinstance(about, bytes) and any(word in about for word in _MOTION):
        return [*notes, "The short clip inside this photo was not looked at."]
    return [*notes, *_behind(path, extent.end)]


def _extent(path: Path, image: Image.Image) -> Extent:
    """How many pictures a photo's file holds, and where it ends, if it says so itself."""
    if image.format == "TIFF":
        return extent_of_tiff(path)
    if image.format == "MPO":
        return extent_of_mpo(path)
    return Extent(None, getattr(image, "n_frames", 1) if image.format == "HEIF" else 1)


def _behind(path: Path, end: int | None = None) -> list[str]:
    """What else a file holds behind its picture or animation, which may be known to end there."""
    joined = recordings(path, end)
    others = len(joined.recordings) - 1
    if not others:
        return behind_note(joined, "picture")
    if others == 1:
        return ["Behind this picture lies another file, which was not looked at."]
    return [f"Behind this picture lie {others} other files, which were not looked at."]


def is_animated_picture(path: Path) -> bool:
    """Whether a file is an animated GIF, WebP, APNG or AVIF, which browsers show as a picture."""
    try:
        with Image.open(path, formats=_IMAGE_FORMATS) as image:
            return _is_animation(image)
    except DAMAGE:
        return False


def _is_animation(image: Image.Image) -> bool:
    try:
        return image.format in _ANIMATED_FORMATS and getattr(image, "is_animated", False)
    except DAMAGE:  # cut off within the second frame
        return False


def _open_animation(path: Path, image: Image.Image, n_frames: int, colours: Colours) -> Decoded:
    """Read an animated GIF, WebP, APNG or AVIF: once for the durations, once for the wanted
    frames.
    """
    name = path.name
    starts = []
    end = 0.0
    for _, picture in _animation(name, image):
        starts.append(end)
        ms = float(picture.info.get("duration") or 0)
        end += (ms if ms > 10 else 100) / 1000  # browsers show "as fast as possible" at 100 ms
        check_seconds(name, end)
    if not starts:
        raise _damaged(name)
    wanted = set(middles(np.array(starts), end, n_frames))
    frames = tuple(
        Frame(index, starts[index], _upright_rgb(_within_side(picture), colours))
        for index, picture in _animation(name, image)
        if index in wanted
    )
    fallback = [FALLBACK] * bool(getattr(image, "default_image", False))
    sampled = sampled_note(len(frames), len(starts), end)
    notes = (*[HDR] * colours.hdr, *sampled, *fallback, *_behind(path))
    return Decoded("video", end, frames, _image_tags(image), notes, colours.hdr)


def _animation(name: str, image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield (index, loaded picture) up to the end or the first damage."""
    # an APNG's fallback picture is not part of it
    first = 1 if getattr(image, "default_image", False) else 0
    for index in count():
        try:
            image.seek(first + index)
            check_size(name, *image.size, count=index + 1)  # a GIF's frame may enlarge the picture
            image.load()
        except DAMAGE:
            return
        yield index, image


def _within_side(image: Image.Image) -> Image.Image:
    """Scale a frame down to MAX_VIDEO_SIDE_PX: dozens of them are kept."""
    if max(image.size) <= MAX_VIDEO_SIDE_PX:
        return image
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((MAX_VIDEO_SIDE_PX, MAX_VIDEO_SIDE_PX))
    return small


def _upright_rgb(image: Image.Image, colours: Colours) -> NDArray[np.uint8]:
    """Return (H, W, 3) uint8 sRGB of any Pillow picture, turned upright, transparency over
    white.
    """
    turn = _UPRIGHT.get(_exif(image).get(ExifTags.Base.Orientation, 1))
    if turn is not None:
        image = image.transpose(turn)
    if image.mode.startswith(("I", "F")):
        return _eight_bit(np.asarray(image))
    profile = image.info.get("icc_profile")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    if profile and not colours.hdr and image.mode in ("RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            image = converted or image
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile is ignored, as browsers do
    return _of_hdr(np.asarray(image.convert("RGB")), colours)


def _colours(path: Path, image: Image.Image) -> Colours:
    """What a HEIC, an AVIF or a PNG says of its colours; SDR where it says nothing."""
    if nclx := image.info.get("nclx_profile"):
        return Colours(nclx["color_primaries"], nclx["transfer_characteristics"])
    if image.format not in _COLOURS:
        return SDR
    mark, layout = _COLOURS[image.format]
    with path.open("rb") as file:
        _, found, said = file.read(COLOURS_WITHIN).partition(mark)
    if not found or len(said) < struct.calcsize(layout):
        return SDR
    return Colours(*struct.unpack_from(layout, said))


def _of_hdr(rgb: NDArray[np.uint8], colours: Colours) -> NDArray[np.uint8]:
    """The sRGB of a picture's (H, W, 3) pixels, whose colours may be those of HDR."""
    if not colours.hdr:
        return rgb
    mapped = np.empty_like(rgb)
    for start in range(0, len(rgb), BAND_ROWS):
        band = rgb[start : start + BAND_ROWS].astype(np.uint16) * 257
        mapped[start : start + BAND_ROWS] = to_srgb(band, colours.transfer, colours.primaries)
    return mapped


def _eight_bit(grey: NDArray) -> NDArray[np.uint8]:
    """Scale 16-bit, 32-bit or float grey values (H, W) to (H, W, 3) uint8.

    White is 65535 for integers; for floats the least of 1, 255 and 65535 that holds them; beyond,
    the highest value.
    """
    tops = (65535.0,) if np.issubdtype(grey.dtype, np.integer) else (1.0, 255.0, 65535.0)
    bands = range(0, len(grey), BAND_ROWS)
    highest = max((float(_finite(grey, start).max(initial=0.0)) for start in bands), default=0.0)
    white = next((top for top in tops if highest <= top), highest)
    rgb = np.empty((*grey.shape, 3), np.uint8)
    for start in bands:
        eight = np.clip(np.rint(_finite(grey, start) * (255.0 / white)), 0, 255)
        rgb[start : start + BAND_ROWS] = eight[..., None]
    return rgb


def _finite(grey: NDArray, start: int) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):  # a signalling NaN, in a damaged file
        return np.nan_to_num(
            grey[start : start + BAND_ROWS].astype(np.float64), posinf=0.0, neginf=0.0
        )


def _exif(image: Image.Image) -> Image.Exif:
    try:
        return image.getexif()
    except DAMAGE:  # damaged EXIF is no reason to refuse a picture
        return Image.Exif()


def _image_tags(image: Image.Image) -> dict[str, str]:
    exif = _exif(image)
    try:
        details = exif.get_ifd(ExifTags.IFD.Exif)
    except DAMAGE:
        details = {}
    named = [
        (ExifTags.TAGS.get(tag, tag), value) for tag, value in (*exif.items(), *details.items())
    ]
    # Text chunks of a PNG, comments of a GIF or JPEG; Pillow's own notes in the same place are no
    # strings.
    texts = [
        (key, value)
        for key, value in image.info.items()
        if isinstance(value, str) or key == "comment"
    ]
    readable = [(key, value) for key, value in named if key not in ("MakerNote", "ExifOffset")]
    return shown_tags([("Format", image.format), *readable, *texts])
