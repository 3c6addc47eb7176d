"""The examples' answers, worked out before anybody asks."""

import threading

import pytest

from explain.lab.examples import EXAMPLES, Example
from explain.server import ready as module
from explain.server.ready import SHOWN_FIRST, Ready, example_named

FILES = tuple(
    Example(name, name, False, lambda path: path.write_bytes(path.suffix.encode()), None)  # type: ignore[arg-type]
    for name in ("a.png", "b.png", SHOWN_FIRST)
)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "EXAMPLES", FILES)


def filled(folder, closing=None) -> tuple[Ready, list[str], list[str]]:
    """Answers are the names in capitals; what was asked, and what was refined, in order."""
    ready: Ready[str] = Ready(folder)
    asked, refined, done = [], [], threading.Event()

    def refine(answer: str) -> None:
        refined.append(answer)
        if len(refined) == len(FILES):
            done.set()

    def answer(path) -> str:
        asked.append(path.name)
        return path.name.upper()

    ready.start(closing or threading.Event(), answer, refine)
    assert closing or done.wait(60)
    return ready, asked, refined


def test_the_first_screens_example_comes_first_and_all_are_answered_before_any_is_refined(tmp_path):
    ready, asked, refined = filled(tmp_path)
    assert asked[0] == SHOWN_FIRST and sorted(asked) == sorted(e.name for e in FILES)
    assert refined == [name.upper() for name in asked]
    assert ready.first(1.0) == SHOWN_FIRST.upper()


def test_only_the_very_file_gets_the_answer(tmp_path):
    ready = filled(tmp_path)[0]
    photo = ready.path(FILES[0])
    assert ready.of(photo) == photo.name.upper()
    (tmp_path / "of a visitor").mkdir()
    copy = tmp_path / "of a visitor" / photo.name
    copy.write_bytes(photo.read_bytes())
    assert ready.of(copy) == photo.name.upper()
    copy.write_bytes(photo.read_bytes() + b"\n")
    assert ready.of(copy) is None
    assert ready.of(tmp_path / "another.png") is None


def test_nobody_waits_when_nothing_is_worked_out(tmp_path):
    assert Ready(tmp_path).first(60.0) is None
    closing = threading.Event()
    closing.set()
    ready, asked, _ = filled(tmp_path, closing)
    assert ready.first(60.0) is None and asked == []


def test_links_name_examples_by_their_files():
    assert example_named("hopper_clip_forged") is FILES[2]
    assert SHOWN_FIRST in {e.name for e in EXAMPLES}
    assert example_named("../secret") is None and example_named(None) is None
