"""Nothing loads before it is needed: what each entry point has imported when it has answered."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from explain.lab.examples import EXAMPLES

ROOT = Path(__file__).resolve().parent.parent
# Runs a module or a file as `python` would, and says last what it has imported.
REPORTER = """
import runpy, sys
name, sys.argv = sys.argv[1], sys.argv[1:]
try:
    (runpy.run_path if name.endswith(".py") else runpy.run_module)(name, run_name="__main__")
    status = 0
except SystemExit as end:
    status = end.code or 0
print("\\n" + " ".join([str(status), *sys.modules]))
"""
COMMANDS = ("detector", "explain", "explain.cli", "app.py")
# imports of third parties, none of which answers a question about how a command is called
HEAVY = {"numpy", "torch", "torchvision", "timm", "cv2", "av", "PIL", "gradio", "tqdm", "scipy"}


def ran(*arguments: str) -> tuple[int, set[str]]:
    """Exit status of a command, and the modules in its process at the end."""
    done = subprocess.run(
        [sys.executable, "-c", REPORTER, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout, done.stderr
    status, *modules = done.stdout.splitlines()[-1].split()
    return int(status), set(modules)


def packages(modules: set[str]) -> set[str]:
    return {name.split(".")[0] for name in modules}


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        *((f"{command} --help", 0) for command in COMMANDS),
        *((f"{command} --version", 0) for command in COMMANDS if command != "app.py"),
        ("detector analyze --help", 0),
        ("explain.cli explain --help", 0),
        ("detector", 2),
        ("detector analyze", 2),
        ("detector analyze photo.jpg --frames 0", 2),
        ("detector analyze photo.jpg --device tpu", 2),
        ("detector analyze photo.jpg --model nobody", 2),
        ("detector scan photos", 2),
        ("detector scan photos --out a.parquet --workers 0", 2),
        ("explain photo.jpg", 2),
        ("explain photo.jpg --out report --model nobody", 1),
        ("explain.cli nonsense", 2),
        ("app.py --models nowhere", 2),
    ],
)
def test_how_it_is_called_is_told_by_the_standard_library(arguments: str, status: int) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ended, modules = ran(*arguments.split())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ended == status
    assert packages(modules) & HEAVY == set()
    assert len(modules) < 150  # 96 to 104 measured
    spent_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    assert spent_s < 0.5  # of the processor; a tenth of that on an idle machine


@pytest.mark.parametrize("package", ["detector", "explain"])
def test_an_import_is_free_and_sets_nothing(package: str) -> None:
    code = (
        "import os, sys, warnings; before = dict(os.environ), list(warnings.filters); "
        f"import {package}; names = set(dir({package})) >= set({package}.__all__); "
        "print(names, before == (dict(os.environ), list(warnings.filters)), *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    named, unchanged, *modules = done.stdout.split()
    assert (named, unchanged) == ("True", "True")
    assert packages(set(modules)) & HEAVY == set()


def test_the_public_names_are_there() -> None:
    import detector
    import explain

    for package in (detector, explain):
        for name in package.__all__:
            assert getattr(package, name).__name__ == name
        with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
            package.nonsense  # noqa: B018


def test_a_photo_is_analysed_with_no_more_than_that_takes(tmp_path: Path) -> None:
    EXAMPLES[0].write(tmp_path / "photo.png")
    status, modules = ran("detector", "analyze", str(tmp_path / "photo.png"))
    assert status == 0
    assert {"torch", "detector.pipeline"} <= modules
    unused = "gradio pandas matplotlib scipy skimage sklearn lime pytorch_grad_cam pyarrow ray"
    assert packages(modules) & {*unused.split(), "explain", "tensorboard", "accelerate"} == set()
    # torch's compiler: a third of all modules, and half of the time that imports take
    assert "torch._dynamo" not in modules
    assert len(modules) < 2400  # 2,150 measured; 3,000 with the compiler


def test_a_scan_leaves_the_networks_to_its_workers(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="tables need the extra 'scan'")
    EXAMPLES[0].write(tmp_path / "photo.png")
    files = [str(tmp_path / name) for name in ("photo.png", "out.parquet")]
    status, modules = ran("detector", "scan", files[0], "--out", files[1], "--workers", "1")
    assert status == 0
    assert packages(modules) & {"torch", "torchvision", "timm"} == set()


def test_the_compiler_is_there_for_whoever_asks() -> None:
    code = (
        "from detector.commandline import load_torch; load_torch(); import sys, torch; "
        "print('torch._dynamo' in sys.modules); "
        "from torchvision.ops import roi_align; "
        "print(roi_align.__globals__['is_compile_supported']('meta')); "
        "print(torch._dynamo.config.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["False", "False", "torch._dynamo.config"]


def test_the_page_is_laid_out_without_what_only_an_answer_needs(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from explain.server.loading import load_gradio; "
        "load_gradio(); from explain.page import build_app; "
        "from explain.server.service import Service; "
        "build_app(Service(Path(sys.argv[1]))); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(done.stdout.splitlines()[-1].split())
    later = {"torch", "timm", "torchvision", "scipy.ndimage", "sklearn", "lime", "pytorch_grad_cam"}
    assert "gradio" in modules and modules & later == set()
    assert len(modules) < 2400  # 2,150 measured
