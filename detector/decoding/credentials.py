"""Whether a file carries Content Credentials (C2PA), and the program that its claim names.

Where the package c2pa is installed, it checks the signature, too (`validated`). Without it nothing
is verified: no signature, no hash. What is found is what the file states.
Places and names: C2PA Technical Specification 2.1, "Embedding manifests into assets".
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

MAX_STORE_BYTES = 4 << 20  # of a manifest store: its thumbnails are of no interest here
MAX_PARTS = 10_000  # segments, chunks or boxes of a file that are passed
MAX_NAME_CHARS = 120  # of the program's name, and of any other text
MAX_LISTED = 32  # programs, and actions
# nothing may be fetched from addresses that an uploaded file names
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}

_PNG = b"\x89PNG\r\n\x1a\n"
_BMFF_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_JPEG_ALONE = (0x01, *range(0xD0, 0xD8))  # markers without a length
# IPTC's vocabulary of how a picture came about, as C2PA and XMP name it
_SOURCE_TYPE = re.compile(rb"digitalsourcetype/([A-Za-z]{1,60})", re.IGNORECASE)
MAX_SOURCE_TYPES = 8
_GENERATOR_KEYS = (b"claim_generator_info", b"claim_generator")


def manifest_store(path: Path) -> bytes | None:
    """The file's C2PA manifest store (JUMBF), at most MAX_STORE_BYTES; empty where it has none.

    None for a kind of file in which it is not looked for. Raises OSError.
    """
    with path.open("rb") as file:
        start = file.read(12)
        file.seek(0)
        if start.startswith(b"\xff\xd8"):
            parts = _of_jpeg(file)
        elif start.startswith(_PNG):
            parts = _of_png(file)
        elif start.startswith(b"RIFF"):
            parts = _of_riff(file)
        elif start[4:8] == b"ftyp":
            parts = _of_bmff(file)
        else:
            return None
        store = b""
        for part in parts:
            store += part[: MAX_STORE_BYTES - len(store)]
    return store if b"jumb" in store[:64] and b"c2pa" in store else b""


def claim_generator(store: bytes) -> str:
    """The program that the last claim of a manifest store names, the active one; empty where none
    can be read.

    The claim is CBOR; only text strings are read.
    """
    start = store.rfind(b"c2pa.claim")  # the label of the active manifest's claim
    claim = store[max(start, 0) :]
    for key in _GENERATOR_KEYS:
        at = claim.find(key)
        if at < 0:
            continue
        after = claim[at + len(key) :][:512]
        if key == b"claim_generator_info":
            name = after.find(b"dname")  # CBOR: a text of four letters, "name"
            after = after[name + 5 :] if name >= 0 else b""
        if text := _cbor_text(after):
            return text
    return ""


def source_types(data: bytes) -> tuple[str, ...]:
    """IPTC digital source types that are named, such as trainedAlgorithmicMedia, once each."""
    found = dict.fromkeys(name.decode("ascii") for name in _SOURCE_TYPE.findall(data))
    return tuple(found)[:MAX_SOURCE_TYPES]


def validated(path: Path) -> dict[str, Any]:
    """The file's active manifest in short, as the c2pa package reads and checks it; empty without a
    readable one or without the package.
    """
    try:
        c2pa = importlib.import_module("c2pa")
        reader = c2pa.Reader.try_create(str(path), context=c2pa.Context.from_dict(_OFFLINE))
        if reader is None:
            return {}
        with reader:
            return _summary(json.loads(reader.json()), reader.get_validation_state())
    # a foreign library on untrusted bytes: whatever goes wrong, the rest is read without it
    except Exception:
        return {}


def _summary(store: dict[str, Any], state: str | None) -> dict[str, Any]:
    """Who says what about the file, from the active manifest."""
    active = store["manifests"][store["active_manifest"]]
    signature = active.get("signature_info") or {}
    actions = [
        {k: _short(action[k]) for k in ("action", "digitalSourceType") if k in action}
        for assertion in active.get("assertions", [])
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", [])
    ]
    generators = active.get("claim_generator_info") or [{"name": active.get("claim_generator")}]
    return {
        "state": state,
        "title": _short(active.get("title")),
        "made_with": [_short(str(g.get("name"))) for g in generators[:MAX_LISTED]],
        "issuer": _short(signature.get("issuer")),
        "signed_at": _short(signature.get("time")),
        "actions": actions[:MAX_LISTED],
    }


def _short(text: Any) -> str | None:
    return None if text is None else str(text)[:MAX_NAME_CHARS]


def _cbor_text(data: bytes) -> str:
    """The CBOR text string that the bytes begin with; empty where they do not (RFC 8949, 3.1)."""
    if not data or data[0] >> 5 != 3:
        return ""
    short = data[0] & 31
    more = {24: 1, 25: 2}.get(short, 0)
    if short > 25:
        return ""
    size = int.from_bytes(data[1 : 1 + more], "big") if more else short
    text = data[1 + more : 1 + more + size].decode("utf-8", "replace")
    return "".join(c for c in text if c.isprintable())[:MAX_NAME_CHARS].strip()


# --------------------------------------------------------------------------------------------------
# where each kind of file keeps it


def _of_jpeg(file: BinaryIO) -> Iterator[bytes]:
    """APP11 segments that continue one JUMBF box (ISO 19566-5, annex D)."""
    file.seek(2)
    for _ in range(MAX_PARTS):
        marker = file.read(2)
        while marker[:1] == b"\xff" and marker[1:] == b"\xff":  # padding
            marker = marker[1:] + file.read(1)
        if len(marker) < 2 or marker[0] != 0xFF or marker[1] in (0xDA, 0xD9):
            return
        if marker[1] in _JPEG_ALONE:
            continue
        size = int.from_bytes(file.read(2), "big") - 2
        if size < 0:
            return
        if marker[1] != 0xEB:
            file.seek(size, 1)
            continue
        segment = file.read(size)
        if segment[:2] == b"JP":
            # after its own number and the number of the part, each part repeats the box's head
            first = int.from_bytes(segment[4:8], "big") == 1
            yield segment[8:] if first else segment[16:]


def _of_png(file: BinaryIO) -> Iterator[bytes]:
    file.seek(len(_PNG))
    for _ in range(MAX_PARTS):
        head = file.read(8)
        if len(head) < 8 or head[4:] == b"IEND":
            return
        size = int.from_bytes(head[:4], "big")
        if head[4:] == b"caBX":
            yield file.read(min(size, MAX_STORE_BYTES))
            return
        file.seek(size + 4, 1)


def _of_riff(file: BinaryIO) -> Iterator[bytes]:
    """WebP, AVI and WAV."""
    file.seek(12)
    for _ in range(MAX_PARTS):
        head = file.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[4:], "little")
        if head[:4] == b"C2PA":
            yield file.read(min(size, MAX_STORE_BYTES))
            return
        file.seek(size + size % 2, 1)


def _of_bmff(file: BinaryIO) -> Iterator[bytes]:
    """MP4, MOV, AVIF and HEIC: a box of its own at the top."""
    for _ in range(MAX_PARTS):
        head = file.read(8)
        if len(head) < 8:
            return
        size = int.from_bytes(head[:4], "big")
        used = 8
        if size == 1:
            size = int.from_bytes(file.read(8), "big")
            used = 16
        if head[4:] == b"uuid" and file.read(16) == _BMFF_UUID:
            wanted = size - used - 16 if size else MAX_STORE_BYTES
            yield file.read(max(0, min(wanted, MAX_STORE_BYTES)))
            return
        used += 16 if head[4:] == b"uuid" else 0
        if not used <= size < 1 << 62:  # to the end of the file, or damaged
            return
        file.seek(size - used, 1)
