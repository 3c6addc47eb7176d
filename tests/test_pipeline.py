"""A file in, an analysis out: through Python and through the command line."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from explain_faces import analysis_of
from PIL import Image
from skimage.data import astronaut

from detector.__main__ import in_words, main
from detector.contract import analysis_json
from detector.decide import sharpness
from detector.errors import DeviceError, MediaError
from detector.media import write_video
from detector.pipeline import Detector
from detector.profile import DEFAULT_PROFILES, Profile, SharpnessCalibration
from detector.types import Label, Verdict
from detector.weights import pick_device
from explain.explainer import Explainer
from explain.pipeline import ExplainOptions, explain_face

GOLDEN_KEYS = [
    "file",
    "sha256",
    "kind",
    "label",
    "headline",
    "p_fake",
    "logit",
    "reason",
    "part",
    "notes",
    "faces",
    "faces_found",
    "model",
    "timing_s",
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("files")
    face = astronaut()
    Image.fromarray(face).save(folder / "astronaut.png")
    frames = [np.ascontiguousarray(np.roll(face, 2 * i, axis=1)) for i in range(10)]
    write_video(folder / "clip.mp4", frames, fps=10)
    (folder / "broken.mp4").write_bytes(b"\x00\x00\x00\x18ftypmp42 and then nothing of use")
    Image.new("RGB", (300, 200), (40, 90, 160)).save(folder / "sky.jpg")
    return {path.name: path for path in folder.iterdir()}


@pytest.fixture(scope="module")
def untrained() -> Detector:
    return Detector.untrained()


def test_stills_are_read_at_their_sharpness_and_clips_are_not(
    untrained: Detector, files: dict[str, Path]
) -> None:
    # 9 more, less the log-sharpness
    calibrated = Profile(sharpness=SharpnessCalibration(9.0, 0.0, 1.0, 0.0))
    profiles = {**DEFAULT_PROFILES, "image": calibrated}
    reading = Detector.of(untrained.network, untrained.info, profiles)
    still, still_read = (d.analyze(files["astronaut.png"]) for d in (untrained, reading))
    crop = still.faces[0].track.crops[0].rgb
    assert still_read.verdict.logit == pytest.approx(
        still.verdict.logit + 9 - np.log1p(sharpness(crop)), abs=0.05
    )
    clip, clip_read = (d.analyze(files["clip.mp4"], n_frames=3) for d in (untrained, reading))
    assert clip_read.verdict.logit == pytest.approx(clip.verdict.logit, abs=1e-4)
    light = ExplainOptions(methods=("evidence map",), lime=False, check=False)
    for analysis in (still_read, clip_read):  # what is explained is what was scored
        reads = Explainer(reading, analysis.media.kind)
        told = explain_face(reads, analysis, 0, 0, light)
        assert told.logit == pytest.approx(analysis.faces[0].evidence[0].logit, abs=0.02)


def test_the_low_pass_view_has_a_weight_of_its_own_in_clips(
    untrained: Detector, files: dict[str, Path]
) -> None:
    """Half in stills and none in clips: a clip is then scored by one view, a still is not."""
    profiles = {**DEFAULT_PROFILES, "image": Profile(low_pass_weight=0.5)}
    apart = Detector.of(untrained.network, untrained.info, profiles)
    for name, same in (("clip.mp4", True), ("astronaut.png", False)):
        once, seen = (d.analyze(files[name], n_frames=3).verdict.logit for d in (untrained, apart))
        assert (abs(once - seen) < 1e-4) == same


def test_a_photo_is_one_face_in_one_frame(untrained: Detector, files: dict[str, Path]) -> None:
    stages: list[tuple[float, str]] = []
    analysis = untrained.analyze(
        files["astronaut.png"], progress=lambda share, stage: stages.append((share, stage))
    )
    assert analysis.media.kind == "image" and len(analysis.faces) == 1
    assert len(analysis.faces[0].track.crops) == 1
    assert analysis.faces[0].evidence[0].map.shape == (28, 28)
    assert [stage for _, stage in stages] == [
        "Reading the file",
        "Finding faces",
        "Looking at the faces",
        "Done",
    ]
    assert [share for share, _ in stages] == sorted(share for share, _ in stages)


def test_the_contract_for_a_clip(untrained: Detector, files: dict[str, Path]) -> None:
    result = analysis_json(untrained.analyze(files["clip.mp4"], n_frames=5))
    assert list(result) == GOLDEN_KEYS
    assert (
        result["file"] == "clip.mp4" and result["kind"] == "video" and len(result["sha256"]) == 64
    )
    (face,) = result["faces"]
    assert list(face) == [
        "track", "label", "headline", "p_fake", "logit", "reason", "part", "evidence", "frames",
    ]  # fmt: skip
    assert face["evidence"] == {"manipulated": None, "generated": None}  # one network: one question
    assert [list(frame) for frame in face["frames"]] == [["index", "t", "p_fake", "box_xyxy"]] * 5
    assert [frame["t"] for frame in face["frames"]] == sorted(
        frame["t"] for frame in face["frames"]
    )
    assert all(
        len(frame["box_xyxy"]) == 4 and 0 <= frame["p_fake"] <= 1 for frame in face["frames"]
    )
    assert result["model"] == {"name": "untrained", "sha256": "0" * 64}
    assert set(result["timing_s"]) == {"open", "detect", "embed", "total"}
    mean = np.mean([np.log(f["p_fake"] / (1 - f["p_fake"])) for f in face["frames"]])
    assert face["logit"] == pytest.approx(mean, abs=1e-3)  # the mean head, uncalibrated here


def test_no_face_is_a_label_with_a_reason(untrained: Detector, files: dict[str, Path]) -> None:
    result = analysis_json(untrained.analyze(files["sky.jpg"]))
    assert result["label"] == "no_face" and result["p_fake"] is None and result["faces"] == []
    assert result["reason"] == "No face was found, and this detector judges faces only."


def test_raising_in_progress_cancels(untrained: Detector, files: dict[str, Path]) -> None:
    class CancelledError(Exception):
        pass

    def stop(share: float, stage: str) -> None:
        if stage == "Finding faces":
            raise CancelledError

    with pytest.raises(CancelledError):
        untrained.analyze(files["astronaut.png"], progress=stop)


def test_the_same_file_gives_the_same_answer_in_any_batch(untrained: Detector) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (9, 224, 224, 3)).astype(np.uint8)
    together, alone = (untrained.predict(some, kind="image") for some in (crops, crops[:1]))
    assert untrained.predict(crops, kind="image").logits.tolist() == together.logits.tolist()
    # bf16 in batches of 8 and more, fp32 below
    assert together.logits[0] == pytest.approx(alone.logits[0], abs=0.05)


@pytest.mark.parametrize("name", ["astronaut.png", "clip.mp4"])
def test_the_same_file_gives_the_same_answer_again_and_with_any_number_of_threads(
    untrained: Detector, files: dict[str, Path], name: str
) -> None:
    """To the last bit with as many threads; to 0.001 with others, which add in another order."""
    threads, answers = torch.get_num_threads(), []
    try:
        for count in (1, 1, 2, 2):
            torch.set_num_threads(count)
            answers.append(analysis_json(untrained.analyze(files[name], n_frames=4)))
    finally:
        torch.set_num_threads(threads)
    for answer in answers:
        answer.pop("timing_s")
    assert answers[0] == answers[1] and answers[2] == answers[3]
    assert answers[0]["label"] == answers[2]["label"]
    assert answers[0]["p_fake"] == pytest.approx(answers[2]["p_fake"], abs=1e-3)
    assert len(answers[0]["faces"]) == len(answers[2]["faces"]) == 1


def test_devices_are_checked() -> None:
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(DeviceError, match="must be auto, cpu or cuda"):
        pick_device("tpu")


def test_a_broken_file_is_one_sentence_without_its_folder(
    untrained: Detector, files: dict[str, Path]
) -> None:
    with pytest.raises(MediaError) as caught:
        untrained.analyze(files["broken.mp4"])
    assert str(files["broken.mp4"].parent) not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_command_line_goes_on_after_a_broken_file(
    files: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("astronaut.png", "clip.mp4", "broken.mp4")
    status = main(["analyze", *(str(files[n]) for n in names), "--json", "--frames", "4"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert status == 1
    assert [line["file"] for line in lines] == list(names)
    assert list(lines[2]) == ["file", "error"] and lines[2]["error"]["type"] == "MediaError"
    assert lines[0]["label"] != "forged"  # the authentic astronaut, by the shipped weights


def test_command_line_usage_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "detector", "analyze"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "usage" in done.stderr and done.stdout == ""
    assert main(["analyze", "x.png", "--model", "nobody"]) == 2
    assert "No model is called 'nobody'" in capsys.readouterr().err


def test_labels_are_the_contracts() -> None:
    assert [str(label) for label in Label] == ["forged", "authentic", "uncertain", "no_face"]
    headlines = [label.headline for label in Label]
    assert headlines == ["forged-looking", "authentic-looking", "cannot say", "no face"]


def test_the_command_line_says_the_headline_its_score_and_every_face() -> None:
    one = analysis_of([astronaut()] * 3, p_fake=0.9, name="clip.mp4")
    part = Verdict(Label.FORGED, "It looks so.", 0.97, 3.0, (1.5, 2.9))
    assert in_words(replace(one, verdict=part)) == (
        "clip.mp4: Part of this clip looks forged: 1.5-2.9 s (score 0.97). It looks so."
    )
    surely = replace(part, p_fake=0.9999)
    assert "1.5-2.9 s (score above 0.99). It" in in_words(replace(one, verdict=surely))
    two = replace(one, faces=one.faces * 2, verdict=replace(one.verdict, faces=(1, 2)))
    assert in_words(two) == (
        "clip.mp4: 1 of 2 faces looks forged (score 0.90). Told so by the test. "
        "By face: face 0 forged-looking (score 0.90); face 0 forged-looking (score 0.90)."
    )
