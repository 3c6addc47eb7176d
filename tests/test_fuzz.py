"""Hostile and broken files end in an answer or in one sentence; the long form, through the page:
tests/fuzz.py.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from fuzz import fault
from fuzz_files import gif, hostile, mutated, png_bomb, sound_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from detector.contract import analysis_json
from detector.decoding import MAX_VIDEO_SIDE_PX, decode
from detector.errors import MediaError
from detector.media import open_media
from detector.pipeline import Detector

NAMES = sorted(sound_files())


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.untrained()


def answer(detector: Detector, path: Path) -> dict:
    try:
        return analysis_json(detector.analyze(path, n_frames=2))
    except MediaError as err:
        return {"error": {"type": "MediaError", "message": str(err)}}


def test_sound_files_open(tmp_path: Path) -> None:
    """Or else mutations would say nothing: every kind of file is read as it stands."""
    for name, content in sound_files().items():
        (tmp_path / name).write_bytes(content)
        assert len(open_media(tmp_path / name).frames) > 0, name


def test_known_trouble_ends_in_an_answer_or_one_sentence(
    detector: Detector, tmp_path: Path
) -> None:
    wrong = {}
    for name, content in hostile():
        if "/" in name or len(name.encode()) > 255:
            continue
        path = tmp_path / name
        path.write_bytes(content)
        problem = fault(answer(detector, path), str(tmp_path))
        path.unlink()
        if problem:
            wrong[name] = problem
    assert wrong == {}
    assert list(tmp_path.iterdir()) == []


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32 - 1))
def test_mutations_decode_or_raise_what_they_should(tmp_path_factory, name: str, seed: int) -> None:
    """In this process, where nothing hides an error of another kind."""
    folder = tmp_path_factory.mktemp("mutated")
    path = folder / name
    path.write_bytes(mutated(sound_files()[name], np.random.default_rng(seed)))
    try:
        decoded = decode(path, 4)
    except MediaError as err:
        assert fault({"error": {"type": "MediaError", "message": str(err)}}, str(folder)) is None
    else:
        assert len(decoded.frames) > 0
        times_s = [frame.t for frame in decoded.frames]
        assert times_s == sorted(times_s)
    finally:
        shutil.rmtree(folder)


@settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
@given(name=st.sampled_from(NAMES), seed=st.integers(0, 2**32 - 1))
def test_mutations_get_an_answer_or_one_sentence(
    tmp_path_factory, detector: Detector, name: str, seed: int
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    (folder / name).write_bytes(mutated(sound_files()[name], np.random.default_rng(seed)))
    assert fault(answer(detector, folder / name), str(folder)) is None
    shutil.rmtree(folder)


def test_bombs_are_refused_or_scaled_down(tmp_path: Path) -> None:
    """A hundred thousand times smaller than what they unpack to."""
    (tmp_path / "screen.gif").write_bytes(gif(8_000, 2_000, 3))
    (frame, *_) = open_media(tmp_path / "screen.gif").frames
    assert frame.rgb.shape == (480, MAX_VIDEO_SIDE_PX, 3)
    (tmp_path / "bits.png").write_bytes(png_bomb(10_000, 0, 1, 1))
    with pytest.raises(MediaError, match="at most 80 million are read"):
        open_media(tmp_path / "bits.png")
    (tmp_path / "screens.gif").write_bytes(gif(8_000, 8_000, 40))
    with pytest.raises(MediaError, match=r"too many frames|within the processor time"):
        open_media(tmp_path / "screens.gif")
