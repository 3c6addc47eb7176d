"""What the file says about itself: read after the verdict, in a fold beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

from explain.provenance import statements, traces_of
from explain.server.widgets import Update
from explain.tabs import cards

TITLE = "What the file says about itself (not part of the score)"


class AboutFile:
    """Lays the fold out; `read_after` has it filled after another event."""

    def __init__(self) -> None:
        with gr.Accordion(TITLE, open=False, visible=False, elem_id="lens-about") as self.fold:
            self.text = gr.HTML(elem_id="lens-metadata")
        self.outputs = [self.fold, self.text]

    def cleared(self) -> Update:
        return {self.fold: gr.Accordion(visible=False), self.text: ""}

    def read_after(self, after: Callable[..., Any], file: gr.File, tags: gr.State) -> None:
        """tags: the file's, once it was analysed; None where it could not be."""
        after(
            self._read,
            [file, tags],
            self.outputs,
            api_visibility="private",
            show_progress="hidden",
            trigger_mode="always_last",
            concurrency_id="about",
        )

    def _read(self, path: str | None, tags: Mapping[str, str] | None) -> Update:
        if path is None or tags is None:  # nothing was analysed, and the status says why
            return self.cleared()
        said = statements(traces_of(Path(path)), tags)
        return {self.fold: gr.Accordion(visible=True), self.text: cards.about_file(said)}
