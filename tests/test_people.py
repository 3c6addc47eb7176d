"""Many faces in one file: the order they are offered in, and a list that stays in its place."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from explain_faces import crowd
from PIL import Image
from test_page_browser import CHROMIUM, PHONE, QUIET, SLOW_MS, UPLOAD, caption, sync_api

from explain.tabs import cards


def test_faces_are_offered_as_one_reads_whatever_their_scores() -> None:
    people = crowd().faces
    assert people[0].track.track == 63
    order = [people[i].track.track for i in cards.reading_order(people)]
    assert order == list(range(64))  # a pixel or two up or down is the same row
    tall, left, low = (
        replace(p.track.crops[0], box_xyxy_px=box)
        for p, box in zip(
            people, ((50, 0, 90, 100), (0, 40, 30, 80), (10, 101, 40, 140)), strict=False
        )
    )
    three = [
        replace(p, track=replace(p.track, crops=(crop,)))
        for p, crop in zip(people, (low, tall, left), strict=False)
    ]
    assert cards.reading_order(three) == [2, 1, 0]


def test_each_face_has_a_picture_a_label_and_a_reason() -> None:
    html = cards.faces(crowd(count=3).faces)
    assert re.findall(r'value="(\d)"( checked)?>', html) == [
        ("2", ""),
        ("1", ""),
        ("0", " checked"),
    ]
    assert html.count('<img alt="" src="data:image/jpeg;base64,') == 3
    assert "<b>Face 1: cannot say (0.33)</b> Reason number 1." in html
    assert "3 faces, as they stand in the picture." in html
    assert len(cards.faces(crowd().faces)) < 400_000


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("size", [{"width": 1366, "height": 768}, PHONE], ids=["laptop", "phone"])
def test_sixty_four_faces_scroll_in_their_own_list(page_url: str, tmp_path: Path, size) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "crowd.png")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page(viewport=size)
        page.set_default_timeout(SLOW_MS)
        page.goto(page_url)
        page.set_input_files(UPLOAD, tmp_path / "crowd.png")
        page.wait_for_selector("#lens-words p")
        assert page.locator("#lens-face input").count() == 64
        faces = page.locator(".lens-faces")
        assert faces.bounding_box()["height"] <= 264
        assert faces.evaluate("e => e.scrollHeight > 2 * e.clientHeight")
        verdict = page.locator("#lens-verdict").bounding_box()
        assert verdict["y"] + verdict["height"] <= faces.bounding_box()["y"]
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
        assert page.is_checked("#lens-face input[value='0']")  # the most forged-looking one
        assert caption(page).startswith("Face 63, score ")
        page.locator(".lens-faces label").nth(20).click()
        page.wait_for_function(
            "document.querySelector('#lens-caption').innerText.startsWith('Face 20,')"
        )
        page.keyboard.press("ArrowRight")  # the next one, without a mouse
        page.wait_for_function(
            "document.querySelector('#lens-caption').innerText.startsWith('Face 21,')"
        )
        before = page.evaluate("scrollY")
        faces.evaluate("e => e.scrollTo(0, e.scrollHeight)")
        assert page.evaluate("scrollY") == before
        browser.close()
