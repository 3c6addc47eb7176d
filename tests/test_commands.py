"""Command lines among other programs: unprintable names, closed pipes, missing extras."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from PIL import Image

from detector.__main__ import analyze
from detector.commandline import extra, finish, one_line
from detector.errors import DetectorError, MediaError, text_of
from detector.media import open_media
from detector.pipeline import Detector
from detector.scan import Job
from detector.scan.engines import _lost_row

ROOT = Path(__file__).resolve().parent.parent
LATIN = os.fsdecode(b"caf\xe9.png")  # the name of a file from an older system
# runs command lines in a process in which no extra is installed, and says their exit statuses
WITHOUT_EXTRAS = """
import runpy, shlex, sys
sys.modules |= dict.fromkeys("accelerate tensorboard pyarrow ray psutil pytest hypothesis".split())
for line in sys.argv[1:]:
    name, *sys.argv[1:] = shlex.split(line)
    try:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("status", end.code)
"""


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.untrained()


def printed(monkeypatch: pytest.MonkeyPatch, command: Callable[[], int]) -> tuple[int, str]:
    """Exit status of a command, and what it writes to a stdout that holds ASCII only."""
    found = BytesIO()
    with TextIOWrapper(found, "ascii") as stdout, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stdout)
        status = finish(command)
        return status, found.getvalue().decode("ascii")


def named(folder: Path, *names: str) -> list[Path]:
    """Dots without a face, but for names that start with broken."""
    for name in names:
        Image.new("RGB", (8, 8)).save(folder / name, "PNG")
        if name.startswith("broken"):
            (folder / name).write_bytes(b"no picture")
    return [folder / name for name in names]


def test_names_that_stdout_cannot_encode_are_escaped_and_no_file_is_lost(
    tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = (LATIN, "é.png", "人.png", os.fsdecode(b"broken\xff.png"), "last.png")
    paths = named(tmp_path, *names)
    status, text = printed(monkeypatch, lambda: analyze(paths, detector, 1, as_json=False))
    lines = text.splitlines()
    assert status == 1
    heads = [line.split(": ")[0] for line in lines]
    assert heads == [r"caf\xe9.png", r"\xe9.png", r"\u4eba.png", r"broken\xff.png", "last.png"]
    assert lines[3].startswith(r"broken\xff.png: broken\xff.png is not a picture")


def test_json_holds_no_half_characters(
    tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = named(tmp_path, LATIN, os.fsdecode(b"broken\xff.png"), "é.png")
    status, text = printed(monkeypatch, lambda: analyze(paths, detector, 1, as_json=True))
    assert status == 1
    found = [json.loads(line) for line in text.splitlines()]
    assert [one["file"] for one in found] == [r"caf\xe9.png", r"broken\xff.png", "é.png"]
    assert found[1]["error"]["message"].startswith(r"broken\xff.png is not a picture")
    json.dumps(found, ensure_ascii=False).encode("utf-8")


def test_a_name_with_breaks_stays_one_line(
    tmp_path: Path, detector: Detector, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = named(tmp_path, "two\nlines.png", "bell\x07\x1b[31m.png", "\u202egnp.exe.png")
    _, text = printed(monkeypatch, lambda: analyze(paths, detector, 1, as_json=False))
    heads = [line.split(": ")[0] for line in text.splitlines()]
    assert heads == [r"two\nlines.png", r"bell\x07\x1b[31m.png", r"\u202egnp.exe.png"]
    assert one_line("Screenshot\u202fand 👩‍🔬 é") == "Screenshot\u202fand 👩‍🔬 é"


def test_any_name_becomes_valid_text() -> None:
    assert text_of(LATIN) == r"caf\xe9.png"
    assert text_of("é人😀") == "é人😀"
    assert text_of("half \ud83d and \udce9") == r"half \ud83d and \udce9"
    assert str(MediaError(f"{LATIN} is empty.")) == r"caf\xe9.png is empty."
    assert _lost_row(f"/a/{LATIN}", Job())["error_message"].startswith(r"caf\xe9.png ended the")


def test_a_closed_pipe_a_full_disk_and_ctrl_c_end_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> int:
        raise KeyboardInterrupt

    def speaks() -> int:
        print("many lines\n" * 10_000)
        return 0

    read, write = os.pipe()
    os.close(read)
    ends = []
    for stdout in (open(write, "w"), open("/dev/full", "w")):  # noqa: SIM115
        monkeypatch.setattr(sys, "stdout", stdout)
        ends.append(finish(speaks))
        stdout.close()
        monkeypatch.undo()
    assert [*ends, finish(interrupted)] == [141, 2, 130]
    assert capfd.readouterr().err == "The answer cannot be written: No space left on device.\n"


@pytest.mark.parametrize(
    "module", ["detector", "explain", "explain.cli", "detector.benchmark", "detector.training"]
)
def test_help_into_a_closed_pipe(module: str) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", module, "--help"]
    with open(write, "wb") as pipe:
        done = subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b""
    assert done.returncode in (0, 141)  # argparse forgives what it writes unbuffered


def test_a_link_is_told_by_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "target.png").write_bytes(b"no picture")
    (tmp_path / "link.png").symlink_to(tmp_path / "target.png")
    (tmp_path / "lost.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(MediaError, match=r"^link\.png is not a picture"):
        open_media(tmp_path / "link.png")
    with pytest.raises(MediaError, match=r"^lost\.png is not a file that exists\.$"):
        open_media(tmp_path / "lost.png")
    Image.new("RGB", (8, 8)).save(tmp_path / "target.png")
    assert open_media(tmp_path / "link.png").name == "link.png"


def test_help_needs_no_extra_and_what_does_names_it(tmp_path: Path) -> None:
    lines = [
        "detector.training --help",
        "detector.benchmark --help",
        "detector.training --recipe timm --data ff:x --out x",
        "detector.benchmark zoo --faces x --out x",
    ]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS, *lines],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )
    statuses = [line for line in done.stdout.splitlines() if line.startswith("status")]
    assert statuses == ["status 0", "status 0", "status 1", "status 1"], done.stderr
    assert done.stdout.count("usage:") == 2
    assert done.stderr.splitlines() == [
        "tensorboard is not installed: pip install 'deepfake-lens[train]'.",
        "accelerate is not installed: pip install 'deepfake-lens[train]'.",
    ]


def test_a_fault_of_ours_is_not_called_a_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError), extra("train"):
        import detector.nowhere  # noqa: F401
    with pytest.raises(DetectorError, match=r"^nowhere is not installed: pip install"):  # noqa: SIM117
        with extra("train"):
            import nowhere  # noqa: F401
