"""The labs and lessons in headless Chromium. With random weights: nothing is said about
judgement.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_page_browser import CHROMIUM, PHONE, SLOW_MS, leaves

from detector.manifest import SHIPPED
from explain.lab import colour
from explain.lab.examples import EXAMPLES, write_example

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(900),
]


@pytest.fixture
def page(chromium, page_url: str) -> Iterator:
    """A fresh visitor, who must not be sent anywhere else and must not see a traceback."""
    elsewhere, broken = [], []
    page = chromium.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(SLOW_MS)
    page.on(
        "request",
        lambda request: elsewhere.append(request.url) if leaves(request.url, page_url) else None,
    )
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.goto(page_url)
    page.wait_for_selector("#lens-examples button")
    yield page
    text = page.inner_text("body")
    page.close()
    assert "Traceback" not in text and "Sorry." not in text
    assert elsewhere == []
    assert broken == []


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(EXAMPLES[0], tmp_path_factory.mktemp("uploads"))


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def lesson(page, number: int) -> None:
    tab(page, "Learn")
    page.click(f"#lens-lesson-{number} > button")


# A lab may open with a finished run, whose pictures and words look like those of the next one.
RUN_ENDED = """key => {
  const selector = `#lens-${key}-go`;
  let begun = false;
  window.lensRunEnded = false;
  const observer = new MutationObserver(() => {
    const disabled = document.querySelector(selector).disabled;
    begun = begun || disabled;
    if (!begun || disabled) return;
    window.lensRunEnded = true;
    observer.disconnect();
  });
  observer.observe(document.body, {subtree: true, attributes: true, childList: true});
  document.querySelector(selector).click();
}"""


def go(page, key: str, shows: str) -> None:
    """Start a run, wait until it has ended, and then for what it shows; a picture must be
    loaded.
    """
    page.wait_for_selector(f"#lens-{key}-go:enabled")
    page.evaluate(RUN_ENDED, key)
    page.wait_for_function("window.lensRunEnded", timeout=2 * SLOW_MS)
    handle = page.wait_for_selector(shows)
    if shows.endswith("img"):
        page.wait_for_function("img => img.complete && img.naturalWidth > 0", arg=handle)


def fits(page) -> None:
    """No sideways scrolling on a phone."""
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def alt_texts(page, selector: str) -> None:
    alts = page.eval_on_selector_all(f"{selector} img", "images => images.map(image => image.alt)")
    assert alts and all(len(alt) > 10 for alt in alts)


def test_a_file_is_degraded_and_the_slider_moves_everything(page, photo):
    tab(page, "Compression")
    page.set_input_files("#lens-compression-file input[type=file]", str(photo))
    page.click("#lens-compression-kind label:has-text('Chroma subsampling')")
    go(page, "compression", "#lens-compression-strip img")
    assert "The answer" in page.inner_text("#lens-compression-words")
    assert "JPEG" not in page.inner_text("#lens-compression-about")  # what the lab opens with
    first = page.inner_text("#lens-compression-about p >> nth=0")
    page.focus("#lens-compression-level input[type=range]")
    page.keyboard.press("End")
    page.wait_for_function(
        "old => document.querySelector('#lens-compression-about p').innerText !== old", arg=first
    )
    assert "4:1:1: colour stored as 4:1:1." in page.inner_text("#lens-compression-about")
    alt_texts(page, "#lens-compression-curve")
    page.wait_for_timeout(500)
    alt_texts(page, "#lens-compression-restored")
    fits(page)


def test_a_slider_forges_the_face(page):
    tab(page, "Forgery lab")
    page.focus("#lens-forgery-ratio input[type=range]")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector("#lens-forgery-table table")
    first = page.inner_text("#lens-forgery-words p >> nth=0")
    assert "the untouched face has" in first
    page.keyboard.press("Home")
    page.wait_for_function(
        "document.querySelector('#lens-forgery-words').innerText.includes('nothing is forged')"
    )
    go(page, "forgery", "#lens-forgery-face img")
    page.focus("#lens-forgery-ratio input[type=range]")
    page.keyboard.press("End")  # whether or not a forgery was found that fools the detector
    page.wait_for_selector("#lens-forgery-table table")
    page.click("#lens-forgery-lime-go")
    page.wait_for_selector("#lens-forgery-lime img")
    page.wait_for_function(
        "document.querySelector('#lens-forgery-table').innerText.includes('LIME')"
    )
    alt_texts(page, "#lens-forgery-evidence")
    fits(page)


def steps_done(page, key: str) -> int:
    found = re.search(r"After ([0-9]+) ", page.inner_text(f"#lens-{key}-about"))
    return int(found[1]) if found else 0


PAUSED_AFTER_MS = """key => new Promise(done => {
  const status = document.querySelector(`#lens-${key}-status`), began = performance.now();
  const seen = () => status.innerText.includes('Paused.') && done(performance.now() - began);
  new MutationObserver(seen).observe(status, {subtree: true, childList: true, characterData: true});
  document.querySelector(`#lens-${key}-pause`).click();
})"""


def played_and_paused(page, key: str) -> int:
    """Play until it has moved, pause, and return the steps done; a pause halts it for good."""
    page.click(f"#lens-{key}-play")
    now = "key => +(/After ([0-9]+) /.exec(document.querySelector(key).innerText) || [0, 0])[1]"
    before = steps_done(page, key)
    page.wait_for_function(
        f"([key, old]) => ({now})(key) > old", arg=[f"#lens-{key}-about", before]
    )
    assert page.evaluate(PAUSED_AFTER_MS, key) < 1000
    page.wait_for_timeout(1500)  # what was under way has come
    done = steps_done(page, key)
    page.wait_for_timeout(1500)
    assert steps_done(page, key) == done
    return done


def test_a_gan_is_played_paused_and_stepped(page):
    lesson(page, 1)
    page.click("#lens-gan-step")
    page.wait_for_selector("#lens-gan-now img")
    assert "After 1 step " in page.inner_text("#lens-gan-about")
    done = played_and_paused(page, "gan")
    assert done > 1
    page.click("#lens-gan-step")
    page.wait_for_selector(f"#lens-gan-about :text('After {done + 1} steps')")
    label = page.get_attribute("#lens-gan-losses svg", "aria-label")
    assert label.startswith(f"loss by step, now at {done}: generator 0.")
    page.click("#lens-gan-again")
    page.wait_for_selector("#lens-gan-status :text('A fresh start.')")
    assert page.inner_text("#lens-gan-about").strip() == ""
    page.click("#lens-gan-step")
    page.wait_for_selector("#lens-gan-about :text('After 1 step ')")
    alt_texts(page, "#lens-gan-now")
    fits(page)


def test_an_autoencoder_is_trained_and_goes_on_after_a_pause(page):
    lesson(page, 2)
    page.click("#lens-ae-step")
    page.wait_for_selector("#lens-ae-about :text('After 10 of 1000 steps.')")
    assert "Mean squared error on digits it was not trained on" in page.inner_text("#lens-ae-about")
    assert "a chess board" in page.inner_text("#lens-ae-scores")
    assert played_and_paused(page, "ae") > 10
    page.click("#lens-ae-code label:has-text('32')")  # another network begins at nothing
    page.click("#lens-ae-step")
    page.wait_for_selector("#lens-ae-about :text('After 10 of 1000 steps.')")
    fits(page)


def test_fingerprints_are_taken(page):
    lesson(page, 3)
    go(page, "prints", "#lens-prints-table table")
    assert "transposed convolution" in page.inner_text("#lens-prints-table")
    alt_texts(page, "#lens-prints-spectra")
    fits(page)


def test_faces_are_swapped_and_moved(page):
    lesson(page, 4)
    go(page, "flicker", "#lens-flicker-status p:has-text('Train the two decoders first.')")
    go(page, "swap", "#lens-swap-drawn img")
    go(page, "flicker", "#lens-flicker-about p")
    assert "Likeness of neighbouring frames" in page.inner_text("#lens-flicker-about")
    page.wait_for_function("document.querySelector('#lens-flicker-clip video').readyState > 1")
    go(page, "move", "#lens-move-about p")
    page.wait_for_function("document.querySelector('#lens-move-clip video').readyState > 1")
    fits(page)


@pytest.mark.skipif(
    not (SHIPPED / colour.WEIGHTS).is_file(), reason="the colouriser's weights are not shipped"
)
def test_a_photo_is_coloured(page):
    lesson(page, 5)
    go(page, "colour", "#lens-colour-about p")
    assert "Lab units off" in page.inner_text("#lens-colour-about")
    fits(page)


def test_a_pair_is_guessed_before_it_is_told(page):
    lesson(page, 6)
    go(page, "guess", "#lens-guess-left img")
    assert page.inner_text("#lens-guess-told").strip() == ""
    page.click("#lens-guess-pick-left")
    page.wait_for_selector("#lens-guess-truth img")
    told = page.inner_text("#lens-guess-told")
    assert "one is forged (" in told and "The model would have picked" in told
    assert "You found" in page.inner_text("#lens-guess-table")
    page.click("#lens-guess-next")
    page.wait_for_function(
        "document.querySelector('#lens-guess-asked').innerText.includes('Pair 2 of 10')"
    )
    fits(page)


def test_the_labs_answer_programs_with_the_same_numbers(page_url, photo):
    from gradio_client import Client, handle_file

    client = Client(page_url, verbose=False)
    plain = client.predict(handle_file(photo), api_name="/analyze")
    curve = client.predict(handle_file(photo), "Chroma subsampling", api_name="/degrade")
    assert [point["level"] for point in curve["points"]] == ["as it is", "4:2:2", "4:2:0", "4:1:1"]
    assert curve["points"][0]["p_fake"] == plain["p_fake"] and curve["sha256"] == plain["sha256"]
    told, forged = client.predict(handle_file(photo), {"ratio": 0.0}, api_name="/forge")
    assert told["p_fake"] == pytest.approx(told["p_fake_untouched"], abs=1e-4)
    assert told["settings"]["family"] == "self-blend" and Path(forged).is_file()
    with pytest.raises(Exception, match="expected ratio between"):
        client.predict(handle_file(photo), {"ratio": 2.0}, api_name="/forge")
    client.close()
