"""Many visitors at once: python -m tests.load [--users 20] [--requests 15]

Starts the page as `python app.py` does, asks everything once alone, and then lets every user, each
with a session and file names of their own, ask the same in an order of their own. Prints a table.
Exit status 1 if an answer was lost, was another user's or was not what it is alone, or if the
page's memory grew. test_served.py lets a few users ask.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from gradio_client import Client, handle_file
from gradio_client.utils import QueueError

from explain.lab.examples import EXAMPLES
from tests.fuzz import MEMORY_GROWTH, Page

Request = tuple[str, str, tuple[Any, ...]]  # endpoint, file, further arguments
DECK: list[Request] = [  # as often as visitors ask
    *[("/analyze", "photo.png", ())] * 8,
    *[("/analyze", "forged.png", ())] * 6,
    *[("/analyze", "broken.jpg", ())] * 2,
    ("/analyze", "clip.mp4", ()),
    ("/degrade", "photo.png", ("JPEG",)),
    ("/forge", "photo.png", (None,)),
    ("/explain", "forged.png", ()),
]


@dataclass(frozen=True)
class Outcome:
    """How one request ended: "right", "busy", or what was wrong; and the page's memory
    afterwards.
    """

    endpoint: str
    seconds: float
    end: str
    rss: int


@lru_cache(maxsize=1)
def contents() -> dict[str, bytes]:
    """The deck's files."""
    made = {"broken.jpg": b"\xff\xd8 no picture"}
    with tempfile.TemporaryDirectory() as folder:
        for name, example in (
            ("photo.png", EXAMPLES[0]),
            ("forged.png", EXAMPLES[1]),
            ("clip.mp4", EXAMPLES[4]),
        ):
            example.write(Path(folder) / name)
            made[name] = (Path(folder) / name).read_bytes()
    return made


class Visitor:
    """One session, with files under names of its own."""

    def __init__(self, page: Page, folder: Path, name: str) -> None:
        self.page, self.folder, self.name = page, folder, name
        for file, content in contents().items():
            (folder / f"{name}-{file}").write_bytes(content)
        self.client = Client(
            page.url, verbose=False, download_files=False, httpx_kwargs={"timeout": 300}
        )

    def ask(self, request: Request) -> str:
        """An answer's JSON without its times and without this visitor's name; another's would
        stay.
        """
        endpoint, file, more = request
        answer = self.client.predict(
            handle_file(self.folder / f"{self.name}-{file}"), *more, api_name=endpoint
        )
        told = answer[0] if isinstance(answer, (list, tuple)) else answer
        kept = {key: value for key, value in told.items() if key != "timing_s"}
        return json.dumps(kept).replace(f"{self.name}-", "")

    def outcome(self, request: Request, expected: str) -> Outcome:
        start = monotonic()
        try:
            answer = self.ask(request)
            end = "right" if answer == expected else f"wrong: {answer:.400}"
        except QueueError:
            end = "busy"
        except Exception as err:
            end = f"lost: {type(err).__name__} {err!s:.300}"
        return Outcome(request[0], monotonic() - start, end, self.page.rss())


stopped = threading.Event()  # by Ctrl-C: no more is asked


def crowd(
    page: Page, folder: Path, users: int, requests: int, deck: list[Request] = DECK
) -> list[Outcome]:
    """All users at the same time, each asking one request after the other; right is what one alone
    was told.

    The outcomes come in the order of their ends.
    """
    single = Visitor(page, folder, "single")
    expected = {request: single.ask(request) for request in dict.fromkeys(deck)}
    single.client.close()
    visitors = [Visitor(page, folder, f"user{number}") for number in range(users)]
    outcomes: list[Outcome] = []

    def user(number: int) -> None:
        visitor, rng = visitors[number], np.random.default_rng(number)
        order = [
            deck[j % len(deck)]
            for i in range(0, requests, len(deck))
            for j in i + rng.permutation(len(deck))
        ]
        for request in order[:requests]:
            if stopped.is_set():
                break
            outcomes.append(visitor.outcome(request, expected[request]))
            if len(outcomes) % 20 == 0:
                print(f"{len(outcomes)} of {users * requests}, {page.rss() >> 20} MiB", flush=True)
        visitor.client.close()

    with ThreadPoolExecutor(users) as pool:
        list(pool.map(user, range(users)))
    return outcomes


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--requests", type=int, default=15, help="of each user")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, lambda *_: stopped.set())
    with tempfile.TemporaryDirectory() as folder:
        page = Page(Path(folder))
        start = monotonic()
        outcomes = crowd(page, Path(folder), options.users, options.requests)
        seconds = monotonic() - start
        page.stop()
        log = page.log.read_text()
    print(
        f"\n| {options.users} users x {options.requests} requests "
        f"| {len(outcomes)} in {seconds:.0f} s |\n|---|---|"
    )
    ends = Counter(outcome.end.split(":")[0] for outcome in outcomes)
    print(
        "".join(f"| {end} | {ends[end]} |\n" for end in ("right", "busy", "wrong", "lost")), end=""
    )
    for endpoint in sorted({outcome.endpoint for outcome in outcomes}):
        times = [outcome.seconds for outcome in outcomes if outcome.endpoint == endpoint]
        p50, p95 = np.percentile(times, (50, 95))
        print(
            f"| {endpoint}, {len(times)} requests: p50, p95, waiting included "
            f"| {p50:.1f}, {p95:.1f} s |"
        )
    fifth = max(1, len(outcomes) // 5)
    rss = [outcome.rss / 2**20 for outcome in outcomes]
    early, late = float(np.median(rss[fifth : 2 * fifth])), float(np.median(rss[-fifth:]))
    print(
        f"| page's memory, second fifth of the requests, last fifth | {early:.0f}, {late:.0f} MiB |"
    )
    wrong = [outcome.end for outcome in outcomes if outcome.end not in ("right", "busy")]
    wrong += ["memory grew"] * (late > early * (1 + MEMORY_GROWTH)) + ["a traceback in the log"] * (
        "Traceback" in log
    )
    print("\n".join(wrong))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
