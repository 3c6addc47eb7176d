import numpy as np
import pytest
from explain_faces import analysis_of, astronaut, detector, explainer

from detector.types import Label
from explain.cam import EVIDENCE_MAP
from explain.explainer import Explainer
from explain.pipeline import ExplainOptions, explain_face, most_suspicious
from explain.timeline import build_timeline
from explain.words import CLOSING

FAST = ExplainOptions(
    methods=(EVIDENCE_MAP, "LayerCAM, rgb stream"), lime_samples=32, check_steps=4
)


def test_default_methods() -> None:
    assert explainer().default_methods == (
        "evidence map",
        "Grad-CAM, rgb stream",
        "Grad-CAM, noise stream",
        "Grad-CAM, map head",
    )


def test_everything_about_one_face() -> None:
    steps: list[tuple[float, str]] = []
    found = explain_face(
        explainer(),
        analysis_of([astronaut()]),
        options=FAST,
        progress=lambda share, stage: steps.append((share, stage)),
    )
    assert list(found.heats) == [EVIDENCE_MAP, "LayerCAM, rgb stream", "LIME"]
    assert found.regions is not None and found.card is not None and found.restoration is not None
    assert [grade.method for grade in found.card.grades] == list(found.heats)
    assert found.residual.shape == (224, 224, 3)
    assert found.frame.rgb is astronaut()
    # the calibration of an untrained detector
    assert found.p == pytest.approx(1 / (1 + np.exp(-found.logit)))
    assert found.words[-1] == CLOSING
    assert found.findings.frame is not None
    assert abs(found.findings.frame.p_resaved - found.p) < 0.1
    assert set(found.findings.frame.p_hidden) == {
        "the eyes",
        "the nose",
        "the mouth",
        "the edge of the face",
    }
    assert [share for share, _ in steps] == sorted(share for share, _ in steps)
    assert any(stage.startswith("Covering parts of the face (LIME)") for _, stage in steps)


def test_without_lime_and_check() -> None:
    options = ExplainOptions(methods=(EVIDENCE_MAP,), lime=False, check=False)
    found = explain_face(explainer(), analysis_of([astronaut()]), options=options)
    assert (found.regions, found.card, list(found.heats)) == (None, None, [EVIDENCE_MAP])


def test_which_frame() -> None:
    darker = (astronaut() * 0.6).astype(np.uint8)
    analysis = analysis_of([astronaut(), darker, astronaut()[::-1].copy()])
    top = most_suspicious(analysis.faces[0])
    assert analysis.faces[0].p_frames[top] == max(analysis.faces[0].p_frames)
    quick = ExplainOptions(methods=(EVIDENCE_MAP,), lime=False, check=False)
    clips = Explainer(detector(), "video")
    shown = explain_face(clips, analysis, options=quick)
    assert shown.crop is analysis.faces[0].track.crops[top]
    line = build_timeline(analysis.faces[0], clips.profile.thresholds)
    asked = explain_face(clips, analysis, crop_index=1, options=quick, timeline=line)
    assert asked.timeline is line and shown.timeline == line
    with pytest.raises(ValueError, match="expected an explainer of video, got image"):
        explain_face(explainer(), analysis)
    assert asked.frame.index == 1
    assert asked.logit == pytest.approx(analysis.faces[0].evidence[1].logit, abs=1e-4)


def test_progress_can_cancel() -> None:
    class StopError(Exception):
        pass

    def stop(share: float, stage: str) -> None:
        if "LIME" in stage:
            raise StopError

    with pytest.raises(StopError):
        explain_face(explainer(), analysis_of([astronaut()]), options=FAST, progress=stop)


def test_an_authentic_face_gets_no_place() -> None:
    quick = ExplainOptions(methods=(EVIDENCE_MAP,), lime=False, check_steps=4)
    found = explain_face(
        explainer(), analysis_of([astronaut()], Label.AUTHENTIC, 0.1), options=quick
    )
    assert found.words[0].startswith("The detector leans clearly towards authentic (score 0.10)")


def test_every_stage_is_told_and_a_stop_is_heard_between_two_maps() -> None:
    told: list[tuple[float, str]] = []
    options = ExplainOptions(lime=False, check=False)
    explain_face(
        explainer(),
        analysis_of([astronaut()]),
        options=options,
        progress=lambda share, stage: told.append((share, stage)),
    )
    assert [stage for _, stage in told] == [
        "Drawing heat maps",
        *(f"Drawing heat maps: {method}" for method in explainer().default_methods),
        "Changing the face and asking again",
        "Putting it into words",
    ]
    assert told == sorted(told, key=lambda one: one[0])
