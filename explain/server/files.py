"""What Gradio keeps of a visitor, files and state, and that both go with the visitor."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils, route_utils

NAME_BYTES = 32  # of randomness in a file name
MOST_VISITORS = 2000  # whose files are known; callers of the API without a session never leave


class OwnUpload(route_utils.GradioUploadFile):
    """An upload under a name of its own. Gradio calls it by a hash of its content, so that visitors
    with the same file would share one copy: the first to leave takes it from the others, and
    whoever has it can ask who else has."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.sha.update(secrets.token_bytes(NAME_BYTES))


def own_names() -> None:
    """Have Gradio name files at random instead of by content, and leave no empty file beside each
    upload that it reads.
    """
    route_utils.GradioUploadFile = OwnUpload  # type: ignore[misc]
    for name in ("hash_file", "hash_bytes"):
        setattr(processing_utils, name, lambda *_: secrets.token_hex(NAME_BYTES))
    setattr(gr.File, "_process_single_file", lambda self, file: file.path)  # noqa: B010


class ForgetfulBlocks(gr.Blocks):
    """Blocks that know which visitor sent or got a file, and keep nothing of those who left.

    Gradio keeps half a megabyte of each, and of each call without a session, until there are
    10,000.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._of: OrderedDict[str, set[str]] = OrderedDict()
        self._lock = threading.Lock()

    async def process_api(  # type: ignore[override]
        self, block_fn: Any, inputs: list[Any], *, session_hash: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Note the files that go in and out. Of those named, only uploads count: anybody can name
        anything.
        """
        self._note(session_hash, {path for path in _paths(inputs) if path in self.upload_file_set})
        try:
            answer = await super().process_api(
                block_fn, inputs, session_hash=session_hash, **options
            )
            self._note(session_hash, set(_paths(answer["data"])) - self._everybodys())
            return answer
        finally:
            # a call without a session: Gradio made it one
            if session_hash and session_hash == options.get("event_id"):
                self._drop_state(session_hash)

    def waiting(self) -> int:
        """How many requests are in line."""
        return len(self._queue)

    def under_way(self) -> int:
        """How many requests are being answered."""
        return int(self._queue.get_active_worker_count())

    def left(self, request: gr.Request) -> None:
        """Forget a visitor who closed the page.

        To be called last: whatever still runs for the visitor brings the state back.
        """
        visitor = str(request.session_hash)
        self._drop_state(visitor)
        with self._lock:
            paths = self._of.pop(visitor, set())
        self._delete(paths)

    def sweep(self, most_s: float) -> None:
        """Delete files older than that, or younger than now: the clock may have been set back."""
        now = time.time()
        for path in set().union(*map(set.copy, self.temp_file_sets)) - self._everybodys():
            try:
                old = abs(now - os.stat(path).st_ctime) > most_s
            except FileNotFoundError:
                old = True
            if old:
                self._delete({path})

    def _drop_state(self, visitor: str) -> None:
        for kept in (self.state_holder.session_data, self.state_holder.time_last_used):
            kept.pop(visitor, None)

    def _note(self, visitor: str | None, paths: set[str]) -> None:
        if visitor is None or not paths:
            return
        with self._lock:
            self._of.setdefault(visitor, set()).update(paths)
            self._of.move_to_end(visitor)
            oldest = self._of.popitem(last=False)[1] if len(self._of) > MOST_VISITORS else set()
        self._delete(oldest)

    def _delete(self, paths: set[str]) -> None:
        for path in map(Path, paths):
            path.unlink(missing_ok=True)
            with suppress(OSError):  # gone already, or there are more files in it
                path.parent.rmdir()
        for known in self.temp_file_sets:
            known.difference_update(paths)

    def _everybodys(self) -> set[str]:
        """The page's own pictures."""
        return set().union(*(block.keep_in_cache for block in self.blocks.values()))


def _paths(value: Any) -> Iterator[str]:
    """Of all files in a request or an answer."""
    if isinstance(value, dict):
        if isinstance(value.get("path"), str) and "meta" in value:
            yield value["path"]
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)
