"""The named severities, light, medium and heavy, and what they are drawn from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detector.degrade.checks import Rgb, require_choice
from detector.degrade.draws import between, integer, seed
from detector.degrade.steps import Degradation, Step, apply


@dataclass(frozen=True)
class Severity:
    """Ranges a preset draws from, both ends included; None leaves the operation out."""

    jpeg_quality: tuple[int, int]
    blur_sigma_px: tuple[float, float]
    rescale_factor: tuple[float, float] | None = None
    noise_sigma: tuple[float, float] | None = None


# The blurs of medium and heavy are those of kernels of 3..5 and 5..7 px; that of light is hardly
# seen.
SEVERITIES: dict[str, Severity] = {
    "light": Severity(jpeg_quality=(70, 90), blur_sigma_px=(0.3, 0.6)),
    "medium": Severity(jpeg_quality=(50, 70), blur_sigma_px=(0.8, 1.1), rescale_factor=(0.7, 0.9)),
    "heavy": Severity(
        jpeg_quality=(30, 50),
        blur_sigma_px=(1.1, 1.4),
        rescale_factor=(0.5, 0.7),
        noise_sigma=(5.0, 15.0),
    ),
}


def draw_preset(severity: str, rng: np.random.Generator) -> Degradation:
    """Draw from 'none', 'light', 'medium' or 'heavy', in the order of a real upload: shrink, blur,
    noise, JPEG.
    """
    require_choice("The severity", severity, ("none", *SEVERITIES))
    if severity == "none":
        return ()
    ranges = SEVERITIES[severity]
    steps = []
    if ranges.rescale_factor:
        steps.append(Step("rescale", {"factor": between(rng, *ranges.rescale_factor)}))
    steps.append(Step("gaussian_blur", {"sigma": between(rng, *ranges.blur_sigma_px)}))
    if ranges.noise_sigma:
        steps.append(Step("noise", {"sigma": between(rng, *ranges.noise_sigma), "seed": seed(rng)}))
    steps.append(Step("jpeg", {"quality": integer(rng, *ranges.jpeg_quality)}))
    return tuple(steps)


def apply_preset(rgb: Rgb, severity: str, rng: np.random.Generator) -> Rgb:
    """Draw a preset and apply it at once."""
    return apply(rgb, draw_preset(severity, rng))
