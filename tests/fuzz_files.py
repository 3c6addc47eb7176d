"""The files of tests/fuzz.py: sound ones of every kind, hostile ones, bombs, mutations."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from io import BytesIO

import av
import numpy as np
from PIL import Image, features
from skimage.data import astronaut

from detector.media import X265_PARAMS

ENDINGS = (
    "jpg",
    "png",
    "webp",
    "gif",
    "tiff",
    "mp4",
    "mkv",
    "webm",
    "avi",
    "mov",
    "txt",
    "html",
    "svg",
    "",
)
Case = tuple[str, bytes]  # file name, content


# ----------------------------------------------------------------------------------------------
# sound files


def face() -> Image.Image:
    return Image.fromarray(astronaut()[0:256, 96:352]).resize((128, 128))


def picture(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    file = BytesIO()
    (image or face()).save(file, kind, **options)
    return file.getvalue()


def animation(kind: str, n: int = 4, **options: object) -> bytes:
    first, *rest = [face().rotate(5 * i) for i in range(n)]
    return picture(kind, first, save_all=True, append_images=rest, duration=80, **options)


def clip(
    kind: str, codec: str, pix_fmt: str = "yuv420p", n: int = 3, size: int = 96, **options: str
) -> bytes:
    """A short clip of a face; options are the encoder's, but for movflags."""
    file = BytesIO()
    rgb = np.asarray(face().resize((size, size)))
    muxer = {"movflags": options.pop("movflags")} if "movflags" in options else {}
    with av.open(file, "w", format=kind, options=muxer) as container:
        stream = container.add_stream(codec, rate=25, options={"threads": "1", **options})
        stream.width = stream.height = size
        stream.pix_fmt = pix_fmt
        for i in range(n):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(np.roll(rgb, i, 1)), format="rgb24"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def sound() -> bytes:
    file = BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((2, 44100), np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.time_base = 44100, Fraction(1, 44100)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


@lru_cache(maxsize=1)
def sound_files() -> dict[str, bytes]:
    """Small files that open, of every kind that is read."""
    grey16 = Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0110], exif[0x0112] = "Camera", 1
    quiet = {"x265-params": X265_PARAMS}
    hdr = {"x265-params": f"{X265_PARAMS}:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc"}
    made = {
        "base.jpg": picture("JPEG", exif=exif),
        "progressive.jpg": picture("JPEG", progressive=True),
        "cmyk.jpg": picture("JPEG", face().convert("CMYK")),
        "rgb.png": picture("PNG"),
        "alpha.png": picture("PNG", face().convert("RGBA")),
        "palette.png": picture("PNG", face().convert("P")),
        "deep.png": picture("PNG", grey16),
        "lossy.webp": picture("WEBP"),
        "lossless.webp": picture("WEBP", lossless=True),
        "still.gif": picture("GIF"),
        "plain.tiff": picture("TIFF"),
        "lzw.tiff": picture("TIFF", compression="tiff_lzw"),
        "jpeg.tiff": picture("TIFF", compression="jpeg"),
        "float.tiff": picture("TIFF", Image.fromarray(np.ones((32, 32), np.float32))),
        "photo.bmp": picture("BMP"),
        "photo.heic": picture("HEIF"),
        "moving.gif": animation("GIF"),
        "moving.webp": animation("WEBP"),
        "moving.png": animation("PNG"),
        "clip.mp4": clip("mp4", "libx264"),
        "fragments.mp4": clip("mp4", "libx264", n=5, movflags="frag_keyframe"),
        "clip.mkv": clip("matroska", "libx264"),
        "ten-bit.mkv": clip("matroska", "libx265", "yuv420p10le", **quiet),
        "hdr.mp4": clip("mp4", "libx265", "yuv420p10le", **hdr),
        "full-chroma.mp4": clip("mp4", "libx264", "yuv444p"),
        "odd.mkv": clip("matroska", "ffv1", "yuv444p", size=95),
        "interlaced.mp4": clip("mp4", "libx264", flags="+ildct+ilme"),
        "vp8.webm": clip("webm", "libvpx"),
        "vp9.webm": clip("webm", "libvpx-vp9"),
        "alpha.webm": clip("webm", "libvpx-vp9", "yuva420p"),
        "clip.avi": clip("avi", "mpeg4"),
        "mjpeg.avi": clip("avi", "mjpeg", "yuvj420p"),
        "clip.mpg": clip("mpeg", "mpeg2video"),
        "clip.ts": clip("mpegts", "libx264"),
        "clip.flv": clip("flv", "flv"),
        "one-frame.mp4": clip("mp4", "libx264", n=1),
        "raw.h264": clip("h264", "libx264"),
    }
    if features.check("avif"):
        made["photo.avif"] = picture("AVIF")
    return made


# ----------------------------------------------------------------------------------------------
# hostile files


def png_claiming(width: int, height: int) -> bytes:
    content = bytearray(picture("PNG"))
    struct.pack_into(">II", content, 16, width, height)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    return bytes(content)


def png_bomb(side: int, colour: int, bits: int, channels: int) -> bytes:
    """A sound PNG of (side x side) black pixels, a thousand times smaller than what it unpacks
    to.
    """

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    packer, row = zlib.compressobj(1), bytes(1 + (side * bits * channels + 7) // 8)
    body = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def gif(width: int, height: int, frames: int, cs: int = 2) -> bytes:
    """Frames of one pixel on a screen of any size, cs hundredths of a second each."""
    frame = b"\x21\xf9\x04\x04" + struct.pack("<H", cs) + b"\x00\x00"
    frame += b"\x2c" + struct.pack("<4HB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    head = (
        b"GIF89a" + struct.pack("<2H", width, height) + b"\x80\x00\x00" + bytes(3) + b"\xff\xff\xff"
    )
    return head + frame * frames + b"\x3b"


def patched(content: bytes, find: bytes, offset: int, value: bytes) -> bytes:
    at = content.index(find) + offset
    return content[:at] + value + content[at + len(value) :]


PAGE = b"<!doctype html><script>alert(1)</script>"
ODD_NAMES = (
    "<script>alert(1)</script>.jpg",
    '"><img src=x onerror=alert(1)>.png',
    "../../../../etc/passwd.jpg",
    "..\\..\\boot.ini.jpg",
    "line\nbreak.jpg",
    "tab\tand\x07bell.jpg",
    "😀🎭.jpg",
    "\u202egpj.exe.jpg",
    "人" * 83 + ".jpg",
    "x" * 251 + ".jpg",
    "-rf.jpg",
    "%2e%2e%2f%00.jpg",
    "{{7*7}}${7*7}.jpg",
    "file:///etc/passwd",
    "CON.jpg",
    ".jpg",
    "no ending",
    "' OR 1=1 --.jpg",
)


def hostile() -> Iterator[Case]:
    """Every kind of trouble we know by name."""
    sound_file = sound_files()
    yield from claims(sound_file)
    yield from odd_clips(sound_file)
    yield from disguised()
    yield from doubled(sound_file)
    for name in ODD_NAMES:
        yield name, sound_file["base.jpg"]


def claims(sound_file: dict[str, bytes]) -> Iterator[Case]:
    """Headers that claim more than there is."""
    jpg, mp4, mkv = (sound_file[n] for n in ("base.jpg", "clip.mp4", "clip.mkv"))
    for side in (0, 1, 30_000, 65_535, 2**31 - 1):
        yield f"claims-{side}.png", png_claiming(side, side)
    yield "claims.jpg", patched(jpg, b"\xff\xc0", 5, struct.pack(">HH", 30_000, 30_000))
    yield "claims.gif", gif(30_000, 30_000, 1)
    yield (
        "claims.bmp",
        patched(sound_file["photo.bmp"], b"BM", 18, struct.pack("<ii", 30_000, 30_000)),
    )
    yield (
        "claims.webp",
        patched(sound_file["lossy.webp"], b"\x9d\x01\x2a", 3, struct.pack("<HH", 16_383, 16_383)),
    )
    yield "long.mkv", patched(mkv, b"\x44\x89\x88", 3, struct.pack(">d", 1e12))
    yield "long.mp4", patched(mp4, b"mvhd", 16, struct.pack(">II", 1, 2**32 - 1))
    yield "no-length.mp4", patched(mp4, b"mvhd", 16, bytes(8))
    yield "claims.mp4", patched(mp4, b"avc1", 28, struct.pack(">HH", 30_000, 30_000))


def odd_clips(sound_file: dict[str, bytes]) -> Iterator[Case]:
    """Clips that are none, or strange ones."""
    mp4 = sound_file["clip.mp4"]
    yield "song.mp4", sound()
    other = clip("h264", "libx264", size=160)
    yield "changes-size.h264", sound_file["raw.h264"] + other
    yield "changes-size.ts", sound_file["clip.ts"] + clip("mpegts", "libx264", size=160)
    yield "no-index.mp4", mp4.replace(b"moov", b"free")
    yield "no-data.mp4", mp4.replace(b"mdat", b"free")


def disguised() -> Iterator[Case]:
    """Files that are not what they are called."""
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"><image href="file:///etc/passwd"/></svg>'
    xxe = (
        b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>'
    )
    code = b"import os\nos.system('touch /tmp/owned')\n"
    for ending in ("jpg", "svg", "mp4"):
        yield f"drawing.{ending}", svg
        yield f"entity.{ending}", xxe
        yield f"page.{ending}", PAGE
        yield f"code.{ending}", code
    yield "pickle.png", b"cos\nsystem\n(S'touch /tmp/owned'\ntR."
    yield (
        "script.jpg",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\nshowpage\n",
    )
    yield (
        "list.mp4",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
    )
    yield "list.m3u8", b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:1/a.ts\n#EXT-X-ENDLIST\n"
    yield "list.txt", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "zeros.jpg", bytes(1000)
    yield "zeros.mp4", bytes(1_000_000)
    yield "empty.png", b""
    yield "one-byte.gif", b"G"


def doubled(sound_file: dict[str, bytes]) -> Iterator[Case]:
    """Two things at a time."""
    jpg, png, mp4 = (sound_file[n] for n in ("base.jpg", "rgb.png", "clip.mp4"))
    yield "jpg-and-page.jpg", jpg + PAGE
    yield "jpg-and-zip.jpg", jpg + b"PK\x05\x06" + bytes(18)
    yield "gif-and-code.gif", b"GIF89a/*" + sound_file["still.gif"][8:] + b"*/=1;alert(1)"
    yield "page-and-png.png", PAGE + png
    yield "mp4-and-jpg.mp4", jpg + mp4
    yield "png-and-mp4.png", png + mp4


def bombs() -> Iterator[Case]:
    """Small files that unpack to much, up to the limits and beyond."""
    yield "bomb-bits.png", png_bomb(30_000, 0, 1, 1)
    yield "bomb-rgba.png", png_bomb(8_900, 6, 8, 4)
    yield "bomb-deep.png", png_bomb(8_900, 0, 16, 1)
    yield "bomb.tiff", picture("TIFF", Image.new("L", (8_900, 8_900)), compression="tiff_deflate")
    yield "bomb.webp", picture("WEBP", Image.new("L", (8_900, 8_900)), quality=1, method=0)
    yield "bomb.gif", gif(8_900, 8_900, 25)
    yield "frames.gif", gif(1, 1, 100_000)
    yield "frames-fast.gif", gif(64, 64, 17_000, cs=1)
    yield "wide.png", picture("PNG", Image.new("RGB", (79_000, 1_000)))
    yield "thin.png", picture("PNG", Image.new("L", (1, 60_000)))
    yield "wide.gif", gif(60_000, 100, 3)
    text = zlib.compress(bytes(200_000_000), 9)
    body = b"zTXtk\x00\x00" + text
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    yield "bomb-text.png", picture("PNG")[:33] + chunk + picture("PNG")[33:]
    yield "large-frames.mp4", clip("mp4", "libx264", n=5, size=4_096, preset="ultrafast", crf="51")


# ----------------------------------------------------------------------------------------------
# mutations


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One to three things that happen to files."""
    for _ in range(rng.integers(1, 4)):
        if not content:
            return content
        at = int(rng.integers(len(content)))
        early = int(rng.integers(min(len(content), 400)))  # where headers are
        length = int(min(rng.integers(1, 400), len(content) - at))
        match rng.integers(10):
            case 0:
                return content[:at]
            case 1:
                content = content[:at] + bytes(length) + content[at + length :]
            case 2:
                content = content[:at] + content[at + length :]
            case 3:
                content = content[:at] + rng.bytes(length) + content[at:]
            case 4:
                content = (
                    content[:at]
                    + content[at : at + length] * int(rng.integers(2, 50))
                    + content[at:]
                )
            case 5:
                other = list(sound_files().values())
                content = content[:at] + other[rng.integers(len(other))]
            case 6 | 7:
                value = rng.choice(
                    [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
                )
                order, size = rng.choice(["<", ">"]), rng.choice(["B", "H", "I"])
                field = struct.pack(f"{order}I", int(value))
                field = (
                    field[: struct.calcsize(size)]
                    if order == "<"
                    else field[-struct.calcsize(size) :]
                )
                content = content[:early] + field + content[early + len(field) :]
            case _:
                flipped = bytearray(content)
                for _ in range(int(rng.integers(1, 20))):
                    flipped[rng.integers(len(flipped))] ^= 1 << int(rng.integers(8))
                content = bytes(flipped)
    return content


def mutations(count: int, seed: int) -> Iterator[Case]:
    """The same files for the same seed."""
    rng = np.random.default_rng(seed)
    files = list(sound_files().items())
    for i in range(count):
        name, content = files[rng.integers(len(files))]
        stem, _, ending = name.partition(".")
        if rng.random() < 0.2:
            ending = str(rng.choice(ENDINGS))
        yield f"{i}-{stem}.{ending}", mutated(content, rng)
