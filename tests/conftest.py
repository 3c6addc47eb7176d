"""Fixtures that more than one test file needs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from detector.commandline import half_the_cores
from detector.decoding import clips

# As the command lines do, before torch and gradio are imported, here or in a child.
half_the_cores()
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")


@pytest.fixture(scope="session")
def page_url() -> Iterator[str]:
    """Address of the page, served by a process of its own with a detector of random weights (see
    page_server.py).
    """
    script = Path(__file__).parent / "page_server.py"
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, str(script)], stdin=pipe, stdout=pipe, text=True
    ) as server:
        assert server.stdin and server.stdout
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), "the page did not start"
        yield address
        server.stdin.close()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """A headless browser."""
    from test_page_browser import CHROMIUM, QUIET, sync_api  # needs playwright

    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by the index of every frame that is decoded in this process."""
    indices: list[int] = []
    original = clips._pictures

    def counted(*args):
        for index, picture in original(*args):
            indices.append(index)
            yield index, picture

    monkeypatch.setattr(clips, "_pictures", counted)
    return indices
