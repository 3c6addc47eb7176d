"""Where long work may be stopped: between its batches it calls `pause_to_look`, and whoever waits
for it may end it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_look: ContextVar[Callable[[], None] | None] = ContextVar("look", default=None)


@contextmanager
def stoppable(look: Callable[[], None]) -> Iterator[None]:
    """Have what is done in this block, in this thread, call `look` between its batches. Raising in
    it ends the work.
    """
    before = _look.get()
    _look.set(look)
    try:
        yield
    finally:
        _look.set(before)  # no reset: a generator's last step may run in another context


def pause_to_look() -> None:
    """Call the innermost `stoppable` block's look, if there is one. Raises what it raises."""
    look = _look.get()
    if look is not None:
        look()
