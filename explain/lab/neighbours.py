"""A face among known ones: its embedding beside those of held-back faces and of forgeries of them.

The map is a projection from many numbers to two. Two faces that are near each other there need not
be alike, so the neighbours are found by the cosine of the whole embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detector.embeddings import REFERENCE, Index, Vectors, embed
from detector.errors import MediaError, WeightsError
from detector.manifest import SHIPPED
from explain.figures import Rgb, blank_figure, drawn

if TYPE_CHECKING:
    from detector.pipeline import Detector

NEIGHBOURS = 10
AUTHENTIC = "authentic"
# marker and colour of each kind of forgery: colours alone are not seen by everybody
MARKERS = (
    ("s", "#c2570c"),
    ("^", "#5e3c99"),
    ("D", "#1b7837"),
    ("v", "#b8860b"),
    ("P", "#8c2d04"),
    ("X", "#08519c"),
)
# from this share on of authentic faces with a smaller anomaly score, a face is called unlike them
RARE = 0.95


@dataclass(frozen=True, eq=False)
class MapPosition:
    """Where one face lies."""

    xy: Vectors  # (2,) on the map
    kinds: tuple[str, ...]  # of the nearest entries, the nearest first
    cosines: Vectors
    anomaly: float  # mean cosine distance to the nearest authentic entries
    rarity: float  # share of the authentic entries that are nearer to each other than that


def load_reference(detector: Detector, folder: Path = SHIPPED) -> Index:
    """The shipped index. Raises WeightsError when it is missing or belongs to other weights."""
    try:
        return Index.load(folder / REFERENCE, detector)
    except WeightsError as err:
        raise WeightsError(
            f"{err} The map can be drawn again after `python -m detector.release.reference`."
        ) from err


def locate(detector: Detector, index: Index, path: Path) -> MapPosition:
    """The main face of a photo or a clip among the entries. Raises MediaError where there is no
    face.
    """
    vector = embed([path], detector)
    if np.isnan(vector).any():
        raise MediaError(
            f"No face was found in {path.name}, so there is nothing to place on the map."
        )
    numbers, cosines = index.neighbours(vector, NEIGHBOURS)
    anomaly = float(index.anomaly(vector)[0])
    kinds = tuple(index.kinds[i] for i in numbers[0])
    return MapPosition(index.on_map(vector)[0], kinds, cosines[0], anomaly, index.rarity(anomaly))


@dataclass(frozen=True)
class KindCount:
    """How many neighbours are of one kind."""

    kind: str
    neighbours: int
    index_share: float  # of the kind in the whole index


def count_kinds(index: Index, kinds: Sequence[str]) -> list[KindCount]:
    """The neighbours' kinds counted, the most frequent first."""
    counted = [
        KindCount(kind, list(kinds).count(kind), index.kinds.count(kind) / len(index.kinds))
        for kind in dict.fromkeys(index.kinds)
    ]
    return sorted(counted, key=lambda count: (-count.neighbours, count.kind))


def describe_place(index: Index, place: MapPosition) -> list[str]:
    """What the neighbours are and how unusual the face is, in sentences."""
    forged = sum(kind != AUTHENTIC for kind in place.kinds)
    expected = np.mean(index.labels) * len(place.kinds)
    unusual = (
        "unlike the authentic faces known here" if place.rarity >= RARE else "no rarity among them"
    )
    return [
        f"Of the {len(place.kinds)} nearest entries {forged} are forgeries; by chance it would be "
        f"about {expected:.0f}. The nearest has a cosine similarity of {place.cosines[0]:.2f}.",
        f"Anomaly score {place.anomaly:.2g}, the mean distance to the five nearest authentic "
        f"faces: {place.rarity:.0%} of the authentic faces have a smaller one, so this face is "
        f"{unusual}. Unusual is not forged: a hat, a camera or a light that was not seen before is "
        "enough.",
    ]


def map_picture(index: Index, place: MapPosition | None = None) -> Rgb:
    """Every entry by its kind, and the face as a star."""
    figure = blank_figure(7.2, 5.4, dpi=130)
    axes = figure.subplots()
    _draw_entries(axes, index)
    if place is not None:
        axes.scatter(
            place.xy[0],
            place.xy[1],
            s=420,
            marker="*",
            color="#ffd700",
            edgecolors="black",
            linewidths=1.4,
            zorder=5,
            label="this face",
        )
    axes.set_xlabel("first principal component", fontsize=9)
    axes.set_ylabel("second principal component", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    legend = axes.legend(
        fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=4, frameon=False
    )
    for handle in legend.legend_handles:
        handle.set_sizes([40])  # type: ignore[union-attr]
    return drawn(figure)


def _draw_entries(axes: Any, index: Index) -> None:
    xy = index.on_map(index.vectors)
    kinds = np.array(index.kinds)
    authentic = kinds == AUTHENTIC
    axes.scatter(
        xy[authentic, 0],
        xy[authentic, 1],
        s=14,
        marker="o",
        facecolors="none",
        edgecolors="#777777",
        linewidths=0.7,
        label=f"{AUTHENTIC} ({authentic.sum()})",
    )
    others = [kind for kind in dict.fromkeys(index.kinds) if kind != AUTHENTIC]
    for i, kind in enumerate(others):
        marker, colour = MARKERS[i % len(MARKERS)]
        chosen = kinds == kind
        axes.scatter(
            xy[chosen, 0],
            xy[chosen, 1],
            s=20,
            marker=marker,
            color=colour,
            alpha=0.8,
            linewidths=0,
            label=f"{kind} ({chosen.sum()})",
        )
