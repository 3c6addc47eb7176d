"""Colours: exact placement, one scale, and nothing that only colour says."""

import io

import numpy as np
import pytest
from explain_faces import BOX, astronaut, face_crop
from PIL import Image

from detector.profile import Thresholds
from detector.types import FaceCrop
from explain import figures
from explain.cam import Heat
from explain.figures import CurveLine, Scale, View
from explain.regions import Regions
from explain.timeline import Interval, Timeline


def heat_of(values: np.ndarray, signed: bool = False, method: str = "m") -> Heat:
    return Heat(values.astype(np.float32), method, "frame logit", signed=signed)


def test_lay_back_is_exact_below_a_pixel() -> None:
    side = 64
    y, x = np.mgrid[:side, :side].astype(np.float32)
    turn, scale = np.deg2rad(17.0), 1.73
    affine = np.array(
        [
            [scale * np.cos(turn), -scale * np.sin(turn), 40.318],
            [scale * np.sin(turn), scale * np.cos(turn), 21.907],
        ]
    )
    # A ramp is linear, so bilinear interpolation must give it back without any error.
    laid_x, covered = figures.lay_back(x, affine, (160, 160))
    laid_y, _ = figures.lay_back(y, affine, (160, 160))
    back = np.linalg.inv(np.vstack([affine, [0, 0, 1]]))
    v, u = np.mgrid[:160, :160]
    want = np.einsum("ij,jhw->ihw", back[:2], np.stack([u, v, np.ones_like(u)]))
    inside = ((want > 0) & (want < side - 1)).all(0)
    assert inside.sum() > 5000 and covered[inside].all()
    np.testing.assert_allclose(laid_x[inside], want[0][inside], atol=1e-3)
    np.testing.assert_allclose(laid_y[inside], want[1][inside], atol=1e-3)
    assert not covered[0, 159] and laid_x[0, 159] == 0


def test_lay_back_finds_the_one_hot_pixel() -> None:
    values = np.zeros((8, 8), np.float32)
    values[2, 5] = 4.0
    laid, covered = figures.lay_back(values, np.array([[1, 0, 10], [0, 1, 20]]), (40, 40))
    assert np.argwhere(laid > 0).tolist() == [[22, 15]]
    assert laid[22, 15] == 4.0 and covered.sum() == 64
    half, _ = figures.lay_back(values, np.array([[1, 0, 10.5], [0, 1, 20]]), (40, 40))
    assert half[22, 15:17].tolist() == [2.0, 2.0]


def test_the_heat_lands_on_the_frame_where_the_crop_came_from() -> None:
    frame = astronaut()
    crop = face_crop(frame)
    values = np.zeros((224, 224))
    values[100:104, 60:64] = 1.0
    where = crop.to_frame[:, :2] @ [61.5, 101.5] + crop.to_frame[:, 2]  # its middle in frame px
    for view in (
        figures.view_frame(frame),
        figures.view_frame(frame, 300),
        figures.view_face(frame, crop),
    ):
        shown = figures.overlay(view, crop, heat_of(values), Scale(1.0, False, "m"))
        change = np.abs(shown.astype(int) - view.rgb).sum(-1)
        middle = (
            change[..., None] * np.stack(np.mgrid[: change.shape[0], : change.shape[1]], -1)
        ).sum((0, 1)) / change.sum()
        want = view.from_frame[:, :2] @ where + view.from_frame[:, 2]
        np.testing.assert_allclose(middle[::-1], want, atol=0.75)


def test_views_keep_pixel_centres() -> None:
    frame = np.zeros((100, 200, 3), np.uint8)
    view = figures.view_frame(frame, 100)
    assert view.rgb.shape == (50, 100, 3)
    # Frame pixels 0 and 1 become view pixel 0: their middle, 0.5, lands on 0.
    np.testing.assert_allclose(view.from_frame @ [0.5, 0.5, 1], [0, 0])
    same = figures.view_frame(frame)
    assert same.rgb is frame and np.array_equal(same.from_frame, [[1, 0, 0], [0, 1, 0]])


def test_one_scale_for_all_frames() -> None:
    weak, strong = heat_of(np.full((4, 4), 0.5)), heat_of(np.full((4, 4), 2.0))
    scale = figures.shared_scale([weak, strong])
    assert (scale.limit, scale.signed, scale.label) == (2.0, False, "m: frame logit")
    grey = np.full((4, 4, 3), 128, np.uint8)
    assert not np.array_equal(
        figures.heat_picture(grey, weak, scale), figures.heat_picture(grey, strong, scale)
    )
    signed = figures.shared_scale([heat_of(np.array([[-3.0, 1.0]]), signed=True)])
    assert signed.limit == 3.0
    assert signed.unit(np.array([-3.0, 0.0, 3.0, 9.0], np.float32)).tolist() == [0.0, 0.5, 1.0, 1.0]
    with pytest.raises(ValueError, match="one method"):
        figures.shared_scale([weak, heat_of(np.ones((4, 4)), method="n")])


def test_no_heat_changes_nothing() -> None:
    crop = face_crop(astronaut()).rgb
    scale = Scale(1.0, True, "m")
    np.testing.assert_array_equal(
        figures.heat_picture(crop, heat_of(np.zeros((224, 224)), True), scale), crop
    )


def test_colours_have_their_meaning() -> None:
    grey = np.full((1, 2, 3), 128, np.uint8)
    forged, authentic = figures.heat_picture(
        grey, heat_of(np.array([[1.0, -1.0]]), True), Scale(1.0, True, "m")
    )[0]
    assert forged[0] > forged[2] + 30  # orange
    assert authentic[2] > authentic[1]  # purple
    dark, bright = figures.error_picture(np.array([[0.0, 16.0]], np.float32))[0].sum(-1)
    assert bright > dark + 200


def test_boxes_carry_a_label() -> None:
    view = figures.view_frame(astronaut())
    plain = figures.annotate(view, [(face_crop(astronaut()), "")])
    named = figures.annotate(view, [(face_crop(astronaut()), "3: 0.91")])
    x0, y0, *_ = (round(v) for v in BOX)
    assert plain[y0, x0 + 30].tolist() == [255, 255, 255]
    above = np.s_[y0 - 20 : y0 - 4, x0 : x0 + 60]
    assert (named[above] != plain[above]).any()
    np.testing.assert_array_equal(named[300:], astronaut()[300:])


def test_a_label_stays_inside_the_frame() -> None:
    frame = np.zeros((60, 60, 3), np.uint8)
    crop = face_crop(astronaut())
    corner = FaceCrop(
        crop.rgb, crop.to_frame, 0, 0.0, (45.0, 1.0, 59.0, 20.0), crop.landmarks_px, 1.0
    )
    assert (
        figures.annotate(figures.view_frame(frame), [(corner, "12: forged")])[2:14, :40].max()
        == 255
    )


def test_lime_pictures() -> None:
    # four columns of 15 px
    segments = np.repeat(np.arange(4, dtype=np.int32)[None], 60, 0).repeat(15, 1)
    found = Regions(segments, np.array([0.5, -2.0, 1.5, 0.1], np.float32), 0.0, 1.0, 1.0, "mean")
    crop = np.full((60, 60, 3), 200, np.uint8)
    positive = figures.regions_positive(crop, found, count=1)
    assert positive[30, 7].tolist() == [40, 40, 40]  # hidden
    assert positive[30, 37].tolist() == [200, 200, 200]  # the strongest positive one, as it is
    signed = figures.regions_signed(crop, found, figures.shared_scale([found.heat()]), count=2)
    assert signed.shape == (120, 120, 3)
    assert signed[100, 15].tolist() == [200, 200, 200]  # not among the two strongest
    purple, orange = signed[100, 45].astype(int), signed[100, 75].astype(int)
    assert purple[2] > purple[1] and orange[0] > orange[2] + 30


def test_charts() -> None:
    line = Timeline(
        0,
        (0.0, 1.0, 2.0),
        (0.1, 0.9, 0.2),
        (0.2, 0.7, 0.3),
        Thresholds(0.4, 0.6),
        (Interval(0.5, 1.5),),
        (0.9, 0.8),
    )
    with_interval = figures.timeline_chart(line)
    without = figures.timeline_chart(
        Timeline(0, line.t, line.p, line.p_smooth, line.thresholds, (), line.similarity)
    )
    assert with_interval.shape == without.shape == (380, 900, 3)
    assert (with_interval != without).any()
    assert figures.colour_bar(Scale(2.0, True, "x")).shape[1] == 448
    lines = [
        CurveLine("m", [1.0, 0.0], is_control=False),
        CurveLine("random", [1.0, 0.5], is_control=True),
    ]
    assert figures.curves_chart(lines, "Deletion").shape == (300, 448, 3)


def test_masks_and_enlargements() -> None:
    mask = figures.mask_picture(np.array([[0.0, 1.0]], np.float32))
    assert mask.tolist() == [[[0, 0, 0], [255, 255, 255]]]
    assert figures.enlarged(mask, 2)[:, :, 0].tolist() == [[0, 0, 255, 255]] * 2


def test_joining() -> None:
    a, b = np.zeros((4, 3, 3), np.uint8), np.ones((4, 5, 3), np.uint8)
    assert figures.side_by_side([a, b], gap_px=2).shape == (4, 10, 3)
    assert figures.stack([a, b], gap_px=1).shape == (10, 5, 3)


def test_png_round_trip_and_same_bytes() -> None:
    picture = astronaut()[:20, :30].copy()
    data = figures.png(picture)
    assert data == figures.png(picture)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), picture)


def test_residual_is_around_grey() -> None:
    assert (
        figures.residual_picture(np.zeros((2, 2, 3), np.float32)).tolist() == [[[128] * 3] * 2] * 2
    )
    assert figures.residual_picture(np.full((1, 1, 3), -100, np.float32)).max() == 0


def test_view_is_frozen() -> None:
    with pytest.raises(AttributeError):
        View(astronaut(), np.eye(3)[:2]).rgb = None  # type: ignore[misc]
