"""May a heat map be believed? Measured on the face that is shown.

Deletion: the hottest places are taken away first (by `cam.compressed`, or by the authentic pixels
where they are known); a faithful map makes the frame logit fall fast, so the area under the curve
is small. Insertion: they are shown first; it rises fast, and the area is large. Both after Petsiuk
et al., BMVC 2018 (arXiv:1806.07421). They are compared with maps that know nothing of the network:
random, a Gaussian in the centre, and the picture's own edges.

ROAD (Rong et al., ICML 2022, arXiv:2202.00449) fills in what was removed so that the hole itself
gives nothing away. Weight randomisation (Adebayo et al., NeurIPS 2018, arXiv:1810.03292): a map
that stays the same for a network of shuffled weights shows the picture, not the network.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.stopping import pause_to_look
from explain.cam import Heat, Score, compressed
from explain.ranks import pixel_auc, places_by_heat

if TYPE_CHECKING:
    import torch
    from torch import nn

Network = TypeVar("Network", bound="nn.Module")

CONTROLS = ("random", "centre", "edges")
BADGE = "Do not rely on this map"
# points of a curve beyond the first; scoring them is a third of what an explanation costs. With 24
# of them the same maps pass (40 maps compared)
STEPS = 8
ROAD_PERCENTILE = 80  # above it lies the fifth of the crop that is removed
VISIBLE_CONTRAST = 0.25  # of a map's scale: below it a map looks uniform beside the mask
RANDOMISED_BELOW = 0.3  # rank correlation under which a map counts as changed by shuffled weights


def shares(steps: int) -> NDArray[np.float64]:
    """Shares of the crop's area at which a curve is measured: squares of equal steps.

    A forged mouth is 3% of a crop; equal steps of area would pass it in one.
    """
    return np.linspace(0, 1, steps + 1) ** 2


@dataclass(frozen=True, eq=False)
class Curves:
    """Frame logits at `shares` of the area while a map's hottest places are taken away or shown."""

    deletion: NDArray[np.float32]
    insertion: NDArray[np.float32]

    @property
    def deletion_auc(self) -> float:
        return _area(self.deletion)

    @property
    def insertion_auc(self) -> float:
        return _area(self.insertion)


def _area(curve: NDArray[np.float32]) -> float:
    """Area under a curve over equal steps by trapezoids: its mean height, in logits."""
    return float((curve[1:].astype(np.float64) + curve[:-1]).mean() / 2)


@dataclass(frozen=True, eq=False)
class Grade:
    """One method's marks for one face. Areas are mean frame logits."""

    method: str
    deletion_auc: float
    insertion_auc: float
    # half of the logit without the coldest fifth minus that without the hottest; above 0 is right
    road: float
    lost_deletion: tuple[str, ...]  # controls that did as well or better
    lost_insertion: tuple[str, ...]

    @property
    def trusted(self) -> bool:
        """Whether it passed every test that is shown: deletion, insertion and ROAD."""
        return not self.lost_deletion and not self.lost_insertion and self.road > 0

    @property
    def sentence(self) -> str:
        """The grade for a reader."""
        return f"Passed: {self.reason}" if self.trusted else f"{BADGE}: {self.reason}"

    @property
    def reason(self) -> str:
        """Why it passed, or which tests it lost."""
        if self.trusted:
            return (
                "taking away or showing what it marks moves the score more than any control does."
            )
        parts = [
            f"{test} no better than {_listed(lost)}"
            for test, lost in (("deletion", self.lost_deletion), ("insertion", self.lost_insertion))
            if lost
        ]
        if self.road <= 0:
            parts.append("ROAD not above 0: its cold places carry as much as its hot ones")
        return f"{', '.join(parts)}."


def _listed(names: Sequence[str]) -> str:
    """a; a and b; a, b and c."""
    return " and ".join(part for part in (", ".join(names[:-1]), names[-1]) if part)


@dataclass(frozen=True, eq=False)
class ReportCard:
    """How far each explanation of one face can be trusted."""

    grades: tuple[Grade, ...]
    curves: Mapping[str, Curves]  # of methods and controls, by name
    fill: str  # what replaced deleted pixels: "compressed" or "authentic"

    @property
    def controls(self) -> dict[str, Curves]:
        return {name: self.curves[name] for name in CONTROLS if name in self.curves}

    def grade(self, method: str) -> Grade:
        return next(grade for grade in self.grades if grade.method == method)


def control_maps(
    crop: NDArray[np.uint8], rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    """Maps (S, S) that know nothing of the network, about as smooth as those that do."""
    side = crop.shape[0]
    noise = cv2.resize(
        rng.random((14, 14), np.float32), (side, side), interpolation=cv2.INTER_LINEAR
    )
    offset = np.arange(side, dtype=np.float32) - (side - 1) / 2
    bell = np.exp(-((offset / (side / 4)) ** 2) / 2)
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
    edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    smooth = cv2.GaussianBlur(edges, (0, 0), side / 56)
    maps = {"random": noise, "centre": np.outer(bell, bell), "edges": smooth}
    return {name: np.asarray(values, np.float32) for name, values in maps.items()}


def curves(
    score: Score,
    crop: NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.float32]],
    cover: NDArray[np.uint8],
    seed: int = 0,
    steps: int = STEPS,
) -> dict[str, Curves]:
    """Deletion and insertion of every map (S, S); `cover` (S, S, 3) replaces what is deleted.

    All pictures are scored in one go: full batches are cheaper, and all curves share their ends.
    """
    pictures = [crop, cover]
    for heat in maps.values():
        rank = np.empty(heat.size, np.int64)
        rank[places_by_heat(heat, np.random.default_rng(seed))] = np.arange(heat.size)
        hottest = [
            (rank < round(heat.size * share)).reshape(*heat.shape, 1)
            for share in shares(steps)[1:-1]
        ]
        pictures += [np.where(hot, cover, crop) for hot in hottest]
        pictures += [np.where(hot, crop, cover) for hot in hottest]
    logits = score(np.stack(pictures))
    whole, none = logits[:1], logits[1:2]
    inner = logits[2:].reshape(len(maps), 2, steps - 1)
    return {
        name: Curves(np.concatenate([whole, gone, none]), np.concatenate([none, shown, whole]))
        for name, (gone, shown) in zip(maps, inner, strict=True)
    }


def pictures_scored(n_maps: int, steps: int = STEPS, controls: bool = True) -> int:
    """How many pictures `report_card` has to score for so many maps."""
    n_curves = n_maps + len(CONTROLS) * controls
    return 2 + 2 * (steps - 1) * n_curves + 2 * n_maps


def report_card(
    score: Score,
    crop: NDArray[np.uint8],
    maps: Mapping[str, Heat],
    authentic: NDArray[np.uint8] | None = None,
    steps: int = STEPS,
    seed: int = 0,
    before: ReportCard | None = None,
) -> ReportCard:
    """Grade every map of one crop.

    authentic: the real half of the pair, where it is known, to stand where pixels are deleted.
    before: an earlier card of the same crop and options, whose controls are not measured again.
    """
    cover = compressed(crop) if authentic is None else authentic
    controls = {} if before else control_maps(crop, np.random.default_rng(seed))
    own = {name: heat.map for name, heat in maps.items()}
    measured = curves(score, crop, {**own, **controls}, cover, seed, steps)
    if before is not None:
        measured |= before.controls
    roads = road(score, crop, own, seed)
    grades = tuple(_grade(name, measured, roads[name]) for name in maps)
    return ReportCard(grades, measured, "compressed" if authentic is None else "authentic")


def joined(cards: Sequence[ReportCard]) -> ReportCard:
    """Cards of one crop as one. Controls are kept of the first: the others' explain other logits.

    Raises ValueError without a card.
    """
    if not cards:
        raise ValueError("expected at least one report card, but got none")
    first, *others = cards
    grades = list(first.grades)
    curves = dict(first.curves)
    for card in others:
        grades += card.grades
        curves |= {grade.method: card.curves[grade.method] for grade in card.grades}
    return ReportCard(tuple(grades), curves, first.fill)


def _grade(method: str, measured: Mapping[str, Curves], road: float) -> Grade:
    deletion = measured[method].deletion_auc
    insertion = measured[method].insertion_auc
    return Grade(
        method=method,
        deletion_auc=deletion,
        insertion_auc=insertion,
        road=road,
        lost_deletion=tuple(c for c in CONTROLS if measured[c].deletion_auc <= deletion),
        lost_insertion=tuple(c for c in CONTROLS if measured[c].insertion_auc >= insertion),
    )


# ----------------------------------------------------------------------------------------------
# ROAD


def _seeded_imputer(seed: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """pytorch-grad-cam's imputer with noise from a seed instead of the global generator."""
    import torch
    from pytorch_grad_cam.metrics.road import NoisyLinearImputer

    fill = NoisyLinearImputer(noise=0.0)

    def impute(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        filled = fill(image, mask)
        noise = torch.randn(filled.shape, generator=torch.Generator().manual_seed(seed))
        return torch.where(mask.bool(), filled, filled + 0.01 * noise).clamp(0, 1)

    return impute


def road(
    score: Score,
    crop: NDArray[np.uint8],
    maps: Mapping[str, NDArray[np.float32]],
    seed: int = 0,
) -> dict[str, float]:
    """Half of the logit without each map's coldest places minus that without its hottest.

    Above 0 where the hot places carry the logit more than the cold ones.
    """
    import torch
    from pytorch_grad_cam.metrics.perturbation_confidence import (
        RemoveLeastRelevantFirst,
        RemoveMostRelevantFirst,
    )

    image = torch.from_numpy(crop).permute(2, 0, 1) / 255
    imputer = _seeded_imputer(seed)
    filled = []
    for heat in maps.values():
        rank = np.empty(heat.size, np.float32)
        order = places_by_heat(heat, np.random.default_rng(seed))
        # no ties, or a percentile would remove everything
        rank[order] = np.linspace(1, 0, heat.size, dtype=np.float32)
        for remove in (RemoveLeastRelevantFirst, RemoveMostRelevantFirst):
            pause_to_look()
            remaining = torch.from_numpy(rank).view(heat.shape)
            filled.append(remove(ROAD_PERCENTILE, imputer)(image, remaining))
    pictures = (torch.stack(filled) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    logits = score(pictures).reshape(-1, 2)
    return {name: float(cold - hot) / 2 for name, (cold, hot) in zip(maps, logits, strict=True)}


# ----------------------------------------------------------------------------------------------
# true masks, shuffled networks


@dataclass(frozen=True)
class Localisation:
    """A map against the true mask of a forgery."""

    pixel_auc: float
    pointing: bool  # the hottest pixel lies in the mask
    # IoU at the true area: of the mask and as many of the map's hottest places. A map is not
    # asked how large the forgery is, so a large mask is overlapped by any map that is hot inside.
    iou: float
    # mean heat inside the mask minus outside, as a share of the map's largest value: what an eye
    # sees of the difference; 0 for a uniform map
    contrast: float

    @property
    def shows_where(self) -> bool:
        """Whether the map is visibly hotter inside the mask than outside."""
        return self.contrast >= VISIBLE_CONTRAST


def localise(heat: NDArray[np.float32], mask: NDArray[np.bool_], seed: int = 0) -> Localisation:
    """Compare a map with a mask, both (S, S). Raises ValueError for an empty mask."""
    if not mask.any():
        raise ValueError("expected a mask with something in it, but got an empty one")
    order = places_by_heat(heat, np.random.default_rng(seed))
    flat = mask.ravel()
    area = int(flat.sum())
    shared = int(flat[order[:area]].sum())
    outside = float(heat[~mask].mean()) if not mask.all() else 0.0
    largest = float(np.abs(heat).max())
    contrast = (float(heat[mask].mean()) - outside) / largest if largest > 0 else 0.0
    return Localisation(
        contrast=contrast,
        pixel_auc=pixel_auc(heat, mask),
        pointing=bool(flat[order[0]]),
        iou=shared / (2 * area - shared),
    )


def shuffled(network: Network, rng: np.random.Generator) -> Network:
    """A copy of the network with the weights inside every tensor in random order."""
    import torch

    untaught = copy.deepcopy(network)
    with torch.no_grad():
        for parameter in untaught.parameters():
            order = torch.from_numpy(rng.permutation(parameter.numel())).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return untaught


@dataclass(frozen=True, eq=False)
class Shuffle:
    """A method's map before and after the weights were shuffled."""

    before: Heat
    after: Heat
    correlation: float  # rank correlation of the two

    @property
    def changed(self) -> bool:
        return abs(self.correlation) < RANDOMISED_BELOW
