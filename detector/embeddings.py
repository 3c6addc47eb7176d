"""Embeddings of files, and a reference index that a face is compared with.

`embeddings-anti-media` in docs/SOURCES.md. The index holds no pictures: vectors of unit length, a
label and a kind for each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from detector.errors import WeightsError
from detector.media import DEFAULT_FRAMES, open_media

if TYPE_CHECKING:
    from detector.pipeline import Detector

REFERENCE = "reference.safetensors"  # the shipped model's index, in the folder of its weights

Vectors = NDArray[np.float32]


def embed(
    paths: Sequence[str | Path], detector: Detector | None = None, n_frames: int = DEFAULT_FRAMES
) -> Vectors:
    """Return (N, D) float32, one unit vector per file: the mean over the first face's frames.

    NaN where there is no face. Without a detector the shipped one is used. Raises MediaError for a
    file that cannot be read.
    """
    from detector.pipeline import default_detector

    detector = detector or default_detector()
    rows: list[Vectors] = []
    for path in paths:
        media = open_media(Path(path), n_frames=n_frames)
        tracks = detector.finder.find_tracks(media.frames)
        if tracks:
            crops = np.stack([crop.rgb for crop in tracks[0].crops])
            rows.append(detector.predict(crops, kind=media.kind).embeddings.mean(0))
        else:
            rows.append(np.full(dimension(detector), np.nan, np.float32))
    return unit(np.array(rows, np.float32).reshape(len(rows), dimension(detector)))


def dimension(detector: Detector) -> int:
    """Return how long the detector's embeddings are."""
    return int(detector.network.embedder.dim)  # type: ignore[arg-type]


def unit(vectors: Vectors) -> Vectors:
    """Rows scaled to length 1; NaN rows stay NaN."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(length, 1e-12)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Index:
    """Known embeddings of one model."""

    vectors: Vectors  # (N, D), unit length
    labels: NDArray[np.int64]  # (N,), 1 forged
    kinds: tuple[str, ...]  # N: "authentic", or the family a forgery is from
    model_sha256: str  # of the weights that made them; vectors of two models cannot be compared
    mean: Vectors  # (D,): the origin of the plane
    axes: Vectors  # (2, D): the plane's axes, along which the entries spread most

    def __post_init__(self) -> None:
        if not len(self.vectors) == len(self.labels) == len(self.kinds) > 0:
            raise ValueError(
                f"expected as many labels and kinds as vectors, but got {self.vectors.shape}"
            )
        if self.axes.shape != (2, *self.mean.shape) or self.mean.shape != self.vectors.shape[1:]:
            raise ValueError(
                f"expected a plane of the vectors, but got {self.mean.shape} and {self.axes.shape}"
            )

    @classmethod
    def of(
        cls, vectors: Vectors, labels: Sequence[int], kinds: Sequence[str], model_sha256: str
    ) -> Index:
        """An index of unit vectors, its plane found by principal components."""
        mean = vectors.mean(0)
        _, _, axes = np.linalg.svd(vectors - mean, full_matrices=False)
        # a component has no sign of its own
        signs = np.sign(axes[np.arange(2), np.abs(axes[:2]).argmax(1)])
        axes = (axes[:2] * signs[:, None]).astype(np.float32)
        return cls(vectors, np.array(labels, np.int64), tuple(kinds), model_sha256, mean, axes)

    def neighbours(self, query: Vectors, k: int = 5) -> tuple[NDArray[np.int64], Vectors]:
        """(M, D) -> numbers and cosines (M, k) of the most similar entries, the nearest first."""
        similarity = unit(query) @ self.vectors.T
        nearest = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
        return nearest, np.take_along_axis(similarity, nearest, 1)

    def anomaly(self, query: Vectors, k: int = 5) -> Vectors:
        """(M, D) -> (M,) mean cosine distance to the k nearest authentic entries.

        0 is a known face; 2 at most.
        """
        similarity = unit(query) @ self.vectors[self.labels == 0].T
        return np.asarray(1 - np.sort(similarity, axis=1)[:, -k:].mean(1), np.float32)

    def rarity(self, score: float, k: int = 5) -> float:
        """Share of the authentic entries whose own anomaly, among the others, is below a score."""
        authentic = self.vectors[self.labels == 0]
        similarity = authentic @ authentic.T
        np.fill_diagonal(similarity, -np.inf)
        own = 1 - np.sort(similarity, axis=1)[:, -k:].mean(1)
        return float((own < score).mean())

    def on_map(self, query: Vectors) -> Vectors:
        """(M, D) -> (M, 2) coordinates on the plane; `index.vectors` gives the entries' own."""
        return np.asarray((unit(query) - self.mean) @ self.axes.T, np.float32)

    def save(self, path: Path) -> None:
        """As safetensors, the vectors in half precision."""
        facts = {"kinds": json.dumps(self.kinds), "model_sha256": self.model_sha256}
        half = self.vectors.astype(np.float16)
        save_file(
            {"vectors": half, "labels": self.labels, "mean": self.mean, "axes": self.axes},
            path,
            facts,
        )

    @classmethod
    def load(cls, path: Path, detector: Detector | None = None) -> Index:
        """Read an index. Raises WeightsError for what is none, or is of another model's weights."""
        if not path.is_file():
            raise WeightsError(f"There is no index of embeddings {path.name}.")
        try:
            with safe_open(path, "numpy") as file:
                facts = file.metadata() or {}
                vectors = unit(file.get_tensor("vectors").astype(np.float32))
                labels, mean, axes = (file.get_tensor(name) for name in ("labels", "mean", "axes"))
            index = cls(
                vectors,
                labels,
                tuple(json.loads(facts["kinds"])),
                facts["model_sha256"],
                mean,
                axes,
            )
        except (SafetensorError, OSError, KeyError, ValueError) as err:
            raise WeightsError(f"{path.name} is not an index of embeddings.") from err
        if detector is not None and index.model_sha256 != detector.info.sha256:
            raise WeightsError(
                f"The index {path.name} was made with other weights than "
                f"those of {detector.info.name}."
            )
        return index


def build_index(
    detector: Detector, crops: NDArray[np.uint8], labels: Sequence[int], kinds: Sequence[str]
) -> Index:
    """Return an index of (N, S, S, 3) uint8 crops; the pictures are not kept."""
    import torch

    with torch.inference_mode():
        vectors = unit(detector.predict(crops, kind="image").embeddings)
    return Index.of(vectors, labels, kinds, detector.info.sha256)
