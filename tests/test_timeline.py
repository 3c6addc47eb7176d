from dataclasses import replace

import numpy as np
import pytest
from explain_faces import analysis_of, astronaut

from detector.profile import Thresholds
from explain.pipeline import most_suspicious
from explain.timeline import (
    Interval,
    Timeline,
    build_timeline,
    build_timelines,
    similarities,
    smooth,
    suspicious,
)


def overlap(found: list[Interval], start_s: float, end_s: float) -> float:
    """Seconds that both mark over seconds that either marks."""
    shared = sum(max(0.0, min(i.end_s, end_s) - max(i.start_s, start_s)) for i in found)
    marked = sum(i.end_s - i.start_s for i in found)
    return shared / (marked + end_s - start_s - shared)


def test_hysteresis_by_hand() -> None:
    t = np.arange(8.0)
    p = np.array([0.1, 0.5, 0.9, 0.5, 0.1, 0.55, 0.5, 0.1])
    # Above 0.4 from 0.75 to 4 - 0.75 s; the second hump reaches 0.4 but never 0.6.
    assert suspicious(t, p, low=0.4, high=0.6) == [Interval(0.75, 3.25)]
    assert suspicious(t, np.full(8, 0.9), 0.4, 0.6) == [Interval(0.0, 7.0)]
    assert suspicious(t[:1], p[2:3], 0.4, 0.6) == []


def test_a_pause_ends_an_interval() -> None:
    t = np.array([0.0, 1.0, 2.0, 12.0, 13.0, 14.0])
    found = suspicious(t, np.full(6, 0.9), 0.4, 0.6)
    assert [(i.start_s, i.end_s) for i in found] == [(0.0, 2.0), (12.0, 14.0)]


def test_smoothing_keeps_a_plateau_and_tames_a_spike() -> None:
    t = np.arange(9.0)
    spike = np.zeros(9)
    spike[4] = 1.0
    assert smooth(t, np.full(9, 0.7)) == pytest.approx(np.full(9, 0.7))
    assert smooth(t, spike)[4] == pytest.approx(0.399, abs=0.002)
    assert suspicious(t, smooth(t, spike), 0.5, 0.6) == []
    assert smooth(t[:1], spike[4:5]).tolist() == [1.0]


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize(("start", "end"), [(1.5, 3.0), (0.0, 2.0), (6.0, 10.0)])
def test_a_partly_forged_clip_is_marked(seed: int, start: float, end: float) -> None:
    rng = np.random.default_rng(seed)
    t = (np.arange(24) + 0.5) * 10 / 24
    p = np.where((t >= start) & (t < end), 0.85, 0.2) + rng.normal(0, 0.1, 24)
    found = suspicious(t, smooth(t, p), low=0.5, high=0.6)
    assert overlap(found, start, end) >= 0.6


def test_similarities() -> None:
    embeddings = np.array([[1, 0], [2, 0], [0, 3], [0, -1]], np.float32)
    assert similarities(embeddings) == pytest.approx([1.0, 0.0, -1.0])
    assert similarities(embeddings[:1]) == []


def test_timeline_of_a_face() -> None:
    analysis = analysis_of([astronaut(), astronaut(), astronaut()[:, ::-1].copy()])
    line = build_timeline(analysis.faces[0], Thresholds(authentic_below=0.2, forged_above=0.4))
    assert line.t == (0.0, 1.0, 2.0)
    assert line.thresholds == Thresholds(0.2, 0.4)
    assert line.similarity[0] == pytest.approx(1.0, abs=1e-5)
    assert line.similarity[1] < line.similarity[0]
    # The untrained detector says about 0.45 throughout, above this band.
    assert [(i.start_s, i.end_s) for i in line.intervals] == [(0.0, 2.0)]


def test_a_timeline_checks_itself() -> None:
    with pytest.raises(ValueError, match="one length"):
        Timeline(0, (0.0, 1.0), (0.5,), (0.5,), Thresholds(0.4, 0.6), (), ())


def test_the_timeline_marks_the_part_that_the_verdict_names() -> None:
    analysis = analysis_of([astronaut()] * 4)
    face = analysis.faces[0]
    clear = Thresholds(authentic_below=0.2, forged_above=0.4, stretch_above=0.3)
    named = replace(face, verdict=replace(face.verdict, part=(1.0, 2.0)))
    (line,) = build_timelines(replace(analysis, faces=(named,)), clear)
    # in place of the whole clip, which lies above the band; drawn beside the part's threshold
    assert [(i.start_s, i.end_s) for i in line.intervals] == [(1.0, 2.0)]
    assert line.thresholds.forged_above == 0.3
    assert most_suspicious(named) in (1, 2)
