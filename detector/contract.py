"""The JSON of an analysis, which other programs rely on: the command line's and the page's API."""

from __future__ import annotations

from typing import Any

from detector.types import Analysis, FaceAnalysis, Verdict


def analysis_json(analysis: Analysis) -> dict[str, Any]:
    """Return the object of one file: plain types, rounded to six digits, in a fixed order."""
    return {
        "file": analysis.media.name,
        "sha256": analysis.media.sha256,
        "kind": analysis.media.kind,
        "label": str(analysis.verdict.label),
        "headline": analysis.verdict.headline,
        "p_fake": _rounded(analysis.verdict.p_fake),
        "logit": _rounded(analysis.verdict.logit),
        "reason": analysis.verdict.reason,
        "part": _part_json(analysis.verdict),
        "notes": list(analysis.media.notes),
        "faces": [_face_json(face) for face in analysis.faces],
        "faces_found": len(analysis.faces) + analysis.faces_left_out,
        "model": {"name": analysis.model.name, "sha256": analysis.model.sha256},
        "timing_s": {stage: round(seconds, 4) for stage, seconds in analysis.timing_s.items()},
    }


def _face_json(face: FaceAnalysis) -> dict[str, Any]:
    return {
        "track": face.track.track,
        "label": str(face.verdict.label),
        "headline": face.verdict.headline,
        "p_fake": _rounded(face.verdict.p_fake),
        "logit": _rounded(face.verdict.logit),
        "reason": face.verdict.reason,
        "part": _part_json(face.verdict),
        "evidence": {
            "manipulated": _rounded(face.manipulated),
            "generated": _rounded(face.generated),
        },
        "frames": [
            {
                "index": crop.frame_index,
                "t": _rounded(crop.t),
                "p_fake": _rounded(p),
                "box_xyxy": [round(v, 2) for v in crop.box_xyxy_px],
            }
            for crop, p in zip(face.track.crops, face.p_frames, strict=True)
        ],
    }


def _part_json(verdict: Verdict) -> dict[str, float] | None:
    if verdict.part is None:
        return None
    return {"from_s": round(verdict.part[0], 3), "to_s": round(verdict.part[1], 3)}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)
