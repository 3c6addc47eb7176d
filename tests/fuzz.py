"""Hostile and broken files, and what the page says to them: python -m tests.fuzz --cases 2000
[--seed 0]

Starts the page as `python app.py` does, sends it every file of `hostile()` and `bombs()` of
fuzz_files.py and then mutations of small sound files, and prints a table. Exit status 1 if a file
got no answer, an unfit one or a slow one, or if the page fell, leaked or spoke. test_fuzz.py runs a
few of the same cases inside the suite.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from tests.fuzz_files import Case, bombs, hostile, mutations, sound_files

ROOT = Path(__file__).resolve().parent.parent
LIMIT_S = 30.0  # for any answer
# of the page's resident memory, from the end of the first tenth of the cases on
MEMORY_GROWTH = 0.10


def fault(answer: object, folder: str) -> str | None:
    """What is wrong with an answer: a label, or one sentence without folders and tracebacks."""
    if not isinstance(answer, dict):
        return f"no object but {answer!r:.100}"
    if "error" in answer:
        message = str(answer["error"]["message"])
        if answer["error"]["type"] != "MediaError":
            return f"an error of the kind {answer['error']['type']}"
        if (
            not message.endswith(".")
            or "Traceback" in message
            or folder in message
            or len(message) > 400
        ):
            return f"no sentence: {message:.200}"
        return None
    return (
        None
        if answer.get("label") in ("forged", "authentic", "uncertain", "no_face")
        else "no label"
    )


# ----------------------------------------------------------------------------------------------
# the page


class Page:
    """The real page in a process of its own, with folders of its own to see what it leaves
    behind.
    """

    def __init__(
        self, folder: Path, env: dict[str, str] | None = None, home: Path = ROOT, **user: Any
    ) -> None:
        """home: the checkout. user: who serves it, as subprocess names one."""
        self.folder, self.log = folder, folder / "log.txt"
        self.temp = folder / "temp"
        self.temp.mkdir()
        self.temp.chmod(0o777)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        env = {"GRADIO_SERVER_PORT": str(port), "TMPDIR": str(self.temp), **(env or {})}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "app.py"],
                cwd=home,
                env={**os.environ, **env},
                **user,
                stdout=log,
                stderr=log,
            )
        self.seen = psutil.Process(self.process.pid)
        self.client = httpx.Client(base_url=f"{self.url}/gradio_api", timeout=300)
        while True:
            try:
                self.client.get("/startup-events")
                break
            except httpx.TransportError:
                if self.process.poll() is not None:
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.2)

    def upload(self, name: str, content: bytes) -> str:
        response = self.client.post("/upload", files=[("files", (name, content))])
        response.raise_for_status()
        return str(response.json()[0])

    def ask(self, path: str, endpoint: str = "analyze") -> object:
        """The answer of an endpoint to an uploaded file; a string if it is none."""
        file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        event = self.client.post(f"/call/{endpoint}", json={"data": [file]}).json()["event_id"]
        with self.client.stream("GET", f"/call/{endpoint}/{event}") as stream:
            kind = ""
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind == "complete":
                    return json.loads(line.removeprefix("data: "))[0]
                elif line.startswith("data: ") and kind == "error":
                    return f"{kind} {line}"
        return "the stream ended"

    def rss(self) -> int:
        return int(self.seen.memory_info().rss)

    def stop(self) -> float:
        """Ask the page to end, as a supervisor does; seconds it took."""
        start = time.monotonic()
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - start


def _watch(page: Page, peaks: dict[str, int], done: threading.Event) -> None:
    while not done.wait(0.1):
        try:
            inside = [p.memory_info().rss for p in page.seen.children(recursive=True)]
            peaks["page"] = max(peaks["page"], page.rss())
            peaks["child"] = max([peaks["child"], *inside])
        except psutil.Error:
            continue


@dataclass
class Tally:
    """What a run has seen so far."""

    wrong: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    def send(self, page: Page, folder: str, name: str, content: bytes) -> None:
        """Send a file to the page and note its answer, its time and what was wrong."""
        start = time.monotonic()
        try:
            answer = page.ask(page.upload(name, content))
            problem = fault(answer, folder)
        except httpx.HTTPStatusError as err:  # refused at the door
            answer, problem = f"refused with {err.response.status_code}", None
            if err.response.status_code >= 500:
                problem = f"status {err.response.status_code}"
        except (httpx.TransportError, KeyError, ValueError) as err:
            answer, problem = "none", f"{type(err).__name__}"
        self.times.append(time.monotonic() - start)
        if problem is None and self.times[-1] > LIMIT_S:
            problem = f"{self.times[-1]:.0f} s"
        self.kinds[_kind(answer)] += 1
        if problem is not None:
            self.wrong.append(f"{name!r:.80}: {problem}")
            print(self.wrong[-1], flush=True)
        if self.times[-1] > 5:
            print(f"  {name!r:.60} {self.times[-1]:.1f} s: {_kind(answer)}", flush=True)

    def sent(self, page: Page, folder: str, cases: Sequence[Case], settle_at: int) -> int:
        """Send files until all are or Ctrl-C; the page's memory before case number settle_at."""
        settled, stopped = 0, threading.Event()
        signal.signal(signal.SIGINT, lambda *_: stopped.set())  # the table so far
        for i, (name, content) in enumerate(cases):
            if stopped.is_set():
                break
            if i == settle_at:
                settled = page.rss()
            self.send(page, folder, name, content)
            if i % 100 == 0:
                print(f"{i} of {len(cases)}, {page.rss() >> 20} MiB", flush=True)
        return settled

    def table(self, settled: int, at_end: int, peaks: dict[str, int]) -> str:
        """The run in numbers; memory in bytes."""
        lines = [f"\n| cases | {len(self.times)} |", "|---|---|"]
        lines += [f"| {kind} | {count} |" for kind, count in self.kinds.most_common()]
        median = sorted(self.times)[len(self.times) // 2]
        lines.append(f"| slowest, median | {max(self.times):.1f} s, {median:.2f} s |")
        page = f"{settled >> 20}, {at_end >> 20}, {peaks['page'] >> 20} MiB"
        lines.append(f"| page's memory: settled, end, highest | {page} |")
        lines.append(f"| a decoding child's highest memory | {peaks['child'] >> 20} MiB |")
        return "\n".join([*lines, f"| faults | {len(self.wrong)} |", *self.wrong])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=2000, help="how many files in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    known = [*hostile(), *bombs()]
    made = mutations(max(0, options.cases - len(known)), options.seed)
    cases = [*known, *made][: options.cases]
    tally, peaks, done = Tally(), {"page": 0, "child": 0}, threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        page = Page(Path(folder))
        page.ask(page.upload("warm.jpg", sound_files()["base.jpg"]))
        watcher = threading.Thread(target=_watch, args=(page, peaks, done))
        watcher.start()
        settled = tally.sent(page, folder, cases, max(len(known), len(cases) // 10))
        at_end, alive = page.rss(), page.process.poll() is None
        done.set()
        watcher.join()
        drained = page.stop()
        left = [str(p.relative_to(page.temp)) for p in page.temp.rglob("*") if p.is_file()]
        log = page.log.read_text()
    tally.wrong += ["the page fell"] * (not alive)
    tally.wrong += ["a traceback in the log"] * ("Traceback" in log)
    names = [name for name, _ in cases[: len(tally.times)]]
    told = any(name in log for name in names if len(name) > 6)
    tally.wrong += ["a file name in the log"] * told
    if left:
        tally.wrong.append(f"{len(left)} files left behind, such as {left[0]}")
    tally.wrong += ["memory grew"] * bool(settled and at_end / settled - 1 > MEMORY_GROWTH)
    print(tally.table(settled, at_end, peaks))
    print(f"| files left after SIGTERM ({drained:.1f} s) | {len(left)} |")
    if "Traceback" in log:
        print(log[-3000:])
    return 1 if tally.wrong else 0


def _kind(answer: object) -> str:
    if isinstance(answer, dict):
        return "one sentence" if "error" in answer else f"answer: {answer.get('label')}"
    return str(answer)[:40]


if __name__ == "__main__":
    sys.exit(main())
