"""LIME: which patches of the face carry the frame logit (Ribeiro et al., KDD 2016,
arXiv:1602.04938).

The crop is cut into superpixels, random halves of them are covered, the detector scores every such
picture, and a ridge regression from "which are left" to the logit gives each superpixel a weight in
logit units. The samples are drawn and scored here, in batches; the regression and its kernel are
the lime package's.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import skimage  # its parts are loaded when they are used
from numpy.typing import NDArray

from detector.stopping import pause_to_look
from detector.types import CROP_PX
from explain.cam import Heat, Score, compressed
from explain.ranks import rank_correlation

METHOD = "LIME"
FILLS = ("mean", "blur", "compressed", "authentic")  # what stands in for a covered superpixel
BLUR_SIGMA_PX = 6.0  # of "blur" in a crop of CROP_PX: no detail left, colours kept
# four samples per superpixel; half of them for each of the two seeds of the stability check. Rank
# correlation of the weights with those of 1024 samples: .93 (mean of six forgeries)
N_SAMPLES = 192
N_SEGMENTS = 48  # an eye is one of them
BATCH = 64  # pictures made before they are scored: 10 MB
POSITIVE_SHOWN, SIGNED_SHOWN = 5, 10  # superpixels in the two pictures


@dataclass(frozen=True, eq=False)
class Regions:
    """A linear model of the frame logit over superpixels."""

    segments: NDArray[np.int32]  # (S, S), 0..n-1
    # (n,) logits that a superpixel adds by being seen; above 0 speaks for a forgery
    weights: NDArray[np.float32]
    intercept: float  # the linear model's logit with everything covered
    # weighted R^2 of the linear model; low: the network is not linear in these patches
    r_squared: float
    # rank correlation of the weights between two independent halves of the samples
    stability: float
    fill: str

    def __post_init__(self) -> None:
        n = int(self.segments.max()) + 1
        if self.weights.shape != (n,):
            raise ValueError(f"expected weights of shape ({n},), but got {self.weights.shape}")

    def heat(self) -> Heat:
        """The weights as a map (S, S)."""
        return Heat(
            self.weights[self.segments].astype(np.float32), METHOD, "frame logit", signed=True
        )

    def strongest(self, count: int, positive_only: bool) -> list[int]:
        """Superpixels by falling weight (positive only) or by falling size of weight, at most
        `count`.
        """
        order = np.argsort(-self.weights if positive_only else -np.abs(self.weights), kind="stable")
        return [
            int(i)
            for i in order
            if self.weights[i] > 0 or (not positive_only and self.weights[i] < 0)
        ][:count]


def superpixels(crop: NDArray[np.uint8], count: int = N_SEGMENTS) -> NDArray[np.int32]:
    """(S, S) labels 0..n-1 of about `count` SLIC superpixels."""
    labels = skimage.segmentation.slic(
        crop, n_segments=count, compactness=12, sigma=1, start_label=1, channel_axis=-1
    )
    return (skimage.segmentation.relabel_sequential(labels)[0] - 1).astype(np.int32)


def explain_regions(
    score: Score,
    crop: NDArray[np.uint8],
    fill: str = "mean",
    authentic: NDArray[np.uint8] | None = None,
    n_samples: int = N_SAMPLES,
    seed: int = 0,
) -> Regions:
    """LIME of one (S, S, 3) crop.

    fill: what a covered superpixel is replaced by. "mean" is its mean colour, "blur" its blurred
    pixels, "compressed" its heavily compressed ones (see cam.compressed), "authentic" those of the
    picture `authentic`, the real half of a pair: then only the forgery is taken away. Raises
    ValueError for an unknown fill.
    """
    segments = superpixels(crop)
    cover = _cover(crop, segments, fill, authentic)
    n = int(segments.max()) + 1
    halves = [_draw(np.random.default_rng([seed, half]), n_samples // 2, n) for half in (0, 1)]
    logits = [_logits(score, crop, cover, segments, kept) for kept in halves]
    first, second = (
        _regress(segments, kept, own).weights for kept, own in zip(halves, logits, strict=True)
    )
    model = _regress(segments, np.concatenate(halves), np.concatenate(logits))
    return Regions(
        segments=segments,
        weights=model.weights,
        intercept=model.intercept,
        r_squared=model.r_squared,
        stability=rank_correlation(first, second),
        fill=fill,
    )


def _cover(
    crop: NDArray[np.uint8], segments: NDArray, fill: str, authentic: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    if fill == "mean":
        size = np.bincount(segments.ravel())
        means = [np.bincount(segments.ravel(), crop[..., c].ravel()) / size for c in range(3)]
        return np.stack(means, axis=-1).round().astype(np.uint8)[segments]
    if fill == "blur":
        sigma = BLUR_SIGMA_PX * crop.shape[0] / CROP_PX
        return np.asarray(cv2.GaussianBlur(crop, (0, 0), sigma), np.uint8)
    if fill == "compressed":
        return compressed(crop)
    if fill == "authentic" and authentic is not None and authentic.shape == crop.shape:
        return authentic
    known = ", ".join(FILLS)
    raise ValueError(
        f"The fill must be one of {known}, and 'authentic' needs a picture of the crop's size."
    )


def _draw(rng: np.random.Generator, count: int, n: int) -> NDArray[np.int64]:
    """(count, n) of 0 covered, 1 seen; the first row sees everything, as lime expects it.

    count is even. Half of the rows come from a Hadamard matrix with columns and signs at random;
    the others are their complements. So every superpixel and every pair of superpixels is seen
    equally often, and interactions of pairs cancel out. Independent draws need about twice the
    samples for the same accuracy.
    """
    order = 1 << (max(n, count // 2) - 1).bit_length()
    from scipy.linalg import hadamard

    signs = hadamard(order)[:, rng.permutation(order)[:n]] * rng.choice([-1, 1], n)
    half = signs[rng.permutation(order)[: count // 2]] > 0
    kept = np.concatenate([half, ~half]).astype(np.int64)
    kept[0] = 1
    return kept


def _logits(
    score: Score,
    crop: NDArray[np.uint8],
    cover: NDArray[np.uint8],
    segments: NDArray,
    kept: NDArray,
) -> NDArray[np.float32]:
    logits = []
    for start in range(0, len(kept), BATCH):
        seen = kept[start : start + BATCH].astype(np.uint8)
        # cv2 rather than np.where, which takes seven times as long
        pictures = np.stack([cv2.copyTo(crop, row[segments], cover.copy()) for row in seen])
        logits.append(score(pictures))
    return np.concatenate(logits)


@dataclass(frozen=True, eq=False)
class _LinearModel:
    """The logit as a sum over the superpixels that are seen."""

    weights: NDArray[np.float32]  # (n,) logits
    intercept: float  # logits
    r_squared: float


def _regress(segments: NDArray, kept: NDArray, logits: NDArray[np.float32]) -> _LinearModel:
    """lime's weighted ridge regression of samples that have been scored."""
    pause_to_look()
    from lime.lime_image import LimeImageExplainer

    explainer = LimeImageExplainer(feature_selection="none", random_state=0)
    explainer.data_labels = lambda *arguments, **options: (kept, logits[:, None])
    blank = np.zeros((*segments.shape, 3))
    found = explainer.explain_instance(
        blank,
        None,
        labels=(0,),
        top_labels=None,
        hide_color=0,
        segmentation_fn=lambda picture: segments,
        random_seed=0,
    )
    weights = np.zeros(kept.shape[1], np.float32)
    for segment, weight in found.local_exp[0]:
        weights[segment] = weight
    return _LinearModel(weights, float(found.intercept[0]), float(found.score))
