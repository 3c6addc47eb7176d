"""MTCNN's cascade over a batch of pictures: facenet_pytorch's networks and boxes, other plumbing.

Zhang et al. 2016, arXiv:1604.02878. A small network slides over a pyramid of the picture, a second
one sifts what it proposes, a third one refines what is left and finds five landmarks.
facenet_pytorch shrinks the picture and every candidate by torch's adaptive pooling, which takes as
long as the networks. The same means come here from the picture's integral image, those of all
candidates at once. And the networks see so much at a time that their activations stay in the
processor's cache. The faces are the same.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from facenet_pytorch.models.utils import detect_face as mtcnn
from numpy.typing import NDArray
from torch import Tensor, nn

from detector.stopping import pause_to_look

THRESHOLDS = (0.6, 0.7, 0.7)  # of the three networks' probabilities, and...
PYRAMID = 0.709  # ...the factor between two scales: the defaults of facenet_pytorch
SAME_SCALE, SAME = 0.5, 0.7  # intersection over union of boxes of which one is kept
BATCH = 64  # squares at a time: of more, the activations leave the cache, too
STRIP = 64  # rows of the first network's answers at a time
WINDOW_PX, SIFT_PX, REFINE_PX = 12, 24, 48  # what the three networks see

Pictures = NDArray[np.uint8]  # (N, H, W, 3)
Sums = NDArray[np.int32]  # (N, H + 1, W + 1, 3): of all px above and to the left
Means = NDArray[np.float32]  # (N, h, w, 3): of the px under each


class Cascade:
    """The three networks, ready to search."""

    def __init__(self, device: torch.device) -> None:
        # channels last: a third off its time on a CPU
        self.networks = MTCNN(keep_all=True, device=device).eval()
        self.networks.to(memory_format=torch.channels_last)
        self.device = device

    @torch.inference_mode()
    def search(self, pictures: Pictures, min_px: float) -> list[tuple[NDArray, NDArray]]:
        """Return the faces of each picture: rows (F, 5) of x0, y0, x1, y1 in px and confidence, and
        points (F, 5, 2) in px.

        min_px: longer side of the smallest face; at most the pictures' shorter side. They have
        8 megapixels at most, whose sums fit into 32 bits.
        """
        sums = np.stack([cv2.integral(rgb) for rgb in pictures])
        found = []
        for one in sums:
            pause_to_look()
            found.append(self._proposed(one, min_px))
        owners = torch.cat([torch.full((len(rows),), i) for i, rows in enumerate(found)])
        points = torch.zeros(0, 5, 2)
        rows, owners = _inside(sums, torch.cat(found), owners)
        if len(rows):
            rows, owners = _inside(sums, *self._sifted(sums, rows, owners))
        if len(rows):
            rows, points, owners = self._refined(sums, rows, owners)
        each = [owners == i for i in range(len(pictures))]
        return [(rows[own].numpy(), points[own].numpy()) for own in each]

    def _proposed(self, sums: NDArray[np.int32], min_px: float) -> Tensor:
        """Squares (K, 5) in which the first network sees a face, and their scores."""
        height, width = sums.shape[0] - 1, sums.shape[1] - 1
        scale = WINDOW_PX / min_px
        found = []
        while min(height, width) * scale >= WINDOW_PX:
            shifts, probabilities = self._slid(
                sums, int(height * scale + 1), int(width * scale + 1)
            )
            rows, _ = mtcnn.generateBoundingBox(shifts, probabilities[:, 1], scale, THRESHOLDS[0])
            found.append(rows[_distinct(rows, torch.zeros(len(rows)), SAME_SCALE)])
            scale *= PYRAMID
        rows = torch.cat(found)
        rows = rows[_distinct(rows, torch.zeros(len(rows)), SAME)]
        sides = (rows[:, 2:4] - rows[:, :2]).repeat(1, 2)
        return mtcnn.rerec(torch.cat([rows[:, :4] + rows[:, 5:9] * sides, rows[:, 4:5]], dim=1))

    def _slid(self, sums: NDArray[np.int32], height: int, width: int) -> tuple[Tensor, Tensor]:
        """The first network's outputs (1, 4, h, w) and (1, 2, h, w) on the picture of this size.

        Strip by strip, which is twice as fast and bit for bit the same.
        """
        top, bottom = _bounds(np.array([sums.shape[0] - 1]), height)[:, 0]
        left, right = _bounds(np.array([sums.shape[1] - 1]), width)[:, 0]
        answers = -(-(height - WINDOW_PX) // 2) + 1
        strips = []
        for first in range(0, answers, STRIP):
            last = None if first + STRIP >= answers else 2 * (first + STRIP - 1) + WINDOW_PX
            some = slice(2 * first, last)
            rows = sums[bottom[some]] - sums[top[some]]
            parts = rows.take(right, 1) - rows.take(left, 1)
            means = parts.astype(np.float32) * _shares((bottom - top)[some], right - left)
            strips.append(self.networks.pnet(self._tensor(means[None])))
        shifts, probabilities = (torch.cat(part, dim=2).cpu() for part in zip(*strips, strict=True))
        return shifts, probabilities

    def _sifted(self, sums: Sums, rows: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
        """Those of the squares (K, 5) in which the second network sees a face, moved by it."""
        shifts, probabilities = self._answers(self.networks.rnet, SIFT_PX, sums, rows, owners)
        good = probabilities[:, 1] > THRESHOLDS[1]
        rows = torch.cat([rows[good, :4], probabilities[good, 1:]], dim=1)
        owners = owners[good]
        shifts = shifts[good]
        kept = _distinct(rows, owners, SAME)
        return mtcnn.rerec(mtcnn.bbreg(rows[kept], shifts[kept])), owners[kept]

    def _refined(self, sums: Sums, rows: Tensor, owners: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Faces (F, 5), their landmarks (F, 5, 2) and pictures (F,) by the third network."""
        onet = self.networks.onet
        shifts, shares, probabilities = self._answers(onet, REFINE_PX, sums, rows, owners)
        good = probabilities[:, 1] > THRESHOLDS[2]
        rows = torch.cat([rows[good, :4], probabilities[good, 1:]], dim=1)
        owners = owners[good]
        shifts = shifts[good]
        shares = shares[good].unflatten(1, (2, 5))
        sides = rows[:, 2:4] - rows[:, :2] + 1
        points = (shares * sides[..., None] + rows[:, :2, None] - 1).transpose(1, 2)
        rows = mtcnn.bbreg(rows, shifts)
        kept = mtcnn.batched_nms_numpy(rows[:, :4], rows[:, 4], owners, SAME, "Min")
        return rows[kept], points[kept], owners[kept]

    def _answers(
        self, network: nn.Module, side_px: int, sums: Sums, rows: Tensor, owners: Tensor
    ) -> list[Tensor]:
        """A network's outputs for all boxes (K, 5)."""
        parts = []
        for some, of in zip(rows.split(BATCH), owners.split(BATCH), strict=True):
            pause_to_look()
            parts.append(network(self._tensor(_cut(sums, some, of.numpy(), side_px))))
        return [torch.cat(column).cpu() for column in zip(*parts, strict=True)]

    def _tensor(self, means: Means) -> Tensor:
        """(N, H, W, 3) in [0, 255] -> (N, 3, H, W) in [-1, 1], channels last."""
        tensor = torch.from_numpy((means - 127.5) * np.float32(1 / 128)).to(self.device)
        return tensor.permute(0, 3, 1, 2)


def _distinct(rows: Tensor, owners: Tensor, most: float) -> Tensor:
    """Numbers of the rows (K, 5 or more) that overlap no better one of their picture by more."""
    return mtcnn.batched_nms(rows[:, :4], rows[:, 4], owners, most)


def _corners(sums: Sums, rows: Tensor) -> list[NDArray[np.int64]]:
    """Top, bottom, left and right (K,) of boxes (K, 5) inside their pictures, in whole px."""
    top, bottom, left, right = mtcnn.pad(rows, sums.shape[2] - 1, sums.shape[1] - 1)
    return [top - 1, bottom, left - 1, right]


def _inside(sums: Sums, rows: Tensor, owners: Tensor) -> tuple[Tensor, Tensor]:
    """Those of the boxes (K, 5) that have a part inside their picture, and whose they are."""
    top, bottom, left, right = _corners(sums, rows)
    kept = torch.from_numpy((bottom > top) & (right > left))
    return rows[kept], owners[kept]


def _cut(sums: Sums, rows: Tensor, owners: NDArray[np.int64], side_px: int) -> Means:
    """Shrink boxes (K, 5) of pictures to squares (K, side, side, 3)."""
    above, below, before, behind = _corners(sums, rows)
    top, bottom = _bounds(below - above, side_px)
    left, right = _bounds(behind - before, side_px)
    shares = _shares(bottom - top, right - left)
    # the corners of every part in the pictures' sums, laid out in one row
    height, width = sums.shape[1:3]
    flat = sums.reshape(-1, 3)
    first = (owners * height + above)[:, None]
    top, bottom = ((first + part) * width for part in (top, bottom))
    left, right = (before[:, None] + part for part in (left, right))
    corners = [
        flat.take(y[:, :, None] + x[:, None], 0) for y in (top, bottom) for x in (left, right)
    ]
    parts = corners[3] - corners[2] - corners[1] + corners[0]
    return parts.astype(np.float32) * shares


def _bounds(lengths: NDArray[np.int64], parts: int) -> NDArray[np.int64]:
    """Where so many parts of equal size begin and end, in whole px: (2, K, parts)."""
    number = np.arange(parts)
    begins = number * lengths[:, None] // parts
    ends = -(-(number + 1) * lengths[:, None] // parts)
    return np.stack([begins, ends])


def _shares(heights: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.float32]:
    """What one px is of each part, of (..., h) heights and (..., w) widths: (..., h, w, 1)."""
    areas = heights[..., :, None] * widths[..., None, :]
    return (1 / areas[..., None]).astype(np.float32)
