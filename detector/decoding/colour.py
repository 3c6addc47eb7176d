"""Colours of clips that were not made for an sRGB screen: HDR and wide gamuts.

Light is made linear by the stream's transfer function, scaled so that the white of a sheet of paper
(203 cd/m2, ITU-R BT.2408) is the screen's white, brought to BT.709 primaries, and encoded as sRGB.
What is brighter than paper is compressed into the top of the range.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# numbers of ITU-T H.273
PQ, HLG = 16, 18  # transfers: SMPTE ST 2084 and ARIB STD-B67
_WHITE_XY = (0.3127, 0.3290)  # D65
_BT709 = ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060))
_WIDE = {  # red, green, blue in CIE xy
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # DCI-P3
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
PAPER_CD_M2 = 203.0
HLG_PEAK_CD_M2 = 1000.0  # of the display that HLG's gamma of 1.2 is meant for
# of paper white: up to there light is kept as it is, above it is compressed
KNEE = 0.9
_LUMA = np.array([0.2627, 0.6780, 0.0593], np.float32)  # of BT.2020
_LEVELS = 65536


def is_hdr(transfer: int) -> bool:
    """Whether a stream's transfer is one of HDR's."""
    return transfer in (PQ, HLG)


def is_foreign(transfer: int, primaries: int) -> bool:
    """Whether a stream's colours are to be converted before a screen shows them."""
    return is_hdr(transfer) or primaries in _WIDE


def to_srgb(rgb: NDArray[np.uint16], transfer: int, primaries: int) -> NDArray[np.uint8]:
    """(H, W, 3) uint16 of a stream's own colours -> (H, W, 3) uint8 sRGB."""
    light = _light(transfer)[rgb]
    if transfer == HLG:
        scene = np.minimum(light @ _LUMA, 1.0)
        light *= _hlg_gain()[(scene * (_LEVELS - 1)).astype(np.uint16)][..., None]
    light = light @ _to_bt709(primaries).T
    if is_hdr(transfer):
        brightest = light.max(axis=2)
        light *= (_compressed(brightest) / np.maximum(brightest, 1e-6))[..., None]
    return _srgb()[(np.clip(light, 0.0, 1.0) * (_LEVELS - 1)).astype(np.uint16)]


def _compressed(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light in units of paper white -> at most 1, the same up to KNEE, smooth above."""
    above = 1.0 - KNEE
    over = np.maximum(light - KNEE, 0.0)
    return np.where(light > KNEE, KNEE + above * -np.expm1(-over / above), light)


@lru_cache(maxsize=4)
def _light(transfer: int) -> NDArray[np.float32]:
    """(65536,) linear light of each level: in units of paper white, for HLG of the scene's peak."""
    v = np.arange(_LEVELS) / (_LEVELS - 1)
    if transfer == PQ:
        power = v ** (32 / 2523)
        base = np.maximum(power - 0.8359375, 0.0) / (18.8515625 - 18.6875 * power)
        light = 10_000 / PAPER_CD_M2 * base ** (8192 / 1305)
    elif transfer == HLG:
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        light = np.where(v <= 0.5, v**2 / 3, (np.exp((v - c) / a) + b) / 12)
    else:
        light = np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)
    return light.astype(np.float32)


@lru_cache(maxsize=1)
def _hlg_gain() -> NDArray[np.float32]:
    """(65536,) factor from the scene's light to the display's in units of paper white, for each
    luminance of the scene (ITU-R BT.2100).
    """
    luminance = np.arange(_LEVELS) / (_LEVELS - 1)
    return (HLG_PEAK_CD_M2 / PAPER_CD_M2 * luminance**0.2).astype(np.float32)


@lru_cache(maxsize=1)
def _srgb() -> NDArray[np.uint8]:
    """(65536,) sRGB levels of linear light."""
    light = np.arange(_LEVELS) / (_LEVELS - 1)
    v = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(v * 255).astype(np.uint8)


@lru_cache(maxsize=4)
def _to_bt709(primaries: int) -> NDArray[np.float32]:
    """(3, 3) linear RGB of such primaries -> linear RGB of BT.709."""
    if primaries not in _WIDE:
        return np.eye(3, dtype=np.float32)
    return (np.linalg.inv(_to_xyz(_BT709)) @ _to_xyz(_WIDE[primaries])).astype(np.float32)


def _to_xyz(xy: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """(3, 3) linear RGB -> CIE XYZ, white at D65."""
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in xy]).T
    x, y = _WHITE_XY
    white = np.array([x / y, 1.0, (1 - x - y) / y])
    return columns * np.linalg.solve(columns, white)
