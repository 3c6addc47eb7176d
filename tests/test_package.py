"""The wheel, in an environment of its own outside the checkout: what it holds, and that it works.

The environment borrows what this one has installed, but for this project, so no network is needed.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

import detector
from explain.lab.examples import EXAMPLES

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("detector", "explain", "weights")
FIVE_LINES = """
import detector
from detector import Analysis, Detector, DetectorError, Label, Verdict

analysis = Detector().analyze("astronaut.png")
print(detector.__file__, analysis.verdict.label, len(analysis.faces))
"""


def run(*command: object, cwd: Path) -> str:
    """What a command says in a folder outside the checkout."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=env, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, since a build leaves folders behind."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "copy"
    copy.mkdir()
    for name in PACKAGES:
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", folder, copy, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fresh environment with the wheel in it."""
    home = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(home)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
    target = ("--python", home / "bin" / "python", "install", "-q", "--no-deps", "--no-index")
    run(*pip, *target, wheel, cwd=home)
    (site,) = home.glob("lib/python*/site-packages")
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    return home


def test_the_wheel_holds_every_module_and_what_the_page_and_the_detector_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if not name.startswith("deepfake_lens-")}
    files = {path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*")}
    wanted = {
        str(path)
        for path in files
        if path.suffix in (".py", ".css", ".js", ".json", ".typed")
        or (path.parts[0] == "weights" and (ROOT / path).is_file())
    }
    assert held == wanted
    assert {"detector/py.typed", "explain/py.typed", "weights/manifest.json"} <= held


def test_its_dependencies_are_those_of_requirements_txt(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        lines = archive.read(name).decode().splitlines()
    needed = {line.split()[1] for line in lines if line.startswith("Requires-Dist: ")}
    assert {"safetensors<1,>=0.4.5", "facenet-pytorch==2.5.3"} <= needed
    assert f"Version: {detector.__version__}" in lines
    extras = {line.split()[1] for line in lines if line.startswith("Provides-Extra: ")}
    assert extras == {"scan", "ray", "train", "test", "mcp"}


def test_the_command_and_five_lines_of_python_work_outside_the_checkout(installed: Path) -> None:
    here = installed.parent
    EXAMPLES[0].write(here / "astronaut.png")
    command = installed / "bin" / "deepfake-lens"
    assert run(command, "--version", cwd=here) == f"deepfake-lens {detector.__version__}\n"
    answer = json.loads(run(command, "analyze", "astronaut.png", "--json", cwd=here))
    assert (answer["label"], len(answer["faces"])) == ("authentic", 1)
    (here / "five.py").write_text(FIVE_LINES)
    where, label, faces = run(installed / "bin" / "python", "five.py", cwd=here).split()
    assert Path(where).is_relative_to(installed)
    assert (label, faces) == ("authentic", "1")
