"""The page's words in other languages, and the glossary of its technical terms.

The program thinks in English. A sentence is its own key: `de.json` and its like beside this file
map each English text of the page to a translation, with the same placeholders. What a placeholder
stands for is told by its name:

{n...}     a number, kept as it is
{file...}  a name from outside, kept as it is
{list...}  parts joined by "and", each translated by itself
others     a text, translated by itself

What is not in the catalogue stays English, and so do words inside pictures: matplotlib's own font
has no letters of Hindi or Chinese. `glossary.json` explains each term in every language.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

FOLDER = Path(__file__).parent
ENGLISH = "en"
# by their own names, as a visitor who does not read the current one finds them
LANGUAGES: Mapping[str, str] = {
    ENGLISH: "English",
    "de": "Deutsch",
    "es": "Español",
    "fr": "Français",
    "hi": "हिन्दी",
    "zh": "中文",
}
LIST = "{one} and {other}"  # the key of how two parts of a list are joined
PLACEHOLDER = re.compile(r"\{(\w+)\}")
_NUMBER = r"(?:(?:above|below) )?[-+×]?\d[\d.,]*(?:[eE][-+]?\d+)?%?"
_PARTS = r"(?:(?!\. ).)+?"
_TEXT = r"(?:(?!\. |; |</?\w).)+?"  # within one sentence, without tags
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
_SIGN = re.compile(r"([✓✗…] )(.+)")


@dataclass(frozen=True)
class Joints:
    """How sentences and clauses follow one another."""

    between: str = " "  # sentences
    clause: str = "; "
    end: str = "."


_JOINTS = {"zh": Joints("", "；", "。"), "hi": Joints(end="।")}


@dataclass(frozen=True)
class Term:
    """A technical term in one language."""

    name: str
    forms: tuple[str, ...]  # as it may stand in a text, the name among them
    says: str  # the explanation, in a sentence or two


class Catalogue:
    """English in, another language out."""

    def __init__(self, texts: Mapping[str, str], joints: Joints = Joints()) -> None:
        """texts: English -> translation, both with the same placeholders."""
        self.texts, self._joints = dict(texts), joints
        keys = sorted(filter(PLACEHOLDER.search, texts), key=lambda k: -len(PLACEHOLDER.sub("", k)))
        self._templates = [(key, PLACEHOLDER.split(key)[::2]) for key in keys if key != LIST]
        self.known: Callable[[str], str | None] = lru_cache(4096)(self._find)

    def text(self, english: str) -> str:
        """A text in the language; what is not known of it stays English."""
        return self.known(english) or english

    def _find(self, english: str) -> str | None:
        """The same; None where nothing of it is known."""
        if not self.texts or not english.strip():
            return None
        whole = self._whole(english)
        if whole is not None:
            return whole
        if signed := _SIGN.fullmatch(english):
            found = self.known(signed[2])
            return found and signed[1] + found
        sentences = _SENTENCE_END.split(english)
        if len(sentences) > 1:
            found_all = [self.known(one) for one in sentences]
            if not any(found_all):
                return None
            told = [f or s for f, s in zip(found_all, sentences, strict=True)]
            return self._joints.between.join(told)
        return self._clauses(english)

    def _clauses(self, english: str) -> str | None:
        """A sentence made of clauses that are known each by itself."""
        ended = english.endswith(".")
        parts = english.removesuffix(".").split("; ")
        found = [self._whole(part) for part in parts]
        if None in found or not (ended or len(parts) > 1):
            return None
        told = self._joints.clause.join(map(str, found)) + self._joints.end * ended
        return _capital(told) if english[0].isupper() else told

    def _whole(self, english: str) -> str | None:
        """One that is in the catalogue, itself or as a template; with a capital, too."""
        if not english:
            return None
        small = english[0].lower() + english[1:]
        if english in self.texts:
            return self.texts[english]
        if small in self.texts:
            return _capital(self.texts[small])
        return self._filled(english, small)

    def _filled(self, english: str, small: str) -> str | None:
        """A template filled; the one that says most comes first, with or without a capital."""
        for key, pieces in self._templates:
            # sooner than the pattern, which may never have to be compiled
            if not all(piece in english or piece in small for piece in pieces):
                continue
            pattern = _pattern(key)
            match = pattern.fullmatch(english)
            as_is = match is not None or small == english
            if match := match or pattern.fullmatch(small):
                values = {name: self._value(name, v) for name, v in match.groupdict().items()}
                told = PLACEHOLDER.sub(lambda m: values[m[1]], self.texts[key])  # noqa: B023
                return told if as_is else _capital(told)
        return None

    def _value(self, name: str, value: str) -> str:
        if name.startswith("file"):
            return value
        if name.startswith("n"):
            return self.text(value) if value[0].isalpha() else value  # "above 0.99"
        if name.startswith("list"):
            return self._joined(re.split(r" and |, ", value))
        return self.text(value)

    def _joined(self, parts: Sequence[str]) -> str:
        told = [self.text(part) for part in parts]
        if len(told) == 1:
            return told[0]
        pair = self.texts.get(LIST, LIST)
        return pair.replace("{one}", ", ".join(told[:-1])).replace("{other}", told[-1])


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


@cache
def _pattern(key: str) -> re.Pattern[str]:
    """What a template's English looks like once it is filled."""
    pieces = PLACEHOLDER.split(key)
    for i in range(1, len(pieces), 2):
        name = pieces[i]
        kind = ".+?" if name.startswith("file") else _PARTS if name.startswith("list") else _TEXT
        pieces[i] = f"(?P<{name}>{_NUMBER if name.startswith('n') else kind})"
    pieces[::2] = map(re.escape, pieces[::2])
    return re.compile("".join(pieces), re.DOTALL)


@lru_cache
def catalogue(language: str) -> Catalogue:
    """The words of one of LANGUAGES; English has none, and so leaves everything as it is."""
    if language == ENGLISH:
        return Catalogue({})
    texts = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    for english, own in zip(glossary(ENGLISH), glossary(language), strict=True):
        texts |= {english.name: own.name, english.says: own.says}
    return Catalogue(texts, _JOINTS.get(language, Joints()))


@lru_cache
def glossary(language: str) -> tuple[Term, ...]:
    """Every technical term, explained in one of LANGUAGES."""
    terms = json.loads((FOLDER / "glossary.json").read_text(encoding="utf-8"))
    found = []
    for term in terms.values():
        own = term[language]
        found.append(Term(own["term"], (own["term"], *own.get("forms", ())), own["says"]))
    return tuple(found)
