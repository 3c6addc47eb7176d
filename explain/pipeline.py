"""One face of an Analysis in, its Explanation out: maps, LIME, reconstruction, report card and
words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from detector.degrade import jpeg
from detector.types import Analysis, FaceAnalysis, FaceCrop, Frame, Progress
from explain.cam import Heat, compressed
from explain.capture import Capture
from explain.faithfulness import STEPS, ReportCard
from explain.map_test import MapTest
from explain.regions import METHOD as LIME
from explain.regions import N_SAMPLES, Regions
from explain.restore import Restoration, noise_residual
from explain.timeline import Timeline, build_timelines
from explain.words import WHOLE, Findings, FrameScores, describe, face_parts, place_of

if TYPE_CHECKING:
    from explain.explainer import Explainer


@dataclass(frozen=True)
class ExplainOptions:
    """What to compute; part of every report, since the same options give the same report."""

    # heat maps by name; empty: the evidence map and Grad-CAM on every layer
    methods: tuple[str, ...] = ()
    lime: bool = True
    lime_fill: str = "mean"
    lime_samples: int = N_SAMPLES
    check: bool = True  # grade every map against the controls; without it no place is named
    changes: bool = True  # score the crop re-saved and with each part of the face compressed
    check_steps: int = STEPS
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "methods": list(self.methods)}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Everything shown about one face in one frame."""

    face: FaceAnalysis
    frame: Frame
    crop: FaceCrop
    logit: float  # frame logit, as the verdict reads it
    p: float  # calibrated probability of this frame
    map_logit: float  # of the two-stream network alone: what the maps explain, in float32
    heats: Mapping[str, Heat]  # method -> map, LIME's among them if it was asked for
    regions: Regions | None
    card: ReportCard | None
    restoration: Restoration | None
    residual: NDArray[np.float32]  # (S, S, 3) grey levels
    timeline: Timeline
    findings: Findings
    words: tuple[str, ...]


def most_suspicious(face: FaceAnalysis) -> int:
    """Index of the crop with the highest probability, a detected one before an interpolated one.

    Where the verdict names a part of the clip, only frames of that part are asked.
    """
    crops = face.track.crops
    indices = list(range(len(face.p_frames)))
    if (part := face.verdict.part) is not None:
        indices = [i for i in indices if part[0] <= crops[i].t <= part[1]]
    return max(indices, key=lambda i: (crops[i].confidence > 0, face.p_frames[i]))


def explain_face(
    explainer: Explainer,
    analysis: Analysis,
    face_index: int = 0,
    crop_index: int | None = None,
    options: ExplainOptions | None = None,
    progress: Progress | None = None,
    timeline: Timeline | None = None,
) -> Explanation:
    """Explain one crop of one face; crop_index None takes the most suspicious one.

    timeline: of this face, if it was built before. `progress(share, stage)` is called along the
    way; raising in it cancels. Raises IndexError for a face or crop that is not there, and
    ValueError for an unknown method or an explainer of the other kind of file.
    """
    if explainer.kind != analysis.media.kind:
        raise ValueError(f"expected an explainer of {analysis.media.kind}, got {explainer.kind}")
    options = options or ExplainOptions()
    report = progress or (lambda share, stage: None)
    face = analysis.faces[face_index]
    index = most_suspicious(face) if crop_index is None else crop_index
    crop = face.track.crops[index]
    timeline = timeline or timelines_of(explainer, analysis)[face_index]
    explainer = explainer.reading(face)
    maps = _draw_maps(explainer, crop.rgb, options, report)
    report(0.95, "Changing the face and asking again")
    changes = score_changes(explainer, face, index) if options.changes else None
    report(0.98, "Putting it into words")
    findings = _findings(face, index, maps.capture, maps.trusted, timeline, changes)
    findings = replace(findings, tested=maps.card is not None)
    return Explanation(
        face=face,
        frame=next(frame for frame in analysis.media.frames if frame.index == crop.frame_index),
        crop=crop,
        logit=face.evidence[index].logit,
        p=face.p_frames[index],
        map_logit=maps.capture.logit,
        heats=maps.heats,
        regions=maps.regions,
        card=maps.card,
        restoration=explainer.restore(crop.rgb),
        residual=noise_residual(crop.rgb),
        timeline=timeline,
        findings=findings,
        words=describe(findings),
    )


def timelines_of(explainer: Explainer, analysis: Analysis) -> tuple[Timeline, ...]:
    """The timeline of every face, beside the thresholds of the kind that it was judged as."""
    of_stills = explainer.detector.profiles["image"].thresholds
    return build_timelines(analysis, explainer.profile.thresholds, of_stills)


def tested_words(
    explainer: Explainer,
    analysis: Analysis,
    face_index: int,
    crop_index: int,
    found: MapTest,
    timeline: Timeline,
) -> tuple[str, ...]:
    """The evidence in words, with the place that a map which passed its test names."""
    face = analysis.faces[face_index]
    explainer = explainer.reading(face)
    capture = explainer.capture(face.track.crops[crop_index].rgb)
    trusted = found.heat if found.passed else None
    changes = score_changes(explainer, face, crop_index)
    return describe(_findings(face, crop_index, capture, trusted, timeline, changes))


def within(report: Progress, start: float, end: float) -> Progress:
    """A callback for one part of the work, from share `start` to share `end` of the whole."""
    return lambda share, stage: report(start + (end - start) * share, stage)


@dataclass(frozen=True, eq=False)
class _Maps:
    """What was drawn of one crop; see Explanation."""

    capture: Capture
    heats: Mapping[str, Heat]
    regions: Regions | None
    card: ReportCard | None

    @property
    def trusted(self) -> Heat | None:
        """The first map that passed its test on this face, LIME's aside; None where none did."""
        grades = () if self.card is None else self.card.grades
        return next((self.heats[g.method] for g in grades if g.trusted and g.method != LIME), None)


def _draw_maps(
    explainer: Explainer, crop: NDArray[np.uint8], options: ExplainOptions, report: Progress
) -> _Maps:
    report(0.05, "Drawing heat maps")
    capture = explainer.capture(crop)
    methods = options.methods or explainer.default_methods
    heats = explainer.heats(crop, methods, capture, within(report, 0.05, 0.1))
    regions = card = None
    if options.lime:
        regions = explainer.explain_regions(
            crop,
            options.lime_fill,
            n_samples=options.lime_samples,
            seed=options.seed,
            progress=within(report, 0.1, 0.5),
        )
        heats[LIME] = regions.heat()
    if options.check:
        card = explainer.report_card(
            crop,
            heats,
            steps=options.check_steps,
            seed=options.seed,
            progress=within(report, 0.5, 0.95),
        )
    return _Maps(capture, heats, regions, card)


def _findings(
    face: FaceAnalysis,
    index: int,
    capture: Capture,
    trusted: Heat | None,
    timeline: Timeline,
    changes: FrameScores | None,
) -> Findings:
    """The numbers behind the sentences. trusted: the map that may name a place, if any may."""
    crop = face.track.crops[index]
    verdict = face.verdict
    return Findings(
        label=verdict.label,
        p=verdict.p_fake or 0.0,
        thresholds=timeline.thresholds,
        part=verdict.part,
        t=crop.t if len(face.track.crops) > 1 and not face.track.still else None,
        p_frame=face.p_frames[index],
        place=None
        if trusted is None
        else place_of(trusted.inside_frame(crop.inside), face_parts(crop)),
        stream_shares=capture.stream_shares(),
        intervals=timeline.intervals,
        frame=changes,
    )


def score_changes(explainer: Explainer, face: FaceAnalysis, index: int) -> FrameScores:
    """A crop's probability as the verdict reads it, re-saved, and with each part compressed.

    Changes of the logit are measured and added to the frame's own, which the page shows beside
    them: in a clip a frame may have been scored with a neighbour's help.
    """
    from detector.pipeline import STABILITY_QUALITY

    crop = face.track.crops[index]
    cover = compressed(crop.rgb)
    hidden = {
        name: np.where(mask[..., None], cover, crop.rgb)
        for name, mask in face_parts(crop).items()
        if name != WHOLE and mask.any()
    }
    pictures = [crop.rgb, jpeg(crop.rgb, STABILITY_QUALITY), *hidden.values()]
    inside = np.stack([crop.inside] * len(pictures))
    logits = explainer.verdict_score(np.stack(pictures), inside)
    shifted = logits - logits[0] + face.evidence[index].logit
    _, p_resaved, *p_hidden = (explainer.probability(float(logit)) for logit in shifted)
    return FrameScores(face.p_frames[index], p_resaved, dict(zip(hidden, p_hidden, strict=True)))
