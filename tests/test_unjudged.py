"""What is not looked at is said: crowds, small faces, and frames between those searched whole."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from explain_faces import astronaut
from test_decide import analysis
from test_turning import media

from detector.contract import analysis_json
from detector.decide import judge_file
from detector.pipeline import Detector
from detector.types import Frame, Label

NO_TRACE = "No trace was found, but only "


@pytest.fixture(scope="module")
def untrained() -> Detector:
    return Detector.untrained()


def crowd(count: int, columns: int = 12) -> np.ndarray:
    """A picture of so many faces of about 50 px, each lit differently."""
    tile = cv2.resize(astronaut()[30:230, 130:310], (90, 100), interpolation=cv2.INTER_AREA)
    rgb = np.full((100 * -(-count // columns), 90 * columns, 3), 90, np.uint8)
    for i in range(count):
        y, x = 100 * (i // columns), 90 * (i % columns)
        rgb[y : y + 100, x : x + 90] = (tile * (0.8 + 0.2 * i / count)).astype(np.uint8)
    return rgb


def test_every_face_of_forty_is_scored(untrained: Detector) -> None:
    found = untrained.analyze_media(media(crowd(40)))
    assert len(found.faces) == 40 and found.faces_left_out == 0
    assert analysis_json(found)["faces_found"] == 40 and "Only" not in found.verdict.reason


def test_of_a_hundred_it_is_said_how_many(untrained: Detector) -> None:
    found = untrained.analyze_media(media(crowd(100)))
    assert (len(found.faces), found.faces_left_out) == (64, 36)
    assert analysis_json(found)["faces_found"] == 100
    assert found.verdict.label is not Label.AUTHENTIC
    assert "nly 64 of 100 faces were judged: 36 are beyond the 64 that are looked at." in (
        found.verdict.reason
    )


def test_many_faces_of_a_clip_are_each_judged_in_fewer_frames(untrained: Detector) -> None:
    rgb = crowd(24)
    frames = [Frame(i, i / 10, rgb) for i in range(16)]
    tracks = untrained.finder.find_tracks(frames)
    assert [len(track.crops) for track in tracks] == [8] * 24  # twelve of sixteen frames each
    assert [crop.frame_index for crop in tracks[0].crops] == [0, 2, 4, 6, 9, 11, 13, 15]


def test_nothing_is_authentic_while_faces_are_unjudged() -> None:
    large, small = analysis(0.1, Label.AUTHENTIC), analysis(0.2, Label.UNCERTAIN, side=40)
    beside_small = judge_file([large, small])
    assert (beside_small.label, beside_small.p_fake) == (Label.UNCERTAIN, 0.1)
    assert (
        beside_small.reason == NO_TRACE + "1 of 2 faces were judged: 1 is smaller than 48 pixels."
    )
    left_out = judge_file([large, large], left_out=3)
    assert left_out.label is Label.UNCERTAIN
    assert left_out.reason == (
        NO_TRACE + "2 of 5 faces were judged: 3 are beyond the 64 that are looked at."
    )
    both = judge_file([large, small, small], left_out=1)
    assert both.reason == NO_TRACE + (
        "1 of 4 faces were judged: 2 are smaller than 48 pixels "
        "and 1 is beyond the 64 that are looked at."
    )
    assert judge_file([large, large]).label is Label.AUTHENTIC


def test_a_forged_face_stays_one_and_the_others_are_said() -> None:
    verdict = judge_file([analysis(0.9, Label.FORGED)], left_out=2)
    assert verdict.label is Label.FORGED
    assert verdict.reason == (
        "because Only 1 of 3 faces were judged: 2 are beyond the 64 that are looked at."
    )


def test_judged_faces_that_have_no_say_are_counted() -> None:
    """Faces in the background, and one that passes through a clip."""
    large = analysis(0.1, Label.AUTHENTIC, side=300, frames=9)
    behind = [
        analysis(p, Label(label), 60, 9) for p, label in ((0.2, "authentic"), (0.9, "forged"))
    ]
    passing = analysis(0.5, Label.UNCERTAIN, 300, frames=2)
    verdict = judge_file([large, *behind, passing])
    assert (verdict.label, verdict.p_fake) == (Label.AUTHENTIC, 0.1)
    assert verdict.reason == (
        "because Of 4 faces, 3 had no say: 2 are smaller than 40% of the largest and 1 is seen too "
        "briefly. By itself, one of these would be called forged."
    )
    assert judge_file([large, passing]).reason == (
        "because Of 2 faces, 1 had no say: 1 is seen too briefly."
    )
    assert judge_file([large, large]).reason == "because"


def test_a_face_between_the_frames_searched_whole_is_found(untrained: Detector) -> None:
    """Half a second of ten: of 24 samples, 4 and 5, where every third is searched first."""
    nobody = np.full((512, 512, 3), 90, np.uint8)
    frames = [Frame(i, i * 10 / 24, astronaut() if i in (4, 5) else nobody) for i in range(24)]
    (track,) = untrained.finder.find_tracks(frames)
    assert [crop.frame_index for crop in track.crops] == [4, 5]


def test_no_face_is_said_of_the_frames_looked_at(untrained: Detector) -> None:
    nobody = np.full((96, 128, 3), 90, np.uint8)
    clip = untrained.analyze_media(media(nobody, *(i / 10 for i in range(7))))
    assert clip.verdict.label is Label.NO_FACE
    assert clip.verdict.reason == (
        "No face was found in the 7 frames looked at, and this detector judges faces only."
    )


def test_an_authentic_clip_says_how_much_of_it_was_looked_at() -> None:
    verdict = judge_file([analysis(0.1, Label.AUTHENTIC)], frames=24)
    assert verdict.reason == "because 24 frames were looked at."
    assert judge_file([analysis(0.1, Label.AUTHENTIC)]).reason == "because"
