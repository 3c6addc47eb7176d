"""Tuning CLIP: what the loss asks, what is learnt, how a run goes on. A tiny tower stands in."""

import json
import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from detector.forgery.pairs import FAMILIES
from detector.nets import clip
from detector.nets.clip import ClipExpert, ClipOutput, encode_base, tuned_state
from detector.training.__main__ import main
from detector.training.shipped import generated, manipulated
from detector.training.shipped.clip import TUNED, ClipTrainConfig, ClipTrainer
from detector.training.shipped.generated import fit_around
from detector.training.shipped.networks import new_clip
from detector.training.shipped.objective import clip_loss
from detector.training.shipped.stream import PairBatch
from tests.training_data import data_folder

FITTED_LATER = ("drawn", "manipulated_upper")


@pytest.fixture(autouse=True)
def tiny_tower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip, "TOWER", "vit_tiny_patch16_224")


@pytest.fixture
def base(tmp_path: Path) -> list[Path]:
    """A random tower, stored in two shards."""
    torch.manual_seed(0)
    state = encode_base(ClipExpert().tower.state_dict())
    names = sorted(state)
    paths = [tmp_path / "base-1.safetensors", tmp_path / "base-2.safetensors"]
    for path, some in zip(paths, (names[:50], names[50:]), strict=True):
        save_file({name: state[name] for name in some}, path)
    return paths


def batch() -> PairBatch:
    """A self-blend that brightens a square, and a generated picture that is brighter all over."""
    rng = torch.Generator().manual_seed(1)
    crops = torch.randint(60, 120, (4, 3, 224, 224), dtype=torch.uint8, generator=rng)
    masks = torch.zeros(4, 28, 28)
    crops[1, :, 64:160, 64:160] += 100
    masks[1, 8:20, 8:20] = 1
    crops[3] += 60
    masks[3] = 1
    families = [FAMILIES.index(name) for name in ("self-blend", "generated")]
    return crops, masks, torch.tensor(families)


def test_only_norms_and_heads_change_and_the_loss_falls(tmp_path: Path, base: list[Path]) -> None:
    expert = new_clip(base)
    trainer = ClipTrainer(expert, ClipTrainConfig(minutes=1), tmp_path / "run")
    trainer.loop.done = 59  # past the warm-up
    before = {k: v.clone() for k, v in expert.state_dict().items()}
    losses = [trainer.step(batch()) for _ in range(12)]
    assert losses[0] > 1.5 and losses[-1] < 0.8 * losses[0]
    changed = {k for k, v in expert.state_dict().items() if not torch.equal(v, before[k])}
    fitted_later = {f"{head}.{part}" for head in FITTED_LATER for part in ("weight", "bias")}
    learnt = set(tuned_state(expert)) - {"tower.norm.weight", "tower.norm.bias"} - fitted_later
    assert changed <= learnt
    # all but the bias of a key and the like, which no loss can move
    assert {k for k in learnt if "norm" not in k} | {"tower.blocks.0.norm1.weight"} <= changed


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path, base: list[Path]) -> None:
    def trainer() -> ClipTrainer:
        torch.manual_seed(2)
        return ClipTrainer(new_clip(base), ClipTrainConfig(minutes=1), tmp_path / "run")

    first = trainer()
    assert not first.resume()
    for _ in range(3):
        first.step(batch())
        first.loop.done += 1
    first.loop.spent_s = 12.0
    first.save()
    second = trainer()
    assert second.resume()
    assert (second.images, second.loop.spent_s, second.loop.done) == (12, 12.0, 3)
    losses = []
    for run in (first, second):
        torch.manual_seed(5)  # the same dropout
        losses.append([run.step(batch()) for _ in range(2)])
    # the optimizer's moments came along too
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


def test_what_is_written_is_the_average_and_fits_the_release(
    tmp_path: Path, base: list[Path]
) -> None:
    trainer = ClipTrainer(new_clip(base), ClipTrainConfig(minutes=1), tmp_path)
    trainer.loop.done = 59  # past the warm-up
    for _ in range(4):
        trainer.step(batch())
    trainer.save()
    written = load_file(tmp_path / TUNED)
    assert set(written) == set(tuned_state(ClipExpert()))
    name = "generated.weight"
    assert torch.equal(written[name], trainer.learner.averaged.by_name()[name])  # type: ignore[operator]
    assert not torch.equal(written[name], trainer.tuned.by_name()[name])
    again = new_clip(base, tmp_path / TUNED)
    assert torch.equal(again.generated.weight, written[name])


def output(put_in: list[float], made: list[float]) -> ClipOutput:
    maps = torch.zeros(len(made), 14, 14)
    return ClipOutput(torch.tensor(put_in), torch.tensor(made), maps, torch.tensor(made))


def test_a_generated_picture_is_no_answer_to_what_was_put_in() -> None:
    """Zero logits give log 2 for both questions, and no map is asked for of generated pictures."""
    crops, masks, _ = batch()
    images, generated = crops[2:] / 255, torch.tensor([True])
    told = [
        float(clip_loss(output([0.0, v], [0.0, 0.0]), images, masks[2:], generated)) for v in (0, 9)
    ]
    assert told == pytest.approx([1.7 * math.log(2)] * 2, abs=1e-4)
    sure = output([-20.0, 0.0], [-20.0, 20.0])
    assert float(clip_loss(sure, images, masks[2:], generated)) == pytest.approx(0, abs=1e-4)


def test_other_forgeries_count_little_as_not_generated() -> None:
    crops, masks, _ = batch()
    wrong = output([-20.0, 20.0, -20.0, 0.0], [9.0, 9.0, -20.0, 20.0])
    loss = clip_loss(wrong, crops / 255, masks, torch.tensor([False, True]))
    where = 1.5 * (masks[:2].mean() + 1) * math.log(2)  # the positive cells count twice
    expected = 0.7 * 9 * 0.3 / 2.3 + float(where)
    assert float(loss) == pytest.approx(expected, abs=1e-3)


@pytest.mark.slow
def test_the_command_tunes_on_a_folder_and_says_how_far(
    tmp_path: Path, base: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = data_folder(tmp_path / "data"), tmp_path / "run"
    command = ["--expert", "clip", "--data", str(data), "--out", str(run), "--workers", "0"]
    command += ["--base", *map(str, base), "--pairs-per-batch", "2"]
    command += ["--validation-pairs", "12"]
    assert main([*command, "--minutes", "0.02"]) == 0
    (figures,) = json.loads((run / "history.json").read_text())
    assert 0 <= figures["auc manipulated"] <= 1 and 0 <= figures["auc generated"] <= 1
    assert np.isfinite(figures["loss"]) and (run / TUNED).is_file()
    assert main([*command, "--minutes", "0.04"]) == 0
    assert "resumed: 12 pictures" in capsys.readouterr().out


def test_a_tower_of_another_shape_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"blocks.0.norm1.weight": torch.zeros(3)}, tmp_path / "other.safetensors")
    data = data_folder(tmp_path / "data", 1)
    command = ["--expert", "clip", "--data", str(data), "--out", str(tmp_path / "run")]
    assert main([*command, "--base", str(tmp_path / "other.safetensors")]) == 1
    assert capsys.readouterr().err == "The weights given for CLIP do not fit it.\n"


def test_a_head_goes_on_from_another_without_forgetting_it() -> None:
    """The head knows column 0. Authentic faces light column 1 when compressed: that is unlearnt."""
    rng = np.random.default_rng(0)
    labels = np.repeat([1, 0, 0], 200)
    features = rng.normal(0, 0.3, (600, 2)).astype(np.float32)
    features[:200, 0] += 1
    features[400:, 1] += 2
    head = torch.tensor([[4.0, 3.0]]), torch.tensor([-2.0])
    before = features @ head[0][0].numpy() + float(head[1])
    weight, bias = fit_around(features, labels, np.ones(600), head)
    after = features @ weight[0].numpy() + float(bias)
    assert weight.shape == (1, 2) and bias.shape == (1,)
    assert before[400:].mean() > 3 and after[400:].mean() < 1
    assert after[:200].mean() - after[200:400].mean() > 2
    same, _ = fit_around(features, labels, np.full(600, 1e-6), head)
    assert torch.allclose(same, head[0], atol=1e-2)


def test_the_head_is_fitted_and_then_goes_on(tmp_path: Path, base: list[Path]) -> None:
    data, first, second = data_folder(tmp_path / "data"), tmp_path / "first", tmp_path / "second"
    start = tmp_path / "tuned.safetensors"
    save_file(tuned_state(ClipExpert()), start)
    common = ["--data", str(data), "--cache", str(tmp_path), "--pairs", "2"]
    files = ["--base", *(str(path) for path in base)]
    generated.main([*files, "--tuned", str(start), "--out", str(first), *common])
    generated.main([*files, "--tuned", str(first), "--out", str(second), *common, "--around"])
    heads = [load_file(path) for path in (start, first, second)]
    assert heads[1]["generated.weight"].shape == heads[0]["generated.weight"].shape
    assert heads[1]["generated.bias"].shape == heads[0]["generated.bias"].shape
    moved = [
        float((a["generated.weight"] - b["generated.weight"]).norm()) for a, b in pairwise(heads)
    ]
    assert 0 < moved[1] < moved[0]
    assert torch.equal(heads[2]["manipulated.weight"], heads[0]["manipulated.weight"])


def test_a_part_of_the_first_answer_is_fitted_beside_its_head(
    tmp_path: Path, base: list[Path]
) -> None:
    data, start, out = data_folder(tmp_path / "data"), tmp_path / "tuned", tmp_path / "out"
    expert = new_clip(base)
    save_file(tuned_state(expert), start)
    files = ["--base", *(str(path) for path in base), "--tuned", str(start), "--out", str(out)]
    manipulated.main([*files, "--data", str(data), "--cache", str(tmp_path), "--pairs", "4"])
    before, after = load_file(start), load_file(out)
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {"manipulated_upper.weight", "manipulated_upper.bias"}
    crops = batch()[0].float() / 255
    with torch.inference_mode():
        alone = expert(crops)
        expert.load_state_dict(after, strict=False)
        both = expert(crops)
        head = expert.manipulated_upper(expert.features(crops)).squeeze(1)
    assert torch.allclose(both.manipulated, alone.manipulated + head, atol=1e-5)
    assert head.std() > 0
    assert torch.equal(both.generated, alone.generated)
