"""One face's way through the networks: its numbers are the detector's."""

from itertools import combinations

import numpy as np
import pytest
from explain_faces import analysis_of, astronaut, detector, explainer, tiny_clip

from detector.pipeline import Detector
from detector.profile import ExpertFusion, Profile, SharpnessCalibration
from explain.explainer import Explainer
from explain.forward_pass import forward_pass
from explain.tabs.diagram import ARROWS, BOX_H, BOX_W, DRAWINGS, WHEN, diagram
from explain.tabs.inside import boxes, inside

ONE_NETWORK = set(WHEN) - {"clip", "put_in", "generated", "fusion"}


@pytest.fixture(scope="module")
def two_networks() -> Detector:
    """Both networks and two views of each crop."""
    expert = tiny_clip()
    sharpness = SharpnessCalibration(9.0, scale_slope=0.5, shift_slope=0.25, soft_below=1.0)
    fusion = ExpertFusion(0.5, 0.8, 0.3, sharpness=sharpness)
    profile = Profile(low_pass_weight=0.25, fusion=fusion)
    of = Detector.of(detector().network, detector().info, {"image": profile, "video": profile})
    return of.with_clip(expert)


def test_every_number_is_the_detectors(two_networks: Detector) -> None:
    crop = analysis_of([astronaut()]).faces[0].track.crops[0]
    passed = forward_pass(two_networks, crop, kind="image")
    own = two_networks.predict(crop.rgb[None], kind="image")
    assert passed.logit == pytest.approx(float(own.logits[0]), abs=1e-5)
    assert 0.75 * passed.views[0] + 0.25 * passed.views[1] == pytest.approx(passed.logit, abs=1e-5)
    assert np.allclose(passed.embedding, own.embeddings[0], atol=1e-5)
    assert passed.evidence is not None and np.allclose(passed.evidence, own.maps[0], atol=1e-5)
    second = two_networks.predict_clip(crop.rgb[None])
    assert passed.clip is not None
    assert passed.clip.manipulated == pytest.approx(float(second.manipulated[0]), abs=1e-5)
    assert passed.clip.generated == pytest.approx(float(second.generated[0]), abs=1e-5)
    fused = float(two_networks.score(crop.rgb[None], kind="image")[0])
    assert passed.fused == pytest.approx(fused, abs=1e-5)
    assert not any(m._forward_hooks for m in two_networks.network.modules())


def test_the_streams_energy_is_of_the_view_at_full_detail(two_networks: Detector) -> None:
    crop = analysis_of([astronaut()]).faces[0].track.crops[0]
    passed = forward_pass(two_networks, crop, kind="image")
    shapes = {2: (112, 112), 4: (56, 56), 8: (28, 28), 16: (14, 14)}
    assert {stride: energy.shape for stride, energy in passed.rgb.items()} == shapes
    assert {stride: energy.shape for stride, energy in passed.noise.items()} == shapes
    plain = forward_pass(detector(), crop, kind="image")  # one view only
    assert np.allclose(plain.rgb[16], passed.rgb[16]) and passed.rgb[16].min() >= 0
    assert plain.clip is None and plain.fused == plain.logit and len(plain.views) == 1


def test_the_boxes_say_what_was_computed(two_networks: Detector) -> None:
    analysis = analysis_of([astronaut()])
    crop = analysis.faces[0].track.crops[0]
    passed = forward_pass(two_networks, crop, kind="image")
    found = boxes(analysis, 0, 0, passed, two_networks.profiles["image"])
    assert set(found) == set(WHEN)
    assert found["fusion"].value == f"{passed.fused:+.2f}"
    assert f"0.50 × {passed.logit:+.2f} (two streams)" in found["fusion"].finding
    assert "weighted 0.75 to 0.25" in found["logit"].finding
    assert found["crop"].finding == "A face of 112 px; its crop has 224 × 224 px."
    assert found["verdict"].finding == "Forged-looking: 0.90. Told so by the test."
    for key, box in found.items():
        assert len(box.title) <= 15 and box.words.count(". ") <= 2, key
        assert box.value or (box.thumbnail and box.picture and box.alt), key


def test_a_model_with_one_network_has_fewer_boxes_and_clips_a_mean() -> None:
    analysis = analysis_of([astronaut()] * 3)
    drawn = inside(Explainer(detector(), "video"), analysis, 0, 1)
    assert drawn.count('class="lens-box"') == 2 * len(ONE_NETWORK)
    assert "3 frames from" in drawn and 'data-of="clip"' not in drawn
    photo = inside(explainer(), analysis_of([astronaut()]), 0, 0)
    assert "One picture, so the mean is its own logit" in photo


@pytest.mark.parametrize("drawing", DRAWINGS, ids=lambda drawing: drawing[0])
def test_no_box_lies_on_another_or_beyond_the_edge(drawing) -> None:
    _, places, width, height = drawing
    assert set(places) == set(WHEN)
    for x, y in places.values():
        assert 0 <= x <= width - BOX_W and 0 <= y <= height - BOX_H
    for (x0, y0), (x1, y1) in combinations(places.values(), 2):
        assert abs(x0 - x1) >= BOX_W or abs(y0 - y1) >= BOX_H
    assert all(WHEN[start] < WHEN[end] for start, end in ARROWS)


def test_without_fusion_the_logit_goes_to_the_mean() -> None:
    analysis = analysis_of([astronaut()])
    crop = analysis.faces[0].track.crops[0]
    found = boxes(analysis, 0, 0, forward_pass(detector(), crop, kind="image"), Profile())
    whole = len([a for a in ARROWS if set(a) <= ONE_NETWORK]) + 1
    assert diagram(found).count('class="lens-arrow"') == 2 * whole
