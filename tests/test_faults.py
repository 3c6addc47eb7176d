"""What breaks around the program: memory, disk, folders, the clock.

Damaged weights are in test_weights.py, a killed training in test_training_run.py, SIGTERM in
test_served.py.
"""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
import torch
from fuzz_files import picture

from detector.errors import WeightsError
from detector.pipeline import Detector
from explain import page
from explain.cli import main
from explain.report import write_whole
from explain.server.api import answered

ROOT = Path(__file__).resolve().parent.parent


# ----------------------------------------------------------------------------------------------
# memory


class OnPretendedGpu(Detector):
    """There is no GPU in a test: the device is what is said, until the network is moved."""

    device = torch.device("cuda")


def short_of_memory(detector: Detector, most: int) -> list[int]:
    """Let the network run out of memory above a batch of `most` unless it is on the CPU; return the
    batches tried.
    """
    tried: list[int] = []
    tensor = detector.tensor

    def careful(crops: np.ndarray) -> torch.Tensor:
        tried.append(len(crops))
        if len(crops) > most and detector.device.type == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        here = detector.device
        detector.device = torch.device("cpu")  # there is no GPU in a test
        try:
            return tensor(crops)
        finally:
            detector.device = here

    def moved(device: torch.device) -> torch.nn.Module:
        detector.device = device
        return detector.network

    detector.__class__ = OnPretendedGpu
    detector.tensor = careful  # type: ignore[method-assign]
    detector.network.to = moved  # type: ignore[assignment]
    return tried


@pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning")
@pytest.mark.parametrize(
    ("most", "batches", "device"), [(3, [12, 6, 3, 3, 3, 3], "cuda"), (0, [12, 6, 3, 1, 1], "cpu")]
)
def test_a_full_gpu_means_smaller_batches_and_then_the_cpu(
    most: int, batches: list[int], device: str
) -> None:
    crops = np.random.default_rng(0).integers(0, 256, (12, 224, 224, 3), np.uint8)
    detector = Detector.untrained()
    with torch.autocast("cpu", enabled=False):
        expected = np.concatenate(
            [detector.predict(crops[i : i + 1], kind="image").logits for i in range(12)]
        )
        tried = short_of_memory(detector, most)
        predictions = detector.predict(crops, kind="image")
    assert tried[: len(batches)] == batches
    assert detector.device.type == device
    np.testing.assert_allclose(predictions.logits, expected, atol=1e-3)


def test_memory_that_is_short_on_the_cpu_too_is_an_error() -> None:
    detector = Detector.untrained()

    def none_left(crops: np.ndarray) -> torch.Tensor:
        raise torch.OutOfMemoryError("out of memory")

    detector.tensor = none_left  # type: ignore[method-assign]
    with pytest.raises(torch.OutOfMemoryError):
        detector.predict(np.zeros((2, 224, 224, 3), np.uint8), kind="image")


# ----------------------------------------------------------------------------------------------
# disk


def test_a_full_disk_leaves_the_old_report_whole_and_no_half_of_the_new(tmp_path: Path) -> None:
    """A limit on the size of files fails in the middle of writing, as a full disk does."""
    path = write_whole(tmp_path / "report.html", b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(OSError):
            write_whole(path, bytes(200_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    assert path.read_bytes() == b"old"


def test_no_folder_for_temporary_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(page, "TemporaryDirectory", none)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        with pytest.raises(
            SystemExit, match=r"^The page cannot be served: No usable temporary directory found"
        ):
            main(["serve"])
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def test_no_cache_can_be_written(tmp_path: Path) -> None:
    """A home and caches that are files: nothing can be made below them, whoever asks."""
    nowhere = tmp_path / "file"
    nowhere.write_text("")
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture("PNG"))
    variables = (
        "HOME",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "MPLCONFIGDIR",
        "TORCH_HOME",
        "HF_HOME",
        "NUMBA_CACHE_DIR",
    )
    env = {**os.environ, **dict.fromkeys(variables, str(nowhere / "below"))}
    command = [sys.executable, "-m", "detector", "analyze", str(photo), "--json", "--device", "cpu"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] in ("forged", "authentic", "uncertain", "no_face")


# ----------------------------------------------------------------------------------------------
# the page


def test_damaged_weights_are_one_sentence_of_the_api() -> None:
    def damaged(path: str) -> dict:
        raise WeightsError("The weights file a.safetensors is missing.")

    error = {"type": "WeightsError", "message": "The weights file a.safetensors is missing."}
    assert answered(damaged)("/somewhere/photo.jpg") == {"file": "photo.jpg", "error": error}


def test_a_fault_of_ours_names_no_file_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    def broken(path: str) -> dict:
        raise ZeroDivisionError(path)

    with (
        caplog.at_level(logging.ERROR, logger="deepfake_lens"),
        pytest.raises(gr.Error, match="wrong on our side"),
    ):
        answered(broken)("/somewhere/private.jpg")
    assert [record.message.split(" at ")[0] for record in caplog.records] == ["ZeroDivisionError"]
    assert "private" not in caplog.text
