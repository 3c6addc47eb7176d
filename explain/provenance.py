"""What the file says about itself, in words: metadata, Content Credentials, traces of JPEG. Shown
beside the score, never part of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from detector.decoding import Traces
from detector.decoding.traces import AMPLIFIED, LOSSLESS, RESAVE_QUALITY
from detector.errors import MediaError
from detector.media import open_traces

_SIGNATURE = {
    "Trusted": "intact, by a signer on the library's list",
    "Valid": "intact; who signed is not verified",
    "Invalid": "broken, or the file was changed after signing",
}

ENOUGH_GAPS = 3  # frequencies: none was found in pictures saved once, most in those saved twice
# IPTC's digital source types, the frequent ones
SOURCES = {
    "trainedAlgorithmicMedia": "made by an AI model (trainedAlgorithmicMedia)",
    "compositeWithTrainedAlgorithmicMedia": "composed with parts made by an AI model "
    "(compositeWithTrainedAlgorithmicMedia)",
    "digitalCapture": "taken by a camera (digitalCapture)",
}
NOT_MEASURED = "Not measured: this is done for pictures, not for clips."


@dataclass(frozen=True)
class Statement:
    """One thing that the file says about itself."""

    title: str
    found: tuple[str, ...]  # sentences
    worth: str  # what this can and cannot tell
    rows: Mapping[str, str] | None = None  # names and values behind it
    png: bytes = b""  # the picture that belongs to it


def traces_of(path: Path | None) -> Traces | None:
    """The file's traces; None without a file or where it cannot be read for them."""
    try:
        return None if path is None else open_traces(path)
    except MediaError:
        return None


def statements(traces: Traces | None, tags: Mapping[str, str]) -> list[Statement]:
    """What a file says about itself. tags: Media.metadata."""
    credentials = credentials_of(traces) or {}
    stated = {name: str(value) for name, value in credentials.items() if value}
    png = traces.error_levels if traces is not None else b""
    return [
        Statement(
            "Metadata: camera, program, encoder",
            ("The file carries these tags:" if tags else "This file carries no metadata.",),
            "Can name a camera, a program and a time. Anybody can write, change or remove it, and "
            "most platforms remove it: none at all is no sign of a forgery.",
            tags,
        ),
        Statement(
            "Content Credentials (C2PA)",
            _credentials(traces, bool(stated)),
            "Can tell which program or camera wrote the file and whether it was made by AI, if it "
            "is there and its signature is checked with a C2PA verifier. Most files have none, and "
            "it is easily removed.",
            stated or None,
        ),
        Statement(
            "JPEG compression: how often, and on which grid",
            _history(traces),
            "Can tell that a picture was saved, cropped and saved again. Every platform does that "
            "to every picture, so it is no sign of a forgery; an earlier saving of the same or a "
            "higher quality cannot be seen.",
        ),
        Statement(
            "What one more saving changes (error level analysis)",
            (_levels(png),),
            "Can show a part that was compressed otherwise than the rest. Edges, text and strong "
            "colours always shine, and in a picture saved many times nothing does: it proves "
            "nothing by itself, and the eye finds patterns where there are none.",
            png=png,
        ),
    ]


def _credentials(traces: Traces | None, validated: bool) -> tuple[str, ...]:
    if traces is None or traces.c2pa is None:
        return ("Not looked for in this kind of file.",)
    if not traces.c2pa:
        return ("None: this file carries no C2PA manifest.",)
    said = ["Present: this file carries a C2PA manifest."]
    if traces.claim_generator:
        said.append(f"It says that it was written by: {traces.claim_generator}.")
    if traces.source_types:
        named = [SOURCES.get(name, name) for name in traces.source_types]
        said.append(f"How it says that the picture came about: {', '.join(named)}.")
    if not validated:
        said.append("The signature was not checked.")
    return tuple(said)


def _history(traces: Traces | None) -> tuple[str, ...]:
    """The sentences on JPEG's traces, each with the number behind it."""
    if traces is None or not traces.format:
        return (NOT_MEASURED,)
    said = []
    if traces.jpeg_quality is not None:
        colours = f", colours {traces.jpeg_subsampling}" if traces.jpeg_subsampling else ""
        said.append(f"Stored as a JPEG of about quality {traces.jpeg_quality}{colours}.")
    if traces.gaps is not None:
        found, read = traces.gaps
        counted = f"{found} of {read} low frequencies have gaps"
        if found >= ENOUGH_GAPS:
            said.append(f"Saved at least twice, before with a lower quality: {counted}.")
        else:
            said.append(f"No sign of an earlier saving with a lower quality: {counted}.")
    said.append(_grid(traces))
    return tuple(said)


def _grid(traces: Traces) -> str:
    if traces.format != "JPEG" and traces.format not in LOSSLESS:
        return f"Grids of 8 x 8 blocks are not looked for in a {traces.format}."
    if traces.grid is None:
        return "No grid of 8 x 8 blocks stands out."
    x, y = traces.grid
    if (x, y) == (0, 0):
        if traces.format in LOSSLESS:
            return (
                f"The grid of 8 x 8 blocks of a JPEG is seen, although this is a {traces.format}: "
                "the picture was a JPEG before."
            )
        return "The grid of 8 x 8 blocks begins at the corner, as after one saving."
    return (
        f"The grid of 8 x 8 blocks begins {x} px right of and {y} px below the corner: the picture "
        "was compressed before, then cropped or moved."
    )


def _levels(png: bytes) -> str:
    if not png:
        return NOT_MEASURED
    return (
        f"What saving once more as a JPEG of quality {RESAVE_QUALITY} changes, {AMPLIFIED} times "
        "amplified."
    )


def credentials_of(traces: Traces | None) -> dict[str, Any] | None:
    """The file's Content Credentials in short; None where the c2pa package read none."""
    if traces is None or not traces.credentials:
        return None
    said = dict(traces.credentials)
    return {"signature": _SIGNATURE.get(said.pop("state", None) or "", "not checked"), **said}
