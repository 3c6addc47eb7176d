"""One face of an Analysis in, its Explanation out: maps, LIME, reconstruction, report card,
words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.degrade import jpeg
from detector.pipeline import STABILITY_QUALITY, Detector
from detector.types import Analysis, FaceAnalysis, FaceCrop, Frame, Kind
from explain.cam import EVIDENCE_MAP, LOW_PASS_VIEW, Heat, capture_pass, heats, method_names, wiped
from explain.faithfulness import STEPS, ReportCard, report_card
from explain.regions import METHOD as LIME
from explain.regions import N_SAMPLES, Regions, explain_regions
from explain.restore import Restoration, noise_residual, restore
from explain.timeline import Timeline, build_timeline
from explain.words import WHOLE, Findings, describe, face_parts, place_of

Progress = Callable[[float, str], None]
SHOWN_CAM = "Grad-CAM"  # of the CAM family, the one that is shown unless others are asked for


@dataclass(frozen=True)
class Settings:
    """What to compute; part of every report, since the same settings give the same report."""

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
    logit: float  # frame logit, in float32
    p: float  # calibrated probability of this frame
    heats: Mapping[str, Heat]  # method -> map, LIME's among them if it was asked for
    regions: Regions | None
    card: ReportCard | None
    restoration: Restoration | None
    residual: NDArray[np.float32]  # (S, S, 3) grey levels
    timeline: Timeline
    findings: Findings
    words: tuple[str, ...]


def default_methods(detector: Detector, kind: Kind) -> tuple[str, ...]:
    """The heat maps shown unless others are asked for.

    The low-pass view's is not among them: it places forgeries hardly better than chance (pixel AUC
    .55), and grading one more map takes a second. The evidence map holds both views.
    """
    known = method_names(detector.network, detector.profiles[kind])
    names = [m for m in known if not m.endswith(LOW_PASS_VIEW)]
    return tuple(m for m in names if m == EVIDENCE_MAP or m.startswith(f"{SHOWN_CAM}, "))


def most_suspicious(face: FaceAnalysis) -> int:
    """Index of the crop with the highest probability, a detected one before an interpolated one."""
    return max(
        range(len(face.p_frames)),
        key=lambda i: (face.track.crops[i].confidence > 0, face.p_frames[i]),
    )


def explain_face(
    detector: Detector,
    analysis: Analysis,
    face_index: int = 0,
    crop_index: int | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> Explanation:
    """Explain one crop of one face; crop_index None takes the most suspicious one.

    `progress(share, stage)` is called along the way; raising in it cancels. Raises IndexError for a
    face or crop that is not there and ValueError for an unknown method.
    """
    settings, report = settings or Settings(), progress or (lambda share, stage: None)
    kind, face = analysis.media.kind, analysis.faces[face_index]
    crop = face.track.crops[most_suspicious(face) if crop_index is None else crop_index]
    profile = detector.profiles[kind]
    report(0.05, "Drawing heat maps")
    capture = capture_pass(detector, kind, crop.rgb)
    methods = settings.methods or default_methods(detector, kind)
    maps = heats(detector, kind, crop.rgb, methods, capture)
    regions = None
    if settings.lime:
        report(0.15, "Covering parts of the face (LIME)")
        regions = explain_regions(
            detector,
            kind,
            crop.rgb,
            settings.lime_fill,
            n_samples=settings.lime_samples,
            seed=settings.seed,
        )
        maps[LIME] = regions.heat()
    card = None
    if settings.check:
        report(0.5, "Checking the explanations")
        card = report_card(
            detector, kind, crop.rgb, maps, steps=settings.check_steps, seed=settings.seed
        )
    report(0.95, "Putting it into words")
    timeline = build_timeline(face, profile.thresholds)
    findings = find(detector, kind, face, crop, maps, card, timeline, capture.stream_shares())
    return Explanation(
        face=face,
        frame=next(frame for frame in analysis.media.frames if frame.index == crop.frame_index),
        crop=crop,
        logit=capture.logit,
        p=profile.calibration.probability(capture.logit),
        heats=maps,
        regions=regions,
        card=card,
        restoration=restore(detector, crop.rgb),
        residual=noise_residual(crop.rgb),
        timeline=timeline,
        findings=findings,
        words=describe(findings),
    )


def find(
    detector: Detector,
    kind: Kind,
    face: FaceAnalysis,
    crop: FaceCrop,
    maps: Mapping[str, Heat],
    card: ReportCard | None,
    timeline: Timeline,
    stream_shares: Mapping[str, float],
) -> Findings:
    """Gather the numbers for the sentences; looks at the crop re-saved and with each part of the
    face wiped.
    """
    parts, cover = face_parts(crop), wiped(crop.rgb)
    hidden = {
        n: np.where(mask[..., None], cover, crop.rgb)
        for n, mask in parts.items()
        if n != WHOLE and mask.any()
    }
    pictures = [crop.rgb, jpeg(crop.rgb, STABILITY_QUALITY), *hidden.values()]
    logits = detector.predict(np.stack(pictures), kind=kind).logits
    probability = detector.profiles[kind].calibration.probability
    p_frame, p_resaved, *p_hidden = (probability(float(logit)) for logit in logits)
    first = next(iter(maps.values()))
    trusted = card is None or card.grade(first.method).trusted
    return Findings(
        label=face.verdict.label,
        p=face.verdict.p_fake or 0.0,
        band=timeline.band,
        place=place_of(first, parts) if trusted else None,
        stream_shares=stream_shares,
        seconds=[(i.start_s, i.end_s) for i in timeline.intervals],
        p_frame=p_frame,
        p_resaved=p_resaved,
        p_hidden=dict(zip(hidden, p_hidden, strict=True)),
    )
