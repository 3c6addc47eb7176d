"""What compression does to the answer: a file degraded step by step, and analysed at every step.

The degradations are detector.degrade's and the answer is the detector's own: analysing a degraded
picture saved without loss gives the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from detector.decide import deciding_face, format_probability
from detector.degrade import (
    SEVERITIES,
    Degradation,
    Step,
    Value,
    apply,
    apply_clip,
    describe,
    draw_preset,
)
from detector.profile import Thresholds
from detector.types import (
    CROP_PX,
    MAP_SIZE,
    Analysis,
    Evidence,
    FaceCrop,
    Media,
    Progress,
    Verdict,
)
from explain import figures
from explain.cam import evidence_heat
from explain.figures import Rgb
from explain.lab.charts import Band, Captioned, Line, VerticalMark, chart, strip

if TYPE_CHECKING:
    from detector.pipeline import Detector

CLIP_FRAMES = 8  # of a clip: every level is a whole analysis
STRIP_PICTURES = 6  # levels shown side by side
PRESET_SEED = 0
CRF = (10, 18, 23, 28, 33, 38, 43, 48)  # of both video codecs, weak to strong


@dataclass(frozen=True)
class Level:
    """One strength of a degradation."""

    name: str
    degradation: Degradation  # what is done; () leaves the file as it is
    plain: str = ""  # the same for readers who do not know the codec's numbers, where there is one

    @property
    def words(self) -> str:
        """What is done, in plain words."""
        return self.plain or describe(self.degradation)


UNTOUCHED = Level("as it is", ())


@dataclass(frozen=True)
class Sweep:
    """A degradation from mild to strong, the untouched file first."""

    name: str
    axis: str  # what the levels' names are, with its unit
    levels: tuple[Level, ...]

    def __post_init__(self) -> None:
        if not self.levels or self.levels[0].degradation != ():
            raise ValueError("expected the first level to be the untouched file")


@dataclass(frozen=True, eq=False)
class Point:
    """The answer at one level."""

    level: Level
    verdict: Verdict
    # of the face whose score is the file's, in its most suspicious frame; None without a face
    crop: FaceCrop | None
    evidence: Evidence | None


def _sweep(
    name: str, axis: str, operation: str, parameter: str, values: Sequence[Value], **fixed: Value
) -> Sweep:
    steps = [
        Level(f"{value:g}", (Step(operation, {parameter: value, **fixed}),)) for value in values
    ]
    return Sweep(name, axis, (UNTOUCHED, *steps))


def _video(name: str, **fixed: Value) -> Sweep:
    """A video codec from weak to strong. Its scale, CRF, is the codec's own: levels are counted."""
    strongest = len(CRF)
    levels = (
        Level(
            f"{strength}",
            (Step("video_codec", {"crf": crf, **fixed}),),
            f"{name}, strength {strength} of {strongest}",
        )
        for strength, crf in enumerate(CRF, start=1)
    )
    axis = f"how strongly compressed: 1 is hardly seen, {strongest} is the most"
    return Sweep(name, axis, (UNTOUCHED, *levels))


@lru_cache(maxsize=1)
def sweeps() -> dict[str, Sweep]:
    """Every sweep by its name."""
    jpeg = (95, 90, 80, 70, 60, 50, 40, 30, 20, 10)
    scales = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
    blurs = (0.5, 0.8, 1.1, 1.5, 2.0, 3.0, 4.0)
    noises = (2, 5, 10, 15, 20, 30, 40)
    blocks = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
    grey_levels = "strength of the noise (grey levels)"
    every = (
        _sweep("JPEG", "JPEG quality", "jpeg", "quality", jpeg),
        _video("H.264 video", codec="h264"),
        _video("H.265 video", codec="h265", preset="ultrafast"),
        _sweep("Shrink and enlarge", "scale", "rescale", "factor", scales),
        _sweep("Blur", "sigma in px", "gaussian_blur", "sigma", blurs),
        _sweep("Noise", grey_levels, "noise", "sigma", noises),
        Sweep("Colour shift", "red up and blue down, grey levels", _colour_shifts()),
        _sweep("8×8 blocks", "strength", "block_artifacts", "strength", blocks),
        Sweep("Chroma subsampling", "mode", _subsamplings()),
        Sweep("Light, medium, heavy", "preset", _presets()),
    )
    return {sweep.name: sweep for sweep in every}


def _colour_shifts() -> tuple[Level, ...]:
    shifts = (5, 10, 15, 20, 30, 40)
    steps = [(Step("colour_shift", {"red": shift, "blue": -shift}),) for shift in shifts]
    return (
        UNTOUCHED,
        *(Level(f"{shift}", step) for shift, step in zip(shifts, steps, strict=True)),
    )


def _subsamplings() -> tuple[Level, ...]:
    modes = ("4:2:2", "4:2:0", "4:1:1")
    steps = [(Step("chroma_subsampling", {"mode": mode}),) for mode in modes]
    return (UNTOUCHED, *(Level(mode, step) for mode, step in zip(modes, steps, strict=True)))


def _presets() -> tuple[Level, ...]:
    draws = [draw_preset(name, np.random.default_rng(PRESET_SEED)) for name in SEVERITIES]
    levels = (Level(name, draw) for name, draw in zip(SEVERITIES, draws, strict=True))
    return (UNTOUCHED, *levels)


def degraded(media: Media, degradation: Degradation) -> Media:
    """The opened file after it is degraded; a clip's codec sees its frames as a whole."""
    if media.kind == "video":
        pictures = apply_clip([frame.rgb for frame in media.frames], degradation)
    else:
        pictures = [apply(frame.rgb, degradation) for frame in media.frames]
    frames = (replace(frame, rgb=rgb) for frame, rgb in zip(media.frames, pictures, strict=True))
    return replace(media, frames=tuple(frames))


def curve(
    detector: Detector, media: Media, sweep: Sweep, progress: Progress | None = None
) -> tuple[Point, ...]:
    """Analyse the file at every level. `progress(share, stage)` is called before each; raising in
    it cancels.
    """
    report = progress or (lambda share, stage: None)
    points = []
    for i, level in enumerate(sweep.levels):
        report(i / len(sweep.levels), level.plain or f"{sweep.name}: {level.words}")
        points.append(_point(level, detector.analyze_media(degraded(media, level.degradation))))
    report(1.0, "Done")
    return tuple(points)


def _point(level: Level, analysis: Analysis) -> Point:
    face = deciding_face(analysis.faces, analysis.verdict)
    if face is None:
        return Point(level, analysis.verdict, None, None)
    frame = int(np.argmax(face.p_frames))
    return Point(level, analysis.verdict, face.track.crops[frame], face.evidence[frame])


def first_change(points: Sequence[Point]) -> int | None:
    """Index of the first level whose answer differs from the untouched file's; None if none
    does.
    """
    first = points[0].verdict.label
    return next((i for i, point in enumerate(points) if point.verdict.label is not first), None)


def describe_change(points: Sequence[Point]) -> str:
    """Where the answer changes, in a sentence."""
    first = points[0].verdict.label.headline
    at = first_change(points)
    if at is None:
        return f"The answer stays the same all the way: {first}."
    point = points[at]
    return (
        f"The answer changes at {point.level.words}: from {first} to "
        f"{point.verdict.label.headline}. {point.verdict.reason}"
    )


def to_json(sweep: Sweep, points: Sequence[Point]) -> dict[str, object]:
    """The curve as plain types, scores rounded as on the command line."""
    rows = [
        {
            "level": point.level.name,
            "recipe": describe(point.level.degradation),
            "label": str(point.verdict.label),
            "p_fake": _rounded(point.verdict.p_fake),
            "logit": _rounded(point.verdict.logit),
            "reason": point.verdict.reason,
        }
        for point in points
    ]
    at = first_change(points)
    return {
        "sweep": sweep.name,
        "points": rows,
        "changes_at": None if at is None else points[at].level.name,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)


# ----------------------------------------------------------------------------------------------
# pictures


def curve_picture(
    sweep: Sweep, points: Sequence[Point], band: Thresholds, chosen: int | None = None
) -> Rgb:
    """Score against severity, with the band where the detector abstains and the point where the
    answer changes.
    """
    at = first_change(points)
    lines = [Line("score", [point.verdict.p_fake for point in points])]
    if chosen is not None and points[chosen].verdict.p_fake is not None:
        lines.append(Line("shown below", [points[chosen].verdict.p_fake], [chosen]))
    return chart(
        lines,
        sweep.axis,
        "probability of a forgery",
        x_names=[point.level.name for point in points],
        y_limits=(0, 1),
        band=Band(band.authentic_below, band.forged_above, "cannot say"),
        mark=None if at is None else VerticalMark(at, "answer changes"),
    )


def strip_picture(points: Sequence[Point]) -> Rgb:
    """Up to six levels, each with its score."""
    chosen = sorted({round(i) for i in np.linspace(0, len(points) - 1, STRIP_PICTURES)})
    return strip([Captioned(_face(points[i]), _caption(points[i])) for i in chosen], columns=3)


def _face(point: Point) -> Rgb:
    if point.crop is None:
        return np.full((CROP_PX, CROP_PX, 3), 200, np.uint8)
    return point.crop.shown


def _caption(point: Point) -> str:
    p = point.verdict.p_fake
    return (
        f"{point.level.name}\n{'no face found' if p is None else f'score {format_probability(p)}'}"
    )


def evidence_picture(points: Sequence[Point], chosen: int) -> Rgb | None:
    """The chosen level's evidence map over its face, on one colour scale for the whole curve."""
    point = points[chosen]
    if point.crop is None or point.evidence is None:
        return None
    side = point.crop.rgb.shape[0]
    shown = [p.evidence for p in points if p.evidence is not None]
    scale = figures.shared_scale([evidence_heat(evidence.map, MAP_SIZE) for evidence in shown])
    heat = evidence_heat(point.evidence.map, side)
    drawn = figures.heat_picture(point.crop.shown, heat, scale)
    return figures.with_colour_bar(figures.enlarged(drawn), scale)
