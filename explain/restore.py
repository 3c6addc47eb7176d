"""The denoised reconstruction of a crop: how far it differs from the input, and what that means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import skimage  # its parts are loaded when they are used
from numpy.typing import NDArray

# above this PSNR input and output differ by about 2 grey levels, which is not seen
UNCHANGED_DB = 42.0
HEAVY_DB = 32.0  # below it they differ by 6 grey levels or more


@dataclass(frozen=True, eq=False)
class Restoration:
    """A crop and its reconstruction. PSNR and SSIM say how far the two differ, not which is closer
    to the truth.
    """

    crop: NDArray[np.uint8]  # (S, S, 3)
    restored: NDArray[np.uint8]  # (S, S, 3)
    error: NDArray[np.float32]  # (S, S) mean absolute difference of the channels in grey levels
    psnr_db: float  # 100.0 for identical pictures
    ssim: float
    sentence: str


def compare(crop: NDArray[np.uint8], restored: NDArray[np.uint8]) -> Restoration:
    """Measure a reconstruction against its input."""
    error = np.abs(crop.astype(np.float32) - restored.astype(np.float32)).mean(axis=-1)
    psnr = (
        100.0
        if np.array_equal(crop, restored)
        else float(skimage.metrics.peak_signal_noise_ratio(crop, restored, data_range=255))
    )
    ssim = float(
        skimage.metrics.structural_similarity(crop, restored, channel_axis=-1, data_range=255)
    )
    return Restoration(crop, restored, error, psnr, ssim, sentence(psnr, ssim))


def sentence(psnr_db: float, ssim: float) -> str:
    """What the comparison means, for a reader who doesn't know PSNR."""
    if psnr_db >= UNCHANGED_DB:
        found = (
            "changed next to nothing: either little was lost when the picture was stored, or it "
            "does not know this kind of loss"
        )
    elif psnr_db >= HEAVY_DB:
        found = "took off traces of compression or noise"
    else:
        found = (
            "took off much: the picture is heavily compressed, noisy or unlike those it was "
            "trained on"
        )
    return (
        f"The denoiser {found} (PSNR {psnr_db:.1f} dB, SSIM {ssim:.3f} between input and output); "
        "what it took off says how the file was stored, not whether it is forged."
    )


def noise_residual(crop: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The picture minus its Gaussian blur, (S, S, 3) in grey levels: the noise stream's input."""
    import torch

    from detector.nets.embedder import NoiseResidual

    images = torch.from_numpy(crop[None]).permute(0, 3, 1, 2).float()
    return NoiseResidual(gain=1.0)(images)[0].permute(1, 2, 0).numpy()
