"""The speed benchmark, and the guard on what an answer costs: operations are counted, seconds are
not.
"""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from explain_faces import analysis_of, astronaut
from PIL import Image

from detector.decoding import clips, decode
from detector.media import write_video
from detector.pipeline import Detector
from detector.predictions import ClipLogits
from detector.profile import ExpertFusion, Profile
from explain.explainer import Explainer
from explain.map_test import run_map_test
from explain.pipeline import explain_face
from explain.report import build_report
from explain.speed import baseline, floor, inputs, stages
from explain.speed.__main__ import main

ROOT = Path(__file__).resolve().parent.parent


def kept_rows() -> list[dict[str, str]]:
    with (ROOT / "weights" / "speed.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_network_costs_no_more_per_crop() -> None:
    assert stages.gflop_per_crop(Detector()) == pytest.approx(2.337, rel=0.02)


def test_the_kept_table_is_of_this_network() -> None:
    """weights/speed.csv, as `python -m explain.speed --baseline --out weights` writes
    it.
    """
    rows = kept_rows()
    assert all(row["date"] and row["machine"] for row in rows)
    costs = [float(row["gflop_per_crop"]) for row in rows if row["gflop_per_crop"]]
    assert costs and costs == pytest.approx(
        [stages.gflop_per_crop(Detector())] * len(costs), rel=0.02
    )


def test_lime_takes_a_quarter_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector.untrained()
    batches: list[int] = []

    def answer(crops: np.ndarray, profile: Profile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        batches.append(len(crops))
        return crops.mean((1, 2, 3)), np.zeros((len(crops), 28, 28)), np.zeros((len(crops), 1))

    monkeypatch.setattr(detector, "_predict_batch", answer)
    Explainer(detector, "image").explain_regions(astronaut())
    assert batches == [16] * 12
    assert sum(batches) < baseline.LIME_SAMPLES / 3


def test_an_explanation_scores_so_many_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    detector = Detector.untrained()
    pictures: list[int] = []
    predict = detector._predict_batch
    monkeypatch.setattr(
        detector,
        "_predict_batch",
        lambda crops, profile: pictures.append(len(crops)) or predict(crops, profile),
    )
    explainer = Explainer(detector, "image")
    analysis = analysis_of([astronaut()])
    explain_face(explainer, analysis)
    # LIME's samples; five maps and three controls at seven points twice, both ends, ROAD's two a
    # map; the crop, the crop saved again, and each of four parts of the face hidden
    assert sum(pictures) == 192 + (2 + 8 * 14 + 5 * 2) + 6
    pictures.clear()
    found = run_map_test(explainer, analysis.faces[0].track.crops[0].rgb)
    # each map after the first is spared the controls
    assert sum(pictures) == 2 + 4 * 14 + 2 + (len(found.grades) - 1) * (2 + 14 + 2)


def test_clip_sees_eight_frames_of_a_clip_and_32_faces_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    detector = Detector.untrained()
    seen: list[int] = []

    def answer(crops: np.ndarray, seen_px: np.ndarray | None = None) -> ClipLogits:
        seen.append(len(crops))
        return ClipLogits(*np.zeros((3, len(crops)), np.float32))

    monkeypatch.setattr(detector, "predict_clip", answer)
    profile = Profile(fusion=ExpertFusion(1.0, 1.0, 1.0))
    track = analysis_of([astronaut()] * 24).faces[0].track
    for faces in (1, 8):
        assert len(detector.clip_of_tracks([track] * faces, profile)) == faces
    assert seen == [8, 8 * 4]


def test_a_clip_is_scored_in_large_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    spec = inputs.Input(320, 240, 1, 2)
    path = tmp_path / "clip.mp4"
    write_video(path, inputs._frames(spec), inputs.FPS)
    detector = Detector.untrained()
    batches: list[int] = []
    pixels: list[int] = []
    predict, search = detector._predict_batch, detector.finder._search
    monkeypatch.setattr(
        detector,
        "_predict_batch",
        lambda crops, profile: batches.append(len(crops)) or predict(crops, profile),
    )
    monkeypatch.setattr(
        detector.finder,
        "_search",
        lambda scaled, px: pixels.append(scaled[..., 0].size) or search(scaled, px),
    )
    analysis = detector.analyze(path)
    assert [len(face.track.crops) for face in analysis.faces] == [24]
    assert batches == [16, 8 + 4]  # with the four that are saved as JPEG for the check of stability
    # frames 0, 4, ..., 20, 23 whole; the face in the others
    assert sum(pixels) == 7 * 320 * 240 + 17 * 192 * 192


def counted(monkeypatch: pytest.MonkeyPatch, detector: Detector) -> dict[str, int]:
    """What each network sees from now on: px of MTCNN's first one, crops of the other two."""
    seen = {"first px": 0, "two-stream": 0, "clip": 0, "passes": 0}

    def watched(module: torch.nn.Module, arguments: tuple[torch.Tensor, ...]) -> None:
        seen["first px"] += arguments[0][:, 0].numel()

    def predict(crops: np.ndarray, profile: Profile) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        seen["two-stream"] += len(crops)
        seen["passes"] += 1
        shapes = [(len(crops),), (len(crops), 28, 28), (len(crops), 512)]
        return tuple(np.zeros(shape, np.float32) for shape in shapes)

    def predict_clip(crops: np.ndarray, inside: np.ndarray | None = None) -> ClipLogits:
        seen["clip"] += len(crops)
        return ClipLogits(*np.zeros((3, len(crops)), np.float32))

    detector.finder.cascade().networks.pnet.register_forward_pre_hook(watched)
    monkeypatch.setattr(detector, "_predict_batch", predict)
    monkeypatch.setattr(detector, "predict_clip", predict_clip)
    both = Profile(fusion=ExpertFusion(1.0, 1.0, 1.0))
    monkeypatch.setattr(detector, "profiles", {"image": both, "video": both})
    return seen


def test_what_a_photo_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path, detector = tmp_path / "photo.jpg", Detector.untrained()
    Image.fromarray(next(inputs._frames(inputs.Input(1600, 1200, 1)))).save(path, quality=92)
    seen = counted(monkeypatch, detector)
    analysis = detector.analyze(path)
    assert len(analysis.faces) == 1
    # the crop, and the crop saved again, which CLIP is spared
    assert {name: seen[name] for name in ("two-stream", "passes", "clip")} == {
        "two-stream": 2,
        "passes": 1,
        "clip": 1,
    }
    # a pyramid of 640 px, and one of 1600 for what is too small there
    assert seen["first px"] == 812_938


def test_a_report_of_a_clip_costs_no_more_passes_than_one_of_a_photo(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    detector = Detector.untrained()
    photo, clip = analysis_of([astronaut()]), analysis_of([astronaut()] * 24)
    seen = counted(monkeypatch, detector)
    costs = []
    for analysis in (photo, clip):
        seen.update(dict.fromkeys(seen, 0))
        build_report(Explainer(detector, analysis.media.kind), analysis)
        costs.append(dict(seen))
    # the crop, the crop saved again, and each of four parts of the face hidden
    assert costs == [{"first px": 0, "two-stream": 322, "clip": 6, "passes": 22}] * 2


def test_a_short_clip_is_decoded_once(tmp_path: Path, decoded: list[int]) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, [np.full((32, 48, 3), i, np.uint8) for i in range(120)], fps=30)
    assert len(decode(path, 12).frames) == 12
    assert len(decoded) <= 120


def test_a_clip_ten_times_as_long_decodes_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, decoded: list[int]
) -> None:
    frames = [np.full((32, 48, 3), i % 200, np.uint8) for i in range(300)]
    # a tenth, as the clips are a tenth of a minute and of ten
    monkeypatch.setattr(clips, "MAX_DECODED", 150)
    costs = []
    for times in (1, 10):
        write_video(tmp_path / f"{times}.mp4", frames * times, fps=30)
        decoded.clear()
        assert len(decode(tmp_path / f"{times}.mp4", 12).frames) == 12
        costs.append(len(decoded))
    assert costs[1] <= 1.3 * costs[0]


def test_a_long_input_is_a_short_one_over_and_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(inputs, "LOOP_S", 1)
    monkeypatch.setitem(inputs.INPUTS, "clip", inputs.Input(96, 64, 1, 3))
    decoded = decode(inputs.write_input("clip", tmp_path), 90)
    pictures = [frame.rgb for frame in decoded.frames]
    assert [frame.index for frame in decoded.frames] == list(range(90))
    assert decoded.duration_s == 3.0
    assert np.array_equal(pictures[0], pictures[30])
    assert np.array_equal(pictures[29], pictures[89])
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_floor_is_of_the_products_alone() -> None:
    layer = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.GELU(), torch.nn.Linear(256, 8))
    image, kernel = torch.ones(1, 3, 32, 32), torch.ones(4, 3, 3, 3)

    @torch.inference_mode()
    def work() -> None:
        for rows in (8, 8, 16):
            layer(torch.ones(rows, 64))
        torch.nn.functional.conv2d(image, kernel)

    with floor._Recorder() as recorder:
        work()
    # two layers of eight rows, twice, and of sixteen; a convolution; no activation
    assert sorted(recorder.counts.values()) == [1, 1, 1, 2, 2]
    with floor._Recorder() as outside:  # where gradients are kept, layers arrive in parts
        layer(torch.ones(8, 64))
    assert sum(outside.counts.values()) == 2
    assert 0 < floor.floor_s(work) < 1


@pytest.mark.slow
def test_a_clip_is_as_much_faster_than_the_baseline_as_the_kept_table_says(tmp_path: Path) -> None:
    """Ratios of one run on one machine; half of what is kept is allowed to other processors and to
    work beside.
    """
    kept = {
        row["stage"]: float(row["times_faster"])
        for row in kept_rows()
        if row["input"] == "clip-10s-720p" and row["threads"] == "1" and row["times_faster"]
    }
    task = stages.Task(
        "clip-10s-720p", inputs.write_input("clip-10s-720p", tmp_path), 1, 1, True, "cpu", None
    )
    threads = torch.get_num_threads()
    try:
        rows = stages.measure(task)
    finally:
        torch.set_num_threads(threads)
    found = {row["stage"]: row["times_faster"] for row in rows if "times_faster" in row}
    # decoding is OpenCV's and FFmpeg's own affair, with as many threads as they like
    for stage in ("detect", "total"):
        assert found[stage] > 0.5 * kept[stage], (stage, found, kept)


@pytest.mark.slow
def test_the_command_prints_a_table_with_ratios(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(baseline, "LIME_SAMPLES", 20)
    monkeypatch.setitem(inputs.INPUTS, "photo-12mp", inputs.Input(640, 480, 1))
    task = stages.Task(
        "photo-12mp", inputs.write_input("photo-12mp", tmp_path), 1, 1, True, "cpu", None
    )
    rows = stages.measure(task)
    assert [row["stage"] for row in rows if row["method"] == "ours"] == list(stages.STAGES)
    assert all(row["median_ms"] >= 0 for row in rows)
    ratios = {row["stage"]: row["times_faster"] for row in rows if "times_faster" in row}
    assert {"decode", "detect", "embed", "LIME", "total"} <= set(ratios)
    floors = {row["stage"]: row["floor_ms"] for row in rows if "floor_ms" in row}
    assert list(floors) == ["detect", "embed", "clip"]
    cpu = {row["stage"]: row["cpu_ms"] for row in rows if row["method"] == "ours"}
    assert all(0 < floors[stage] < cpu[stage] for stage in floors)
    assert cpu["start"] is None
    (share,) = [row["share_of_matmul"] for row in rows if "share_of_matmul" in row]
    assert 0 < share < 2
    table = stages.draw_table(rows).splitlines()
    assert table[0].startswith("| input | threads | method | stage | median_ms |") and len(
        table
    ) == 2 + len(rows)
    with pytest.raises(SystemExit):
        main(["--inputs", "nothing"])
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
