"""Endpoints for programs (gradio_client): the same objects as the command lines print and write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from detector.contract import analysis_json
from detector.errors import DetectorError
from explain.report import build_report
from explain.server.faults import UNEXPECTED, log_fault
from explain.server.service import Service

# for which a Space asks for a card: several times what a clip takes on one
ANALYZE_S = 30
EXPLAIN_S = 60
EXAMPLE = "photo.jpg"
Function = TypeVar("Function", bound=Callable[..., Any])


def on_gpu(seconds: int) -> Callable[[Function], Function]:
    """Decorator: on a Hugging Face Space with ZeroGPU a card is lent to the call for so long;
    elsewhere nothing.
    """
    try:
        import spaces
    except ImportError:
        return lambda function: function
    return spaces.GPU(duration=seconds)


class CallerError(Exception):
    """The caller asked for something that does not exist; the message is shown to them."""


def build(service: Service) -> None:
    """Add /analyze and /explain, which take a file and give JSON; nothing of it is seen on the
    page.
    """

    @on_gpu(ANALYZE_S)
    def analyze(file: str) -> dict[str, Any]:
        """Say how forged the faces in a photo or a clip look: label (forged, authentic, uncertain
        or no_face), calibrated probability, reason, suspicious seconds of a clip, each face and
        frame. A statistical impression, never evidence against a person. The object that
        `deepfake-lens analyze --json` prints.

        Args:
            file: The photo or clip, uploaded before.
        """
        return analysis_json(service.detector().analyze(file))

    @on_gpu(EXPLAIN_S)
    def explain(file: str) -> dict[str, Any]:
        """Explain why the faces in a photo or a clip look forged or authentic: the verdict, heat
        maps with a test of each, words, metadata, Content Credentials and JPEG traces. Takes some
        seconds per face. The content of report.json that `deepfake-lens explain` writes.

        Args:
            file: The photo or clip, uploaded before.
        """
        analysis = service.detector().analyze(file)
        explainer = service.explainer(kind=analysis.media.kind)
        return dict(build_report(explainer, analysis, Path(file)).content)

    endpoint("analyze", "analysis", analyze)
    endpoint("explain", "explain", explain)


def endpoint(
    name: str,
    queue: str,
    answer: Callable[..., Any],
    inputs: Sequence[Any] = (),
    outputs: Sequence[Any] = (),
) -> None:
    """Add /name, which calls `answer(file, *inputs)` and gives JSON and then `outputs`.

    queue: requests of one queue are answered one after the other. With outputs, `answer` returns a
    list.
    """
    # Going through a file component, so that only files uploaded by the caller can be named.
    file = gr.File(label="file", visible=False)
    result = gr.JSON(label=name, visible=False)
    # shown on Gradio's page about the API instead of a PDF of theirs; a subclass of gr.File would
    # have Gradio write a stub beside this module
    shown = {"payload": {"path": EXAMPLE, "meta": {"_type": "gradio.FileData"}}, "value": EXAMPLE}
    setattr(file, "example_inputs", lambda: shown)  # noqa: B010
    gr.Button(visible=False).click(
        answered(answer, len(outputs)),
        [file, *inputs],
        [result, *outputs],
        api_name=name,
        concurrency_id=queue,
    )


def answered(answer: Callable[..., Any], more_outputs: int = 0) -> Callable[..., Any]:
    """`answer(file, ...)` with every failure in the contract's form.

    A file that cannot be read gives the contract's error object (and None for each further output).
    No file, a CallerError and a fault of ours are errors of the call.
    """

    @wraps(answer)  # its name, its words and the names of its arguments are those of the API
    def call(path: str | None, *values: Any) -> Any:
        if path is None:
            raise gr.Error("A file is needed.", print_exception=False)
        try:
            return answer(path, *values)
        except DetectorError as err:
            error = {
                "file": Path(path).name,
                "error": {"type": type(err).__name__, "message": str(err)},
            }
            return [error, *([None] * more_outputs)] if more_outputs else error
        except CallerError as err:
            raise gr.Error(str(err), print_exception=False) from err
        except Exception as err:
            log_fault(err)
            raise gr.Error(UNEXPECTED, print_exception=False) from err

    return call
