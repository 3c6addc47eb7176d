import csv
from functools import partialmethod
from pathlib import Path

import numpy as np
import pytest
from explain_faces import BOX, LANDMARKS, astronaut, detector

from detector.forgery.pictures import LabelledFace
from explain import benchmark
from explain.benchmark import Row, claims, forge_pairs, summarise, table
from explain.explainer import Explainer

PICTURE = LabelledFace(astronaut(), BOX, LANDMARKS, "built-in", "astronaut", "val", 0)


def row(name: str, **values: float) -> Row:
    return {"map": name, **values}


def test_pairs_differ_only_inside_their_mask() -> None:
    pairs = list(forge_pairs([PICTURE], 4, np.random.default_rng(0)))
    assert len(pairs) == 4
    for pair in pairs:
        assert pair.forged.shape == pair.authentic.shape == (224, 224, 3) and pair.mask.shape == (
            224,
            224,
        )
        change = np.abs(pair.forged.astype(int) - pair.authentic).sum(-1)
        assert change[pair.mask].mean() > 5 * change[~pair.mask].mean()
        assert 0.005 <= pair.mask.mean() < 1
    again = next(forge_pairs([PICTURE], 1, np.random.default_rng(0)))
    np.testing.assert_array_equal(again.forged, pairs[0].forged)


def test_summary_by_hand() -> None:
    rows = [
        row("a", pixel_auc=0.9, shuffle=0.1),
        row("a", pixel_auc=0.7),
        row("random", deletion=0.5),
    ]
    first, second = summarise(rows)
    assert (first["pixel_auc"], first["pixel_auc_n"]) == (pytest.approx(0.8), 2)
    assert first["pixel_auc_ci"] == pytest.approx(1.96 * 0.1)  # deviation 0.1414 over the root of 2
    assert (first["shuffle"], first["shuffle_ci"], first["deletion_n"]) == (0.1, 0.0, 0)
    assert second == {
        "map": "random", "deletion": 0.5, "deletion_ci": 0.0,
        **{f"{key}_n": int(key == "deletion") for key in benchmark.MEASURES},
    }  # fmt: skip
    assert "0.800 +-0.196" in table([first, second])


def summary_of(deletion: float, shuffle: float) -> list[Row]:
    best = row("evidence map", pixel_auc=0.975, shuffle=shuffle)
    best |= {"deletion": deletion, "deletion_ci": 0.02, "insertion": 0.8, "insertion_ci": 0.02}
    others = [
        row(c, deletion=0.5, deletion_ci=0.02, insertion=0.5, insertion_ci=0.02)
        for c in ("random", "centre", "edges")
    ]
    return [best, *others, row("EigenCAM, rgb stream", shuffle=0.9)]


def test_claims() -> None:
    seconds = {"Grad-CAM s": 0.1, "LIME s": 6.0, "whole explanation s": 7.0}
    # number, deletion of the map and of a control
    faces = [(0, 0.2, 0.3), (1, 0.3, 0.5), (2, 0.4, 0.7)]
    rows = [{"face": n, "map": "evidence map", "deletion": ours} for n, ours, _ in faces]
    rows += [{"face": n, "map": "centre", "deletion": theirs} for n, _, theirs in faces]
    found = {claim.text: claim.holds for claim in claims(rows, summary_of(0.2, -0.1), seconds)}
    assert found["evidence map deletion beats centre on the same faces by 0.200 +-0.113"] is True
    assert found["evidence map insertion beats edges on the same faces by 0.000 +-inf"] is False
    assert found["evidence map pixel AUC 0.975 >= 0.97"] is True
    assert found["evidence map deletion beats centre, intervals apart"] is True
    assert found["evidence map: rank correlation -0.10 after shuffling"] is True
    assert found["LIME 6.00 s <= 5.0 s"] is False and found["Grad-CAM 0.10 s <= 0.3 s"] is True
    assert not any("EigenCAM" in text for text in found)  # it knows no class
    worse = {claim.text: claim.holds for claim in claims([], summary_of(0.47, 0.5), seconds)}
    # lower, but the intervals touch
    assert worse["evidence map deletion beats centre, intervals apart"] is False
    assert worse["evidence map: rank correlation +0.50 after shuffling"] is False


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "Detector", lambda model, device: detector())
    monkeypatch.setattr(benchmark, "built_in_pictures", lambda detector: [PICTURE])
    monkeypatch.setattr(benchmark, "timings", lambda detector, crop: {"Grad-CAM s": 0.1})
    monkeypatch.setattr(benchmark, "SHUFFLES", 1)
    monkeypatch.setattr(Explainer, "report_card", partialmethod(Explainer.report_card, steps=2))
    monkeypatch.setattr(benchmark, "TOLD_APART", -9.0)  # the untrained detector tells nothing apart
    assert (
        benchmark.main(
            ["--faces", "1", "--slow-faces", "0", "--out", str(tmp_path), "--threads", "1"]
        )
        == 1
    )
    with (tmp_path / "faces.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [r["map"] for r in rows][:2] == ["evidence map", "Grad-CAM, rgb stream"]
    assert [r["map"] for r in rows][-3:] == ["random", "centre", "edges"]
    assert rows[0]["deletion"] != "" and rows[-1]["pixel_auc"] == ""
    assert "FAILS  evidence map pixel AUC" in capsys.readouterr().out


def test_missing_data_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(benchmark, "Detector", lambda model, device: detector())
    assert (
        benchmark.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--threads", "1"])
        == 1
    )
    assert capsys.readouterr().err == "Expected a folder faces with faces.csv beside it.\n"
