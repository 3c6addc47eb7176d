"""Every frame embedder of the registry: shapes, statistics, where its weights come from, and what
it says without.
"""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from facenet_pytorch import InceptionResnetV1
from safetensors.torch import save_file

from detector.errors import WeightsError
from detector.nets import backbones
from detector.nets.embedder import EMBEDDERS, build_embedder
from detector.nets.network import NetworkConfig
from detector.weights import build_network

TINY = "test_resnet"  # timm's own test networks: a tenth of a second, not pretrained here
DIMS = {
    "two-stream": 512,
    "resilient": 512,
    "timm": 2048,
    "resnet50": 2048,
    "inception-resnet-v1": 512,
    "xception": 2048,
    "inception-v3": 2048,
    "efficientnet-b4": 1792,
    "vit": 384,
    "baseline-cnn": 64,
}


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*args: Any, **options: Any) -> None:
        raise OSError("no network")

    monkeypatch.setattr("torch.hub.download_url_to_file", no_network)
    monkeypatch.setattr("timm.models._builder.load_pretrained", no_network)
    monkeypatch.setattr("facenet_pytorch.models.inception_resnet_v1.load_weights", no_network)


def test_every_embedder_gives_the_dimension_it_names() -> None:
    assert sorted(DIMS) == sorted(EMBEDDERS)
    for name, dim in DIMS.items():
        with torch.device("meta"):  # shapes only: no weight is drawn and nothing is computed
            net = build_embedder(name).eval()
            assert net.dim == dim, name
            assert net(torch.rand(2, 3, 224, 224)).embedding.shape == (2, dim), name


@pytest.mark.parametrize(
    ("name", "side"), [("test_resnet", 224), ("test_efficientnet", 224), ("test_vit", 160)]
)
def test_any_timm_network_takes_a_crop_at_its_own_size(name: str, side: int) -> None:
    net = build_embedder("timm", name=name).eval()
    assert net.input_px == side
    with torch.inference_mode():
        features = net(torch.rand(2, 3, 224, 224))
    assert features.embedding.shape == (2, net.dim) and features.map_logits is None


def test_the_embedding_is_the_mean_of_the_map_that_is_explained() -> None:
    for name in ("test_resnet", "test_vit"):
        net = build_embedder("timm", name=name).eval()
        seen = {}
        net.rgb.grid.register_forward_hook(lambda module, inputs, output: seen.update(map=output))  # noqa: B023
        with torch.inference_mode():
            embedding = net(torch.rand(1, 3, 160, 160)).embedding
        assert seen["map"].ndim == 4
        assert torch.allclose(embedding, seen["map"].mean((2, 3)), atol=1e-6)


def test_normalisation_happens_inside_and_with_the_networks_own_numbers() -> None:
    assert build_embedder("timm", name="test_resnet").mean.flatten().tolist() == [0.5, 0.5, 0.5]
    assert build_embedder("timm", name="test_efficientnet").std.flatten().tolist() == pytest.approx(
        [0.229, 0.224, 0.225]
    )
    facenet = build_embedder("inception-resnet-v1")
    grey = (
        torch.tensor([0.0, 127.5, 255.0]) / 255 - facenet.mean.flatten()[0]
    ) / facenet.std.flatten()[0]
    assert grey.tolist() == pytest.approx([-127.5 / 128, 0.0, 127.5 / 128], abs=1e-6)


def test_the_face_recogniser_is_facenets_own_cut_in_two() -> None:
    torch.manual_seed(0)
    whole = InceptionResnetV1(pretrained=None).eval()
    ours = build_embedder("inception-resnet-v1").eval()
    assert ours.input_px == 160 and next(reversed(dict(ours.rgb.named_children()))) == "block8"
    state = whole.state_dict()
    parts = {k: state[k.split(".", 1)[1]] for k in ours.state_dict() if k.startswith("rgb.")}
    for index, name in ((2, "last_linear"), (3, "last_bn")):
        parts |= {
            f"head.{index}.{k.split('.', 1)[1]}": v for k, v in state.items() if k.startswith(name)
        }
    ours.load_state_dict(parts)
    images = torch.rand(1, 3, 160, 160)
    with torch.inference_mode():
        expected = whole((images * 255 - 127.5) / 128)
        assert torch.allclose(ours(images).embedding, expected, atol=1e-5)
    assert float(expected.norm()) == pytest.approx(1.0, abs=1e-5)


def test_the_articles_cnn_to_the_letter() -> None:
    with torch.device("meta"):
        net = build_embedder("baseline-cnn")
    kinds = [type(m).__name__ for m in (*net.rgb, *net.head)]
    assert kinds == [
        "Conv2d", "ReLU", "MaxPool2d", "Conv2d", "ReLU", "Conv2d", "ReLU", "MaxPool2d",
        "Flatten", "Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout",
    ]  # fmt: skip
    convs = [m for m in net.rgb if isinstance(m, torch.nn.Conv2d)]
    assert [(c.out_channels, c.kernel_size[0]) for c in convs] == [(64, 7), (128, 3), (128, 3)]
    assert (net.head[1].in_features, net.head[1].out_features) == (56 * 56 * 128, 128)
    assert [net.head[i].p for i in (3, 6)] == [0.5, 0.5]


@pytest.mark.parametrize("ending", ["safetensors", "pth"])
def test_weights_load_by_path_and_a_classifier_is_passed_over(ending: str, tmp_path: Path) -> None:
    whole = timm.create_model(TINY, num_classes=10)
    path = tmp_path / f"weights.{ending}"
    if ending == "safetensors":
        save_file(whole.state_dict(), path)
    else:
        torch.save({"state_dict": {f"module.{k}": v for k, v in whole.state_dict().items()}}, path)
    net = build_embedder("timm", name=TINY, weights=str(path))
    assert torch.equal(net.rgb.net.conv1[0].weight, whole.conv1[0].weight)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "start.pth is missing"),
        (lambda path: path.write_bytes(b"junk"), "start.pth cannot be read"),
        (
            lambda path: torch.save({"conv1.0.weight": torch.zeros(1)}, path),
            "start.pth does not fit test_resnet",
        ),
        (
            lambda path: torch.save({"fc.weight": torch.zeros(1)}, path),
            r"start.pth lacks \d+ tensors of test_resnet",
        ),
    ],
)
def test_weights_that_cannot_be_used_are_said(
    make: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    make(tmp_path / "start.pth")
    with pytest.raises(WeightsError, match=says):
        build_embedder("timm", name=TINY, weights=str(tmp_path / "start.pth"))


def test_a_file_that_holds_more_than_tensors_is_not_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return (Path.touch, (tmp_path / "sprung",))  # type: ignore[return-value]

    torch.save({"x": Trap()}, tmp_path / "start.pth")
    with pytest.raises(WeightsError, match=r"cannot be read"):
        build_embedder("timm", name=TINY, weights=str(tmp_path / "start.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("embedder", "options", "file", "where"),
    [
        ("timm", {"name": TINY}, "model.safetensors", "huggingface.co/timm/test_resnet"),
        ("xception", {}, "xception-43020ad28.pth", "github.com"),
        ("inception-resnet-v1", {}, "20180402-114759-vggface2.pt", "github.com/timesler"),
        ("two-stream", {}, "model.safetensors", "huggingface.co/timm/tf_efficientnetv2_b0"),
    ],
)
def test_without_a_network_the_error_names_the_file_and_where_to_put_it(
    embedder: str, options: dict[str, str], file: str, where: str
) -> None:
    with pytest.raises(WeightsError) as caught:
        build_embedder(embedder, pretrained=True, **options)
    assert (
        file in str(caught.value)
        and where in str(caught.value)
        and "--weights" in str(caught.value)
    )


def test_a_name_timm_does_not_know_is_said() -> None:
    with pytest.raises(ValueError, match="timm knows no network called 'resnet-9000'"):
        backbones.timm_embedder("resnet-9000")


def test_a_stored_configuration_forgets_where_the_weights_came_from() -> None:
    config = NetworkConfig(
        "timm", {"name": TINY, "pretrained": True, "weights": "x.pth"}, denoiser_widths=()
    )
    assert config.without_pretrained().embedder_options == {"name": TINY}
    # reads no file and fetches nothing
    assert build_network(asdict(config)).config == config.without_pretrained()


def test_a_manifest_that_describes_no_network_is_said() -> None:
    for options in ({"name": "resnet-9000"}, {"nme": "resnet50"}, ["resnet50"]):
        with pytest.raises(WeightsError, match="a network that cannot be built"):
            build_network({"embedder": "timm", "embedder_options": options})
