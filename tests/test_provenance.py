import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from explain.provenance import c2pa_manifest

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
    assert c2pa_manifest(Path("x.jpg")) == {
        "signature": "intact; who signed is not verified",
        "title": "portrait.jpg",
        "made_with": ["Editor"],
        "issuer": "Camera Maker",
        "signed_at": "2024-05-01T10:00:00Z",
        "actions": [{"action": "c2pa.created"}],
    }
    path, settings = seen[0]
    assert path == "x.jpg"
    # an upload calls nobody
    assert settings["verify"] == {"remote_manifest_fetch": False, "ocsp_fetch": False}


def test_a_broken_signature_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_c2pa(monkeypatch, STORE, "Invalid")
    found = c2pa_manifest(Path("x.jpg"))
    assert (
        found is not None and found["signature"] == "broken, or the file was changed after signing"
    )


@pytest.mark.parametrize("store", [None, "not json", {}, {"active_manifest": "c", "manifests": {}}])
def test_never_fails(monkeypatch: pytest.MonkeyPatch, store: Any) -> None:
    fake_c2pa(monkeypatch, store)
    assert c2pa_manifest(Path("x.jpg")) is None


def test_without_the_package_or_the_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert c2pa_manifest(None) is None
    (tmp_path / "x.jpg").write_bytes(b"no picture")
    assert c2pa_manifest(tmp_path / "x.jpg") is None
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert c2pa_manifest(tmp_path / "x.jpg") is None
