"""Clips that browsers cannot play, in headless Chromium: a small copy plays and follows the
timeline.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from skimage import data

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(600),
]
SLOW_MS = 180_000
FACE = data.astronaut()[20:276, 80:336]


def avi_with_sound(path: Path) -> Path:
    with av.open(str(path), "w") as target:
        stream = target.add_stream("mpeg4", rate=10)
        stream.height, stream.width = FACE.shape[:2]
        stream.pix_fmt = "yuv420p"
        sound = target.add_stream("pcm_s16le", rate=8000, layout="mono")
        for i in range(8):
            frame = av.VideoFrame.from_ndarray(np.roll(FACE, i, axis=1), format="rgb24")
            target.mux(stream.encode(frame))
        quiet = av.AudioFrame.from_ndarray(
            np.zeros((1, 6400), np.int16), format="s16", layout="mono"
        )
        quiet.sample_rate, quiet.pts = 8000, 0
        target.mux([*stream.encode(None), *sound.encode(quiet), *sound.encode(None)])
    return path


def test_an_avi_plays_and_a_gif_is_seen(page_url: str, tmp_path: Path) -> None:
    avi = avi_with_sound(tmp_path / "clip.avi")
    gif = [Image.fromarray(np.roll(FACE, 2 * i, axis=1)) for i in range(4)]
    gif[0].save(tmp_path / "clip.gif", save_all=True, append_images=gif[1:], duration=200)
    with sync_api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.set_default_timeout(SLOW_MS)
        page.goto(page_url)
        page.set_input_files("#lens-file input[type=file]", avi)
        page.wait_for_function(
            "() => (document.querySelector('#lens-player video') || {}).readyState >= 2"
        )
        video = page.locator("#lens-player video")
        assert video.evaluate("v => [v.videoWidth, v.videoHeight]") == [256, 256]
        assert video.evaluate("v => v.duration") == pytest.approx(0.8, abs=0.15)
        assert "A small copy for your browser" in page.inner_text("#lens-player")
        assert "The audio was not checked." in page.inner_text("#lens-verdict")
        page.click("#lens-file [aria-label=Clear]")
        page.set_input_files("#lens-file input[type=file]", tmp_path / "clip.gif")
        picture = page.wait_for_selector("#lens-player img")
        assert picture.evaluate("async i => (await i.decode(), i.naturalWidth)") == 256
        assert "The audio was not checked." not in page.inner_text("#lens-verdict")
        browser.close()
