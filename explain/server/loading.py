"""Gradio, imported without a step that only its authors' editors need."""

from __future__ import annotations

import inspect
import os
from typing import Any


def load_gradio() -> None:
    """Import gradio into a process of ours: without its questions to the network, and without the
    stubs for editors that it writes beside its components.

    At every import it parses the source of each component twice for these stubs, which takes half
    of the import's time. It leaves them out for a class that has no source file.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported
    file_of = inspect.getfile

    def no_file_of_components(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.startswith("gradio."):
            raise OSError("no stubs for editors")
        return file_of(thing)

    inspect.getfile = no_file_of_components  # type: ignore[assignment]
    try:
        import gradio  # noqa: F401
    finally:
        inspect.getfile = file_of
