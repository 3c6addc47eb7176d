"""The decision: calibrated, three-way, abstaining with a reason."""

from dataclasses import replace

import numpy as np
import pytest

from detector.decide import (
    highest_stretch,
    judge_face,
    judge_file,
    longest_run,
)
from detector.profile import Calibration, Profile, Thresholds
from detector.types import Evidence, FaceAnalysis, FaceCrop, FaceTrack, Label, Verdict

CALIBRATION = Calibration(scale=2.0, bias=-1.0)
STILL = Profile(calibration=CALIBRATION, thresholds=Thresholds(0.4, 0.7))
CLIP = replace(STILL, min_frames=3)


def crop(side: float = 120, sharp: bool = True, t: float = 0.0) -> FaceCrop:
    rgb = (
        np.random.default_rng(0).integers(0, 255, (224, 224, 3)).astype(np.uint8)
        if sharp
        else np.full((224, 224, 3), 90, np.uint8)
    )
    landmarks = np.array([[30, 40], [80, 40], [55, 70], [35, 95], [75, 95]], np.float32)
    return FaceCrop(
        rgb, np.eye(2, 3, dtype=np.float32), int(t * 25), t, (0.0, 0.0, side, side), landmarks, 0.99
    )


def analysis(p: float, label: Label, side: float = 120) -> FaceAnalysis:
    evidence = Evidence(0.0, np.zeros((28, 28), np.float32), np.zeros(4, np.float32))
    return FaceAnalysis(
        FaceTrack(0, (crop(side),)), (evidence,), (p,), Verdict(label, "because", p, 0.0)
    )


def test_probability_is_a_sigmoid_of_the_scaled_logit() -> None:
    assert CALIBRATION.probability(0.5) == 0.5
    assert CALIBRATION.probability(1.5) == pytest.approx(0.880797)
    assert CALIBRATION.probability(-1000) == 0.0 and CALIBRATION.probability(1000) == 1.0


@pytest.mark.parametrize(
    ("logit", "label"),
    [(2.0, Label.FORGED), (-1.0, Label.AUTHENTIC), (0.5, Label.UNCERTAIN), (0.8, Label.UNCERTAIN)],
)
def test_three_answers(logit: float, label: Label) -> None:
    assert judge_face(logit, [crop()], STILL).label is label


def test_it_abstains_on_a_small_a_blurred_and_an_unstable_face_and_says_why() -> None:
    small = judge_face(3.0, [crop(side=30)], STILL)
    blurred = judge_face(3.0, [crop(sharp=False)], STILL)
    unstable = judge_face(3.0, [crop()], STILL, p_reencoded=0.2)
    few = judge_face(3.0, [crop()], CLIP)
    assert {v.label for v in (small, blurred, unstable, few)} == {Label.UNCERTAIN}
    assert small.reason == "The face is too small to judge: 30 pixels, 48 are needed."
    assert blurred.reason == "The face is too blurred: no fine detail is left to judge."
    assert (
        unstable.reason == "The score changes a lot when the picture is saved once more as a JPEG."
    )
    assert few.reason == "The face is seen in too few frames: 1, 3 are needed."
    assert small.p_fake is not None  # the number stays visible, the label does not lean on it


def test_a_forged_stretch_is_said_and_not_averaged_away() -> None:
    crops = [crop(t=t / 5) for t in range(10)]
    stretch, flicker = [0.1] * 6 + [0.9] * 4, [0.1, 0.9] * 5
    partly = judge_face(-1.0, crops, CLIP, p_frames=stretch)
    assert partly.label is Label.UNCERTAIN
    assert (
        partly.reason
        == "Part of the clip looks forged and the rest does not: the timeline shows where."
    )
    assert judge_face(-1.0, crops, CLIP, p_frames=flicker).label is Label.AUTHENTIC
    assert judge_face(2.0, crops, CLIP, p_frames=stretch).label is Label.FORGED
    # leaning to forged throughout, never sure of it
    uneven = [0.1] * 4 + [0.6, 0.65, 0.6, 0.65, 0.6, 0.65]
    assert judge_face(-1.0, crops, CLIP, p_frames=uneven).reason == partly.reason
    assert judge_face(-1.0, crops, CLIP, p_frames=uneven[:-2]).label is Label.AUTHENTIC
    assert (
        highest_stretch([0.0, 0.3, 0.6, 0.0], 2) == pytest.approx(0.45)
        and highest_stretch([0.9], 2) == 0
    )
    assert [longest_run(v, 0.7) for v in (stretch, flicker, [])] == [4, 1, 0]


def test_no_face_is_an_answer_without_a_number() -> None:
    verdict = judge_file([])
    assert verdict.label is Label.NO_FACE and verdict.p_fake is None and verdict.logit is None


def test_the_largest_face_is_the_subject_and_decides() -> None:
    verdict = judge_file([analysis(0.9, Label.FORGED, side=200), analysis(0.1, Label.AUTHENTIC)])
    assert verdict.label is Label.FORGED and verdict.p_fake == 0.9
    assert (
        verdict.reason
        == "1 of 2 faces carries traces like those of known forgeries, the largest among them."
    )
    alone = judge_file([analysis(0.1, Label.AUTHENTIC, side=200), analysis(0.5, Label.UNCERTAIN)])
    assert alone.label is Label.AUTHENTIC and alone.p_fake == 0.1


def test_faces_that_disagree_get_no_common_answer() -> None:
    verdict = judge_file([analysis(0.9, Label.FORGED), analysis(0.1, Label.AUTHENTIC, side=200)])
    assert verdict.label is Label.UNCERTAIN and verdict.p_fake == 0.1
    assert verdict.reason.startswith("The faces disagree: 1 of 2 faces carries traces")


def test_a_small_bystander_does_not_disagree() -> None:
    verdict = judge_file(
        [analysis(0.1, Label.AUTHENTIC, side=300), analysis(0.9, Label.FORGED, side=60)]
    )
    assert verdict.label is Label.AUTHENTIC and verdict.p_fake == 0.1
