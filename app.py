"""Deepfake Lens: the web page and its API.

python app.py serves on GRADIO_SERVER_PORT (7860) at GRADIO_SERVER_NAME (127.0.0.1; a Space sets 0.0.0.0).
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")  # read when gradio is imported

import gradio as gr

from explain.tabs import analyse, api, compression, forgery, learn, model, style
from explain.tabs.service import Service

TITLE = "Deepfake Lens"
LEAD = (
    f"# {TITLE}\nSee **whether** a face looks forged, **where**, **when** and **why**, and how far that may be "
    "trusted. A statistical impression, never proof."
)
TABS = (
    ("Analyse", analyse),
    ("Compression", compression),
    ("Forgery lab", forgery),
    ("Learn", learn),
    ("Model", model),
)
MAX_UPLOAD = "300mb"  # a few minutes of phone video; kept on disk for an hour at most
MAX_WAITING = 32  # requests in line; the next one is told that the page is busy
CLEAN_EVERY_S, KEEP_FILES_S = 600, 3600


def build_app(service: Service) -> gr.Blocks:
    """The whole page. No model is loaded before somebody asks for an answer."""
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CLEAN_EVERY_S, KEEP_FILES_S)) as page:
        gr.Markdown(LEAD, elem_classes="lens-lead")
        with gr.Tabs():
            for name, tab in TABS:
                with gr.Tab(name):
                    tab.build(service)
        api.build(service)
        page.unload(service.left)
    return page.queue(max_size=MAX_WAITING, default_concurrency_limit=1)


def launch(service: Service, **options: Any) -> gr.Blocks:
    """Serve the page with everything that belongs to serving it: look, limits, what may be read."""
    page = build_app(service)
    page.launch(
        theme=style.theme(),
        css_paths=style.CSS,
        max_file_size=MAX_UPLOAD,
        allowed_paths=[],
        show_error=False,
        footer_links=["api", "settings"],
        **options,
    )
    return page


def main() -> None:
    with TemporaryDirectory(prefix="deepfake_lens_") as folder:
        launch(
            Service(Path(folder)),
            server_name=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"),
            server_port=int(os.environ.get("GRADIO_SERVER_PORT", "7860")),
        )


if __name__ == "__main__":
    main()
