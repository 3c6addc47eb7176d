"""Forgeries carry the mask of what was changed, and change nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from detector.forgery import appearance, blending, occlusion, regions

LANDMARKS = np.array([[80, 90], [130, 90], [105, 118], [84, 148], [126, 148]], np.float32)
RNG = np.random.default_rng


@pytest.fixture
def face() -> np.ndarray:
    noise = RNG(0).integers(60, 200, (28, 28, 3)).astype(np.uint8)
    return np.ascontiguousarray(noise.repeat(8, 0).repeat(8, 1))


def test_average_face_fits_its_own_landmarks() -> None:
    affine = regions.face_affine(LANDMARKS)
    placed = np.hstack([regions.FIVE_POINTS, np.ones((5, 1))]) @ affine.T
    assert np.abs(placed - LANDMARKS).max() < 2.5
    assert regions.eye_distance(LANDMARKS) == pytest.approx(50.2, abs=0.3)


@pytest.mark.parametrize("region", sorted(regions.REGIONS))
def test_masks_lie_where_their_region_is(region: str) -> None:
    mask = blending.region_mask(
        (224, 224), LANDMARKS, blending.Blend(region=region, elastic=0.0), RNG(1)
    )
    assert mask.shape == (224, 224) and mask.min() >= 0 and mask.max() <= 1
    rows, columns = np.nonzero(mask > 0.5)
    assert 90 < columns.mean() < 120  # between the eyes
    expected_row = {"eyes": 90, "nose": 110, "mouth": 148, "lower face": 152}.get(region)
    if expected_row is not None:
        assert abs(rows.mean() - expected_row) < 8


def test_self_blend_changes_inside_the_mask_only(face: np.ndarray) -> None:
    blend = blending.Blend(
        region="mouth", blur=0.02, elastic=0.0, appearance=appearance.Appearance(brightness=40.0)
    )
    made = blending.self_blend(face, LANDMARKS, blend, RNG(2))
    changed = np.abs(made.forged.astype(int) - made.authentic).max(2)
    assert np.array_equal(made.authentic, face)
    assert changed[made.mask > 0.99].mean() > 30
    assert changed[made.mask == 0].max() == 0


def test_ratio_zero_is_no_forgery_and_more_ratio_is_more_change(face: np.ndarray) -> None:
    blend = blending.Blend(appearance=appearance.Appearance(rgb_shift=(30.0, -30.0, 10.0)))
    change = [
        np.abs(
            blending.self_blend(face, LANDMARKS, replace(blend, ratio=r), RNG(3)).forged.astype(int)
            - face
        ).mean()
        for r in (0.0, 0.25, 0.5, 1.0)
    ]
    assert change[0] == 0
    assert change == sorted(change) and change[1] > 0


def test_change_target_keeps_the_look_out_of_the_label(face: np.ndarray) -> None:
    blend = blending.Blend(
        region="mouth", blur=0.02, elastic=0.0, appearance=appearance.Appearance(brightness=40.0)
    )
    made = blending.self_blend(face, LANDMARKS, blend, RNG(2), change_target=True)
    assert made.authentic.mean() > face.mean() + 30  # the authentic half has the appearance, too
    assert np.array_equal(made.authentic[made.mask == 0], made.forged[made.mask == 0])


def test_cross_blend_brings_the_donor_in_and_matches_its_colour(face: np.ndarray) -> None:
    donor = np.full_like(face, (10, 10, 10))
    donor[::2] = (40, 40, 40)
    made = blending.cross_blend(
        face, LANDMARKS, donor, LANDMARKS + 3, blending.Blend(elastic=0.0), RNG(4)
    )
    inside = made.mask > 0.9
    assert np.abs(made.forged.astype(int) - face)[inside].mean() > 10
    # colour matched, though the donor is black
    assert abs(made.forged[inside].mean() - face[inside].mean()) < 15


def test_part_splice_moves_the_mouth(face: np.ndarray) -> None:
    made = blending.part_splice(face, LANDMARKS, blending.Blend(region="mouth", blur=0.05), RNG(5))
    changed = np.abs(made.forged.astype(int) - face).max(2) > 0
    assert changed.any() and not changed[made.mask == 0].any()
    assert made.family == "part splice"


def test_softened_half_is_as_sharp_as_the_redrawn_one(face: np.ndarray) -> None:
    import cv2

    redrawn = cv2.GaussianBlur(face, (0, 0), 1.0)
    made = blending.resynthesis(
        face, redrawn, LANDMARKS, blending.Blend(), RNG(6), whole=True, soften=True
    )
    energy = [cv2.Laplacian(x, cv2.CV_32F).std() for x in (face, made.authentic, made.forged)]
    assert energy[0] > 1.5 * energy[2]
    assert energy[1] == pytest.approx(energy[2], rel=0.25)
    assert made.mask.min() == 1.0


def test_the_same_seed_makes_the_same_forgery(face: np.ndarray) -> None:
    a, b = (
        blending.self_blend(face, LANDMARKS, blending.draw_blend(RNG(7)), RNG(8)) for _ in range(2)
    )
    c = blending.self_blend(face, LANDMARKS, blending.draw_blend(RNG(9)), RNG(8))
    assert np.array_equal(a.forged, b.forged)
    assert not np.array_equal(a.forged, c.forged)


def test_a_forgery_of_mixed_sizes_cannot_be_made(face: np.ndarray) -> None:
    with pytest.raises(ValueError, match="one size"):
        blending.Forgery(face, face[:100], np.zeros((224, 224), np.float32), "x")


def test_an_occluder_covers_both_halves_alike_and_leaves_the_rest(face: np.ndarray) -> None:
    for seed in range(12):
        cover, opacity = occlusion.draw_occluder(face, np.random.default_rng(seed))
        laid = blending.blend_in(face, cover, opacity, 1.0)
        assert cover.shape == face.shape and opacity.shape == face.shape[:2]
        assert np.array_equal(laid[opacity == 0], face[opacity == 0])
        assert 0 < (opacity > 0.5).mean() < 0.5
