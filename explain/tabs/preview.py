"""A clip that browsers cannot play, shown all the same: animations as a picture, others small and
encoded anew. Nothing is written: a preview lives in the page alone.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from detector.decoding.preview import PREVIEW_PX, PREVIEW_S, Preview
from detector.errors import MediaError
from detector.media import open_preview
from explain.server.service import Service
from explain.tabs import layer

ENCODED_NOTE = (
    f"A small copy for your browser: at most {PREVIEW_PX} px, the first {PREVIEW_S:.0f} s, without "
    "sound. The analysis read the file itself."
)


def build_after(
    after: Callable[..., Any], service: Service, token: gr.State, player: gr.HTML
) -> None:
    """Replace the player by a preview after another event, where the file itself does not play."""

    def show(known: str | None) -> Any:
        if known is None:  # nothing was analysed
            return gr.skip()
        session = service.sessions.get(known)
        if session.analysis.media.kind != "video":
            return gr.skip()
        try:
            made = open_preview(session.path)
        except MediaError:  # the player's own sentence stays
            return gr.skip()
        return gr.skip() if made.how == "as it is" else shown(session.path, made)

    after(
        show,
        token,
        player,
        api_visibility="private",
        show_progress="hidden",
        trigger_mode="always_last",
        concurrency_id="preview",
    )


def shown(path: Path, made: Preview) -> str:
    """The HTML of a preview that is not the file itself in a player."""
    if made.how == "as a picture":
        source = f"gradio_api/file={quote(str(path))}"
        return f'<img src="{source}" alt="The clip">'
    source = f"data:video/mp4;base64,{b64encode(made.mp4).decode()}"
    return layer.player(source, f'<p class="lens-small">{ENCODED_NOTE}</p>')
