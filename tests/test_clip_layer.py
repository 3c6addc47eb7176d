"""A face's box and evidence map on the playing clip: the numbers, and what Chromium draws."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from explain_faces import BOX, analysis_of, astronaut, detector
from page_tools import session_of
from test_page_browser import CHROMIUM, QUIET, SLOW_MS, UPLOAD, sync_api

from detector.media import write_video
from explain.server.service import Service
from explain.tabs import clip, layer

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


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.timeout(600)
def test_turned_and_reencoded_clips_have_the_layer_on_the_face(page_url, tmp_path) -> None:
    # the face's middle in the cut-out of 256 px, and its box there
    x, y = (225 - 100) / 256, (116 - 20) / 256
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.set_default_timeout(SLOW_MS)
        page.goto(page_url)
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
        browser.close()
