"""Sentences by the letter."""

from dataclasses import replace

import numpy as np
import pytest
from explain_faces import astronaut, face_crop

from detector.decide import format_probability
from detector.profile import Thresholds
from detector.types import Label
from explain.cam import Heat
from explain.timeline import Interval
from explain.words import (
    CLOSING,
    EDGE,
    EVERYWHERE,
    EYES,
    MOUTH,
    NOSE,
    OUTSIDE,
    WHOLE,
    Findings,
    FrameScores,
    describe,
    face_parts,
    place_of,
    zone_name,
)

FORGED = Findings(
    label=Label.FORGED,
    p=0.93,
    thresholds=Thresholds(0.4, 0.6),
    place=MOUTH,
    stream_shares={"rgb stream": 0.2, "noise stream": 0.8},
    intervals=[Interval(1.5, 3.04)],
    frame=FrameScores(0.95, 0.91, {EYES: 0.94, MOUTH: 0.45, NOSE: 0.9, EDGE: 0.59}),
)


def test_a_forged_clip() -> None:
    assert describe(FORGED) == (
        "The detector leans clearly towards forged (score 0.93); the traces lie mostly on the "
        "mouth.",
        "It rests mostly on fine noise rather than on what is visible; the suspicious seconds are "
        "1.5-3.0 s.",
        "Saved once more as a JPEG, this frame's score hardly moves (0.95 to 0.91); "
        "with the mouth heavily compressed it would be 0.45 (no verdict).",
        "This is the estimate of one detector; it is not evidence against a person.",
    )


def test_never_surer_than_the_score() -> None:
    weaker = describe(replace(FORGED, p=0.7))[0]
    assert (
        weaker
        == "The detector leans towards forged (score 0.70); the traces lie mostly on the mouth."
    )


def test_an_untrusted_place_is_not_named() -> None:
    first = describe(replace(FORGED, place=None))[0]
    assert first == (
        "The detector leans clearly towards forged (score 0.93), but its map does not say reliably "
        "where on the face."
    )


def test_an_authentic_photo() -> None:
    found = Findings(
        Label.AUTHENTIC,
        0.07,
        Thresholds(0.4, 0.6),
        stream_shares={"rgb stream": 0.5, "noise stream": 0.5},
        frame=FrameScores(0.07, 0.3, {EYES: 0.1}),
    )
    assert describe(found) == (
        "The detector leans clearly towards authentic (score 0.07): "
        "it found no trace like those of the forgeries it knows.",
        "Saved once more as a JPEG, this frame's score moves (0.07 to 0.30); "
        "heavily compressing any single part of the face would not change the answer.",
        CLOSING,
    )


def test_seconds_that_are_too_few_to_be_called_forged() -> None:
    found = replace(FORGED, label=Label.AUTHENTIC, p=0.37, t=2.0, p_frame=0.95)
    assert describe(found)[:2] == (
        "The detector leans towards authentic (score 0.37) over the whole clip; "
        "too few seconds to be called forged: 1.5-3.0 s.",
        "This frame by itself scores 0.95; too few frames in a row do so for the clip, "
        "or a part of it, to be called forged.",
    )


def test_the_words_speak_of_the_part_that_the_headline_names() -> None:
    part = replace(FORGED, part=(1.5, 2.9), intervals=[Interval(1.5, 2.9)], t=2.0)
    inside = describe(replace(part, p_frame=0.995))
    assert inside[0] == (
        "From 1.5 to 2.9 s the detector leans clearly towards forged (score 0.93); "
        "the traces lie mostly on the mouth."
    )
    assert inside[1] == "It rests mostly on fine noise rather than on what is visible."
    assert describe(replace(part, t=0.5, p_frame=0.03))[1] == (
        "This frame, at 0.50 s, lies outside that part; by itself it scores 0.03."
    )


def test_no_verdict_beside_a_high_frame_says_why() -> None:
    found = Findings(Label.UNCERTAIN, 0.45, Thresholds(0.4, 0.6), t=2.0, p_frame=0.995)
    assert describe(found) == (
        "Over the whole clip the score is 0.45, and the detector gives no verdict.",
        "This frame by itself scores above 0.99; too few frames in a row do so for the clip, "
        "or a part of it, to be called forged.",
        CLOSING,
    )


def test_before_the_map_is_tested_nothing_is_said_of_places() -> None:
    first = describe(replace(FORGED, place=None, tested=False))[0]
    assert first == "The detector leans clearly towards forged (score 0.93)."


def test_no_verdict() -> None:
    assert describe(Findings(Label.UNCERTAIN, 0.5, Thresholds(0.4, 0.6))) == (
        "The score is 0.50, and the detector gives no verdict.",
        CLOSING,
    )


@pytest.mark.parametrize(
    ("rgb", "sentence"),
    [
        (0.8, "It rests mostly on what is visible rather than on fine noise."),
        (0.5, "It rests on what is visible and on fine noise alike."),
    ],
)
def test_streams(rgb: float, sentence: str) -> None:
    found = replace(
        FORGED, stream_shares={"rgb stream": rgb, "noise stream": 1 - rgb}, intervals=()
    )
    assert describe(found)[1] == sentence


def test_two_intervals() -> None:
    found = replace(FORGED, stream_shares={}, intervals=[Interval(0.0, 1.0), Interval(2.0, 3.0)])
    assert describe(found)[1] == "The suspicious seconds are 0.0-1.0 s and 2.0-3.0 s."


@pytest.mark.parametrize("label", [Label.FORGED, Label.AUTHENTIC, Label.UNCERTAIN])
@pytest.mark.parametrize("p", [0.0, 0.05, 0.5, 0.95, 1.0])
def test_always_closes_and_never_accuses(label: Label, p: float) -> None:
    text = describe(replace(FORGED, label=label, p=p))
    assert text[-1] == CLOSING and 2 <= len(text) <= 4
    assert "not evidence against a person" in text[-1]
    for word in ("proves", "certain", "definitely", "is fake", "is forged", "guilty"):
        assert word not in " ".join(text)


def test_never_zero_or_one() -> None:
    assert [format_probability(p) for p in (0.0, 0.0099, 0.01, 0.5, 0.9901, 1.0)] == [
        "below 0.01", "below 0.01", "0.01", "0.50", "above 0.99", "above 0.99",
    ]  # fmt: skip
    assert describe(replace(FORGED, p=0.9997))[0].startswith(
        "The detector leans clearly towards forged (score above 0.99)"
    )


def test_zones() -> None:
    assert [zone_name(p, Thresholds(0.4, 0.6)) for p in (0.39, 0.4, 0.6, 0.61)] == [
        "authentic-looking", "no verdict", "no verdict", "forged-looking",
    ]  # fmt: skip


def in_crop(x: float, y: float) -> tuple[int, int]:
    """Row and column in the astronaut's crop of a place in her picture."""
    crop = face_crop(astronaut())
    u, v = np.linalg.inv(np.vstack([crop.to_frame, [0, 0, 1]])) @ [x, y, 1] @ np.eye(3)[:, :2]
    return round(v), round(u)


@pytest.mark.parametrize(
    ("x", "y", "part"),
    [
        (205.0, 101.7, EYES),
        (246.8, 103.7, EYES),
        (224.7, 125.0, NOSE),
        (223.5, 140.5, MOUTH),
        (223.5, 172.0, EDGE),
    ],
)
def test_parts_lie_where_the_landmarks_are(x: float, y: float, part: str) -> None:
    parts = face_parts(face_crop(astronaut()))
    at = in_crop(x, y)
    assert parts[part][at] and parts[WHOLE][at]
    assert [name for name in (EYES, NOSE, MOUTH, EDGE) if parts[name][at]] == [part]
    hot = np.zeros((224, 224), np.float32)
    hot[at[0] - 3 : at[0] + 4, at[1] - 3 : at[1] + 4] = 1.0
    assert place_of(Heat(hot, "m", "frame logit"), parts) == part


def test_places_that_are_no_part() -> None:
    parts = face_parts(face_crop(astronaut()))
    flat = np.ones((224, 224), np.float32)
    assert place_of(Heat(parts[WHOLE].astype(np.float32), "m", "t"), parts) == WHOLE
    assert place_of(Heat((~parts[WHOLE]).astype(np.float32), "m", "t"), parts) == OUTSIDE
    assert place_of(Heat(-flat, "m", "t"), parts) is None


@pytest.mark.parametrize("face", [0.75, 1.0, 1.25])
def test_a_map_that_glows_all_over_names_neither_the_face_nor_its_surroundings(face: float) -> None:
    parts = face_parts(face_crop(astronaut()))
    glow = np.where(parts[WHOLE], np.float32(face), np.float32(1.0))
    place = place_of(Heat(glow, "m", "t"), parts)
    assert place == EVERYWHERE
    assert describe(replace(FORGED, place=place))[0] == (
        "The detector leans clearly towards forged (score 0.93); the traces lie all over the face "
        "and its surroundings."
    )


def test_all_parts_that_glow_are_named_and_not_only_the_hottest() -> None:
    """Eyes to mouth glow, the nose a little more: "mostly on the nose" would be wrong."""
    parts = face_parts(face_crop(astronaut()))
    middle = np.select([parts[NOSE], parts[EYES] | parts[MOUTH]], [1.0, 0.8], 0.0)
    assert place_of(Heat(middle.astype(np.float32), "m", "t"), parts) == (
        "the middle of the face, from the eyes to the mouth"
    )
    two = (parts[NOSE] | parts[MOUTH]).astype(np.float32)
    assert place_of(Heat(two, "m", "t"), parts) == "the nose and the mouth"


def test_a_part_that_holds_less_than_half_of_the_heat_is_not_said_to_hold_most() -> None:
    parts = face_parts(face_crop(astronaut()))
    spread = np.where(parts[NOSE], 3.0, 1.0).astype(np.float32)
    assert place_of(Heat(spread, "m", "t"), parts) == "the whole face, most strongly on the nose"
