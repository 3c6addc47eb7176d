"""What the labs share: where a file comes from, a start and a stop button around slow work, an API
endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from detector.errors import DetectorError
from explain.lab.examples import EXAMPLES, write_example
from explain.tabs import cards
from explain.tabs.service import UNEXPECTED, Service, log_fault, spoken

IDLE_SECONDS = 3600  # what a visitor made and nobody looked at for this long is dropped
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
Update = dict[Any, Any]


@dataclass(frozen=True, eq=False)
class Source:
    """A built-in example, or the visitor's own file instead."""

    example: gr.Dropdown
    file: gr.File

    @property
    def inputs(self) -> list[Any]:
        return [self.example, self.file]


def source(prefix: str, names: Sequence[str], upload: str) -> Source:
    """Lay out where a file comes from. names: of the examples offered; upload: the label of the
    file field.
    """
    offered = [(example.caption, example.name) for example in EXAMPLES if example.name in names]
    example = gr.Dropdown(
        offered, value=offered[0][1], label="Example", elem_id=f"lens-{prefix}-example"
    )
    file = gr.File(label=upload, elem_id=f"lens-{prefix}-file", height=120)
    return Source(example, file)


def path_of(service: Service, example: str, uploaded: str | None) -> Path:
    """The visitor's file, or else the example, written on first use."""
    if uploaded is not None:
        return Path(uploaded)
    folder = service.folder / "examples"
    folder.mkdir(exist_ok=True)
    return write_example(next(e for e in EXAMPLES if e.name == example), folder)


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
        """Run `work(step, *inputs)` at a click on start or one of the others; `step(share, stage)`
        raises when stopped.

        `others` start the same work; it is told nothing of which button it was.
        """
        buttons = [self.start, self.stop]

        def visitor(request: gr.Request) -> str:
            return f"{request.session_hash} {self.key}"

        def begin(request: gr.Request) -> Update:
            self.service.runs.start(visitor(request))
            return {
                self.start: gr.Button(interactive=False),
                self.stop: gr.Button(interactive=True),
            }

        @spoken(self.status)
        def run(request: gr.Request, progress: Any = gr.Progress(), *values: Any) -> Update:  # noqa: B008
            step = self.service.runs.progress(
                visitor(request), lambda share, stage: progress(share, desc=stage)
            )
            step(0.0, "Starting")
            return {self.status: cards.note("Done."), **work(step, *values)}

        def end() -> Update:
            return {
                self.start: gr.Button(interactive=True),
                self.stop: gr.Button(interactive=False),
            }

        def cancel(request: gr.Request) -> None:
            self.service.runs.cancel(visitor(request))

        clicks = [button.click for button in (self.start, *others)]
        gr.on(clicks, begin, None, buttons, queue=False, **QUIET).then(
            run, list(inputs), [self.status, *outputs],
            concurrency_id="lab", api_visibility="private", show_progress_on=self.status,
        ).then(end, None, buttons, queue=False, **QUIET)  # fmt: skip
        self.stop.click(cancel, None, None, queue=False, **QUIET)


def runner(service: Service, key: str, verb: str) -> Runner:
    """Lay out a start and a stop button with a status line below."""
    with gr.Row():
        start = gr.Button(verb, variant="primary", elem_id=f"lens-{key}-go", min_width=120)
        stop = gr.Button(
            "Stop", variant="stop", interactive=False, elem_id=f"lens-{key}-stop", min_width=90
        )
    return Runner(service, key, start, stop, gr.HTML(cards.note(" "), elem_id=f"lens-{key}-status"))


def endpoint(
    name: str,
    queue: str,
    answer: Callable[..., Any],
    inputs: Sequence[Any],
    more: Sequence[Any] = (),
) -> None:
    """An API endpoint for programs: (file, ...) -> JSON and `more`; nothing of it is seen on the
    page.

    A file that cannot be read gives the contract's error object; a mistake of the caller is an
    error of the call.
    """

    def call(path: str | None, *values: Any) -> Any:
        try:
            return answer(path, *values)
        except DetectorError as err:
            told: Mapping[str, Any] = {"error": {"type": type(err).__name__, "message": str(err)}}
            told = {"file": Path(path).name, **told} if path else told
            return [told, *([None] * len(more))] if more else told
        except (KeyError, ValueError, TypeError) as err:
            raise gr.Error(str(err).strip("'\""), print_exception=False) from err
        except Exception as err:
            log_fault(err)
            raise gr.Error(UNEXPECTED, print_exception=False) from err

    call.__doc__ = answer.__doc__
    result = gr.JSON(label=name, visible=False)
    gr.Button(visible=False).click(
        call, list(inputs), [result, *more], api_name=name, concurrency_id=queue
    )
