"""Maps of the second network, on a tiny tower of random weights."""

import numpy as np
import pytest
import torch
from explain_faces import tiny_clip

from detector.pipeline import Detector
from explain.clip_maps import (
    CAM_GENERATED,
    CAM_MANIPULATED,
    CLIP_EVIDENCE,
    CLIP_METHODS,
    ROLLOUT,
    attention_rollout,
    patches_to_grid,
)
from explain.explainer import Explainer

CROP = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    expert = tiny_clip()
    for head in (expert.manipulated, expert.generated):
        torch.nn.init.normal_(head.weight, std=0.1)
    return Explainer(Detector.untrained().with_clip(expert), "image")


def test_only_a_model_with_two_networks_offers_maps_of_the_second(explainer: Explainer) -> None:
    one = Explainer(Detector.untrained(), "image")
    assert not set(CLIP_METHODS) & set(one.methods)
    assert explainer.methods[-4:] == CLIP_METHODS
    assert not set(CLIP_METHODS) & set(explainer.default_methods)
    with pytest.raises(ValueError, match="one network"):
        one.capture_clip(CROP)


def test_maps_are_the_networks_own_and_leave_no_hook_behind(explainer: Explainer) -> None:
    heats = explainer.heats(CROP, CLIP_METHODS)
    expert = explainer.detector.clip
    assert expert is not None
    own = expert(explainer.detector.tensor(CROP[None])).map_logits[0]
    assert np.allclose(explainer.capture_clip(CROP).map_logits, own.numpy(), atol=1e-5)
    assert heats[CLIP_EVIDENCE].signed and heats[CLIP_EVIDENCE].map.shape == (224, 224)
    assert not any(m._forward_hooks for m in expert.modules())
    assert heats[CAM_MANIPULATED].map.min() >= 0 and heats[CAM_MANIPULATED].map.max() > 0
    assert not np.allclose(heats[CAM_MANIPULATED].map, heats[CAM_GENERATED].map)
    assert heats[ROLLOUT].class_blind and heats[CAM_GENERATED].target == (
        "CLIP's logit of a picture generated as a whole"
    )
    again = explainer.heat(CROP, CAM_GENERATED).map
    assert np.array_equal(again, heats[CAM_GENERATED].map)


def test_maps_are_drawn_after_an_answer_was_the_first_to_need_the_network() -> None:
    """An answer is worked out in inference mode, whose tensors have no gradients."""

    class Files:
        def load(self, device: torch.device) -> torch.nn.Module:
            return torch.nn.Linear(2, 2)

    detector = Detector.untrained()
    detector.clip_files = Files()  # type: ignore[assignment]
    with torch.inference_mode():
        assert detector.clip is not None
    assert not detector.clip.weight.is_inference()


def test_rollout_of_even_attention_is_even() -> None:
    """Queries of zero attend to all five tokens alike; the residual path keeps a half."""
    one, two = (attention_rollout([torch.zeros(1, 5, 12)] * n, heads=2) for n in (1, 2))
    assert torch.allclose(one, torch.full((2, 2), 0.1))
    assert torch.allclose(two, torch.full((2, 2), 0.15))


def test_patches_go_to_their_places() -> None:
    tokens = torch.arange(5.0).view(1, 5, 1)
    assert patches_to_grid(tokens).tolist() == [[[[1.0, 2.0], [3.0, 4.0]]]]


def test_each_map_is_tested_on_the_logit_that_it_explains(explainer: Explainer) -> None:
    names = ("evidence map", CLIP_EVIDENCE, CAM_GENERATED)
    done: list[float] = []
    card = explainer.report_card(
        CROP,
        explainer.heats(CROP, names),
        steps=3,
        progress=lambda share, stage: done.append(share),
    )
    logits = explainer.detector.predict_clip(CROP[None])
    whole = [
        explainer.score(CROP[None])[0],
        logits.manipulated[0],
        logits.generated[0],
    ]
    assert [grade.method for grade in card.grades] == list(names)
    for name, logit in zip(names, whole, strict=True):
        assert card.curves[name].deletion[0] == pytest.approx(logit, abs=1e-3)
    assert done == sorted(done) and done[-1] < 1


def test_shuffled_weights_change_the_maps_of_clip(explainer: Explainer) -> None:
    found = explainer.shuffle_weights(CROP, (CLIP_EVIDENCE,))
    assert not np.allclose(found[CLIP_EVIDENCE].before.map, found[CLIP_EVIDENCE].after.map)
