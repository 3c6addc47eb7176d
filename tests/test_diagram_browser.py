"""The network's diagram in headless Chromium, at three sizes, light and dark."""

from collections.abc import Iterator

import pytest
from test_layout_browser import LAPTOP, OVERLAPS, PHONE, SCREEN
from test_page_browser import CHROMIUM, QUIET, SLOW_MS, sync_api

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(600),
]
NET = "#lens-inside-shown .lens-net"


@pytest.fixture(scope="module")
def page(page_url: str) -> Iterator:
    """The built-in photo's face, sent through."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        page = browser.new_page(reduced_motion="reduce")
        page.set_default_timeout(SLOW_MS)
        page.goto(f"{page_url}?example=astronaut")
        page.wait_for_selector("#lens-words p")
        page.click("#lens-inside > button")
        page.click("#lens-inside-go")
        page.wait_for_selector(NET)
        yield page
        browser.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, SCREEN, PHONE], ids=["laptop", "screen", "phone"])
def test_one_drawing_is_seen_and_no_text_lies_on_another(page, size, scheme):
    width, height = size
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(color_scheme=scheme)
    shown = page.eval_on_selector_all(
        f"{NET} svg", "all => all.filter(one => one.checkVisibility()).map(one => one.classList[0])"
    )
    assert shown == ["lens-net-standing" if size == PHONE else "lens-net-lying"]
    assert page.evaluate(OVERLAPS, NET) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = "all => all.map(one => one.getBoundingClientRect().height).filter(h => h)"
    assert min(page.eval_on_selector_all(f"{NET} svg text", sizes)) >= 11  # px: can be read


def test_a_box_is_chosen_by_click_and_by_keyboard(page):
    page.set_viewport_size({"width": 1366, "height": 768})
    seen = f"{NET} section:not([hidden])"
    assert page.inner_text(f"{seen} h4") == "Crop"
    page.click(f"{NET} .lens-net-lying [data-box=noise]")
    assert page.inner_text(f"{seen} h4") == "Noise stream"
    assert page.get_attribute(f"{seen} img", "alt").startswith("Noise stream: the energy")
    page.focus(f"{NET} .lens-net-lying [data-box=noise]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert page.inner_text(f"{seen} h4") == "Embedding"
    pressed = page.locator(f"{NET} .lens-net-lying [aria-pressed=true]")
    assert pressed.count() == 1 and pressed.get_attribute("data-box") == "embedding"


def test_it_lights_up_unless_less_motion_is_asked_for(page):
    running = f"document.querySelector('{NET}').getAnimations({{subtree: true}}).length"
    assert page.evaluate(running) == 0
    page.emulate_media(reduced_motion="no-preference")
    page.click(f"{NET} .lens-again")
    assert page.evaluate(running) > 20
    first = (
        f"getComputedStyle(document.querySelector('{NET} svg:not([hidden]) [data-box=verdict]'))"
    )
    assert float(page.evaluate(f"{first}.opacity")) < 1  # its turn comes last
    page.wait_for_timeout(6000)
    assert float(page.evaluate(f"{first}.opacity")) == 1
    page.emulate_media(reduced_motion="reduce")
