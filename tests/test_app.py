"""The page's logic without a browser: what it says, what it keeps, what its API answers."""

import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from unittest.mock import Mock

import gradio as gr
import httpx
import numpy as np
import pytest
from explain_faces import analysis_of, astronaut, detector
from gradio.state_holder import StateHolder
from gradio_client import Client, handle_file
from PIL import Image

from detector.errors import MediaError, WeightsError
from detector.manifest import model_names
from detector.nets.network import DeepfakeNetwork, NetworkConfig
from detector.pipeline import analysis_json
from detector.profile import Thresholds
from detector.training.export import write_model
from detector.types import Label, ModelInfo, Verdict
from explain.cam import EVIDENCE_MAP
from explain.faithfulness import Grade, ReportCard
from explain.page import build_app
from explain.server import markup
from explain.server.api import on_gpu
from explain.server.faults import UNEXPECTED, spoken
from explain.server.service import (
    GONE,
    Cancelled,
    GoneError,
    Runs,
    Service,
    Session,
    Sessions,
    offered_models,
)
from explain.tabs import analyse, cards, clip, model, panel, slow
from explain.timeline import Interval, Timeline

ROOT = Path(__file__).resolve().parent.parent
BAND = Thresholds(authentic_below=0.3, forged_above=0.7)
MODEL = ModelInfo("two-stream", "0123456789abcdef" * 4)


def session(name: str = "a.png", frames: int = 1) -> Session:
    return Session(analysis_of([astronaut()] * frames, name=name), Path(name))


# ------------------------------------------------------------------------------------------------------
# what it says


@pytest.mark.parametrize(
    ("label", "p", "heading"),
    [
        (Label.FORGED, 0.93, "Forged-looking"),
        (Label.AUTHENTIC, 0.02, "Authentic-looking"),
        (Label.UNCERTAIN, 0.5, "Cannot say"),
        (Label.NO_FACE, None, "No face found"),
    ],
)
def test_verdict_says_it_in_words_with_its_reason_and_its_limits(label, p, heading):
    card = cards.verdict_card(
        Verdict(label, "Because of <it>.", p, p), BAND, MODEL, {"false_positives": 0.051}
    )
    assert f"<span>{heading}</span>" in card
    assert "Because of &lt;it&gt;." in card
    assert "two-stream (0123456789ab)" in card
    assert "it called 5.1% of authentic faces forged" in card
    assert "not evidence against a person" in card
    assert ("lens-scale" in card) == (p is not None)


def test_verdict_draws_the_score_and_its_band():
    card = cards.verdict_card(
        Verdict(Label.FORGED, "So.", 0.93, 2.0),
        BAND,
        MODEL,
        {},
        "Some seconds look forged: 1.5–3.0 s.",
    )
    assert '<b style="left:93.0%">' in card
    assert (
        "Below 0.30 authentic-looking, above 0.70 forged-looking, between the two: cannot say."
        in card
    )
    assert "How often it is wrong has not been measured for this model." in card
    assert "Some seconds look forged: 1.5–3.0 s." in card


def test_every_label_has_a_sign_of_its_own():
    assert set(cards.SIGNS) == set(Label)
    assert len(set(cards.SIGNS.values())) == 4


def test_without_a_measurement_the_aim_is_named():
    said = cards.how_often_wrong({"false_positive_target": 0.05})
    assert said.startswith(
        "Its threshold was set to call about 5% of authentic validation faces forged;"
    )
    assert "not been measured" in cards.how_often_wrong({})


def line(**changes) -> Timeline:
    whole = Timeline(
        track=0,
        t=(0.0, 1.0, 2.0, 3.0),
        p=(0.1, 0.9, 0.8, 0.2),
        p_smooth=(0.2, 0.8, 0.75, 0.3),
        band=(0.3, 0.7),
        intervals=(Interval(0.5, 2.5, 0.9),),
        similarity=(0.5, 1.0, -0.2),
    )
    return replace(whole, **changes)


def test_timeline_is_a_labelled_slider_with_everything_drawn_in_place():
    drawn = clip.timeline(line(), duration_s=4.0, chosen=1)
    assert 'role="slider"' in drawn and 'tabindex="0"' in drawn
    assert 'aria-valuemax="3" aria-valuenow="1"' in drawn
    assert 'aria-valuetext="1.00 s, score 0.90, in a suspicious stretch"' in drawn
    assert "Suspicious stretches: 0.5 to 2.5 s." in drawn
    assert (
        '<div class="lens-interval" style="left:12.50%;width:50.00%"><span>suspicious 0.5–2.5 s</span>'
        in drawn
    )
    assert '<div class="lens-band" style="bottom:30.0%;height:40.0%">' in drawn
    assert '<i class="lens-dot" style="left:25.00%;bottom:90.0%">' in drawn
    assert '<polyline points="0.00,80.0 25.00,20.0 50.00,25.0 75.00,70.0"' in drawn
    # similarity, below 0 at the bottom
    assert '<polyline points="12.50,50.0 37.50,0.0 62.50,100.0"' in drawn
    assert '<div class="lens-chosen" style="left:25.00%">' in drawn


def test_timeline_tells_the_script_its_times():
    drawn = clip.timeline(line(intervals=()), duration_s=4.0, chosen=0)
    state = json.loads(drawn.split('data-state="')[1].split('"')[0].replace("&quot;", '"'))
    assert state["t"] == [0.0, 1.0, 2.0, 3.0]
    assert state["end"] == 4.0
    assert state["texts"][1] == "1.00 s, score 0.90"
    assert "Suspicious stretches: none." in drawn


def test_suspicious_seconds_are_named_person_by_person():
    twice = line(track=1, intervals=(Interval(0.0, 0.5, 0.8), Interval(2.0, 3.0, 0.9)))
    assert clip.suspicious([line()]) == "Some seconds look forged: 0.5–2.5 s."
    both = "Some seconds look forged: 0.5–2.5 s (face 0); 0.0–0.5 s and 2.0–3.0 s (face 1)."
    assert clip.suspicious([line(), twice, line(intervals=())]) == both
    assert clip.suspicious([line(intervals=())]) == ""


def test_a_clip_of_one_frame_has_a_timeline():
    one = line(t=(0.0,), p=(0.5,), p_smooth=(0.5,), intervals=(), similarity=())
    assert 'aria-valuemax="0"' in clip.timeline(one, duration_s=0.0, chosen=0)


def test_names_from_outside_are_escaped():
    nasty = '"><script>alert(1)</script>'
    assert "<script" not in clip.player(Path(f"/tmp/{nasty}.mp4"))
    assert "<script" not in markup.table({nasty: nasty}, "")
    assert "<script" not in markup.grid((nasty,), [(nasty, nasty)])
    assert "<script" not in markup.alert(nasty) + markup.note(nasty) + markup.sentences([nasty])
    assert markup.table({}, "Nothing <here>.") == '<p class="lens-small">Nothing &lt;here&gt;.</p>'


def test_metadata_and_content_credentials_are_listed():
    listed = cards.metadata({"Software": "<b>"}, {"issuer": "A & B", "title": None})
    assert "<td>&lt;b&gt;</td>" in listed
    assert '<th scope="row">Content Credentials: issuer</th><td>A &amp; B</td>' in listed
    assert "title" not in listed
    assert "No Content Credentials (C2PA) could be read." in cards.metadata({}, None)


def test_captions_name_the_frame_and_say_when_it_was_not_seen():
    clip_of_two = session(frames=2)
    first = clip_of_two.analysis.faces[0]
    score = f"{first.p_frames[1]:.2f}"
    assert panel.caption(clip_of_two, 0, 1) == f"Frame at 1.00 s, face 0, score {score}."
    unseen = replace(first.track.crops[1], confidence=0.0)
    track = replace(first.track, crops=(first.track.crops[0], unseen))
    analysis = replace(clip_of_two.analysis, faces=(replace(first, track=track),))
    said = panel.caption(Session(analysis, Path("a.mp4")), 0, 1)
    assert (
        said
        == f"Frame at 1.00 s, face 0, score {score}; not detected in this frame, its place is interpolated."
    )
    assert panel.caption(session(), 0, 0).startswith("Face 0, score ")


def test_one_colour_scale_serves_all_frames_of_a_person():
    two = session(frames=2)
    face = two.analysis.faces[0]
    faint = replace(face.evidence[0], map=face.evidence[0].map * 0.01)
    strong = replace(face.evidence[1], map=np.full_like(face.evidence[1].map, 3.0))
    two = Session(
        replace(two.analysis, faces=(replace(face, evidence=(faint, strong)),)), Path("a.mp4")
    )
    assert panel.evidence_scale(two, 0).limit == 3.0


def test_status_line_sums_up():
    assert analyse.in_short(session().analysis) == "Photo, 512 × 512 px, 1 face, took 1.0 s."
    assert (
        analyse.in_short(session(frames=3).analysis)
        == "2.0 s of video, 3 frames sampled, 1 face, took 1.0 s."
    )


def test_marks_say_whether_to_rely_on_a_map():
    good = Grade(EVIDENCE_MAP, -1.0, 2.0, 0.5, (), ())
    bad = Grade("LIME", 0.0, 0.0, -0.1, ("random",), ("edges",))
    marks = slow.marks_table(ReportCard((good, bad), {"random": (0.0, 0.0)}, {}, "blur"))
    assert "✓ Passed" in marks
    assert (
        "✗ Do not rely on this map: deletion no better than random, insertion no better than edges."
        in marks
    )
    assert '<th scope="row">control: random</th>' in marks


# ------------------------------------------------------------------------------------------------------
# what it keeps


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
    monkeypatch.setattr("explain.server.service.time.monotonic", clock)
    old, mine, yours = (
        Session(session().analysis, Path("a.png"), who, used_s=0.0) for who in ("", "me", "you")
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


# ---------------------------------------------------------------------------------------------------------
# the app


def test_building_the_page_loads_no_model(tmp_path):
    def load():
        raise AssertionError("a model was loaded before anybody asked")

    assert built(lambda: build_app(Service(tmp_path, load))).title == "Deepfake Lens"


def built(build):
    """What `build()` builds, inside a running event loop: outside of one, Gradio starts loops and
    leaves them open.
    """

    async def inside():
        return build()

    return asyncio.run(inside())


@pytest.fixture
def client(page_url: str) -> Iterator[Client]:
    with connected(page_url) as client:
        yield client


@contextmanager
def connected(url: str) -> Iterator[Client]:
    client = Client(url, verbose=False)
    yield client
    client.close()


@pytest.fixture
def photos(tmp_path: Path) -> dict[int, Path]:
    paths = {n: tmp_path / f"{n}.png" for n in (10, 20, 30)}
    for n, path in paths.items():
        Image.fromarray(np.full((8, 8, 3), n, np.uint8)).save(path)
    return paths


def test_the_api_has_its_endpoints_and_no_inner_ones(client):
    endpoints = client.view_api(return_format="dict")
    assert (
        {"/analyze", "/explain"}
        <= set(endpoints["named_endpoints"])
        <= {"/analyze", "/explain", "/degrade", "/forge"}
    )
    assert endpoints["unnamed_endpoints"] == {}


def test_a_lent_gpu_is_asked_for_only_where_there_is_one_to_lend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "spaces", None)  # not installed
    assert on_gpu(30)(len) is len
    asked: list[int] = []
    lender = ModuleType("spaces")
    lender.GPU = lambda duration: (
        asked.append(duration) or (lambda function: lambda *args: ("lent", function(*args)))
    )
    monkeypatch.setitem(sys.modules, "spaces", lender)
    assert on_gpu(30)(len)("abc") == ("lent", 3) and asked == [30]


def test_the_api_answers_with_the_contracts_object(client, photos):
    answer = client.predict(handle_file(photos[20]), api_name="/analyze")
    assert answer == json.loads(
        json.dumps(analysis_json(analysis_of([astronaut()], p_fake=0.2, name="20.png")))
    )


def test_the_api_gives_the_contracts_error_object(client, tmp_path):
    broken = tmp_path / "broken.txt"
    broken.write_text("not a picture")
    answer = client.predict(handle_file(broken), api_name="/analyze")
    assert answer["file"] == "broken.txt"
    assert answer["error"]["type"] == "MediaError"
    assert answer["error"]["message"].startswith("broken.txt ")


def test_visitors_at_once_get_their_own_answers(page_url, photos):
    with ExitStack() as stack:
        clients = {n: stack.enter_context(connected(page_url)) for n in photos}
        jobs = [
            (n, clients[n].submit(handle_file(photos[n]), api_name="/analyze"))
            for n in list(photos) * 4
        ]
        assert [job.result(timeout=60)["p_fake"] for _, job in jobs] == [n / 100 for n, _ in jobs]


def test_a_path_on_the_server_cannot_be_named(page_url):
    call = f"{page_url}gradio_api/call/analyze"
    file = {
        "path": str(ROOT / "pyproject.toml"),
        "meta": {"_type": "gradio.FileData"},
    }
    event = httpx.post(call, json={"data": [file]}).json()["event_id"]
    answer = httpx.get(f"{call}/{event}").text
    assert answer.startswith("event: error")
    assert "pyproject" not in answer


def test_the_model_tab_shows_a_card_or_says_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setattr(model, "SHIPPED", tmp_path)

    def page() -> list:
        with gr.Blocks() as blocks:
            model.build(Service(tmp_path, detector))
        return list(blocks.blocks.values())

    def card() -> list[str]:
        return [b.value for b in built(page) if b.elem_id == "lens-model-card"]

    assert card() == ["This copy comes without a model card."]
    (tmp_path / "MODEL_CARD.md").write_text(
        "---\ntags: [x]\n---\n\n# Card\n<!-- table t -->\n[a](a.csv) [b](https://b.example)",
        encoding="utf-8",
    )
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "accuracy.png")
    blocks = built(page)
    assert card() == ["# Card\na [b](https://b.example)"]
    assert "lens-accuracy" in {b.elem_id for b in blocks}
    assert not {"lens-zoo", "lens-training", "lens-reliability", "lens-accuracy-table"} & {
        b.elem_id for b in blocks
    }
    assert "The table zoo.csv is not in this copy." in [getattr(b, "value", None) for b in blocks]


def test_the_model_tab_shows_what_was_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(model, "SHIPPED", tmp_path)
    for name in ("reliability", "risk_coverage", "training"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / f"{name}.png")
    line = dict.fromkeys(model.HEADINGS, "") | {
        "recipe": "<tiny>",
        "auc": "0.61234",
        "images_seen": "160",
    }
    (tmp_path / "zoo.csv").write_text(
        ",".join(line) + "\n" + ",".join(line.values()) + "\n", encoding="utf-8"
    )
    (tmp_path / "accuracy.csv").write_text(
        "set,family,degradation,auc,auc_low,auc_high\nvalidation faces,self-blend,none,0.914,0.867,0.955\n"
        "validation faces,self-blend,heavy,0.83,0.766,0.891\ndevset,lip sync,as found,,,\n", encoding="utf-8"
    )  # fmt: skip
    (tmp_path / "authentic.csv").write_text(
        "kind,group,degradation,n,false_positives\nset,ffhq,light,40,0.025\nformat,half size,half size,9,0.5\n",
        encoding="utf-8",
    )

    def page() -> dict:
        with gr.Blocks() as blocks:
            model.build(Service(tmp_path, detector))
        return {b.elem_id: b for b in blocks.blocks.values()}

    shown = built(page)
    assert {"lens-reliability", "lens-risk-coverage", "lens-training"} <= set(shown)
    assert '<th scope="row">&lt;tiny&gt;</th>' in shown["lens-zoo"].value
    assert "<td>0.612</td>" in shown["lens-zoo"].value and "<td>160</td>" in shown["lens-zoo"].value
    accuracy = shown["lens-accuracy-table"].value
    assert (
        "<td>0.91 (0.87-0.95)</td><td>0.83 (0.77-0.89)</td>" in accuracy
        and "lip sync" not in accuracy
    )
    groups = shown["lens-authentic-table"].value
    assert (
        '<th scope="col">light</th><th scope="col">none</th>' in groups
        and "<td>2%</td><td></td>" in groups
    )
    assert '<th scope="row">format: half size (9)</th><td></td><td>50%</td>' in groups


# -------------------------------------------------------------------------------------------------------
# other models


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory) -> Path:
    """A folder of model folders: one network without a map and without a denoiser, as a training
    run leaves it.
    """
    home = tmp_path_factory.mktemp("models")
    tiny = NetworkConfig(
        "timm", {"name": "test_resnet", "input_px": 64}, "mean", {}, denoiser_widths=()
    )
    write_model(DeepfakeNetwork(tiny), "tiny", home / "run" / "model", {}, fp16=False)
    (home / "no model").mkdir()
    return home


def test_the_menu_offers_shipped_models_and_folders_and_nothing_else(tiny_model, tmp_path):
    offered = offered_models(tiny_model)
    assert (
        list(offered) == [*model_names(), "run"] and offered["run"] == tiny_model / "run" / "model"
    )
    assert list(offered_models()) == model_names()
    service = Service(tmp_path, detector, offered)
    assert service.detector() is detector() and service.detector(model_names()[0]) is detector()
    assert service.detector("run").info.name == "tiny" and service.detector(
        "run"
    ) is service.detector("run")
    for path in (str(tiny_model / "run" / "model"), "../run", ""):
        with pytest.raises(WeightsError, match="not offered"):
            service.detector(path)


def test_a_model_without_a_map_or_a_denoiser_is_shown_all_the_same(tiny_model, tmp_path):
    service = Service(tmp_path, detector, offered_models(tiny_model))
    one = Session(analysis_of([astronaut()]), Path("a.png"), model="run")

    def shown() -> dict:
        with gr.Blocks():
            place = panel.Panel(service)
        return {getattr(c, "elem_id", None): v for c, v in place.full(one, 0, 0).items()}

    shown = built(shown)
    assert shown["lens-evidence"].visible is False
    assert (
        "no denoiser" in shown["lens-restored"]
        and "not evidence against a person" in shown["lens-words"]
    )
