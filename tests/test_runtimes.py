"""The comparison of runtimes."""

import pytest
import torch

from detector.benchmark import runtimes
from detector.benchmark.__main__ import main


def test_runtimes_that_are_not_installed_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {
        name: made
        for name, made in runtimes.RUNTIMES.items()
        if name in ("torch fp32", "ONNX Runtime fp32")
    }
    again = {"torch again": ("torch", lambda net, folder: runtimes.eager(net, False))}
    monkeypatch.setattr(
        runtimes, "RUNTIMES", {**kept, **again, "elsewhere": ("no_such_package", None)}
    )
    monkeypatch.setattr(runtimes, "find_spec", lambda package: package == "torch" or None)
    monkeypatch.setattr(runtimes, "BATCHES", (1, 2))
    threads = torch.get_num_threads()
    assert main(["runtimes", "--threads", str(threads)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["torch fp32", "torch again"]
    assert "off 0.000  start_s" in lines[1] and "ms_per_crop_2" in lines[1]
