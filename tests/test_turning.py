"""Faces that lie sideways: found after a turn, said, and mapped back to the frame as it is."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image
from skimage import data

from detector.faces import FaceFinder
from detector.forgery.pictures import wide_faces
from detector.pipeline import Detector
from detector.tracking import Detection
from detector.turning import sure_upright
from detector.types import Frame, Media
from explain.lab import examples

# of the upright astronaut, x and y in px
LEFT_EYE, UPRIGHT_BOX = (205, 101), (179, 64, 268, 174)


@pytest.fixture(scope="module")
def untrained() -> Detector:
    return Detector.untrained()


def media(rgb: np.ndarray, *times_s: float) -> Media:
    frames = tuple(Frame(i, t, rgb) for i, t in enumerate(times_s or (0.0,)))
    height, width = rgb.shape[:2]
    kind = "video" if times_s else "image"
    return Media("lying.png", "ab" * 32, kind, width, height, 0.0, frames)


def test_a_lying_face_is_found_said_and_mapped_back(untrained: Detector) -> None:
    upright = data.astronaut()[:460]  # not square: width and height must not swap
    lying = np.ascontiguousarray(np.rot90(upright))  # its top is at the left
    analysis = untrained.analyze_media(media(lying))
    (face,) = analysis.faces
    crop = face.track.crops[0]
    assert crop.turned_deg == 90
    assert analysis.verdict.reason.endswith(
        "Found after turning the picture by 90 degrees clockwise."
    )
    x, y = LEFT_EYE
    assert np.abs(crop.landmarks_px[0] - (y, 511 - x)).max() < 5
    x0, y0, x1, y1 = UPRIGHT_BOX
    assert crop.box_xyxy_px == pytest.approx((y0, 512 - x1, y1, 512 - x0), abs=6)
    # the crop's pixels are the upright ones, and the affine finds them in the lying frame
    (known,) = untrained.analyze_media(media(upright)).faces
    assert known.track.crops[0].turned_deg == 0 and "turning" not in known.verdict.reason
    assert np.abs(crop.rgb.astype(float) - known.track.crops[0].rgb).mean() < 4
    for u, v in ((60, 80), (150, 120)):
        column, row = np.round(crop.to_frame @ np.array([u, v, 1.0])).astype(int)
        near = lying[row - 1 : row + 2, column - 1 : column + 2].reshape(-1, 3).mean(axis=0)
        assert np.abs(near - crop.rgb[v, u]).max() < 25


def test_upside_down_in_a_clip(untrained: Detector) -> None:
    lying = np.ascontiguousarray(data.astronaut()[::-1, ::-1])
    (track,) = untrained.finder.find_tracks(media(lying, 0.0, 0.1, 0.2).frames)
    assert [crop.turned_deg for crop in track.crops] == [180] * 3
    x, y = LEFT_EYE
    assert np.abs(track.crops[1].landmarks_px[0] - (511 - x, 511 - y)).max() < 5


@pytest.mark.parametrize("quarters", [1, 2, 3])
@pytest.mark.parametrize("times_s", [(), (0.0, 0.4, 0.8)])
def test_a_doubtful_face_does_not_end_the_search(
    untrained: Detector, quarters: int, times_s: tuple[float, ...]
) -> None:
    """Upside down, Grace Hopper shows a face of confidence .993 in the wrong place."""
    with get_sample_data("grace_hopper.jpg") as file:
        upright = np.asarray(Image.open(file).convert("RGB"))
    lying = np.ascontiguousarray(np.rot90(upright, quarters))
    if quarters == 2:
        (doubtful,) = untrained.finder.detect_faces(lying)
        assert 0.98 < doubtful.confidence < 0.999
    (track,) = untrained.finder.find_tracks(media(lying, *times_s).frames)
    (known,) = untrained.finder.find_tracks(media(upright, *times_s).frames)
    assert [crop.turned_deg for crop in track.crops] == [90 * quarters] * max(1, len(times_s))
    assert np.abs(track.crops[0].rgb.astype(float) - known.crops[0].rgb).mean() < 1


def test_one_sure_frame_of_a_clip_does_not_end_the_search(untrained: Detector) -> None:
    """Upside down, one frame of the built-in clip shows a face of confidence .9997 in the wrong
    place.
    """
    rng = np.random.default_rng(0)
    upright = [examples._clip_frame(i / examples.CLIP_FPS, None, rng) for i in (0, 30, 94)]
    frames = [Frame(i, i / 5, np.ascontiguousarray(f[::-1, ::-1])) for i, f in enumerate(upright)]
    surest = [max(face.confidence for face in untrained.finder.detect_faces(f.rgb)) for f in frames]
    assert [confidence >= 0.999 for confidence in surest] == [False, False, True]
    (track,) = untrained.finder.find_tracks(frames)
    (known,) = untrained.finder.find_tracks([Frame(i, i / 5, f) for i, f in enumerate(upright)])
    assert [crop.turned_deg for crop in track.crops] == [180] * 3
    for crop, right in zip(track.crops, known.crops, strict=True):
        x0, y0, x1, y1 = crop.box_xyxy_px
        assert (640 - x1, 480 - y1, 640 - x0, 480 - y0) == pytest.approx(right.box_xyxy_px, abs=0.1)


def test_sure_faces_in_half_of_the_frames_that_show_one_need_no_turn() -> None:
    points = np.array([[30, 40], [60, 40], [45, 55], [33, 70], [57, 70]], np.float32)

    def sure(*confidences: float | None) -> bool:
        return sure_upright(
            [
                [] if confidence is None else [Detection((0, 0, 90, 90), points, confidence)]
                for confidence in confidences
            ]
        )

    assert sure(0.9995) and sure(0.9995, 0.98) and sure(0.9995, None, None)
    assert not sure(0.9995, 0.98, 0.98) and not sure(0.998) and not sure(None) and not sure()


def test_a_tight_crop_that_lies_is_found(untrained: Detector) -> None:
    tight = data.astronaut()[64:174, 179:268]
    (track,) = untrained.finder.find_tracks(media(np.ascontiguousarray(tight[::-1, ::-1])).frames)
    assert track.crops[0].turned_deg == 180


def test_nothing_is_forged_into_a_face_that_lies(untrained: Detector) -> None:
    lying = np.ascontiguousarray(np.rot90(data.astronaut()))
    for rgb, faces in ((lying, 0), (data.astronaut(), 1)):
        frames = media(rgb).frames
        (track,) = untrained.finder.find_tracks(frames)
        assert len(wide_faces(track, frames)[0]) == faces


def test_upright_faces_cost_no_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    finder, searched = FaceFinder(), []
    original = finder._search
    monkeypatch.setattr(
        finder, "_search", lambda rgb, px: (searched.append(rgb.shape), original(rgb, px))[1]
    )
    (track,) = finder.find_tracks([Frame(0, 0.0, data.astronaut())])
    assert track.crops[0].turned_deg == 0
    assert searched == [(1, 512, 512, 3)]


def test_a_large_photo_is_shrunk_before_it_is_turned(
    untrained: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Faces of the same sizes are found, at their place in the photo."""
    canvas = np.full((4200, 4800, 3), 90, np.uint8)
    canvas[3000:3512, 4000:4512] = np.rot90(data.astronaut())
    turned = []
    original = FaceFinder.detect

    def detect(self: FaceFinder, frames: list[Frame]) -> list:
        turned.append(frames[0].rgb.shape[:2])
        return original(self, frames)

    monkeypatch.setattr(FaceFinder, "detect", detect)
    (track,) = untrained.finder.find_tracks(media(canvas).frames)
    assert turned == [(4200, 4800), (3200, 2800), (2800, 3200), (3200, 2800)]
    x, y = LEFT_EYE
    assert track.crops[0].turned_deg == 90
    assert np.abs(track.crops[0].landmarks_px[0] - (4000 + y, 3000 + 511 - x)).max() < 8


@pytest.mark.parametrize("size", [(1, 60_000), (60_000, 1), (2, 30_000), (10, 20_000)])
def test_a_thin_strip_shows_no_face(untrained: Detector, size: tuple[int, int]) -> None:
    """A side that shrinks below a pixel stays one pixel long."""
    strip = np.full((*size, 3), 90, np.uint8)
    assert untrained.finder.find_tracks(media(strip).frames) == ()
