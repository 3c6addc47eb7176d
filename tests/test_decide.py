"""The decision: calibrated, three-way, abstaining with a reason."""

from dataclasses import replace

import numpy as np
import pytest

from detector.benchmark.accuracy import decision_margin
from detector.decide import (
    TypeScores,
    asked_thresholds,
    deciding_face,
    highest_stretch,
    judge_face,
    judge_file,
    of_hdr,
)
from detector.profile import Calibration, Profile, Thresholds
from detector.types import Evidence, FaceAnalysis, FaceCrop, FaceTrack, Label, Verdict

CALIBRATION = Calibration(scale=2.0, bias=-1.0)
STILL = Profile(calibration=CALIBRATION, thresholds=Thresholds(0.4, 0.7))
CLIP = replace(STILL, min_frames=3, thresholds=Thresholds(0.4, 0.7, stretch_above=0.8))


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


def analysis(p: float, label: Label, side: float = 120, frames: int = 1) -> FaceAnalysis:
    evidence = Evidence(0.0, np.zeros((28, 28), np.float32), np.zeros(4, np.float32))
    track = FaceTrack(0, tuple(crop(side, t=t / 2) for t in range(frames)))
    return FaceAnalysis(
        track, (evidence,) * frames, (p,) * frames, Verdict(label, "because", p, 0.0)
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


def test_a_forged_stretch_is_called_forged_with_its_seconds_and_its_own_score() -> None:
    crops = [crop(t=t / 5) for t in range(12)]
    # p = sigmoid(2 x - 1): .018 at -1.5, .982 at 2.5
    stretch = [-1.5] * 5 + [2.5] * 6 + [-1.5]
    partly = judge_face(0.5, crops, CLIP, frame_logits=stretch)
    assert partly.label is Label.FORGED and partly.part == (1.0, 2.0)
    assert partly.headline == "Part of this clip looks forged: 1.0-2.0 s"
    assert partly.p_fake == pytest.approx(0.982014) and partly.logit == pytest.approx(2.5)
    assert partly.reason == (
        "This part carries traces, like those of the forgeries this detector was trained on; "
        "over the whole clip the score is 0.50."
    )


def test_a_clip_forged_throughout_has_no_part() -> None:
    crops = [crop(t=t / 5) for t in range(12)]
    verdict = judge_face(2.0, crops, CLIP, frame_logits=[2.0] * 12)
    assert verdict.label is Label.FORGED and verdict.part is None
    assert verdict.headline == "forged-looking"


def test_a_part_is_named_though_the_whole_clip_scores_high() -> None:
    crops = [crop(t=t / 5) for t in range(12)]
    stretch = [-0.5] * 3 + [4.5] * 6 + [-0.5] * 3
    partly = judge_face(2.0, crops, CLIP, frame_logits=stretch)  # p = .95
    assert partly.headline == "Part of this clip looks forged: 0.6-1.6 s"
    assert partly.reason.endswith("over the whole clip the score is 0.95.")
    # the rest by itself looks forged too, so the clip does
    mostly = judge_face(2.0, crops, CLIP, frame_logits=[0.6] * 3 + [4.5] * 6 + [0.45] * 3)
    assert mostly.headline == "forged-looking" and mostly.part is None


@pytest.mark.parametrize(
    "frame_logits",
    [
        [-1.5, 2.5] * 6,  # flicker: no six frames in a row have a high mean
        [-1.5] * 8 + [2.5] * 4,  # too short
        [1.0] * 12,  # .73 throughout: below stretch_above
        [2.5] * 5,  # fewer frames than a stretch
    ],
)
def test_what_is_no_stretch_is_not_called_one(frame_logits: list[float]) -> None:
    crops = [crop(t=t / 5) for t in range(len(frame_logits))]
    assert judge_face(-1.0, crops, CLIP, frame_logits=frame_logits).part is None


def test_without_a_calibrated_stretch_no_part_is_called_forged() -> None:
    crops = [crop(t=t / 5) for t in range(12)]
    assert judge_face(-1.0, crops, STILL, frame_logits=[2.5] * 12).label is Label.AUTHENTIC


def test_the_highest_stretch_is_the_best_of_all_windows() -> None:
    assert highest_stretch([0.0, 0.3, 0.6, 0.0], 2) == pytest.approx(0.45)
    assert highest_stretch([0.9], 2) == 0.9


def test_the_reason_says_which_of_two_questions_was_answered() -> None:
    swapped = judge_face(2.0, [crop()], STILL, type_scores=TypeScores(0.9, 0.2))
    made = judge_face(2.0, [crop()], STILL, type_scores=TypeScores(0.2, 0.9))
    assert swapped.reason.startswith("The face carries traces of a face that was put in,")
    assert made.reason.startswith("The face carries traces of a picture generated as a whole,")


def test_what_is_no_photograph_is_not_judged() -> None:
    for logit in (-3.0, 3.0):
        verdict = judge_face(logit, [crop()], STILL, type_scores=TypeScores(0.9, 0.9, drawn=True))
        assert verdict.label is Label.UNCERTAIN
        assert verdict.reason == (
            "This does not look like a photograph, and only photographs can be judged."
        )


def test_with_several_faces_each_must_clear_a_higher_threshold() -> None:
    strict = replace(STILL, thresholds=Thresholds(0.4, 0.7, tail=1.0))
    # log-odds .847 + log(4): .903
    assert strict.thresholds.for_faces(4).forged_above == pytest.approx(0.903226)
    assert strict.thresholds.for_faces(1).forged_above == 0.7
    assert judge_face(1.5, [crop()], strict).label is Label.FORGED  # p = .88
    assert judge_face(1.5, [crop()], strict, faces=4).label is Label.UNCERTAIN
    assert judge_face(1.7, [crop()], strict, faces=4).label is Label.FORGED  # p = .917


def test_no_face_is_an_answer_without_a_number() -> None:
    verdict = judge_file([])
    assert verdict.label is Label.NO_FACE and verdict.p_fake is None and verdict.logit is None


def test_one_forged_face_of_two_makes_the_file_forged_and_gives_its_score() -> None:
    verdict = judge_file([analysis(0.9, Label.FORGED), analysis(0.1, Label.AUTHENTIC, side=200)])
    assert verdict.label is Label.FORGED and verdict.p_fake == 0.9
    assert verdict.faces == (1, 2) and verdict.headline == "1 of 2 faces looks forged"


def test_several_forged_faces_are_counted_and_the_worst_gives_the_score() -> None:
    faces = [analysis(p, Label.FORGED) for p in (0.8, 0.95)] + [analysis(0.2, Label.UNCERTAIN)]
    verdict = judge_file(faces)
    assert verdict.p_fake == 0.95 and verdict.headline == "2 of 3 faces look forged"


def test_without_a_forged_face_the_largest_is_the_subject() -> None:
    alone = judge_file([analysis(0.1, Label.AUTHENTIC, side=200), analysis(0.5, Label.UNCERTAIN)])
    assert alone.label is Label.AUTHENTIC and alone.p_fake == 0.1 and alone.faces is None


def test_a_single_forged_face_needs_no_count() -> None:
    verdict = judge_file([analysis(0.9, Label.FORGED)])
    assert verdict.headline == "forged-looking" and verdict.faces is None


def test_a_small_bystander_does_not_disagree() -> None:
    verdict = judge_file(
        [analysis(0.1, Label.AUTHENTIC, side=300), analysis(0.9, Label.FORGED, side=60)]
    )
    assert verdict.label is Label.AUTHENTIC and verdict.p_fake == 0.1


@pytest.mark.parametrize(
    ("brief", "frames", "side"),
    [
        (Label.AUTHENTIC, 2, 300),
        (Label.FORGED, 2, 300),
        (Label.AUTHENTIC, 2, 4000),
        (Label.UNCERTAIN, 1, 4000),
    ],
)
def test_a_larger_face_seen_briefly_overrules_none(brief: Label, frames: int, side: float) -> None:
    passing = analysis(0.125, brief, side, frames)
    long = analysis(0.993, Label.FORGED, 200, frames=24)
    verdict = judge_file([long, passing])
    assert verdict.p_fake == 0.993 and verdict.headline == "forged-looking"
    authentic = analysis(0.05, Label.AUTHENTIC, 200, frames=24)
    verdict = judge_file([passing, authentic])
    assert (verdict.label, verdict.p_fake) == (Label.AUTHENTIC, 0.05)
    assert verdict.reason.startswith("because Of 2 faces, 1 had no say: 1 is seen too briefly.")


def test_a_very_large_face_for_a_moment_does_not_hide_the_one_seen_throughout() -> None:
    passing = analysis(0.1, Label.AUTHENTIC, 4000, frames=3)
    verdict = judge_file([analysis(0.99, Label.FORGED, 200, frames=24), passing])
    assert verdict.p_fake == 0.99 and verdict.headline == "1 of 2 faces looks forged"


def test_a_face_that_a_clip_shows_for_a_while_is_asked_too() -> None:
    long = analysis(0.1, Label.AUTHENTIC, 200, frames=18)
    verdict = judge_file([long, analysis(0.97, Label.FORGED, 180, frames=6)])
    assert verdict.p_fake == 0.97 and verdict.headline == "1 of 2 faces looks forged"


def test_the_subject_of_a_clip_is_the_largest_over_time() -> None:
    long = analysis(0.5, Label.UNCERTAIN, 200, frames=20)
    verdict = judge_file([long, analysis(0.1, Label.AUTHENTIC, 260, frames=4)])
    assert verdict.label is Label.UNCERTAIN and verdict.p_fake == 0.5


@pytest.mark.parametrize("larger", [(120, 140), (140, 120)])
def test_of_two_faces_of_one_size_the_more_suspicious_answers(larger: tuple[int, int]) -> None:
    first, second = larger  # px: a mirror image turns their order round
    doubtful = analysis(0.8, Label.UNCERTAIN, first)
    verdict = judge_file([doubtful, analysis(0.2, Label.AUTHENTIC, second)])
    assert verdict.label is Label.UNCERTAIN and verdict.p_fake == 0.8
    assert verdict.reason == "because It is the least certain of 2 faces of about one size."


def test_no_file_looks_authentic_while_one_of_its_equal_faces_has_no_answer() -> None:
    blurred = analysis(0.05, Label.UNCERTAIN, 118)
    verdict = judge_file([analysis(0.2, Label.AUTHENTIC, 120), blurred])
    assert verdict.label is Label.UNCERTAIN and verdict.p_fake == 0.05


def test_a_score_is_shown_beside_the_thresholds_that_it_was_compared_with() -> None:
    clip = Thresholds(0.4, 0.9, stretch_above=0.8, tail=1.0)
    one = [analysis(0.85, Label.FORGED)]
    part = Verdict(Label.FORGED, "So.", 0.85, 1.7, (1.0, 2.0))
    assert asked_thresholds(clip, one, part).forged_above == 0.8
    # log-odds 1.735 of .85, where .8 (1.386) stands for .9 (2.197)
    assert decision_margin(clip, one, part) == pytest.approx(1.7346 - 1.3863 + 2.1972, abs=1e-3)
    assert asked_thresholds(clip, one, one[0].verdict).forged_above == 0.9
    # log-odds 2.197 + log(2)
    two = asked_thresholds(clip, one * 2, one[0].verdict)
    assert two.forged_above == pytest.approx(0.947368) and two.authentic_below == 0.4
    assert asked_thresholds(clip, [], judge_file([])) == clip


def test_the_deciding_face_is_the_one_whose_score_the_file_has() -> None:
    small = replace(
        analysis(0.9, Label.FORGED, side=60), verdict=Verdict(Label.FORGED, "a", 0.9, 3.0)
    )
    large = replace(
        analysis(0.1, Label.AUTHENTIC, side=300), verdict=Verdict(Label.AUTHENTIC, "b", 0.1, -3.0)
    )
    faces = [small, large]
    assert deciding_face(faces, judge_file(faces)) is large
    assert deciding_face([], judge_file([])) is None


@pytest.mark.parametrize(
    ("p", "label"), [(0.9, "uncertain"), (0.98, "uncertain"), (0.99, "forged")]
)
def test_what_the_conversion_of_hdr_alone_may_give_is_not_called_forged(
    p: float, label: str
) -> None:
    face = analysis(p, Label.FORGED)
    cut = replace(face, verdict=replace(face.verdict, part=(1.0, 2.0)))
    found = of_hdr(cut).verdict
    assert (found.label, found.p_fake) == (Label(label), p)
    assert found.part == ((1.0, 2.0) if p == 0.99 else None)
    if label == "uncertain":
        assert found.reason == (
            "HDR's colours were converted, which raises scores: up to 0.98 it may come from that "
            "alone."
        )
    authentic = analysis(0.1, Label.AUTHENTIC)
    assert of_hdr(authentic) is authentic
