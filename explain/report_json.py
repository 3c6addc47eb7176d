"""The report's numbers, as plain types in a fixed order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from detector import __version__
from detector.decoding import Traces
from detector.types import Analysis, FaceAnalysis, Verdict
from explain.cam import Heat
from explain.faithfulness import ReportCard
from explain.pipeline import ExplainOptions, Explanation
from explain.provenance import credentials_of
from explain.timeline import Timeline
from explain.words import CLOSING

PROGRAM = "Deepfake Lens"
FORMAT = 1  # raised when the JSON's meaning changes
LIMITS = (
    "The score is calibrated on the forgeries named in the model card. Newer kinds can be missed, "
    "and authentic pictures are sometimes called forged.",
    "Small, blurred, filtered, retouched or heavily compressed faces can look forged or hide a "
    "forgery.",
    "A heat map shows what moved this detector's score, not what somebody did to the picture. One "
    "that does not beat maps which know nothing of the detector is marked: do not rely on it.",
    "Metadata and Content Credentials are what the file states about itself. They can be removed "
    "or made up, and they never change the score.",
    CLOSING,
)


def content_of(
    analysis: Analysis,
    timelines: Sequence[Timeline],
    explained: Sequence[Explanation],
    options: ExplainOptions,
    traces: Traces | None,
) -> dict[str, Any]:
    """The JSON of a report: no times, no dates, floats rounded.

    timelines: of every face; explained: the first faces.
    """
    media = analysis.media
    return {
        "format": FORMAT,
        "file": {
            "name": media.name,
            "sha256": media.sha256,
            "kind": media.kind,
            "width": media.width,
            "height": media.height,
            "duration_s": _r(media.duration_s),
            "frames_looked_at": [frame.index for frame in media.frames],
        },
        "program": {"name": PROGRAM, "version": __version__},
        "model": {"name": analysis.model.name, "sha256": analysis.model.sha256},
        "settings": options.to_dict(),
        "verdict": _verdict(analysis.verdict),
        "faces": [
            _face(face, timelines[i], explained[i] if i < len(explained) else None)
            for i, face in enumerate(analysis.faces)
        ],
        "metadata": dict(sorted(media.metadata.items())),
        "content_credentials": credentials_of(traces),
        "traces": None if traces is None else _traces(traces),
        "limits": [*LIMITS[:-1], *media.notes, LIMITS[-1]],
    }


def _traces(traces: Traces) -> dict[str, Any]:
    """What the file's bytes tell; None: not looked for, or not measured."""
    grid = traces.grid
    gaps = traces.gaps
    return {
        "c2pa_present": traces.c2pa,
        "c2pa_claim_generator": traces.claim_generator or None,
        "c2pa_source_types": list(traces.source_types),
        "jpeg_quality": traces.jpeg_quality,
        "jpeg_subsampling": traces.jpeg_subsampling or None,
        "jpeg_grid_xy": None if grid is None else list(grid),
        "jpeg_gaps": None if gaps is None else {"found": gaps[0], "read": gaps[1]},
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "label": str(verdict.label),
        "headline": verdict.headline,
        "p_fake": _r(verdict.p_fake),
        "logit": _r(verdict.logit),
        "reason": verdict.reason,
        "part_s": None if verdict.part is None else [_r(end) for end in verdict.part],
    }


def _face(
    face: FaceAnalysis, timeline: Timeline, explanation: Explanation | None
) -> dict[str, Any]:
    return {
        "track": face.track.track,
        **_verdict(face.verdict),
        "evidence": {"manipulated": _r(face.manipulated), "generated": _r(face.generated)},
        "timeline": {
            "t": [_r(t) for t in timeline.t],
            "p_fake": [_r(p) for p in timeline.p],
            "p_smooth": [_r(p) for p in timeline.p_smooth],
            "band": [
                _r(timeline.thresholds.authentic_below),
                _r(timeline.thresholds.forged_above),
            ],
            "suspicious_s": [[_r(i.start_s), _r(i.end_s)] for i in timeline.intervals],
            "similarity": [_r(s) for s in timeline.similarity],
        },
        "explanation": None if explanation is None else _explanation(explanation),
    }


def _explanation(e: Explanation) -> dict[str, Any]:
    findings = e.findings
    scores = e.findings.frame
    return {
        "frame": {
            "index": e.frame.index,
            "t": _r(e.crop.t),
            "p_fake": _r(e.p),
            "logit": _r(e.logit),
            "map_logit": _r(e.map_logit),
        },
        "box_xyxy": [_r(v) for v in e.crop.box_xyxy_px],
        "words": list(e.words),
        "place": findings.place,
        "stream_shares": {name: _r(share) for name, share in findings.stream_shares.items()},
        "p_resaved": None if scores is None else _r(scores.p_resaved),
        "p_hidden": {} if scores is None else {name: _r(p) for name, p in scores.p_hidden.items()},
        "maps": [_map(heat, e.card) for heat in e.heats.values()],
        "controls": None
        if e.card is None
        else {
            name: [_r(curves.deletion_auc), _r(curves.insertion_auc)]
            for name, curves in e.card.controls.items()
        },
        "lime": None
        if e.regions is None
        else {
            "weights": [_r(float(w)) for w in e.regions.weights],
            "intercept": _r(e.regions.intercept),
            "r2": _r(e.regions.r_squared),
            "stability": _r(e.regions.stability),
            "fill": e.regions.fill,
        },
        "reconstruction": None
        if e.restoration is None
        else {
            "psnr_db": _r(e.restoration.psnr_db),
            "ssim": _r(e.restoration.ssim),
            "meaning": e.restoration.sentence,
        },
    }


def _map(heat: Heat, card: ReportCard | None) -> dict[str, Any]:
    grade = None if card is None else card.grade(heat.method)
    return {
        "method": heat.method,
        "target": heat.target,
        "unit": heat.unit,
        "class_blind": heat.class_blind,
        "min": _r(float(heat.map.min())),
        "max": _r(float(heat.map.max())),
        "grade": None
        if grade is None
        else {
            "trusted": grade.trusted,
            "deletion_auc": _r(grade.deletion_auc),
            "insertion_auc": _r(grade.insertion_auc),
            "road": _r(grade.road),
            "sentence": grade.sentence,
        },
    }


def _r(value: float | None) -> float | None:
    """Rounded to five significant digits: far below what the measurements mean."""
    return None if value is None else float(f"{value:.5g}")
