"""What the file says about itself: metadata and a C2PA manifest. Shown beside the score, never part
of it.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

_SIGNATURE = {
    "Trusted": "intact, by a signer on the library's list",
    "Valid": "intact; who signed is not verified",
    "Invalid": "broken, or the file was changed after signing",
}
# Nothing may be fetched from addresses that an uploaded file names.
_OFFLINE = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


def c2pa_manifest(path: Path | None) -> dict[str, Any] | None:
    """The file's Content Credentials in short; None without a readable manifest or without the c2pa
    package.
    """
    if path is None:
        return None
    try:
        c2pa = importlib.import_module("c2pa")
        reader = c2pa.Reader.try_create(str(path), context=c2pa.Context.from_dict(_OFFLINE))
        if reader is None:
            return None
        with reader:
            return _summary(json.loads(reader.json()), reader.get_validation_state())
    # a foreign library on untrusted bytes: whatever goes wrong, the report goes on without it
    except Exception:
        return None


def _summary(store: dict[str, Any], state: str | None) -> dict[str, Any]:
    """Who says what about the file, from the active manifest."""
    active = store["manifests"][store["active_manifest"]]
    signature = active.get("signature_info") or {}
    actions = [
        {k: action[k] for k in ("action", "digitalSourceType") if k in action}
        for assertion in active.get("assertions", [])
        if str(assertion.get("label", "")).startswith("c2pa.actions")
        for action in assertion.get("data", {}).get("actions", [])
    ]
    generators = active.get("claim_generator_info") or [{"name": active.get("claim_generator")}]
    return {
        "signature": _SIGNATURE.get(state or "", "not checked"),
        "title": active.get("title"),
        "made_with": [str(g.get("name")) for g in generators],
        "issuer": signature.get("issuer"),
        "signed_at": signature.get("time"),
        "actions": actions,
    }
