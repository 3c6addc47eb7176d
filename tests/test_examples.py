"""The built-in examples: the same each time, forged where they say so and nowhere else."""

from itertools import pairwise

import numpy as np
import pytest

from detector.faces import FaceFinder
from detector.media import open_media
from explain.lab import examples
from explain.lab.examples import EXAMPLES, write_example


def difference(a, b):
    return np.abs(a.astype(int) - b).max(axis=-1)


def test_names_are_unique_and_each_forgery_has_an_authentic_partner():
    names = [example.name for example in EXAMPLES]
    assert names == [
        "astronaut.png",
        "astronaut_swapped.png",
        "grace_hopper.jpg",
        "grace_hopper_mouth.png",
        "hopper_clip.mp4",
        "hopper_clip_forged.mp4",
    ]
    assert [example.forged for example in EXAMPLES] == [False, True, False, True, False, True]


@pytest.mark.parametrize("example", EXAMPLES[:4], ids=lambda e: e.name)
def test_a_photo_is_written_once_and_always_the_same(example, tmp_path):
    (tmp_path / "other").mkdir()
    first = write_example(example, tmp_path)
    assert first == tmp_path / example.name
    before = first.stat().st_mtime_ns
    assert write_example(example, tmp_path).stat().st_mtime_ns == before
    assert write_example(example, tmp_path / "other").read_bytes() == first.read_bytes()
    # no half-written files
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [example.name]
    media = open_media(first)
    assert (media.kind, media.width) == ("image", 512)


@pytest.mark.parametrize("name", ["astronaut", "hopper"])
def test_landmarks_are_where_the_detector_finds_them(name):
    picture = getattr(examples, name)()
    points = getattr(examples, f"{name.upper()}_POINTS")
    found = max(FaceFinder().detect_faces(picture), key=lambda face: face.size_px)
    eyes_apart = np.linalg.norm(points[1] - points[0])
    assert np.abs(found.landmarks_px - points).max() < 0.1 * eyes_apart


def test_the_swap_changes_the_face_and_nothing_else():
    changed = difference(examples.astronaut(), examples.astronaut_swapped()) > 8
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 1500
    assert rows.min() > 60 and rows.max() < 190
    assert columns.min() > 160 and columns.max() < 290


def test_the_mouth_changes_and_the_eyes_do_not():
    changed = difference(examples.hopper(), examples.hopper_mouth())
    assert changed[255:300, 225:315].mean() > 4
    assert changed[:200].max() == 0


def test_the_clip_is_forged_in_its_middle_only():
    frames = list(
        zip(examples.clip_frames(None), examples.clip_frames(examples.FORGED_SECONDS), strict=True)
    )
    assert len(frames) == 100
    forged = [bool(difference(a, b).any()) for a, b in frames]
    # 1.5 s to 3.0 s at 25 per second
    assert [i for i, yes in enumerate(forged) if yes] == list(range(38, 75))
    assert frames[0][0].shape == (480, 640, 3)


def test_the_forgery_flickers_more_than_the_camera_moves():
    authentic = [f for i, f in enumerate(examples.clip_frames(None)) if 50 <= i < 56]
    forged = [
        f for i, f in enumerate(examples.clip_frames(examples.FORGED_SECONDS)) if 50 <= i < 56
    ]
    laid_on = [b.astype(int) - a for a, b in zip(authentic, forged, strict=True)]
    flicker = np.mean([np.abs(a - b)[180:300, 270:370].mean() for a, b in pairwise(laid_on)])
    assert flicker > 3  # grey levels from frame to frame, on the face


def test_a_clip_is_four_seconds_of_h264(tmp_path):
    media = open_media(write_example(EXAMPLES[5], tmp_path), n_frames=4)
    assert media.kind == "video"
    assert (media.width, media.height) == (640, 480)
    assert media.duration_s == pytest.approx(4.0, abs=0.05)
    assert "H.264" in media.metadata["Codec"]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: e.name)
def test_a_thumbnail_is_a_small_square(example):
    picture = examples.thumbnail(example, 96)
    assert picture.shape == (96, 96, 3)
    assert picture.std() > 20
