"""Embeddings for people: one vector a file, neighbours by cosine, how far from everything known."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from safetensors.numpy import load_file
from training_data import picture

import detector
from detector.embeddings import Index, build_index, embed, unit
from detector.errors import MediaError, WeightsError
from detector.pipeline import Detector
from detector.release.reference import reference_index


@pytest.fixture(scope="module")
def untrained() -> Detector:
    return Detector.untrained()


@pytest.fixture
def index() -> Index:
    vectors = unit(np.array([[1, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1]], np.float32))
    return Index.of(vectors, [0, 0, 1, 1], ("photo", "photo", "blend", "blend"), "f" * 64)


def test_one_unit_vector_a_file_and_nan_without_a_face(untrained: Detector, tmp_path: Path) -> None:
    Image.fromarray(skimage.data.astronaut()).save(tmp_path / "face.png")
    Image.fromarray(np.full((128, 128, 3), 90, np.uint8)).save(tmp_path / "nobody.png")
    vectors = detector.embed([tmp_path / "face.png", tmp_path / "nobody.png"], untrained)
    assert vectors.shape == (2, 512) and vectors.dtype == np.float32
    assert float(np.linalg.norm(vectors[0])) == pytest.approx(1.0, abs=1e-5)
    assert np.isnan(vectors[1]).all()
    assert embed([], untrained).shape == (0, 512)
    (tmp_path / "broken.png").write_bytes(b"no")
    with pytest.raises(MediaError, match=r"broken\.png"):
        embed([tmp_path / "broken.png"], untrained)


def test_the_package_offers_two_names_and_no_others() -> None:
    assert detector.embed is embed and detector.Detector is Detector
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        detector.nonsense  # noqa: B018


def test_neighbours_come_nearest_first_whatever_the_length_of_the_query(index: Index) -> None:
    numbers, cosines = index.neighbours(np.array([[7, 0, 0], [0, 0.5, 0]], np.float32), k=2)
    assert numbers.tolist() == [[0, 1], [2, 3]]
    assert cosines[0].tolist() == pytest.approx([1.0, 1 / np.sqrt(1.01)], abs=1e-6)


def test_anomaly_is_the_distance_from_what_is_authentic(index: Index) -> None:
    scores = index.anomaly(np.array([[1, 0.05, 0], [0, 1, 0], [-1, 0, 0]], np.float32), k=1)
    assert scores[0] < 0.01
    assert scores[1] == pytest.approx(1 - 0.1 / np.sqrt(1.01), abs=1e-6)
    assert scores[2] == pytest.approx(1 + 1 / np.sqrt(1.01), abs=1e-6)


def test_rarity_counts_the_known_faces_that_are_nearer_to_each_other(index: Index) -> None:
    near = 1 - 1 / np.sqrt(1.01)  # what the two authentic entries are from each other
    assert index.rarity(near / 2, k=1) == 0.0
    assert index.rarity(2 * near, k=1) == 1.0


def test_the_map_separates_what_differs_most(index: Index) -> None:
    places = index.on_map(index.vectors)
    assert places.shape == (4, 2)
    assert abs(places[0, 0] - places[2, 0]) > 1.2 and abs(places[0, 0] - places[1, 0]) < 0.2
    assert np.allclose(index.on_map(3 * index.vectors), places, atol=1e-6)


def test_an_index_holds_no_pictures_and_knows_its_model(
    untrained: Detector, tmp_path: Path
) -> None:
    crops = np.random.default_rng(0).integers(0, 255, (4, 224, 224, 3)).astype(np.uint8)
    made = build_index(untrained, crops, [0, 0, 1, 1], ["a", "a", "b", "b"])
    made.save(tmp_path / "index.safetensors")
    assert {k: v.shape for k, v in load_file(tmp_path / "index.safetensors").items()} == {
        "vectors": (4, 512), "labels": (4,), "mean": (512,), "axes": (2, 512),
    }  # fmt: skip
    back = Index.load(tmp_path / "index.safetensors", untrained)
    assert np.allclose(back.vectors, made.vectors, atol=1e-3) and back.kinds == ("a", "a", "b", "b")
    assert np.array_equal(back.axes, made.axes) and back.labels.tolist() == [0, 0, 1, 1]
    untrained_too = Detector.untrained(1)
    untrained_too.info = type(untrained.info)("other", "1" * 64)
    with pytest.raises(WeightsError, match="made with other weights than those of other"):
        Index.load(tmp_path / "index.safetensors", untrained_too)
    (tmp_path / "index.safetensors").write_bytes(b"junk")
    with pytest.raises(WeightsError, match=r"index\.safetensors is not an index"):
        Index.load(tmp_path / "index.safetensors")
    with pytest.raises(WeightsError, match=r"There is no index of embeddings none\.safetensors"):
        Index.load(tmp_path / "none.safetensors")


def test_the_reference_index_knows_the_families(untrained: Detector) -> None:
    made = reference_index(untrained, [picture(k) for k in range(3)], per_family=2)
    families = ("self-blend", "cross-blend", "part splice")
    assert made.kinds == tuple(k for f in families for k in 2 * ("authentic", f))
    assert made.labels.tolist() == [0, 1] * 6
    assert np.allclose(np.linalg.norm(made.vectors, axis=1), 1, atol=1e-5)


def test_an_index_of_unequal_parts_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="as many labels"):
        Index.of(np.zeros((2, 3), np.float32), [0], ("a", "b"), "")
