"""Packing for a machine to which little can be sent at once, and a rehearsal of what it runs."""

import os
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from detector.forgery.pictures import load_all
from detector.nets.clip import ClipExpert, encode_base, tuned_state
from detector.training import pack
from tests.training_data import data_folder

ROOT = Path(__file__).resolve().parent.parent
TOWER = "vit_tiny_patch16_224"


def test_packed_faces_are_what_forgeries_are_made_on(tmp_path: Path) -> None:
    data, parts, there = data_folder(tmp_path / "data"), tmp_path / "parts", tmp_path / "there"
    pack.main(["--data", str(data), "--out", str(parts), "--part-mb", "0.1"])
    sizes = [path.stat().st_size for path in sorted(parts.glob("part-*.tar"))]
    assert len(sizes) > 3 and max(sizes) <= 100_000
    for path in parts.glob("part-*.tar"):
        with tarfile.open(path) as archive:
            archive.extractall(there, filter="data")
    before, after = load_all(data, tmp_path, None), load_all(there, tmp_path, None)
    assert [(p.source, p.split, p.label, p.person) for p in after] == [
        (p.source, p.split, p.label, p.person) for p in before
    ]
    # 1.7 times the longer side of the box, 140 px, and the face in the middle of it
    assert after[0].rgb.shape == (238, 238, 3)
    x0, y0, x1, y1 = after[0].box_xyxy_px
    assert (x0 + x1, y0 + y1) == pytest.approx((238, 238), abs=0.3)
    assert (x1 - x0, y1 - y0) == pytest.approx((120, 140), abs=0.2)
    left, top = (np.array(before[0].box_xyxy_px[:2]) - (x0, y0)).round().astype(int)
    inside = before[0].rgb[top + 60 : top + 180, left + 60 : left + 180]
    error = np.abs(after[0].rgb[60:180, 60:180].astype(int) - inside)
    assert error.mean() < 6  # a JPEG's


def test_a_file_that_fits_no_part_is_told(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(200_000))
    with pytest.raises(ValueError, match=r"files below 0.1 MB, but large is larger"):
        pack.write_parts([(tmp_path / "large", "large")], tmp_path, 0.1)


@pytest.mark.slow
def test_the_device_script_trains_both_networks_on_what_was_packed(tmp_path: Path) -> None:
    """Evaluation is left out: it takes minutes, and its commands have tests of their own, as has
    the resumption of both runs.
    """
    torch.manual_seed(0)
    state = encode_base(ClipExpert(tower=TOWER).tower.state_dict())
    save_file(state, tmp_path / "base.safetensors")
    settings = {
        "PYTHON": sys.executable,
        "DATA": str(data_folder(tmp_path / "data")),
        "BASE": str(tmp_path / "base.safetensors"),
        "PARTS": str(tmp_path / "parts"),
        "WORK": str(tmp_path / "work"),
        "MINUTES": "0.03",
        "WORKERS": "0",
        "PAIRS": "2",
        "GENERATED_PAIRS": "8",
        "MANIPULATED_PAIRS": "8",
        "PER_STYLE": "2",
        "VALIDATION_PAIRS": "8",
        "TOWER": TOWER,
    }

    def call(*steps: str) -> str:
        command = ["bash", str(ROOT / "detector/training/on_device.sh"), *steps]
        done = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert call("pack", "unpack", "train").count("started: 12 pictures") == 2
    call("unpack", "collect")  # parts may be unpacked again
    found = load_file(tmp_path / "work" / "clip" / "release.safetensors")
    assert set(found) == set(tuned_state(ClipExpert(tower=TOWER)))
    results = [path.read_bytes() for path in sorted((tmp_path / "work" / "results").iterdir())]
    assert len(results) > 1 and max(map(len, results)) <= 15 * 2**20
    with tarfile.open(fileobj=BytesIO(b"".join(results))) as archive:
        assert {"clip/tuned.safetensors", "two-stream/ema.safetensors"} <= set(archive.getnames())


def test_a_step_that_does_not_exist_is_told() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "detector/training/on_device.sh"), "fly"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr == "expected pack, unpack, train, evaluate or collect, but got fly\n"
