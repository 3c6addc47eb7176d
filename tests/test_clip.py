"""The second network: stored small, loaded whole, fused with the first. A tiny tower stands in."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from detector.errors import WeightsError
from detector.nets import clip
from detector.nets.clip import ClipExpert, decode_base, encode_base, fold_quick_gelu, tuned_state
from detector.nets.network import DeepfakeNetwork, NetworkConfig
from detector.pipeline import Detector
from detector.predictions import ClipLogits
from detector.profile import (
    Calibration,
    ExpertFusion,
    Profile,
    SharpnessCalibration,
    profiles_to_dict,
)
from detector.release.fusion import (
    Scored,
    add_clip,
    fit_fusion,
    fit_profile,
    shard_base,
    source_ceiling,
    stretch_ceiling,
    upper_tail,
)
from detector.training.export import write_model

FUSION = ExpertFusion(
    0.5,
    2.0,
    1.0,
    manipulated_calibration=Calibration(1.0, 0.5),
    generated_calibration=Calibration(3.0, -0.5),
    sharpness=SharpnessCalibration(4.0, scale_slope=0.5, shift_slope=0.25, soft_below=1.0),
    clip_frames=2,
)


@pytest.fixture(autouse=True)
def tiny_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "TOWER", "vit_tiny_patch16_224")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder with both networks, random weights."""
    torch.manual_seed(0)
    network = DeepfakeNetwork(NetworkConfig(denoiser_widths=()))
    profiles = {"image": Profile(fusion=FUSION), "video": Profile(fusion=FUSION)}
    write_model(network, "tiny", tmp_path, {"profiles": profiles_to_dict(profiles)})
    expert = ClipExpert()
    torch.nn.init.normal_(expert.generated.weight, std=0.1)
    torch.nn.init.normal_(expert.manipulated.weight, std=0.1)
    save_file(encode_base(expert.tower.state_dict()), tmp_path / "base.part")
    save_file(tuned_state(expert), tmp_path / "tuned.part")
    add_clip(tmp_path, [tmp_path / "base.part"], tmp_path / "tuned.part")
    return tmp_path


@pytest.fixture
def crops() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (3, 224, 224, 3)).astype(np.uint8)


def test_int8_per_channel_comes_back_within_half_a_step() -> None:
    state = ClipExpert().tower.state_dict()
    back = decode_base(encode_base(state))
    assert set(back) == set(state)
    name = "blocks.3.mlp.fc1.weight"
    step = state[name].abs().amax(1, keepdim=True) / 127
    assert ((back[name] - state[name]).abs() <= 0.51 * step).all()
    assert encode_base(state)[name].dtype == torch.int8


def test_silu_with_folded_factors_is_quick_gelu() -> None:
    torch.manual_seed(0)
    tower = timm.models.vision_transformer.VisionTransformer(
        embed_dim=24, depth=2, num_heads=2, num_classes=0, act_layer="quick_gelu"
    ).eval()
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        before = tower(images)
        fold_quick_gelu(tower)
        assert torch.allclose(tower(images), before, atol=1e-5)
    assert isinstance(tower.blocks[0].mlp.act, torch.nn.SiLU)


def test_two_questions_and_a_map_of_patches() -> None:
    out = ClipExpert().eval()(torch.rand(2, 3, 224, 224))
    assert out.manipulated.shape == out.generated.shape == (2,)
    assert out.map_logits.shape == (2, 14, 14)


def test_shards_hold_everything_once_and_stay_small(tmp_path: Path) -> None:
    state = {f"w{i}": torch.full((100,), float(i)) for i in range(10)}
    paths = shard_base(state, tmp_path, most=1000)
    assert [path.name for path in paths] == [
        f"clip-vit-b16-0{i}-of-05.safetensors" for i in range(1, 6)
    ]
    together = {k: v for path in paths for k, v in load_file(path).items()}
    assert set(together) == set(state) and torch.equal(together["w7"], state["w7"])
    with pytest.raises(ValueError, match="at most 100 bytes, but w0 has 400"):
        shard_base(state, tmp_path, most=100)


def test_the_fused_logit_is_the_weighted_sum_of_three(folder: Path, crops: np.ndarray) -> None:
    detector = Detector(folder, device="cpu")
    own = detector.predict(crops, kind="image").logits
    answers = detector.predict_clip(crops)
    expected = 0.5 * own + 2.0 * answers.manipulated + answers.generated
    np.testing.assert_allclose(detector.score(crops, kind="image"), expected, atol=0.05)
    assert np.abs(answers.manipulated - answers.generated).max() > 0.01


def test_the_fused_logit_of_a_still_is_read_at_its_sharpness(folder: Path) -> None:
    detector = Detector(folder, device="cpu")
    flat = np.full((1, 224, 224, 3), 128, np.uint8)  # three units softer than where it matters
    own, answers = detector.predict(flat, kind="image").logits, detector.predict_clip(flat)
    total = 0.5 * own + 2.0 * answers.manipulated + answers.generated
    np.testing.assert_allclose(detector.score(flat, kind="image"), 2.5 * total + 0.75, atol=0.05)


def test_crops_that_clip_did_not_see_are_interpolated_in_time() -> None:
    rising, falling = np.array([0.0, 4.0], np.float32), np.array([1.0, -1.0], np.float32)
    seen = ClipLogits(rising, falling, -rising)
    between = seen.at(np.array([0.0, 0.5, 1.0, 2.0]), np.array([0.0, 2.0]))
    assert between.manipulated.tolist() == [0.0, 1.0, 2.0, 4.0]
    assert between.generated.tolist() == [1.0, 0.5, 0.0, -1.0]
    assert between.drawn.tolist() == [0.0, -1.0, -2.0, -4.0]


def test_a_model_with_one_network_scores_as_before(crops: np.ndarray) -> None:
    detector = Detector.untrained()
    assert detector.clip is None
    np.testing.assert_array_equal(
        detector.score(crops, kind="image"), detector.predict(crops, kind="image").logits
    )
    with pytest.raises(RuntimeError, match="one network"):
        detector.predict_clip(crops)


def test_processes_that_map_the_same_weights_answer_the_same(
    folder: Path, crops: np.ndarray, tmp_path: Path
) -> None:
    alone, file = Detector(folder), tmp_path / "clip"
    assert alone.clip_files is not None
    expected = alone.predict_clip(crops)
    written = []
    for _ in range(2):  # the first writes the file, the second finds it
        mapping = Detector(folder)
        mapping.clip_files = replace(alone.clip_files, mapped=file)
        found = mapping.predict_clip(crops)
        assert np.array_equal(found.manipulated, expected.manipulated)
        assert np.array_equal(found.generated, expected.generated)
        assert str(file) in Path("/proc/self/maps").read_text()
        written.append(file.stat().st_mtime_ns)
    assert written[0] == written[1]
    assert [path.name for path in tmp_path.glob("*clip")] == ["clip"]


def test_a_missing_shard_is_said_at_once(folder: Path) -> None:
    next(folder.glob("clip-vit-b16-01-*")).unlink()
    with pytest.raises(WeightsError, match=r"clip-vit-b16-01-of-\d\d.safetensors is missing"):
        Detector(folder)


def test_a_damaged_file_is_said_when_it_is_needed(folder: Path, crops: np.ndarray) -> None:
    path = folder / "clip-tuned.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0\0")
    with pytest.raises(WeightsError, match=r"clip-tuned\.safetensors is damaged"):
        Detector(folder).predict_clip(crops)


def test_heads_that_do_not_fit_are_refused(folder: Path, crops: np.ndarray) -> None:
    tuned = load_file(folder / "clip-tuned.safetensors")
    tuned.pop("generated.bias")
    save_file(tuned, folder / "other.part")
    add_clip(folder, None, folder / "other.part")
    with pytest.raises(WeightsError, match="do not fit"):
        Detector(folder).predict_clip(crops)


def test_weights_of_a_network_that_is_not_named_are_refused(folder: Path) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["models"]["tiny"]["clip"]
    path.write_text(json.dumps(manifest))
    with pytest.raises(WeightsError, match="weighs a second network that it does not name"):
        Detector(folder)


def test_the_base_is_kept_when_only_the_heads_change(folder: Path) -> None:
    before = json.loads((folder / "manifest.json").read_text())["models"]["tiny"]["clip"]["base"]
    after = add_clip(folder, None, folder / "tuned.part")["models"]["tiny"]["clip"]["base"]
    assert before == after


def scored(source: str, label: int, *rows: tuple[float, float, float]) -> Scored:
    return Scored(source, label, np.array(rows, float), np.full(len(rows), 2.0, np.float32))


def test_weights_of_the_sum_are_per_standard_deviation_of_authentic_files() -> None:
    authentic = [scored("a", 0, (x, 2 * x, 4 * x)) for x in (-1.0, 1.0)]
    swap, made = scored("swap", 1, (3, 3, 0)), scored("StyleGAN3 face", 1, (0, 0, 9))
    fusion = fit_fusion([*authentic, swap, made], (0.5, 1.0, 1.0))
    assert (fusion.two_stream, fusion.manipulated, fusion.generated) == (0.5, 0.5, 0.25)
    # each question is calibrated on its own forgeries
    assert fusion.manipulated_calibration.probability(3.0) > 0.9
    assert fusion.generated_calibration.probability(9.0) > 0.9


def test_the_answers_to_both_questions_are_added() -> None:
    numbers = [[0.0, 0.0], [5.0, -5.0], [-5.0, 6.0], [2.0, 1.0]]
    read = tuple(np.array(v, np.float32) for v in numbers)
    np.testing.assert_allclose(ExpertFusion(1.0, 1.0, 1.0).fuse(*read), [0.0, 1.0])
    np.testing.assert_allclose(ExpertFusion(1.0, 0.2, 0.5).fuse(*read), [-1.5, 2.0])
    # the second crop is softer by one, where the sum is doubled and .5 is added
    soft = SharpnessCalibration(2.0, scale_slope=1.0, shift_slope=0.5, soft_below=0.0)
    np.testing.assert_allclose(ExpertFusion(1.0, 0.2, 0.5, sharpness=soft).fuse(*read), [-1.5, 4.5])


def test_no_larger_authentic_source_is_called_forged_more_often_than_one_in_ten() -> None:
    fusion, calibration = ExpertFusion(1.0, 0.0, 0.0), Calibration()
    quiet = [scored("quiet", 0, (-5.0, 0, 0))] * 100
    loud = [scored("loud", 0, (float(x) / 10, 0, 0)) for x in range(30)]
    few = [scored("few", 0, (9.0, 0, 0))] * 3
    above = source_ceiling(fusion, calibration, [*quiet, *loud, *few])
    called = np.mean([calibration.probability(one.logits[0, 0]) > above for one in loud])
    assert 0.05 < called <= 0.1


def test_no_stretch_of_an_authentic_clip_is_called_forged() -> None:
    fusion, calibration = ExpertFusion(1.0, 0.0, 0.0), Calibration()
    bumpy = scored("clip", 0, *[(-3.0, 0, 0)] * 10, *[(2.0, 0, 0)] * 6)
    calm = scored("clip", 0, *[(-3.0, 0, 0)] * 16)
    assert stretch_ceiling(fusion, calibration, [bumpy, calm], 0.7) == pytest.approx(0.8808)
    assert stretch_ceiling(fusion, calibration, [calm], 0.7) == 0.7


def test_the_tail_is_the_mean_excess_over_the_highest_fifth() -> None:
    values = np.random.default_rng(0).exponential(1.5, 20_000)
    assert upper_tail(values) == pytest.approx(1.5, abs=0.06)


def test_clips_get_a_threshold_for_parts_and_stills_none() -> None:
    rng = np.random.default_rng(0)
    sets = [
        [
            scored("x", label, *[(rng.normal(3 * label), 0, 0) for _ in range(8)])
            for label in (0, 1)
            for _ in range(30)
        ]
    ]
    fusion = ExpertFusion(1.0, 0.0, 0.0)
    still, clip_profile = Profile(), Profile(min_frames=3)
    assert fit_profile(still, fusion, sets).thresholds.stretch_above is None
    fitted = fit_profile(clip_profile, fusion, sets).thresholds
    assert fitted.stretch_above >= fitted.forged_above >= 0.5
