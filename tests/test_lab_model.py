"""What the model tab shows: a face among known embeddings, and the weaknesses on built-in faces."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.embeddings import Index, build_index, unit
from detector.errors import MediaError, WeightsError
from detector.pipeline import Detector
from detector.types import Label, Verdict
from explain.lab import neighbours, weaknesses
from explain.lab.builtin import crops
from explain.lab.examples import EXAMPLES, astronaut, write_example


@pytest.fixture(scope="module")
def untrained() -> Detector:
    return Detector.untrained()


@pytest.fixture(scope="module")
def index(untrained: Detector) -> Index:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 255, (10, 224, 224, 3)).astype(np.uint8)
    kinds = ["authentic"] * 6 + ["self-blend"] * 4 + ["authentic", "generator"]
    return build_index(
        untrained, np.concatenate([noise, crops()]), [int(k != "authentic") for k in kinds], kinds
    )


def test_a_face_is_placed_beside_its_like(
    untrained: Detector, index: Index, tmp_path: Path
) -> None:
    place = neighbours.locate(untrained, index, write_example(EXAMPLES[0], tmp_path))
    assert place.kinds[:1] == ("authentic",) and set(place.kinds[:2]) == {"authentic", "generator"}
    assert place.cosines[0] > 0.9 and (np.diff(place.cosines) <= 0).all()
    assert np.allclose(place.xy, index.on_map(index.vectors)[10], atol=0.3)
    text = " ".join(neighbours.describe_place(index, place))
    assert "Of the 10 nearest entries" in text and "Unusual is not forged" in text
    Image.fromarray(np.full((128, 128, 3), 90, np.uint8)).save(tmp_path / "nobody.png")
    with pytest.raises(MediaError, match=r"No face was found in nobody\.png"):
        neighbours.locate(untrained, index, tmp_path / "nobody.png")


def test_neighbours_are_counted_by_kind(index: Index) -> None:
    counted = neighbours.count_kinds(index, ["self-blend", "self-blend", "authentic"])
    assert [(count.kind, count.neighbours) for count in counted] == [
        ("self-blend", 2),
        ("authentic", 1),
        ("generator", 0),
    ]
    assert [count.index_share for count in counted] == pytest.approx([4 / 12, 7 / 12, 1 / 12])


def test_a_rare_face_is_called_unlike_the_known_ones(index: Index) -> None:
    place = neighbours.MapPosition(
        np.zeros(2, np.float32), ("self-blend",) * 2, np.ones(2, np.float32), 0.4, 0.97
    )
    assert (
        "97% of the authentic faces have a smaller one, so this face is unlike"
        in neighbours.describe_place(index, place)[1]
    )
    plain = neighbours.MapPosition(place.xy, place.kinds, place.cosines, 0.1, 0.5)
    assert "no rarity among them" in neighbours.describe_place(index, plain)[1]


def test_the_map_marks_the_face(index: Index) -> None:
    place = neighbours.MapPosition(
        np.array([0.1, 0.1], np.float32), (), np.zeros(0, np.float32), 0.0, 0.0
    )
    gold = [
        (neighbours.map_picture(index, p) == (255, 215, 0)).all(axis=2).sum() for p in (None, place)
    ]
    assert gold[0] == 0 and gold[1] > 100


def test_an_index_of_other_weights_is_said_with_what_to_do(
    untrained: Detector, index: Index, tmp_path: Path
) -> None:
    again = r"`python -m detector\.release\.reference`"
    with pytest.raises(WeightsError, match=r"There is no index .*" + again):
        neighbours.load_reference(untrained, tmp_path)
    other = Index.of(unit(index.vectors), index.labels.tolist(), index.kinds, "f" * 64)
    other.save(tmp_path / "reference.safetensors")
    with pytest.raises(WeightsError, match=r"made with other weights .*" + again):
        neighbours.load_reference(untrained, tmp_path)


def test_every_weakness_is_two_different_pictures_of_one_scene() -> None:
    assert len(weaknesses.WEAKNESSES) == 6
    for weakness in weaknesses.WEAKNESSES:
        before, after = weakness.before(), weakness.after()
        assert before.dtype == after.dtype == np.uint8
        assert before.shape != after.shape or np.abs(before.astype(int) - after).max() > 20, (
            weakness.title
        )
    assert np.array_equal(weaknesses.WEAKNESSES[4].before(), astronaut())


def test_small_faces_get_no_answer_whatever_the_weights(untrained: Detector) -> None:
    assert (
        untrained.analyze_media(weaknesses.still(weaknesses.tiny())).verdict.label
        is Label.UNCERTAIN
    )


@pytest.mark.parametrize(
    ("label", "said"),
    [
        (Label.FORGED, "not misled"),
        (Label.AUTHENTIC, "This answer is wrong"),
        (Label.UNCERTAIN, "gives no answer"),
    ],
)
def test_the_outcome_is_told_as_it_came_out(label: Label, said: str) -> None:
    forged = Verdict(Label.FORGED, "So.", 0.9, 2.0)
    shown = weaknesses.WEAKNESSES[0]
    pictures = shown.before(), shown.after()
    judged = weaknesses.Judged(shown, pictures, (forged, Verdict(label, "Why.", 0.2, -2.0)))
    lesson, outcome = weaknesses.describe_outcome(judged)
    assert lesson == shown.lesson
    assert "Both are forged. Before: forged-looking, score 0.90." in outcome and said in outcome
    assert weaknesses.pair_picture(judged).shape[1] == 2 * weaknesses.SHOWN_PX + 6
