"""The main tab: a photo or a clip in, a verdict with its explanation out.

Upload, camera and examples all fill one file field, and that starts a run. The verdict comes first, the pictures of the
chosen frame after it, slow explanations when asked for (panel.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from detector.types import Analysis
from explain.lab.examples import EXAMPLES, thumbnail, write_example
from explain.tabs import cards
from explain.tabs.panel import Panel
from explain.tabs.service import Cancelled, Service, Session, spoken
from explain.timeline import Timeline, build_timeline

IDLE_SECONDS = 3600  # an analysis nobody looked at for this long is dropped
Update = dict[Any, Any]


@dataclass(frozen=True, eq=False)
class Source:
    """Where files come from."""

    file: gr.File
    camera: gr.Image
    examples: gr.Gallery
    start: gr.Button
    stop: gr.Button


@dataclass(frozen=True, eq=False)
class Result:
    """What is said about the file."""

    status: gr.HTML
    verdict: gr.HTML
    face: gr.Radio
    player: gr.HTML
    timeline: gr.HTML
    metadata: gr.HTML


def build(service: Service) -> None:
    """Lay out the tab and wire it."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            source = _source()
        with gr.Column(scale=5, min_width=320):
            token = gr.State(None, time_to_live=IDLE_SECONDS, delete_callback=service.sessions.drop)
            chosen = gr.State((0, 0))  # which face of the analysis, which of its frames
            result, body = _result()
            with body:
                panel = Panel(service, token, chosen, result.status)
                with gr.Accordion("What the file says about itself (separate evidence, not part of the score)", open=False):
                    metadata = gr.HTML(elem_id="lens-metadata")
    result = Result(**{**result.__dict__, "metadata": metadata})
    _wire_source(service, source)
    _wire_run(service, source, result, body, panel)
    _wire_choice(service, result, panel)


# ----------------------------------------------------------------------------------------------------------- layout


def _source() -> Source:
    file = gr.File(label="Photo or clip", elem_id="lens-file", height=150)
    with gr.Row():
        start = gr.Button("Analyse", variant="primary", elem_id="lens-start", min_width=120)
        stop = gr.Button("Cancel", variant="stop", interactive=False, elem_id="lens-stop", min_width=120)
    gr.Markdown("**Or try an example** (public-domain faces; the forgeries were made from them)")
    examples = gr.Gallery(
        [(thumbnail(example), example.caption) for example in EXAMPLES],
        columns=2, height="auto", object_fit="cover", allow_preview=False, interactive=False, format="png",
        show_label=False, buttons=[], elem_id="lens-examples",
    )  # fmt: skip
    with gr.Accordion("Take a picture with the camera", open=False):
        camera = gr.Image(sources=["webcam"], type="filepath", image_mode=None, format="png", show_label=False)
    gr.Markdown(
        "Files are kept while you look at them and deleted within the hour. Nothing is learnt from them.",
        elem_classes="lens-small",
    )
    return Source(file, camera, examples, start, stop)


def _result() -> tuple[Result, gr.Column]:
    status = gr.HTML(cards.note("Drop a photo or a clip with a face, or choose an example."), elem_id="lens-status")
    verdict = gr.HTML(elem_id="lens-verdict")
    with gr.Column(visible=False, elem_id="lens-body") as body:
        face = gr.Radio([], label="Face", visible=False, elem_id="lens-face")
        player = gr.HTML(visible=False, elem_id="lens-player")
        timeline = gr.HTML(visible=False, elem_id="lens-timeline", js_on_load=cards.TIMELINE_JS)
    return Result(status, verdict, face, player, timeline, status), body


# ----------------------------------------------------------------------------------------------------------- wiring


def _wire_source(service: Service, source: Source) -> None:
    def example(event: gr.SelectData) -> str:
        folder = service.folder / "examples"
        folder.mkdir(exist_ok=True)
        return str(write_example(EXAMPLES[int(event.index)], folder))

    source.examples.select(example, None, source.file, api_visibility="private", show_progress_on=source.file)
    source.camera.input(lambda picture: picture, source.camera, source.file, api_visibility="private")


def _wire_run(service: Service, source: Source, result: Result, body: gr.Column, panel: Panel) -> None:
    token, chosen = panel.token, panel.chosen

    def begin(path: str | None, request: gr.Request) -> Update:
        service.runs.start(str(request.session_hash))
        return {source.start: gr.Button(interactive=False), source.stop: gr.Button(interactive=path is not None)}

    @spoken(result.status)
    def run(path: str | None, old: str | None, request: gr.Request, progress: Any = gr.Progress()) -> Update:  # noqa: B008
        empty = {result.verdict: "", token: None, body: gr.Column(visible=False)}
        service.sessions.drop(old)
        if path is None:
            return {result.status: cards.note("Drop a photo or a clip with a face, or choose an example."), **empty}
        yield_to = service.runs.progress(str(request.session_hash), lambda share, stage: progress(share, desc=stage))
        yield_to(0.0, "Loading the detector")
        try:
            analysis = service.detector().analyze(path, progress=yield_to)
        except Cancelled:
            raise
        return shown(service, Session(analysis, Path(path)), result, body, panel)

    def end() -> Update:
        return {source.start: gr.Button(interactive=True), source.stop: gr.Button(interactive=False)}

    def cancel(request: gr.Request) -> Update:
        service.runs.cancel(str(request.session_hash))
        return {result.status: cards.note("Cancelled."), **end()}

    buttons = [source.start, source.stop]
    outputs = [*result.__dict__.values(), body, token, chosen]
    running = gr.on(
        [source.file.change, source.start.click], begin, source.file, buttons,
        queue=False, trigger_mode="multiple", api_visibility="private", show_progress="hidden",
    ).then(
        run, [source.file, token], outputs,
        show_progress_on=result.status, concurrency_id="analysis", api_visibility="private",
    )  # fmt: skip
    running.then(end, None, buttons, queue=False, api_visibility="private", show_progress="hidden")
    running.success(panel.show_full, [token, chosen], panel.pictures, **panel.looking)
    source.stop.click(
        cancel, None, [result.status, *buttons], cancels=[running], queue=False, api_visibility="private", show_progress="hidden"
    )
