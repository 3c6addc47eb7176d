"""What the shipped model says of a clip that is forged in part and of a group with one forged face:
the same words wherever they are read.
"""

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import gradio as gr
import numpy as np
import pytest
from page_tools import built, session_of
from PIL import Image

from detector.__main__ import in_words
from detector.contract import analysis_json
from detector.pipeline import Detector, default_detector
from detector.stopping import stoppable
from detector.types import Analysis, Label
from explain.cam import EVIDENCE_MAP
from explain.explainer import Explainer
from explain.lab.examples import EXAMPLES, astronaut_swapped, hopper, write_example
from explain.pipeline import ExplainOptions
from explain.report import build_report
from explain.server import api, ready
from explain.server.service import Service
from explain.tabs import analyse, beforehand, cards

QUICK = ExplainOptions(methods=(EVIDENCE_MAP,), lime=False, check=False, changes=False)


@pytest.fixture(scope="module")
def detector() -> Detector:
    """The shipped one, with both networks in memory."""
    shipped = default_detector()
    assert shipped.clip is not None
    return shipped


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def looks_s() -> list[float]:
    """Processor seconds at which the clip's analysis could have been stopped."""
    return []


@pytest.fixture(scope="module")
def clip(detector: Detector, folder: Path, looks_s: list[float]) -> Analysis:
    path = write_example(EXAMPLES[5], folder)  # forged from 1.5 to 3.0 s
    looks_s.append(time.process_time())
    with stoppable(lambda: looks_s.append(time.process_time())):
        analysis = detector.analyze(path)
    looks_s.append(time.process_time())
    return analysis


@pytest.fixture(scope="module")
def group(detector: Detector, folder: Path) -> Analysis:
    path = folder / "group.png"
    Image.fromarray(np.hstack([astronaut_swapped(), hopper()[:512]])).save(path)
    return detector.analyze(path)


def told_everywhere(
    detector: Detector, analysis: Analysis, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The headline as JSON, API, report (JSON and HTML), page and command line say it."""
    yield analysis_json(analysis)["headline"]
    monkeypatch.setattr(detector, "analyze", lambda *args, **named: analysis)

    def build() -> gr.Blocks:
        with gr.Blocks() as blocks:
            api.build(Service(folder, lambda: detector))
        return blocks

    analyze = next(fn.fn for fn in built(build).fns.values() if fn.api_name == "analyze")
    yield analyze(str(folder / analysis.media.name))["headline"]
    explainer = Explainer(detector, analysis.media.kind)
    report = build_report(explainer, analysis, None, QUICK)
    yield report.content["verdict"]["headline"]
    said = beforehand.headline(analysis)
    assert said in report.html()
    assert f"<span>{said}</span>" in cards.verdict_card(
        analysis.verdict, explainer.profile.thresholds, detector.info, {}
    )
    assert in_words(analysis).startswith(f"{analysis.media.name}: {said} (score ")
    yield said


def test_a_clip_forged_in_part_is_told_with_its_seconds(detector, clip, folder, monkeypatch):
    assert clip.verdict.label is Label.FORGED
    assert clip.verdict.part == pytest.approx((1.5, 3.0), abs=0.25)  # so it was made
    start, end = clip.verdict.part
    expected = {f"Part of this clip looks forged: {start:.1f}-{end:.1f} s"}
    assert set(told_everywhere(detector, clip, folder, monkeypatch)) == expected


def test_a_group_with_a_forged_face_is_told_by_its_faces(detector, group, folder, monkeypatch):
    expected = {"1 of 2 faces looks forged"}
    assert set(told_everywhere(detector, group, folder, monkeypatch)) == expected
    forged, authentic = group.faces  # the worst first
    assert (forged.verdict.label, authentic.verdict.label) == (Label.FORGED, Label.AUTHENTIC)
    assert group.verdict.p_fake == forged.verdict.p_fake > 0.9


def test_an_analysis_can_be_stopped_within_a_second(clip, looks_s):
    assert len(looks_s) > 20
    assert max(np.diff(looks_s)) < 1


def test_a_new_photo_takes_at_most_two_and_a_half_processor_seconds(detector, group, folder):
    path = write_example(EXAMPLES[0], folder)  # `group` has warmed everything up
    start_s = time.process_time()
    assert detector.analyze(path).verdict.label is Label.AUTHENTIC
    assert time.process_time() - start_s <= 2.5


def test_an_examples_answer_is_ready_before_it_is_asked_for(detector, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(ready, "EXAMPLES", EXAMPLES[5:])
    service, filled = Service(tmp_path, lambda: detector), threading.Event()
    service.detector()
    service.ready.start(
        service.closing, lambda path: session_of(clip, path), lambda answer: None, filled.set
    )
    assert filled.wait(60)

    def build() -> gr.Blocks:
        with gr.Blocks() as blocks:
            analyse.build(service)
        return blocks

    run = next(fn.fn for fn in built(build).fns.values() if fn.name == "_run")
    asked = Mock()
    monkeypatch.setattr(detector, "analyze", asked)
    start_s = time.process_time()
    shown = run(str(service.ready.path(EXAMPLES[5])), None, Mock(session_hash="me"), Mock())
    assert time.process_time() - start_s <= 1
    assert "Part of this clip looks forged" in str(list(shown.values()))
    asked.assert_not_called()
