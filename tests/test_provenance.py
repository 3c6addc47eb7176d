import json
import os
import struct
import sys
import zlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fuzz_files import picture

from detector import sandbox
from detector.decoding import Traces
from detector.decoding.credentials import validated
from detector.media import open_traces
from explain.provenance import credentials_of

STORE = {
    "active_manifest": "b",
    "manifests": {
        "a": {"title": "older"},
        "b": {
            "title": "portrait.jpg",
            "claim_generator_info": [{"name": "Editor", "version": "1"}],
            "signature_info": {"issuer": "Camera Maker", "time": "2024-05-01T10:00:00Z"},
            "assertions": [
                {
                    "label": "c2pa.actions.v2",
                    "data": {"actions": [{"action": "c2pa.created", "when": "x"}]},
                },
                {"label": "stds.exif", "data": {}},
            ],
        },
    },
}


LIBRARY = """
import json, os

class Context:
    from_dict = staticmethod(lambda settings: settings)

class Reader:
    try_create = staticmethod(lambda path, context: Reader())
    __enter__ = __exit__ = lambda self, *error: self
    get_validation_state = lambda self: "Valid"

    def json(self):
        active = {"title": str(os.getpid())}
        return json.dumps({"active_manifest": "a", "manifests": {"a": active}})
"""


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG."""
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def fake_c2pa(monkeypatch: pytest.MonkeyPatch, store: Any, state: str = "Valid") -> list[Any]:
    seen: list[Any] = []

    class Reader:
        @staticmethod
        def try_create(path: str, context: Any) -> Any:
            seen.append((path, context))
            return None if store is None else Reader()

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def json(self) -> str:
            return store if isinstance(store, str) else json.dumps(store)

        def get_validation_state(self) -> str:
            return state

    module = ModuleType("c2pa")
    module.Reader = Reader  # type: ignore[attr-defined]
    module.Context = SimpleNamespace(from_dict=lambda settings: settings)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "c2pa", module)
    return seen


def test_the_active_manifest_in_short(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = fake_c2pa(monkeypatch, STORE)
    read = validated(Path("x.jpg"))
    assert read == {
        "state": "Valid",
        "title": "portrait.jpg",
        "made_with": ["Editor"],
        "issuer": "Camera Maker",
        "signed_at": "2024-05-01T10:00:00Z",
        "actions": [{"action": "c2pa.created"}],
    }
    told = credentials_of(Traces(True, "", (), credentials=read))
    del read["state"]
    assert told == {"signature": "intact; who signed is not verified", **read}
    path, settings = seen[0]
    assert path == "x.jpg"
    # an upload calls nobody
    assert settings["verify"] == {"remote_manifest_fetch": False, "ocsp_fetch": False}


def test_a_broken_signature_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_c2pa(monkeypatch, STORE, "Invalid")
    told = credentials_of(Traces(True, "", (), credentials=validated(Path("x.jpg"))))
    assert told is not None
    assert told["signature"] == "broken, or the file was changed after signing"


@pytest.mark.parametrize("store", [None, "not json", {}, {"active_manifest": "c", "manifests": {}}])
def test_never_fails(monkeypatch: pytest.MonkeyPatch, store: Any) -> None:
    fake_c2pa(monkeypatch, store)
    assert validated(Path("x.jpg")) == {}


def test_long_texts_are_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    action = {"label": "c2pa.actions", "data": {"actions": [{"action": "a" * 999}] * 99}}
    active = {"title": "t" * 999, "assertions": [action]}
    fake_c2pa(monkeypatch, {"active_manifest": "b", "manifests": {"b": active}})
    read = validated(Path("x.jpg"))
    assert read["title"] == "t" * 120
    assert read["actions"] == [{"action": "a" * 120}] * 32


def test_without_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert validated(tmp_path / "x.jpg") == {}
    assert credentials_of(Traces(True, "", ())) is None and credentials_of(None) is None


def test_the_library_sees_the_file_in_the_sandbox_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A library that says in which process it reads, on the path of the decoding helper alone."""
    package = tmp_path / "c2pa.py"
    package.write_text(LIBRARY)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    sandbox.stop()  # the next helper takes the path over
    try:
        path = tmp_path / "x.png"
        path.write_bytes(picture("PNG")[:33] + chunk(b"caBX", b"jumb c2pa") + picture("PNG")[33:])
        title = open_traces(path).credentials["title"]
    finally:
        sandbox.stop()
    assert title.isdecimal() and int(title) != os.getpid()
    assert "c2pa" not in sys.modules
