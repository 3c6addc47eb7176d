"""The page as a whole and its API, without a browser."""

import json
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType

import gradio as gr
import httpx
import numpy as np
import pytest
from explain_faces import analysis_of, astronaut, detector
from gradio_client import Client, handle_file
from page_tools import built, session_of
from PIL import Image

from detector.contract import analysis_json
from detector.errors import WeightsError
from detector.manifest import model_names
from detector.nets.network import DeepfakeNetwork, NetworkConfig
from detector.training.export import write_model
from explain import page
from explain.page import build_app
from explain.server import guard
from explain.server.api import on_gpu
from explain.server.service import (
    Choice,
    Service,
    offered_models,
)
from explain.tabs import model, panel

ROOT = Path(__file__).resolve().parent.parent


def test_building_the_page_loads_no_model(tmp_path):
    def load():
        raise AssertionError("a model was loaded before anybody asked")

    assert built(lambda: build_app(Service(tmp_path, load))).title == "Deepfake Lens"


def test_what_the_page_waits_for_before_it_shows_anything_is_small(page_url):
    first = httpx.get(page_url)
    assert first.status_code == 200 and "Deepfake Lens" in first.text
    assert len(first.content) < 1_500_000
    assert first.headers["Content-Encoding"] == "gzip"
    assert first.num_bytes_downloaded < 500_000
    as_is = httpx.get(page_url, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in as_is.headers and as_is.text == first.text


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


def test_the_api_page_shows_our_functions_and_a_photo(client):
    info = client.view_api(return_format="dict")["named_endpoints"]
    names = {name: [p["parameter_name"] for p in of["parameters"]] for name, of in info.items()}
    assert names["/analyze"] == names["/explain"] == ["file"]
    assert names["/degrade"] == ["file", "sweep"] and names["/forge"] == ["file", "settings"]
    for of in info.values():
        assert of["parameters"][0]["example_input"]["value"] == "photo.jpg"
        assert len(of["description"]) > 60
    assert "never evidence against a person" in info["/analyze"]["description"]


def test_the_readmes_example_runs(page_url, photos, capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (block,) = [b for b in re.findall(r"```python\n(.*?)```", text, re.S) if "gradio_client" in b]
    assert "http://127.0.0.1:7860" in block and '"photo.jpg"' in block
    code = block.replace("http://127.0.0.1:7860", page_url).replace('"photo.jpg"', "PHOTO")
    found = {"PHOTO": str(photos[20])}
    exec(code, found)
    found["client"].close()
    assert "forged 0.2 Told so by the test." in capsys.readouterr().out


@pytest.mark.parametrize("installed", [True, False])
def test_tools_for_assistants_are_there_where_the_extra_is(tmp_path, monkeypatch, installed):
    asked = {}
    monkeypatch.setattr(page, "find_spec", lambda name: object() if installed else None)
    monkeypatch.setattr(page.LocalBlocks, "launch", lambda self, **options: asked.update(options))
    monkeypatch.setattr(page, "own_names", lambda: None)  # of the whole process
    service = Service(tmp_path, detector)
    monkeypatch.setattr(service.ready, "start", lambda *_: None)
    built(lambda: page.launch(service))
    assert asked["mcp_server"] is installed and asked["allowed_paths"] == []
    assert asked["_frontend"] is False  # a busy machine is no reason not to start


def test_a_file_is_named_to_tools_by_address_never_by_content():
    def refusal(file: str, of_tools: bool) -> object:
        body = json.dumps({"params": {"name": "analyze", "arguments": {"file": file}}}).encode()
        same, refused = guard._checked(body, of_tools)
        assert same == body
        return refused

    assert refusal("data:image/png;base64,AAAA", True) == (
        400,
        "Files are uploaded, never fetched.",
    )
    assert refusal("http://h/gradio_api/file=/tmp/x.png", True) is None
    assert refusal("data:image/png;base64,AAAA", False) is None


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
        with gr.Blocks() as blocks, gr.Tabs(), gr.Tab() as tab:
            model.build(Service(tmp_path, detector), tab)
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
    accuracy = [
        "set,family,degradation,auc,auc_low,auc_high",
        "validation faces,self-blend,none,0.914,0.867,0.955",
        "validation faces,self-blend,heavy,0.83,0.766,0.891",
        "genuine forgeries,lip sync,as found,,,",
    ]
    authentic = [
        "kind,group,degradation,n,false_positives",
        "set,ffhq,light,40,0.025",
        "format,half size,half size,9,0.5",
    ]
    for name, lines in (("accuracy.csv", accuracy), ("authentic.csv", authentic)):
        (tmp_path / name).write_text("\n".join(lines) + "\n", encoding="utf-8")

    def page() -> dict:
        with gr.Blocks() as blocks, gr.Tabs(), gr.Tab() as tab:
            model.build(Service(tmp_path, detector), tab)
        return {b.elem_id: b for b in blocks.blocks.values()}

    shown = built(page)
    assert {"lens-reliability", "lens-risk-coverage", "lens-training"} <= set(shown)
    assert '<th scope="row">&lt;tiny&gt;</th>' in shown["lens-zoo"].value
    assert "<td>0.612</td>" in shown["lens-zoo"].value and "<td>160</td>" in shown["lens-zoo"].value
    accuracy_table = shown["lens-accuracy-table"].value
    assert (
        "<td>0.91 (0.87-0.95)</td><td>0.83 (0.77-0.89)</td>" in accuracy_table
        and "lip sync" not in accuracy_table
    )
    groups = shown["lens-authentic-table"].value
    assert (
        '<th scope="col">light</th><th scope="col">none</th>' in groups
        and "<td>2%</td><td></td>" in groups
    )
    assert '<th scope="row">format: half size (9)</th><td></td><td>50%</td>' in groups


# ----------------------------------------------------------------------------------------------
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
    one = session_of(analysis_of([astronaut()]), model="run")

    def shown() -> dict:
        with gr.Blocks():
            place = panel.FramePanel(service)
        return {getattr(c, "elem_id", None): v for c, v in place.show(one, Choice(0, 0)).items()}

    shown = built(shown)
    assert shown["lens-evidence"].visible is False
    assert (
        "no denoiser" in shown["lens-restored"]
        and "not evidence against a person" in shown["lens-words"]
    )
