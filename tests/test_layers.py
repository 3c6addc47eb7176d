"""Maps as layers, on the playing clip and over the whole picture: the numbers, and what Chromium
shows.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from explain_faces import BOX, analysis_of, astronaut, detector
from page_tools import session_of
from test_page_browser import CHROMIUM, QUIET, SLOW_MS, UPLOAD, sync_api

from detector.media import write_video
from explain import figures
from explain.cam import Heat
from explain.lab.examples import EXAMPLES, write_example
from explain.server.service import Choice, Service
from explain.tabs import clip, layer, whole

# Of the drawn layer: how opaque it is in the middle of the face, the rectangle of all that is
# drawn as shares of the canvas, and the clip's own place in its player.
DRAWN = """([x, y]) => {
  const canvas = document.querySelector('#lens-player canvas'), v = canvas.previousSibling;
  const ink = canvas.getContext('2d'), {width, height} = canvas;
  const scale = Math.min(width / v.videoWidth, height / v.videoHeight);
  const left = (width - scale * v.videoWidth) / 2, top = (height - scale * v.videoHeight) / 2;
  const at = [left + x * scale * v.videoWidth, top + y * scale * v.videoHeight];
  const seen = ink.getImageData(0, 0, width, height).data, box = [width, height, 0, 0];
  for (let i = 0; i < width * height; i++) if (seen[4 * i + 3]) {
    const column = i % width, row = (i - column) / width;
    box[0] = Math.min(box[0], column); box[1] = Math.min(box[1], row);
    box[2] = Math.max(box[2], column + 1); box[3] = Math.max(box[3], row + 1);
  }
  return {alpha: ink.getImageData(...at.map(Math.round), 1, 1).data[3],
          box: [box[0] / width, box[1] / height, box[2] / width, box[3] / height],
          clip: [left / width, top / height, 1 - left / width, 1 - top / height]};
}"""


def test_boxes_and_maps_lie_where_the_face_is(tmp_path: Path) -> None:
    session = session_of(analysis_of([astronaut()] * 3))
    drawn = json.loads(layer.layer_of(Service(tmp_path, detector), session, 0))
    assert [frame["t"] for frame in drawn["frames"]] == [0, 1, 2]
    assert drawn["reach"] == 1.05  # of a second between two frames
    first = drawn["frames"][0]
    assert first["box"] == pytest.approx([edge / 512 for edge in BOX], abs=1e-4)
    assert first["heat"].startswith("data:image/png;base64,")
    a, b, c, d, e, f = first["place"]
    assert (b, c) == (0, 0) and a == d  # upright and square in a square picture
    # the crop is wider than the face's box, and around the same middle
    assert [e + a / 2, f + d / 2] == pytest.approx([225 / 512, 116 / 512], abs=0.01)
    assert 112 / 512 < a < 1


def test_the_timeline_of_a_face_carries_its_layer() -> None:
    line = session_of(analysis_of([astronaut()] * 3)).timelines[0]
    assert 'data-layer="{&quot;a&quot;: 1}"' in clip.timeline(line, 2.0, 0, '{"a": 1}')
    assert "data-layer" not in clip.timeline(line, 2.0, 0)


def phone_clip(path: Path) -> Path:
    """An upright picture, a face in its upper half, stored on its side as phones do."""
    upright = np.full((512, 256, 3), 96, np.uint8)
    upright[:256] = astronaut()[20:276, 100:356]
    write_video(path, [np.rot90(upright)] * 8, fps=8)
    content = bytearray(path.read_bytes())
    at = content.index(b"tkhd") + 4 + 40  # the matrix follows 40 bytes of a version 0 track header
    struct.pack_into(">9i", content, at, 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    return path


def avi(path: Path) -> Path:
    """A wide clip with a face at its left, which browsers play only once it is encoded anew."""
    wide = np.full((256, 640, 3), 96, np.uint8)
    wide[:, :256] = astronaut()[20:276, 100:356]
    write_video(path, [wide] * 8, 8, "mpeg4")
    return path


def test_the_layer_of_the_whole_picture_is_clear_but_for_the_crop() -> None:
    one = session_of(analysis_of([astronaut()]))
    crop, heat = one.crop(Choice(0, 0)), Heat(np.ones((224, 224), np.float32), "x", "y")
    view = figures.view_frame(astronaut(), 256)
    drawn = figures.heat_layer(view, crop, heat, figures.shared_scale([heat]))
    assert drawn.shape == (256, 256, 4) and drawn.dtype == np.uint8
    assert drawn[58, 112, 3] == 191  # STRONGEST_ALPHA, in the middle of the face
    assert drawn[200, 60, 3] == 0 and drawn[..., 3].mean() < 64
    html = whole.picture(view.rgb, drawn, "<the picture>")
    assert 'alt="&lt;the picture&gt;"' in html and html.count("<img") == 2
    assert whole.picture(view.rgb, None, "").count("<img") == 1  # a model without a map


def browser(test: Callable) -> Callable:
    """Marks a test that drives Chromium."""
    skipped = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
    return pytest.mark.browser(skipped(pytest.mark.timeout(600)(test)))


@pytest.fixture(scope="module")
def page(page_url: str) -> Iterator:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.set_default_timeout(SLOW_MS)
        page.goto(page_url)
        yield page
        browser.close()


@browser
def test_a_slider_lays_the_map_over_the_whole_picture_at_once(page, tmp_path) -> None:
    write_example(EXAMPLES[0], tmp_path)
    page.set_input_files(UPLOAD, tmp_path / EXAMPLES[0].name)
    page.wait_for_selector(".lens-badge-passed, .lens-badge-failed")
    layer_of_map = page.locator("#lens-frame .lens-map")
    strength = "e => getComputedStyle(e).opacity"
    assert layer_of_map.evaluate(strength) == "0"  # the picture as it is, until it is asked for
    picture, over = (page.locator("#lens-frame img").nth(i).bounding_box() for i in (0, 1))
    assert picture == over and picture["width"] > 300
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    slider = page.locator("#lens-strength input")
    slider.focus()
    page.keyboard.press("End")
    assert layer_of_map.evaluate(strength) == "1" and "100%" in page.inner_text("#lens-strength")
    slider.fill("40")
    assert layer_of_map.evaluate(strength) == "0.4"
    page.click("#lens-strength .lens-larger")
    page.wait_for_function("document.fullscreenElement !== null")
    assert page.is_visible("#lens-strength input") and page.is_visible("#lens-frame .lens-map")
    page.click("#lens-strength .lens-larger")
    page.wait_for_function("document.fullscreenElement === null")
    assert asked == []  # nothing of it went to the server


@browser
def test_turned_and_reencoded_clips_have_the_layer_on_the_face(page, tmp_path) -> None:
    # the face's middle in the cut-out of 256 px, and its box there
    x, y = (225 - 100) / 256, (116 - 20) / 256
    for path, middle, tall in (
        (phone_clip(tmp_path / "phone.mp4"), (x, y / 2), True),
        (avi(tmp_path / "wide.avi"), (x * 0.4, y), False),
    ):
        if page.query_selector("#lens-file [aria-label=Clear]"):
            page.click("#lens-file [aria-label=Clear]")
            page.wait_for_selector("#lens-player video", state="detached")
        page.set_input_files(UPLOAD, path)
        page.wait_for_function(
            "tall => { const v = document.querySelector('#lens-player video');"
            " return v && v.readyState > 1 && tall === v.videoHeight > v.videoWidth; }",
            arg=tall,
        )
        switch = page.locator("#lens-player .lens-layer-on input")
        if path.suffix == ".mp4":
            assert page.evaluate(DRAWN, middle)["alpha"] == 0  # nothing before it is asked for
            assert not page.is_visible(".lens-layer-note")
            switch.check()
        assert switch.is_checked()  # also on the next clip
        page.wait_for_function(f"point => ({DRAWN})(point).alpha > 0", arg=middle)
        found = page.evaluate(DRAWN, middle)
        box, shown = found["box"], found["clip"]
        assert shown[0] > 0.2 if tall else shown[1] >= 0  # black beside an upright clip
        assert box[0] >= shown[0] - 0.01 and box[2] <= shown[2] + 0.01
        if tall:
            assert box[3] < 0.75  # nothing on the lower half
        else:
            assert box[2] < 0.55  # nor on the right
        page.evaluate("document.querySelector('#lens-player video').play()")
        page.wait_for_function("document.querySelector('#lens-player video').ended")
        page.wait_for_function(f"point => ({DRAWN})(point).alpha > 0", arg=middle)
        assert page.is_visible(".lens-layer-note")
    switch.uncheck()
    assert page.evaluate(DRAWN, middle)["alpha"] == 0
