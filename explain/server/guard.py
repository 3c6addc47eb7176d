"""What is refused before Gradio sees it, the headers of every answer, and a log without names."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TextIO
from urllib.parse import unquote

from explain.server.service import Service

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_JSON_MB = 1  # what the page and its API send besides files
FORM_BYTES = 1 << 16  # around the files
FILES = ("/upload", "/process_recording")  # the ends of the paths that take files
ASKS = ("/queue/join", "/call/")  # in the paths that put a request in line
RESTARTING = "The page is being restarted. Please try again in a minute."
BUSY = "The page is busy: {} requests are in line. Please try again in a minute."

# Gradio's page needs inline scripts; but nothing is loaded from, sent to or framed by another
# address, except that the Hugging Face Hub frames its Spaces.
POLICY = {
    "default-src": "'self'",
    "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data: blob:",
    "media-src": "'self' data: blob:",
    "font-src": "'self' data:",
    "connect-src": "'self' data: blob:",
    "worker-src": "'self' blob:",
    "object-src": "'none'",
    "base-uri": "'self'",
    "form-action": "'self'",
    "frame-ancestors": "'self' https://huggingface.co https://*.huggingface.co",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
}
TOOLS = "/gradio_api/mcp"  # in the paths of the endpoint for assistants
# the address of an upload, as Gradio's upload tool for assistants gives it; never fetched either
_UPLOAD = re.compile(r"https?://[^/?#]+/(?:[^?#]*/)?gradio_api/file=(/[^?#]*)")
OWN_FILES = "/gradio_api/file="  # a visitor's: no shared cache may keep them


class Guard:
    """ASGI middleware. Gradio can fetch addresses for its visitors; here nobody may name one."""

    def __init__(
        self,
        app: Callable[..., Awaitable[None]],
        service: Service,
        most_mb: int,
        most_waiting: int,
        waiting: Callable[[], int],
    ) -> None:
        """most_mb: of an upload. waiting: how many requests are in line."""
        self.app = app
        self.service = service
        self.most_mb = most_mb
        self.most_waiting = most_waiting
        self.waiting = waiting

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = str(scope["path"])
        extra = HEADERS | (
            {"Cache-Control": "private, no-store"} if path.startswith(OWN_FILES) else {}
        )

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(n, v) for n, v in message.get("headers", ()) if n.lower() not in named]
                message["headers"] = [*own, *((n.encode(), v.encode()) for n, v in extra.items())]
            await send(message)

        named = {name.lower().encode() for name in extra}
        refusal = self._refusal(scope, path)
        if refusal is None and scope["method"] == "POST" and not path.rstrip("/").endswith(FILES):
            body, receive = await _whole(receive)
            body, refusal = _checked(body, TOOLS in path)
            receive = _once_more(body, receive)
        if refusal is None:
            await self.app(scope, receive, answer)
            return
        status, words = refusal
        plain = [(b"content-type", b"application/json")]
        await answer({"type": "http.response.start", "status": status, "headers": plain})
        await answer({"type": "http.response.body", "body": json.dumps({"detail": words}).encode()})

    def _refusal(self, scope: Message, path: str) -> tuple[int, str] | None:
        if "://" in path:  # file=https://..., proxy=https://...
            return 404, "Not found."
        if scope["method"] != "POST":
            return None
        if self.service.closing.is_set():
            return 503, RESTARTING
        if any(part in path for part in ASKS) and self.waiting() >= self.most_waiting:
            return 503, BUSY.format(self.most_waiting)
        most_mb = self.most_mb if path.rstrip("/").endswith(FILES) else MAX_JSON_MB
        length = dict(scope["headers"]).get(b"content-length", b"")
        if not length.isdigit():
            return 411, "The length of a request must be stated."
        if int(length) > (most_mb << 20) + FORM_BYTES:
            return 413, f"At most {most_mb} MB are taken at a time."
        return None


async def _whole(receive: Receive) -> tuple[bytes, Receive]:
    """A request's body, and the `receive` that is left."""
    messages: list[Message] = []
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
    return b"".join(message.get("body", b"") for message in messages), receive


def _once_more(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives a body, and then what is left."""
    left = iter([{"type": "http.request", "body": body}])

    async def again() -> Message:
        return next(left, None) or await receive()

    return again


def _checked(body: bytes, of_tools: bool) -> tuple[bytes, tuple[int, str] | None]:
    """The body with addresses of uploads as their paths, and a refusal for any other address.

    of_tools: of the endpoint for assistants, where a file's content is refused, too: Gradio would
    write it to where nobody deletes it.
    """
    try:
        asked = json.loads(body or b"null")
        known = asked if of_tools else _uploads_by_path(asked)
        if _names_address(known) or (of_tools and _holds_content(known)):
            return body, (400, "Files are uploaded, never fetched.")
        return (body if known == asked else json.dumps(known).encode()), None
    except (ValueError, RecursionError):
        broken = body.lstrip().startswith((b"{", b"["))
        return body, (400, "This is not valid JSON.") if broken else None


def _uploads_by_path(value: Any) -> Any:
    """The same with each file that is named by the address of an upload named by its path instead;
    whether it is one, Gradio checks.
    """
    if isinstance(value, list):
        return [_uploads_by_path(v) for v in value]
    if not isinstance(value, dict):
        return value
    named = value.get("path")
    match = _UPLOAD.fullmatch(named) if isinstance(named, str) else None
    if match:
        return {"path": unquote(match[1]), "meta": {"_type": "gradio.FileData"}}
    return {key: _uploads_by_path(v) for key, v in value.items()}


def _names_address(value: Any) -> bool:
    if isinstance(value, dict):
        named = value.get("path")
        return (isinstance(named, str) and "://" in named) or any(
            _names_address(v) for v in value.values()
        )
    return isinstance(value, list) and any(_names_address(v) for v in value)


def _holds_content(value: Any) -> bool:
    """Whether any text is a file's content, as a data: address."""
    if isinstance(value, dict | list):
        return any(
            _holds_content(v) for v in (value.values() if isinstance(value, dict) else value)
        )
    return isinstance(value, str) and value.lstrip().lower().startswith("data:")


class Nameless:
    """A text stream that lets no path below `folder` through: Gradio's own tracebacks quote the
    names of uploads.
    """

    def __init__(self, stream: TextIO, folder: str) -> None:
        self._stream = stream
        self._path = re.compile(re.escape(folder) + r"[^\n]*")

    def write(self, text: str) -> int:
        return self._stream.write(self._path.sub("<a file>", text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
