"""Weights load only when they are whole, and say in one sentence when they are not."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from detector.errors import WeightsError
from detector.manifest import SHIPPED, model_names, sha256_of
from detector.nets.network import DeepfakeNetwork, NetworkConfig
from detector.profile import (
    DEFAULT_PROFILES,
    Calibration,
    Profile,
    SharpnessCalibration,
    Thresholds,
    profiles_to_dict,
)
from detector.training.export import write_model
from detector.weights import load_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    write_model(
        DeepfakeNetwork(NetworkConfig(denoiser_widths=(8, 8, 8, 8, 8))), "tiny", tmp_path, {}
    )
    return tmp_path


def test_a_saved_model_comes_back_bit_for_bit(folder: Path) -> None:
    first, second = load_model(folder), load_model(folder)
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(first.network(images), second.network(images))
    assert first.info.name == "tiny"
    assert first.info.sha256 == sha256_of(folder / "tiny.safetensors")
    assert not any(p.requires_grad for p in first.network.parameters())
    assert not first.network.training


def test_batch_norm_is_folded_into_the_convolutions_and_changes_no_answer(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, profile = DeepfakeNetwork(NetworkConfig(denoiser_widths=())), Profile(0.4)
    for norm in (m for m in network.embedder.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.uniform_(-0.2, 0.2), norm.running_var.uniform_(0.5, 2)
    network.half().float()  # as it is stored
    write_model(network, "tiny", tmp_path, {})
    loaded, images = load_model(tmp_path).network, torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        as_trained = network.eval().frames(images, profile)
        as_loaded = loaded.frames(images, profile)
    assert torch.allclose(as_loaded.logit, as_trained.logit, atol=1e-3)
    assert torch.allclose(as_loaded.map_logits, as_trained.map_logits, atol=1e-3)
    left = [name for name, m in loaded.embedder.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert left == ["map_head.0"]  # it follows a sum


def test_a_flipped_bit_a_cut_file_and_a_missing_file_are_said(folder: Path) -> None:
    path = folder / "tiny.safetensors"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (bytes(flipped), whole[:-100]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"tiny.safetensors is damaged: its sha256"):
            load_model(folder)
    path.unlink()
    with pytest.raises(WeightsError, match=r"tiny.safetensors is missing"):
        load_model(folder)


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Edit the manifest's entry of the model."""
    manifest = json.loads((folder / "manifest.json").read_text())
    edit(manifest["models"]["tiny"])
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_weights_of_another_shape_are_said(folder: Path) -> None:
    widths = {"noise_widths": [8, 8, 8, 8]}
    change(folder, lambda entry: entry["network"].update(embedder_options=widths))
    with pytest.raises(WeightsError, match="do not fit"):
        load_model(folder)


@pytest.mark.parametrize(
    "branch", [{"gain": 1.0}, {"gain": "much", "offset": 0.0}, {"gain": 1.0, "offset": 1e999}, 3]
)
def test_a_network_that_is_none_is_said(folder: Path, branch: object) -> None:
    change(folder, lambda entry: entry["network"].update(global_branch=branch))
    with pytest.raises(WeightsError, match="describes a network that cannot be built"):
        load_model(folder)


@pytest.mark.parametrize(
    "profile",
    [
        *({name: w} for name in ("low_pass_weight", "low_pass_map_weight") for w in ("x", 1.5, -1)),
        *({"sharpness": s} for s in ({"sharp_above": 2.0}, [2.0, -0.5, 0.0, 0.0], 3)),
        {
            "sharpness": dict.fromkeys(("sharp_above", "scale_slope", "shift_slope"), 0)
            | {"soft_below": 1}
        },
        {"calibration": {"scale": None}},
        {"thresholds": {"authentic_below": 0.7, "forged_above": 0.6}},
        {"min_frames": 0},
        {"unknown": 0.5},
        None,
    ],
)
def test_a_profile_that_is_none_is_said(folder: Path, profile: object) -> None:
    change(folder, lambda entry: entry.update(profiles={"image": profile}))
    with pytest.raises(WeightsError, match="holds a profile that cannot be read"):
        load_model(folder)


def test_profiles_survive_their_manifest(folder: Path) -> None:
    still = Profile(0.5, 0.25, SharpnessCalibration(2.0, 0.5, -0.25, 1.0), Calibration(2.0, -0.5))
    profiles = {"image": still, "video": Profile(thresholds=Thresholds(0.2, 0.9), min_frames=3)}
    change(folder, lambda entry: entry.update(profiles=profiles_to_dict(profiles)))
    assert load_model(folder).profiles == profiles
    change(folder, lambda entry: entry.pop("profiles"))
    assert load_model(folder).profiles == DEFAULT_PROFILES


def test_the_shipped_profiles() -> None:
    profiles = load_model().profiles
    assert [profiles[kind].low_pass_weight for kind in ("image", "video")] == [0.5, 0.15]
    assert profiles["image"].sharpness is not None and profiles["video"].sharpness is None
    assert [profiles[kind].min_frames for kind in ("image", "video")] == [1, 3]


def test_what_is_no_manifest_or_no_model_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="No model is called 'best'"):
        load_model("best")
    (folder / "manifest.json").write_text("{")
    with pytest.raises(WeightsError, match="not valid JSON"):
        load_model(folder)
    (folder / "manifest.json").write_text('{"models": {}}')
    with pytest.raises(WeightsError, match="names no model"):
        load_model(folder)


def test_the_shipped_files_are_small_and_as_the_manifest_says() -> None:
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    for entry in manifest["models"].values():
        assert {
            "input_px",
            "mean",
            "std",
            "classes",
            "profiles",
            "training_data",
            "terms",
            "commit",
        } <= set(entry)
        for file in entry["files"]:
            path = SHIPPED / file["name"]
            assert path.stat().st_size <= 10_000_000
            assert sha256_of(path) == file["sha256"]
    assert model_names()[0] == manifest["default"]


def test_nothing_is_unpickled_outside_training_and_there_only_with_weights_only() -> None:
    root = SHIPPED.parent
    for path in [root / "app.py", *root.glob("detector/**/*.py"), *root.glob("explain/**/*.py")]:
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text and "allow_pickle=True" not in text, path.name
        for line in text.splitlines():
            if "torch.load(" in line:
                assert "weights_only=True" in line, path.name
