"""Fingerprints of up-samplers: what a generator leaves in the spectrum, whatever it draws.

Every generator enlarges a small code step by step, and each step leaves a trace that repeats every
few pixels (Zhang et al., arXiv:1907.06515; Durall et al., arXiv:2003.01826). A trace that repeats
shows in the spectrum as a set of bright dots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.decide import format_probability
from detector.types import Progress
from explain.capture import NOISE_STREAM
from explain.figures import Rgb, coloured
from explain.lab.charts import Line, chart
from explain.lab.generators import generators
from explain.restore import noise_residual

if TYPE_CHECKING:
    from explain.explainer import Explainer

AUTHENTIC = "authentic photo"
UPSAMPLERS = {
    "transposed4": "transposed convolution",
    "nearest-adversarial": "nearest neighbour",
    "shuffle": "pixel shuffle",
}
PERIOD_PX = 4  # two up-samplings by 2
TILE_PX = 112  # of a spectrum: half a crop, so that tiles can be averaged
SURROUNDINGS_SIGMA = 4.5  # of the blur that a frequency is compared with, in spectrum cells
SHOWN_LOW = -0.3  # log10, the ends of the spectrum's picture
SHOWN_HIGH = 0.9
PROFILE_BINS = 28  # of the radial profile


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """One picture and what its spectrum shows."""

    name: str
    rgb: Rgb  # (CROP_PX, CROP_PX, 3)
    # (TILE_PX, TILE_PX) log10 power of the residual, zero frequency in the middle
    spectrum: NDArray[np.float32]
    profile: NDArray[np.float32]  # (PROFILE_BINS,) mean log10 power from coarse to fine
    dots: float  # how far the dots of PERIOD_PX stand out of their surroundings, log10
    logit: float
    p: float
    # share of the logit that runs through the noise stream, to first order; None without two
    # streams
    noise_share: float | None


def take_fingerprints(
    explainer: Explainer, crop: Rgb, progress: Progress | None = None
) -> tuple[Fingerprint, ...]:
    """The crop itself, then as each up-sampler redraws it."""
    report = progress or (lambda share, stage: None)
    from detector.forgery.generators import rebuild

    nets = generators()
    prints = []
    report(0.0, "The photo itself")
    prints.append(_print(explainer, AUTHENTIC, crop))
    for i, (generator, name) in enumerate(UPSAMPLERS.items()):
        report((i + 1) / (len(UPSAMPLERS) + 1), name)
        prints.append(_print(explainer, name, rebuild(nets[generator], crop)))
    report(1.0, "Done")
    return tuple(prints)


def _print(explainer: Explainer, name: str, crop: Rgb) -> Fingerprint:
    captured = explainer.capture(crop)
    power = spectrum(crop)
    p = explainer.probability(float(explainer.verdict_score(crop[None])[0]))
    share = captured.stream_shares().get(NOISE_STREAM)
    return Fingerprint(
        name=name,
        rgb=crop,
        spectrum=power,
        profile=radial(power),
        dots=dots(power),
        logit=captured.logit,
        p=p,
        noise_share=share,
    )


def spectrum(rgb: Rgb) -> NDArray[np.float32]:
    """(TILE_PX, TILE_PX) log10 power of the noise residual, zero frequency in the middle.

    The mean over channels and overlapping tiles (Welch, 1967).
    """
    residual = noise_residual(rgb)
    window = np.hanning(TILE_PX)[:, None] * np.hanning(TILE_PX)
    starts = range(0, len(residual) - TILE_PX + 1, TILE_PX // 4)
    tiles = [
        residual[y : y + TILE_PX, x : x + TILE_PX] * window[..., None]
        for y in starts
        for x in starts
    ]
    power = np.mean([np.abs(np.fft.fft2(tile, axes=(0, 1))) ** 2 for tile in tiles], axis=(0, -1))
    return np.fft.fftshift(np.log10(power + 1e-3)).astype(np.float32)


def radial(power: NDArray[np.float32]) -> NDArray[np.float32]:
    """(PROFILE_BINS,) mean of a centred spectrum by distance from its middle.

    The last bin ends at the finest frequency along an axis.
    """
    half = len(power) // 2
    y, x = np.indices(power.shape) - half
    ring = (np.hypot(x, y) * PROFILE_BINS / half).astype(int)
    inside = ring < PROFILE_BINS
    count = np.bincount(ring[inside], minlength=PROFILE_BINS)
    total = np.bincount(ring[inside], power[inside], minlength=PROFILE_BINS)
    return (total / count).astype(np.float32)


def dots(power: NDArray[np.float32], period_px: int = PERIOD_PX) -> float:
    """How far the dots of a trace that repeats every `period_px` stand out, mean log10.

    A dot is the highest of 3 x 3 cells; it is compared with the median of the 11 x 11 around it.
    """
    half = len(power) // 2
    heights = []
    for y, x in dot_places(len(power), period_px):
        centred = np.roll(power, (half - y, half - x), axis=(0, 1))
        near = centred[half - 5 : half + 6, half - 5 : half + 6]
        heights.append(float(near[4:7, 4:7].max() - np.median(near)))
    return float(np.mean(heights))


def dot_places(side: int, period_px: int = PERIOD_PX) -> list[tuple[int, int]]:
    """(y, x) where a trace that repeats every `period_px` shows in a centred spectrum (side,
    side).
    """
    along = [side // 2 + k * (side // period_px) for k in range(-(period_px // 2), period_px // 2)]
    return [(y, x) for y in along for x in along if (y, x) != (side // 2, side // 2)]


def spectrum_picture(power: NDArray[np.float32]) -> Rgb:
    """The spectrum without its smooth part, four times enlarged, with rings where dots may be."""
    standing_out = power - cv2.GaussianBlur(power, (0, 0), SURROUNDINGS_SIGMA)
    unit = np.clip((standing_out - SHOWN_LOW) / (SHOWN_HIGH - SHOWN_LOW), 0, 1)
    small = np.rint(255 * coloured(unit)[..., :3]).astype(np.uint8)
    large = np.array(cv2.resize(small, None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST), np.uint8)
    for y, x in dot_places(len(power)):
        cv2.circle(large, (4 * x + 2, 4 * y + 2), 18, (255, 255, 255), 1, cv2.LINE_AA)
    return large


def profile_picture(prints: tuple[Fingerprint, ...]) -> Rgb:
    """Power from coarse to fine detail."""
    share = (np.arange(PROFILE_BINS) + 0.5) / PROFILE_BINS
    lines = [Line(p.name, p.profile.tolist(), share.tolist(), marks=False) for p in prints]
    return chart(
        lines, "coarse  →  fine detail (share of the finest)", "log10 power of the residual"
    )


def table_rows(prints: tuple[Fingerprint, ...]) -> list[Mapping[str, str]]:
    """The numbers of each picture as text, by column."""
    return [
        {
            "Picture": p.name,
            "Dots stand out by": f"×{10**p.dots:.1f}",
            "Detector's score": format_probability(p.p),
            "Through the noise stream": "" if p.noise_share is None else f"{p.noise_share:.0%}",
        }
        for p in prints
    ]
