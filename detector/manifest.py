"""Model folders: `manifest.json` and the safetensors files it names. `weights/` is the shipped one.

Read without torch: what is offered, and whether a name is known, is told at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from detector.errors import WeightsError

SHIPPED = Path(__file__).resolve().parent.parent / "weights"


class ModelEntry(NamedTuple):
    """One model of a folder."""

    folder: Path
    name: str
    entry: Mapping[str, Any]  # the manifest's

    @property
    def sha256(self) -> str:
        """What the model is told apart by: the sum of its first file."""
        return str(self.entry["files"][0]["sha256"])


def sha256_of(path: Path) -> str:
    """Hex sha256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a model folder. Raises WeightsError when it is missing or not a manifest."""
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as err:
        raise WeightsError(f"There is no manifest.json in the model folder {folder.name}.") from err
    except ValueError as err:
        raise WeightsError(
            f"The manifest of the model folder {folder.name} is not valid JSON."
        ) from err
    if (
        not isinstance(manifest, dict)
        or not isinstance(manifest.get("models"), dict)
        or not manifest["models"]
    ):
        raise WeightsError(f"The manifest of the model folder {folder.name} names no model.")
    return manifest


def model_names(folder: Path = SHIPPED) -> list[str]:
    """Names of the models in a folder, the default first."""
    manifest = read_manifest(folder)
    default = manifest.get("default")
    return sorted(manifest["models"], key=lambda name: (name != default, name))


def find_model(model: str | Path | None = None) -> ModelEntry:
    """A model by its name in the shipped manifest, or the default one of a folder with a manifest;
    None is the shipped default. Raises WeightsError.
    """
    folder = SHIPPED
    name = None
    if model is not None and Path(model).is_dir():
        folder = Path(model)
    elif model is not None:
        name = str(model)
    manifest = read_manifest(folder)
    name = name or manifest.get("default") or next(iter(manifest["models"]))
    if name not in manifest["models"]:
        raise WeightsError(
            f"No model is called {name!r}; there are {', '.join(model_names(folder))}."
        )
    return ModelEntry(folder, name, manifest["models"][name])
