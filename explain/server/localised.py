"""HTML and Markdown in the visitor's language, text by text, with the glossary's terms marked.
Everything else of them stays as it was.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, b64encode
from dataclasses import dataclass, field
from functools import lru_cache
from html import escape, unescape
from typing import Any

from explain.texts import ENGLISH, Catalogue, Term, catalogue, glossary

_TOKEN = re.compile(r"""<(?:"[^"]*"|'[^']*'|[^'">])*>|[^<]+|<""")
_TAG = re.compile(r"<(/?)([a-zA-Z][\w-]*)")
_INLINE = {"b", "i", "em", "strong", "code"}  # do not end a sentence
_VOID = {"img", "br", "hr", "input", "meta", "link", "source"}
_SPOKEN = re.compile(
    r'\b(aria-label|aria-valuetext|alt|title|placeholder|data-on|data-off)="([^"]*)"'
)
_DOCUMENT = re.compile(r'(?<=href="data:text/html;base64,)[^"]+')
_STATE = re.compile(r'\bdata-state="([^"]*)"')  # JSON with texts that a script shows
# where a term is not marked: a place to press must not hold another, and headings stay calm
_UNMARKED = {"a", "abbr", "button", "code", "h1", "h2", "h3", "h4", "script", "style", "summary"}
_UNMARKED |= {"dl", "svg", "th"}
_CODE = {"script", "style"}
_MARKED_APART = re.compile(r"(`[^`]*`|<[^>]*>|!?\[[^\]]*\]\([^)]*\))")  # in Markdown


def html(text: str, language: str) -> str:
    """HTML with its texts and what screen readers say of it in a language, and terms marked."""
    told = _Html(catalogue(language), _Marker(language)).told(text)
    return _DOCUMENT.sub(lambda found: _linked(found[0], language), told)


def _linked(encoded: str, language: str) -> str:
    """A file that a link carries, base64."""
    return b64encode(document(b64decode(encoded).decode(), language).encode()).decode()


def document(text: str, language: str) -> str:
    """A whole HTML file to keep or to print, without marked terms."""
    told = _Html(catalogue(language), None).told(text)
    return told.replace(f'<html lang="{ENGLISH}"', f'<html lang="{language}"', 1)


def markdown(text: str, language: str) -> str:
    """The same for Markdown, line by line."""
    words = catalogue(language)
    marker = _Marker(language)
    told = []
    for line in text.split("\n"):
        lead = re.match(r"#+ |- |", line)[0]  # type: ignore[index] # matches always
        line = words.text(line[len(lead) :])
        told.append(lead + (line if lead.startswith("#") else _marked_markdown(line, marker)))
    return "\n".join(told)


def _marked_markdown(line: str, marker: _Marker) -> str:
    parts = _MARKED_APART.split(line)
    parts[::2] = [marker.marked(part) for part in parts[::2]]
    return "".join(parts)


@dataclass(frozen=True, eq=False)
class _Finder:
    """Finds the terms of a language in a text."""

    pattern: re.Pattern[str]
    terms: dict[str, Term]  # by form, in small letters


@lru_cache
def _finder(language: str) -> _Finder:
    terms = {
        written.lower(): term
        for term in glossary(language)
        for form in term.forms
        for written in (form, escape(form))
    }
    longest_first = "|".join(map(re.escape, sorted(terms, key=len, reverse=True)))
    # whole words, with the signs above and below Hindi's letters; Chinese puts nothing between them
    whole = "(?:{})" if language == "zh" else r"(?<![\w\u0900-\u0963-])(?:{})(?![\w\u0900-\u0963-])"
    return _Finder(re.compile(whole.format(longest_first), re.IGNORECASE), terms)


class _Marker:
    """Marks each term at its first place in one piece of the page."""

    def __init__(self, language: str) -> None:
        self._finder = _finder(language)
        self._done = set[str]()

    def marked(self, escaped: str) -> str:
        """escaped: a text without tags, as HTML or Markdown."""
        return self._finder.pattern.sub(self._mark, escaped)

    def _mark(self, match: re.Match[str]) -> str:
        term = self._finder.terms[match[0].lower()]
        if term.name in self._done:
            return match[0]
        self._done.add(term.name)
        says = escape(term.says)
        return f'<abbr class="lens-term" tabindex="0" title="{says}">{match[0]}</abbr>'


@dataclass(eq=False)
class _Html:
    """One pass over a piece of HTML."""

    words: Catalogue
    marker: _Marker | None  # None: no term is marked
    _out: list[str] = field(default_factory=list)
    _unit: list[str] = field(default_factory=list)  # tokens of the sentence under way
    _open: list[tuple[str, bool]] = field(default_factory=list)  # tags, and whether terms stay bare

    def told(self, text: str) -> str:
        for token in _TOKEN.findall(text):
            tag = _TAG.match(token)
            if tag is None or tag[2] in _INLINE:
                self._unit.append(token)
                continue
            self._flush()
            self._out.append(self._spoken(token))
            self._nest(tag, token)
        self._flush()
        return "".join(self._out)

    def _nest(self, tag: re.Match[str], token: str) -> None:
        name = tag[2].lower()
        if name in _VOID or token.endswith("/>"):
            return
        if tag[1]:
            while self._open and self._open.pop()[0] != name:
                pass
        else:
            bare = name in _UNMARKED or "tabindex" in token or " inert" in token
            self._open.append((name, bare))

    def _spoken(self, tag: str) -> str:
        """A tag with its attributes that people hear or see."""

        def told(match: re.Match[str]) -> str:
            return f'{match[1]}="{escape(self.words.text(unescape(match[2])))}"'

        def state(match: re.Match[str]) -> str:
            value = self._strings(json.loads(unescape(match[1])))
            return f'data-state="{escape(json.dumps(value))}"'

        return _STATE.sub(state, _SPOKEN.sub(told, tag))

    def _strings(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.words.text(value)
        if isinstance(value, list):
            return [self._strings(one) for one in value]
        if isinstance(value, dict):
            return {name: self._strings(one) for name, one in value.items()}
        return value

    def _flush(self) -> None:
        """The sentence under way, as one text if it is known so, else piece by piece."""
        unit, self._unit = self._unit, []
        texts = [token for token in unit if _TAG.match(token) is None]
        if not any(any(map(str.isalpha, text)) for text in texts):
            self._out += unit
            return
        whole = self._whole(unit, [unescape(text) for text in texts])
        for token in unit if whole is None else whole:
            self._out.append(token if _TAG.match(token) else self._told(token, whole is not None))

    def _told(self, text: str, is_translated: bool) -> str:
        if self._open and self._open[-1][0] in _CODE:
            return text
        if not is_translated:
            plain = unescape(text)
            inner = plain.strip()
            found = self.words.known(inner)
            if found is not None:
                text = escape(plain.replace(inner, found))
        bare = any(stays for _, stays in self._open)
        return text if bare or self.marker is None else self.marker.marked(text)

    def _whole(self, unit: list[str], texts: list[str]) -> list[str] | None:
        """The tokens of a sentence with tags in it, if it is known; None where it is not.

        A text with signs that look like a tag could become one, and is left alone.
        """
        if len(unit) == len(texts) or any("<" in t or ">" in t for t in texts):
            return None
        opening: dict[str, list[str]] = {}
        key = ""
        for token in unit:
            tag = _TAG.match(token)
            if tag and not tag[1]:
                opening.setdefault(tag[2], []).append(token)
            key += unescape(token) if tag is None else f"<{tag[1]}{tag[2]}>"
        inner = key.strip()
        found = self.words.known(inner)
        if found is None:
            return None
        told = []
        for token in _TOKEN.findall(key.replace(inner, found)):
            tag = _TAG.match(token)
            if tag and not tag[1]:
                kept = opening.get(tag[2])
                token = kept.pop(0) if kept else token
            told.append(token if tag else escape(token))
        return told
