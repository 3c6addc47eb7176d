"""The main tab: a photo or a clip in, a verdict with its explanation out.

Upload, camera and examples all fill one file field, and that starts a run. The verdict comes first,
the pictures of the chosen frame after it (panel.py), slow explanations when asked for
(on_demand.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np

from detector.decide import asked_thresholds, deciding_face
from explain import figures
from explain.lab.examples import EXAMPLES, thumbnail
from explain.server import markup
from explain.server.address import address_js
from explain.server.faults import spoken
from explain.server.language import told_progress
from explain.server.service import Cancelled, Choice, GoneError, Service, Session
from explain.server.widgets import QUIET, Update
from explain.tabs import cards, clip, layer, preview
from explain.tabs.about import AboutFile
from explain.tabs.beforehand import analysed, finished, headline, shown_first
from explain.tabs.on_demand import OnDemand
from explain.tabs.panel import FramePanel

HELLO = "Drop a photo or a clip with a face, or choose an example."
PRIVACY = (
    "Files are deleted when you close the page, or after about an hour. Nothing is learnt from "
    "them."
)
# On a phone progress and answer lie below the fold; where they are in sight, nothing moves. Once
# more when what stands above has its final height. A long list of faces is at the chosen one.
SCROLL_JS = """() => [100, 1000].forEach(wait => setTimeout(() => {
  const face = document.querySelector('.lens-faces label:has(:checked)');
  if (face) face.parentElement.scrollTop = face.offsetTop - face.parentElement.offsetTop;
  const shown = document.getElementById('lens-verdict'), box = shown.getBoundingClientRect();
  const line = document.querySelector('#lens-line .lens-timeline');  // of a clip
  const end = Math.max(box.bottom, line ? line.getBoundingClientRect().bottom : 0);
  if (box.top < 0 || (end > innerHeight && box.top > 24))
    shown.scrollIntoView({block: 'start'});
}, wait))"""
FIRST_WAIT_S = 300.0  # for the finished example, at the page's first start; later it is there
# the listeners that fill the panel: only the last one that waits is answered
FRAME_EVENTS: dict[str, Any] = {
    "trigger_mode": "always_last",
    "concurrency_id": "frames",
    "concurrency_limit": 2,
}


@dataclass(frozen=True, eq=False)
class Inputs:
    """Where files come from."""

    file: gr.File
    model: gr.Dropdown
    stop: gr.Button
    examples: gr.HTML
    camera: gr.Image


@dataclass(frozen=True, eq=False)
class Answer:
    """What is said about the file."""

    status: gr.HTML
    welcome: gr.HTML  # until something is asked
    verdict: gr.HTML
    face: gr.HTML
    player: gr.HTML
    timeline: gr.HTML
    body: gr.Column
    tags: gr.State  # of the file, once it was analysed
    token: gr.State  # of the Session in Service.sessions
    chosen: gr.State  # the Choice that the panel shows


def build(service: Service) -> gr.File:
    """Lay out the tab and wire it. Returns the file field: a file in it starts a run."""
    with gr.Row():
        with gr.Column(scale=2, min_width=300):
            inputs = _lay_out_inputs(service)
        with gr.Column(scale=5, min_width=320):
            answer = _lay_out_answer()
            about = AboutFile()
            with answer.body.render():
                panel = FramePanel(service)
                on_demand = OnDemand(
                    service, answer.token, answer.chosen, answer.status, panel.words
                )
    tab = AnalyseTab(service, inputs, answer, about, panel, on_demand)
    tab.wire_inputs()
    tab.wire_run()
    tab.wire_choice()
    tab.wire_welcome()
    return inputs.file


# ----------------------------------------------------------------------------------------------
# layout


def _lay_out_inputs(service: Service) -> Inputs:
    file = gr.File(label="Photo or clip", elem_id="lens-file", height=130)
    stop = gr.Button("Cancel", variant="stop", visible=False, elem_id="lens-stop", size="sm")
    gr.HTML(f'<p class="lens-small">{PRIVACY}</p>', elem_id="lens-privacy")
    model = gr.Dropdown(
        list(service.models),
        label="Model",
        info="Analyses the file again.",
        visible=len(service.models) > 1,
        elem_id="lens-model",
    )
    gr.Markdown("**Or try an example.** Public-domain faces; the forgeries were made from them.")
    examples = gr.HTML(
        cards.examples(
            [cards.ExampleButton(figures.png(thumbnail(e)), e.caption, e.name) for e in EXAMPLES]
        ),
        js_on_load=cards.EXAMPLES_JS,
        elem_id="lens-examples",
    )
    with gr.Accordion("Take a picture with the camera", open=False):
        camera = gr.Image(
            sources=["webcam"], type="filepath", image_mode=None, format="png", show_label=False
        )
    return Inputs(file, model, stop, examples, camera)


def _lay_out_answer() -> Answer:
    token = gr.State(None)
    status = gr.HTML(markup.note(HELLO), elem_id="lens-status")
    welcome = gr.HTML(cards.welcome(), elem_id="lens-welcome")
    with gr.Row(elem_id="lens-top"):  # side by side where there is room
        verdict = gr.HTML(elem_id="lens-verdict")
        player = gr.HTML(visible=False, elem_id="lens-player")
    face = gr.HTML(visible=False, elem_id="lens-face")
    timeline = gr.HTML(visible=False, elem_id="lens-line")
    body = gr.Column(visible=False, elem_id="lens-body", render=False)
    tags = gr.State(None)
    chosen = gr.State(Choice(face=0, frame=0))
    return Answer(
        status, welcome, verdict, face, player, timeline, body, tags, token, chosen
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------
# behaviour


@dataclass(frozen=True, eq=False)
class AnalyseTab:
    """The tab's listeners; each returns the components that it changes."""

    service: Service
    inputs: Inputs
    answer: Answer
    about: AboutFile
    panel: FramePanel
    on_demand: OnDemand

    def wire_inputs(self) -> None:
        """An example or a picture of the camera fills the file field."""
        inputs = self.inputs
        inputs.examples.select(
            self._example,
            None,
            inputs.file,
            api_visibility="private",
            show_progress_on=inputs.file,
        )
        inputs.camera.input(lambda picture: picture, inputs.camera, inputs.file, **QUIET)
        own = [inputs.file.upload, inputs.file.clear, inputs.camera.input]
        gr.on(own, None, js=address_js(example=None))  # a visitor's own file has no address

    def _example(self, event: gr.EventData) -> str:
        return str(self.service.ready.path(EXAMPLES[int(event.index)]))

    # ------------------------------------------------------------------------------------------
    # a run

    def wire_run(self) -> None:
        """A new file, or another model, starts an analysis; the button cancels it.

        "multiple" throughout: a run that waits for its turn must not swallow the next one.
        """
        inputs = self.inputs
        answer = self.answer
        emptied = [*vars(answer).values(), *self.about.outputs, *self.panel.outputs]
        on_demand = [*self.on_demand.outputs, *self.on_demand.report, self.on_demand.method]
        running = gr.on(
            [inputs.file.change, inputs.model.input],
            self._begin,
            [inputs.file, answer.token],
            [inputs.stop, *emptied],
            queue=False,
            trigger_mode="multiple",
            **QUIET,
        ).then(
            spoken(answer.status)(self._run),
            [inputs.file, inputs.model],
            [*vars(answer).values(), *on_demand],
            concurrency_id="analysis",
            show_progress_on=answer.status,
            api_visibility="private",
            trigger_mode="multiple",
        )
        running.success(None, js=SCROLL_JS, **QUIET)
        running.then(self._end, None, inputs.stop, queue=False, trigger_mode="multiple", **QUIET)
        self._show_chosen_after(running.success)
        self.about.read_after(running.success, inputs.file, answer.tags)
        preview.build_after(running.success, self.service, answer.token, answer.player)
        inputs.stop.click(
            self._cancel,
            None,
            [answer.status, inputs.stop],
            cancels=[running],
            queue=False,
            **QUIET,
        )

    def _begin(self, path: str | None, token: str | None, request: gr.Request) -> Update:
        visitor = str(request.session_hash)
        self.on_demand.stop(visitor, of_file=True)
        self.service.runs.start(visitor)
        self.service.sessions.drop(token)
        return {
            self.inputs.stop: gr.Button(visible=path is not None),
            self.answer.welcome: gr.HTML(visible=path is None),
            self.answer.verdict: "",
            self.answer.player: gr.HTML("", visible=False),
            self.answer.face: gr.HTML("", visible=False),
            self.answer.timeline: gr.HTML("", visible=False),
            self.answer.body: gr.Column(visible=False),
            self.answer.tags: None,
            self.answer.token: None,
            self.answer.status: markup.note(HELLO if path is None else " "),
            **self.about.cleared(),
            **self.panel.cleared(),
        }

    def _run(
        self,
        path: str | None,
        model: str | None,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Update:
        visitor = str(request.session_hash)
        with self.service.runs.running(visitor, told_progress(progress)) as step:
            if path is None:
                return {self.answer.status: markup.note(HELLO)}
            step(0.0, "Loading the detector")
            self.service.detector(model)
            known = self.service.known(Path(path), model)
            known = known or analysed(self.service, Path(path), model, step)
            step(1.0, "Done")
        session = known.handed_to(visitor, Path(path), model)
        fresh = self.on_demand.fresh(self.service.explainer_of(session))
        return {**self._shown(session), **fresh}

    def _end(self, request: gr.Request) -> Update:
        if self.service.runs.awaited(str(request.session_hash)):  # another run took over
            return {self.inputs.stop: gr.skip()}
        return {self.inputs.stop: gr.Button(visible=False)}

    def _cancel(self, request: gr.Request) -> Update:
        self.service.runs.cancel(str(request.session_hash))
        return {self.answer.status: markup.note("Cancelled."), **self._end(request)}

    def _shown(self, session: Session) -> Update:
        """Everything but the pictures of the chosen frame, for a fresh analysis."""
        answer = self.answer
        analysis = session.analysis
        explainer = self.service.explainer_of(session)
        verdict = analysis.verdict
        deciding = deciding_face(analysis.faces, verdict)
        read = explainer if deciding is None else explainer.reading(deciding)
        card = cards.verdict_card(
            verdict,
            asked_thresholds(read.profile.thresholds, analysis.faces, verdict),
            analysis.model,
            explainer.detector.entry,
            clip.suspicious_seconds(session.timelines, verdict),
            deciding,
            cards.status_line(analysis),
        )
        heard = f"{headline(analysis)}. {verdict.reason}"  # the card says it to the eye
        update: Update = {
            answer.status: markup.heard(heard),
            answer.verdict: card + cards.not_looked_at(analysis.media),
            answer.tags: dict(analysis.media.metadata),
        }
        if not analysis.faces:
            return update
        several = len(analysis.faces) > 1
        faces = cards.faces(analysis.faces) if several else ""
        is_clip = analysis.media.kind == "video"
        return {
            **update,
            answer.face: gr.HTML(faces, visible=several),
            answer.player: gr.HTML(clip.player(session.path) if is_clip else "", visible=is_clip),
            answer.body: gr.Column(visible=True),
            answer.token: self.service.sessions.keep(session),
            **self._face(session, 0),
        }

    # ------------------------------------------------------------------------------------------
    # the chosen face and frame

    def wire_choice(self) -> None:
        """Choosing a face, or a frame on the timeline, fills the panel with it."""
        answer = self.answer
        safe = spoken(answer.status)
        which = gr.HTML(visible="hidden", js_on_load=cards.FACES_JS)
        picked = which.select(
            safe(self._choose_face),
            [answer.token, which],
            [answer.status, answer.timeline, answer.chosen, *self.on_demand.outputs],
            trigger_mode="always_last",
            **QUIET,
        )
        self._show_chosen_after(picked.success)
        choice = gr.HTML(visible="hidden", js_on_load=clip.TIMELINE_JS)
        shown = choice.select(
            safe(self._choose_frame),
            [answer.token, answer.chosen, choice],
            [answer.status, answer.chosen, *self.panel.outputs, *self.on_demand.outputs],
            **FRAME_EVENTS,
            **QUIET,
        )
        self._test_after(shown.success, choice)

    def _choose_face(self, token: str, asked: str) -> Update:
        """asked: the position of a face, as FACES_JS sends it."""
        session = self.service.sessions.get(token)
        self.on_demand.stop(session.visitor)
        position = int(np.clip(int(asked), 0, len(session.analysis.faces) - 1))
        return {**self._face(session, position), **self.on_demand.cleared()}

    def _choose_frame(self, token: str, chosen: Choice, asked_json: str) -> Update:
        """asked_json: {"index", "playing"}, as timeline.js sends it."""
        session = self.service.sessions.get(token)
        asked = json.loads(asked_json)
        self.service.runs.cancel(f"{session.visitor} map")  # of the frame chosen before
        last = len(session.analysis.faces[chosen.face].evidence) - 1
        choice = Choice(chosen.face, int(np.clip(int(asked["index"]), 0, last)))
        if asked["playing"]:
            return {self.answer.chosen: choice, **self.panel.preview(session, choice)}
        self.on_demand.stop(session.visitor)
        return {
            self.answer.chosen: choice,
            **self.panel.show(session, choice),
            **self.on_demand.cleared(),
        }

    def _show_chosen_after(self, event: Any) -> None:
        """Show the chosen frame after another event."""
        shown = event(
            spoken(self.answer.status)(self._show_chosen),
            [self.answer.token, self.answer.chosen],
            [self.answer.status, *self.panel.outputs],
            api_visibility="private",
            show_progress_on=self.panel.frame,
            **FRAME_EVENTS,
        )
        self._test_after(shown.success)

    def _test_after(self, event: Any, choice: gr.HTML | None = None) -> None:
        """Test the map that is shown, in the background: the verdict does not wait for it.

        choice: what timeline.js sent, where it chose the frame; a playing clip is not tested.
        """
        answer = self.answer
        asked = [] if choice is None else [choice]
        event(
            spoken(answer.status)(self._test),
            [answer.token, answer.chosen, *asked],
            [answer.status, *self.panel.tested],
            api_visibility="private",
            show_progress_on=self.panel.badge,
            trigger_mode="multiple",
            concurrency_id="maps",
            concurrency_limit=1,
        )

    def _test(
        self,
        token: str | None,
        chosen: Choice,
        asked_json: str = "",
        request: gr.Request = None,  # type: ignore[assignment] # Gradio puts it in
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Update:
        if asked_json and json.loads(asked_json)["playing"]:
            return {self.answer.status: gr.skip()}

        def tested(session: Session) -> Update:
            visitor = f"{request.session_hash} map"
            self.service.runs.start(visitor)
            with self.service.runs.running(visitor, told_progress(progress)) as step:
                return self.panel.test(session, chosen, step)

        return self._while_kept(token, tested)

    def _show_chosen(self, token: str | None, chosen: Choice) -> Update:
        return self._while_kept(token, lambda session: self.panel.show(session, chosen))

    def _while_kept(self, token: str | None, work: Callable[[Session], Update]) -> Update:
        """What `work` shows of an analysis; nothing where another took its place meanwhile, or
        where there is none, and the status says why.
        """
        try:
            found = work(self.service.sessions.get(token))
            self.service.sessions.get(token)
            return found
        except (Cancelled, GoneError):
            return {self.answer.status: gr.skip()}

    def _face(self, session: Session, position: int) -> Update:
        """Another person: their timeline, and their most forged-looking frame chosen."""
        media = session.analysis.media
        choice = shown_first(session, position)
        timeline = gr.HTML("", visible=False)
        if media.kind == "video":
            line = session.timelines[position]
            drawn = layer.layer_of(self.service, session, position)
            shown = clip.timeline(line, media.duration_s, choice.frame, drawn)
            timeline = gr.HTML(shown, visible=True)
        return {self.answer.timeline: timeline, self.answer.chosen: choice}

    # ------------------------------------------------------------------------------------------
    # before anything is asked

    def wire_welcome(self) -> None:
        """The finished example comes as soon as it is worked out."""
        gr.on(None, self._welcome, None, self.answer.welcome, queue=False, **QUIET)

    def _welcome(self) -> str:
        known = self.service.ready.first(FIRST_WAIT_S)
        return cards.welcome() if known is None else cards.welcome(finished(self.service, known))
