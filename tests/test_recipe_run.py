"""The training loop: it learns, keeps the best, stops, goes on, and leaves a model folder that
loads and explains.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from training_data import easy_data, easy_source, picture, tiny_recipe

from detector.errors import DataError
from detector.nets.network import DeepfakeNetwork
from detector.pipeline import Detector
from detector.training import charts
from detector.training.hub import HubModel
from detector.training.recipes import command
from detector.training.recipes.catalogue import DENOISER, HEADS, Stage
from detector.training.recipes.objective import Objective, free, make_optimizer, train_mode
from detector.training.recipes.run import Run, RunConfig, train_recipe
from detector.training.recipes.sources import Clips, Data, FixedCrops, ForgedFaces

QUICK = RunConfig(workers=0)


def batch_of(recipe: Any, data: Data, training: bool = True) -> dict[str, torch.Tensor]:
    clips = Clips(data.train, recipe, training)
    items = [clips[i] for i in range(4)]
    return {k: torch.stack([item[k] for item in items]) for k in items[0]}


def test_a_run_learns_what_is_easy_and_exports_a_model_that_comes_back_bit_for_bit(
    tmp_path: Path,
) -> None:
    run = train_recipe(tiny_recipe(Stage(4, "adam", 3e-3)), easy_data(16), tmp_path, QUICK)
    losses = [row["loss"] for row in run.history]
    assert losses[-1] < losses[0]
    assert max(row["val_auc"] for row in run.history) == 1.0
    assert any((tmp_path / "log").rglob("events.out.tfevents*"))
    folder = command.publish(run)
    for name in ("curves.png", "classes.png", "samples.png", "strips.png"):
        with Image.open(tmp_path / name) as chart:
            assert chart.width > 200
    detector = Detector(folder)
    assert detector.entry["recipe"] == "tiny" and detector.entry["input_px"] == 64
    crops = easy_source(4).stack[:, 0]
    with torch.inference_mode():
        ours = run.network.frames(detector.tensor(crops)).logit
        assert torch.equal(ours, detector.network.frames(detector.tensor(crops)).logit)
    p = [detector.profiles["image"].calibration.probability(float(v)) for v in ours]
    assert max(p[0], p[2]) < 0.5 < min(p[1], p[3])


def test_the_best_state_is_kept_and_a_stage_without_progress_ends_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.6, 0.9, 0.7, 0.8, 0.9, 0.99])
    monkeypatch.setattr(
        Run, "_validate", lambda self, *_: {"val_loss": 1.0, "val_auc": next(scores)}
    )
    recipe = replace(tiny_recipe(Stage(50, "adam", 1e-2)), patience=3)
    run = Run(recipe, easy_data(), tmp_path, QUICK)
    run.train()
    # equal is not better
    assert [row["val_auc"] for row in run.history] == [0.6, 0.9, 0.7, 0.8, 0.9]
    best = load_file(tmp_path / "best-1.safetensors")
    last = torch.load(tmp_path / "last.pt", weights_only=True)["network"]
    weight = "frame_head.out.weight"
    assert torch.equal(run.network.state_dict()[weight], best[weight])
    assert not torch.equal(last[weight], best[weight])


def test_an_interrupted_run_goes_on_as_if_it_had_not_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe, data = (
        tiny_recipe(Stage(1, "adam", 1e-3, HEADS), Stage(3, "sgd", 1e-2, momentum=0.9)),
        easy_data(),
    )
    whole = train_recipe(recipe, data, tmp_path / "whole", QUICK)
    judge, calls = Run._judge, []

    def stop_in_the_third(self: Run, *rest: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        judge(self, *rest)

    monkeypatch.setattr(Run, "_judge", stop_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        train_recipe(recipe, data, tmp_path / "parts", QUICK)
    monkeypatch.setattr(Run, "_judge", judge)
    parts = train_recipe(recipe, data, tmp_path / "parts", QUICK)
    assert [row["loss"] for row in parts.history] == pytest.approx(
        [row["loss"] for row in whole.history], rel=1e-5
    )
    for name, tensor in whole.network.state_dict().items():
        assert torch.allclose(
            tensor.float(), parts.network.state_dict()[name].float(), atol=1e-6
        ), name


def test_minutes_end_a_run_and_every_stage_has_its_share(tmp_path: Path) -> None:
    recipe = tiny_recipe(Stage(50, "adam", 1e-3, HEADS), Stage(50, "adam", 1e-3))
    run = train_recipe(recipe, easy_data(16), tmp_path, replace(QUICK, minutes=1e-4))
    assert [(row["stage"], row["epoch"], row["images"]) for row in run.history] == [
        (1, 1, 4),
        (2, 1, 4),
    ]


def test_a_folder_of_another_recipe_is_refused(tmp_path: Path) -> None:
    train_recipe(tiny_recipe(Stage(1, "adam", 1e-3)), easy_data(), tmp_path, QUICK)
    with pytest.raises(DataError, match="holds a run of the recipe tiny"):
        Run(replace(tiny_recipe(), name="other"), easy_data(), tmp_path, QUICK)
    with pytest.raises(DataError, match="holds a run of another network"):
        Run(tiny_recipe(temporal="gru"), easy_data(), tmp_path, QUICK)


def test_one_label_alone_cannot_be_trained_on(tmp_path: Path) -> None:
    good = easy_source(8)
    bad = FixedCrops(good.stack[:4], np.zeros(4, np.int64), good.originals[:4])
    with pytest.raises(DataError, match="not faces of both labels to validate on"):
        train_recipe(tiny_recipe(), Data(good, bad), tmp_path, QUICK)


def test_frozen_means_frozen_batch_statistics_included(tmp_path: Path) -> None:
    recipe = tiny_recipe(Stage(1, "adam", 1e-1, HEADS), temporal="gru", frames=2)
    network = DeepfakeNetwork(recipe.network)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    stage = recipe.stages[0]
    optimizer = make_optimizer(stage, free(network, stage))
    train_mode(network)
    loss, _ = Objective(network, stage)(**batch_of(recipe, easy_data(8, 2)))
    loss.backward()
    optimizer.step()
    changed = {
        k.split(".")[0] for k, v in network.state_dict().items() if not torch.equal(v, before[k])
    }
    assert changed == {"frame_head", "temporal"}


def test_unfreezing_begins_at_the_named_block() -> None:
    network = DeepfakeNetwork(tiny_recipe().network)
    free(network, Stage(1, "sgd", 0.1, "rgb.net.layer3"))
    learning = {n.split(".")[2] for n, p in network.embedder.named_parameters() if p.requires_grad}
    assert learning == {"layer3", "layer4"}
    with pytest.raises(DataError, match=r"no block called 'rgb\.net\.block99'"):
        free(network, Stage(1, "sgd", 0.1, "rgb.net.block99"))


def test_two_stages_first_the_denoiser_then_all_with_a_tenth_of_its_error() -> None:
    first, second = (
        Stage(1, "adam", 1e-3, DENOISER, reconstruction=1.0),
        Stage(1, "adam", 1e-4, reconstruction=0.1),
    )
    recipe = tiny_recipe(
        first, second, augment="compress", denoiser_widths=(4, 4, 4, 4, 4), denoiser_skips=False
    )
    network = DeepfakeNetwork(recipe.network).eval()
    free(network, first)
    assert {n.split(".")[0] for n, p in network.named_parameters() if p.requires_grad} == {
        "denoiser"
    }
    batch = batch_of(recipe, easy_data())
    assert not torch.equal(batch["images"], batch["clean"])
    with torch.no_grad():
        images, clean = batch["images"][:, 0].float() / 255, batch["clean"][:, 0].float() / 255
        error = ((network.denoiser(images) - clean) ** 2).mean()
        entropy = torch.nn.functional.binary_cross_entropy_with_logits(
            network(images), batch["label"]
        )
        assert float(Objective(network, first)(**batch)[0]) == pytest.approx(float(error), rel=1e-4)
        assert float(Objective(network, second)(**batch)[0]) == pytest.approx(
            float(entropy + 0.1 * error), rel=1e-4
        )


def test_padded_frames_do_not_reach_the_loss() -> None:
    recipe = tiny_recipe(temporal="lstm", frames=4)
    network = DeepfakeNetwork(recipe.network).eval()
    batch = batch_of(recipe, easy_data(8, 2))
    assert batch["mask"].tolist() == [[True, True, False, False]] * 4
    objective = Objective(network, recipe.stages[0])
    with torch.no_grad():
        loss, logit = objective(**batch)
        batch["images"][:, 2:] = 255
        again, same = objective(**batch)
    assert torch.equal(loss, again) and torch.equal(logit, same)


def test_forged_faces_are_pairs_and_fresh_each_epoch() -> None:
    source = ForgedFaces([picture(k) for k in range(3)], pairs=2, seed=5)
    assert source.labels.tolist() == [0, 1, 0, 1]
    crops = [source.crops(i, 0) for i in range(4)]
    assert crops[0].shape == (1, 224, 224, 3)
    assert np.array_equal(crops[0], source.crops(0, 0))
    assert not np.array_equal(crops[0], source.crops(0, 1))
    pair, strangers = (np.abs(crops[a].astype(int) - crops[b]).mean() for a, b in ((0, 1), (0, 2)))
    assert 0 < pair < strangers
    clip = ForgedFaces([picture(0)], pairs=1, n_frames=3).crops(1, 0)
    assert clip.shape == (3, 224, 224, 3)


def test_charts_say_what_they_show() -> None:
    crops = easy_source(6, n_frames=3)
    gif = Image.open(BytesIO(charts.draw_clip(crops.stack[0], 0.93)))
    assert gif.is_animated and gif.n_frames == 3
    labels = np.array([1, 0, 1, 0, 1])
    assert charts.same_original(["a", "a", "a", "b", "c"], labels) == [[1, 0, 2]]
    with pytest.raises(ValueError, match="at least one crop"):
        charts.draw_grid([], [], [])


def test_the_main_runs_curves_are_drawn_by_family() -> None:
    row = {
        "minutes": 1.0,
        "images": 1000,
        "auc": 0.6,
        "pixel_auc": 0.7,
        "auc self-blend": 0.6,
        "loss": 1.0,
    }
    few = charts.draw_main_run([row, row | {"images": 2000, "auc": 0.7, "loss": 0.9}])
    more = charts.draw_main_run([row | {"auc generator": 0.9}])
    assert Image.open(BytesIO(few)).size == (1000, 400) and few != more


def test_the_hub_gets_a_model_folder_and_gives_it_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model = HubModel(DeepfakeNetwork(tiny_recipe().network), "tiny", {"recipe": "tiny"})
    pushed = tmp_path / "hub"
    calls: dict[str, Any] = {}

    class Api:
        def __init__(self, **options: Any) -> None: ...

        def create_repo(self, repo_id: str, **options: Any) -> Any:
            return type("Url", (), {"repo_id": repo_id})()

        def upload_folder(self, *, folder_path: Path, repo_id: str, **options: Any) -> str:
            calls["repo"] = repo_id
            Path(folder_path).rename(pushed)
            Path(folder_path).mkdir()  # the caller clears it away
            return "url"

    monkeypatch.setattr("huggingface_hub.hub_mixin.HfApi", Api)
    model.push_to_hub("someone/tiny")
    assert calls["repo"] == "someone/tiny"
    assert json.loads((pushed / "manifest.json").read_text())["models"]["tiny"]["recipe"] == "tiny"

    def download(repo_id: str, **options: Any) -> str:
        calls["download"] = (repo_id, options["revision"])
        return str(pushed)

    monkeypatch.setattr("detector.training.hub.snapshot_download", download)
    monkeypatch.setattr(
        "huggingface_hub.hub_mixin.hf_hub_download", lambda **options: pushed / options["filename"]
    )
    back = HubModel.from_pretrained("someone/tiny", revision="v1")
    assert calls["download"] == ("someone/tiny", "v1")
    assert back.facts == {"recipe": "tiny"}
    stored = model.network.state_dict()
    assert all(torch.equal(v, stored[k]) for k, v in back.network.state_dict().items())
    with torch.inference_mode():
        assert back(torch.rand(2, 3, 224, 224)).shape == (2,)


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """gloo on the CPU, as `accelerate launch` would start it."""
    script = tmp_path / "two.py"
    script.write_text(
        "import sys; sys.path[:0] = sys.argv[1:3]\n"
        "import torch\n"
        "from pathlib import Path\n"
        "from training_data import easy_data, tiny_recipe\n"
        "from detector.training.recipes.run import RunConfig, train_recipe\n"
        "out = Path(sys.argv[3])\n"
        "run = train_recipe(tiny_recipe(), easy_data(16), out, RunConfig(workers=0))\n"
        "assert run.accelerator.num_processes == 2\n"
        "path = out / f'state-{run.accelerator.process_index}.pt'\n"
        "torch.save(run.network.state_dict(), path)\n"
    )
    env = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parent
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-addr",
        "127.0.0.1",
    ]
    command_line = [*launch, str(script), str(root), str(root.parent), str(tmp_path / "run")]
    done = subprocess.run(
        command_line, env=env, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    history = json.loads((tmp_path / "run" / "history.json").read_text())
    first, second = (
        torch.load(tmp_path / "run" / f"state-{k}.pt", weights_only=True) for k in (0, 1)
    )
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert [row["images"] for row in history] == [16, 16]  # every picture once, whoever saw it
