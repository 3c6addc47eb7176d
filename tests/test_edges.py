"""Faces that the picture's edge cuts: nothing is invented, and too little of a face is said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from skimage import data
from test_decide import analysis

from detector.decide import judge_face, judge_file
from detector.faces import FaceFinder, cut_square
from detector.nets import clip
from detector.nets.clip import ClipExpert
from detector.pipeline import Detector, default_detector
from detector.profile import Profile
from detector.turning import track_turned_back
from detector.types import FaceCrop, FaceTrack, Frame, Label, Media
from explain import figures
from explain.cam import EVIDENCE_MAP, Heat
from explain.lab.examples import astronaut, astronaut_swapped
from explain.lab.forgery import cut_subject

BOX = (178.0, 61.0, 268.0, 174.0)  # the astronaut's face


def still(rgb: np.ndarray) -> Media:
    rgb = np.ascontiguousarray(rgb)
    return Media(
        "cut.png", "ab" * 32, "image", rgb.shape[1], rgb.shape[0], 0.0, (Frame(0, 0, rgb),)
    )


def face_at(box: tuple[float, float, float, float], rgb: np.ndarray) -> FaceCrop:
    crop, to_frame = cut_square(rgb, box)
    points = np.zeros((5, 2), np.float32)
    return FaceCrop(crop, to_frame, 0, 0.0, box, points, 1.0, (rgb.shape[1], rgb.shape[0]))


@pytest.fixture(scope="module")
def untrained() -> Detector:
    return Detector.untrained()


@pytest.mark.parametrize(
    ("left", "top", "missing", "outside"),
    [(0, 0, 0.0, 0.0), (187, 0, 0.1, 0.254), (205, 0, 0.3, 0.377), (0, 95, 0.301, 0.348)],
)
def test_what_lies_outside_is_known(left: int, top: int, missing: float, outside: float) -> None:
    x0, y0, x1, y1 = BOX
    crop = face_at((x0 - left, y0 - top, x1 - left, y1 - top), data.astronaut()[top:, left:])
    assert crop.missing == pytest.approx(missing, abs=0.002)
    assert 1 - crop.inside.mean() == pytest.approx(outside, abs=0.01)
    if left:
        assert crop.inside[:, -1].all() and not crop.inside[:, 0].any()


def test_what_lies_outside_is_known_of_a_lying_face() -> None:
    rgb = data.astronaut()[:400, 187:]
    crop = face_at((-9.0, 61.0, 81.0, 174.0), rgb)
    (lying,) = track_turned_back(FaceTrack(1, (crop,)), 1, {0: (325, 400)}).crops
    assert lying.frame_px == (400, 325)
    assert lying.missing == pytest.approx(0.1, abs=0.002)
    assert (lying.inside == crop.inside).mean() > 0.999


@pytest.mark.parametrize(("left", "repeated"), [(165, True), (190, False)])
def test_only_a_cut_face_is_mirrored_at_the_edge(left: int, repeated: bool) -> None:
    """The two-stream network was trained on margins that repeat the border: a crop whose margin
    alone lies outside looks like those."""
    rgb = np.ascontiguousarray(data.astronaut()[:, left:])
    (person,) = FaceFinder().find_tracks([Frame(0, 0, rgb)])
    (crop,) = person.crops
    row = crop.rgb[112].astype(int)
    outside = int((~crop.inside[112]).sum())
    assert outside > 5 and (crop.missing < 0.05) == repeated
    assert (np.abs(row[:outside] - row[outside + 1]).max() < 12) == repeated
    filmed = FaceFinder().find_tracks([Frame(i, i / 10, np.roll(rgb, i, 0)) for i in range(3)])
    row = filmed[0].crops[0].rgb[112].astype(int)
    assert np.abs(row[:outside] - row[outside + 1]).max() > 12  # clips are always mirrored


def test_a_face_cut_too_far_gets_no_answer_and_the_reason() -> None:
    sharp = np.random.default_rng(0).integers(0, 255, (300, 300, 3)).astype(np.uint8)
    verdicts = [
        judge_face(3.0, [face_at((-cut, 60.0, 100.0 - cut, 160.0), sharp)], Profile())
        for cut in (28.0, 38.0)
    ]
    assert [verdict.label for verdict in verdicts] == [Label.FORGED, Label.UNCERTAIN]
    assert verdicts[1].reason == (
        "The picture's edge cuts off too much of the face: 38%, at most 30% may be missing."
    )


def test_no_file_is_authentic_while_the_edge_cuts_off_a_face() -> None:
    whole, cut = analysis(0.1, Label.AUTHENTIC), analysis(0.2, Label.UNCERTAIN, side=80)
    half = replace(cut.track.crops[0], frame_px=(40, 80))
    cut = replace(cut, track=FaceTrack(1, (half,)))
    verdict = judge_file([whole, cut])
    assert verdict.label is Label.UNCERTAIN and verdict.reason == (
        "No trace was found, but only 1 of 2 faces were judged: 1 is cut off by the picture's edge."
    )


def test_clip_looks_at_no_patch_that_is_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "TOWER", "vit_tiny_patch16_224")
    torch.manual_seed(0)
    expert = ClipExpert().eval()
    images = torch.rand(2, 3, 224, 224)
    seen = torch.ones(2, 224, 224, dtype=torch.bool)
    seen[1, :, :64] = False
    other = images.clone()
    other[1, :, :, :64] = 0.5
    with torch.inference_mode():
        whole, cut, filled = expert(images), expert(images, seen), expert(other, seen)
    assert torch.equal(cut.manipulated, filled.manipulated)
    assert torch.equal(cut.generated, filled.generated)
    assert cut.manipulated[0] == pytest.approx(float(whole.manipulated[0]), abs=1e-4)
    assert abs(float(cut.generated[1] - whole.generated[1])) > 1e-4
    assert (cut.map_logits[1, :, :4] == clip.NOTHING).all()


def test_the_map_says_nothing_of_what_is_outside(untrained: Detector) -> None:
    (face,) = untrained.analyze_media(still(data.astronaut()[:, 180:])).faces
    inside = face.track.crops[0].inside
    columns = int((~inside[100]).sum()) // 8  # cells of the map that lie wholly outside
    assert columns >= 3
    heat = face.evidence[0].map
    assert (heat[:, :columns] == 0).all() and (heat[:, columns + 1 :] != 0).any()


def test_beyond_the_edge_the_shown_face_is_black_and_without_heat() -> None:
    crop = face_at((-9.0, 61.0, 81.0, 174.0), data.astronaut()[:, 187:])
    view = figures.view_face(data.astronaut()[:, 187:], crop)
    heat = Heat(np.ones((224, 224), np.float32), EVIDENCE_MAP, "evidence", signed=True)
    laid = figures.overlay(view, crop, heat, figures.shared_scale([heat]))
    assert not view.rgb[:, :100].any() and not laid[:, :100].any()
    assert laid[:, 200:].any()
    assert not crop.shown[:, :50].any() and crop.rgb[:, :50].any()
    assert np.array_equal(crop.shown[:, 60:], crop.rgb[:, 60:])


def test_the_forgery_lab_leaves_it_out_as_well() -> None:
    points = np.zeros((5, 2), np.float32)
    whole = cut_subject(astronaut(), BOX, points)
    cut = cut_subject(astronaut()[:, 187:], (-9.0, 61.0, 81.0, 174.0), points)
    assert whole.inside.all() and not cut.inside[:, :50].any() and cut.inside[:, 60:].all()


@pytest.mark.parametrize("left", [178, 183])
def test_a_cut_face_is_judged_like_the_whole_one(left: int) -> None:
    """With its border repeated the swapped face scored .94 where the box was cut by a fifth."""
    detector = default_detector()
    forged = detector.analyze_media(still(astronaut_swapped()[:, left:]))
    authentic = detector.analyze_media(still(astronaut()[:, left:]))
    assert forged.verdict.label is Label.FORGED and forged.verdict.p_fake > 0.99
    assert authentic.verdict.label is Label.AUTHENTIC
    assert 0.03 < authentic.verdict.p_fake < 0.2  # whole .11
