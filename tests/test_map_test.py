"""The map that is shown first is tested on its face, and gives way where it fails."""

import numpy as np
import pytest
from explain_faces import astronaut, detector, face_crop

from explain.cam import EVIDENCE_MAP, Heat
from explain.explainer import Explainer
from explain.map_test import MapTest, run_map_test

CROP = face_crop(astronaut()).rgb
SPOT = np.s_[150:190, 30:70]
GRAD_CAM = "Grad-CAM, rgb stream"


class SpotExplainer(Explainer):
    """Its logit is the share of the spot that is as it was, times 10; its maps are given."""

    def __init__(self, maps: dict[str, np.ndarray]) -> None:
        super().__init__(detector(), "image")
        self.maps = maps

    def score(self, crops: np.ndarray) -> np.ndarray:
        same = (crops[:, *SPOT] == CROP[SPOT]).all(-1).mean((1, 2))
        return (10 * same).astype(np.float32)

    def heats(self, crop: np.ndarray, methods: object, capture: object = None) -> dict[str, Heat]:
        return {n: Heat(m.astype(np.float32), n, "frame logit") for n, m in self.maps.items()}


def true_map() -> np.ndarray:
    values = np.zeros((224, 224))
    values[SPOT] = 1.0
    return values


def shown_of(*maps: np.ndarray) -> MapTest:
    names = (EVIDENCE_MAP, GRAD_CAM, "Grad-CAM, noise stream")
    return run_map_test(SpotExplainer(dict(zip(names, maps, strict=False))), CROP, steps=4)


def test_a_default_that_passes_is_shown() -> None:
    found = shown_of(true_map(), true_map())
    assert (found.heat.method, len(found.grades)) == (EVIDENCE_MAP, 1)
    assert found.passed and found.badge == "Tested on this face"


def test_where_the_default_fails_one_that_passed_is_shown_instead() -> None:
    found = shown_of(-true_map(), true_map(), true_map())
    assert (found.heat.method, len(found.grades)) == (GRAD_CAM, 2)
    assert found.passed and found.badge == "Tested on this face"
    assert found.sentence == f"{GRAD_CAM} is shown: the evidence map did not pass here."


def test_where_none_passes_none_is_called_reliable() -> None:
    found = shown_of(-true_map(), -true_map())
    assert found.heat.method == EVIDENCE_MAP and not found.passed
    assert found.badge == "Do not rely on this map"
    assert found.sentence == "None of the 2 maps tested on this face marks what the score rests on."


def test_it_says_how_far_it_is_and_can_be_stopped() -> None:
    seen: list[float] = []

    class StopError(Exception):
        pass

    def stop(share: float, stage: str) -> None:
        seen.append(share)
        assert stage.startswith("Testing the maps on this face: ")
        if share > 0.3:
            raise StopError

    explainer = SpotExplainer({EVIDENCE_MAP: -true_map(), GRAD_CAM: true_map()})
    with pytest.raises(StopError):
        run_map_test(explainer, CROP, stop)
    assert seen == sorted(seen) and seen[0] == 0.0 and len(seen) > 2
