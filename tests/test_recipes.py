"""The sources' systems as configurations: their numbers; each is trained, saved, loaded and
explained.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import load_file
from training_data import easy_data, tiny_recipe

from detector.__main__ import main as analyse
from detector.errors import DataError
from detector.nets.network import DeepfakeNetwork
from detector.nets.temporal import build_temporal
from detector.pipeline import Detector
from detector.training.recipes import command
from detector.training.recipes.catalogue import (
    ALL,
    DENOISER,
    HEADS,
    OURS,
    RECIPES,
    Stage,
    find_recipe,
)
from detector.training.recipes.objective import free
from detector.training.recipes.run import RunConfig, train_recipe
from explain.cam import EVIDENCE_MAP
from explain.explainer import Explainer


@pytest.fixture(scope="module")
def shapes() -> dict[str, DeepfakeNetwork]:
    """Every recipe's network, without its numbers."""
    with torch.device("meta"):
        return {name: DeepfakeNetwork(recipe.network) for name, recipe in RECIPES.items()}


def test_the_documents_numbers() -> None:
    said = {
        name: (r.frames, [(s.epochs, s.optimizer, s.lr, s.trains, s.momentum) for s in r.stages])
        for name, r in RECIPES.items()
    }
    assert said["resnet50-lstm"][1] == [(10, "adam", 1e-3, HEADS, 0.0)]
    assert said["inception-resnet-lstm"] == (20, [(50, "adam", 1e-3, HEADS, 0.0)])
    assert said["resilient"] == (
        1,
        [(10, "adam", 1e-3, DENOISER, 0.0), (20, "adam", 1e-4, ALL, 0.0)],
    )
    assert [s.reconstruction for s in RECIPES["resilient"].stages] == [1.0, 0.1]
    assert said["baseline-cnn"] == (1, [(5, "nadam", 1e-3, ALL, 0.0)])
    assert said["xception"] == (
        1,
        [(3, "sgd", 0.1, HEADS, 0.9), (10, "sgd", 0.01, "rgb.net.block6", 0.9)],
    )
    assert said["inception-gru"] == (20, [(10, "adam", 1e-3, HEADS, 0.0)])
    assert (RECIPES["inception-gru"].batch, RECIPES["inception-gru"].held_share) == (8, 0.1)
    assert RECIPES["inception-resnet-lstm"].held_share == 0.2


def test_the_documents_heads(shapes: dict[str, DeepfakeNetwork]) -> None:
    a, b, e = (
        shapes[n].temporal for n in ("resnet50-lstm", "inception-resnet-lstm", "inception-gru")
    )
    assert (a.rnn.input_size, a.rnn.hidden_size, a.rnn.num_layers) == (2048, 256, 1)
    assert (b.rnn.input_size, b.rnn.hidden_size, b.rnn.num_layers, b.rnn.dropout) == (
        512,
        512,
        2,
        0.5,
    )
    assert [str(m) for m in b.out] == [
        "Linear(in_features=512, out_features=256, bias=True)",
        "ReLU()",
        "Dropout(p=0.5, inplace=False)",
        "Linear(in_features=256, out_features=1, bias=True)",
    ]
    assert [(r.input_size, r.hidden_size) for r in (e.rnn, *e.deeper)] == [(2048, 16), (16, 8)]
    assert [type(m).__name__ for m in e.out] == ["Dropout", "Linear", "ReLU", "Dropout", "Linear"]
    assert (e.out[0].p, e.out[1].out_features, e.out[3].p) == (0.4, 8, 0.0)


def test_every_recipe_names_its_source() -> None:
    sources = (Path(__file__).parent.parent / "docs" / "SOURCES.md").read_text(encoding="utf-8")
    for name, recipe in RECIPES.items():
        assert recipe.source == OURS or f"\n## {recipe.source}\n" in sources, name
        assert recipe.summary, name


def test_every_stage_names_parts_that_exist_and_sizes_are_as_known(
    shapes: dict[str, DeepfakeNetwork],
) -> None:
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        for stage in recipe.stages:
            assert free(shapes[name], stage), name
    millions = {n: sum(p.numel() for p in s.embedder.parameters()) / 1e6 for n, s in shapes.items()}
    expected = {
        "resnet50": 23.5,
        "inception-resnet-lstm": 23.5,
        "xception": 20.8,
        "inception-gru": 21.8,
        "efficientnet-b4": 17.5,
        "baseline-cnn": 51.6,
        "vit-transformer": 21.7,
    }
    assert {n: round(millions[n], 1) for n in expected} == pytest.approx(expected, abs=0.15)


@pytest.mark.parametrize(
    "options",
    [{"hidden": (16, 8), "dense": (8,), "dropout_before": 0.4}, {"hidden": 8, "layers": 2}],
)
def test_padding_cannot_change_a_deep_heads_score(options: dict[str, object]) -> None:
    torch.manual_seed(0)
    head = build_temporal("gru", 6, **options).eval()
    embeddings, logits, mask = (
        torch.randn(2, 4, 6),
        torch.zeros(2, 4),
        torch.ones(2, 4, dtype=torch.bool),
    )
    with torch.inference_mode():
        plain = head(embeddings, logits, mask)
        more = [torch.cat([x, torch.full_like(x[:, :2], 9)], 1) for x in (embeddings, logits)]
        padded = head(*more, torch.cat([mask, torch.zeros(2, 2, dtype=torch.bool)], 1))
    assert torch.allclose(plain, padded, atol=1e-6)
    assert not torch.allclose(plain, head(*more, torch.ones(2, 6, dtype=torch.bool)), atol=1e-3)


def test_where_a_recipe_starts() -> None:
    recipe = find_recipe("xception")
    assert recipe.with_start("x.pth").network.embedder_options == {"weights": "x.pth"}
    assert recipe.with_start(None).network.embedder_options == {"pretrained": True}
    scratch = recipe.with_start(None, pretrained=False)
    assert scratch.network.embedder_options == {} and [s.trains for s in scratch.stages] == [
        ALL,
        ALL,
    ]
    assert find_recipe("resilient").with_start(None) == find_recipe("resilient")
    with pytest.raises(DataError, match="starts from scratch"):
        find_recipe("baseline-cnn").with_start("x.pth")
    with pytest.raises(ValueError, match="No recipe is called 'best'"):
        find_recipe("best")


def small(name: str) -> tuple[str, dict[str, object]]:
    """A recipe's embedder, with a test network where the real one has 20 million parameters."""
    sisters = dict.fromkeys(("resnet50", "resnet50-lstm", "timm"), "test_resnet")
    sisters |= {"vit-transformer": "test_vit", "efficientnet-b4": "test_efficientnet"}
    if name in sisters:
        return name, {"name": sisters[name]}
    return name, {"input_px": 64} if name == "baseline-cnn" else {}


# no test network stands in for these
LARGE = ("inception-resnet-lstm", "inception-gru", "xception")


@pytest.mark.parametrize("name", [name for name in RECIPES if name not in LARGE])
def test_a_recipe_is_trained_saved_loaded_analysed_and_explained(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, options = small(name)
    recipe = find_recipe(name).with_embedder_options(options).with_start(None, pretrained=False)
    if recipe.network.denoiser_widths:
        recipe = replace(recipe, network=replace(recipe.network, denoiser_widths=(8, 8, 8, 8, 8)))
    recipe = replace(recipe, frames=min(recipe.frames, 2), batch=2)
    run = train_recipe(recipe, easy_data(4, 2), tmp_path, RunConfig(workers=0, max_epochs=1))
    folder = command.publish(run)
    loaded = Detector(folder)
    files = [load_file(folder / file["name"]) for file in loaded.entry["files"]]
    stored, ours = {k: v for part in files for k, v in part.items()}, run.network.state_dict()
    assert all(torch.equal(stored[k], ours[k]) for k in ours) and len(stored) == len(ours)
    # a network that is loaded to be used may be built otherwise, and says the same
    crops = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        assert torch.allclose(loaded.network(crops), run.network(crops), atol=1e-3)

    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "face.png")
    capsys.readouterr()
    assert analyse(["analyze", str(tmp_path / "face.png"), "--json", "--model", str(folder)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["model"]["name"] == name and answer["faces"]

    crop = easy_data(2).val.crops(1, 0)[0]
    explainer = Explainer(loaded, "image")
    layer = explainer.layers[0]
    assert layer == "rgb stream" and EVIDENCE_MAP not in explainer.methods
    captured = explainer.capture(crop)
    assert captured.activations[layer].shape[2] > 1  # a map of places, not a pooled vector
    assert np.abs(captured.gradients[layer]).max() > 0  # and on the way to the logit
    map_ = explainer.heat(crop, f"Grad-CAM, {layer}").map
    assert map_.shape == (224, 224) and np.isfinite(map_).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_the_large_recipes_too(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    test_a_recipe_is_trained_saved_loaded_analysed_and_explained(name, tmp_path, capsys)


def test_a_tiny_recipe_of_every_temporal_head_learns(tmp_path: Path) -> None:
    for head in ("lstm", "gru", "transformer"):
        recipe = tiny_recipe(Stage(3, "adam", 3e-3), frames=3, temporal=head)
        run = train_recipe(recipe, easy_data(12, 3), tmp_path / head, RunConfig(workers=0))
        assert run.history[-1]["loss"] < run.history[0]["loss"], head
