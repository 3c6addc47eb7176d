"""Components that several tabs use.

A picture, a file field with examples, and a start and a stop button around slow work.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from detector.types import Progress
from explain.lab.examples import EXAMPLES
from explain.server import markup
from explain.server.faults import spoken
from explain.server.language import told_progress
from explain.server.service import Cancelled, Service

IDLE_SECONDS = 3600  # what a visitor made is dropped when it was not used for this long
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
Update = dict[Any, Any]
Places = dict[str, Any]  # name in the address -> the component that it sets
DONE = "Done."
STALE = "The results below are of the settings before. Start again for the new ones."


def picture(
    label: str, elem_id: str, alt: str, visible: bool = True, *, chart: bool = False
) -> gr.Image:
    """A picture that is shown, not edited. chart: drawn on white with small letters, so that it
    keeps its size on a phone and turns dark on a dark page.
    """
    return gr.Image(
        label=label, elem_id=elem_id, alt_text=alt, visible=visible, min_width=140,
        elem_classes="lens-chart" if chart else None,
        format="png", interactive=False, buttons=["download", "fullscreen"],
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Source:
    """A built-in example, or the visitor's own file instead."""

    example: gr.Dropdown
    file: gr.File

    @property
    def inputs(self) -> list[Any]:
        return [self.example, self.file]


def source(prefix: str, names: Sequence[str], upload: str, first: str | None = None) -> Source:
    """Lay out where a file comes from. names: of the examples offered; upload: the label of the
    file field; first: the example that is chosen at first.
    """
    offered = [(example.caption, example.name) for example in EXAMPLES if example.name in names]
    example = gr.Dropdown(
        offered, value=first or offered[0][1], label="Example", elem_id=f"lens-{prefix}-example"
    )
    file = gr.File(label=upload, elem_id=f"lens-{prefix}-file", height=120)
    return Source(example, file)


def path_of(service: Service, example: str, uploaded: str | None) -> Path:
    """The visitor's file, or else the example, written on first use."""
    if uploaded is not None:
        return Path(uploaded)
    return service.ready.path(next(e for e in EXAMPLES if e.name == example))


@dataclass(frozen=True, eq=False)
class Runner:
    """A button that starts slow work, one that stops it, and a line that says how it went."""

    service: Service
    key: str
    start: gr.Button
    stop: gr.Button
    status: gr.HTML

    def wire(
        self,
        work: Callable[..., Update],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        *others: gr.Button,
    ) -> None:
        """Run `work(step, *inputs)` at a click on start, or on one of `others`.

        `work` calls `step(share, stage)` now and then, which raises Cancelled after a stop.
        """
        buttons = [self.start, self.stop]

        def begin(request: gr.Request) -> Update:
            self.overtake_first(request)
            self.service.runs.start(self._run_of(request))
            return {
                self.start: gr.Button(interactive=False),
                self.stop: gr.Button(interactive=True),
            }

        @spoken(self.status)
        def run(request: gr.Request, progress: Any = gr.Progress(), *values: Any) -> Update:  # noqa: B008
            with self.service.runs.running(self._run_of(request), told_progress(progress)) as step:
                step(0.0, "Starting")
                found = work(step, *values)
            return {self.status: self._how_it_went(self._run_of(request)), **found}

        def end() -> Update:
            return {
                self.start: gr.Button(interactive=True),
                self.stop: gr.Button(interactive=False),
            }

        def cancel(request: gr.Request) -> None:
            self.service.runs.cancel(self._run_of(request))

        clicks = [button.click for button in (self.start, *others)]
        gr.on(clicks, begin, None, buttons, queue=False, **QUIET).then(
            run, list(inputs), [self.status, *outputs],
            concurrency_id="lab", api_visibility="private", show_progress_on=self.status,
        ).then(end, None, buttons, queue=False, **QUIET)  # fmt: skip
        self.stop.click(cancel, None, None, queue=False, **QUIET)
        if touched := touches(inputs):
            gr.on(touched, self._touch, self.status, self.status, queue=False, **QUIET)

    def _run_of(self, request: gr.Request) -> str:
        return f"{request.session_hash} {self.key}"

    def _touch(self, shown: str, request: gr.Request) -> Any:
        self.service.runs.change(self._run_of(request))
        return marked_stale(shown)

    def _how_it_went(self, run: str) -> str:
        changed = self.service.runs.outdated(run)
        return markup.stale(STALE) if changed else markup.done(DONE)

    def when_opened(
        self,
        opened: Any,
        work: Callable[..., Update],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
    ) -> None:
        """Show the run of the settings as they are when something is opened for the first time:
        that of the built-in example is worked out beforehand, others are then. opened: the event.
        """
        seen = gr.State(False)

        def asked(values: Sequence[Any]) -> tuple[tuple[Any, ...], Callable[[Progress], Update]]:
            return (self.key, *values), lambda step: work(step, *values)

        @spoken(self.status)
        def first(request: gr.Request, progress: Any = gr.Progress(), *values: Any) -> Update:  # noqa: B008
            known, *given = values
            own = [v for c, v in zip(inputs, given, strict=True) if isinstance(c, gr.File)]
            if known or any(own):
                return {seen: True}
            with self.service.runs.running(
                _first_run(request, self.key), told_progress(progress)
            ) as step:
                try:
                    found = self.service.finished.of(*asked(given), step)
                    step(1.0, "Done")
                except Cancelled:  # overtaken
                    return {seen: True}
            return {seen: True, self.status: markup.done(DONE), **found}

        self.service.finished.offer(*asked([getattr(c, "value", None) for c in inputs]))
        opened(
            first, [seen, *inputs], [seen, self.status, *outputs],
            concurrency_id="lab", api_visibility="private", show_progress_on=self.status,
        )  # fmt: skip

    def overtake_first(self, request: gr.Request) -> None:
        """The visitor asked for something else: the first run must not cover its answer."""
        self.service.runs.cancel(_first_run(request, self.key))


def _first_run(request: gr.Request, key: str) -> str:
    return f"{request.session_hash} {key} first"


def touches(inputs: Sequence[Any]) -> list[Any]:
    """The events by which somebody changes one of these; what the page changes itself is none."""
    names = ("input", "upload", "clear")
    return [getattr(one, name) for one in inputs for name in names if hasattr(one, name)]


def marked_stale(shown: str) -> Any:
    """A runner's status after a setting was changed: what is shown below is of the old ones."""
    return markup.stale(STALE) if markup.is_done(shown) else gr.skip()


def runner(service: Service, key: str, verb: str) -> Runner:
    """Lay out a start and a stop button with a status line below."""
    with gr.Row():
        start = gr.Button(verb, variant="primary", elem_id=f"lens-{key}-go", min_width=120)
        stop = gr.Button(
            "Stop", variant="stop", interactive=False, elem_id=f"lens-{key}-stop", min_width=90
        )
    return Runner(
        service, key, start, stop, gr.HTML(markup.note(" "), elem_id=f"lens-{key}-status")
    )
