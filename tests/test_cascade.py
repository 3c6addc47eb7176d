"""The cascade gives facenet_pytorch's own faces, with less at a time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch.models.utils.detect_face import detect_face
from matplotlib.cbook import get_sample_data
from PIL import Image
from skimage import data

from detector.nets.cascade import Cascade


@pytest.fixture(scope="module")
def cascade() -> Cascade:
    return Cascade(torch.device("cpu"))


def two_people(width: int, height: int) -> np.ndarray:
    """(2, height, width, 3): the astronaut; Grace Hopper three times, small and turned about."""
    with get_sample_data("grace_hopper.jpg") as file:
        hopper = np.asarray(Image.open(file).convert("RGB"))[40:420, 90:440]
    first = cv2.resize(data.astronaut(), (width, height), interpolation=cv2.INTER_AREA)
    second = np.full((height, width, 3), 90, np.uint8)
    side = height // 2
    small = cv2.resize(hopper, (side, side), interpolation=cv2.INTER_AREA)
    second[:side, :side], second[side : 2 * side, :side] = small, small[:, ::-1]
    second[:side, side : 2 * side] = small
    return np.stack([first, second])


@pytest.mark.parametrize(("width", "height", "min_px"), [(640, 640, 20), (333, 251, 24.5)])
def test_the_faces_are_facenets_own(
    cascade: Cascade, width: int, height: int, min_px: float
) -> None:
    pictures = two_people(width, height)
    nets = cascade.networks
    with torch.inference_mode():
        known = detect_face(
            pictures, min_px, nets.pnet, nets.rnet, nets.onet, [0.6, 0.7, 0.7], 0.709, "cpu"
        )
    found = cascade.search(pictures, min_px)
    assert [len(rows) for rows, _ in found] == [1, 3]
    for (rows, points), known_rows, known_points in zip(found, *known, strict=True):
        assert np.abs(rows - known_rows).max() < 0.01
        assert np.abs(points - known_points).max() < 0.01


def test_nothing_is_nothing(cascade: Cascade) -> None:
    ((rows, points),) = cascade.search(np.full((1, 90, 90, 3), 90, np.uint8), 20)
    assert rows.shape == (0, 5) and points.shape == (0, 5, 2)


def test_no_network_sees_more_than_fits_the_cache(
    cascade: Cascade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Strips of 138 rows, which overlap by ten, and 64 candidates at a time."""
    seen: dict[str, list[torch.Size]] = {"pnet": [], "rnet": [], "onet": []}
    for name, shapes in seen.items():
        network = getattr(cascade.networks, name)
        forward = network.forward
        monkeypatch.setattr(
            network, "forward", lambda x, f=forward, s=shapes: (s.append(x.shape), f(x))[1]
        )
    cascade.search(two_people(640, 640), 20)
    heights = [shape[2] for shape in seen["pnet"][:6]]
    assert heights == [138, 138, 129, 138, 138, 17]  # of 385 rows, then of 273
    assert max(shape[0] for shape in seen["rnet"] + seen["onet"]) == 64
    assert all(shape[0] == 1 for shape in seen["pnet"])
