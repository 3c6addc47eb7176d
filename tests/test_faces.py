"""Faces: on the two public-domain people that ship inside scikit-image and matplotlib, and on
made-up detections.
"""

from __future__ import annotations

import threading

import cv2
import matplotlib.cbook
import numpy as np
import pytest
from PIL import Image
from skimage import data

from detector import faces
from detector.faces import CROP_MARGIN, FaceFinder, cut_square
from detector.tracking import Detection, KalmanBox
from detector.types import FaceTrack, Frame

# landmarks as shares of the box
FACE = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])


@pytest.fixture(scope="module")
def finder() -> FaceFinder:
    return FaceFinder()


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return data.astronaut()


@pytest.fixture(scope="module")
def hopper() -> np.ndarray:
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        return np.asarray(Image.open(file).convert("RGB"))


def detection(x: float, y: float, size: float = 100.0, confidence: float = 0.99) -> Detection:
    """Return a square face whose box starts at x, y."""
    return Detection(
        (x, y, x + size, y + size), (FACE * size + (x, y)).astype(np.float32), confidence
    )


def tracks(
    monkeypatch: pytest.MonkeyPatch,
    found: list[list[Detection]],
    step_s: float = 0.1,
    **options: int,
) -> tuple[FaceTrack, ...]:
    """Track made-up detections, one list per frame of 600 x 1000 px."""
    finder = FaceFinder()
    monkeypatch.setattr(finder, "detect", lambda frames: found)
    rgb = np.zeros((600, 1000, 3), np.uint8)
    return finder.find_tracks([Frame(3 * i, i * step_s, rgb) for i in range(len(found))], **options)


def lefts(track: FaceTrack) -> list[float]:
    return [round(crop.box_xyxy_px[0], 3) for crop in track.crops]


# ----------------------------------------------------------------------------------------------
# detection


def test_the_astronaut_is_found(finder: FaceFinder, astronaut: np.ndarray) -> None:
    (face,) = finder.detect_faces(astronaut)
    assert face.box_xyxy_px == pytest.approx((179, 64, 268, 174), abs=6)
    assert face.confidence > 0.99
    expected = [(205, 101), (248, 103), (226, 129), (202, 140), (247, 142)]
    assert np.abs(face.landmarks_px - expected).max() < 5
    assert face.landmarks_px.dtype == np.float32


def test_large_pictures_give_coordinates_of_the_picture(
    finder: FaceFinder, astronaut: np.ndarray
) -> None:
    (face,) = finder.detect_faces(
        cv2.resize(astronaut, (2048, 2048), interpolation=cv2.INTER_CUBIC)
    )
    assert face.box_xyxy_px == pytest.approx((716, 256, 1072, 696), abs=30)
    assert np.abs(face.landmarks_px[0] - (820, 406)).max() < 20


def test_small_faces_of_a_large_photo_are_found_beside_the_large_one(
    finder: FaceFinder, astronaut: np.ndarray, hopper: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo = np.full((2000, 3000, 3), 90, np.uint8)
    # 330 px
    photo[200:1736, 100:1636] = cv2.resize(astronaut, (1536, 1536), interpolation=cv2.INTER_CUBIC)
    # 39 px
    photo[900:1020, 2300:2402] = cv2.resize(hopper, (102, 120), interpolation=cv2.INTER_AREA)
    large, small = finder.detect_faces(photo)
    assert large.box_xyxy_px == pytest.approx((637, 392, 904, 722), abs=25) and small.size_px < 50
    assert np.abs(small.landmarks_px[0] - (2300 + 222 * 0.2, 900 + 193 * 0.2)).max() < 8
    monkeypatch.setattr(faces, "FINE_PX", faces.DETECT_PX)
    (alone,) = finder.detect_faces(photo)
    assert alone.box_xyxy_px == large.box_xyxy_px  # what the first look finds stays as it is
    (face, *_) = finder.find_tracks([Frame(0, 0.0, photo), Frame(1, 0.1, photo)])
    assert face.crops[0].face_px == pytest.approx(large.size_px, abs=0.01)


def test_a_face_in_a_panorama_is_found(finder: FaceFinder, astronaut: np.ndarray) -> None:
    panorama = np.full((200, 20_000, 3), 130, np.uint8)
    panorama[:, 9_000:9_200] = astronaut[0:200, 130:330]
    (face,) = finder.detect_faces(panorama)
    x0, y0, x1, y1 = face.box_xyxy_px
    (alone,) = finder.detect_faces(astronaut)
    assert np.allclose((x0, y0, x1, y1), np.add(alone.box_xyxy_px, (8870, 0, 8870, 0)), atol=8)


def test_no_face_is_an_empty_answer(finder: FaceFinder) -> None:
    assert finder.detect_faces(data.coffee()) == ()
    assert finder.find_tracks([Frame(0, 0.0, data.coffee())]) == ()
    assert finder.find_tracks([]) == ()


@pytest.mark.parametrize("shape", [(1, 1), (5, 900), (19, 19), (21, 3000)])
def test_odd_shapes_are_no_error(finder: FaceFinder, shape: tuple[int, int]) -> None:
    assert finder.detect_faces(np.zeros((*shape, 3), np.uint8)) == ()


def test_small_faces_are_left_out(finder: FaceFinder, astronaut: np.ndarray) -> None:
    # 55 px
    assert (
        len(finder.detect_faces(cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)))
        == 1
    )
    # 27 px
    assert (
        finder.detect_faces(cv2.resize(astronaut, (128, 128), interpolation=cv2.INTER_AREA)) == ()
    )


def test_a_face_mostly_outside_is_left_out(finder: FaceFinder, astronaut: np.ndarray) -> None:
    # three quarters to be seen
    assert len(finder.detect_faces(np.ascontiguousarray(astronaut[:, 200:]))) == 1
    assert finder.detect_faces(np.ascontiguousarray(astronaut[:, 235:])) == ()


def test_tight_crops_are_tried_again_with_a_border(
    finder: FaceFinder, hopper: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # less than the face's box
    tight = cv2.resize(hopper[130:325, 185:345], (112, 112), interpolation=cv2.INTER_AREA)
    (face,) = finder.detect_faces(tight)
    eyes = (np.array([[222.1, 193.5], [309.5, 187.9]]) - (185, 130)) * (112 / 160, 112 / 195)
    assert np.abs(face.landmarks_px[:2] - eyes).max() < 5
    monkeypatch.setattr(faces, "BORDER", 0.0)
    assert finder.detect_faces(tight) == ()  # it was the border that did it


def test_the_second_try_is_made_only_when_no_frame_shows_a_face(
    finder: FaceFinder, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    borders: list[float] = []
    original = finder._detect_batch
    monkeypatch.setattr(
        finder,
        "_detect_batch",
        lambda batch, border: borders.append(border) or original(batch, border),
    )
    empty = np.zeros_like(astronaut)
    finder.find_tracks([Frame(0, 0.0, empty), Frame(1, 0.1, astronaut)])
    assert borders == [0.0]
    finder.find_tracks([Frame(0, 0.0, empty)])
    assert borders == [0.0] + [0.0, faces.BORDER] * 4  # of the second clip, and of its three turns


def test_between_key_frames_faces_are_found_where_they_must_be(
    finder: FaceFinder, astronaut: np.ndarray, hopper: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same boxes as by searching every frame whole, with a fraction of the pixels."""
    left, right = astronaut[20:240, 120:320], cv2.resize(hopper[60:400, 110:420], (200, 220))
    frames = []
    for i in range(9):
        rgb = np.full((360, 640, 3), 90, np.uint8)
        rgb[20 + 6 * i : 240 + 6 * i, 20 + 12 * i : 220 + 12 * i] = left
        rgb[90:310, 420:620] = right
        frames.append(Frame(i, i * 0.4, rgb))
    searched: list[tuple[int, ...]] = []
    original = finder._search
    monkeypatch.setattr(
        finder,
        "_search",
        lambda scaled, min_px: searched.append(scaled.shape) or original(scaled, min_px),
    )
    found = finder.detect(frames)
    # frames 0, 3, 6, 8; both faces of the five others
    assert searched == [(4, 360, 640, 3), (10, 192, 192, 3)]
    whole = finder._detect_all([frame.rgb for frame in frames])
    for some, plain in zip(found, whole, strict=True):
        assert len(some) == len(plain) == 2
        in_order = [
            sorted(faces_of, key=lambda face: face.box_xyxy_px[0]) for faces_of in (some, plain)
        ]
        for face, other in zip(*in_order, strict=True):
            assert (
                np.abs(np.subtract(face.box_xyxy_px, other.box_xyxy_px)).max()
                < 0.08 * other.size_px
            )
            assert np.abs(face.landmarks_px - other.landmarks_px).max() < 0.05 * other.size_px


def test_frames_far_apart_in_time_are_all_searched_whole(
    finder: FaceFinder, astronaut: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []
    monkeypatch.setattr(
        finder, "_detect_all", lambda pictures: counts.append(len(pictures)) or [[]] * len(pictures)
    )
    for step_s in (0.1, 0.7):
        finder.detect([Frame(i, i * step_s, astronaut) for i in range(9)])
    assert counts == [3, 9]


def test_frames_of_several_sizes(finder: FaceFinder, astronaut: np.ndarray) -> None:
    wide = cv2.copyMakeBorder(astronaut, 0, 0, 0, 200, cv2.BORDER_CONSTANT)
    (track,) = finder.find_tracks(
        [Frame(0, 0.0, astronaut), Frame(1, 0.1, wide), Frame(2, 0.2, astronaut)]
    )
    assert [crop.frame_index for crop in track.crops] == [0, 1, 2]
    assert max(lefts(track)) - min(lefts(track)) < 8


def test_threads_share_a_finder(astronaut: np.ndarray) -> None:
    finder, boxes = FaceFinder(), []
    work = [
        threading.Thread(target=lambda: boxes.append(finder.detect_faces(astronaut)[0].box_xyxy_px))
        for _ in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(boxes) == 4
    assert np.ptp(np.array(boxes), axis=0).max() < 0.01


# ----------------------------------------------------------------------------------------------
# tracking


def test_two_moving_people_keep_their_identity(
    finder: FaceFinder, astronaut: np.ndarray, hopper: np.ndarray
) -> None:
    left, right = astronaut[20:240, 120:320], cv2.resize(hopper[60:400, 110:420], (200, 220))
    frames = []
    for i in range(6):
        rgb = np.full((360, 640, 3), 90, np.uint8)
        rgb[20 + 10 * i : 240 + 10 * i, 20 + 18 * i : 220 + 18 * i] = left
        rgb[90 - 10 * i : 310 - 10 * i, 420 - 10 * i : 620 - 10 * i] = right
        frames.append(Frame(i, i * 0.2, rgb))
    both = finder.find_tracks(frames)
    assert [len(track.crops) for track in both] == [6, 6]
    assert [track.track for track in both] == [1, 2]
    moves = {
        np.sign(track.crops[-1].box_xyxy_px[0] - track.crops[0].box_xyxy_px[0]): track
        for track in both
    }
    for i in range(6):
        # The astronaut's box starts 59 px into her cut-out, Hopper's about 42 px into his place.
        assert moves[1].crops[i].box_xyxy_px[0] == pytest.approx(20 + 18 * i + 59, abs=10)
        assert moves[-1].crops[i].box_xyxy_px[0] == pytest.approx(420 - 10 * i + 42, abs=15)
        assert moves[1].crops[i].rgb.shape == (224, 224, 3)


def test_people_who_pass_each_other_are_told_apart_by_their_motion(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = [[detection(100 + 30 * i, 200), detection(400 - 30 * i, 230)] for i in range(11)]
    both = tracks(monkeypatch, found)
    assert sorted(lefts(track) for track in both) == [
        [100 + 30 * i for i in range(11)],
        [400 - 30 * i for i in range(11)],
    ]


def test_a_short_gap_is_interpolated(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [[detection(100, 200)], [detection(110, 200)], [], [], [detection(140, 230, 130)]]
    (track,) = tracks(monkeypatch, found)
    assert [crop.frame_index for crop in track.crops] == [0, 3, 6, 9, 12]
    assert lefts(track) == [100, 110, 120, 130, 140]
    assert [crop.confidence for crop in track.crops] == [0.99, 0.99, 0.0, 0.0, 0.99]
    assert track.crops[2].box_xyxy_px == pytest.approx((120, 210, 230, 320))
    nose = np.array([110 + 50, 200 + 60]) * 2 / 3 + np.array([140 + 65, 230 + 78]) / 3
    assert np.abs(track.crops[2].landmarks_px[2] - nose).max() < 0.01


def test_the_gap_is_interpolated_in_time_not_by_count(monkeypatch: pytest.MonkeyPatch) -> None:
    finder, rgb = FaceFinder(), np.zeros((600, 1000, 3), np.uint8)
    monkeypatch.setattr(
        finder, "detect", lambda frames: [[detection(100, 200)], [], [detection(140, 200)]]
    )
    (track,) = finder.find_tracks([Frame(i, t, rgb) for i, t in enumerate((0.0, 0.3, 0.4))])
    assert lefts(track) == [100, 130, 140]


def test_long_gaps_are_left_open(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [[detection(100, 200)]] * 3
    (track,) = tracks(monkeypatch, [*seen, *[[]] * 6, *seen])  # one more frame than may be filled
    assert [crop.frame_index // 3 for crop in track.crops] == [0, 1, 2, 9, 10, 11]
    (track,) = tracks(monkeypatch, [*seen, [], *seen], step_s=1.1)  # one frame, but 2.2 s
    assert [crop.frame_index // 3 for crop in track.crops] == [0, 1, 2, 4, 5, 6]


def test_who_returns_late_is_a_new_track(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = [[detection(100, 200)]] * 3
    assert len(tracks(monkeypatch, [*seen, *[[]] * 8, *seen], step_s=0.5)) == 1  # 4.5 s
    assert len(tracks(monkeypatch, [*seen, *[[]] * 10, *seen], step_s=0.5)) == 2  # 5.5 s
    # missed once in a long clip
    assert len(tracks(monkeypatch, [*seen, [], *seen], step_s=15.0)) == 1


def test_a_cut_to_someone_elsewhere_is_not_glued(monkeypatch: pytest.MonkeyPatch) -> None:
    for step_s in (0.04, 0.3, 15.0):
        both = tracks(
            monkeypatch, [[detection(100, 200)]] * 5 + [[detection(300, 200)]] * 4, step_s
        )
        assert [lefts(track) for track in both] == [[100] * 5, [300] * 4]
    sizes = tracks(monkeypatch, [[detection(100, 200)]] * 5 + [[detection(50, 150, 200)]] * 4)
    assert len(sizes) == 2  # the same place, but twice the size


def test_the_gate_grows_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    jump = [[detection(100, 200)]] * 3 + [[detection(180, 200)]] * 3  # 0.8 face sizes
    assert len(tracks(monkeypatch, jump, step_s=0.04)) == 2
    assert len(tracks(monkeypatch, jump, step_s=0.6)) == 1


def test_a_single_detection_beside_a_long_track_is_a_false_alarm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    face, stray = detection(100, 200), detection(600, 300)
    assert len(tracks(monkeypatch, [[face]] * 4 + [[face, stray]] + [[face]] * 4)) == 1
    # too short a clip to tell
    assert len(tracks(monkeypatch, [[face]] * 2 + [[face, stray]] + [[face]] * 2)) == 2
    assert len(tracks(monkeypatch, [[face]] * 4 + [[face, stray]] * 2 + [[face]] * 4)) == 2


def test_tracks_are_ordered_and_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    short, small, large = detection(100, 0, 150), detection(400, 0, 60), detection(700, 0, 90)
    found = [[short, small, large]] * 3 + [[small, large]] * 3
    assert [track.crops[0].face_px for track in tracks(monkeypatch, found)] == [90, 60, 150]
    assert [track.crops[0].face_px for track in tracks(monkeypatch, found, max_faces=2)] == [90, 60]
    crowd = [[detection(70 * (i % 14), 80 * (i // 14), 60) for i in range(70)]]
    assert len(tracks(monkeypatch, crowd)) == 64


def test_kalman_learns_a_constant_velocity() -> None:
    box = KalmanBox.start(np.array([100.0, 50.0, 80.0]))
    before = box.centre_std_px
    for i in range(1, 21):
        box = box.predict(0.1).update(np.array([100.0 + 6 * i, 50.0 - 2 * i, 80.0 + i]))
    assert box.state == pytest.approx([220, 10, 100, 60, -20, 10], abs=1.0)
    ahead = box.predict(0.2)
    assert ahead.state[:3] == pytest.approx([232, 6, 102], abs=1.0)
    assert box.centre_std_px < before * 1.5
    assert box.predict(1.0).centre_std_px > 3 * ahead.centre_std_px  # doubt grows with time
    # Beyond the horizon of a quarter of a second the place stays, though the doubt grows.
    assert box.predict(30.0).state[0] == pytest.approx(220 + 0.25 * 60, abs=1.0)
    assert np.allclose(box.covariance, box.covariance.T)
    assert np.linalg.eigvalsh(box.covariance).min() > 0


def test_kalman_weighs_by_uncertainty() -> None:
    box = KalmanBox.start(np.array([0.0, 0.0, 100.0]))
    # Straight after the start, prediction and measurement are equally uncertain: the estimate lies
    # halfway.
    assert box.predict(0.0).update(np.array([10.0, 0.0, 100.0])).state[0] == pytest.approx(5.0)
    # A long time later the measurement is all there is.
    assert box.predict(10.0).update(np.array([10.0, 0.0, 100.0])).state[0] == pytest.approx(
        10.0, abs=0.01
    )


# ----------------------------------------------------------------------------------------------
# cutting out


# enlarged, about as is, averaged down
@pytest.mark.parametrize("side", [60.0, 172.3, 224.0, 700.5])
@pytest.mark.parametrize("dot", [(403.0, 351.0), (371.0, 402.0)])
def test_a_dot_lands_where_the_affine_says(side: float, dot: tuple[float, float]) -> None:
    x, y = dot
    v, u = np.mgrid[:800, :900]
    width = max(3.0, side / 40)
    blob = 255 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / (2 * width**2))
    rgb = np.repeat(blob[..., None], 3, axis=2).round().astype(np.uint8)
    box = (390.2 - side / 2, 380.7 - side / 2, 390.2 + side / 2, 380.7 + side / 2)
    crop, to_frame = cut_square(rgb, box)
    assert crop.shape == (224, 224, 3) and crop.dtype == np.uint8
    assert to_frame.shape == (2, 3) and to_frame.dtype == np.float32
    weight = crop[..., 0].astype(np.float64)
    weight[weight < 3] = 0
    rows, columns = np.mgrid[:224, :224]
    centre = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
    predicted = to_frame @ np.array([*centre, 1.0])
    crop_px = CROP_MARGIN * side / 224
    assert np.abs(predicted - dot).max() < 0.15 * max(1.0, crop_px)


def test_the_crop_covers_the_margin() -> None:
    rgb = np.zeros((300, 300, 3), np.uint8)
    _, to_frame = cut_square(rgb, (100.0, 80.0, 180.0, 180.0), size_px=130, margin=1.3)
    # The longer side is 100 px, so the square is 130 px around (140, 130): it starts at 75, 65, one
    # px per px.
    assert to_frame.tolist() == [[1.0, 0.0, 75.0], [0.0, 1.0, 65.0]]


def test_outside_the_frame_the_crop_mirrors_it() -> None:
    rgb = np.zeros((200, 200, 3), np.uint8)
    rgb[:, 20:30] = (200, 10, 10)
    crop, to_frame = cut_square(rgb, (-40.0, 60.0, 60.0, 160.0))
    column = (-25 - to_frame[0, 2]) / to_frame[0, 0]
    assert np.abs(crop[112, round(column)].astype(int) - (200, 10, 10)).max() <= 2
    assert crop[112, 84].tolist() == [0, 0, 0]


@pytest.mark.parametrize("box", [(10.0, 10.0, 10.0, 10.0), (900.0, 900.0, 950.0, 950.0)])
def test_boxes_without_a_face_are_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="expected a box"):
        cut_square(np.zeros((200, 200, 3), np.uint8), box)
