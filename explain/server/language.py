"""Which language a visitor reads, and the page in it.

An address can name it (`?lang=de`), else the browser does. Labels are translated in the browser, by
Gradio's own I18n; what the server writes is translated on its way out. Functions for programs speak
English.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any
from urllib.parse import parse_qsl

import gradio as gr
from starlette.middleware.gzip import GZipMiddleware

from detector.types import Progress
from explain.server import localised
from explain.server.files import ForgetfulBlocks
from explain.server.guard import Message, Receive, Send
from explain.texts import ENGLISH, LANGUAGES, catalogue

PARAMETER = "lang"  # in the address
LOCALES = {**{name: name for name in LANGUAGES}, "zh": "zh-CN"}  # what Gradio calls them
_reads: ContextVar[str] = ContextVar("reads", default=ENGLISH)
COMPRESSED_BY = 4  # gzip's level: more takes longer and saves a few percent
LONGEST = 5_000  # characters of a text that the page carries in every language
LABELS = ("label", "info", "placeholder")
_PAGE_HEAD = re.compile(rb'<html\s+lang="[a-zA-Z-]*"(.*?)<head>', re.DOTALL)


def language_of(query: Mapping[str, str], accepted: str = "") -> str:
    """One of LANGUAGES: the one that the address names, else the browser's favourite among them,
    else English.

    query: of the address; accepted: the header Accept-Language.
    """
    named = query.get(PARAMETER, "").lower().partition("-")[0]
    if named in LANGUAGES:
        return named
    wishes = []
    for wish in accepted.split(","):
        name, _, weight = wish.strip().partition(";q=")
        try:
            wishes.append((-float(weight or 1), name.lower().partition("-")[0]))
        except ValueError:
            continue
    wishes.sort(key=lambda wish: wish[0])
    return next((name for _, name in wishes if name in LANGUAGES), ENGLISH)


def reader(request: Any) -> str:
    """The language of whoever sent a request of the page."""
    if not isinstance(request, gr.Request):
        return ENGLISH
    headers = dict(request.headers or {})
    return language_of(dict(request.query_params or {}), headers.get("accept-language", ""))


def told_progress(progress: Any) -> Progress:
    """Reports progress to the visitor whose request is being answered, in their language."""
    words = catalogue(_reads.get())
    return lambda share, stage: progress(share, desc=words.text(stage))


def told_document(html: str) -> str:
    """A whole HTML file for the visitor whose request is being answered, in their language."""
    return localised.document(html, _reads.get())


def in_language(update: Mapping[Any, Any], language: str) -> list[Any]:
    """What components are given, in a language. update: component -> what it is given."""
    return [_answer(value, block, language) for block, value in update.items()]


class LocalBlocks(ForgetfulBlocks):
    """Blocks whose page is shown in the visitor's language."""

    async def process_api(self, *args: Any, **options: Any) -> dict[str, Any]:  # type: ignore[override]
        before = _reads.set(reader(options.get("request")))
        try:
            return await super().process_api(*args, **options)
        finally:
            _reads.reset(before)

    async def postprocess_data(self, block_fn: Any, *args: Any) -> list[Any]:
        data = await super().postprocess_data(block_fn, *args)
        if block_fn.api_visibility == "public":  # for programs
            return data
        language = _reads.get()
        return [
            _answer(value, block, language)
            for value, block in zip(data, block_fn.outputs, strict=True)
        ]


def _answer(value: Any, block: Any, language: str) -> Any:
    """What a component is given, in a language."""
    if isinstance(value, str):
        return _content(value, block, language)
    if not (isinstance(value, dict) and value.get("__type__") == "update"):
        return value
    words = catalogue(language)
    told = dict(value)
    for name in (*LABELS, "alt_text"):
        if isinstance(told.get(name), str):
            told[name] = words.text(told[name])
    if isinstance(told.get("value"), str):
        told["value"] = _content(told["value"], block, language)
    if told.get("choices"):
        told["choices"] = [(words.text(str(name)), value) for name, value in told["choices"]]
    return told


def _content(value: str, block: Any, language: str) -> str:
    if isinstance(block, gr.HTML):
        return localised.html(value, language)
    if isinstance(block, gr.Markdown):
        return localised.markdown(value, language)
    return catalogue(language).text(value) if isinstance(block, gr.Button) else value


def translate_labels(page: gr.Blocks) -> gr.I18n:
    """Have Gradio's page translate what stands on it from the start.

    To be called when all is laid out. What an event changes later is translated by LocalBlocks.
    """
    texts: dict[str, dict[str, str]] = {locale: {} for locale in LOCALES.values()}
    i18n = gr.I18n(**texts)
    for number, block in page.blocks.items():
        for name, english in _shown(block):
            told = {
                language: _content(english, block, language)
                if name == "value"
                else catalogue(language).text(english)
                for language in LANGUAGES
            }
            if set(told.values()) == {english}:
                continue
            key = f"lens-{number}-{name}"
            for language, text in told.items():
                texts[LOCALES[language]][key] = text
            setattr(block, name, str(i18n(key)))
    return i18n


def _is_known(english: str) -> bool:
    return any(catalogue(language).known(english) for language in LANGUAGES)


def _shown(block: Any) -> Iterator[tuple[str, str]]:
    """Names and values of a component's texts that Gradio's page can translate."""
    if getattr(block, "visible", True) is False and isinstance(block, gr.JSON | gr.Textbox):
        return  # a function's argument for programs
    names = (*LABELS, "value") if isinstance(block, gr.HTML | gr.Markdown | gr.Button) else LABELS
    for name in names:
        value = getattr(block, name, None)
        if isinstance(value, str) and value.strip() and len(value) <= LONGEST:
            yield name, value


def translate_later(page: gr.Blocks) -> None:
    """Have what Gradio's page cannot translate come again in the visitor's language once the page
    is open: choices, alternative texts, and texts that are too long to be carried in each.
    """
    again: dict[Any, tuple[str, ...]] = {}  # component -> what of it
    for block in page.blocks.values():
        if isinstance(block, gr.Dropdown | gr.Radio):
            if any(_is_known(str(name)) for name, _ in block.choices):
                again[block] = ("choices",)
        elif isinstance(block, gr.HTML | gr.Markdown):
            if len(str(block.value)) > LONGEST:
                again[block] = ("value",)
        elif _is_known(getattr(block, "alt_text", None) or ""):
            again[block] = ("alt_text",)

    def told(request: gr.Request) -> dict[Any, Any]:
        if reader(request) == ENGLISH:
            return {block: gr.skip() for block in again}
        return {
            block: gr.update(**{name: getattr(block, name) for name in names})
            for block, names in again.items()
        }

    page.load(
        told, None, list(again), queue=False, show_progress="hidden", api_visibility="private"
    )


class PageLanguage:
    """ASGI middleware: the page says in its first line which language it is in, and Gradio's own
    words are in the same one. It is sent compressed, a third of its size; Gradio itself compresses
    its scripts and styles only.
    """

    def __init__(self, app: Callable[..., Any]) -> None:
        self.app = app
        self._compressed = GZipMiddleware(self._page, compresslevel=COMPRESSED_BY)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        is_page = (
            scope["type"] == "http" and scope["method"] == "GET" and scope["path"] in ("", "/")
        )
        await (self._compressed if is_page else self.app)(scope, receive, send)

    async def _page(self, scope: Message, receive: Receive, send: Send) -> None:
        accepted = dict(scope["headers"]).get(b"accept-language", b"").decode("latin-1")
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1")))
        language = language_of(query, accepted)
        messages: list[Message] = []  # of the answer, the head first

        async def changed(message: Message) -> None:
            messages.append(message)
            if message["type"] == "http.response.start" or message.get("more_body"):
                return
            head, *rest = messages
            page = said_first(b"".join(part.get("body", b"") for part in rest), language)
            kept = [(n, v) for n, v in head["headers"] if n.lower() != b"content-length"]
            head["headers"] = [*kept, (b"content-length", str(len(page)).encode())]
            await send(head)
            await send({"type": "http.response.body", "body": page})

        await self.app(scope, receive, changed)


def said_first(page: bytes, language: str) -> bytes:
    """A page of Gradio's with its language named, for screen readers and for Gradio's script."""
    locale = LOCALES[language]
    script = (
        "<script>Object.defineProperty(navigator, 'language', "
        f"{{get: () => '{locale}', configurable: true}});</script>"
    )
    found = _PAGE_HEAD.search(page)
    if found is None:  # no page
        return page
    head = f'<html lang="{locale}"'.encode() + found[1] + b"<head>" + script.encode()
    return page[: found.start()] + head + page[found.end() :]
