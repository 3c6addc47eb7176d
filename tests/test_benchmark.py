"""The benchmark's figures on answers worked out by hand."""

import csv
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from training_data import picture

from detector.benchmark import ablations, shortcuts, trackcache
from detector.benchmark.ablations import generator_rows, residual_features
from detector.benchmark.accuracy import PairScores, map_figures, write_rows
from detector.benchmark.metrics import (
    LabelledScores,
    auc_interval,
    equal_error_rate,
    expected_calibration_error,
    figures,
    reliability,
    risk_coverage,
    selective_risk,
)
from detector.benchmark.plot import draw_accuracy, draw_reliability, draw_risk_coverage
from detector.benchmark.shortcuts import (
    PLACINGS,
    _placed,
    shortcut_rows,
    skin_tone,
    thirds,
    widest,
)
from detector.nets.network import DeepfakeNetwork, NetworkConfig
from detector.pipeline import Detector
from detector.predictions import ClipLogits
from detector.profile import ExpertFusion, Profile
from detector.training.shipped.train import TrainConfig
from detector.types import CROP_PX, FaceCrop, FaceTrack

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1])
P = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.7, 0.8, 0.9])


def test_figures_by_hand() -> None:
    found = figures(LABELS, P, P, forged_above=0.55)
    assert found["auc"] == pytest.approx(15 / 16)
    assert found["accuracy"] == 0.75
    assert found["false_positives"] == 0.25 and found["recall"] == 0.75
    assert found["auc_low"] <= 15 / 16 <= found["auc_high"]


def test_equal_error_rate_by_hand() -> None:
    assert equal_error_rate(LABELS, P) == 0.25
    assert equal_error_rate(LABELS, np.where(LABELS == 1, 1.0, 0.0)) == 0.0


def test_calibration_error_of_a_liar_and_of_an_honest_one() -> None:
    labels = np.array([0, 1] * 50)
    assert expected_calibration_error(labels, np.full(100, 0.5), bins=1) == 0.0
    assert expected_calibration_error(labels, np.full(100, 0.9), bins=1) == pytest.approx(0.4)


def test_calibration_is_told_at_even_odds() -> None:
    """One in ten is forged: a score of .5 for all is right where both are equally common, one of .1
    is not.
    """
    labels = np.array([1] + [0] * 9)
    assert expected_calibration_error(labels, np.full(10, 0.5), bins=1) == pytest.approx(0.0)
    assert expected_calibration_error(labels, np.full(10, 0.1), bins=1) == pytest.approx(0.4)
    confidence, frequency, weight = reliability(labels, np.linspace(0.9, 0.0, 10), bins=2)
    assert confidence.tolist() == pytest.approx([0.2, (0.9 * 0.5 + 2.6 / 18) / (0.5 + 4 / 18)])
    assert frequency.tolist() == pytest.approx([0.0, 9 / 13])
    assert weight.tolist() == pytest.approx([5 / 18, 13 / 18])


def test_risk_falls_when_only_sure_answers_count() -> None:
    coverage, risk = risk_coverage(LABELS, P)
    assert coverage[-1] == 1.0 and risk[-1] == 0.25
    assert risk[3] == 0.0  # the four surest answers are all right
    assert selective_risk(LABELS, P, 0.5) == 0.0 and selective_risk(LABELS, P, 1.0) == 0.25


def test_intervals_narrow_with_more_material() -> None:
    rng = np.random.default_rng(0)

    def width(n: int) -> float:
        labels = np.tile([0, 1], n)
        low, high = auc_interval(labels, labels + rng.normal(0, 1, 2 * n))
        return high - low

    assert width(400) < 0.6 * width(40)


def test_map_figures_by_hand() -> None:
    truth = np.zeros((1, 28, 28), np.float32)
    truth[0, :4, :4] = 1
    heat = np.zeros((1, 28, 28), np.float32)
    heat[0, :4, 2:6] = 5  # half on, half off
    found = map_figures(PairScores(np.zeros((1, 2)), np.zeros((1, 2)), ("a",), truth, heat))
    assert found["map_iou"] == pytest.approx(8 / 24)
    assert 0.7 < found["pixel_auc"] < 0.8


def test_rows_become_a_table_and_a_picture(tmp_path: Path) -> None:
    base = {"n": 5, "auc_low": 0.5, "auc_high": 0.9}
    rows = [
        {"set": "validation faces", "family": "all", "degradation": "none", "auc": 0.8, **base},
        {
            "set": "genuine forgeries",
            "family": "Deepfakes",
            "degradation": "as found",
            "auc": 0.7,
            "recall": 0.5,
            **base,
        },
    ]
    write_rows(rows, tmp_path / "a.csv")
    with (tmp_path / "a.csv").open() as file:
        assert [row["auc"] for row in csv.DictReader(file)] == ["0.8000", "0.7000"]
    assert draw_accuracy(rows)[:8] == b"\x89PNG\r\n\x1a\n"


def test_curves_of_what_was_answered_become_pictures() -> None:
    scores = dict.fromkeys(("stills", "clips"), LabelledScores(LABELS, P))
    for png in (draw_reliability(scores, bins=4), draw_risk_coverage(scores)):
        assert png[:8] == b"\x89PNG\r\n\x1a\n"


def test_groups_by_hand() -> None:
    assert thirds(np.array([3, 1, 2]), ("low", "mid", "high")) == ["high", "low", "mid"]
    assert [skin_tone(v) for v in (60.0, 30.0, 11.0, -10.0, -60.0, float("nan"))] == [
        "light", "intermediate", "tan", "brown", "dark", "",
    ]  # fmt: skip


def test_false_positives_are_counted_by_group_at_the_shipped_threshold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("detector.benchmark.shortcuts.LEAST", 2)
    detector = Detector.untrained()
    faces = [picture(seed) for seed in range(4)]

    class Always:
        logits = np.array([9.0, 9.0, -9.0, -9.0])  # two of four called forged

    monkeypatch.setattr(detector, "predict", lambda crops, kind: Always)
    rows = shortcut_rows(detector, faces)
    whole = [r for r in rows if r["kind"] == "set" and r["degradation"] == "none"]
    figures = {"n": 4, "logit": 0.0, "spread": 9.0, "false_positives": 0.5}
    assert whole == [{"kind": "set", "group": "made up", "degradation": "none", **figures}]
    assert {r["group"] for r in rows if r["kind"] == "format"} == {
        "as found", "JPEG quality 85", "WebP quality 85", "H.264 crf 23", "half size",
    }  # fmt: skip
    assert {r["group"] for r in rows if r["kind"] == "editing"} == {
        "untouched",
        "skin smoothed",
        "noise reduced",
        "sharpened",
        "corners darkened",
        "black and white",
    }
    placing = [r for r in rows if r["kind"] == "placing"]
    assert {r["group"] for r in placing} == {"1 px off", "3% smaller", "mirror image"}
    assert all(r["moved"] == 0.0 for r in placing)
    assert next(r for r in widest(rows) if r["kind"] == "format")["apart"] == 0.0


def test_false_positives_are_those_of_both_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The two-stream network calls none forged; with CLIP all are, but where the face moved."""
    monkeypatch.setattr(shortcuts, "DEGRADATIONS", {"none": lambda rng: ()})
    monkeypatch.setattr(shortcuts, "TREATMENTS", {})
    detector = Detector.untrained()
    profiles = {**detector.profiles, "image": Profile(fusion=ExpertFusion(1.0, 2.0, 0.0))}
    monkeypatch.setattr(detector, "profiles", profiles)
    plain = []

    def predict_clip(crops: np.ndarray, inside: object = None) -> ClipLogits:
        plain.append(crops)
        logits = np.full(len(crops), 9.0 if np.array_equal(crops, plain[0]) else 0.0)
        return ClipLogits(logits, logits, logits)

    monkeypatch.setattr(detector, "predict_clip", predict_clip)
    authentic = SimpleNamespace(logits=np.full(2, -9.0))
    monkeypatch.setattr(detector, "predict", lambda crops, kind: authentic)
    rows = shortcut_rows(detector, [picture(0), picture(1)])
    found = {row["group"]: (row["false_positives"], round(row["moved"], 2)) for row in rows}
    assert found == dict.fromkeys(PLACINGS, (0.0, 1.0))


def test_a_face_placed_otherwise_is_the_same_face_moved() -> None:
    face = picture(0)
    plain, aside, wide, mirrored = (
        _placed(face, *how) for how in ((0, 1, False), *PLACINGS.values())
    )
    assert np.array_equal(mirrored, plain[:, ::-1])
    x0, _, x1, _ = face.box_xyxy_px
    crop_px = 224 / (1.3 * max(x1 - x0, face.box_xyxy_px[3] - face.box_xyxy_px[1]))
    moved = cv2.warpAffine(plain, np.array([[1, 0, -crop_px], [0, 1, 0]]), (224, 224))
    near = np.abs(moved.astype(float) - aside)[20:-20, 20:-20].mean()
    assert near < 0.2 * np.abs(plain.astype(float) - aside)[20:-20, 20:-20].mean() + 1
    assert not np.array_equal(wide, plain)


def test_the_residual_is_measured_inside_and_outside_the_evidence() -> None:
    crops, denoised = np.full((1, 28, 28, 3), 100, np.uint8), np.full((1, 28, 28, 3), 100, np.uint8)
    denoised[0, :14, :14] = 90
    heat = np.zeros((1, 28, 28), np.float32)
    heat[0, :9, :9] = 1
    found = residual_features(crops, denoised, heat)[0]
    assert found[0] == 10 and found[1] == 0 and 0 < found[3] < 10


def test_the_generators_left_out_are_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authentic = [replace(picture(k), split="train" if k < 3 else "val") for k in range(6)]
    forged = [
        replace(
            picture(k), label=1, source="made", person=person, split="val" if k % 2 else "train"
        )
        for k, person in enumerate(
            ("stylegan2", "stylegan2-sfhq", "sdxl", "sdxl", "flux.1-dev", "flux.1-pro")
        )
    ]
    trained_on: list[set[str]] = []

    def train(
        net: DeepfakeNetwork, pictures: list, config: TrainConfig, out: Path
    ) -> SimpleNamespace:
        assert (
            config.family_weights == {"generated": 1.0} and sum(p.label == 0 for p in pictures) == 6
        )
        trained_on.append({p.person for p in pictures if p.label == 1})
        return SimpleNamespace(learner=SimpleNamespace(averaged=net), images=96)

    monkeypatch.setattr(ablations, "train", train)
    monkeypatch.setattr(
        ablations, "new_network", lambda start: DeepfakeNetwork(NetworkConfig(denoiser_widths=()))
    )
    rows = generator_rows([*authentic, *forged], tmp_path / "start", 1.0, 3, tmp_path)
    stylegan, diffusion, flux = (
        {"stylegan2", "stylegan2-sfhq"},
        {"sdxl"},
        {"flux.1-dev", "flux.1-pro"},
    )
    assert trained_on == [diffusion | flux, stylegan | flux, stylegan | diffusion]
    assert [(row["family"], row["degradation"]) for row in rows[:4]] == [
        ("StyleGAN2, left out", "none"),
        ("StyleGAN2, left out", "medium"),
        ("the others, trained on", "none"),
        ("the others, trained on", "medium"),
    ]
    assert len(rows) == 12 and all(
        0 <= row["auc_low"] <= row["auc"] <= row["auc_high"] <= 1 for row in rows
    )


def test_tracks_come_out_of_the_cache_as_they_went_in(tmp_path: Path) -> None:
    crops = tuple(
        FaceCrop(
            np.full((CROP_PX, CROP_PX, 3), number, np.uint8),
            np.array([[2, 0, 3], [0, 2, 4]], np.float32),
            number,
            number / 2,
            (1.0, 2.0, 30.0, 50.5),
            np.arange(10, dtype=np.float32).reshape(5, 2),
            0.9,
        )
        for number in range(3)
    )
    tracks = (FaceTrack(0, crops[:2]), FaceTrack(4, crops[2:]))
    trackcache._write(tmp_path / "some" / "clip.npz", "video", tracks)
    kind, again = trackcache._read(tmp_path / "some" / "clip.npz")
    assert kind == "video" and [track.track for track in again] == [0, 4]
    for before, after in zip(crops, [c for track in again for c in track.crops], strict=True):
        for name, value in vars(before).items():
            assert np.array_equal(getattr(after, name), value), name
    trackcache._write(tmp_path / "none.npz", "image", ())
    assert trackcache._read(tmp_path / "none.npz") == ("image", ())
