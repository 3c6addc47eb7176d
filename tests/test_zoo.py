"""The comparison of recipes: the same material for all, one row each, one command."""

import csv
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from training_data import LANDMARKS, picture, tiny_recipe

from detector.benchmark import zoo
from detector.benchmark.__main__ import main
from detector.pipeline import Detector
from detector.training.recipes import catalogue
from detector.training.recipes.catalogue import Stage


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A data folder with six made-up faces."""
    (tmp_path / "faces").mkdir()
    points = {
        f"lm{i}{axis}": float(LANDMARKS[i, k]) for i in range(5) for k, axis in enumerate("xy")
    }
    rows: list[dict[str, Any]] = []
    for k in range(6):
        one = picture(k)
        cv2.imwrite(str(tmp_path / "faces" / f"{k}.png"), one.rgb)
        box = dict(zip(("x0", "y0", "x1", "y1"), one.box_xyxy_px, strict=True))
        rows.append(
            {
                "file": f"{k}.png",
                "set": "made up",
                "split": "train" if k < 4 else "val",
                **box,
                **points,
            }
        )
    with (tmp_path / "faces.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


def test_all_recipes_see_the_same_pairs() -> None:
    made = [
        zoo.material([picture(k) for k in range(3)], 2, zoo.Budget(frames=2), 1) for _ in range(2)
    ]
    assert made[0].stack.shape == (4, 2, 224, 224, 3)
    assert made[0].labels.tolist() == [0, 1, 0, 1]
    assert list(made[0].originals) == ["pair 0", "pair 0", "pair 1", "pair 1"]
    assert np.array_equal(made[0].stack, made[1].stack)
    assert not np.array_equal(made[0].stack[0], made[0].stack[1])


def test_one_command_one_row_a_recipe_and_the_trained_model_last(
    faces: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = tiny_recipe(Stage(1, "adam", 1e-3))
    monkeypatch.setitem(catalogue.RECIPES, "tiny", tiny)
    monkeypatch.setattr(zoo, "Detector", lambda model: Detector.untrained())
    # Accelerate knows one precision in a process
    monkeypatch.setattr(zoo, "bf16_pays", lambda: False)
    small = partial(zoo.Budget, frames=2, held_pairs=2, test_pairs=3)
    monkeypatch.setattr(zoo, "Budget", small)
    out = faces / "out"
    assert (
        main(["zoo", "--faces", str(faces), "--recipes", "tiny", "--pairs", "8", "--out", str(out)])
        == 0
    )
    with (out / "zoo.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["recipe"] for row in rows] == ["tiny", "untrained (trained)"]
    assert rows[0]["start"] == "scratch" and 0 <= float(rows[0]["auc"]) <= 1
    assert float(rows[0]["parameters_m"]) == pytest.approx(0.32, abs=0.1)
    # of one pass of two steps: where it began and where it ended
    assert rows[0]["loss_first"] != rows[0]["loss_last"]
    assert float(rows[0]["ms_per_image"]) > 0 and int(rows[0]["images_seen"]) == 16
    assert "untrained (trained)" in capsys.readouterr().out
    assert (out / "tiny" / "model" / "manifest.json").is_file()
