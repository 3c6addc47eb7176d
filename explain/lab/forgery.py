"""The forgery lab: one face forged from itself by hand, and the detector's answer.

Only ever the face's own pixels: self-blend, part splice, or the face as a small generator gives it
back. Nobody's face is put on somebody else's picture here.

`python -m explain.lab.forgery --faces FOLDER` measures, on ten unseen authentic faces, how the
score follows the ratio.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.errors import MediaError
from detector.faces import cut_square
from detector.forgery.appearance import Appearance
from detector.forgery.blending import Blend, Forgery, part_splice, resynthesis, self_blend
from detector.forgery.pictures import load_pictures
from detector.forgery.regions import REGIONS, Points, Rgb, eye_distance
from detector.types import FaceCrop, Label, Media, Progress
from explain.cam import EVIDENCE_MAP, Heat
from explain.faithfulness import Localisation, localise
from explain.lab.generators import SHIPPED_GENERATORS, generators
from explain.ranks import rank_correlation

if TYPE_CHECKING:
    from detector.pipeline import Detector
    from explain.explainer import Explainer

SELF_BLEND, SPLICE, GENERATOR = FAMILIES = ("self-blend", "part splice", "generator reconstruction")
SURROUNDINGS = 2.2  # side of the part that is worked on / longer side of the face box
# larger faces are averaged down: a crop of CROP_PX holds no more detail, and a slider must answer
# at once
MOST_FACE_PX = 344
TINT = np.array([1.0, -0.6, -0.8])  # of a colour shift: a face from warmer light
TRIES = 64  # forgeries that "surprise me" draws at most
TRIES_AT_ONCE = 8  # of them scored in one batch
# mean change inside the mask in grey levels, below which a missed forgery is no surprise
VISIBLE_CHANGE = 4.0


@dataclass(frozen=True, eq=False)
class Subject:
    """The face that is forged: its surroundings, and where it is in them (px)."""

    rgb: Rgb  # (H, W, 3) uint8
    landmarks_px: Points  # (5, 2)
    box_xyxy_px: tuple[float, float, float, float]

    def crop(self, rgb: Rgb) -> Rgb:
        """The detector's view of a forged copy of the surroundings."""
        return cut_square(rgb, self.box_xyxy_px)[0]

    @cached_property
    def inside(self) -> NDArray[np.bool_]:
        """(S, S): which pixels of the view lie in the picture; see FaceCrop.inside."""
        crop, to_picture = cut_square(self.rgb, self.box_xyxy_px)
        height, width = self.rgb.shape[:2]
        face = FaceCrop(
            crop, to_picture, 0, 0.0, self.box_xyxy_px, self.landmarks_px, 1.0, (width, height)
        )
        return face.inside

    def scores(self, explainer: Explainer, crops: Sequence[Rgb]) -> NDArray[np.float32]:
        """Logits of views of the face, as the verdict on them reads it."""
        views = np.stack(crops)
        if self.inside.all():
            return explainer.verdict_score(views)
        return explainer.verdict_score(views, np.stack([self.inside] * len(views)))


@dataclass(frozen=True)
class ForgerySettings:
    """How the face is forged; one field for each slider of the lab."""

    family: str = SELF_BLEND
    region: str = "face"
    ratio: float = 1.0  # opacity of what is laid over
    colour: float = 12.0  # grey levels
    blur: float = 0.06  # softness of the seam, share of the eye distance
    offset: float = 0.03  # share of the eye distance, to the right and down
    # the copy is scaled to this fraction and back: a generator's lower resolution
    detail: float = 0.3
    sharpen: float = 0.0  # unsharp amount, after that
    generator: str = SHIPPED_GENERATORS[0]
    seed: int = 0

    @property
    def what(self) -> str:
        """What is done to which part of the face."""
        return f"{self.family} of the {self.region}"

    def __post_init__(self) -> None:
        choices = (
            (self.family, FAMILIES),
            (self.region, REGIONS),
            (self.generator, SHIPPED_GENERATORS),
        )
        for value, known in choices:
            if value not in known:
                raise ValueError(f"expected one of {', '.join(known)}, but got {value!r}")
        for name, (low, high) in RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"expected {name} between {low} and {high}, but got {getattr(self, name)}"
                )


RANGES: dict[str, tuple[float, float]] = {
    "ratio": (0.0, 1.0),
    "colour": (0.0, 40.0),
    "blur": (0.01, 0.4),
    "offset": (0.0, 0.15),
    "detail": (0.2, 1.0),
    "sharpen": (0.0, 2.0),
}


@dataclass(frozen=True, eq=False)
class Result:
    """A forgery and the detector's answer; pictures and maps are of the detector's crop (S, S)."""

    settings: ForgerySettings
    authentic: Rgb
    forged: Rgb
    mask: NDArray[np.float32]  # [0, 1], 1 where pixels come from the forgery
    logit: float
    p: float
    p_authentic: float  # of the untouched face
    label: Label
    heats: dict[str, Heat]
    # every map against the mask, by method; empty where nothing was changed
    localisations: dict[str, Localisation]

    def with_map(self, method: str, heat: Heat) -> Result:
        """With one more map, compared with the mask like the others."""
        heats = {**self.heats, method: heat}
        if not self.localisations:
            return replace(self, heats=heats)
        localised = {**self.localisations, method: localise(heat.map, self.mask > 0.5)}
        return replace(self, heats=heats, localisations=localised)


def subject_of(detector: Detector, media: Media) -> Subject:
    """The largest face of the file's first frame. Raises MediaError where there is none."""
    faces = detector.finder.detect_faces(media.frames[0].rgb)
    if not faces:
        raise MediaError(f"No face was found in {media.name}, so there is nothing to forge.")
    return cut_subject(media.frames[0].rgb, faces[0].box_xyxy_px, faces[0].landmarks_px)


def cut_subject(
    rgb: Rgb, box_xyxy_px: tuple[float, float, float, float], landmarks_px: Points
) -> Subject:
    """A face with its surroundings; averaged down if it is larger than MOST_FACE_PX."""
    x0, y0, x1, y1 = box_xyxy_px
    half = SURROUNDINGS * max(x1 - x0, y1 - y0) / 2
    left, top = (max(0, int(c - half)) for c in ((x0 + x1) / 2, (y0 + y1) / 2))
    part = np.ascontiguousarray(
        rgb[top : int((y0 + y1) / 2 + half), left : int((x0 + x1) / 2 + half)]
    )
    points = landmarks_px - np.array([left, top], np.float32)
    box = np.array(box_xyxy_px) - (left, top, left, top)
    factor = MOST_FACE_PX / max(x1 - x0, y1 - y0)
    if factor < 1:
        height, width = part.shape[:2]
        size = round(width * factor), round(height * factor)
        part = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)
        zoom = np.array([size[0] / width, size[1] / height])
        points = (points + 0.5) * zoom - 0.5
        box = box * np.tile(zoom, 2)
    return Subject(part, points.astype(np.float32), (box[0], box[1], box[2], box[3]))


def forge(subject: Subject, settings: ForgerySettings) -> Forgery:
    """The forged face; the same settings always give the same picture."""
    rgb = subject.rgb
    points = subject.landmarks_px
    rng = np.random.default_rng(settings.seed)
    blend = _blend(subject, settings)
    if settings.family == SPLICE:
        return part_splice(rgb, points, blend, rng)
    if settings.family == GENERATOR:
        from detector.forgery.generators import rebuild

        drawn = rebuild(generators()[settings.generator], rgb)
        return resynthesis(rgb, drawn, points, blend, rng, whole=False, soften=False)
    return self_blend(rgb, points, blend, rng)


def _blend(subject: Subject, settings: ForgerySettings) -> Blend:
    height, width = subject.rgb.shape[:2]
    shift = settings.offset * eye_distance(subject.landmarks_px)
    red, green, blue = (settings.colour * TINT).tolist()
    appearance = Appearance(
        rgb_shift=(red, green, blue), down=settings.detail, sharpen=settings.sharpen
    )
    return Blend(
        settings.region,
        settings.ratio,
        shift_x=shift / width,
        shift_y=shift / height,
        blur=settings.blur,
        appearance=appearance,
    )


def judge(explainer: Explainer, subject: Subject, settings: ForgerySettings) -> Result:
    """Forge the face, ask the detector, and compare the heat maps with the true mask."""
    forgery = forge(subject, settings)
    authentic = subject.crop(forgery.authentic)
    forged = subject.crop(forgery.forged)
    mask = crop_mask(subject, forgery.mask)
    logits = subject.scores(explainer, [authentic, forged])
    p_authentic, p = (explainer.probability(float(logit)) for logit in logits)
    methods = (EVIDENCE_MAP, f"Grad-CAM, {explainer.layers[0]}")
    maps = explainer.heats(forged, methods)
    changed = settings.ratio > 0 and bool((mask > 0.5).any())
    found = {name: localise(heat.map, mask > 0.5) for name, heat in maps.items()} if changed else {}
    return Result(
        settings=settings,
        authentic=authentic,
        forged=forged,
        mask=mask,
        logit=float(logits[1]),
        p=p,
        p_authentic=p_authentic,
        label=label_of(explainer, p),
        heats=maps,
        localisations=found,
    )


def follows_ratio(explainer: Explainer, subject: Subject, settings: ForgerySettings) -> float:
    """Spearman's correlation of the score with the blend ratio, from 0 to 1 in tenths; the rest as
    the settings say.
    """
    ratios = np.arange(11) / 10
    forged = [forge(subject, replace(settings, ratio=float(ratio))).forged for ratio in ratios]
    return rank_correlation(
        ratios,
        subject.scores(explainer, [subject.crop(rgb) for rgb in forged]),
    )


def label_of(explainer: Explainer, p: float) -> Label:
    """The answer that belongs to a calibrated probability of a still picture."""
    band = explainer.profile.thresholds
    if p > band.forged_above:
        return Label.FORGED
    return Label.AUTHENTIC if p < band.authentic_below else Label.UNCERTAIN


def crop_mask(subject: Subject, mask: NDArray[np.float32]) -> NDArray[np.float32]:
    """(S, S) mask in the detector's crop."""
    levels = np.repeat(np.rint(255 * mask).astype(np.uint8)[..., None], 3, axis=2)
    return subject.crop(levels)[..., 0].astype(np.float32) / np.float32(255)


# ----------------------------------------------------------------------------------------------
# surprise


def surprise(
    explainer: Explainer, subject: Subject, seed: int, progress: Progress | None = None
) -> ForgerySettings | None:
    """Settings of a visible forgery that the detector calls authentic.

    None if none of TRIES forgeries is one.
    """
    report = progress or (lambda share, stage: None)
    rng = np.random.default_rng(seed)
    for start in range(0, TRIES, TRIES_AT_ONCE):
        report(start / TRIES, f"{start} forgeries tried")
        tries = [draw_settings(rng) for _ in range(TRIES_AT_ONCE)]
        forgeries = [forge(subject, settings) for settings in tries]
        logits = subject.scores(explainer, [subject.crop(made.forged) for made in forgeries])
        for i in np.argsort(logits):
            label = label_of(explainer, explainer.probability(float(logits[i])))
            missed = label is Label.AUTHENTIC
            if missed and mean_change(forgeries[i]) >= VISIBLE_CHANGE:
                return tries[i]
    return None


def draw_settings(rng: np.random.Generator) -> ForgerySettings:
    """Random settings within the sliders' ranges."""
    family = str(rng.choice(FAMILIES))
    region = str(rng.choice(list(REGIONS)))
    values = {name: round(float(rng.uniform(low, high)), 3) for name, (low, high) in RANGES.items()}
    values["ratio"] = float(rng.choice([0.5, 0.75, 1.0]))
    generator = str(rng.choice(SHIPPED_GENERATORS))
    return ForgerySettings(
        family, region, generator=generator, seed=int(rng.integers(1 << 31)), **values
    )


def mean_change(forgery: Forgery) -> float:
    """Mean absolute change inside the mask in grey levels."""
    difference = np.abs(forgery.forged.astype(np.float32) - forgery.authentic).mean(axis=2)
    return float((difference * forgery.mask).sum() / max(float(forgery.mask.sum()), 1.0))


def main() -> None:
    parser = argparse.ArgumentParser(
        description="How the score follows the blend ratio at the default settings."
    )
    parser.add_argument(
        "--faces", type=Path, required=True, help="folder of authentic faces with its CSV beside it"
    )
    parser.add_argument("--count", type=int, default=10)
    args = parser.parse_args()
    from detector.pipeline import default_detector
    from explain.explainer import Explainer

    explainer = Explainer(default_detector(), "image")
    unseen = load_pictures(args.faces, ("val",))
    chosen = np.random.default_rng(0).permutation(len(unseen))[: args.count]
    faces = [unseen[i] for i in chosen]
    found = [
        follows_ratio(
            explainer, cut_subject(f.rgb, f.box_xyxy_px, f.landmarks_px), ForgerySettings()
        )
        for f in faces
    ]
    print(
        f"Spearman of score and ratio on {len(found)} faces: "
        f"mean {np.mean(found):.3f}, least {min(found):.3f}"
    )


if __name__ == "__main__":
    main()
