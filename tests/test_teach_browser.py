"""What teachers use: links, labs that open with a finished run, lessons with a guess and a
worksheet. In headless Chromium, with random weights.
"""

import pytest
from test_layout_browser import LAPTOP, OVERLAPS, PHONE
from test_page_browser import CHROMIUM, SLOW_MS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(900),
]


def opened(chromium, address: str, size: tuple[int, int] = LAPTOP, scheme: str = "light"):
    page = chromium.new_page(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, accept_downloads=True
    )
    page.set_default_timeout(2 * SLOW_MS)
    page.goto(address)
    return page


def test_a_link_deals_its_cards_and_a_reload_keeps_them(chromium, page_url):
    page = opened(chromium, f"{page_url}?tab=learn&lesson=6&deal=17")
    page.wait_for_selector("#lens-guess-left img")
    assert page.input_value("#lens-guess-seed input") == "17"
    assert "tab=learn" in page.url and "lesson=6" in page.url and "deal=17" in page.url
    page.fill("#lens-guess-seed input", "18")
    page.click("#lens-guess-go:enabled")
    page.wait_for_url("**deal=18*")
    page.click("#lens-lesson-6 > button")
    page.wait_for_url(lambda url: "deal" not in url and "lesson" not in url)
    page.close()


def test_a_lab_opens_with_a_finished_run_and_its_link_keeps_what_it_shows(chromium, page_url):
    page = opened(chromium, f"{page_url}?tab=compression&face=astronaut&kind=Chroma%20subsampling")
    page.wait_for_selector("#lens-compression-strip img")
    assert "The answer" in page.inner_text("#lens-compression-words")
    assert page.input_value("#lens-compression-example input") == "Astronaut, authentic"
    page.click("#lens-compression-kind label:has-text('Blur')")
    page.wait_for_url("**kind=Blur*")
    assert "face=astronaut" in page.url
    page.wait_for_selector("#lens-compression-status :text('settings before')")
    page.get_by_role("tab", name="Model", exact=True).click()
    page.wait_for_url(lambda url: "tab=model" in url and "kind" not in url and "face" not in url)
    page.close()


@pytest.mark.parametrize(
    ("size", "scheme"), [(LAPTOP, "light"), (PHONE, "dark")], ids=["laptop", "phone"]
)
def test_the_forgery_stays_in_sight_while_a_slider_is_moved(chromium, page_url, size, scheme):
    width, height = size
    page = opened(chromium, f"{page_url}?tab=forgery", size, scheme)
    page.wait_for_selector("#lens-forgery-face img")  # of the settings that it opens with
    page.wait_for_selector("#lens-forgery-untouched img")
    assert "the untouched face has" in page.inner_text("#lens-forgery-words")
    slider = page.locator("#lens-forgery-sharpen input[type=range]")
    slider.scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    for part in ("untouched", "face", "evidence"):
        box = page.locator(f"#lens-forgery-{part} img").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height, part
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, part
    at = slider.bounding_box()
    assert at["y"] > box["y"] + box["height"] or at["x"] + at["width"] < box["x"]  # not covered
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_where_the_model_fails_stands_under_its_dots(chromium, page_url):
    page = opened(chromium, f"{page_url}?tab=model")
    page.wait_for_selector("#lens-weak-0 img")  # without a click
    dots, gallery, accuracy = (
        page.locator(part).bounding_box()["y"]
        for part in ("#lens-hundred", "#lens-weak-0", "#lens-accuracy")
    )
    assert dots < gallery < accuracy
    page.close()


@pytest.mark.parametrize(
    ("size", "scheme"), [(LAPTOP, "dark"), (PHONE, "light")], ids=["laptop", "phone"]
)
def test_a_lesson_asks_first_and_offers_a_worksheet(chromium, page_url, size, scheme):
    page = opened(chromium, f"{page_url}?tab=learn&lesson=3", size, scheme)
    page.wait_for_selector("#lens-plan-3 svg")
    assert "About 15 minutes." in page.inner_text("#lens-plan-3")
    assert page.evaluate(OVERLAPS, "#lens-lesson-3") == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    page.click("#lens-plan-guess-3 label:has-text('In the eyes.')")
    page.wait_for_selector("#lens-plan-told-3 summary")
    assert "Not quite" not in page.inner_text("#lens-plan-told-3")  # folded
    page.click("#lens-plan-told-3 summary")
    assert "Not quite: In the spectrum of the fine noise." in page.inner_text("#lens-plan-told-3")
    with page.expect_download() as download:
        page.click("#lens-plan-3 .lens-sheet")
    assert download.value.suggested_filename == "worksheet-3-fingerprints.html"
    sheet = download.value.path().read_text(encoding="utf-8")
    assert sheet.startswith("<!doctype html>") and "Key: 3. Fingerprints of generators" in sheet
    page.close()
