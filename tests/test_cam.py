"""Heat maps: what they explain, their size, and that two requests never mix."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from explain_faces import astronaut, detector, explainer, face_crop
from torch import nn

from detector.nets.network import DeepfakeNetwork, NetworkConfig
from detector.pipeline import Detector
from detector.profile import DEFAULT_PROFILES, Profile
from detector.types import ModelInfo
from explain import cam
from explain.cam import CAMS, EVIDENCE_MAP, OCCLUSION, Heat
from explain.capture import Capture, private_copy
from explain.explainer import Explainer

CROP = face_crop(astronaut()).rgb
ALL_CAMS = tuple(
    f"{name}, {layer}" for name in CAMS for layer in ("rgb stream", "noise stream", "map head")
)


def capture_of(activation: np.ndarray, gradient: np.ndarray) -> Capture:
    return Capture(1.0, None, {"rgb stream": activation[None]}, {"rgb stream": gradient[None]})


def test_method_names_name_every_layer() -> None:
    names = explainer().methods
    assert names == (EVIDENCE_MAP, *ALL_CAMS, OCCLUSION)
    assert names[1] == "Grad-CAM, rgb stream" and len(names) == 14


def test_the_maps_say_what_they_explain() -> None:
    maps = explainer().heats(CROP, (EVIDENCE_MAP, "Grad-CAM, rgb stream", "EigenCAM, noise stream"))
    assert [h.map.shape for h in maps.values()] == [(224, 224)] * 3
    assert [h.target for h in maps.values()] == [
        "evidence logit of each place",
        "frame logit",
        "none (class-blind)",
    ]
    assert [h.class_blind for h in maps.values()] == [False, False, True]
    assert [h.unit for h in maps.values()] == ["logit", "logit", "activation"]


def test_the_evidence_map_is_the_networks_own() -> None:
    own = detector().predict(CROP[None], kind="image").maps[0]
    shown = explainer().heat(CROP, EVIDENCE_MAP).map
    # The middle of 8 x 8 pixels of a cell is where bilinear interpolation has most of that cell.
    np.testing.assert_allclose(
        shown.reshape(28, 8, 28, 8).mean((1, 3))[5:-5, 5:-5], own[5:-5, 5:-5], atol=0.02
    )
    assert shown[0, 0] == pytest.approx(own[0, 0], abs=1e-6)


def test_grad_cam_by_hand() -> None:
    activation = np.zeros((2, 2, 2), np.float32)
    activation[0] = [[1, 2], [3, 4]]
    activation[1] = [[1, 0], [0, -8]]
    gradient = np.zeros((2, 2, 2), np.float32)
    gradient[0] = [[4, 0], [0, 0]]  # mean 1
    gradient[1] = [[2, 2], [2, 2]]  # mean 2
    # Channels weighted by their mean gradients: [[3, 2], [3, -12]], and the negative one cut off.
    found = cam.cam_heat(capture_of(activation, gradient), "Grad-CAM, rgb stream", 2)
    np.testing.assert_allclose(found.map, [[3, 2], [3, 0]])


def test_layer_cam_by_hand() -> None:
    activation = np.array([[[1, 2], [3, 4]]], np.float32)
    gradient = np.array([[[4, 0], [-5, 2]]], np.float32)
    found = cam.cam_heat(capture_of(activation, gradient), "LayerCAM, rgb stream", 2)
    np.testing.assert_allclose(found.map, [[4, 0], [0, 8]])


@pytest.mark.parametrize("name", ["Grad-CAM", "LayerCAM"])
def test_a_map_a_thousand_times_weaker_stays_so(name: str) -> None:
    rng = np.random.default_rng(0)
    activation, gradient = rng.random((2, 8, 7, 7)).astype(np.float32)
    strong = cam.cam_heat(capture_of(activation, gradient), f"{name}, rgb stream", 14).map
    weak = cam.cam_heat(capture_of(activation, gradient / 1000), f"{name}, rgb stream", 14).map
    assert strong.max() > 0.5
    np.testing.assert_allclose(weak * 1000, strong, rtol=1e-4)


def test_eigen_cam_ignores_the_gradient() -> None:
    rng = np.random.default_rng(0)
    activation, gradient = rng.random((2, 8, 7, 7)).astype(np.float32)
    maps = [
        cam.cam_heat(capture_of(activation, g), "EigenCAM, rgb stream", 7).map
        for g in (gradient, -3 * gradient)
    ]
    np.testing.assert_array_equal(*maps)
    assert maps[0].max() > 0


def test_gradients_are_those_of_the_frame_logit() -> None:
    found = explainer().capture(CROP)
    assert found.logit == pytest.approx(
        float(detector().predict(CROP[None], kind="image").logits[0]), abs=1e-5
    )
    # The map head's last activation reaches the logit only through the map: checked against finite
    # differences.
    head = detector().network.embedder.map_head[-1]
    out = detector().network.frame_head
    activation = torch.from_numpy(found.activations["map head"])
    step = torch.zeros_like(activation)
    step[0, 3] = 1.0
    embedding = torch.from_numpy(detector().predict(CROP[None], kind="image").embeddings)
    with torch.no_grad():
        up, down = (
            float(out(embedding, head(activation + s * 0.05 * step)[:, 0])) for s in (1, -1)
        )
    slope = float(found.gradients["map head"][0, 3].sum())
    assert slope == pytest.approx((up - down) / 0.1, rel=0.05)
    assert abs(slope) > 1e-7


def test_stream_shares() -> None:
    one = np.ones((1, 1, 2, 2), np.float32)
    layers = {"rgb stream": one, "noise stream": one}
    shares = Capture(
        0.0, None, layers, {"rgb stream": 3 * one, "noise stream": -one}
    ).stream_shares()
    assert shares == {"rgb stream": 0.75, "noise stream": 0.25}
    layers["low-pass view"] = one
    pulls = {"rgb stream": 2 * one, "noise stream": -one, "low-pass view": one}
    assert Capture(0.0, None, layers, pulls).stream_shares()["low-pass view"] == 0.25
    assert capture_of(one[0], one[0]).stream_shares() == {}


def test_occlusion_is_the_fall_of_the_logit() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    patch = np.s_[96:128, 96:128]  # a patch of the grid, and all that this score depends on

    def score(crops: np.ndarray) -> np.ndarray:
        untouched = (crops[:, *patch] == picture[patch]).all(-1).mean((1, 2))
        return (10 * untouched).astype(np.float32)

    found = cam.occlusion(score, picture)
    assert found.map[112, 112] > 9.9
    assert found.map[20, 20] == 0.0 and found.map[200, 40] == 0.0
    assert found.signed


def test_an_unknown_method_is_a_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"^No explanation is called 'Score-CAM'; there are evidence map, "
    ):
        explainer().heat(CROP, "Score-CAM")


def test_heat_checks_itself() -> None:
    with pytest.raises(ValueError, match="float32"):
        Heat(np.zeros((2, 2)), "x", "y")
    with pytest.raises(ValueError, match="finite"):
        Heat(np.full((2, 2), np.nan, np.float32), "x", "y")


def test_any_network_has_a_layer() -> None:
    config = NetworkConfig(embedder="resilient", denoiser_widths=())
    other = DeepfakeNetwork(config).eval()
    without_map = explainer().with_network(other)
    assert without_map.layers == ("rgb stream", "noise stream")
    assert EVIDENCE_MAP not in without_map.methods and not without_map.has_evidence_map

    class Plain(nn.Module):
        dim, input_px = 8, 64

        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, stride=4)
            self.last = nn.Conv2d(4, 8, 3, stride=4)
            self.relu = nn.ReLU(inplace=True)  # works on the very tensor that is kept

        def forward(self, x: torch.Tensor) -> object:
            feature = self.relu(self.last(self.relu(self.first(x))))

            class Out:
                embedding = feature.mean((2, 3))
                map_logits = None

            return Out

    torch.manual_seed(0)
    plain = DeepfakeNetwork(NetworkConfig(denoiser_widths=())).eval().requires_grad_(False)
    plain.embedder, plain.frame_head.out = (
        Plain().requires_grad_(False),
        nn.Linear(8, 1).requires_grad_(False),
    )
    small = explainer().with_network(plain)
    assert small.methods[0] == "Grad-CAM, last convolution"
    kept = small.capture(CROP[:64, :64])
    assert kept.activations["last convolution"].min() < 0  # as it was before the ReLU
    assert small.heat(CROP[:64, :64], "Grad-CAM, last convolution").map.shape == (64, 64)


def test_nothing_stays_on_the_shared_network() -> None:
    explainer().heats(CROP, ALL_CAMS)
    network = detector().network
    assert not any(module._forward_hooks for module in network.modules())
    assert all(p.grad is None for p in network.parameters())
    copied = private_copy(network)
    assert copied is not network and next(copied.parameters()) is next(network.parameters())


def test_threads_do_not_mix() -> None:
    rng = np.random.default_rng(0)
    crops = [np.roll(CROP, int(rng.integers(224)), axis=i % 2)[:, :: (-1) ** i] for i in range(6)]
    crops = [np.ascontiguousarray(crop) for crop in crops]
    methods = (EVIDENCE_MAP, "Grad-CAM, rgb stream", "LayerCAM, noise stream", "Grad-CAM, map head")
    shared = explainer()
    serial = [shared.heats(crop, methods) for crop in crops]
    with ThreadPoolExecutor(6) as pool:
        jobs = [pool.submit(shared.heats, crop, methods) for crop in crops for _ in range(2)]
        scored = [pool.submit(detector().predict, crop[None], kind="image") for crop in crops]
        threaded = [job.result() for job in jobs][::2]
        assert all(np.isfinite(job.result().logits).all() for job in scored)
    for alone, together in zip(serial, threaded, strict=True):
        for method in methods:
            np.testing.assert_allclose(
                together[method].map, alone[method].map, rtol=1e-4, atol=1e-9
            )
    # or the test could not fail
    assert np.abs(serial[0][methods[1]].map - serial[1][methods[1]].map).max() > 1e-6


def test_where_two_views_are_averaged_each_has_a_map_of_its_own() -> None:
    torch.manual_seed(0)
    network = DeepfakeNetwork(NetworkConfig(denoiser_widths=()))
    profiles = {**DEFAULT_PROFILES, "image": Profile(low_pass_weight=0.25)}
    info = ModelInfo("made up", "0" * 64)
    one_view = Explainer(Detector.of(network, info), "image")
    two_views = Explainer(Detector.of(network, info, profiles), "image")
    one, two = one_view.capture(CROP), two_views.capture(CROP)
    assert set(two.activations) - set(one.activations) == {"low-pass view"}
    assert one.activations["rgb stream"].shape[-2:] == (14, 14)
    assert two.activations["low-pass view"].shape[-2:] == (11, 11)
    for name, activation in one.activations.items():
        assert np.array_equal(two.activations[name], activation)
        slope, scale = 0.75 * one.gradients[name], np.abs(one.gradients[name]).max()
        # of this view's weight, and of no other
        assert np.abs(two.gradients[name] - slope).max() < 1e-4 * scale
    assert np.abs(two.gradients["low-pass view"]).max() > 0
    named = "Grad-CAM, low-pass view"
    assert named in two_views.methods and named not in two_views.default_methods
    assert named not in Explainer(two_views.detector, "video").methods


def test_the_layers_are_found_once_and_again_where_the_detector_moved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passes: list[int] = []
    own = DeepfakeNetwork.frames

    def counted(network: DeepfakeNetwork, images: torch.Tensor, *rest: object) -> object:
        passes.append(len(images))
        return own(network, images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(DeepfakeNetwork, "frames", counted)
    fresh = Explainer(detector(), "image")
    for _ in range(3):
        fresh.capture(CROP)
    assert len(passes) == 4  # one to find the layers, and one for each capture
    assert fresh._hooked is not None
    fresh._hooked.device = torch.device("meta")  # as if it had been made on a GPU that was left
    fresh.capture(CROP)
    assert len(passes) == 6 and fresh._hooked.device == detector().device


def test_nothing_is_kept_of_a_crop() -> None:
    fresh = Explainer(detector(), "image")
    fresh.capture(CROP)
    assert fresh._hooked is not None and fresh._hooked._kept == {}
