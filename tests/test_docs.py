"""The front door: README, model card and docs say what the code and the measured tables say."""

import argparse
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from PIL import Image
from skimage.data import astronaut

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (".", "docs", "weights", ".github", "detector/training")
PAGES = [page for folder in FOLDERS for page in sorted((ROOT / folder).glob("*.md"))]
CARD = ROOT / "weights" / "MODEL_CARD.md"
README = ROOT / "README.md"
LINK = re.compile(r"(?<!\\)\[[^]]*\]\(([^)\s]+)\)")
CODE_PATH = re.compile(r"`((?:detector|explain|tests|docs|weights)/[\w./-]*(?:\.\w+|/))`")
COMMAND = re.compile(
    r"^(?:\.venv/bin/)?((?:python -m (?:detector|explain)\S*|deepfake-lens) .*)$", re.MULTILINE
)


def prose(path: Path) -> str:
    """The page without its code blocks."""
    return re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def anchors(path: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.*)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_lines_of_prose_fit_a_window(page: Path) -> None:
    lines = prose(page).splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_the_card_fits_a_window_and_five_minutes() -> None:
    text = CARD.read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 120
    body = text.split("---\n", 2)[2]
    assert len(re.findall(r"[\w.'-]*\w[\w.'-]*", body)) <= 1200  # read at 240 words a minute


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name}: {link}"


@pytest.mark.parametrize(
    "page", ["docs/SOURCES.md", ".github/CONTRIBUTING.md", ".github/SECURITY.md"]
)
def test_files_that_are_named_exist(page: str) -> None:
    named = CODE_PATH.findall((ROOT / page).read_text(encoding="utf-8"))
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_a_test_that_is_named_by_a_word_of_its_name_is_there() -> None:
    text = (ROOT / ".github/SECURITY.md").read_text(encoding="utf-8")
    named = re.findall(r"pytest (tests/\w+\.py) -k (\w+)", text)
    assert len(named) >= 4
    for file, word in named:
        defined = re.findall(r"^def (test_\w+)", (ROOT / file).read_text(), re.MULTILINE)
        assert any(word in name for name in defined), f"{file} -k {word}"


# --------------------------------------------------------------------------------------------------
# commands and code


class Parsed(Exception):  # noqa: N818
    """The command line was accepted; nothing of it is run."""


def entry_points() -> dict[str, str]:
    """Console scripts by name, as "module:function"."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return dict(project.get("scripts", {}))


def commands() -> list[str]:
    """Every command line of this project in the pages for users, once each."""
    pages = (README, CARD, *sorted((ROOT / "docs").glob("*.md")), ROOT / ".github/CONTRIBUTING.md")
    lines = "\n".join(block for page in pages for block in blocks(page, "sh"))
    found = COMMAND.findall(lines.replace("\\\n", " "))
    return list(dict.fromkeys(shlex.join(shlex.split(line, comments=True)) for line in found))


def main_of(words: list[str]) -> tuple[Callable[[], int | None], list[str]]:
    """The function behind a command line, and its arguments."""
    if words[0] in entry_points():
        module, function = entry_points()[words[0]].split(":")
        return getattr(import_module(module), function), words[1:]
    name = words[2]
    is_package = find_spec(name).submodule_search_locations is not None
    return import_module(f"{name}.__main__" if is_package else name).main, words[3:]


@pytest.mark.parametrize("line", commands())
def test_a_printed_command_is_one_that_the_program_takes(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse = argparse.ArgumentParser.parse_args

    def stop(parser: argparse.ArgumentParser, *args: object) -> None:
        parse(parser, *args)
        raise Parsed

    main, arguments = main_of(shlex.split(line))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", ["program", *arguments])
    with pytest.raises(Parsed):
        main()


def test_a_printed_target_of_make_is_there() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = (README, ROOT / ".github/CONTRIBUTING.md")
    named = {name for page in pages for name in re.findall(r"\bmake (\w+) ", page.read_text())}
    assert named >= {"demo", "test", "check"}
    assert named <= targets


def test_the_five_lines_of_python_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    exec(blocks(README, "python")[0], {})
    assert re.match(r"(authentic|forged|uncertain) 0\.\d+ \w", capsys.readouterr().out)


def test_the_example_of_gradio_client_runs(
    page_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.fromarray(astronaut()).save(tmp_path / "photo.jpg", quality=95)
    monkeypatch.chdir(tmp_path)
    exec(blocks(README, "python")[1].replace("http://127.0.0.1:7860", page_url), {})
    assert re.search(r"(authentic|forged|uncertain) 0\.\d+ \w", capsys.readouterr().out)


# --------------------------------------------------------------------------------------------------
# figures


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """docs/tables.py, which belongs to no package."""
    spec = spec_from_file_location("tables", ROOT / "docs" / "tables.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_is_what_the_csv_files_say(tables: ModuleType) -> None:
    assert tables.main(["--check"]) == 0


def test_a_figure_that_was_changed_by_hand_is_written_anew(tables: ModuleType) -> None:
    head, row = "| network | judged on |", "| a | b |"
    old = f"text\n<!-- table generators -->\n{head}\n{row}\n<!-- end -->\ntext\n"
    new = tables.filled(old)
    assert row not in new
    assert "| trained without StyleGAN2 | StyleGAN2, left out | none | 150 |" in new
    assert new.startswith("text\n<!-- table generators -->\n| network | judged on | degradation")
    assert new.endswith("|\n<!-- end -->\ntext\n")


def test_the_heads_for_the_hub_are_yaml() -> None:
    for page, expected in ((README, {"sdk", "app_file"}), (CARD, {"license", "tags", "metrics"})):
        text = page.read_text(encoding="utf-8")
        assert text.startswith("---\n")
        head = yaml.safe_load(text.split("---\n")[1])
        assert expected <= set(head)


def test_every_experiment_is_dated_and_says_what_came_of_it() -> None:
    log = (ROOT / "detector/training/LOG.md").read_text(encoding="utf-8")
    entries = re.split(r"^## ", log, flags=re.MULTILINE)[1:]
    assert len(entries) >= 30
    for entry in entries:
        title, _, text = entry.partition("\n")
        assert re.fullmatch(r"\d{4}-\d\d-\d\d .+ \((shipped|negative)\)", title), title
        parts = [text.find(f"**{part}") for part in ("What", "Result", "Conclusion.**")]
        assert -1 < parts[0] < parts[1] < parts[2], title
    dates = [entry[:10] for entry in entries]
    assert dates == sorted(dates)
