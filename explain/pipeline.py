"""One face of an Analysis in, its Explanation out: maps, LIME, reconstruction, report card and
words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.degrade import jpeg
from detector.pipeline import STABILITY_QUALITY, Progress
from detector.types import Analysis, FaceAnalysis, FaceCrop, Frame
from explain.cam import Heat, compressed
from explain.capture import Capture
from explain.explainer import Explainer
from explain.faithfulness import STEPS, ReportCard
from explain.regions import METHOD as LIME
from explain.regions import N_SAMPLES, Regions
from explain.restore import Restoration, noise_residual
from explain.timeline import Timeline, build_timeline
from explain.words import WHOLE, Findings, FrameScores, describe, face_parts, place_of


@dataclass(frozen=True)
class ExplainOptions:
    """What to compute; part of every report, since the same options give the same report."""

    # heat maps by name; empty: the evidence map and Grad-CAM on every layer
    methods: tuple[str, ...] = ()
    lime: bool = True
    lime_fill: str = "mean"
    lime_samples: int = N_SAMPLES
    check: bool = True  # grade every map against the controls
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
    """Index of the crop with the highest probability, a detected one before an interpolated one."""
    return max(
        range(len(face.p_frames)),
        key=lambda i: (face.track.crops[i].confidence > 0, face.p_frames[i]),
    )


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
    report = progress or (lambda share, stage: None)
    face = analysis.faces[face_index]
    index = most_suspicious(face) if crop_index is None else crop_index
    crop = face.track.crops[index]
    maps = _draw_maps(explainer, crop.rgb, options or ExplainOptions(), report)
    report(0.95, "Putting it into words")
    timeline = timeline or build_timeline(face, explainer.profile.thresholds)
    findings = _findings(explainer, face, crop, maps, timeline)
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


@dataclass(frozen=True, eq=False)
class _Maps:
    """What was drawn of one crop; see Explanation."""

    capture: Capture
    heats: Mapping[str, Heat]
    regions: Regions | None
    card: ReportCard | None

    @property
    def may_name_a_place(self) -> bool:
        """Whether the first map passed its check, or none was made."""
        first = next(iter(self.heats.values()))
        return self.card is None or self.card.grade(first.method).trusted


def _draw_maps(
    explainer: Explainer, crop: NDArray[np.uint8], options: ExplainOptions, report: Progress
) -> _Maps:
    report(0.05, "Drawing heat maps")
    capture = explainer.capture(crop)
    heats = explainer.heats(crop, options.methods or explainer.default_methods, capture)
    regions = card = None
    if options.lime:
        report(0.15, "Covering parts of the face (LIME)")
        regions = explainer.explain_regions(
            crop, options.lime_fill, n_samples=options.lime_samples, seed=options.seed
        )
        heats[LIME] = regions.heat()
    if options.check:
        report(0.5, "Checking the explanations")
        card = explainer.report_card(crop, heats, steps=options.check_steps, seed=options.seed)
    return _Maps(capture, heats, regions, card)


def _findings(
    explainer: Explainer, face: FaceAnalysis, crop: FaceCrop, maps: _Maps, timeline: Timeline
) -> Findings:
    """The numbers behind the sentences."""
    parts = face_parts(crop)
    first = next(iter(maps.heats.values()))
    return Findings(
        label=face.verdict.label,
        p=face.verdict.p_fake or 0.0,
        thresholds=timeline.thresholds,
        place=place_of(first, parts) if maps.may_name_a_place else None,
        stream_shares=maps.capture.stream_shares(),
        intervals=timeline.intervals,
        frame=score_changes(explainer, crop, parts),
    )


def score_changes(
    explainer: Explainer, crop: FaceCrop, parts: Mapping[str, NDArray[np.bool_]]
) -> FrameScores:
    """The crop's probability as it is, re-saved, and with each part of the face compressed."""
    cover = compressed(crop.rgb)
    hidden = {
        name: np.where(mask[..., None], cover, crop.rgb)
        for name, mask in parts.items()
        if name != WHOLE and mask.any()
    }
    pictures = [crop.rgb, jpeg(crop.rgb, STABILITY_QUALITY), *hidden.values()]
    p, p_resaved, *p_hidden = (
        explainer.probability(float(logit)) for logit in explainer.score(np.stack(pictures))
    )
    return FrameScores(p, p_resaved, dict(zip(hidden, p_hidden, strict=True)))
