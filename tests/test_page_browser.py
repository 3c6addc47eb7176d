"""The real page in headless Chromium. The detector has random weights, so nothing is asserted about
its judgement.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from explain_faces import analysis_of, astronaut, detector, explainer
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from detector.types import Analysis, Label, Verdict
from explain.explainer import Explainer
from explain.lab.examples import EXAMPLES, hopper, write_example
from explain.report import build_report
from explain.server.address import tab_js

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.timeout(600),
]
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-sync",
    "--no-first-run",
)
SLOW_MS = 60_000  # two shared cores may be busy
UPLOAD = "#lens-file input[type=file]"
CLEAR = "#lens-file [aria-label=Clear]"
PHONE = {"width": 390, "height": 844}


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
    assert "Traceback" not in text and "Error" not in text
    assert elsewhere == []
    assert broken == []


def leaves(url: str, home: str) -> bool:
    return not url.startswith((home, "data:", "blob:"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("uploads")
    made = {
        "photo": write_example(EXAMPLES[0], folder),
        "clip": write_example(EXAMPLES[4], folder),
        "two": folder / "two.png",
        "garbage": folder / "garbage.jpg",
        "slow": folder / "slow.png",
        "fault": folder / "fault.png",
    }
    Image.fromarray(np.hstack([astronaut(), hopper()[:512]])).save(made["two"])
    made["garbage"].write_bytes(b"\xff\xd8 this is no picture <script>alert(1)</script>")
    for name in ("slow", "fault"):
        Image.new("RGB", (8, 8)).save(made[name])
    return made


def upload(page, path: Path) -> None:
    if page.query_selector(CLEAR):
        page.click(CLEAR)
    page.set_input_files(UPLOAD, str(path))


def analysed(page, path: Path) -> None:
    """Upload and wait until the chosen frame is shown in full."""
    upload(page, path)
    page.wait_for_selector("#lens-words p")


def pixels(page, selector: str) -> list[int]:
    """Width and height of the picture that the browser loaded."""
    page.locator(selector).scroll_into_view_if_needed()
    handle = page.wait_for_selector(f"{selector} img")
    page.wait_for_function("img => img.complete && img.naturalWidth > 0", arg=handle)
    return handle.evaluate("img => [img.naturalWidth, img.naturalHeight]")


def caption(page) -> str:
    return page.inner_text("#lens-caption p").strip()


def wait_for_caption(page, other_than: str) -> str:
    page.wait_for_function(
        "old => document.querySelector('#lens-caption p').innerText.trim() !== old",
        arg=other_than,
    )
    return caption(page)


def test_a_photo_gets_a_verdict_and_its_pictures(page, files):
    analysed(page, files["photo"])
    page.wait_for_selector(".lens-badge-passed, .lens-badge-failed")
    badge = page.inner_text("#lens-badge")
    assert "Tested on this face" in badge or "Do not rely on this map" in badge
    headings = ("Forged-looking", "Authentic-looking", "Cannot say")
    assert page.inner_text("#lens-verdict h2").strip() in headings
    assert "not evidence against a person" in page.inner_text("#lens-verdict")
    assert page.get_attribute("#lens-verdict .lens-scale", "aria-label").startswith("Score 0.")
    assert caption(page).startswith("Face 1, score 0.")
    assert pixels(page, "#lens-frame") == [512, 512]
    assert pixels(page, "#lens-evidence")[0] >= 448
    assert pixels(page, "#lens-residual") == [224, 224]
    assert "PSNR" in page.inner_text("#lens-restored")
    assert not page.is_visible("#lens-player") and not page.is_visible("#lens-line")
    page.wait_for_selector("#lens-stop", state="hidden")
    heard = page.inner_text("#lens-status [role=status]")  # a screen reader hears the answer
    assert heard.startswith(page.inner_text("#lens-verdict h2").strip())
    alt = page.get_attribute("#lens-evidence img", "alt")
    assert alt.startswith("Face 1: ") and alt.split(": ")[1].split(".")[0].capitalize() in headings


def test_an_example_is_one_click(page):
    page.click("#lens-examples button:has-text('Grace Hopper, mouth re-drawn')")
    page.wait_for_selector("#lens-words p")
    assert page.is_hidden("#lens-verdict details p >> nth=0")
    assert "Photo, 512 × 600 px, 1 face" in page.text_content("#lens-verdict details")


def test_the_timeline_moves_the_clip_and_the_clip_moves_the_timeline(page, files):
    analysed(page, files["clip"])
    first = caption(page)
    seconds = "document.querySelector('#lens-player video').currentTime"
    page.wait_for_function("document.querySelector('#lens-player video').readyState > 1")
    plot = page.locator(".lens-plot").first
    width = plot.bounding_box()["width"]
    at = 0.9 if "0." in first.split(" s")[0] else 0.1  # far from the frame that is shown
    plot.click(position={"x": width * at, "y": 30})
    clicked = wait_for_caption(page, first)
    shown_s = float(clicked.split("Frame at ")[1].split(" s")[0])
    assert shown_s == pytest.approx(4 * at, abs=0.15)
    assert page.evaluate(seconds) == pytest.approx(shown_s, abs=0.05)

    page.focus(".lens-timeline")
    page.keyboard.press("Home")
    home = wait_for_caption(page, clicked)
    assert home.startswith("Frame at 0.08 s")
    assert page.get_attribute(".lens-timeline", "aria-valuenow") == "0"
    assert page.get_attribute(".lens-timeline", "aria-valuetext") in home.replace(
        "Frame at ", ""
    ).replace(", face 1", "")

    page.evaluate("document.querySelector('#lens-player video').play()")
    wait_for_caption(page, home)
    page.wait_for_function("parseFloat(document.querySelector('.lens-head').style.left) > 20")
    page.wait_for_function("document.querySelector('#lens-player video').ended")
    page.wait_for_function(
        "document.querySelector('#lens-caption').innerText.includes('Frame at 3.')"
    )


def test_each_face_has_its_own_pictures(page, files):
    analysed(page, files["two"])
    assert page.locator("#lens-face input").count() == 2
    first = caption(page)
    page.locator("#lens-face label:not(:has(:checked))").click()
    assert wait_for_caption(page, first)[:7] != first[:7]


def test_slow_explanations_run_on_demand(page, files):
    analysed(page, files["photo"])
    for part in ("cam", "lime", "trust"):
        page.click(f"#lens-{part} > button")
    page.click("#lens-card-go")
    page.click("#lens-card-stop")  # once it can be clicked
    page.wait_for_selector("#lens-card-status :text('Cancelled.')")
    page.wait_for_selector("#lens-card-go:enabled")
    assert page.query_selector("#lens-marks table") is None
    page.click("#lens-lime-go")
    assert pixels(page, "#lens-lime-positive") == [224, 224]
    assert pixels(page, "#lens-lime-signed")[0] == 448
    assert "rank correlation" in page.inner_text("#lens-lime-about")
    page.click("#lens-cam-go")
    assert pixels(page, "#lens-cam-picture")[0] >= 448
    page.click("#lens-shuffle-go")
    page.wait_for_selector("#lens-shuffle-about p")
    assert "rank correlation" in page.inner_text("#lens-shuffle-about")
    page.click("#lens-card-go")
    page.wait_for_selector("#lens-marks table")
    marks = page.inner_text("#lens-marks")
    assert "evidence map" in marks and "control: centre" in marks


def test_the_report_is_what_the_api_gives(page, page_url, files):
    from gradio_client import Client, handle_file

    analysed(page, files["photo"])
    page.click("#lens-report > button")
    page.click("#lens-report-go")
    page.wait_for_selector("#lens-report-files a[download]")
    saved = {}
    for link in page.locator("#lens-report-files a[download]").all():
        with page.expect_download() as download:
            link.click()
        saved[download.value.suggested_filename] = Path(download.value.path()).read_text(
            encoding="utf-8"
        )
    today = f"{datetime.now().astimezone():%Y-%m-%d}"
    assert sorted(saved) == [f"report-astronaut-{today}.html", f"report-astronaut-{today}.json"]
    html, numbers = (saved[name] for name in sorted(saved))
    assert html.startswith("<!doctype html>")
    assert "http" not in html.split("</style>")[1].split("data:image")[0]
    client = Client(page_url, verbose=False)
    assert json.loads(numbers) == client.predict(handle_file(files["photo"]), api_name="/explain")
    client.close()


def test_several_files_are_sorted_compared_and_downloaded(page, files, tmp_path):
    page.set_viewport_size(PHONE)
    some = [tmp_path / "10.png", tmp_path / "90.png", files["garbage"]]
    for path in some[:2]:
        Image.new("RGB", (8, 8)).save(path)
    page.wait_for_selector(".lens-finished")  # clicks are heard by now
    page.click("button[role=tab]:has-text('Several files')")
    page.set_input_files("#lens-several-files input[type=file]", [str(path) for path in some])
    page.wait_for_selector("#lens-several-files :text('garbage')")
    page.click("#lens-several-go")
    page.wait_for_selector("#lens-several-shown section")
    shown = page.locator("#lens-several-table tbody tr th")
    assert shown.all_inner_texts() == ["10.png", "90.png", "garbage.jpg"]
    score = page.locator("#lens-several-table th button:has-text('Score')")
    score.click()  # the highest first, what has none last
    assert shown.all_inner_texts() == ["90.png", "10.png", "garbage.jpg"]
    score.press("Enter")
    assert shown.all_inner_texts() == ["10.png", "90.png", "garbage.jpg"]
    one, two = (part.bounding_box() for part in page.locator(".lens-pair > section").all())
    assert one["y"] == two["y"] and one["x"] < two["x"]  # side by side on a phone, too
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    with page.expect_download() as download:
        page.click(".lens-downloads a:has-text('CSV')")
    assert "90.png" in Path(download.value.path()).read_text(encoding="utf-8")


@pytest.mark.parametrize("tab", ["several", "compression", "model"])
def test_a_link_opens_its_tab_and_stays_in_the_address(chromium, page_url, tab):
    page = chromium.new_page()
    page.set_default_timeout(SLOW_MS)
    page.goto(f"{page_url}?tab={tab}")
    page.wait_for_selector(f"button[role=tab][aria-selected=true]:has-text('{tab.capitalize()}')")
    page.wait_for_function("window.lensOpened")
    assert page.url.endswith(f"?tab={tab}")
    page.click("button[role=tab]:has-text('Forgery lab')")
    page.click("button[role=tab]:has-text('Learn')")
    page.wait_for_url("**?tab=learn")
    late = tab_js({key: ["kind"] for key in ("analyse", tab, "learn")})
    page.evaluate(late)  # the event of a tab that took long to build
    assert page.url.endswith("?tab=learn")
    page.close()


@pytest.mark.parametrize("dark", [False, True])
def test_projector_mode_is_a_link_with_big_type_and_high_contrast(chromium, page_url, dark):
    page = chromium.new_page(viewport={"width": 1366, "height": 768})
    page.set_default_timeout(SLOW_MS)
    page.goto(f"{page_url}?tab=analyse&projector=1{'&__theme=dark' if dark else ''}")
    page.wait_for_selector(".lens-projector-mode")
    small = page.locator("#lens-privacy p")
    assert small.evaluate("e => getComputedStyle(e).color") == (
        "rgb(255, 255, 255)" if dark else "rgb(0, 0, 0)"
    )
    big = small.bounding_box()["height"]
    assert page.evaluate("document.documentElement.scrollWidth") == 1366
    page.click("#lens-projector:has-text('Normal type')")
    assert "projector" not in page.url and "tab=analyse" in page.url
    assert small.bounding_box()["height"] < big
    page.click("#lens-projector:has-text('For a projector')")
    assert "projector=1" in page.url and "tab=analyse" in page.url
    page.close()


def test_a_report_fits_a_phone_and_its_first_page_a_sheet_of_paper(chromium):
    two = Explainer(detector(), "video")
    long_name = "a-very-long-name-without-a-break-" * 6 + ".mp4"
    report = build_report(two, analysis_of([astronaut()] * 2, name=long_name))
    phone = chromium.new_page(viewport=PHONE)
    phone.set_content(report.html(), wait_until="load")
    assert phone.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    marks = "[...document.querySelectorAll('.marks')].map(e => e.scrollWidth - e.clientWidth)"
    assert phone.evaluate(marks) == [0]
    assert "setting: methods\tdefault" in phone.inner_text("body")
    phone.emulate_media(media="print")
    phone.set_viewport_size({"width": 688, "height": 1017})  # A4 less 14 mm, at 96 dpi
    first = phone.locator(".first").bounding_box()
    assert first["y"] + first["height"] <= 1017 and first["width"] <= 688
    assert phone.locator(".first img").bounding_box()["height"] >= 200
    assert phone.locator(".first").evaluate("e => getComputedStyle(e).breakAfter") == "page"
    phone.close()


def test_garbage_gets_one_clear_sentence(page, files):
    upload(page, files["garbage"])
    said = page.wait_for_selector("#lens-status [role=alert]").inner_text()
    assert said.startswith("Sorry. garbage.jpg is not a picture or a clip that can be read; what ")
    analysed(page, files["photo"])  # and the page goes on
    assert page.locator("[role=alert]").count() == 0


def test_a_fault_gets_a_polite_sentence(page, files):
    upload(page, files["fault"])
    said = page.wait_for_selector("#lens-status [role=alert]").inner_text()
    assert said.startswith("Sorry. Something went wrong on our side.")
    assert page.is_hidden("#lens-body")
    page.wait_for_selector("#lens-stop", state="hidden")


def test_names_and_tags_of_a_file_are_text_on_the_page_and_in_the_report(
    page, files, chromium, tmp_path
):
    """A name and a tag that would set a variable if they were taken for markup."""
    evil = "<img src=x onerror=window.owned=1><script>window.owned=1</script>"
    path = tmp_path / "<img src=x onerror=window.owned=1>.png"
    tags = PngInfo()
    tags.add_text("Software", evil)
    Image.fromarray(astronaut()).save(path, pnginfo=tags)
    analysed(page, path)
    page.click("button:has-text('What the file says about itself')")
    page.wait_for_selector("#lens-metadata table")
    about = page.inner_text("#lens-metadata")
    assert "<script>window.owned=1</script>" in about
    assert "None: this file carries no C2PA manifest." in about and "JPEG compression" in about
    assert pixels(page, "#lens-metadata") == [512, 512]  # the error levels
    media = replace(analysis_of([astronaut()]).media, name=path.name, metadata={"Software": evil})
    nobody = Analysis(media, (), Verdict(Label.NO_FACE, evil), detector().info)
    report = chromium.new_page()
    report.set_content(build_report(explainer(), nobody).html(), wait_until="load")
    assert report.inner_text("body").count("onerror=window.owned=1") >= 3  # name, tag, reason
    assert [one.evaluate("window.owned") for one in (page, report)] == [None, None]
    report.close()


def test_who_waits_is_told_the_place_and_closing_the_page_frees_the_line(
    page, page_url, files, chromium
):
    left = chromium.new_page()
    left.goto(page_url)
    left.wait_for_selector("#lens-examples button", timeout=SLOW_MS)
    upload(left, files["slow"])
    left.wait_for_selector("#lens-status :text('Taking its time')", timeout=SLOW_MS)
    upload(page, files["slow"])
    page.wait_for_selector("#lens-status :text('queue: 1/1')")  # its place in the line
    third = chromium.new_page()
    third.goto(page_url)
    third.wait_for_selector("#lens-examples button", timeout=SLOW_MS)
    upload(third, files["photo"])
    third.wait_for_selector("#lens-status :text('queue: 2/2')", timeout=SLOW_MS)
    third.close()
    assert page.locator("#lens-status :text('Taking its time')").count() == 0
    left.close()
    # slow.png takes thirty
    page.wait_for_selector("#lens-status :text('Taking its time')", timeout=15_000)
    page.click("#lens-stop")


def test_cancel_stops_and_the_page_goes_on(page, files):
    upload(page, files["slow"])
    page.wait_for_selector("#lens-status :text('Taking its time')")
    page.click("#lens-stop")
    page.wait_for_selector("#lens-status :text('Cancelled.')", timeout=5000)
    page.wait_for_selector("#lens-stop", state="hidden")
    analysed(page, files["photo"])  # in its turn: the cancelled run has made room


def test_another_file_takes_over_and_nothing_of_the_last_one_stays(page, files):
    analysed(page, files["clip"])
    upload(page, files["slow"])
    page.wait_for_selector("#lens-status :text('Taking its time')")
    assert page.is_hidden("#lens-body")
    assert page.query_selector("#lens-verdict .lens-reason") is None
    analysed(page, files["photo"])
    assert "512 × 512" in page.text_content("#lens-verdict details")
    assert not page.is_visible("#lens-line")
    page.wait_for_selector("#lens-stop", state="hidden")


def test_a_phone_shows_everything_without_scrolling_sideways(page, files):
    page.set_viewport_size(PHONE)
    analysed(page, files["clip"])
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator("#lens-verdict").bounding_box()["width"] > 300
    assert page.locator(".lens-timeline").bounding_box()["width"] > 280
