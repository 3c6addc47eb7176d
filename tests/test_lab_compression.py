"""The compression curve: the same numbers as the command line's, and where the answer changes."""

from dataclasses import replace

import numpy as np
import pytest
from explain_faces import astronaut, detector
from PIL import Image

from detector.degrade import PRESETS, SEVERITIES, apply, apply_clip
from detector.media import open_media, write_video
from detector.profile import Thresholds
from detector.types import Label, Verdict
from explain.lab import compression
from explain.lab.compression import (
    Level,
    Point,
    Sweep,
    curve,
    curve_picture,
    degraded,
    describe_change,
    first_change,
    strip_picture,
    sweeps,
)


def point(p: float | None, label: Label, level: str = "x") -> Point:
    return Point(Level(level, ()), Verdict(label, "So.", p, p), None, None)


@pytest.fixture
def short() -> Sweep:
    jpeg = sweeps()["JPEG"]
    return replace(jpeg, levels=(jpeg.levels[0], jpeg.levels[-1]))


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(astronaut()[:320, 60:380]).save(path)
    return path


def test_the_curve_is_what_the_command_line_says_of_the_degraded_file(photo, short, tmp_path):
    stages = []
    points = curve(detector(), open_media(photo), short, lambda share, stage: stages.append(stage))
    for found, level in zip(points, short.levels, strict=True):
        saved = tmp_path / "degraded.png"
        Image.fromarray(apply(np.asarray(Image.open(photo)), level.degradation)).save(saved)
        told = detector().analyze(saved)
        assert (found.level, found.verdict) == (level, told.verdict)
        assert np.array_equal(found.crop.rgb, told.faces[0].track.crops[0].rgb)
        assert np.array_equal(found.evidence.map, told.faces[0].evidence[0].map)
    assert points[0].verdict.logit != points[1].verdict.logit
    assert stages == ["JPEG: unchanged", "JPEG: JPEG at quality 10 (4:2:0)", "Done"]
    rows = compression.to_json(short, points)["points"]
    assert [row["p_fake"] for row in rows] == [round(p.verdict.p_fake, 6) for p in points]


def test_a_clip_is_coded_as_a_whole(tmp_path):
    frames = [np.roll(astronaut()[:256, 96:352], 2 * i, axis=1) for i in range(4)]
    write_video(tmp_path / "clip.mkv", frames, 10.0, codec="ffv1", pix_fmt="bgr0")
    media = open_media(tmp_path / "clip.mkv")
    degradation = sweeps()["H.264 video"].levels[-1].degradation
    bad = degraded(media, degradation)
    expected = apply_clip(frames, degradation)
    assert all(
        np.array_equal(frame.rgb, want) for frame, want in zip(bad.frames, expected, strict=True)
    )
    write_video(tmp_path / "bad.mkv", expected, 10.0, codec="ffv1", pix_fmt="bgr0")
    assert detector().analyze_media(bad).verdict == detector().analyze(tmp_path / "bad.mkv").verdict


def test_every_kind_of_degradation_is_there_from_untouched_on():
    assert {"JPEG", "H.264 video", "H.265 video", "Shrink and enlarge", "Blur", "Noise"} < set(
        sweeps()
    )
    assert {"Colour shift", "8×8 blocks", "Chroma subsampling", "Light, medium, heavy"} < set(
        sweeps()
    )
    assert [level.name for level in sweeps()["Light, medium, heavy"].levels] == [
        "as it is",
        *SEVERITIES,
    ]
    for sweep in sweeps().values():
        assert all(len(level.degradation) > 0 for level in sweep.levels[1:])
    assert sweeps()["H.265 video"].levels[1].degradation[0].params["preset"] in PRESETS
    with pytest.raises(ValueError, match="untouched"):
        Sweep("x", "x", sweeps()["JPEG"].levels[1:])


def test_the_flip_is_found_and_said():
    jpeg = sweeps()["JPEG"].levels
    points = [
        replace(point(p, label), level=level)
        for level, p, label in zip(
            jpeg, (0.9, 0.8, 0.5), (Label.FORGED, Label.FORGED, Label.UNCERTAIN), strict=False
        )
    ]
    assert first_change(points) == 2
    assert describe_change(points) == (
        "The answer changes at JPEG at quality 90 (4:2:0): from forged-looking to cannot say. So."
    )
    assert first_change(points[:2]) is None
    assert describe_change(points[:2]) == "The answer stays the same all the way: forged-looking."
    assert compression.to_json(sweeps()["JPEG"], points)["changes_at"] == "90"


def test_pictures_stand_a_lost_face():
    points = [point(0.9, Label.FORGED), point(None, Label.NO_FACE)]
    band = Thresholds(authentic_below=0.3, forged_above=0.7)
    drawn = curve_picture(sweeps()["JPEG"], points, band, chosen=0)
    moved = curve_picture(
        sweeps()["JPEG"], points, Thresholds(authentic_below=0.1, forged_above=0.7), chosen=0
    )
    assert drawn.shape == moved.shape == (464, 720, 3)
    assert not np.array_equal(drawn, moved)
    assert strip_picture(points).shape == (278, 684, 3)
    assert compression.evidence_picture(points, 1) is None


def test_the_evidence_has_one_scale_for_the_whole_curve(photo, short):
    points = curve(detector(), open_media(photo), short)
    first = compression.evidence_picture(points, 0)
    louder = replace(
        points[1], evidence=replace(points[1].evidence, map=points[1].evidence.map * 50)
    )
    assert not np.array_equal(first, compression.evidence_picture((points[0], louder), 0))
