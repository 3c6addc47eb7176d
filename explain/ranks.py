"""Orders instead of sizes: what maps of different methods have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def rank_correlation(a: NDArray, b: NDArray) -> float:
    """Spearman's rank correlation of two arrays of one size; 0.0 where one of them is constant.

    Raises ValueError for different sizes.
    """
    if a.size != b.size:
        raise ValueError(f"expected two arrays of one size, but got {a.size} and {b.size}")
    from scipy.stats import rankdata

    x, y = rankdata(a.ravel()), rankdata(b.ravel())
    x, y = x - x.mean(), y - y.mean()
    spread = float(np.sqrt((x**2).sum() * (y**2).sum()))
    return float((x * y).sum() / spread) if spread > 0 else 0.0


def places_by_heat(heat: NDArray, rng: np.random.Generator) -> NDArray[np.intp]:
    """Flat indices from the hottest to the coldest; equal ones in random order, so that ties favour
    no corner.
    """
    flat = heat.ravel()
    return np.lexsort((rng.random(flat.size), -flat))


def pixel_auc(heat: NDArray, mask: NDArray[np.bool_]) -> float:
    """Chance that a masked pixel is hotter than one outside (Mann-Whitney); NaN when the mask is
    empty or full.
    """
    inside = int(mask.sum())
    outside = mask.size - inside
    if inside == 0 or outside == 0:
        return float("nan")
    from scipy.stats import rankdata

    rank_sum = float(rankdata(heat.ravel())[mask.ravel()].sum())
    return (rank_sum - inside * (inside + 1) / 2) / (inside * outside)
