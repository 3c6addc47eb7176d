"""Cuts end a track, and a track whose frames are one picture is judged as a still."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from detector.media import open_media, write_video
from detector.pipeline import Detector, default_detector
from detector.shots import split_at_cuts, still_frames
from detector.tracking import Detection
from detector.types import FaceTrack, Frame, Label, Media
from explain.explainer import Explainer
from explain.lab.examples import astronaut, hopper, hopper_mouth
from explain.pipeline import ExplainOptions, explain_face


@pytest.fixture(scope="module")
def untrained() -> Detector:
    return Detector.untrained()


def on_screen(face: np.ndarray, x: int, y: int) -> np.ndarray:
    """A face of 110 px, put at the same place of a screen of 360 x 360."""
    screen = np.full((360, 360, 3), 90, np.uint8)
    part = face[max(0, y - 160) : y + 160, max(0, x - 160) : x + 160]
    screen[: part.shape[0], : part.shape[1]] = part
    return screen


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, np.ndarray]:
    """Two people at the same place."""
    small = cv2.resize(hopper(), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    small = cv2.copyMakeBorder(small, 60, 60, 60, 60, cv2.BORDER_REPLICATE)
    return on_screen(astronaut(), 224, 160), on_screen(small, 191, 173)


def clip(pictures: list[np.ndarray], step_s: float = 0.4) -> Media:
    frames = tuple(Frame(i, i * step_s, rgb) for i, rgb in enumerate(pictures))
    height, width = pictures[0].shape[:2]
    return Media("cut.mp4", "ab" * 32, "video", width, height, len(frames) * step_s, frames)


def tracks_in(detector: Detector, pictures: list[np.ndarray]) -> list[list[int]]:
    found = detector.finder.find_tracks(clip(pictures).frames)
    return sorted([crop.frame_index for crop in track.crops] for track in found)


def test_a_cut_to_another_person_at_the_same_place_ends_a_track(
    untrained: Detector, people: tuple[np.ndarray, np.ndarray]
) -> None:
    first, second = people
    assert tracks_in(untrained, [first] * 4 + [second] * 5) == [[0, 1, 2, 3], [4, 5, 6, 7, 8]]
    # who comes back is the same person
    back = [first] * 3 + [second] * 3 + [first] * 3
    assert tracks_in(untrained, back) == [[0, 1, 2, 6, 7, 8], [3, 4, 5]]


def test_one_person_who_moves_in_changing_light_is_one_track(
    untrained: Detector, people: tuple[np.ndarray, np.ndarray]
) -> None:
    moved = [
        cv2.convertScaleAbs(np.roll(people[0], 6 * i, axis=1), alpha=1 + 0.06 * (i % 3))
        for i in range(8)
    ]
    assert tracks_in(untrained, moved) == [list(range(8))]


def test_interpolated_boxes_across_a_cut_are_dropped() -> None:
    box, points = (0.0, 0.0, 50.0, 50.0), np.zeros((5, 2), np.float32)
    red, blue, grey = (
        np.random.default_rng(i).integers(0, 60, (28, 28, 3)).astype(np.uint8) + np.uint8(add)
        for i, add in enumerate(([190, 0, 0], [0, 0, 190], [100, 100, 100]))
    )
    sure, guessed = Detection(box, points, 1.0), Detection(box, points, 0.0)
    seen = {0: sure, 1: sure, 2: guessed, 3: sure, 4: sure}
    shots = split_at_cuts(seen, {0: red, 1: red, 2: grey, 3: blue, 4: blue})
    assert [sorted(shot) for shot in shots] == [[0, 1], [3, 4]]


def test_a_frame_in_which_people_fade_into_each_other_ends_a_track() -> None:
    box, points = (0.0, 0.0, 50.0, 50.0), np.zeros((5, 2), np.float32)
    a, b, c = (
        np.random.default_rng(i).integers(0, 60, (28, 28, 3)) + np.array(add)
        for i, add in enumerate(([190, 0, 0], [0, 0, 190], [0, 190, 0]))
    )
    pictures = [a, a, a, (a + b) / 2, b, b, b, (b + c) / 2, c, c]
    thumbs = {i: picture.astype(np.uint8) for i, picture in enumerate(pictures)}
    shots = split_at_cuts(dict.fromkeys(thumbs, Detection(box, points, 1.0)), thumbs)
    assert [sorted(shot) for shot in shots] == [[0, 1, 2], [4, 5, 6], [8, 9]]


@pytest.mark.parametrize(("codec", "name"), [("libx264", "still.mp4"), ("mpeg4", "still.avi")])
def test_a_still_shown_as_a_clip_is_judged_as_the_photo_is(
    tmp_path: Path, codec: str, name: str
) -> None:
    write_video(tmp_path / name, [hopper_mouth()] * 24, fps=8, codec=codec, crf=18)
    detector = default_detector()
    media = open_media(tmp_path / name, n_frames=8)
    (face,) = detector.analyze_media(media).faces
    assert face.track.still and face.verdict.part is None and len(set(face.p_frames)) == 1
    photo = Media("a.png", "ab" * 32, "image", 512, 600, 0.0, (media.frames[0],))
    alone = detector.analyze_media(photo).verdict
    assert face.verdict.label == alone.label
    assert face.verdict.p_fake == pytest.approx(alone.p_fake, abs=0.02)
    assert face.verdict.reason.endswith(
        "The clip shows this face as a still picture, which is judged like a photo."
    )


def test_a_still_is_explained_as_it_was_judged(untrained: Detector) -> None:
    analysis = untrained.analyze_media(clip([astronaut()] * 4))
    quick = ExplainOptions(methods=("evidence map",), lime=False, check=False)
    told = explain_face(Explainer(untrained, "video"), analysis, 0, 2, quick)
    assert told.logit == analysis.faces[0].evidence[2].logit
    assert told.timeline.thresholds == untrained.profiles["image"].thresholds


def test_a_slide_show_has_as_many_stills_as_people(
    untrained: Detector, people: tuple[np.ndarray, np.ndarray]
) -> None:
    first, second = people
    analysis = untrained.analyze_media(clip([first] * 3 + [second] * 4, 1.0))
    assert sorted(len(face.track.crops) for face in analysis.faces) == [3, 4]
    assert all(face.track.still for face in analysis.faces)


def test_a_mouth_that_moves_is_no_still() -> None:
    face = np.random.default_rng(0).integers(0, 255, (28, 28, 3)).astype(np.uint8)
    talking = face.copy()
    talking[18:22, 10:18] //= 2  # 32 cells
    assert still_frames({2: face, 3: face, 5: face}) == [2, 3, 5]
    assert still_frames({0: face, 1: talking, 2: face, 3: talking}) == []
    assert still_frames({0: face}) == []


def test_a_picture_that_fades_in_is_a_still() -> None:
    face = np.random.default_rng(0).integers(0, 255, (28, 28, 3)).astype(np.uint8)
    shown = {0: face // 3, 1: face // 2} | dict.fromkeys(range(2, 10), face)
    assert still_frames(shown) == [2, 3, 4, 5, 6, 7, 8, 9]


def test_a_filmed_clip_is_no_still(untrained: Detector) -> None:
    pictures = [np.roll(astronaut(), 3 * i, axis=1) for i in range(5)]
    (face,) = untrained.analyze_media(clip(pictures)).faces
    assert isinstance(face.track, FaceTrack) and not face.track.still
    assert face.verdict.label is not Label.NO_FACE and "still" not in face.verdict.reason
