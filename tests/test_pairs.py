"""Pairs: two crops of one face under one augmentation, and a mask."""

import csv
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from detector.errors import DataError
from detector.forgery.genuine import GenuineForgeries
from detector.forgery.pairs import FAMILIES, PairMaker
from detector.forgery.pictures import LabelledFace, cut_forging_crop, load_pictures

FACE = astronaut()[30:190, 150:310]
LANDMARKS = np.array([[57, 66], [92, 66], [75, 88], [60, 106], [90, 106]], np.float32)
BOX = (45.0, 30.0, 105.0, 125.0)


def picture(**changes: object) -> LabelledFace:
    plain = {"source": "a", "person": "p", "split": "train", "label": 0}
    rgb = FACE if not changes.get("label") else np.ascontiguousarray(FACE[:, ::-1])
    return LabelledFace(rgb, BOX, LANDMARKS, **{**plain, **changes})  # type: ignore[arg-type]


def maker(**families: float) -> PairMaker:
    redrawn = cv2.GaussianBlur(FACE, (0, 0), 1.0)
    pictures = [picture(person=str(i), rebuilt=(redrawn,)) for i in range(4)]
    pictures += [
        picture(source="openimages"),
        picture(label=1, source="openforensics"),
        picture(label=1, source="sfhq"),
        picture(source="ffhq"),
        picture(source="lfw"),
        picture(source="swap_pairs", pair_id="one"),
        picture(label=1, source="swap_pairs", pair_id="one"),
        picture(label=1, source="kowalski_faceswap"),
    ]
    return PairMaker(pictures, families)


UNKNOWN_MASKS = ("openforensics", "swap pairs", "faceswap")


@pytest.mark.parametrize(
    "family",
    ["self-blend", "cross-blend", "part splice", "generator", "generated", *UNKNOWN_MASKS],
)
def test_every_family_gives_a_pair_with_its_mask(family: str) -> None:
    crops, masks, drawn = maker(**{family: 1.0}).draw(np.random.default_rng(3), 0.5, 1.0)
    assert drawn == family
    assert crops.shape == (2, 224, 224, 3) and crops.dtype == np.uint8
    assert masks.shape == (2, 28, 28) and masks[0].max() == 0
    assert not np.array_equal(crops[0], crops[1])
    if family in UNKNOWN_MASKS:
        assert np.isnan(masks[1]).all()  # where the mask is unknown no loss may read one
    else:
        assert 0 < masks[1].max() <= 1


def test_a_pair_shares_its_augmentation() -> None:
    """Outside the mask both halves stay the same through the crop, where nothing spreads errors."""
    rng = np.random.default_rng(0)
    make = maker(**{"part splice": 1.0})
    forgery = make.make("part splice", 0.5, rng)
    crops, masks = make.to_crops(forgery, (), 224, np.random.default_rng(1))
    far = cv2.resize(cv2.dilate(masks[1], np.ones((5, 5))), (224, 224)) == 0
    assert far.mean() > 0.3
    assert np.abs(crops[0][far].astype(int) - crops[1][far]).max() <= 1


def test_retouched_apart_the_forged_half_is_as_often_the_sharper_one() -> None:
    def sharper_forged(p_retouched: float) -> float:
        make = PairMaker([picture()], {"part splice": 1.0}, p_retouched)
        pairs = [make.draw(np.random.default_rng(seed), 0.5, 0.0)[0] for seed in range(60)]
        # above the forgery
        detail = [[cv2.Laplacian(crop, cv2.CV_32F)[:40].std() for crop in pair] for pair in pairs]
        return float(np.mean([forged > 1.02 * authentic for authentic, forged in detail]))

    assert sharper_forged(0.0) == 0
    assert 0.25 < sharper_forged(1.0) < 0.6


def test_a_generators_palette_does_not_tell_the_pair_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    warm = np.clip(FACE[:, ::-1] * np.array([1.2, 0.9, 0.6]), 0, 255).astype(np.uint8)
    pictures = [picture(source="ffhq"), LabelledFace(warm, BOX, LANDMARKS, "sfhq", "g", "train", 1)]

    def apart(share: float) -> float:
        monkeypatch.setattr("detector.forgery.pairs.P_RECOLOURED", share)
        make = PairMaker(pictures, {"generated": 1.0}, 0.0)
        pairs = [make.draw(np.random.default_rng(seed), 0.5, 0.0)[0] for seed in range(6)]
        return max(
            float(np.abs(authentic.mean((0, 1)) - forged.mean((0, 1))).max())
            for authentic, forged in pairs
        )

    assert apart(0.0) > 25
    assert apart(1.0) < 8


def test_an_authentic_partner_may_have_skin_as_smooth_as_a_generators(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def detail(share: float) -> float:
        monkeypatch.setattr("detector.forgery.pairs.P_SMOOTH_PARTNER", share)
        monkeypatch.setattr("detector.forgery.pairs.P_RECOLOURED", 0.0)
        make = PairMaker(
            [picture(source="ffhq"), picture(label=1, source="sfhq")], {"generated": 1.0}, 0.0
        )
        pairs = [make.draw(np.random.default_rng(seed), 0.5, 0.0)[0] for seed in range(8)]
        steps = [
            [np.abs(np.diff(half.astype(int), axis=1)).mean() for half in pair] for pair in pairs
        ]
        return float(np.mean([authentic / forged for authentic, forged in steps]))

    plain = detail(0.0)  # mean step between neighbouring pixels: the same picture, mirrored
    assert 0.94 < plain < 1.03
    assert detail(1.0) < 0.95 * plain


def test_a_genuine_swap_stands_beside_its_own_target() -> None:
    """The other authentic pictures are black; so would be the partner of a swap without its own."""
    black = {"rgb": np.zeros_like(FACE), "source": "swap_pairs"}
    pictures = [replace(picture(pair_id=f"other {i}"), **black) for i in range(9)]
    pictures += [picture(label=k, source="swap_pairs", pair_id="one") for k in (0, 1)]
    pictures += [picture(label=1, source="swap_pairs", pair_id="without a target")]
    make = PairMaker(pictures, {"swap pairs": 1.0})
    assert [p.pair_id for p in make.genuine["swap pairs"]] == ["one"]
    made = [make.make("swap pairs", 0.5, np.random.default_rng(seed)) for seed in range(8)]
    assert all(forgery.authentic.mean() > 50 for forgery in made)


def test_families_without_pictures_are_off() -> None:
    every = dict.fromkeys(FAMILIES, 1.0)
    assert PairMaker([picture()], every).families == ["self-blend", "cross-blend", "part splice"]
    assert set(maker(**every).families) == set(FAMILIES)


def test_a_large_generator_is_drawn_by_the_square_root_of_its_size() -> None:
    pictures = [picture(), picture(label=1, source="small")]
    pictures += [picture(label=1, source="large") for _ in range(16)]
    forgeries, rng = GenuineForgeries(pictures), np.random.default_rng(0)
    drawn = [forgeries.draw("generated", rng).source for _ in range(500)]
    assert drawn.count("large") / 500 == pytest.approx(0.8, abs=0.05)


def test_frames_of_clips_are_drawn_as_often_as_asked() -> None:
    pictures = [picture(source="photos") for _ in range(99)] + [picture(source="clip vlog")]
    rng = np.random.default_rng(0)

    def frames(video_share: float | None) -> float:
        make = PairMaker(pictures, video_share=video_share)
        return np.mean([make.draw_picture(rng).source == "clip vlog" for _ in range(500)])

    assert frames(None) == pytest.approx(0.09, abs=0.04)
    assert frames(0.5) == pytest.approx(0.5, abs=0.07)


def test_the_same_seed_draws_the_same_pair() -> None:
    families = {"self-blend": 0.5, "cross-blend": 0.5}
    a, b, c = (maker(**families).draw(np.random.default_rng(seed), 0.5, 1.0) for seed in (5, 5, 6))
    assert np.array_equal(a[0], b[0]) and a[2] == b[2]
    assert not np.array_equal(a[0], c[0])


def test_flipping_keeps_left_landmarks_left() -> None:
    plain, flipped = cut_forging_crop(picture(), 150, False), cut_forging_crop(picture(), 150, True)
    assert np.array_equal(plain.rgb[:, ::-1], flipped.rgb)
    assert (flipped.landmarks_px[0, 0] < flipped.landmarks_px[1, 0]) and (
        flipped.landmarks_px[3, 0] < flipped.landmarks_px[4, 0]
    )
    assert flipped.landmarks_px[0, 0] == pytest.approx(149 - plain.landmarks_px[1, 0])


def test_hard_families_are_drawn_more_often() -> None:
    make, rng = maker(**{"self-blend": 0.5, "cross-blend": 0.5}), np.random.default_rng(0)
    drawn = [make.draw_family(rng, {"self-blend": 1.5, "cross-blend": 0.5}) for _ in range(400)]
    assert 0.68 < drawn.count("self-blend") / 400 < 0.82


def test_pictures_come_with_a_table_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Expected a folder faces with faces.csv beside it"):
        load_pictures(tmp_path / "faces")
    (tmp_path / "faces").mkdir()
    cv2.imwrite(str(tmp_path / "faces" / "one.png"), FACE[..., ::-1])
    points = {f"lm{i}{axis}": LANDMARKS[i, k] for i in range(5) for k, axis in enumerate("xy")}
    row = {
        "file": "one.png",
        "set": "s",
        "split": "val",
        "identity": "p",
        "pair_id": "pair 7",
        "x0": 45,
        "y0": 30,
        "x1": 105,
        "y1": 125,
        **points,
    }
    with (tmp_path / "faces.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, row)
        writer.writeheader()
        writer.writerows([row, row | {"file": "missing.png"}])
    (only,) = load_pictures(tmp_path / "faces")
    assert np.array_equal(only.rgb, FACE) and only.box_xyxy_px == BOX and only.label == 0
    assert only.pair_id == "pair 7"
    assert load_pictures(tmp_path / "faces", splits=("train",)) == []


def test_nothing_authentic_nothing_to_forge() -> None:
    with pytest.raises(DataError, match="no authentic face"):
        PairMaker([picture(label=1)])
