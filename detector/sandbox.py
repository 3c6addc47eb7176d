"""Decoding in a child process: each file is read by a process of its own, with limits on its time
and memory.

Codecs are large, old programs in C, and files come from strangers. A helper process imports the
decoders once, touches no file, and forks a child for each: so a child costs milliseconds, and what
a hostile file breaks ends with its child. A child may use LIMIT_CPU_S and LIMIT_BYTES, can write no
file, and answers over a socket of its own.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.decoding import Decoded, Preview, Traces, decode, find_traces, make_preview
from detector.errors import MediaError
from detector.types import Frame

# of processor time, over all threads: half a minute of 4K decodes in less. Not by the clock, which
# runs on while other work has the processor: beside such work good clips were refused
LIMIT_CPU_S = 50
IDLE_S = 120  # by the clock, for a child that waits and computes nothing
# a child that went on computing says so with an empty line, so often, and so many times at most:
# beside much other work it may take many minutes, but not for ever
BEAT_S = 5.0
MAX_BEATS = 1000
PROGRESS_S = 0.01  # of processor time between two beats: more than a beat itself takes
# of address space, besides the frames that are asked for: the reference frames of an 8K clip fit
LIMIT_BYTES = 3 << 30
MAX_HEADER_BYTES = 1 << 20  # of an answer before its frames: the tags are capped far below
SEND_BYTES = 1 << 20  # of the socket's buffer
MAX_PREVIEW_BYTES = 16 << 20  # of a preview: several times what half a minute takes
MAX_TRACES_BYTES = 4 << 20  # of the picture of error levels: its pixels as they are

Header = dict[str, Any]

_lock = threading.Lock()
_control: socket.socket | None = None  # to the helper process; its other end is the helper's stdin
_helper: subprocess.Popen[bytes] | None = None


def read(path: Path, n_frames: int, frame_bytes: int, track: int | None = None) -> Decoded:
    """Have `decode` run on a file in a child process.

    frame_bytes: no answer with more pixels than this is taken. Raises MediaError, also when the
    child dies; KeyError, TypeError or ValueError for an answer that does not fit the types.
    """
    header, pictures = _ask(path, {"n_frames": n_frames, "track": track}, frame_bytes)
    frames = (
        Frame(index, t, rgb)
        for index, t, rgb in zip(header["index"], header["t"], pictures, strict=True)
    )
    tags = header["tags"]
    notes = tuple(map(str, header["notes"]))
    hdr = bool(header["hdr"])
    return Decoded(header["kind"], header["duration_s"], tuple(frames), tags, notes, hdr)


def preview(path: Path) -> Preview:
    """Have `make_preview` run on a clip in a child process. Raises MediaError, also when the child
    dies.
    """
    header, mp4 = _ask_for(path, "preview", MAX_PREVIEW_BYTES)
    try:
        return Preview(header["how"], mp4)
    except (KeyError, ValueError) as err:
        raise _too_much(path) from err


def traces(path: Path) -> Traces:
    """Have `find_traces` run on a file in a child process. Raises MediaError, also when the child
    dies.
    """
    header, png = _ask_for(path, "traces", MAX_TRACES_BYTES)
    try:
        pairs = {name: header[name] and tuple(header[name]) for name in ("grid", "gaps")}
        found = {**header["found"], **pairs, "source_types": tuple(header["source_types"])}
        return Traces(**found, error_levels=png)
    except (KeyError, TypeError, ValueError) as err:
        raise _too_much(path) from err


def _ask_for(path: Path, what: str, most_bytes: int) -> tuple[Header, bytes]:
    """What a child says of a file besides its frames, with as many bytes as it says. Raises
    MediaError.
    """
    try:
        with _child() as connection, connection.makefile("rb") as answer:
            header = _header_from(connection, answer, path, {"what": what}, most_bytes)
            size = int(header["bytes"])
            if not 0 <= size <= most_bytes:
                raise ValueError("an answer that nobody asked for")
            more = answer.read(size)
            if len(more) != size:
                raise EOFError
            return header, more
    except (OSError, EOFError, KeyError, ValueError, TypeError) as err:
        raise _too_much(path) from err


def _header_from(
    connection: socket.socket, answer: Any, path: Path, asked: Header, more_bytes: int
) -> Header:
    """Ask a child about a file, and return the first line of its answer. Raises MediaError where
    that is an error. A link goes by its own name, not by its target's. more_bytes: of memory, above
    LIMIT_BYTES.
    """
    limits = {"cpu_s": LIMIT_CPU_S, "idle_s": IDLE_S, "bytes": LIMIT_BYTES + more_bytes}
    request = {"path": os.path.abspath(path), **asked, **limits}
    connection.sendall(json.dumps(request).encode() + b"\n")
    line = answer.readline(MAX_HEADER_BYTES)
    beats = 0
    while line == b"\n" and beats < MAX_BEATS:
        line = answer.readline(MAX_HEADER_BYTES)
        beats = beats + 1
    header: Header = json.loads(line) if line.endswith(b"\n") else {}
    if "error" in header:
        raise MediaError(str(header["error"]))
    return header


def _ask(path: Path, asked: Header, frame_bytes: int) -> tuple[Header, list[NDArray[np.uint8]]]:
    """What a child says of a file, and the pixels of its frames."""
    try:
        with _child() as connection, connection.makefile("rb") as answer:
            header = _header_from(connection, answer, path, asked, frame_bytes)
            shapes = [(int(h), int(w), 3) for h, w in header["shapes"]]
            if not 0 < sum(h * w * 3 for h, w, _ in shapes) <= frame_bytes:
                raise ValueError("an answer that nobody asked for")
            frames = [np.empty(shape, np.uint8) for shape in shapes]
            for frame in frames:
                if answer.readinto(frame.data) != frame.size:  # type: ignore[attr-defined]
                    raise EOFError
            return header, frames
    # killed, crashed, out of time, or hijacked
    except (OSError, EOFError, KeyError, ValueError, TypeError) as err:
        raise _too_much(path) from err


def _too_much(path: Path) -> MediaError:
    return MediaError(
        f"{path.name} could not be decoded within the processor time "
        f"({LIMIT_CPU_S} s) and the memory allowed."
    )


def _child() -> socket.socket:
    """A connection to a fresh child of the helper, which is started at the first call and whenever
    it is gone.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(IDLE_S + 5)  # the child's own alarm comes first
    with theirs:
        try:
            socket.send_fds(_started(), [b"f"], [theirs.fileno()])
        except OSError:
            stop()
            socket.send_fds(_started(), [b"f"], [theirs.fileno()])
    return ours


def _started() -> socket.socket:
    global _control, _helper
    with _lock:
        if _control is None:
            _control, theirs = socket.socketpair()
            quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}
            with theirs:
                _helper = subprocess.Popen(
                    [sys.executable, "-m", "detector.sandbox"],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # codecs quote what they read, names included
                    cwd=Path(__file__).resolve().parent.parent,
                    env={**os.environ, **quiet},
                    start_new_session=True,  # Ctrl-C is for the one in charge
                )
        return _control


@atexit.register
def stop() -> None:
    """End the helper; the next file starts another."""
    global _control, _helper
    with _lock:
        if _control is not None and _helper is not None:
            _control.close()
            _helper.kill()
            _helper.wait()
        _control = _helper = None


# ------------------------------------------------------------------------------------------------
# in the helper process


def _serve(control: socket.socket) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    while connections := socket.recv_fds(control, 1, 1)[1]:
        if os.fork() == 0:
            control.close()
            try:
                _answer(socket.socket(fileno=connections[0]))
            finally:
                os._exit(0)
        os.close(connections[0])


def _answer(connection: socket.socket) -> None:
    import resource

    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
    request = json.loads(connection.makefile("rb").readline())
    limits = {
        resource.RLIMIT_CPU: request["cpu_s"],
        resource.RLIMIT_AS: request["bytes"],
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    path = Path(request["path"])
    parts: list[Any] = []
    try:
        with _beating(connection, request["idle_s"]):
            header, parts = _ANSWERS[request.get("what", "frames")](path, request)
    except MediaError as err:
        header = {"error": str(err)}
    except OSError:
        header = {"error": f"{path.name} cannot be read from disk."}
    except MemoryError:
        header = {"error": f"{path.name} takes more memory to decode than is allowed."}
    connection.sendall(json.dumps(header).encode() + b"\n")
    for part in parts:
        connection.sendall(part)


@contextmanager
def _beating(connection: socket.socket, idle_s: int) -> Iterator[None]:
    """Tell the parent now and then that this process computes; end it where it does not."""
    done = threading.Event()

    def beat() -> None:
        before_s = time.process_time()
        while not done.wait(min(BEAT_S, idle_s / 4)):
            if time.process_time() - before_s > PROGRESS_S:
                before_s = time.process_time()
                signal.alarm(idle_s)
                connection.sendall(b"\n")

    signal.alarm(idle_s)  # unhandled, it ends the process wherever it is
    beater = threading.Thread(target=beat, daemon=True)
    beater.start()
    try:
        yield
    finally:
        done.set()
        beater.join()  # nothing may come between the parts of the answer


def _previewed(path: Path, request: Header) -> tuple[Header, list[Any]]:
    made = make_preview(path)
    return {"how": made.how, "bytes": len(made.mp4)}, [made.mp4]


def _traced(path: Path, request: Header) -> tuple[Header, list[Any]]:
    found = asdict(find_traces(path))
    png = found.pop("error_levels")
    lists = {name: found.pop(name) for name in ("grid", "gaps", "source_types")}
    return {"found": found, **lists, "bytes": len(png)}, [png]


def _decoded(path: Path, request: Header) -> tuple[Header, list[Any]]:
    decoded = decode(path, request["n_frames"], request["track"])
    pictures = [np.ascontiguousarray(frame.rgb) for frame in decoded.frames]
    shapes = {"shapes": [rgb.shape[:2] for rgb in pictures]}
    return {**_header(decoded), **shapes}, [rgb.data for rgb in pictures]


def _header(decoded: Decoded) -> Header:
    """All but the pixels, as JSON carries it."""
    return {
        "kind": decoded.kind,
        "duration_s": decoded.duration_s,
        "index": [frame.index for frame in decoded.frames],
        "t": [frame.t for frame in decoded.frames],
        "tags": dict(decoded.tags),
        "notes": decoded.notes,
        "hdr": decoded.hdr,
    }


_ANSWERS = {"frames": _decoded, "preview": _previewed, "traces": _traced}

if __name__ == "__main__":
    _serve(socket.socket(fileno=sys.stdin.fileno()))
