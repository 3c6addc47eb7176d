"""The page at a small laptop, a large screen and a phone, light and dark: what is seen at once."""

import pytest
from test_page_browser import CHROMIUM, SLOW_MS

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(600),
]
LAPTOP, SCREEN, PHONE = (1366, 768), (1920, 1080), (390, 844)
CLIP = "?example=hopper_clip"
# Pairs of pieces of text, each with its words, whose boxes share more than a hairline.
OVERLAPS = """root => {
  const SEEN = {checkOpacity: true, visibilityProperty: true};
  const boxes = [];
  const walk = document.createTreeWalker(document.querySelector(root), NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode, range = document.createRange();
    if (!/[\\p{L}\\p{N}]/u.test(node.data)) continue;  // a sign is no text
    if (!node.parentElement.checkVisibility(SEEN)) continue;
    if (getComputedStyle(node.parentElement).clipPath !== 'none') continue;  // for screen readers
    range.selectNodeContents(node);
    for (const box of range.getClientRects())
      if (box.width > 1 && box.height > 1) boxes.push([node.data.trim(), box, node]);
  }
  const found = [];
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [one, a, first] = boxes[i], [other, b, second] = boxes[j];
    if (first === second) continue;
    const w = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const h = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (w > 2 && h > 4) found.push(`${one} | ${other}`);
  }
  return found;
}"""


def opened(chromium, address: str, size: tuple[int, int], scheme: str):
    """The page with the built-in clip analysed."""
    width, height = size
    page = chromium.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
    page.set_default_timeout(SLOW_MS)
    page.goto(address + CLIP)
    page.wait_for_selector("#lens-words p")
    page.wait_for_timeout(1500)  # pictures fade in, a phone has scrolled to the answer
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [LAPTOP, SCREEN, PHONE], ids=["laptop", "screen", "phone"])
def test_the_answer_is_seen_at_once_and_no_text_lies_on_another(chromium, page_url, size, scheme):
    width, height = size
    page = opened(chromium, page_url, size, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    heading = page.locator("#lens-verdict h2").bounding_box()
    assert heading["y"] >= 0 and heading["y"] + heading["height"] <= height
    assert page.evaluate(OVERLAPS, "#lens-verdict") == []
    assert page.evaluate(OVERLAPS, "#lens-line") == []
    body = page.locator("main").first.bounding_box()
    assert body["x"] == pytest.approx(width - body["x"] - body["width"], abs=16)  # its scroll bar
    if size != PHONE:
        verdict_player_and_timeline_are_seen(page, height)
        page.goto(page.url + "&projector=1")
        page.wait_for_selector("#lens-words p")
        page.wait_for_timeout(1500)
        verdict_player_and_timeline_are_seen(page, height)
        page.click("#lens-projector")
    page.click("#lens-about > button")
    page.wait_for_selector("#lens-metadata h4")
    page.wait_for_selector(".lens-badge-passed, .lens-badge-failed")
    every_tab_can_be_read(page, width)
    page.close()


def verdict_player_and_timeline_are_seen(page, height: int) -> None:
    for part in ("#lens-verdict h2", "#lens-player video", ".lens-similarity >> nth=-1"):
        box = page.locator(part).first.bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= height, part


def every_tab_can_be_read(page, width: int) -> None:
    """Each tab lies within the screen's width when it is chosen, and no text on another."""
    tabs = page.locator("button[role=tab]:visible")
    names = tabs.all_inner_texts()
    expected = ["Analyse", "Several files", "Compression", "Forgery lab", "Learn", "Model"]
    assert names[:6] == expected
    for i, name in enumerate(names):
        box = tabs.nth(i).bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width, name
        tabs.nth(i).click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(OVERLAPS, "main") == [], name
