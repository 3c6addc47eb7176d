"""What is said and what is logged when something goes wrong."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from detector.errors import DetectorError
from explain.server import markup
from explain.server.service import Cancelled

UNEXPECTED = "Something went wrong on our side. Please try again, or try another file."

log = logging.getLogger("deepfake_lens")


def log_fault(err: Exception) -> None:
    """Log an error's kind and the line it came from, never its message: messages may hold file
    names.
    """
    place = traceback.extract_tb(err.__traceback__)[-1]
    log.error("%s at %s:%s", type(err).__name__, Path(place.filename).name, place.lineno)


def spoken(status: gr.HTML) -> Callable[[Callable[..., Mapping]], Callable[..., Mapping]]:
    """Decorate a handler that returns {component: value}: whatever goes wrong becomes one sentence
    in `status`.
    """

    def decorate(handler: Callable[..., Mapping]) -> Callable[..., Mapping]:
        @wraps(handler)
        def safe(*args: Any, **options: Any) -> Mapping:
            try:
                return handler(*args, **options)
            except Cancelled:
                return {status: markup.note("Cancelled.")}
            except DetectorError as err:
                return {status: markup.alert(str(err))}
            except Exception as err:
                log_fault(err)
                return {status: markup.alert(UNEXPECTED)}

        return safe

    return decorate
