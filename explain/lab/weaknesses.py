"""Where the detector fails, shown on the built-in faces: each a picture before and after a change.

Both are analysed when they are asked for, and the sentences follow from these answers, so an
example that a later model gets right says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from detector.decide import format_probability
from detector.degrade import apply_preset, hue_saturation, jpeg, sharpen
from detector.forgery.appearance import Appearance
from detector.forgery.blending import Blend, self_blend
from detector.forgery.regions import eye_distance
from detector.types import Frame, Label, Media, Progress, Verdict
from explain.figures import Rgb
from explain.lab.charts import Captioned, strip
from explain.lab.examples import (
    ASTRONAUT_POINTS,
    HOPPER_POINTS,
    astronaut,
    astronaut_swapped,
    hopper,
    hopper_mouth,
)

if TYPE_CHECKING:
    from detector.pipeline import Detector

WIDTH_PX = 512  # of both built-in pictures
SHOWN_PX = 320  # side of a shown picture


@dataclass(frozen=True)
class Weakness:
    """One way to fail: two pictures of which the truth is known."""

    title: str
    lesson: str
    before: Callable[[], Rgb]
    after: Callable[[], Rgb]
    forged: bool  # the truth about both


@dataclass(frozen=True, eq=False)
class Judged:
    """Both pictures with the detector's answers."""

    weakness: Weakness
    pictures: tuple[Rgb, Rgb]
    verdicts: tuple[Verdict, Verdict]


def compressed() -> Rgb:
    """The pasted-in face after this project's heavy degradation."""
    return apply_preset(astronaut_swapped(), "heavy", np.random.default_rng(1))


def tiny() -> Rgb:
    """The same forgery small in the picture: the face is some 45 px high."""
    small = cv2.resize(astronaut_swapped(), None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def retouched() -> Rgb:
    """The authentic astronaut after a beauty filter: smooth skin, warmer colours, sharpened."""
    smooth = np.asarray(cv2.bilateralFilter(astronaut(), 9, 40, 7), np.uint8)
    return sharpen(hue_saturation(smooth, -4.0, 1.25), 1.0)


def captioned() -> Rgb:
    """The authentic astronaut with a line of text across her face, as on a meme."""
    image = Image.fromarray(astronaut())
    x, y = ASTRONAUT_POINTS.mean(0).tolist()
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(30)
    draw.text((x, y + 18), "NASA 1999", "white", font, "mm", stroke_width=3, stroke_fill="black")
    return np.asarray(image)


def _blended(blend: Blend) -> Rgb:
    return self_blend(hopper(), HOPPER_POINTS, blend, np.random.default_rng(5)).forged


def coarse() -> Rgb:
    """The admiral's face pasted over itself carelessly: other colours, less sharp, a hard seam."""
    appearance = Appearance(rgb_shift=(14.0, -8.0, -12.0), down=0.4)
    return _blended(
        Blend("face", shift_x=0.006, shift_y=0.004, scale=1.04, blur=0.06, appearance=appearance)
    )


def careful() -> Rgb:
    """The same with care: nearly the same colours, as sharp, a soft seam."""
    return _blended(
        Blend(
            "face",
            shift_x=0.004,
            shift_y=0.003,
            blur=0.4,
            appearance=Appearance(rgb_shift=(3.0, -2.0, -2.0)),
        )
    )


def resaved_mouth() -> Rgb:
    """The re-drawn mouth saved as a messenger would, JPEG quality 60."""
    return jpeg(hopper_mouth(), 60)


WEAKNESSES: tuple[Weakness, ...] = (
    Weakness(
        "Compression hides a forgery",
        "A face pasted in, before and after heavy compression: the traces go first, the forgery "
        "stays.",
        astronaut_swapped, compressed, True,
    ),
    Weakness(
        "A small face cannot be judged",
        "The same forgery, small in its picture (enlarged here). Too few pixels are left to say "
        "anything.",
        astronaut_swapped, tiny, True,
    ),
    Weakness(
        "Careful work passes",
        "A face pasted in carelessly, and once more with matched colours, full sharpness and a "
        "soft seam.",
        coarse, careful, True,
    ),
    Weakness(
        "A small change is easily missed",
        "Only the mouth is re-drawn, as for other words; then it is saved once more as a JPEG.",
        hopper_mouth, resaved_mouth, True,
    ),
    Weakness(
        "Retouching is not forging",
        "An authentic photo before and after a beauty filter with warmer colours: edited, and "
        "still her own face.",
        astronaut, retouched, False,
    ),
    Weakness(
        "Text over a face",
        "An authentic photo with a caption across the face, as on a meme.",
        astronaut, captioned, False,
    ),
)  # fmt: skip


def judge(detector: Detector, progress: Progress | None = None) -> list[Judged]:
    """Analyse both pictures of every weakness.

    `progress(share, stage)` is called before each; raising in it cancels.
    """
    report = progress or (lambda share, stage: None)
    found = []
    for i, weakness in enumerate(WEAKNESSES):
        report(i / len(WEAKNESSES), weakness.title)
        pictures = weakness.before(), weakness.after()
        before, after = (detector.analyze_media(still(rgb)).verdict for rgb in pictures)
        found.append(Judged(weakness, pictures, (before, after)))
    report(1.0, "Done")
    return found


def still(rgb: Rgb) -> Media:
    """A picture as opened media."""
    height, width = rgb.shape[:2]
    return Media("built-in.png", "0" * 64, "image", width, height, 0.0, (Frame(0, 0.0, rgb),))


def describe_outcome(judged: Judged) -> list[str]:
    """What is shown, and whether the detector is wrong, silent or right about the second
    picture.
    """
    truth = Label.FORGED if judged.weakness.forged else Label.AUTHENTIC
    before, after = judged.verdicts
    if after.label is truth:
        outcome = "This time the detector is not misled."
    elif after.label in (Label.UNCERTAIN, Label.NO_FACE):
        outcome = "It gives no answer here, which is better than a wrong one."
    else:
        outcome = "This answer is wrong."
    kind = "forged" if judged.weakness.forged else "authentic"
    return [
        judged.weakness.lesson,
        f"Both are {kind}. Before: {_answer(before)}. After: {_answer(after)}. {after.reason} "
        f"{outcome}",
    ]


def _answer(verdict: Verdict) -> str:
    score = "" if verdict.p_fake is None else f", score {format_probability(verdict.p_fake)}"
    return f"{verdict.label.headline}{score}"


def pair_picture(judged: Judged) -> Rgb:
    """Both pictures around the face, with the answers below."""
    cells = [
        Captioned(_around_face(rgb), f"{name}\n{_answer(verdict)}")
        for rgb, name, verdict in zip(
            judged.pictures, ("before", "after"), judged.verdicts, strict=True
        )
    ]
    return strip(cells, side_px=SHOWN_PX)


def _around_face(rgb: Rgb) -> Rgb:
    """A square around the face; the landmarks are scaled as the picture was."""
    points = ASTRONAUT_POINTS if rgb.shape[0] == rgb.shape[1] else HOPPER_POINTS
    points = points * (rgb.shape[1] / WIDTH_PX)
    (x, y), half = points.mean(0), 2.4 * eye_distance(points)
    return rgb[max(0, int(y - half)) : int(y + half), max(0, int(x - half)) : int(x + half)]
