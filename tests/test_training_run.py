"""The training loop: it learns, checkpoints, resumes; the run becomes a model folder with a
calibrated decision.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from detector.benchmark.accuracy import FileScore, PairScores
from detector.nets.network import DeepfakeNetwork, FrameOutput, NetworkConfig
from detector.profile import SharpnessCalibration
from detector.release import material
from detector.training.calibration import CalibrationSet, fit_calibration, fit_sharpness
from detector.training.checkpoints import half_precision
from detector.training.shipped.denoise import gains_db
from detector.training.shipped.networks import assemble
from detector.training.shipped.objective import pair_loss, visible_change
from detector.training.shipped.train import TrainConfig, Trainer, schedule
from detector.training.shipped.validation import ValidationSet, validate
from detector.types import Label


def tiny() -> DeepfakeNetwork:
    torch.manual_seed(0)
    return DeepfakeNetwork(
        NetworkConfig(embedder_options={"noise_widths": (8, 8, 8, 8)}, denoiser_widths=())
    )


def batch(pairs: int = 4) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Forged halves carry a bright square where the mask says."""
    rng = torch.Generator().manual_seed(1)
    crops = torch.randint(60, 120, (2 * pairs, 3, 64, 64), dtype=torch.uint8, generator=rng)
    masks = torch.zeros(2 * pairs, 8, 8)
    crops[1::2, :, 16:40, 16:40] += 100
    masks[1::2, 2:5, 2:5] = 1
    return crops, masks, torch.zeros(pairs, dtype=torch.long)


def test_it_learns_what_the_mask_shows(tmp_path: Path) -> None:
    trainer = Trainer(tiny(), TrainConfig(minutes=1), tmp_path)
    trainer.loop.spent_s = 5.0  # past the warm-up
    losses = [trainer.step(batch()) for _ in range(15)]
    assert losses[-1] < 0.7 * losses[0]
    assert trainer.images == 15 * 8


def test_an_unknown_mask_is_read_by_no_loss() -> None:
    net = tiny().eval()
    crops, masks, _ = batch(2)
    images = crops.float() / 255
    unknown = masks.clone()
    unknown[1] = float("nan")
    loss, logits = pair_loss(net, images, unknown)
    assert torch.isfinite(loss) and logits.shape == (4,)
    loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_what_is_left_to_see_of_a_forgery() -> None:
    """Pairs 20 levels apart inside the mask and 5 elsewhere; equal ones; 30 apart all over; an
    unknown mask.
    """
    images = torch.full((8, 3, 64, 64), 100 / 255)
    masks = torch.zeros(8, 8, 8)
    masks[1, 2:5, 2:5] = masks[3, 2:5, 2:5] = 1
    images[1] += 5 / 255
    images[1, :, 16:40, 16:40] += 15 / 255
    images[5] += 30 / 255
    masks[5] = 1
    masks[7] = float("nan")
    assert visible_change(images, masks).tolist() == pytest.approx(
        [15, 0, 30, float("inf")], abs=0.01
    )


def test_a_forgery_that_cannot_be_seen_counts_for_a_tenth() -> None:
    class Answers(torch.nn.Module):
        def frames(self, images: torch.Tensor) -> FrameOutput:
            return FrameOutput(torch.tensor([0.0, 0.0, 0.0, 3.0]), None, torch.zeros(4, 2))

    images, masks = torch.zeros(4, 3, 64, 64), torch.zeros(4, 8, 8)
    masks[1::2] = 1
    images[1] += 80 / 255
    loss, _ = pair_loss(Answers(), images, masks)  # type: ignore[arg-type]
    log2, wrong_way = np.log(2), np.log1p(np.exp(-3))
    assert float(loss) == pytest.approx((2 * log2 + 0.55 * log2 + 0.1 * wrong_way) / 2.65, abs=1e-5)


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    config = TrainConfig(minutes=1)
    first = Trainer(tiny(), config, tmp_path)
    for _ in range(2):
        first.step(batch())
    first.loop.spent_s = 12.0
    first.save()
    second = Trainer(tiny(), config, tmp_path)
    assert second.resume()
    assert (second.images, second.loop.spent_s) == (16, 12.0)
    losses = []
    for trainer in (first, second):
        torch.manual_seed(5)  # the same dropout
        losses.append(trainer.step(batch()))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)  # the optimizer's moments came along too
    assert not Trainer(tiny(), config, tmp_path / "elsewhere").resume()


def test_the_curriculum_and_the_rate_follow_the_time_spent(tmp_path: Path) -> None:
    trainer = Trainer(tiny(), TrainConfig(minutes=1), tmp_path)
    first = trainer.difficulty()
    assert (first.strength, first.augmentation, first.side_px) == (1.0, 0.2, 160)
    trainer.loop.spent_s = 40.0
    later = trainer.difficulty()
    assert (later.strength, later.augmentation) == pytest.approx(
        (0.4, 1.0)
    ) and later.side_px == 224
    assert [round(schedule(s), 2) for s in (0.0, 0.02, 0.51, 1.0)] == [0.1, 1.0, 0.51, 0.02]
    assert [round(schedule(s, constant=True), 2) for s in (0.0, 0.02, 0.51, 1.0)] == [
        0.1,
        1.0,
        1.0,
        1.0,
    ]


def test_shipped_weights_are_half_precision_and_load_again(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    net = DeepfakeNetwork(NetworkConfig(denoiser_widths=()))
    save_file(half_precision(net), tmp_path / "ema.safetensors")
    again = assemble([tmp_path], None)
    assert all(
        v.dtype == torch.float16 for v in half_precision(net).values() if v.is_floating_point()
    )
    key = "frame_head.out.weight"
    assert torch.equal(again.state_dict()[key], net.state_dict()[key].half().float())


def test_runs_from_one_start_are_averaged_and_each_has_its_share(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    key = "frame_head.out.bias"
    for name, value in (("a", 1.0), ("b", 2.0), ("start", 7.0)):
        net = DeepfakeNetwork(NetworkConfig(denoiser_widths=()))
        net.frame_head.out.bias.data.fill_(value)
        (tmp_path / name).mkdir()
        save_file(half_precision(net), tmp_path / name / "ema.safetensors")
    mean = assemble([tmp_path / "a", tmp_path / "b"], None)
    assert float(mean.state_dict()[key]) == 1.5
    parts = [tmp_path / "a", tmp_path / "b", tmp_path / "start" / "ema.safetensors"]
    shared = assemble(parts, None, [2, 2, 1])
    assert float(shared.state_dict()[key]) == pytest.approx(0.4 * 1 + 0.4 * 2 + 0.2 * 7)
    with pytest.raises(ValueError, match="shorter"):
        assemble(parts, None, [1, 1])


def test_validation_figures_of_a_known_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.zeros((3, 2, 28, 28), np.float32)
    masks[:, 1, :5, :5] = 1
    held = ValidationSet(np.zeros((3, 2, 8, 8, 3), np.uint8), masks, ("a", "a", "b"))
    # the pair of family b is the wrong way round
    logits = np.array([0, 1, 0, 2, 0, -1], np.float32)
    monkeypatch.setattr(
        "detector.training.shipped.validation.predict",
        lambda net, crops: (logits, masks.reshape(6, 28, 28)),
    )
    found = validate(torch.nn.Identity(), held)
    assert found == {"auc": pytest.approx(2 / 3), "pixel_auc": 1.0, "auc a": 1.0, "auc b": 0.0}


def test_the_threshold_keeps_the_false_positive_target_in_every_set() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 1000)
    easy, hard = (
        CalibrationSet(np.r_[rng.normal(low, 1, 1000), rng.normal(high, 1, 1000)], labels)
        for low, high in ((-2, 2), (0, 1))
    )
    calibration, thresholds = fit_calibration([easy, hard])
    for one in (easy, hard):
        p = np.array([calibration.probability(float(v)) for v in one.authentic])
        assert (p > thresholds.forged_above).mean() <= 0.051
    assert thresholds.authentic_below < thresholds.forged_above
    assert calibration.scale > 0


def test_logits_of_soft_crops_count_for_more_where_they_are_small() -> None:
    """Below a log-sharpness q of 2 the logits of both sides have their mean and spread multiplied
    by q - 1.
    """
    rng = np.random.default_rng(0)
    q = rng.uniform(1.5, 2.5, (2, 40000))
    full = np.array([[-4.0], [4.0]]) + rng.normal(0, 4, (2, 40000))
    labels = np.repeat([0, 1], 40000)
    shrunk = full * np.minimum(q - 1, 1)
    found = fit_sharpness([CalibrationSet(shrunk.ravel(), labels, q.ravel())])
    assert (found.sharp_above, found.soft_below) == pytest.approx((2.0, 1.52), abs=0.02)
    assert 1 < found.scale_slope < 2.2  # 1 / (q - 1) is 1 at the median and 2 half a unit below
    assert abs(found.shift_slope) < 0.3
    even = fit_sharpness([CalibrationSet(full.ravel(), labels, q.ravel())])
    assert abs(even.scale_slope) < 0.2


def test_the_untrained_denoiser_gains_nothing_and_loses_nothing() -> None:
    from skimage.data import astronaut

    from detector.forgery.pictures import LabelledFace
    from detector.nets.autoencoder import DenoisingAutoencoder

    face = LabelledFace(
        astronaut(), (170.0, 60.0, 280.0, 200.0), np.zeros((5, 2), np.float32), "s", "p", "val", 0
    )
    gains = gains_db(DenoisingAutoencoder((8, 8, 8, 8, 8)).eval(), [face])
    assert gains == {
        "light": pytest.approx(0, abs=0.01),
        "medium": pytest.approx(0, abs=0.01),
        "heavy": pytest.approx(0, abs=0.01),
    }


def test_configurations_are_values() -> None:
    assert replace(TrainConfig(), minutes=2.0) == TrainConfig(minutes=2.0)


def test_calibration_falls_back_on_fresh_pairs_for_kinds_without_both_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "devset.csv").write_text("file,label\na.png,0\nb.png,1\nc.mp4,0\nd.mp4,1\n")
    found = [
        FileScore("image", Label.AUTHENTIC, 0.1, -2.0, -2.0, 5.0),
        FileScore("image", Label.FORGED, 0.9, 2.0, 2.0, 5.0),
        FileScore("video", Label.AUTHENTIC, 0.5, 0.0, 0.0, 5.0),
        None,  # without a face
    ]
    pairs = PairScores(
        np.array([[-1.0, 1.0]]), np.array([[4.0, 4.0]]), ("a",), np.zeros((0,)), np.zeros((0,))
    )
    monkeypatch.setattr(material, "score_pairs", lambda *args: pairs)
    monkeypatch.setattr(material, "score_files", lambda *args: found)
    collected = material.collect(None, (), tmp_path / "devset", None)  # type: ignore[arg-type]
    fresh, genuine = collected["image"]
    times = len(material.DEGRADATION_MIX)
    assert fresh.logits.tolist() == [-1.0, 1.0] * times and fresh.labels.tolist() == [0, 1] * times
    assert fresh.log_sharpness is not None and fresh.log_sharpness[0] == pytest.approx(np.log(5))
    assert (genuine.logits.tolist(), genuine.labels.tolist()) == ([-2.0, 2.0], [0, 1])
    # one authentic clip alone says nothing
    assert [one.logits.tolist() for one in collected["video"]] == [fresh.logits.tolist()]


def test_material_read_at_its_sharpness_keeps_sharp_crops_and_changes_soft_ones() -> None:
    soft_and_sharp = CalibrationSet(np.array([2.0, 2.0]), np.array([0, 1]), np.array([1.0, 3.0]))
    calibration = SharpnessCalibration(2.0, 0.5, -1.0, 0.5)
    (read,) = material.read_at_sharpness([soft_and_sharp], calibration)
    assert read.logits.tolist() == [1.5 * 2 - 1, 2.0]
    assert read.labels.tolist() == [0, 1]


def test_material_of_one_label_calibrates_nothing() -> None:
    with pytest.raises(ValueError, match="expected both labels"):
        CalibrationSet(np.zeros(2), np.zeros(2, np.int64))
