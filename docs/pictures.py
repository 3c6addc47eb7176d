"""The README's picture of the page, made from the code as it is.

python docs/pictures.py [FOLDER]    writes .github/page.png; into FOLDER also a dark page, a phone
                                    and the Model tab, to be looked at

Starts the page on a free port of 127.0.0.1, opens it in headless Chromium and waits until the
built-in example and the test of its map are shown.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from os import environ
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
LONGEST_MS = 300_000  # two shared cores, both networks read from disk
COLOURS = 256  # a palette keeps a picture of the page at a quarter of its size


@dataclass(frozen=True)
class Shot:
    """One picture: where it goes, the address on the page, the window and what to wait for."""

    path: Path
    query: str
    width: int
    height: int
    until: str  # a selector that is visible when the picture is complete
    scheme: str = "light"


FORGED_CLIP = "?example=hopper_clip_forged"
TESTED = "#lens-badge >> text=/Tested on this face|Do not rely/"
PAGE = Shot(ROOT / ".github" / "page.png", FORGED_CLIP, 1366, 768, TESTED)


def shots(folder: Path | None) -> tuple[Shot, ...]:
    """What is taken; folder: of the pictures that are only looked at."""
    if folder is None:
        return (PAGE,)
    return (
        PAGE,
        Shot(folder / "dark.png", FORGED_CLIP, 1366, 768, TESTED, "dark"),
        Shot(folder / "phone.png", FORGED_CLIP, 390, 844, TESTED),
        Shot(folder / "model.png", "?tab=model", 1366, 768, ".lens-hundreds"),
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def take(browser: Browser, address: str, shot: Shot) -> None:
    """Open the page as a new visitor and write one picture."""
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.scheme == "dark" else "light",
    )
    page = context.new_page()
    page.set_default_timeout(LONGEST_MS)
    page.goto(f"{address}/{shot.query}")
    page.wait_for_selector(shot.until)
    page.wait_for_timeout(1500)  # pictures fade in
    shot.path.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=str(shot.path), animations="disabled")
    context.close()
    _with_palette(shot.path)


def _with_palette(path: Path) -> None:
    with Image.open(path) as picture:
        picture.convert("RGB").quantize(COLOURS).save(path, optimize=True)


def main() -> int:
    """Returns 1 where there is no Chromium or the page does not start."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("Chromium is needed: apt install chromium", file=sys.stderr)
        return 1
    port = free_port()
    settings = {**environ, "GRADIO_SERVER_PORT": str(port)}
    with subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env=settings) as server:
        try:
            address = f"http://127.0.0.1:{port}"
            if not answers(port, server):
                print("The page did not start.", file=sys.stderr)
                return 1
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox"]
                )
                for shot in shots(folder):
                    take(browser, address, shot)
                    print(shot.path.name)
        finally:
            server.terminate()
    return 0


def answers(port: int, server: subprocess.Popen[bytes]) -> bool:
    """Wait until the page answers; False where its process ends before."""
    while server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


if __name__ == "__main__":
    sys.exit(main())
