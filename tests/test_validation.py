"""The three figures of the validation set, on tables small enough to check by hand."""

from pathlib import Path

import numpy as np
import pytest

from detector.benchmark.__main__ import main
from detector.benchmark.validation import (
    ScoredFile,
    authentic_half,
    comparisons,
    figure_of,
    macro,
    paired_rows,
    read_scores,
    resamples,
    summary_rows,
    within_original,
    write_scores,
)

CLIP, SWAP = "authentic clip (FaceForensics++ c23)", "FaceSwap (FaceForensics++ c23)"
PHOTO, MADE = "authentic FFHQ photo", "Stable Diffusion 2.1 face"


def file(name: str, kind: str, type_: str, label: int, p: float, original: str = "") -> ScoredFile:
    return ScoredFile(name, kind, type_, label, original, p, p * 10 - 5, p * 10 - 5, p > 0.8)


def table(shift: float = 0.0) -> list[ScoredFile]:
    """Ten clips with a swap each, ten photos and ten generated pictures, half of them found."""
    rows = []
    for i in range(10):
        rows.append(file(f"a{i}", "video", CLIP, 0, 0.05 * i))
        rows.append(file(f"s{i}", "video", SWAP, 1, 0.05 * i + 0.5 + shift, f"a{i}"))
        rows.append(file(f"p{i}", "image", PHOTO, 0, 0.1))
        rows.append(file(f"g{i}", "image", MADE, 1, 0.9 if i % 2 else 0.1))
    return rows


def test_each_type_belongs_to_one_of_three_figures() -> None:
    assert figure_of(SWAP, "video") == "swaps in clips"
    assert figure_of("GAN face swap (OpenForensics)", "image") == "swaps in stills"
    assert figure_of(MADE, "image") == "generated pictures"


def test_a_type_is_held_against_its_own_authentic_half() -> None:
    rows = table()
    assert {rows[i].type for i in authentic_half(SWAP, "video", rows)} == {CLIP}
    assert {rows[i].type for i in authentic_half(MADE, "image", rows)} == {PHOTO}
    # no half of its own: all authentic files of the kind
    assert {rows[i].type for i in authentic_half("talking head", "video", rows)} == {CLIP}


def test_restored_photos_are_in_no_authentic_half() -> None:
    restored = "authentic photo, restored by a network (GPEN): report, do not pool"
    rows = [*table(), file("r", "image", restored, 0, 0.99)]
    assert {rows[i].type for i in authentic_half("new swap", "image", rows)} == {PHOTO}
    by_family = {row["family"]: row for row in summary_rows(rows)}
    assert by_family[restored]["false_positives"] == 1.0
    assert by_family["all stills"]["false_positives"] == 0.0


def test_the_longest_name_that_fits_chooses_the_half() -> None:
    matched = "authentic FFHQ photo (matched pairs)"
    rows = [*table(), file("m", "image", matched, 0, 0.2)]
    half = authentic_half("StyleGAN3 face (matched pairs)", "image", rows)
    assert [rows[i].file for i in half] == ["m"]


def test_the_figures_are_means_over_types() -> None:
    rows = table()
    scores = np.array([row.p_fake for row in rows])
    found = macro(comparisons(rows), scores, np.ones(len(rows), np.int64))
    # every swap lies above every original; of the generated half lie above, half level
    assert found == {"swaps in clips": 1.0, "generated pictures": 0.75}


def test_small_types_have_a_row_but_no_say() -> None:
    rows = [*table(), file("x", "video", "GHOST face swap", 1, 0.0)]
    by_family = {row["family"]: row for row in summary_rows(rows)}
    assert by_family["macro: swaps in clips"]["auc"] == 1.0
    # level with one of ten authentic clips
    assert by_family["GHOST face swap"]["auc"] == pytest.approx(0.05)


def test_a_forgery_and_its_original_are_drawn_together() -> None:
    rows = table()
    drawn = resamples(rows, times=20)
    at = {row.file: i for i, row in enumerate(rows)}
    for i in range(10):
        assert (drawn[:, at[f"a{i}"]] == drawn[:, at[f"s{i}"]]).all()
    assert drawn.std() > 0


def test_within_original_counts_known_originals_only() -> None:
    assert within_original(table()) == (10, 10)
    assert within_original(table(shift=-0.6)) == (0, 10)


def test_recall_and_false_positives_use_what_was_said() -> None:
    by_family = {row["family"]: row for row in summary_rows(table())}
    assert by_family["all clips"] == {
        "set": "genuine forgeries",
        "family": "all clips",
        "degradation": "as found",
        "n": 20,
        "recall": 0.3,
        "false_positives": 0.0,
    }


def test_two_models_are_compared_on_the_same_draws(tmp_path: Path, capsys) -> None:
    paths = [tmp_path / "before.csv", tmp_path / "after.csv"]
    for path, rows in zip(paths, (table(shift=-0.4), table()), strict=True):
        write_scores(rows, path)
        assert read_scores(path) == rows
    assert main(["compare", *map(str, paths)]) == 0
    assert "swaps in clips" in capsys.readouterr().out
    clips, made = paired_rows(table(shift=-0.4), table())
    assert clips["difference"] > 0 and clips["low"] > 0
    assert made["difference"] == made["low"] == made["high"] == 0.0


def test_tables_of_different_sets_are_refused() -> None:
    with pytest.raises(ValueError, match="share no file"):
        paired_rows(table(), [file("other", "image", PHOTO, 0, 0.1)])


def test_another_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.csv"
    path.write_text("file,label\na,1\n")
    with pytest.raises(ValueError, match="expected a table of scores"):
        read_scores(path)
