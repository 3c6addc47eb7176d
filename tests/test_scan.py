"""Many files into one table: nothing lost, nothing doubled, whatever happens to the process in
between.
"""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from explain_faces import analysis_of, astronaut
from PIL import Image
from test_tracks import with_tracks

pytest.importorskip("pyarrow", reason="tables need the extra 'scan'")

from pyarrow import parquet

from detector.__main__ import main
from detector.errors import MediaError, ScanError
from detector.pipeline import Detector
from detector.scan import ENGINES, Job, scan
from detector.scan.engines import RAY_EXCLUDES, local, on_ray
from detector.scan.files import find_files
from detector.scan.rows import FIELDS, Row, blank_row, scan_file, scan_files
from detector.types import Analysis, Label, Verdict
from detector.weights import load_model

COMMAND = [sys.executable, "-m", "detector", "scan"]
ROOT = Path(__file__).resolve().parent.parent


def dots(folder: Path, count: int) -> Path:
    """A folder of pictures too small to hold a face, which are read in milliseconds."""
    folder.mkdir(exist_ok=True)
    for i in range(count):
        Image.new("RGB", (8, 8), (i % 256, 0, 0)).save(folder / f"{i:04}.png")
    return folder


def table(path: Path) -> list[Row]:
    return parquet.read_table(path).to_pylist()


def named(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
    """An engine that opens nothing."""
    for path in paths:
        yield dict.fromkeys(FIELDS) | {
            "path": path,
            "file": Path(path).name,
            "frames": job.frames,
            "label": "no_face",
        }


def test_files_of_folders_globs_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a/1.jpg", "a/b/2.jpg", "a/b/[3].jpg", "4.png", "out"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.txt").write_text("a/b\n\n4.png\nnowhere.png\n")
    monkeypatch.chdir(tmp_path)

    def found(*inputs: str) -> list[str]:
        return [
            os.path.relpath(path, tmp_path) for path in find_files(inputs, {str(tmp_path / "out")})
        ]

    assert found("a") == ["a/1.jpg", "a/b/2.jpg", "a/b/[3].jpg"] or found("a") == [
        "a/1.jpg",
        "a/b/[3].jpg",
        "a/b/2.jpg",
    ]
    assert sorted(found("**/*.jpg")) == ["a/1.jpg", "a/b/2.jpg", "a/b/[3].jpg"]
    assert found("a/b/[3].jpg") == ["a/b/[3].jpg"]  # a file of this name comes before a pattern
    assert sorted(found("@list.txt")) == ["4.png", "a/b/2.jpg", "a/b/[3].jpg", "nowhere.png"]
    assert "out" not in found(".") and "4.png" in found(".")
    with pytest.raises(ScanError, match=r"^The list gone\.txt cannot be read\.$"):
        found("@gone.txt")


def test_a_row_of_a_picture_and_of_a_broken_file(tmp_path: Path) -> None:
    (dot,) = dots(tmp_path / "dots", 1).iterdir()
    (tmp_path / "notes.txt").write_text("no picture")
    detector = Detector.untrained()
    row, _ = scan_file(detector, str(dot), Job(frames=5))
    assert list(row) == list(FIELDS)
    assert (row["path"], row["file"], row["kind"], row["label"]) == (
        str(dot),
        "0000.png",
        "image",
        "no_face",
    )
    assert (row["faces"], row["frames"], row["error_type"], row["model_name"]) == (
        0,
        5,
        None,
        "untrained",
    )
    row, _ = scan_file(detector, str(tmp_path / "notes.txt"), Job(frames=5))
    assert (row["error_type"], row["label"], row["sha256"]) == ("MediaError", None, None)
    told = "notes.txt is not a picture or a clip that can be read; what can be read is JPEG, PNG, "
    assert row["error_message"].startswith(told)


def test_a_row_names_the_part_and_the_question_that_was_answered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = analysis_of([astronaut()] * 3, p_fake=0.9, name="clip.mp4")
    part = replace(whole.verdict, part=(0.0, 2.0))
    face = replace(whole.faces[0], verdict=part, manipulated=0.8, generated=0.1)
    told = replace(whole, faces=(face,), verdict=part)
    detector = Detector.untrained()
    monkeypatch.setattr(detector, "analyze", lambda *_: told)
    row, _ = scan_file(detector, "clip.mp4", Job(frames=5))
    assert row["headline"] == "Part of this clip looks forged: 0.0-2.0 s"
    assert (row["part_from_s"], row["part_to_s"]) == (0.0, 2.0)
    assert (row["manipulated"], row["generated"], row["faces"]) == (0.8, 0.1, 1)
    assert list(row) == list(FIELDS)


def test_a_track_is_chosen_of_every_clip(tmp_path: Path) -> None:
    path = with_tracks(tmp_path / "a.mkv", (64, 5, 1), (128, 5, 2))
    detector = Detector.untrained()
    chosen, first, third = (scan_file(detector, str(path), Job(track=n))[0] for n in (None, 1, 3))
    assert (chosen["track"], first["track"], third["track"]) == (None, 1, 3)
    assert chosen["notes"].startswith("Of 2 video tracks, track 2 was looked at")
    assert first["notes"].startswith("Of 2 video tracks, track 1 was looked at")
    assert third["error_message"] == "a.mkv has 2 video tracks; track 3 cannot be read."


def test_a_table_is_of_one_track(tmp_path: Path) -> None:
    folder, out = dots(tmp_path / "dots", 2), tmp_path / "out.parquet"

    def of_the_model(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
        sha256 = load_model(None).info.sha256
        return (blank_row(path, job, "model", sha256) for path in paths)

    scan([str(folder)], out, Job(track=2), of_the_model, 1)
    assert [row["track"] for row in table(out)] == [2, 2]
    scan([str(folder)], out, Job(track=2), of_the_model, 1)
    for track in (None, 1):
        with pytest.raises(ScanError, match="--frames or --track; name another --out"):
            scan([str(folder)], out, Job(track=track), of_the_model, 1)


def test_what_nobody_thought_of_is_a_row_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = Detector.untrained()
    monkeypatch.setattr(detector, "analyze", lambda *_: 1 / 0)
    row, _ = scan_file(detector, str(tmp_path / "odd.jpg"), Job(frames=5))
    assert (row["error_type"], row["error_message"]) == (
        "ZeroDivisionError",
        "odd.jpg could not be analysed.",
    )


def test_the_next_file_is_decoded_while_one_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    second_is_read = threading.Event()

    def read(path: str, frames: int, track: int | None) -> str:
        if path == "b.jpg":
            second_is_read.set()
        if path == "c.jpg":
            raise MediaError("c.jpg is empty.")
        return path

    def look(media: str) -> Analysis:
        assert second_is_read.wait(10)
        return replace(
            analysis_of([astronaut()]),
            verdict=Verdict(Label.NO_FACE, "No face was found."),
            faces=(),
        )

    detector = Detector.untrained()
    monkeypatch.setattr("detector.scan.rows.open_media", read)
    monkeypatch.setattr(detector, "analyze_media", look)
    rows = list(scan_files(detector, iter(["a.jpg", "b.jpg", "c.jpg"]), Job()))
    assert [(row["path"], row["label"], row["error_message"]) for row in rows] == [
        ("a.jpg", "no_face", None),
        ("b.jpg", "no_face", None),
        ("c.jpg", None, "c.jpg is empty."),
    ]


def test_every_file_once_however_often_it_is_named(tmp_path: Path) -> None:
    folder, out = dots(tmp_path / "dots", 3), tmp_path / "out.parquet"
    scan([str(folder), f"{folder}/*.png", str(folder / "0001.png")], out, Job(), named, 1)
    assert [row["file"] for row in table(out)] == ["0000.png", "0001.png", "0002.png"]
    # no journal is left
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dots", "out.parquet"]


def test_a_finished_table_takes_on_new_files_only(tmp_path: Path) -> None:
    folder, out = dots(tmp_path / "dots", 2), tmp_path / "dots" / "out.parquet"
    scan([str(folder)], out, Job(), named, 1)
    dots(folder, 4)
    seen = []

    def watched(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
        for row in named(paths, job, workers):
            seen.append(row["file"])
            yield row

    scan([str(folder)], out, Job(), watched, 1)
    # the table itself, in the same folder, is not taken for a picture
    assert seen == ["0002.png", "0003.png"]
    assert [row["file"] for row in table(out)] == ["0000.png", "0001.png", "0002.png", "0003.png"]


def test_what_cannot_be_scanned_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = dots(tmp_path / "dots", 2), tmp_path / "out.parquet"
    assert main(["scan", f"{tmp_path}/*.gif", "--out", str(out)]) == 2
    assert capsys.readouterr().err == "There is no file to scan.\n"

    def rival(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
        with pytest.raises(ScanError, match="another scan is writing it"):
            scan([str(folder)], out, Job(), named, 1)
        yield from here(paths, job)

    def here(paths: Iterator[str], job: Job, workers: int = 1) -> Iterator[Row]:
        detector = Detector()
        return (scan_file(detector, path, job)[0] for path in paths)

    assert scan([str(folder)], out, Job(frames=4), rival, 1) == 0
    with pytest.raises(ScanError, match="begun with another model, --frames or --track"):
        scan([str(folder)], out, Job(frames=5), here, 1)
    out.write_text("not a table")
    with pytest.raises(
        ScanError,
        match=r"^out\.parquet is there already and is not a table of this version's scan\.$",
    ):
        scan([str(folder)], out, Job(), here, 1)


def test_files_that_could_not_be_read_are_counted_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
        return (row | {"error_type": "MediaError"} for row in named(paths, job, workers))

    monkeypatch.setitem(ENGINES, "local", broken)
    folder = str(dots(tmp_path / "dots", 1))
    arguments = ["--out", str(tmp_path / "out.parquet")]
    assert main(["scan", folder, *arguments]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "1 file could not be read: see the column error_message of out.parquet."
    )
    dots(tmp_path / "dots", 3)
    assert main(["scan", folder, *arguments]) == 1
    assert capsys.readouterr().err.splitlines()[-1] == (
        "3 files could not be read: see the column error_message of out.parquet."
    )


def test_a_worker_says_why_it_cannot_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    entry = {"files": [{"name": "net.safetensors", "sha256": "0"}]}
    (model / "manifest.json").write_text(json.dumps({"models": {"net": entry}}))
    arguments = ["scan", str(dots(tmp_path / "dots", 2)), "--out", str(tmp_path / "out.parquet")]
    assert main([*arguments, "--model", str(model), "--workers", "2"]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        "The weights file net.safetensors is missing."
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["dots", "model"]


def test_a_file_that_ends_its_worker_is_a_row(tmp_path: Path) -> None:
    paths = sorted(str(path) for path in dots(tmp_path / "dots", 4).iterdir())

    engine = local(iter(paths), Job(), 1)
    rows = [next(engine)]
    for child in psutil.Process().children():
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
    rows.extend(engine)
    assert [row["path"] for row in rows] == paths
    # the second was in work, and may have been finished just before
    errors = [row["error_type"] for row in rows]
    assert errors[0] is None and "WorkerError" in errors[1:3] and errors.count(None) == 3
    assert {row["error_message"] for row in rows if row["error_type"]} <= {
        f"000{i}.png ended the process that was reading it." for i in (1, 2)
    }


def start(folder: Path, out: Path, workers: int = 2) -> subprocess.Popen[str]:
    command = [*COMMAND, str(folder), "--out", str(out), "--workers", str(workers)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def test_killed_and_started_again_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    folder, out = dots(tmp_path / "dots", 600), tmp_path / "out.parquet"
    first = start(folder, out)
    assert first.stderr is not None
    told = ""
    while not (done := re.findall(r"(\d+)/600", told)) or int(done[-1]) < 20:
        told += first.stderr.read(1)
    workers = psutil.Process(first.pid).children(recursive=True)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    first.stderr.close()
    assert not out.exists()
    psutil.wait_procs(workers, timeout=60)
    assert not any(
        worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers
    )
    with sqlite3.connect(tmp_path / "out.parquet.journal") as journal:
        kept = dict(journal.execute("SELECT path, seconds FROM rows"))
    journal.close()
    assert 20 <= len(kept) < 600

    second = start(folder, out)
    _, told = second.communicate()
    assert second.returncode == 0, told
    assert f"{len(kept)}/600" in told  # it goes on from there
    rows = table(out)
    assert [row["path"] for row in rows] == sorted(str(path) for path in folder.iterdir())
    # none was analysed again
    assert {row["path"]: row["seconds"] for row in rows if row["path"] in kept} == kept


def test_ctrl_c_while_workers_start_is_one_sentence(tmp_path: Path) -> None:
    command = [*COMMAND, str(dots(tmp_path / "dots", 2)), "--out", str(tmp_path / "out.parquet")]
    scanning = subprocess.Popen(
        [*command, "--workers", "2"],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a terminal sends Ctrl-C to all processes of a command
    )
    command_line = psutil.Process(scanning.pid)
    while sum("spawn_main" in " ".join(p.cmdline()) for p in command_line.children()) < 2:
        time.sleep(0.01)
    os.killpg(scanning.pid, signal.SIGINT)
    _, told = scanning.communicate()
    assert scanning.returncode == 130
    assert "Traceback" not in told
    assert told.splitlines()[-1].startswith("Stopped. The same command goes on from here;")


@pytest.mark.slow
def test_memory_stays_the_same_over_5000_files(tmp_path: Path) -> None:
    folder, out = tmp_path / "empty", tmp_path / "out.parquet"
    folder.mkdir()
    for i in range(5000):
        (folder / f"{i:04}.jpg").touch()
    process = start(folder, out, workers=1)  # a second one may still load after the first file
    assert process.stderr is not None
    used: dict[int, int] = {}  # files done -> bytes of the process and its workers
    told = ""
    while letter := process.stderr.read(1):
        told = (told + letter)[-200:]
        if letter == "[" and (done := re.findall(r"(\d+)/5000", told)):
            tree = psutil.Process(process.pid)
            used[int(done[-1])] = sum(
                p.memory_info().rss for p in (tree, *tree.children(recursive=True))
            )
    process.stderr.close()
    assert process.wait() == 1  # empty files are errors
    assert {row["error_message"] for row in table(out)} == {
        f"{i:04}.jpg is empty." for i in range(5000)
    }
    early = max(size for done, size in used.items() if done <= 2500)
    # 40 kB kept of a file would break it
    assert max(size for done, size in used.items() if done > 2500) < 1.03 * early


def test_ray_gets_the_folder_code_and_weights_alone() -> None:
    pathspec = pytest.importorskip("pathspec", reason="Ray's, which needs the extra 'ray'")
    left_out = pathspec.PathSpec.from_lines("gitwildmatch", RAY_EXCLUDES).match_file
    for path in (".", "detector", "detector/scan/rows.py", "weights/manifest.json"):
        assert not left_out(path), path
    for path in (".git", "docs", "docs/SPEED.md", "app.py", "tests/test_scan.py"):
        assert left_out(path), path


@pytest.mark.slow
def test_two_ray_workers_give_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray", reason="needs the extra 'ray'")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = dots(tmp_path / "dots", 40)
    (folder / "notes.txt").write_text("no picture")
    try:
        scan([str(folder)], tmp_path / "ray.parquet", Job(), on_ray, 2)
        assert ray.cluster_resources()["CPU"] == 2
    finally:
        ray.shutdown()
    scan([str(folder)], tmp_path / "local.parquet", Job(), local, 1)

    def answers(name: str) -> list[Row]:
        return [row | {"seconds": 0.0} for row in table(tmp_path / name)]

    assert answers("ray.parquet") == answers("local.parquet")
    assert len(answers("ray.parquet")) == 41


def test_progress_has_an_eta(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def slowly(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
        for row in named(paths, job, workers):
            time.sleep(0.6)
            yield row

    scan([str(dots(tmp_path / "dots", 4))], tmp_path / "out.parquet", Job(), slowly, 1)
    assert re.search(r"2/4 \[00:0\d<00:0\d", capsys.readouterr().err)  # done/all [elapsed<left
