"""What a file's bytes tell of its past: Content Credentials, and traces of JPEG compression.

Shown beside the score, never part of it. What each finding is worth is said in explain.provenance.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, JpegImagePlugin

from detector.decoding.common import DAMAGE
from detector.decoding.credentials import (
    claim_generator,
    manifest_store,
    source_types,
    validated,
)
from detector.decoding.pictures import JPEGS, decode_picture
from detector.decoding.raw import is_raw

Luma = NDArray[np.float32]  # (H, W), 0 to 255

GRID_PX = 512  # side of the square in the middle that is searched for a grid: half a second
MIN_VOTES = 200  # places that must have an opinion
# of the votes: uncompressed pictures stay below 0.05, JPEG of quality 95 is above 0.7
GRID_SHARE = 0.15
# the low frequencies of the 8 x 8 DCT, row and column, in zigzag order: high ones are mostly zero
FREQUENCIES = ((0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0))
MIN_COEFFICIENTS = 100  # that are not zero, for a histogram to be read
RISE_SIGMAS = 5.0  # and RISE_SHARE of the bin: no rise of a histogram by chance
RISE_SHARE = 0.2
GAP_SHARE = 0.02  # of all coefficients, in rises: measured 0 in pictures saved once
RESAVE_QUALITY = 90  # of the error level analysis
AMPLIFIED = 15  # how many times its differences are shown
LEVELS_PX = 720  # longer side of its picture
LOSSLESS = ("PNG", "BMP", "TIFF", "GIF")  # these have no grid of their own
MAX_CREDENTIALS_CHARS = 20_000  # as JSON
_MAX_BIN = 255

# (8, 8) float32: the orthonormal DCT-II
_DCT = np.sqrt(2 / 8) * np.cos(np.pi / 8 * np.outer(np.arange(8), np.arange(8) + 0.5))
_DCT[0] /= np.sqrt(2)
_DCT = _DCT.astype(np.float32)


@dataclass(frozen=True, eq=False)
class Traces:
    """What was found; what could not be measured is None."""

    c2pa: bool | None  # None: not looked for in this kind of file
    claim_generator: str  # the program that the C2PA claim names; empty without one
    source_types: tuple[str, ...]  # of IPTC, as the C2PA manifests name them
    format: str = ""  # of a picture, as Pillow calls it
    jpeg_quality: int | None = None  # of libjpeg's scale, the nearest; None: no JPEG
    jpeg_subsampling: str = ""  # of the colours: 4:4:4, 4:2:2 or 4:2:0
    # x, y in 0..7: where the grid of an earlier or the present compression begins
    grid: tuple[int, int] | None = None
    # of the frequencies measured, how many have gaps: found, measured
    gaps: tuple[int, int] | None = None
    error_levels: bytes = b""  # PNG; empty for a clip
    # of the active C2PA manifest in short, where the package c2pa is installed and reads it
    credentials: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        texts = [self.format, self.claim_generator, self.jpeg_subsampling, *self.source_types]
        if not all(isinstance(text, str) and len(text) <= 200 for text in texts):
            raise ValueError("expected short texts")
        for pair in (self.grid, self.gaps):
            if pair is not None and [type(n) for n in pair] != [int, int]:
                raise ValueError(f"expected two whole numbers, but got {pair}")
        if type(self.jpeg_quality) not in (int, type(None)):
            raise ValueError(f"expected a quality, but got {self.jpeg_quality}")
        if self.c2pa not in (True, False, None):
            raise ValueError(f"expected yes, no or None, but got {self.c2pa}")
        told = self.credentials
        if not isinstance(told, dict) or len(json.dumps(told)) > MAX_CREDENTIALS_CHARS:
            raise ValueError("expected credentials in short")


def find_traces(path: Path) -> Traces:
    """Read a file's traces in this process; see detector.media.open_traces.

    Raises MediaError for a damaged picture or one beyond a limit, OSError.
    """
    store = manifest_store(path)
    stated: dict[str, Any] = {
        "c2pa": None if store is None else bool(store),
        "claim_generator": claim_generator(store or b""),
        "source_types": source_types(store or b""),
        "credentials": {} if store == b"" else validated(path),
    }
    decoded = decode_picture(path, 1)
    if decoded is None or decoded.kind != "image":
        return Traces(**stated)
    rgb = Image.fromarray(decoded.frames[0].rgb)
    levels = error_levels(rgb)
    if is_raw(path):  # the JPEG inside it is the camera's
        return Traces(**stated, format="raw photo", error_levels=levels)
    name = decoded.tags.get("Format", "")
    if name in JPEGS:
        return Traces(**stated, format="JPEG", **_of_jpeg(path), error_levels=levels)
    # other formats that lose something have a grid of their own, of other sizes
    grid = grid_of(np.asarray(rgb.convert("L"), np.float32)) if name in LOSSLESS else None
    return Traces(**stated, format=name, grid=grid, error_levels=levels)


def _of_jpeg(path: Path) -> dict[str, Any]:
    """Quality, subsampling, grid and gaps of a JPEG; no grid and gaps where it breaks off."""
    with Image.open(path, formats=JPEGS) as image:
        assert isinstance(image, JpegImagePlugin.JpegImageFile)
        table = _luma_table(image)
        found = {"jpeg_quality": _quality_of(table), "jpeg_subsampling": _subsampling(image)}
        image.draft("L", image.size)  # the stored luma, not a conversion from RGB
        try:
            luma = np.asarray(image.convert("L"), np.float32)
        except DAMAGE:
            return found
    return {**found, "grid": grid_of(luma), "gaps": gaps_of(luma, table)}


# --------------------------------------------------------------------------------------------------
# JPEG's settings


def _luma_table(image: JpegImagePlugin.JpegImageFile) -> NDArray[np.int64]:
    """(8, 8) steps of the luma's quantisation, row by row."""
    return np.array(next(iter(image.quantization.values()))).reshape(8, 8)


def _quality_of(table: NDArray[np.int64]) -> int:
    """The quality of libjpeg whose table is nearest."""

    def distance(quality: int) -> int:
        memory = BytesIO()
        Image.new("L", (8, 8)).save(memory, "JPEG", quality=quality)
        with Image.open(memory) as saved:
            assert isinstance(saved, JpegImagePlugin.JpegImageFile)
            return int(np.abs(_luma_table(saved) - table).sum())

    return min(range(1, 101), key=distance)


def _subsampling(image: JpegImagePlugin.JpegImageFile) -> str:
    return {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(JpegImagePlugin.get_sampling(image), "")


# --------------------------------------------------------------------------------------------------
# traces in the pixels


def _coefficients(luma: Luma, top: int = 0, left: int = 0) -> NDArray[np.float32]:
    """(rows, columns, 8, 8) DCT of the 8 x 8 blocks whose grid begins at (top, left)."""
    rows = (luma.shape[0] - top) // 8
    columns = (luma.shape[1] - left) // 8
    cut = luma[top : top + 8 * rows, left : left + 8 * columns] - 128
    blocks = cut.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
    return _DCT @ blocks @ _DCT.T


def grid_of(luma: Luma) -> tuple[int, int] | None:
    """Where the 8 x 8 grid of a JPEG compression begins, as (x, y) in 0..7; None where no grid
    stands out.

    Each place votes for that of the 64 grids in which its block has the most coefficients that
    round to zero. After T. Nikoukhah et al., "ZERO", Image Processing On Line, 2021.
    """
    height, width = luma.shape
    # whole steps of 8, so that the place found is that of the whole picture
    top, left = (max(0, (side - GRID_PX) // 2) // 8 * 8 for side in (height, width))
    part = luma[top : top + GRID_PX, left : left + GRID_PX]
    rows, columns = ((side - 7) // 8 for side in part.shape)
    if rows < 1 or columns < 1:
        return None
    zeros = np.stack(
        [
            (np.abs(_coefficients(part, *divmod(at, 8))[:rows, :columns]) < 0.5).sum((2, 3))
            for at in range(64)
        ]
    )
    alone = (zeros == zeros.max(0)).sum(0) == 1  # flat places are zero in every grid
    votes = np.bincount(zeros.argmax(0)[alone], minlength=64)
    best = int(votes.argmax())
    if votes.sum() < MIN_VOTES or votes[best] < GRID_SHARE * votes.sum():
        return None
    y, x = divmod(best, 8)
    return x, y


def gaps_of(luma: Luma, table: NDArray[np.int64]) -> tuple[int, int] | None:
    """Of the frequencies that can be read, how many have gaps in their histogram: (found, read).

    In a picture saved once, larger coefficients are rarer. Where an earlier saving had coarser
    steps, its multiples stand out over bins that are nearly empty, and the histogram rises again.
    None where no frequency can be read. After J. Lukas and J. Fridrich, "Estimation of primary
    quantization matrix in double compressed JPEG images", DFRWS 2003.
    """
    if min(luma.shape) < 8:
        return None
    blocks = _coefficients(luma)
    shares = [_rises(blocks[..., u, v] / table[u, v]) for u, v in FREQUENCIES]
    read = [share for share in shares if share is not None]
    return (sum(share > GAP_SHARE for share in read), len(read)) if read else None


def _rises(steps: NDArray[np.float32]) -> float | None:
    """The share of the coefficients by which their histogram rises; None with too few of them."""
    sizes = np.minimum(np.abs(np.rint(steps)), _MAX_BIN).astype(np.int64).ravel()
    counts = np.bincount(sizes, minlength=_MAX_BIN + 1)[1:_MAX_BIN].astype(np.float64)
    if counts.sum() < MIN_COEFFICIENTS:
        return None
    rise = np.diff(counts)
    chance = RISE_SIGMAS * np.sqrt(counts[1:] + counts[:-1])
    real = (rise > chance) & (rise > RISE_SHARE * counts[1:])
    return float(rise[real].sum() / counts.sum())


def error_levels(image: Image.Image) -> bytes:
    """PNG of what one more saving as a JPEG changes, amplified. After N. Krawetz, "A picture's
    worth", Black Hat 2007.
    """
    memory = BytesIO()
    image.save(memory, "JPEG", quality=RESAVE_QUALITY)
    with Image.open(memory) as saved:
        change = ImageChops.difference(image, saved.convert("RGB"))
    change.thumbnail((LEVELS_PX, LEVELS_PX), Image.Resampling.BOX)
    shown = BytesIO()
    change.point([min(255, AMPLIFIED * level) for level in range(256)] * 3).save(shown, "PNG")
    return shown.getvalue()
