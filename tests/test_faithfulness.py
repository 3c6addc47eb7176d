"""The checks themselves, on a score whose reason is known."""

import numpy as np
import pytest
import torch
from explain_faces import astronaut, detector, explainer, face_crop

from detector.stopping import stoppable
from explain import faithfulness
from explain.cam import EVIDENCE_MAP, Heat
from explain.faithfulness import (
    BADGE,
    Curves,
    Grade,
    control_maps,
    curves,
    localise,
    pictures_scored,
    report_card,
    road,
    shuffled,
)

CROP = face_crop(astronaut()).rgb
SPOT = np.s_[150:190, 30:70]  # away from the centre


def spot(crops: np.ndarray) -> np.ndarray:
    """Logit = share of the spot that is as it was, times 10; depends on nothing else."""
    same = (crops[:, *SPOT] == CROP[SPOT]).all(-1).mean((1, 2))
    return (10 * same).astype(np.float32)


def heat(values: np.ndarray, method: str = "m") -> Heat:
    return Heat(values.astype(np.float32), method, "frame logit")


def true_map() -> np.ndarray:
    values = np.zeros((224, 224))
    values[SPOT] = 1.0
    return values


def test_areas_by_hand() -> None:
    found = Curves(np.array([4.0, 2.0, 0.0], np.float32), np.array([0.0, 4.0, 4.0], np.float32))
    assert found.deletion_auc == 2.0
    assert found.insertion_auc == 3.0


def test_curves_of_a_known_reason() -> None:
    other = 255 - CROP
    both = curves(spot, CROP, {"found": true_map(), "wrong": -true_map()}, other, steps=8)
    found, wrong = both["found"], both["wrong"]
    # The spot is 1600 of 50176 pixels: half of it goes at (1/8)^2 of the area, all of it by
    # (2/8)^2.
    half = 10 * 784 / 1600
    assert found.deletion.tolist() == pytest.approx([10.0, 10 - half] + [0.0] * 7)
    assert found.insertion.tolist() == pytest.approx([0.0, half] + [10.0] * 7)
    assert wrong.deletion_auc > 9 and wrong.insertion_auc < 1
    assert wrong.deletion[-1] == 0.0 and wrong.insertion[-1] == 10.0


def test_the_true_map_passes_and_a_wrong_one_gets_the_badge() -> None:
    card = report_card(
        spot, CROP, {"good": heat(true_map(), "good"), "bad": heat(-true_map(), "bad")}
    )
    good, bad = card.grades
    assert good.trusted and good.lost_deletion == good.lost_insertion == ()
    assert good.sentence.startswith("Passed: ")
    assert good.road > 0 > bad.road
    assert not bad.trusted and bad.lost_deletion == ("random", "centre", "edges")
    assert bad.sentence == (
        f"{BADGE}: deletion no better than random, centre and edges, insertion no better than "
        "random, centre and edges, ROAD not above 0: its cold places carry as much as its hot ones."
    )
    assert set(card.controls) == {"random", "centre", "edges"}
    assert set(card.curves) == {"good", "bad", "random", "centre", "edges"}
    assert card.fill == "compressed" and card.grade("bad") is bad


def test_losing_to_one_control_is_enough_for_the_badge() -> None:
    grade = Grade("m", 0.0, 1.0, 0.5, (), ("edges",))
    assert not grade.trusted
    assert grade.sentence == "Do not rely on this map: insertion no better than edges."


def test_a_map_is_no_better_than_itself() -> None:
    centre = control_maps(CROP, np.random.default_rng(0))["centre"]
    card = report_card(explainer().score, CROP, {"m": heat(centre)}, steps=4)
    assert "centre" in card.grades[0].lost_deletion and "centre" in card.grades[0].lost_insertion


def test_authentic_pixels_as_cover() -> None:
    card = report_card(spot, CROP, {"m": heat(true_map())}, authentic=255 - CROP, steps=4)
    assert card.fill == "authentic"
    assert card.curves["m"].deletion.tolist() == [10.0, 0.0, 0.0, 0.0, 0.0]


def test_control_maps() -> None:
    maps = control_maps(CROP, np.random.default_rng(0))
    assert all(m.shape == (224, 224) and m.dtype == np.float32 for m in maps.values())
    assert np.unravel_index(maps["centre"].argmax(), (224, 224)) in {
        (111, 111),
        (111, 112),
        (112, 111),
        (112, 112),
    }
    assert maps["centre"][112, 112] / maps["centre"][112, 168] == pytest.approx(
        np.exp(0.5), rel=0.02
    )  # sigma = side / 4
    edge = np.zeros((224, 224, 3), np.uint8)
    edge[:, 100:] = 255
    assert control_maps(edge, np.random.default_rng(0))["edges"][50].argmax() in (99, 100)
    other = control_maps(CROP, np.random.default_rng(1))["random"]
    assert np.abs(maps["random"] - other).max() > 0.1


def test_road_of_a_known_reason() -> None:
    """The spot is 3% of the crop: it goes with the hottest fifth of the true map and stays without
    the coldest.
    """
    looks: list[int] = []
    with stoppable(lambda: looks.append(1)):
        found = road(spot, CROP, {"right": true_map(), "wrong": -true_map()})
    assert len(looks) == 4  # before each picture that it fills
    assert found["right"] == pytest.approx(5.0, abs=0.1)
    assert found["wrong"] == pytest.approx(-5.0, abs=0.1)


def test_road_is_repeatable_and_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    maps = {"m": true_map().astype(np.float32)}
    first = road(explainer().score, CROP, maps)
    imputed_with_noise = faithfulness._seeded_imputer(0)(
        torch.rand(3, 8, 8), torch.ones(8, 8).index_fill(0, torch.tensor([3]), 0)
    )
    assert imputed_with_noise.shape == (3, 8, 8)
    torch.rand(5)
    assert road(explainer().score, CROP, maps) == first
    torch.manual_seed(5)
    assert torch.equal(torch.rand(1), expected)


def test_the_imputer_keeps_what_is_there() -> None:
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(16, 16)
    mask[4:8, 4:8] = 0
    filled = faithfulness._seeded_imputer(0)(image, mask)
    assert torch.equal(filled[:, mask.bool()], image[:, mask.bool()])
    assert (filled[:, 4:8, 4:8] - image[:, 4:8, 4:8]).abs().max() > 0.05
    assert filled.min() >= 0 and filled.max() <= 1


def test_localisation() -> None:
    mask = true_map() > 0
    best, worst = (
        localise(true_map().astype(np.float32), mask),
        localise(-true_map().astype(np.float32), mask),
    )
    assert (best.pixel_auc, best.pointing, best.iou) == (1.0, True, 1.0)
    assert (worst.pixel_auc, worst.pointing, worst.iou) == (0.0, False, 0.0)
    half = true_map()
    half[150:190, 50:70] = 0
    half[150:190, 100:120] = 1
    found = localise(half.astype(np.float32), mask)
    # Half of the hottest 1600 places lie in the mask of 1600: 800 / 2400.
    assert found.iou == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="empty"):
        localise(half.astype(np.float32), np.zeros((224, 224), bool))


def test_shuffling_keeps_the_values_and_changes_the_maps() -> None:
    network = detector().network
    untaught = shuffled(network, np.random.default_rng(0))
    for (name, a), (_, b) in zip(
        network.named_parameters(), untaught.named_parameters(), strict=True
    ):
        assert torch.equal(a.flatten().sort().values, b.flatten().sort().values), name
    assert not torch.equal(next(network.parameters()), next(untaught.parameters()))
    methods = (EVIDENCE_MAP, "Grad-CAM, rgb stream")
    found = explainer().shuffle_weights(CROP, methods)
    for method in methods:
        assert np.abs(found[method].before.map - found[method].after.map).max() > 1e-5
        assert -1 <= found[method].correlation < 0.95
    again = explainer().shuffle_weights(CROP, methods)
    assert [s.correlation for s in found.values()] == [s.correlation for s in again.values()]
    assert detector().network is network


@pytest.mark.parametrize(("road", "trusted"), [(0.3, True), (0.0, False), (-0.3, False)])
def test_every_test_that_is_shown_counts(road: float, trusted: bool) -> None:
    """A map with ROAD -0.30 that passes beside one with +1.63 that fails explains nothing."""
    grade = Grade("m", 0.0, 1.0, road, (), ())
    assert grade.trusted is trusted
    assert ("ROAD" in grade.sentence) is not trusted


def test_controls_are_not_looked_at_twice() -> None:
    looks: list[int] = []

    def counted(crops: np.ndarray) -> np.ndarray:
        looks.append(len(crops))
        return spot(crops)

    first = report_card(counted, CROP, {"good": heat(true_map(), "good")}, steps=4)
    assert sum(looks) == pictures_scored(1, 4) == 2 + 6 * 4 + 2
    looks.clear()
    again = report_card(counted, CROP, {"good": heat(true_map(), "good")}, steps=4, before=first)
    assert sum(looks) == pictures_scored(1, 4, controls=False) == 2 + 6 + 2
    assert again.grades == first.grades or vars(again.grades[0]) == vars(first.grades[0])


def test_a_map_that_looks_uniform_does_not_show_where() -> None:
    """Its hottest places lie in the mask, and no eye sees it."""
    mask = true_map() > 0
    faint = np.where(mask, 1.0, 0.95).astype(np.float32)
    found = localise(faint, mask)
    assert found.iou == 1.0 and found.contrast == pytest.approx(0.05, abs=1e-6)
    assert not found.shows_where and localise(true_map().astype(np.float32), mask).shows_where
    assert localise(np.zeros((224, 224), np.float32), mask).contrast == 0.0
