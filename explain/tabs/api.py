"""Endpoints for programs (gradio_client): the same objects as the command lines print and write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from detector.errors import DetectorError
from detector.pipeline import analysis_json, on_gpu
from explain.report import build_report
from explain.tabs.service import UNEXPECTED, Service, log_fault

# for which a Space asks for a card: several times what a clip takes on one
ANALYZE_S, EXPLAIN_S = 30, 60


def build(service: Service) -> None:
    """Add /analyze and /explain, which take a file and give JSON; nothing of it is seen on the
    page.
    """

    @on_gpu(ANALYZE_S)
    def analyze(file: str) -> dict[str, Any]:
        """Analyse a photo or a clip; the object that `python -m detector analyze --json` prints."""
        return analysis_json(service.detector().analyze(file))

    @on_gpu(EXPLAIN_S)
    def explain(file: str) -> dict[str, Any]:
        """Explain a photo or a clip; the content of report.json that `python -m explain` writes."""
        detector = service.detector()
        return dict(build_report(detector, detector.analyze(file), Path(file)).content)

    for name, answer, queue in (("analyze", analyze, "analysis"), ("explain", explain, "explain")):
        # Going through a file component, so that only files uploaded by the caller can be named.
        file, result = gr.File(label="file", visible=False), gr.JSON(label=name, visible=False)
        gr.Button(visible=False).click(
            _answered(answer), file, result, api_name=name, concurrency_id=queue
        )


def _answered(answer: Callable[[str], dict[str, Any]]) -> Callable[[str | None], dict[str, Any]]:
    """A file that cannot be read gives the contract's error object; no file is a mistake of the
    caller.
    """

    def call(path: str | None) -> dict[str, Any]:
        if path is None:
            raise gr.Error("A file is needed.", print_exception=False)
        try:
            return answer(path)
        except DetectorError as err:
            return {
                "file": Path(path).name,
                "error": {"type": type(err).__name__, "message": str(err)},
            }
        except Exception as err:
            log_fault(err)
            raise gr.Error(UNEXPECTED, print_exception=False) from err

    call.__doc__ = answer.__doc__
    return call
