"""The web page and its API: all tabs together, and everything that belongs to serving them.

`deepfake-lens serve` and app.py start it (explain/cli.py).
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr
from starlette.middleware import Middleware

from explain.report_json import PROGRAM
from explain.server import api, style
from explain.server.files import own_names
from explain.server.guard import Guard, Nameless
from explain.server.language import (
    LocalBlocks,
    PageLanguage,
    translate_labels,
    translate_later,
)
from explain.server.service import Service, offered_models
from explain.tabs import (
    analyse,
    beforehand,
    compression,
    forgery,
    glossary,
    learn,
    links,
    model,
    several,
)

TITLE = PROGRAM
LEAD = (
    "See <b>whether</b> a face looks forged, <b>where</b>, <b>when</b> and <b>why</b>, and how far "
    "that may be trusted. A statistical impression, never proof."
)
# name in the address, name on the page
TABS = {
    "analyse": "Analyse",
    "several": "Several files",
    "compression": "Compression",
    "forgery": "Forgery lab",
    "learn": "Learn",
    "model": "Model",
}
MAX_UPLOAD_MB = 300  # a few minutes of phone video; kept on disk for an hour at most
MAX_WAITING = 32  # requests in line; the next one is told that the page is busy
# whose state is kept, half a megabyte each: one more, and the one longest away starts anew
MAX_VISITORS = 1000
CLEAN_EVERY_S, KEEP_FILES_S = 600, 3600
M_ARENA_MAX = -8  # glibc's number for it
# for answers under way when the server is told to end; with closing connections it ends within 10 s
DRAIN_S = 4


def build_app(service: Service) -> LocalBlocks:
    """The whole page. No model is loaded before somebody asks for an answer."""
    with LocalBlocks(title=TITLE, analytics_enabled=False) as page:
        gr.HTML(
            f'<div class="lens-first"><h1>{TITLE}</h1>{links.languages()}</div>'
            f"<p>{LEAD} {links.PROJECTOR}</p>",
            elem_id="lens-lead",
            elem_classes="lens-lead",
        )
        # a menu would hide tabs on a phone
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            by_name = {name: gr.Tab(label, id=name) for name, label in TABS.items()}
        with by_name["analyse"]:
            file = analyse.build(service)
        with by_name["several"]:
            several.build(service, MAX_UPLOAD_MB)
        with by_name["compression"]:
            sweep = compression.build(service, by_name["compression"])
        with by_name["forgery"]:
            forged = forgery.build(service, by_name["forgery"])
        with by_name["learn"]:
            lessons = learn.build(service)
        with by_name["model"]:
            model.build(service, by_name["model"])
        glossary.build()
        labs = {"compression": sweep, "forgery": forged}
        links.wire(page, service, links.Places(tabs, by_name, file, lessons, labs))
        translate_later(page)
        api.build(service)
        page.unload(service.left)
        page.unload(page.left)
    page.queue(max_size=MAX_WAITING, default_concurrency_limit=1, api_open=False)
    return page


def launch(service: Service, **options: Any) -> LocalBlocks:
    """Serve the page with everything that belongs to serving it: look, limits, what may be read."""
    own_names()
    page = build_app(service)
    i18n = translate_labels(page)
    limits: dict[str, Any] = {
        "most_mb": MAX_UPLOAD_MB,
        "most_waiting": MAX_WAITING,
        "waiting": page.waiting,
    }
    page.launch(
        theme=style.theme(),
        css_paths=style.CSS,
        state_session_capacity=MAX_VISITORS,
        max_file_size=MAX_UPLOAD_MB << 20,
        allowed_paths=[],
        show_error=False,
        # Everything through one door, which is guarded; nothing kept about visits.
        ssr_mode=False,
        # the API's functions as tools for assistants, where the extra `mcp` is installed
        mcp_server=find_spec("mcp") is not None,
        enable_monitoring=False,
        run_history=False,
        # Gradio would ask its own page, and give up where a busy machine takes three seconds
        _frontend=False,
        app_kwargs={
            "middleware": [
                Middleware(Guard, service=service, **limits),
                Middleware(PageLanguage),
            ]
        },
        i18n=i18n,
        footer_links=["api", "settings"],
        **options,
    )
    service.ready.start(
        service.closing,
        partial(beforehand.analysed_example, service),
        partial(beforehand.refine, service),
        partial(beforehand.labs, service),
    )
    return page


def drain(page: LocalBlocks, service: Service) -> None:
    """End serving: nothing new is begun, answers under way get DRAIN_S, and the rest is stopped."""
    service.closing.set()
    end = time.monotonic() + DRAIN_S
    while page.under_way() and time.monotonic() < end:
        time.sleep(0.1)
    service.runs.cancel_all()
    page.close(verbose=False)


def share_heaps() -> None:
    """Two heaps for all threads, where the C library is glibc: otherwise each thread that answered
    keeps its own.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(M_ARENA_MAX, 2)


def serve(models: Path | None, host: str, port: int) -> None:
    """Serve until SIGTERM or Ctrl-C, and end the process. models: a folder of model folders, which
    the page's menu offers beside the shipped models.

    All files, uploads included, lie in one folder, which goes with the process. Raises SystemExit
    with one sentence where the page cannot be served.
    """
    share_heaps()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        with TemporaryDirectory(prefix="deepfake_lens_", ignore_cleanup_errors=True) as folder:
            tempfile.tempdir = folder
            sys.stdout, sys.stderr = Nameless(sys.stdout, folder), Nameless(sys.stderr, folder)  # type: ignore[assignment]
            service = Service(Path(folder), models=offered_models(models))
            page = launch(
                service,
                server_name=host,
                server_port=port,
                prevent_thread_lock=True,
            )
            while not stop.wait(CLEAN_EVERY_S):
                page.sweep(KEEP_FILES_S)
                service.sessions.drop_unused(KEEP_FILES_S)
            drain(page, service)
    except OSError as err:  # no folder for temporary files, no free port
        sys.exit(f"The page cannot be served: {err}")
    sys.stdout.flush()
    os._exit(0)  # whoever still computes is not waited for
