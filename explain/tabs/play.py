"""Play, pause, one step and start over, for what learns before the visitor's eyes.

The page itself asks for the next moment of training as long as it plays. So a pause halts it at
once, however busy the server is, and a visitor who leaves stops it. Each moment is one request in
the labs' line: visitors take turns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import gradio as gr

from explain.server import markup
from explain.server.faults import spoken
from explain.server.language import LOCALES, in_language
from explain.server.widgets import IDLE_SECONDS, QUIET, Update
from explain.texts import LANGUAGES

MOMENT_S = 0.3  # of training between two pictures; a pause waits for no more, and one step
PAUSED = "Paused. Play goes on where it stood."
PLAYING = "Playing…"
IN_LINE: dict[str, Any] = {"concurrency_id": "lab", **QUIET}


class Learner(Protocol):
    """What is played: it counts its steps and knows its end."""

    steps: int

    @property
    def done(self) -> bool: ...

    def step(self) -> None: ...


Played = TypeVar("Played", bound=Learner)


@dataclass(frozen=True, eq=False)
class Player:
    """The buttons, a line that says how it stands, and what they move."""

    play: gr.Button
    pause: gr.Button  # in the place of `play` while it plays
    step: gr.Button
    again: gr.Button
    status: gr.HTML
    timer: gr.Timer
    kept: gr.State  # the Learner; it survives a pause

    def wire(
        self,
        begin: Callable[..., Played],
        show: Callable[[Played], Update],
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        at_a_step: int = 1,
    ) -> None:
        """`begin(kept, *inputs)` gives the learner to go on with, a fresh one where `kept` is None
        or belongs to other inputs; `show` gives the outputs. at_a_step: updates at a click on Step.
        """

        def moment(kept: Played | None, *values: Any) -> Update:
            learner = begin(kept, *values)
            end = time.monotonic() + MOMENT_S
            learner.step()
            while time.monotonic() < end and not learner.done:
                learner.step()
            ended = (
                self._played(False, f"Done after {learner.steps} steps.") if learner.done else {}
            )
            return {self.kept: learner, **show(learner), **ended}

        def one(kept: Played | None, *values: Any) -> Update:
            learner = begin(kept, *values)
            for _ in range(at_a_step):
                learner.step()
            return {self.kept: learner, self.status: said(learner), **show(learner)}

        def safe(work: Callable[..., Update]) -> Callable[..., Any]:
            """What goes wrong is said, and the playing ends."""

            def answer(*values: Any) -> Update:
                found = dict(spoken(self.status)(work)(*values))
                return found if self.kept in found else {**self._played(False, ""), **found}

            return answer

        moved = list(self._played(False, ""))
        given = [self.kept, *inputs]
        changed = [self.kept, *moved, *outputs]
        for button, playing, words in ((self.play, True, PLAYING), (self.pause, False, PAUSED)):
            button.click(None, None, moved, js=_in_the_page(self._played(playing, words)), **QUIET)
        self.timer.tick(safe(moment), given, changed, **IN_LINE)
        self.step.click(safe(one), given, changed, **IN_LINE)
        cleared = {c: "" if isinstance(c, gr.HTML) else None for c in outputs}
        self.again.click(
            lambda: {self.kept: None, **self._played(False, "A fresh start."), **cleared},
            None, changed, **IN_LINE,
        )  # fmt: skip

    def _played(self, playing: bool, words: str) -> Update:
        """The buttons while it plays or not, and what the line says."""
        return {
            self.play: gr.update(visible=not playing),
            self.pause: gr.update(visible=playing),
            self.step: gr.update(interactive=not playing),
            self.timer: gr.update(active=playing),
            self.status: gr.update(value=markup.note(words)),
        }


def _in_the_page(update: Update) -> str:
    """JavaScript that gives these updates without asking the server, in the page's language."""
    told = {LOCALES[name]: in_language(update, name) for name in LANGUAGES}
    return f"() => ({json.dumps(told)})[document.documentElement.lang]"


def said(learner: Learner) -> str:
    """How it stands after a step."""
    end = " It is done: start over to see it again." if learner.done else ""
    return markup.note(f"Step {learner.steps}.{end}")


def player(key: str, step: str) -> Player:
    """Lay out the buttons. step: what one step is called."""
    with gr.Row():
        play = gr.Button("▶ Play", variant="primary", elem_id=f"lens-{key}-play", min_width=110)
        pause = gr.Button("⏸ Pause", visible=False, elem_id=f"lens-{key}-pause", min_width=110)
        one = gr.Button(step, elem_id=f"lens-{key}-step", min_width=110)
        again = gr.Button("Start over", elem_id=f"lens-{key}-again", min_width=110)
    status = gr.HTML(markup.note(" "), elem_id=f"lens-{key}-status")
    timer = gr.Timer(0.05, active=False)
    kept = gr.State(None, time_to_live=IDLE_SECONDS)
    return Player(play, pause, one, again, status, timer, kept)
