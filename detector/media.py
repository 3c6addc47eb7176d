"""Media: the only door to image and video codecs. A path in, upright RGB frames with their times
out.

Whether a file is a picture or a clip is decided by its content, never by its name. A clip is read
twice: the first pass only lists the packets (no decoding), so the true times, length and keyframes
are known whatever the header says; the second pass decodes just what leads to the wanted frames,
and only those are kept in memory. All of that happens in a child process (sandbox.py): what a
hostile file does to a codec, it does not do to this process.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np
from av.codec.codec import UnknownCodecError
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from detector import sandbox
from detector.errors import MediaError
from detector.types import Frame, Media

N_FRAMES = 32  # sampled from a clip unless told otherwise: enough for a vote, seconds on two cores

# The limits. Each protects something; beyond them open_media raises MediaError.
# 2 GiB: every byte is hashed and every packet listed, which takes about 10 s at this size
MAX_BYTES = 2 << 30
# per picture: 240 MB as RGB and some copies; below Pillow's own warning at 89 million
MAX_PIXELS = 80_000_000
# half an hour: with frames a minute apart nothing can be said about the time between them
MAX_SECONDS = 1800.0
MAX_FRAMES = 256  # sampled frames: 1.6 GB in memory at 1920 x 1080
# frames in the file: MAX_SECONDS at 240 per second; bounds the list of packets
MAX_CLIP_FRAMES = 432_000
# pixels x frames of a GIF: these cannot be skipped, so 10-20 s of decoding
MAX_ANIMATION_PIXELS = 2_000_000_000
# longer side of a kept video frame: beyond it, 32 frames of 4K would take 0.8 GB
MAX_VIDEO_SIDE_PX = 1920
# metadata is shown to people; nobody reads more, and a file may hold megabytes
MAX_TAGS, MAX_TAG_CHARS = 64, 200

# video frames decoded for exact sampling: a minute at 25 per second; beyond it keyframes help out
MAX_DECODED = 1500
# of a deep grey picture scaled at a time: as a whole, 80 million pixels would take 2.5 GB
BAND_ROWS = 256
# how far a sample of a long clip may move towards a keyframe, in sample distances: still evenly
# spread
SNAP = 0.25

Image.init()
_IMAGE_FORMATS = tuple(  # never EPS and the like, which run code; older builds of Pillow lack AVIF
    name for name in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF") if name in Image.OPEN
)
# a TIFF's or MPO's further pages are no animation
_ANIMATED_FORMATS = ("GIF", "PNG", "WEBP", "AVIF")
# Demuxers for files that are a clip by themselves; playlists (hls, concat) could reach other files
# and the network.
_CLIP_FORMATS = "mov,matroska,webm,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,h264,hevc,m4v,ivf,dv,mxf"
# which heed skip_frame packet by packet; half of a clip's frames, often
_SPARING_CODECS = ("h264", "hevc")
_HEIC_BRANDS = ("hei", "hev", "mif", "msf")
# where a picture was taken has no place in a report that gets passed on
_PRIVATE_TAGS = ("gps", "location")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow raises on damaged bytes, as its plugins parse them.
_DAMAGE = (
    *(
        ArithmeticError,
        EOFError,
        LookupError,
        OSError,
        RuntimeError,
        SyntaxError,
        TypeError,
        ValueError,
        Warning,
    ),
    *(struct.error, Image.DecompressionBombError),
)


def open_media(path: str | Path, n_frames: int = N_FRAMES) -> Media:
    """Open a picture or a clip; return its sampled frames as upright sRGB.

    A picture has one frame at t = 0. A clip is cut into n_frames equal slices of time and the frame
    shown in the middle of each is taken (all frames if there are no more than that); in clips where
    this would decode more than MAX_DECODED frames, a sample may move by SNAP slices towards a
    keyframe. Frame.t is always the taken frame's own time, counted from the first frame. Frames of
    a clip longer than MAX_VIDEO_SIDE_PX are scaled down.

    Raises MediaError, in one sentence without folders, for anything unreadable or beyond a limit,
    time and memory for decoding among them. Of a damaged clip what decodes is taken; a damaged
    picture is refused.
    """
    path = Path(path)
    if not 1 <= n_frames <= MAX_FRAMES:
        raise MediaError(f"Between 1 and {MAX_FRAMES} frames can be sampled, not {n_frames}.")
    try:
        size = path.stat().st_size if path.is_file() else -1
        if size < 0:
            raise MediaError(f"{path.name} is not a file that exists.")
        if size == 0:
            raise MediaError(f"{path.name} is empty.")
        if size > MAX_BYTES:
            raise MediaError(
                f"{path.name} has {size / 2**30:.1f} GiB; at most {MAX_BYTES / 2**30:.0f} GiB are read."
            )
        most_bytes = max(MAX_PIXELS, n_frames * MAX_VIDEO_SIDE_PX**2) * 3
        apart = hasattr(os, "fork")  # Windows has none, and decodes here
        header, pictures = (
            sandbox.read(path, n_frames, most_bytes) if apart else decode(path, n_frames)
        )
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return _media(path.name, sha256, header, pictures)
    except OSError as err:  # permissions, a vanished file
        raise MediaError(f"{path.name} cannot be read from disk.") from err
    # only what a hijacked child says does not fit the types
    except (KeyError, TypeError, ValueError) as err:
        raise MediaError(f"{path.name} is not a picture or a clip that can be read.") from err


def _media(
    name: str, sha256: str, header: Mapping[str, Any], pictures: Sequence[NDArray[np.uint8]]
) -> Media:
    frames = tuple(
        Frame(index, t, rgb)
        for index, t, rgb in zip(header["index"], header["t"], pictures, strict=True)
    )
    height, width = pictures[0].shape[:2]
    return Media(
        name, sha256, header["kind"], width, height, header["duration_s"], frames, header["tags"]
    )


def decode(path: Path, n_frames: int) -> tuple[dict[str, Any], list[NDArray[np.uint8]]]:
    """What open_media does in a child process: plain facts, which JSON can carry, and the frames.
    Raises MediaError.
    """
    opened = _open_image(path, n_frames) or _open_video(path, n_frames)
    header = {
        "kind": opened.kind,
        "duration_s": opened.duration_s,
        "index": [frame.index for frame in opened.frames],
        "t": [frame.t for frame in opened.frames],
        "tags": dict(opened.tags),
    }
    return header, [np.ascontiguousarray(frame.rgb) for frame in opened.frames]


def write_video(
    path: str | Path,
    frames_rgb: Iterable[NDArray[np.uint8]],
    fps: float,
    codec: str = "libx264",
    crf: int = 20,
    pix_fmt: str = "yuv420p",
) -> None:
    """Encode frames of (H, W, 3) uint8 sRGB, all of one size, into the container named by the
    path's ending.

    fps in frames per second. crf is the constant rate factor of x264, x265, VP9 and AV1 (lower is
    better); other codecs ignore it. An odd width or height is padded by repeating the last column
    or row, since yuv420p needs even ones. Raises ValueError without frames or with frames of
    unequal size, MediaError if the codec is not available.
    """
    path = Path(path)
    options = {"crf": str(crf)} | ({"x265-params": "log-level=none"} if codec == "libx265" else {})
    shape: tuple[int, ...] | None = None
    try:
        with av.open(path, "w") as container:
            stream = container.add_stream(
                codec, rate=Fraction(fps).limit_denominator(1001), options=options
            )
            if not isinstance(stream, VideoStream):
                raise MediaError(f"{codec} is not a video codec.")
            stream.pix_fmt = pix_fmt
            for rgb in frames_rgb:
                if shape is None:
                    shape = rgb.shape
                    stream.height, stream.width = shape[0] + shape[0] % 2, shape[1] + shape[1] % 2
                if rgb.shape != shape:
                    raise ValueError(f"expected frames of shape {shape}, but got {rgb.shape}")
                even = np.pad(rgb, ((0, shape[0] % 2), (0, shape[1] % 2), (0, 0)), mode="edge")
                container.mux(
                    stream.encode(
                        VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
                    )
                )
            if shape is None:
                raise ValueError("expected at least one frame, but got 0")
            container.mux(stream.encode(None))
    except (av.FFmpegError, UnknownCodecError) as err:
        raise MediaError(f"{path.name} cannot be written with {codec}.") from err


@dataclass(frozen=True, eq=False)
class _Opened:
    kind: Literal["image", "video"]
    duration_s: float
    frames: tuple[Frame, ...]
    tags: Mapping[str, str]


def _check_size(name: str, width: int, height: int, count: int = 1) -> None:
    if width * height > MAX_PIXELS:
        raise MediaError(
            f"{name} has {width} x {height} pixels; at most {MAX_PIXELS // 10**6} million are read."
        )
    if count > 1 and width * height * count > MAX_ANIMATION_PIXELS:
        raise MediaError(f"{name} is an animation of too many frames of {width} x {height} pixels.")


def _check_seconds(name: str, seconds: float) -> None:
    if seconds > MAX_SECONDS:
        raise MediaError(
            f"{name} lasts {seconds / 60:.0f} minutes; at most {MAX_SECONDS / 60:.0f} are read."
        )


def _slices(times: NDArray[np.float64], duration: float, n: int) -> list[int]:
    """Return the ascending indices of the frames shown in the middle of n equal slices of [0,
    duration].
    """
    if len(times) <= n:
        return list(range(len(times)))
    # on the start of a frame means this frame, despite rounding
    middles = (np.arange(n) + 0.5) * duration / n + 1e-6
    return np.unique(np.searchsorted(times, middles, side="right") - 1).tolist()


def _clean(tags: Iterable[tuple[object, object]]) -> dict[str, str]:
    """Return at most MAX_TAGS printable tags of at most MAX_TAG_CHARS each, without places."""
    cleaned: dict[str, str] = {}
    for key, value in tags:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
        name = "".join(c for c in str(key)[:MAX_TAG_CHARS] if c.isprintable())
        text = "".join(c for c in text[: 2 * MAX_TAG_CHARS] if c.isprintable())[
            :MAX_TAG_CHARS
        ].strip()
        if name and text and not any(word in name.lower() for word in _PRIVATE_TAGS):
            cleaned[name] = text
        if len(cleaned) == MAX_TAGS:
            break
    return cleaned


# ----------------------------------------------------------------------------------------------------
# pictures


def _open_image(path: Path, n_frames: int) -> _Opened | None:
    """Return the picture or animation, or None if the bytes are no picture."""
    try:
        image = Image.open(path, formats=_IMAGE_FORMATS)
    except UnidentifiedImageError:
        return None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as err:
        raise MediaError(
            f"{path.name} has too many pixels; at most {MAX_PIXELS // 10**6} million are read."
        ) from err
    except _DAMAGE as err:
        raise MediaError(f"{path.name} is a damaged or incomplete picture.") from err
    with image:
        _check_size(path.name, *image.size)
        if _is_animation(image):
            return _open_animation(path.name, image, n_frames)
        try:
            image.load()
        except _DAMAGE as err:
            raise MediaError(f"{path.name} is a damaged or incomplete picture.") from err
        return _Opened("image", 0.0, (Frame(0, 0.0, _upright_rgb(image)),), _image_tags(image))


def _is_animation(image: Image.Image) -> bool:
    try:
        return image.format in _ANIMATED_FORMATS and getattr(image, "is_animated", False)
    except _DAMAGE:  # cut off within the second frame
        return False


def _open_animation(name: str, image: Image.Image, n_frames: int) -> _Opened:
    """Read an animated GIF, WebP, APNG or AVIF: once for the durations, once for the wanted
    frames.
    """
    starts, end = [], 0.0
    for _, picture in _animation(name, image):
        starts.append(end)
        ms = float(picture.info.get("duration") or 0)
        end += (ms if ms > 10 else 100) / 1000  # browsers show "as fast as possible" at 100 ms
        _check_seconds(name, end)
    if not starts:
        raise MediaError(f"{name} is a damaged or incomplete picture.")
    wanted = set(_slices(np.array(starts), end, n_frames))
    frames = tuple(
        Frame(index, starts[index], _upright_rgb(_within_side(picture)))
        for index, picture in _animation(name, image)
        if index in wanted
    )
    return _Opened("video", end, frames, _image_tags(image))


def _animation(name: str, image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Yield (index, loaded picture) up to the end or the first damage."""
    # an APNG's fallback picture is not part of it
    first = 1 if getattr(image, "default_image", False) else 0
    for index in count():
        try:
            image.seek(first + index)
            _check_size(name, *image.size, count=index + 1)  # a GIF's frame may enlarge the picture
            image.load()
        except _DAMAGE:
            return
        yield index, image


def _within_side(image: Image.Image) -> Image.Image:
    """Scale a frame down to MAX_VIDEO_SIDE_PX: dozens of them are kept."""
    if max(image.size) <= MAX_VIDEO_SIDE_PX:
        return image
    small = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small.thumbnail((MAX_VIDEO_SIDE_PX, MAX_VIDEO_SIDE_PX))
    return small


def _upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
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
    if profile and image.mode in ("RGB", "CMYK"):
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            image = converted or image
        except (ImageCms.PyCMSError, OSError):
            pass  # a broken profile is ignored, as browsers do
    return np.asarray(image.convert("RGB"))


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
    except _DAMAGE:  # damaged EXIF is no reason to refuse a picture
        return Image.Exif()


def _image_tags(image: Image.Image) -> dict[str, str]:
    exif = _exif(image)
    try:
        details = exif.get_ifd(ExifTags.IFD.Exif)
    except _DAMAGE:
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
    return _clean([("Format", image.format), *readable, *texts])


# -------------------------------------------------------------------------------------------------------
# clips


@dataclass(frozen=True, eq=False)
class _Timeline:
    """The frames of a clip in presentation order, as listed without decoding."""

    ticks: NDArray[np.int64]  # ascending presentation times in units of time_base
    keyframe: NDArray[np.int64]  # for each frame the index of the keyframe it is decoded from
    time_base: Fraction  # seconds per tick
    duration_s: float
    exact: bool  # the ticks are the container's own presentation times, so one can seek to them

    @property
    def times_s(self) -> NDArray[np.float64]:
        return (self.ticks - self.ticks[0]) * float(self.time_base)


def _open_video(path: Path, n_frames: int) -> _Opened:
    try:
        with _clip(path) as (container, stream):
            timeline = _list_frames(path.name, container, stream)
            tags = {
                "Format": container.format.long_name,
                "Codec": stream.codec_context.codec.long_name,
            }
            tags |= container.metadata | stream.metadata
        _check_seconds(path.name, timeline.duration_s)
        wanted = _choose(timeline, n_frames)
        frames = list(_decode(path, timeline, wanted, seek=timeline.exact))
        if timeline.exact and len(frames) <= len(wanted) // 2:
            # In some files seeking goes astray; decoding through does not.
            frames = list(_decode(path, timeline, wanted, seek=False)) or frames
    except av.FFmpegError as err:
        raise MediaError(f"{path.name} is not a picture or a clip that can be read.") from err
    if not frames:
        raise MediaError(f"{path.name} holds no frame that can be decoded.")
    return _Opened("video", timeline.duration_s, tuple(frames), _clean(tags.items()))


@contextmanager
def _clip(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a clip at its first video stream that is no cover art. Raises MediaError if it holds
    none, or too large.
    """
    options = {"format_whitelist": _CLIP_FORMATS, "protocol_whitelist": "file"}
    with av.open(str(path.resolve()), options=options, metadata_errors="replace") as container:
        # would decode to a tile of the photo
        if container.metadata.get("major_brand", "").startswith(_HEIC_BRANDS):
            raise MediaError(
                f"{path.name} is a HEIC photo, which is not supported; save it as JPEG."
            )
        for stream in container.streams.video:
            if (
                stream.codec_context is not None
                and not stream.disposition & Disposition.attached_pic
            ):
                _check_size(path.name, stream.codec_context.width, stream.codec_context.height)
                stream.codec_context.thread_type = ThreadType.AUTO
                yield container, stream
                return
        raise MediaError(f"{path.name} holds no video that can be decoded.")


def _list_frames(name: str, container: InputContainer, stream: VideoStream) -> _Timeline:
    """List the frames' times and keyframes from the packets alone, up to the end or the first
    unreadable byte.
    """
    packets = []  # (presentation time, decoding time, keyframe)
    try:
        for packet in container.demux(stream):
            if packet.size == 0 or packet.is_discard:  # the end marker; what an edit list cuts off
                continue
            packets.append((packet.pts, packet.dts, packet.is_keyframe))
            if len(packets) > MAX_CLIP_FRAMES:
                raise MediaError(
                    f"{name} has more than {MAX_CLIP_FRAMES} frames, which is too much."
                )
    except av.FFmpegError:
        pass  # cut off in the middle: what was listed can still be decoded
    if not packets:
        raise MediaError(f"{name} holds no frame that can be decoded.")
    shown, decoded, keys = zip(*packets, strict=True)
    time_base, frame_s = (
        stream.time_base or Fraction(1, 1000),
        1 / (stream.average_rate or Fraction(25)),
    )
    # AVI stores no presentation times, and what libav makes up is wrong where frames are reordered.
    # The decoding times are the same set up to a shift; a raw stream has not even these, so its
    # frames are taken as evenly spaced. Either way the file is decoded through and its frames are
    # counted.
    exact = None not in shown and not (
        "avi" in container.format.name and stream.codec_context.has_b_frames
    )
    if not exact and None in decoded:
        time_base, decoded = frame_s, tuple(range(len(packets)))
    ticks = np.array(shown if exact else decoded, np.int64)
    order = np.argsort(ticks, kind="stable")
    ticks, positions = ticks[order], np.arange(len(ticks))
    keyframe = np.maximum.accumulate(np.where(np.array(keys)[order], positions, 0))
    step_s = float(np.median(np.diff(ticks)) * time_base) if len(ticks) > 1 else 0.0
    duration_s = float((ticks[-1] - ticks[0]) * time_base) + (step_s or float(frame_s))
    return _Timeline(ticks, keyframe, time_base, duration_s, exact)


def _choose(timeline: _Timeline, n: int) -> list[int]:
    """Return the ascending indices to decode: the middles of n slices, near a keyframe where
    exactness costs much.
    """
    times = timeline.times_s
    wanted = _slices(times, timeline.duration_s, n)
    starts = np.maximum(timeline.keyframe[wanted], [0, *(index + 1 for index in wanted[:-1])])
    if not timeline.exact or int(np.sum(np.array(wanted) + 1 - starts)) <= MAX_DECODED:
        return wanted
    slack = SNAP * timeline.duration_s / n
    near = set()
    for index in wanted:
        low, high = np.searchsorted(
            times, (times[index] - slack, times[index] + slack), side="right"
        )
        window = np.arange(min(low, index), max(high, index + 1))
        cost, shift = window - timeline.keyframe[window], np.abs(times[window] - times[index])
        near.add(int(window[np.lexsort((shift, cost))[0]]))  # the cheapest, of these the nearest
    return sorted(near)


def _decode(path: Path, timeline: _Timeline, wanted: list[int], seek: bool) -> Iterator[Frame]:
    """Yield the wanted frames; one that does not decode is replaced by the next that does.

    With seek, groups of pictures without a wanted frame are jumped over.
    """
    left, position = list(wanted), 0
    view: _View | None = None
    with _clip(path) as (container, stream):
        while left:
            key = int(timeline.keyframe[left[0]])
            if seek and key > position:
                # without an index, libav may land behind a keyframe
                if container.format.name in ("mpegts", "mpeg"):
                    key = int(timeline.keyframe[key - 1])
                container.seek(int(timeline.ticks[key]), stream=stream)
            for index, picture in _pictures(container, stream, timeline, left):
                if index < left[0]:
                    continue
                left, position = [later for later in left if later > index], index + 1
                view = view or _View.of(path.name, picture, stream)
                yield Frame(index, float(timeline.times_s[index]), view.rgb(picture))
                if not left or (seek and timeline.keyframe[left[0]] > position):
                    break
            else:
                return


def _pictures(
    container: InputContainer, stream: VideoStream, timeline: _Timeline, wanted: Iterable[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield (index in presentation order, decoded frame) from where the container stands, skipping
    damage.

    Frames that are not wanted and that no other frame is built on may be left out.
    """
    count, spare = 0, timeline.exact and stream.codec_context.name in _SPARING_CODECS
    needed = {int(timeline.ticks[index]) for index in wanted}
    try:
        for packet in container.demux(stream):
            if spare:
                stream.codec_context.skip_frame = "DEFAULT" if packet.pts in needed else "NONREF"
            try:
                decoded = packet.decode()
            except av.FFmpegError:
                continue
            for picture in decoded:
                index = count
                if timeline.exact:
                    if picture.pts is None:
                        continue
                    index = int(np.searchsorted(timeline.ticks, picture.pts))
                yield min(index, len(timeline.ticks) - 1), picture
                count += 1
    except av.FFmpegError:
        return


def _display_matrix(picture: VideoFrame) -> tuple[int, int, int, int]:
    """Return (a, b, c, d) of the frame's display matrix, (x, y) -> (ax + cy, bx + dy), y
    downwards.
    """
    try:
        side_data: Any = picture.side_data  # PyAV's stub names motion vectors only
        if "DISPLAYMATRIX" not in side_data:
            return (1, 0, 0, 1)
        a, b, _, c, d = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)[:5].tolist()
    # a kind of side data beside it that PyAV does not know; this loses mirroring
    except ValueError:
        quarter = round(picture.rotation / 90) % 4  # counterclockwise
        return ((1, 0, 0, 1), (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[quarter]
    return a, b, c, d


@dataclass(frozen=True, eq=False)
class _View:
    """How a clip's decoded frames become upright RGB of one size, even if the stream changes its
    size on the way.
    """

    width: int  # px as stored, with square pixels, within MAX_VIDEO_SIDE_PX
    height: int
    turn: tuple[int, int, int, int]  # the signs of the display matrix

    @classmethod
    def of(cls, name: str, picture: VideoFrame, stream: VideoStream) -> _View:
        _check_size(name, picture.width, picture.height)
        aspect = float(stream.sample_aspect_ratio or 1)
        # beyond that a damaged header speaks
        width = picture.width * (aspect if 0.25 <= aspect <= 4 else 1)
        scale = min(1.0, MAX_VIDEO_SIDE_PX / max(width, picture.height))
        a, b, c, d = _display_matrix(picture)
        # Players turn by quarters; the larger diagonal says which.
        a, b, c, d = (a, 0, 0, d) if abs(a) > abs(b) else (0, b, c, 0)
        signs = (a > 0) - (a < 0), (b > 0) - (b < 0), (c > 0) - (c < 0), (d > 0) - (d < 0)
        return cls(max(1, round(width * scale)), max(1, round(picture.height * scale)), signs)

    def rgb(self, picture: VideoFrame) -> NDArray[np.uint8]:
        same = (picture.width, picture.height) == (self.width, self.height)
        resized = picture.reformat(
            self.width, self.height, "rgb24", interpolation="BILINEAR" if same else "AREA"
        )
        rgb = resized.to_ndarray()
        a, b, c, d = self.turn
        if a == 0:
            rgb = rgb.transpose(1, 0, 2)
        if a + c < 0:
            rgb = rgb[:, ::-1]
        if b + d < 0:
            rgb = rgb[::-1]
        return np.ascontiguousarray(rgb, dtype=np.uint8)
