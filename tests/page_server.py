"""Serves the page for tests, in a process of its own: python page_server.py prints its address and
ends with its stdin.

The detector has random weights. Some file names make it act: NN.png is judged with p = NN / 100
without being looked at, crowd.png holds 64 faces, slow.png takes half a minute in small steps,
fault.png hits a programming error. The lesson on swaps takes a tenth of its steps, and a quarter of
its frames.
"""

import socket
import sys
import time
from contextlib import redirect_stdout
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from explain.server.loading import load_gradio  # noqa: E402

load_gradio()

from explain_faces import analysis_of, astronaut, crowd  # noqa: E402

from detector.media import DEFAULT_FRAMES  # noqa: E402
from detector.pipeline import Detector  # noqa: E402
from detector.types import Analysis, Progress  # noqa: E402
from explain.lab import reenact, swap  # noqa: E402
from explain.page import launch  # noqa: E402
from explain.server.service import Service  # noqa: E402


class Staged(Detector):
    """A real detector but for the files named above."""

    def analyze(
        self,
        path: str | Path,
        n_frames: int = DEFAULT_FRAMES,
        progress: Progress | None = None,
        track: int | None = None,
    ) -> Analysis:
        name = Path(path).name
        if name == "slow.png":
            for i in range(300):
                time.sleep(0.1)
                if progress:
                    progress(i / 300, "Taking its time")
        if name == "fault.png":
            raise ZeroDivisionError(name)
        if name == "crowd.png":
            return crowd(name)
        if Path(name).stem.isdecimal():
            time.sleep(0.05)
            return analysis_of([astronaut()], p_fake=int(Path(name).stem) / 100, name=name)
        return super().analyze(path, n_frames, progress, track)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    # whole, they are 30 processor seconds
    swap.train = partial(swap.train, steps=swap.STEPS // 10)
    swap.flicker = partial(swap.flicker, count=swap.FRAMES // 4)
    reenact.play = partial(reenact.play, frames=reenact.FRAMES // 4)
    with TemporaryDirectory() as folder:
        service = Service(Path(folder), lru_cache(maxsize=1)(Staged.untrained))
        where = {"server_name": "127.0.0.1", "server_port": free_port()}
        with redirect_stdout(sys.stderr):  # Gradio tells of its door for assistants
            page = launch(service, **where, prevent_thread_lock=True, quiet=True)
        print(page.local_url, flush=True)
        sys.stdin.read()
        page.close(verbose=False)
