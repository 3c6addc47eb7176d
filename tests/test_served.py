"""The page as strangers meet it: `python app.py` in a process of its own, with the shipped weights.

The last test ends the process. The long forms: tests/fuzz.py and tests/load.py.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest
from fuzz import Page
from fuzz_files import face, picture
from gradio_client import Client, handle_file
from load import DECK, crowd

from explain.lab.examples import EXAMPLES
from explain.page import MAX_WAITING

pytestmark = pytest.mark.timeout(600)
ROOT = Path(__file__).resolve().parent.parent
PHOTO = picture("PNG", face().resize((512, 512)))
OWN_HEADERS = {
    "content-security-policy": "default-src 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    page = Page(tmp_path_factory.mktemp("served"))
    yield page
    page.client.close()
    if page.process.poll() is None:
        page.process.kill()
        page.process.wait()


def files(page: Page, name: str) -> list[Path]:
    """Files of that name; one that is still being written has a name that starts with a dot."""
    return [
        path for path in page.temp.rglob(name) if path.is_file() and not path.name.startswith(".")
    ]


# ----------------------------------------------------------------------------------------------
# isolation


def test_the_same_file_of_two_visitors_lies_in_two_places_that_nobody_can_guess(page: Page) -> None:
    first, second = (Path(page.upload("private.png", PHOTO)) for _ in range(2))
    assert first.parent != second.parent
    assert all(re.fullmatch(r"[0-9a-f]{64}", path.parent.name) for path in (first, second))
    assert page.client.get(f"/file={first}").content == PHOTO  # whoever was told the name
    for guess in ("other.png", "../private.png", "../*/private.png", ""):
        assert page.client.get(f"/file={first.parent}/{guess}").status_code in (403, 404), guess


@pytest.mark.parametrize(
    "path",
    [
        str(ROOT / "app.py"),
        "app.py",
        "weights/manifest.json",
        "/etc/hostname",
        "/proc/self/environ",
        "../app.py",
        ".",
    ],
)
def test_no_file_of_the_server_is_given_out_or_taken_in(page: Page, path: str) -> None:
    assert page.client.get(f"/file={path}").status_code in (403, 404)
    answer = page.ask(path)
    assert isinstance(answer, str) and answer.startswith("error"), answer


def test_a_report_in_the_making_cannot_be_read(page: Page) -> None:
    """Reports are written beside Gradio's folder, and only their copy in it is given out."""
    (gradio,) = {path.parent.parent for path in files(page, "private.png")}
    report = gradio.parent / "deepfake_lens_someone" / "report.html"
    report.parent.mkdir()
    report.write_text("secret")
    assert page.client.get(f"/file={report}").status_code == 403
    report.unlink()


def test_what_a_visitor_sent_and_was_shown_goes_when_they_leave(page: Page, tmp_path: Path) -> None:
    (tmp_path / "leaves.png").write_bytes(PHOTO)
    leaves, stays = (Client(page.url, verbose=False, download_files=False) for _ in range(2))
    for client in (leaves, stays):
        client.predict(handle_file(tmp_path / "leaves.png"), {}, api_name="/forge")
    before = set(files(page, "*.png"))
    assert len(files(page, "leaves.png")) == 2
    leaves.close()
    # gradio_client notices late that it was closed; a browser is gone at once
    end = time.monotonic() + 60
    while len(files(page, "leaves.png")) == 2 and time.monotonic() < end:
        time.sleep(0.5)
    assert len(files(page, "leaves.png")) == 1
    assert len(before - set(files(page, "*.png"))) == 2  # the forgery it was shown, too
    assert (
        stays.predict(handle_file(tmp_path / "leaves.png"), api_name="/analyze")["kind"] == "image"
    )
    stays.close()


# ----------------------------------------------------------------------------------------------
# the door


def test_every_answer_carries_its_headers_and_a_visitors_file_is_kept_by_no_cache(
    page: Page,
) -> None:
    own = page.client.get(f"/file={page.upload('private.png', PHOTO)}")
    for answer in (httpx.get(page.url), own, page.client.get("/nowhere")):
        for name, value in OWN_HEADERS.items():
            assert answer.headers[name].startswith(value)
    assert own.headers["cache-control"] == "private, no-store"


def test_nothing_is_fetched_for_a_visitor(page: Page) -> None:
    """An address where a file belongs: metadata of a cloud, this very server, a local file."""
    for address in (
        "http://169.254.169.254/latest/meta-data",
        page.url,
        "https://example.org/a.jpg",
        "file:///etc/passwd",
    ):
        file = {"path": address, "meta": {"_type": "gradio.FileData"}}
        refused = page.client.post("/call/analyze", json={"data": [file]})
        assert (refused.status_code, refused.json()) == (
            400,
            {"detail": "Files are uploaded, never fetched."},
        )
        assert page.client.get(f"/file={address}").status_code == 404
        assert page.client.get(f"/proxy={address}").status_code == 404


def test_the_address_of_an_upload_is_read_as_the_upload_and_not_fetched(page: Page) -> None:
    """So assistants name what they uploaded. The host is never asked: it does not exist."""
    path = page.upload("private.png", PHOTO)
    for base in ("http://no.such.host", "https://no.such.host/below/it", page.url):
        answer = page.ask(f"{base}/gradio_api/file={path}")
        assert isinstance(answer, dict) and answer["file"] == "private.png"
    for other in (f"{ROOT}/app.py", "/etc/passwd", "/../app.py"):
        answer = page.ask(f"http://no.such.host/gradio_api/file={other}")
        assert isinstance(answer, str) and answer.startswith("error"), answer
    for address in (f"http://no.such.host/x?y=/gradio_api/file={path}", f"ftp://a/file={path}"):
        file = {"path": address, "meta": {"_type": "gradio.FileData"}}
        assert page.client.post("/call/analyze", json={"data": [file]}).status_code == 400


def test_too_much_is_refused_before_it_is_read(page: Page) -> None:
    def status(path: str, header: str, value: str) -> int:
        connection = HTTPConnection(
            page.client.base_url.host, page.client.base_url.port, timeout=60
        )
        connection.putrequest("POST", f"/gradio_api{path}")
        connection.putheader(header, value)
        connection.endheaders()  # and no body
        try:
            return connection.getresponse().status
        finally:
            connection.close()

    assert status("/upload", "Content-Length", str(400 << 20)) == 413
    assert status("/call/analyze", "Content-Length", str(2 << 20)) == 413
    assert status("/upload", "Transfer-Encoding", "chunked") == 411
    assert page.client.post("/call/analyze", content=b"{" * 10_000).status_code == 400


def test_nobody_is_told_of_visits(page: Page) -> None:
    config = httpx.get(f"{page.url}/config").json()
    assert config["analytics_enabled"] is False
    for path in ("/monitoring", "/gradio_api/monitoring/summary"):
        assert not httpx.get(page.url + path).is_success, path


# ---------------------------------------------------------------------------------------------- the
# same for everybody


def test_the_api_and_the_command_line_say_the_same_again_and_again(
    page: Page, tmp_path: Path
) -> None:
    for name, example in (("photo.png", EXAMPLES[0]), ("clip.mp4", EXAMPLES[4])):
        example.write(tmp_path / name)
        said = [page.ask(page.upload(name, (tmp_path / name).read_bytes())) for _ in range(2)]
        # In a process of its own, with as many threads as the page's: other threads add in another
        # order.
        command = [sys.executable, "-m", "detector", "analyze", str(tmp_path / name), "--json"]
        said.append(
            json.loads(
                subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
            )
        )
        for answer in said:
            assert isinstance(answer, dict) and answer.pop("timing_s")
        assert said[0] == said[1] == said[2]


def test_users_at_once_are_told_what_one_alone_is(page: Page, tmp_path: Path) -> None:
    few = [request for request in DECK if request[0] == "/analyze"]
    outcomes = crowd(page, tmp_path, users=4, requests=3, deck=list(dict.fromkeys(few)))
    assert [outcome.end for outcome in outcomes] == ["right"] * 12


# ----------------------------------------------------------------------------------------------
# who serves it


def test_a_user_without_rights_serves_a_checkout_that_nobody_can_write_to() -> None:
    """As on a Space: no home, nothing to write to but the folder for temporary files."""
    with TemporaryDirectory() as name:
        folder, checkout = Path(name), Path(name) / "checkout"
        for part in ("detector", "explain"):
            no_caches = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / part, checkout / part, ignore=no_caches)
        shutil.copy(ROOT / "app.py", checkout)
        (checkout / "weights").symlink_to(ROOT / "weights")
        known = set(checkout.rglob("*"))
        for path in [checkout, *known]:
            if not path.is_symlink():
                path.chmod(0o555 if path.is_dir() else 0o444)
        folder.chmod(0o755)
        root = os.geteuid() == 0
        user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if root else {}
        try:
            page = Page(folder, {"HOME": "/nonexistent"}, checkout, **user)
        except PermissionError:
            pytest.skip("Python itself lies in a folder that only root may read")
        try:
            answer = page.ask(page.upload("photo.png", PHOTO))
            assert isinstance(answer, dict) and answer["label"] in (
                "authentic",
                "forged",
                "uncertain",
            )
            assert {path for path in checkout.rglob("*")} == known  # it wrote nothing there
        finally:
            page.client.close()
            page.process.kill()
            page.process.wait()
            for path in [checkout, *(p for p in known if p.is_dir() and not p.is_symlink())]:
                path.chmod(0o755)  # so that it can be removed


# ----------------------------------------------------------------------------------------------
# the end


def test_a_full_line_is_said_and_sigterm_lets_the_answer_under_way_out_and_leaves_nothing(
    page: Page,
) -> None:
    path = page.upload("private.png", PHOTO)
    answers: list[object] = []
    asking = threading.Thread(target=lambda: answers.append(page.ask(path)))
    asking.start()
    time.sleep(0.1)
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    joined = [
        page.client.post("/call/analyze", json={"data": [file]}) for _ in range(MAX_WAITING + 8)
    ]
    busy = {"detail": "The page is busy: 32 requests are in line. Please try again in a minute."}
    assert joined[0].status_code == 200
    assert (joined[-1].status_code, joined[-1].json()) == (503, busy)

    start = time.monotonic()
    page.process.send_signal(signal.SIGTERM)
    assert page.process.wait(60) == 0
    assert time.monotonic() - start < 10
    asking.join(10)
    assert [type(answer) for answer in answers] == [dict]
    assert files(page, "*") == []
    log = page.log.read_text()
    # Gradio's, where the server's files were named
    assert log.count("Traceback") == log.count("InvalidPathError: ")
    assert [
        name for name in ("private", "leaves", "photo.png", "broken", "clip.mp4") if name in log
    ] == []
