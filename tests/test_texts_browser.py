"""The page in other languages, in headless Chromium."""

import pytest
from test_page_browser import CHROMIUM, SLOW_MS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(600),
]
EXAMPLE = "#lens-examples [data-name=astronaut]"
HEADING = "#lens-verdict h2 span"
# what Tab reached, once it is a term
ON_A_TERM = "() => document.activeElement.classList.contains('lens-term')"


def opened(chromium, url: str, locale: str, size: tuple[int, int] = (1366, 768)):
    width, height = size
    context = chromium.new_context(locale=locale, viewport={"width": width, "height": height})
    page = context.new_page()
    page.set_default_timeout(SLOW_MS)
    page.goto(url)
    page.wait_for_selector(EXAMPLE)
    return page


def tabs(page) -> list[str]:
    page.wait_for_function("document.querySelectorAll('button[role=tab]').length >= 6")
    return page.locator("button[role=tab]:visible").all_inner_texts()


@pytest.mark.parametrize(
    ("locale", "language", "named", "headings", "label"),
    [
        (
            "de-AT", "de", ["Analyse", "Mehrere Dateien", "Kompression"],
            {"Wirkt gefälscht", "Wirkt echt", "Keine Aussage möglich"}, "Foto oder Clip",
        ),
        (
            "zh", "zh-CN", ["分析", "多个文件", "压缩"],
            {"看似伪造", "看似真实", "无法判断"}, "照片或视频",
        ),
    ],
)  # fmt: skip
def test_tabs_and_the_verdict_of_an_example_are_in_the_browsers_language(
    chromium, page_url, locale, language, named, headings, label
):
    page = opened(chromium, page_url, locale)
    assert tabs(page)[:3] == named
    assert page.evaluate("document.documentElement.lang") == language
    page.click(EXAMPLE)
    page.wait_for_selector(HEADING)
    assert page.inner_text(HEADING) in headings
    assert page.inner_text("#lens-file [data-testid=block-label]").strip() == label
    page.context.close()


def test_an_unknown_language_gets_english(chromium, page_url):
    page = opened(chromium, page_url, "pt-BR")
    assert tabs(page)[:2] == ["Analyse", "Several files"]
    assert "Files are deleted when you close the page" in page.inner_text("#lens-privacy")
    assert "Drop File Here" in page.inner_text("#lens-file")  # Gradio's own words follow
    page.context.close()


def test_an_address_names_the_language_and_keeps_it(chromium, page_url):
    page = opened(chromium, f"{page_url}?lang=es", "en-GB")
    assert tabs(page)[:2] == ["Analizar", "Varios archivos"]
    page.get_by_role("tab", name="Compresión").click()
    page.wait_for_url("**tab=compression**")
    assert "lang=es" in page.url
    assert page.input_value("#lens-compression-example input") == "Astronauta, cara pegada"
    page.click(".lens-languages a[lang=fr]")
    page.wait_for_url("**lang=fr**")
    page.wait_for_selector("#lens-compression-example:visible")
    assert "tab=compression" in page.url and tabs(page)[4] == "Apprendre"
    page.context.close()


def test_a_term_is_explained_by_keyboard_and_by_pointer(chromium, page_url):
    page = opened(chromium, page_url, "en-US", (390, 844))
    page.click(EXAMPLE)
    page.wait_for_selector("#lens-verdict .lens-term")
    page.focus(EXAMPLE)
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate(ON_A_TERM):
            break
    assert page.evaluate("document.activeElement.innerText").lower() == "calibrated probability"
    tip = page.locator("#lens-tip")
    assert "about 8 in 10 are forged" in tip.inner_text()
    assert page.get_attribute(".lens-term:focus", "aria-describedby") == "lens-tip"
    box = tip.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.hover("#lens-verdict .lens-term")
    assert tip.is_visible()
    page.context.close()


@pytest.mark.parametrize(
    ("locale", "size"), [("de", (1366, 768)), ("de", (390, 844)), ("hi", (390, 844))]
)
def test_no_language_makes_the_page_wider_than_its_window(chromium, page_url, locale, size):
    page = opened(chromium, page_url, locale, size)
    page.click(EXAMPLE)
    page.wait_for_selector(HEADING)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for tab in range(1, 6):
        page.locator("button[role=tab]:visible").nth(tab).click()
        page.wait_for_timeout(200)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], tab
    page.context.close()
