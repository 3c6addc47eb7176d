"""What the page keeps of a visitor, and for how long."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import copy_context
from unittest.mock import Mock

import gradio as gr
import numpy as np
import pytest
from explain_faces import detector
from gradio.state_holder import StateHolder
from page_tools import built, session, session_of

from detector.errors import MediaError
from explain.page import build_app
from explain.server import widgets
from explain.server.faults import UNEXPECTED, spoken
from explain.server.service import (
    GONE,
    Cancelled,
    Choice,
    GoneError,
    Runs,
    Service,
    Sessions,
)


def test_sessions_drop_the_longest_unused_when_full(tmp_path):
    one, two, three = (session(f"{i}.png") for i in range(3))
    kept = Sessions(most_bytes=2 * one.size_bytes)
    first, second = kept.keep(one), kept.keep(two)
    assert kept.get(first) is one  # used, so the second is now the longest unused
    written = two.write("report.json", "{}")
    third = kept.keep(three)
    assert kept.get(first) is one and kept.get(third) is three
    with pytest.raises(GoneError, match="analyse the file again"):
        kept.get(second)
    assert not written.parent.exists()


def test_dropping_a_session_removes_its_files():
    kept, one = Sessions(), session()
    token = kept.keep(one)
    path = one.write("report.html", "x")
    assert path.read_text() == "x"
    kept.drop(token)
    kept.drop(None)
    assert not path.parent.exists()
    with pytest.raises(GoneError):
        kept.get(token)


def test_what_nobody_looks_at_is_dropped_and_what_a_visitor_who_left_looked_at(
    tmp_path, monkeypatch
):
    kept, clock = Sessions(), Mock()
    # not the clock itself: another test's client may still be reading it
    monkeypatch.setattr("explain.server.service.time", Mock(monotonic=clock))
    old, mine, yours = (
        session_of(session().analysis, visitor=who, used_s=0.0) for who in ("", "me", "you")
    )
    kept.keep(old)
    tokens = [kept.keep(one) for one in (mine, yours)]
    clock.return_value = 3000.0
    kept.get(tokens[0])
    kept.get(tokens[1])
    clock.return_value = 4000.0
    kept.drop_unused(3600)
    assert list(kept._kept) == tokens
    kept.drop_of("me")
    assert list(kept._kept) == tokens[1:]


@pytest.mark.parametrize(
    ("passed_s", "there"), [(0, True), (3000, True), (4000, False), (-4000, False)]
)
def test_files_go_after_an_hour_or_when_the_clock_jumps(tmp_path, monkeypatch, passed_s, there):
    upload, own = tmp_path / "upload.png", tmp_path / "own.png"
    for path in (upload, own):
        path.touch()
    page = built(lambda: build_app(Service(tmp_path, detector)))
    page.upload_file_set.update({str(upload), str(own), str(tmp_path / "gone.png")})
    next(iter(page.blocks.values())).keep_in_cache.add(str(own))
    now = time.time()
    monkeypatch.setattr("explain.server.files.time.time", lambda: now + passed_s)
    page.sweep(3600)
    assert (upload.exists(), own.exists()) == (there, True)
    assert page.upload_file_set == {str(path) for path in (upload, own) if path.exists()}


def test_gradio_keeps_no_state_of_a_call_without_a_session_or_of_a_visitor_who_left(tmp_path):
    page = built(lambda: build_app(Service(tmp_path, detector)))
    StateHolder().set_blocks(page)
    fn = next(fn for fn in page.fns.values() if fn.api_name == "degrade")

    async def call(session_hash: str) -> None:
        state = page.state_holder[session_hash]
        with pytest.raises(gr.Error, match="A file is needed"):
            await page.process_api(
                fn, [None, "JPEG"], state=state, session_hash=session_hash, event_id="event"
            )

    asyncio.run(call("event"))
    asyncio.run(call("visitor"))
    assert list(page.state_holder.session_data) == ["visitor"]
    page.left(Mock(session_hash="visitor"))
    assert list(page.state_holder.session_data) == list(page.state_holder.time_last_used) == []


def test_only_uploads_and_what_was_made_for_them_are_a_visitors_files(tmp_path):
    """Whoever names another file when they come cannot have it deleted when they go."""
    page = built(lambda: build_app(Service(tmp_path, detector)))
    StateHolder().set_blocks(page)
    mine, other = tmp_path / "mine.png", tmp_path / "other.png"
    for path in (mine, other):
        path.touch()
    page.upload_file_set.add(str(mine))
    fn = next(fn for fn in page.fns.values() if fn.api_name == "degrade")
    named = [{"path": str(path), "meta": {"_type": "gradio.FileData"}} for path in (mine, other)]
    with pytest.raises(Exception, match=r".+"):
        asyncio.run(
            page.process_api(fn, [named, "JPEG"], state=page.state_holder["me"], session_hash="me")
        )
    page.left(Mock(session_hash="me"))
    assert [path.name for path in tmp_path.iterdir()] == ["other.png"]


def test_a_cancelled_run_stops_at_its_next_step_and_the_next_one_goes_on():
    runs, seen = Runs(), []

    def report(share, desc):
        seen.append(desc)

    runs.start("me")
    with pytest.raises(Cancelled), runs.running("me", report) as step:
        step(0.1, "Reading")
        runs.cancel("me")
        step(0.2, "Finding")
    assert not runs.awaited("me")
    runs.start("me")
    with runs.running("me", report) as step:
        step(0.1, "Again")
        assert runs.awaited("me")
    assert not runs.awaited("me")
    assert seen == ["Reading", "Again"]


def test_a_new_run_stops_the_old_one_of_the_same_visitor_only():
    runs = Runs()
    for visitor in ("me", "you"):
        runs.start(visitor)
    with runs.running("you", Mock()) as yours:
        with pytest.raises(Cancelled), runs.running("me", Mock()) as mine:
            runs.start("me")
            mine(0.5, "Finding")
        assert runs.awaited("me")  # the new one
        yours(0.5, "Finding")


def test_a_setting_that_was_changed_while_a_run_goes_on_is_told_at_its_end():
    runs = Runs()
    runs.change("me lime")  # nothing runs yet
    for changed in (True, False):
        runs.start("me lime")
        with runs.running("me lime", Mock()):
            if changed:
                runs.change("me lime")
        assert runs.outdated("me lime") is changed
        assert not runs.outdated("you lime")


def test_results_of_settings_that_changed_meanwhile_are_marked(tmp_path):
    service, me, status = Service(tmp_path, detector), Mock(session_hash="me"), []
    setting, shown = gr.Slider(0, 9, render=False), gr.HTML(render=False)
    runs = []

    def lab() -> gr.Blocks:
        with gr.Blocks() as page:
            setting.render()
            shown.render()
            run = widgets.runner(service, "lab", "Go")
            run.wire(lambda step, value: status.append(value) or {}, [setting], [shown])
            runs.append(run)
        return page

    wired = {str(fn.name): fn.fn for fn in built(lab).fns.values()}
    (run,) = runs
    wired["begin"](me)
    wired["_touch"](" ", me)
    first = wired["run"](me, Mock(), 1)[run.status]
    wired["begin"](me)
    second = wired["run"](me, Mock(), 2)[run.status]
    assert "of the settings before" in first and "Done." in second and status == [1, 2]


def test_whatever_goes_wrong_becomes_one_sentence(caplog):
    status = gr.HTML()

    def failing(error):
        @spoken(status)
        def handler():
            raise error

        return handler()[status]

    with caplog.at_level(logging.ERROR, logger="deepfake_lens"):
        assert "x.jpg is not a picture." in failing(MediaError("x.jpg is not a picture."))
        assert "Cancelled." in failing(Cancelled())
        assert GONE in failing(GoneError(GONE))
        assert caplog.records == []
        assert UNEXPECTED in failing(KeyError("someone/secret.jpg"))
    assert [record.message.split(" at ")[0] for record in caplog.records] == ["KeyError"]
    assert "secret" not in caplog.text


def test_a_visitor_who_leaves_stops_everything_that_runs_for_them():
    runs = Runs()
    with pytest.raises(Cancelled), runs.running("me map", Mock()) as step:
        runs.start("me lime")
        runs.start("you")
        runs.cancel_of("me")
        assert runs.awaited("you") and not runs.awaited("me lime")
        step(0.5, "Testing")


def handlers(service: Service) -> dict[str, Callable[..., Mapping]]:
    """What the first tab does at its events, by name."""
    page = built(lambda: build_app(service))
    own = [fn for fn in page.fns.values() if "AnalyseTab." in getattr(fn.fn, "__qualname__", "")]
    return {str(fn.name): fn.fn for fn in own if fn.fn is not None}


def said(update: Mapping) -> list[str]:
    return [value for value in update.values() if isinstance(value, str)]


def test_work_on_a_file_ends_when_another_is_chosen_and_shows_nothing_beside_it(tmp_path):
    service, me = Service(tmp_path, detector), Mock(session_hash="me")
    page = handlers(service)
    token = service.sessions.keep(session())
    slow = [f"me {key}" for key in ("map", "cam", "lime", "card", "shuffle", "inside", "report")]
    for name in (*slow, "me several", "you map"):
        service.runs.start(name)
    page["_begin"]("b.png", token, me)
    assert [name for name in slow if service.runs.awaited(name)] == []
    assert service.runs.awaited("me several") and service.runs.awaited("you map")
    # those that were in line behind it
    assert said(page["_test"](token, Choice(0, 0), "", request=me)) == []
    assert said(page["_show_chosen"](token, Choice(0, 0))) == []


def test_a_map_test_that_ends_after_another_file_was_chosen_is_not_shown(tmp_path, monkeypatch):
    service, me = Service(tmp_path, detector), Mock(session_hash="me")
    page = handlers(service)
    token = service.sessions.keep(session())

    def tested(*_: object) -> dict[gr.HTML, str]:
        page["_begin"]("b.png", token, me)
        return {gr.HTML(): "of a.png"}

    monkeypatch.setattr("explain.tabs.panel.FramePanel.test", tested)
    assert said(page["_test"](token, Choice(0, 0), "", request=me)) == []


def test_slow_work_on_a_face_ends_when_another_is_chosen_but_the_report_goes_on(tmp_path):
    service = Service(tmp_path, detector)
    page = handlers(service)
    token = service.sessions.keep(session_of(session().analysis, visitor="me"))
    for key in ("map", "lime", "report"):
        service.runs.start(f"me {key}")
    page["_choose_face"](token, "0")
    assert [key for key in ("map", "lime", "report") if service.runs.awaited(f"me {key}")] == [
        "report"
    ]


def test_a_stop_is_heard_between_two_batches_of_the_detector(monkeypatch):
    runs, net, sizes = Runs(), detector(), []
    answer = net._predict_batch

    def first(batch, profile):
        sizes.append(len(batch))
        runs.cancel("me")
        return answer(batch, profile)

    monkeypatch.setattr(net, "_predict_batch", first)
    many = np.zeros((40, 224, 224, 3), np.uint8)
    with pytest.raises(Cancelled), runs.running("me", Mock()):
        net.predict(many, kind="image")
    assert sizes == [16]


def test_a_run_may_begin_in_one_context_and_end_in_another():
    def rows():
        with Runs().running("me", Mock()):
            yield "a row"

    found = rows()  # as Gradio runs a generator
    assert copy_context().run(next, found) == "a row"
    assert copy_context().run(next, found, "the end") == "the end"
