"""The main tab: a photo or a clip in, a verdict with its explanation out.

Upload, camera and examples all fill one file field, and that starts a run. The verdict comes first,
the pictures of the chosen frame after it (panel.py), slow explanations when asked for (slow.py).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from detector.types import Analysis
from explain import figures
from explain.lab.examples import EXAMPLES, thumbnail, write_example
from explain.pipeline import most_suspicious
from explain.provenance import c2pa_manifest
from explain.server import markup
from explain.server.faults import spoken
from explain.server.service import Service, Session
from explain.tabs import cards, clip
from explain.tabs.panel import Panel
from explain.tabs.slow import Slow
from explain.timeline import build_timeline

HELLO = "Drop a photo or a clip with a face, or choose an example."
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
# On a phone the answer lies below the fold.
SCROLL_JS = "f => f && document.getElementById('lens-status').scrollIntoView({block: 'nearest', behavior: 'smooth'})"
Update = dict[Any, Any]


@dataclass(frozen=True, eq=False)
class Source:
    """Where files come from."""

    file: gr.File
    model: gr.Dropdown
    start: gr.Button
    stop: gr.Button
    examples: gr.HTML
    camera: gr.Image


@dataclass(frozen=True, eq=False)
class Result:
    """What is said about the file."""

    status: gr.HTML
    verdict: gr.HTML
    face: gr.Radio
    player: gr.HTML
    timeline: gr.HTML
    metadata: gr.HTML
    body: gr.Column
    token: gr.State  # of the Session in Service.sessions
    chosen: gr.State  # which face of the analysis and which of its frames, both counted from 0


def build(service: Service) -> None:
    """Lay out the tab and wire it."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            source = _source(service)
        with gr.Column(scale=5, min_width=320):
            result = _result()
            with result.body:
                panel = Panel(service)
                slow = Slow(service, result.token, result.chosen, result.status, panel.words)
                with gr.Accordion(
                    "What the file says about itself (not part of the score)", open=False
                ):
                    result.metadata.render()
    _wire_source(service, source)
    _wire_run(service, source, result, panel, slow)
    _wire_choice(service, result, panel, slow)


# -----------------------------------------------------------------------------------------------------------
# layout


def _source(service: Service) -> Source:
    file = gr.File(label="Photo or clip", elem_id="lens-file", height=150)
    model = gr.Dropdown(
        list(service.models), label="Model", info="Takes effect at the next analysis.",
        visible=len(service.models) > 1, elem_id="lens-model",
    )  # fmt: skip
    with gr.Row():
        start = gr.Button("Analyse", variant="primary", elem_id="lens-start", min_width=120)
        stop = gr.Button(
            "Cancel", variant="stop", interactive=False, elem_id="lens-stop", min_width=120
        )
    gr.Markdown("**Or try an example.** Public-domain faces; the forgeries were made from them.")
    examples = gr.HTML(
        cards.examples(
            [(figures.png(thumbnail(example)), example.caption) for example in EXAMPLES]
        ),
        js_on_load=cards.EXAMPLES_JS,
        elem_id="lens-examples",
    )
    with gr.Accordion("Take a picture with the camera", open=False):
        camera = gr.Image(
            sources=["webcam"], type="filepath", image_mode=None, format="png", show_label=False
        )
    gr.HTML(
        '<p class="lens-small">Files are deleted when you close the page, or after about an hour. '
        "Nothing is learnt from them.</p>",
        elem_id="lens-privacy",
    )
    return Source(file, model, start, stop, examples, camera)


def _result() -> Result:
    token = gr.State(None)
    status = gr.HTML(markup.note(HELLO), elem_id="lens-status")
    verdict = gr.HTML(cards.welcome(), elem_id="lens-verdict")
    with gr.Column(visible=False, elem_id="lens-body") as body:
        face = gr.Radio([], label="Face", visible=False, elem_id="lens-face")
        player = gr.HTML(visible=False, elem_id="lens-player")
        timeline = gr.HTML(visible=False, elem_id="lens-line")
    metadata = gr.HTML(elem_id="lens-metadata", render=False)
    return Result(status, verdict, face, player, timeline, metadata, body, token, gr.State((0, 0)))


# -----------------------------------------------------------------------------------------------------------
# wiring


def _wire_source(service: Service, source: Source) -> None:
    def example(event: gr.EventData) -> str:
        folder = service.folder / "examples"
        folder.mkdir(exist_ok=True)
        return str(write_example(EXAMPLES[int(event.index)], folder))

    source.examples.select(
        example, None, source.file, api_visibility="private", show_progress_on=source.file
    )
    source.camera.input(lambda picture: picture, source.camera, source.file, **QUIET)


def _wire_run(service: Service, source: Source, result: Result, panel: Panel, slow: Slow) -> None:
    buttons = [source.start, source.stop]

    def begin(path: str | None, token: str | None, request: gr.Request) -> Update:
        service.runs.start(str(request.session_hash))
        service.sessions.drop(token)
        buttons = {
            source.start: gr.Button(interactive=False),
            source.stop: gr.Button(interactive=path is not None),
        }
        return {**buttons, **_cleared(result), **panel.cleared(), result.status: markup.note(" ")}

    @spoken(result.status)
    def run(
        path: str | None,
        model: str | None,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Update:
        visitor = str(request.session_hash)
        with service.runs.running(
            visitor, lambda share, stage: progress(share, desc=stage)
        ) as step:
            if path is None:
                return {result.status: markup.note(HELLO)}
            step(0.0, "Loading the detector")
            detector = service.detector(model)
            analysis = detector.analyze(path, progress=step)
            step(1.0, "Done")
        return {
            **_shown(service, Session(analysis, Path(path), visitor, model), result),
            **slow.fresh(detector, analysis.media.kind),
        }

    def end(request: gr.Request) -> Update:
        if service.runs.awaited(str(request.session_hash)):  # another run took over
            return {source.start: gr.skip(), source.stop: gr.skip()}
        return {
            source.start: gr.Button(interactive=True),
            source.stop: gr.Button(interactive=False),
        }

    def cancel(request: gr.Request) -> Update:
        service.runs.cancel(str(request.session_hash))
        return {result.status: markup.note("Cancelled."), **end(request)}

    # "multiple" throughout: a run that waits for its turn must not swallow the next one.
    running = gr.on(
        [source.file.change, source.start.click], begin, [source.file, result.token],
        [*buttons, result.status, result.verdict, result.body, result.token, *panel.outputs],
        queue=False, trigger_mode="multiple", **QUIET,
    ).then(
        run, [source.file, source.model], [*vars(result).values(), *slow.outputs, *slow.report, slow.method],
        concurrency_id="analysis", show_progress_on=result.status, api_visibility="private", trigger_mode="multiple",
    )  # fmt: skip
    source.file.change(None, source.file, None, js=SCROLL_JS, **QUIET)
    running.then(end, None, buttons, queue=False, trigger_mode="multiple", **QUIET)
    _full(service, running.success, result, panel)
    source.stop.click(
        cancel, None, [result.status, *buttons], cancels=[running], queue=False, **QUIET
    )


def _wire_choice(service: Service, result: Result, panel: Panel, slow: Slow) -> None:
    @spoken(result.status)
    def choose_face(token: str, position: int) -> Update:
        session = service.sessions.get(token)
        return {**_face(service, session, position, result), **slow.cleared()}

    @spoken(result.status)
    def choose_frame(token: str, chosen: tuple[int, int], choice: str) -> Update:
        session, asked, face = service.sessions.get(token), json.loads(choice), chosen[0]
        frame = int(np.clip(int(asked["index"]), 0, len(session.analysis.faces[face].evidence) - 1))
        if asked["playing"]:
            return {result.chosen: (face, frame), **panel.quick(session, face, frame)}
        return {result.chosen: (face, frame), **panel.full(session, face, frame), **slow.cleared()}

    picked = result.face.input(
        choose_face, [result.token, result.face],
        [result.status, result.timeline, result.chosen, *slow.outputs], trigger_mode="always_last", **QUIET,
    )  # fmt: skip
    _full(service, picked.success, result, panel)
    choice = gr.HTML(visible="hidden", js_on_load=clip.TIMELINE_JS)
    choice.select(
        choose_frame, [result.token, result.chosen, choice],
        [result.status, result.chosen, *panel.outputs, *slow.outputs],
        trigger_mode="always_last", concurrency_id="frames", concurrency_limit=2, **QUIET,
    )  # fmt: skip


def _full(service: Service, after: Any, result: Result, panel: Panel) -> None:
    """Show the chosen frame in full after another event."""

    @spoken(result.status)
    def show(token: str | None, chosen: tuple[int, int]) -> Update:
        if token is None:  # nothing was analysed, and the status says why
            return {result.status: gr.skip()}
        return panel.full(service.sessions.get(token), *chosen)

    after(
        show, [result.token, result.chosen], [result.status, *panel.outputs],
        trigger_mode="always_last", concurrency_id="frames", concurrency_limit=2,
        api_visibility="private", show_progress_on=panel.frame,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------
# answers


def _cleared(result: Result) -> Update:
    return {
        result.verdict: cards.welcome(),
        result.body: gr.Column(visible=False),
        result.token: None,
    }


def _shown(service: Service, session: Session, result: Result) -> Update:
    """Everything but the pictures of the chosen frame, for a fresh analysis."""
    analysis, detector = session.analysis, service.detector(session.model)
    thresholds = detector.profiles[analysis.media.kind].thresholds
    lines = [build_timeline(face, thresholds) for face in analysis.faces]
    card = cards.verdict_card(
        analysis.verdict, thresholds, analysis.model, detector.entry, clip.suspicious(lines)
    )
    said: Update = {result.status: markup.note(in_short(analysis)), result.verdict: card}
    if not analysis.faces:
        return said
    names = [(cards.face_name(face), i) for i, face in enumerate(analysis.faces)]
    is_clip = analysis.media.kind == "video"
    return {
        **said,
        result.face: gr.Radio(names, value=0, visible=len(names) > 1),
        result.player: gr.HTML(clip.player(session.path) if is_clip else "", visible=is_clip),
        result.metadata: cards.metadata(analysis.media.metadata, c2pa_manifest(session.path)),
        result.body: gr.Column(visible=True),
        result.token: service.sessions.keep(session),
        **_face(service, session, 0, result),
    }


def _face(service: Service, session: Session, position: int, result: Result) -> Update:
    """Another person: their timeline, and their most forged-looking frame chosen."""
    media, face = session.analysis.media, session.analysis.faces[position]
    frame = most_suspicious(face)
    if media.kind != "video":
        return {result.timeline: gr.HTML("", visible=False), result.chosen: (position, frame)}
    profile = service.detector(session.model).profiles[media.kind]
    line = build_timeline(face, profile.thresholds)
    return {
        result.timeline: gr.HTML(clip.timeline(line, media.duration_s, frame), visible=True),
        result.chosen: (position, frame),
    }


def in_short(analysis: Analysis) -> str:
    """What was looked at, in one line."""
    media, faces = analysis.media, len(analysis.faces)
    found = f"{faces} face{'' if faces == 1 else 's'}"
    seconds = analysis.timing_s.get("total", 0.0)
    if media.kind == "video":
        what = f"{media.duration_s:.1f} s of video, {len(media.frames)} frames sampled"
    else:
        what = f"Photo, {media.width} × {media.height} px"
    return f"{what}, {found}, took {seconds:.1f} s."
