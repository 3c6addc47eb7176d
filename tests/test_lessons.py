"""What every lesson says of itself, its worksheet, and runs that are ready beforehand."""

import re
import threading

import pytest

from detector.errors import WeightsError
from explain.lab.lessons import GAN, PLANS, Question
from explain.lab.worksheet import BOX_H, BOX_W, COLUMN, ROW, file_name, scheme, worksheet
from explain.server.finished import MOST, Finished
from explain.tabs.learn import answer, opening


@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: plan.name)
def test_a_lesson_has_what_a_teacher_needs(plan) -> None:
    assert plan.aim.startswith("You ") and 5 <= plan.minutes <= 45
    assert len(plan.question.options) == 3 and plan.question.why.endswith(".")
    assert len(plan.tasks) >= 3 and all(task.key and task.lines for task in plan.tasks)
    places = list(plan.scheme.boxes.values())
    for i, (column, row) in enumerate(places):
        assert 0 <= column * COLUMN <= 2 * COLUMN
        for other, below in places[:i]:
            apart = abs(column - other) * COLUMN >= BOX_W or abs(row - below) * ROW >= BOX_H
            assert apart, plan.scheme.boxes
    assert {name for arrow in plan.scheme.arrows for name in arrow} == set(plan.scheme.boxes)
    assert max(map(len, plan.scheme.boxes)) <= 15  # fits its box


@pytest.mark.parametrize("number", range(1, 7))
def test_a_worksheet_stands_alone_and_keeps_its_key_apart(number: int) -> None:
    plan = PLANS[number - 1]
    page = worksheet(plan, number)
    assert page.startswith("<!doctype html>") and "@page { size: A4" in page
    assert not re.search(r"https?://|src=|<script|<link|@import", page)
    sheet, key = page.split('<section class="key">')
    assert ".key { break-before: page; }" in page
    for task in plan.tasks:
        assert task.key[:20] in key.replace("&#x27;", "'")
        assert task.key[:20] not in sheet.replace("&#x27;", "'")
    assert sheet.count('class="line"') == sum(task.lines for task in plan.tasks)
    assert sheet.count("<li>") == 3 and f"{number}. " in sheet


def test_worksheets_are_offered_under_their_own_names() -> None:
    names = [file_name(plan, i) for i, plan in enumerate(PLANS, 1)]
    assert names[0] == "worksheet-1-gan.html" and len(set(names)) == 6
    shown = opening(GAN, 1)
    assert 'download="worksheet-1-gan.html" href="data:text/html;base64,' in shown
    assert "About 20 minutes." in shown and shown.count("<rect") == 6


def test_a_guess_is_answered_with_the_reason() -> None:
    question = Question("Which?", ("one", "two & three"), 1, "Because.")
    assert "<b>Your guess was right.</b> Because." in answer(question, "two & three")
    assert "<b>Not quite: two &amp; three</b> Because." in answer(question, "one")
    assert answer(question, "one").startswith("<details")  # folded until the lesson was run
    with pytest.raises(ValueError, match="expected the right one"):
        Question("Which?", ("one",), 1, "Because.")


def test_a_scheme_says_its_arrows_and_has_a_tip_of_its_own() -> None:
    drawn = scheme(GAN.scheme, "tip")
    assert (
        'aria-label="arrow from random numbers to generator; arrow from generator to drawn '
        in drawn
    )
    assert drawn.count('marker-end="url(#tip)"') == 5


def quiet(share: float, stage: str) -> None:
    pass


def test_a_run_is_worked_out_once() -> None:
    finished, asked = Finished(), []

    def work(step) -> dict:
        asked.append(1)
        return {"shown": len(asked)}

    finished.offer(("lab", 1), work)
    finished.fill(quiet)
    assert finished.of(("lab", 1), work, quiet) == {"shown": 1}
    assert finished.of(("lab", 2), work, quiet) == {"shown": 2} and len(asked) == 2
    for i in range(MOST):
        finished.of(("other", i), work, quiet)
    assert finished.of(("lab", 1), work, quiet) == {"shown": MOST + 3}  # the oldest made room


def test_a_run_that_fails_or_is_stopped_is_not_kept() -> None:
    finished, stopped = Finished(), threading.Event()

    def broken(step) -> dict:
        raise WeightsError("no weights")

    def step(share: float, stage: str) -> None:
        if stopped.is_set():
            raise InterruptedError

    finished.offer("broken", broken)
    finished.offer("good", lambda step: step(0, "") or {"shown": 1})
    stopped.set()
    with pytest.raises(InterruptedError):
        finished.fill(step)
    stopped.clear()
    finished.fill(step)  # what is broken does not keep the others from being ready
    assert finished.of("good", broken, step) == {"shown": 1}
