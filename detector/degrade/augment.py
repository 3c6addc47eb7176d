"""The training distribution: what an augmentation of a training crop is drawn from."""

from __future__ import annotations

import math

import numpy as np

from detector.degrade.checks import require_within
from detector.degrade.codecs import CHROMA_STEP, JPEG_SUBSAMPLING
from detector.degrade.draws import between, integer, one_of, seed
from detector.degrade.operations import INTERPOLATION
from detector.degrade.steps import Degradation, Step

P_UNTOUCHED = 0.1  # the network must also know pictures as they came


def draw_training(rng: np.random.Generator, strength: float = 1.0) -> Degradation:
    """Draw an augmentation of a training crop.

    `strength` in [0, 1] scales how often an operation occurs and how far it goes.
    """
    require_within("The strength of augmentation", strength, 0, 1)
    if rng.random() < P_UNTOUCHED:
        return ()
    return (
        *_draw_colour(rng, strength),
        *_draw_detail(rng, strength),
        *_draw_codecs(rng, strength),
    )


def draw_retouch(rng: np.random.Generator) -> Degradation:
    """Draw what may have been done to one picture alone before anybody saw it.

    Nothing, enlarging, softening, sharpening, noise, smoothing or a vignette.
    """
    chance = rng.random()
    if chance < 0.3:
        return ()
    if chance < 0.5:
        return (_draw_rescale(rng, 0.3),)
    if chance < 0.6:
        return (Step("gaussian_blur", {"sigma": between(rng, 0.3, 1.5)}),)
    if chance < 0.7:
        return (Step("sharpen", {"amount": between(rng, 0.2, 1.5)}),)
    if chance < 0.75:
        return (Step("noise", {"sigma": between(rng, 1, 8), "seed": seed(rng)}),)
    if chance < 0.95:
        return (draw_smoothing(rng, 1.0),)
    return (Step("vignette", {"amount": between(rng, 0.1, 0.9)}),)


def draw_smoothing(rng: np.random.Generator, strength: float) -> Step:
    """Draw noise reduction or a beauty filter, in [0, 1] strong.

    Without it smooth skin, a phone's too, means forged (measured).
    """
    chance = rng.random()
    if chance < 0.2:
        return Step("median", {"kernel_px": 3 if rng.random() < 0.6 else 5})
    if chance < 0.45:
        return Step("non_local_means", {"strength": between(rng, 2, 3 + 5 * strength)})
    levels = between(rng, 10, 15 + 45 * strength)
    reach_px = between(rng, 1, 1.5 + 3 * strength)
    return Step("bilateral", {"sigma_levels": levels, "sigma_px": reach_px})


def _hit(rng: np.random.Generator, p: float) -> bool:
    """True with probability `p` of all draws, the untouched ones included."""
    return bool(rng.random() < p / (1 - P_UNTOUCHED))


def _draw_colour(rng: np.random.Generator, strength: float) -> list[Step]:
    steps = []
    if _hit(rng, 0.25 * strength):
        steps.append(
            Step(
                "colour_shift",
                {c: integer(rng, -15 * strength, 15 * strength) for c in ("red", "green", "blue")},
            )
        )
    if _hit(rng, 0.3 * strength):
        contrast = between(rng, 1 - 0.25 * strength, 1 + 0.25 * strength)
        steps.append(
            Step(
                "brightness_contrast",
                {"brightness": between(rng, -25 * strength, 25 * strength), "contrast": contrast},
            )
        )
    if _hit(rng, 0.15 * strength):
        steps.append(
            Step(
                "gamma",
                {"exponent": round(math.exp(between(rng, -0.3 * strength, 0.3 * strength)), 3)},
            )
        )
    if _hit(rng, 0.25 * strength):
        hue_deg = between(rng, -12 * strength, 12 * strength)
        saturation = between(rng, 1 - 0.4 * strength, 1 + 0.4 * strength)
        steps.append(Step("hue_saturation", {"hue_deg": hue_deg, "saturation": saturation}))
    if _hit(rng, 0.1 * strength):
        steps.append(Step("vignette", {"amount": between(rng, 0.1, 0.1 + 0.7 * strength)}))
    return steps


def _draw_rescale(rng: np.random.Generator, low: float) -> Step:
    down = one_of(rng, INTERPOLATION)
    up = one_of(rng, INTERPOLATION)
    return Step("rescale", {"factor": between(rng, low, 0.95), "down": down, "up": up})


def _draw_detail(rng: np.random.Generator, strength: float) -> list[Step]:
    steps = []
    if _hit(rng, 0.18 * strength):
        steps.append(draw_smoothing(rng, strength))
    if _hit(rng, 0.35 * strength):
        steps.append(_draw_rescale(rng, 0.95 - 0.55 * strength))
    if _hit(rng, 0.2 * strength):
        steps.append(Step("gaussian_blur", {"sigma": between(rng, 0.3, 0.4 + 1.4 * strength)}))
    elif _hit(rng, 0.08 * strength):
        length_px = 2 * integer(rng, 1, 1 + 3 * strength) + 1
        steps.append(
            Step("motion_blur", {"length_px": length_px, "angle_deg": between(rng, 0, 180)})
        )
    if _hit(rng, 0.15 * strength):
        steps.append(Step("sharpen", {"amount": between(rng, 0.1, 0.2 + 1.3 * strength)}))
    if _hit(rng, 0.25 * strength):
        steps.append(
            Step("noise", {"sigma": between(rng, 0.5, 1 + 11 * strength), "seed": seed(rng)})
        )
    return steps


def _draw_video(rng: np.random.Generator, strength: float) -> list[Step]:
    chance = rng.random() * (1 - P_UNTOUCHED)
    if chance >= 0.48 * strength:
        return []
    # H.265 is rarer because it takes three times as long, and even then only with its fastest
    # preset.
    codec, preset = ("h264", "veryfast") if chance < 0.4 * strength else ("h265", "ultrafast")
    crf = integer(rng, 18, 18 + 20 * strength)
    as_p_frame = bool(rng.random() < 0.35)
    return [
        Step(
            "video_codec", {"codec": codec, "crf": crf, "preset": preset, "as_p_frame": as_p_frame}
        )
    ]


def _draw_jpeg(rng: np.random.Generator, strength: float) -> Step:
    quality = integer(rng, 98 - 63 * strength, 98)
    subsampling = one_of(rng, JPEG_SUBSAMPLING)
    return Step("jpeg", {"quality": quality, "subsampling": subsampling})


def _draw_stills(rng: np.random.Generator, strength: float) -> list[Step]:
    if not _hit(rng, 0.6 * strength):
        return []
    steps = [_draw_jpeg(rng, strength)]
    if rng.random() < 0.2:  # a screenshot of a JPEG, shared again
        steps += [_draw_rescale(rng, 0.8), _draw_jpeg(rng, strength)]
    return steps


def _draw_codecs(rng: np.random.Generator, strength: float) -> list[Step]:
    groups = [_draw_video(rng, strength), _draw_stills(rng, strength)]
    if _hit(rng, 0.08 * strength):
        groups.append([Step("webp", {"quality": integer(rng, 98 - 60 * strength, 98)})])
    if _hit(rng, 0.04 * strength):
        groups.append(
            [Step("block_artifacts", {"strength": between(rng, 0.1, 0.2 + 1.3 * strength)})]
        )
    if _hit(rng, 0.04 * strength):
        groups.append([Step("chroma_subsampling", {"mode": one_of(rng, CHROMA_STEP)})])
    return [step for index in rng.permutation(len(groups)) for step in groups[index]]
