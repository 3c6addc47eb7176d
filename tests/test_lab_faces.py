"""The lessons on faces: fingerprints, the swap and its flicker, re-enactment, colour, guess
first.
"""

from dataclasses import replace

import numpy as np
import pytest
from explain_faces import detector, explainer

from detector.forgery.generators import rebuild
from detector.manifest import SHIPPED
from detector.stopping import stoppable
from detector.types import Label
from explain.lab import builtin, colour, fingerprints, guess, reenact, swap
from explain.lab.fingerprints import dots, spectrum
from explain.lab.generators import generators

# ----------------------------------------------------------------------------------------------
# fingerprints


def test_a_repeating_trace_stands_out_of_the_spectrum():
    rng = np.random.default_rng(0)
    plain = rng.normal(128, 12, (224, 224, 3))
    marked = plain.copy()
    marked[::4, ::4] += 12
    a, b = (dots(spectrum(np.clip(p, 0, 255).astype(np.uint8))) for p in (plain, marked))
    assert b > a + 0.5


def test_transposed_convolutions_and_pixel_shuffle_leave_dots_that_photos_have_not():
    for crop in builtin.crops():
        photo = dots(spectrum(crop))
        for name in ("transposed4", "shuffle"):
            assert dots(spectrum(rebuild(generators()[name], crop))) > photo + 0.25, name


def test_up_samplers_lose_fine_detail():
    crop = builtin.crops()[1]
    photo, redrawn = (
        fingerprints.radial(spectrum(p)) for p in (crop, rebuild(generators()["shuffle"], crop))
    )
    assert photo.shape == (fingerprints.PROFILE_BINS,)
    assert photo[-10:].mean() > redrawn[-10:].mean() + 0.3


def test_fingerprints_are_taken_of_the_photo_and_three_up_samplers():
    stages = []
    prints = fingerprints.take_fingerprints(
        explainer(), builtin.crops()[0], lambda share, stage: stages.append(stage)
    )
    assert [p.name for p in prints] == [fingerprints.AUTHENTIC, *fingerprints.UPSAMPLERS.values()]
    assert prints[0].p == pytest.approx(
        detector()
        .profiles["image"]
        .calibration.probability(
            float(detector().predict(builtin.crops()[0][None], kind="image").logits[0])
        ),
        abs=1e-3,
    )
    assert all(0 <= p.noise_share <= 1 for p in prints)
    assert fingerprints.spectrum_picture(prints[0].spectrum).shape == (448, 448, 3)
    assert fingerprints.table_rows(prints)[1]["Picture"] == "transposed convolution"
    assert len(stages) == 5


# ----------------------------------------------------------------------------------------------
# swap


@pytest.fixture(scope="module")
def learnt():
    return swap.train(steps=61)


def test_a_swaps_training_can_be_stopped_within_each_step():
    looks = []
    with stoppable(lambda: looks.append(1)):
        swap.train(steps=3)
    assert len(looks) == 6


def test_aligned_faces_have_their_eyes_in_one_place():
    for rgb, points in builtin.pictures():
        placed = np.hstack([points, np.ones((5, 1))]) @ swap.alignment(points).T
        eyes = placed[:2].mean(axis=0)
        assert eyes == pytest.approx(swap.CENTRE_PX, abs=3)
        assert placed[0, 0] < placed[1, 0]
        assert swap.aligned(rgb, points).shape == (64, 64, 3)


def test_two_decoders_share_one_encoder_and_learn(learnt):
    assert len(learnt.net.decoders) == 2
    # every value is one batch's
    assert np.mean(learnt.losses[-3:]) < 0.85 * np.mean(learnt.losses[:3])
    face = swap.aligned(*builtin.pictures()[0])
    own, other = learnt.draw(face, 0), learnt.draw(face, 1)
    assert own.shape == (64, 64, 3)
    assert np.abs(own.astype(int) - other).mean() > 3


def test_a_swap_stays_inside_the_face_and_says_what_it_is(learnt):
    frames, places = swap.clip(1)
    swapped = swap.put_back(
        frames[0], places[0], learnt.draw(swap.aligned(frames[0], places[0]), 0)
    )
    changed = np.abs(swapped.astype(int) - frames[0]).max(axis=2)
    x, y = places[0].mean(axis=0).astype(int)
    assert changed[y - 20 : y + 20, x - 20 : x + 20].mean() > 5
    assert changed[:40].max() == 0
    foot = swapped[-14:]
    assert (foot == 0).mean() > 0.4 and (foot > 200).mean() > 0.02


def test_trembling_landmarks_make_a_clip_less_steady():
    frames, places = swap.clip(8)
    rng, drawn = np.random.default_rng(0), swap.aligned(*builtin.pictures()[0])
    trembling = []
    for frame, points in zip(frames, places, strict=True):
        found = (points + rng.normal(0, 2.0, points.shape)).astype(np.float32)
        trembling.append(swap.put_back(frame, found, drawn))
    assert np.mean(swap.steadiness(frames, places)) > 0.9
    assert np.mean(swap.steadiness(trembling, places)) < 0.85


def test_the_clip_is_converted_frame_by_frame_and_the_detector_asked(learnt):
    found = swap.flicker(detector(), learnt, count=4)
    assert len(found.authentic) == len(found.swapped) == 4
    assert len(found.steady_authentic) == len(found.steady_swapped) == 3
    assert [a.media.kind for a in found.analyses] == ["video", "video"]
    assert len(found.analyses[0].faces[0].track.crops) == 4


# ----------------------------------------------------------------------------------------------
# re-enactment


def test_a_drive_at_rest_moves_nothing_and_a_mouth_can_be_opened():
    subject = builtin.subjects()[1]
    drive = reenact.driving(opened=0.4, turned_deg=0.0, frames=5)
    still, stretch = reenact.move(subject.rgb, subject.landmarks_px, drive, 0)
    assert np.array_equal(still, subject.rgb)
    assert stretch.max() < 1.01
    moved, stretch = reenact.move(subject.rgb, subject.landmarks_px, drive, 2)
    x, y = subject.landmarks_px[3:].mean(axis=0).astype(int)
    assert stretch[y - 30 : y + 60, x - 20 : x + 20].max() > 1.3
    assert np.abs(moved.astype(int) - subject.rgb)[y : y + 40, x - 20 : x + 20].mean() > 5
    assert np.array_equal(moved[:8, :8], subject.rgb[:8, :8])


def test_a_tilt_turns_the_eyes_by_as_much():
    subject = builtin.subjects()[0]
    moved, _ = reenact.move(
        subject.rgb, subject.landmarks_px, reenact.driving(0.0, 12.0, frames=5), 2
    )
    left, right = detector().finder.detect_faces(moved)[0].landmarks_px[:2]
    before = subject.landmarks_px[1] - subject.landmarks_px[0]
    turned = np.degrees(np.arctan2(*(right - left)[::-1]) - np.arctan2(*before[::-1]))
    assert turned == pytest.approx(12, abs=3)


def test_re_enacted_frames_are_watermarked():
    frames, worst = reenact.play(0, 0.5, -8.0, frames=4)
    assert len(frames) == 4 and worst > 1.2
    assert (frames[0][-12:] == 0).mean() > 0.4


# ----------------------------------------------------------------------------------------------
# colour

coloured = pytest.mark.skipif(
    not (SHIPPED / colour.WEIGHTS).is_file(),
    reason="the colouriser's weights are not shipped in this copy",
)


def test_the_colouriser_sees_lightness_only_and_keeps_it():
    net = colour.Colouriser().eval()
    crop = builtin.crops()[0]
    guessed = colour.colourise(net, crop)
    assert np.array_equal(guessed, colour.colourise(net, colour.grey(crop)))
    plain = colour.colourise(net, crop, strength=0.0)
    assert np.abs(plain.astype(int) - colour.grey(crop)).max() <= 2
    assert colour.colour_error(crop, crop) == 0.0


def test_colours_can_be_learnt():
    faces = [crop[::3, ::3][:64, :64] for crop in builtin.crops()]
    net = colour.train(faces, steps=60)
    guess, without = colour.mean_errors(net, faces)
    assert guess < 0.8 * without


@coloured
def test_the_shipped_colours_are_closer_than_grey_on_faces_never_seen():
    guess, without = colour.mean_errors(colour.shipped(), builtin.crops())
    assert guess < 0.8 * without


@coloured
def test_the_detector_is_asked_about_all_three():
    shown = colour.compare_colours(detector(), builtin.crops()[0])
    assert list(shown.pictures) == list(shown.p) == ["original", "grey", "coloured"]
    assert shown.error < shown.error_grey


# ----------------------------------------------------------------------------------------------
# guess first


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(4)
    return [guess.make_pair(explainer(), rng) for _ in range(4)]


def test_a_pair_is_one_face_twice_and_only_one_is_forged(pairs):
    again = guess.make_pair(explainer(), np.random.default_rng(4))
    assert np.array_equal(again.pictures[0], pairs[0].pictures[0])
    for pair in pairs:
        difference = np.abs(pair.pictures[0].astype(int) - pair.pictures[1]).mean(axis=2)
        assert (
            difference[pair.mask > 0.5 * pair.mask.max()].mean()
            > difference[pair.mask < 0.02 * pair.mask.max()].mean()
        )
    assert {pair.forged for pair in pairs} == {0, 1}


def test_mirrored_faces_keep_left_on_the_left():
    subject = builtin.subjects()[0]
    other = guess.mirrored(subject)
    assert (
        other.landmarks_px[0, 0] < other.landmarks_px[1, 0]
        and other.landmarks_px[3, 0] < other.landmarks_px[4, 0]
    )
    assert np.array_equal(guess.mirrored(other).rgb, subject.rgb)
    assert np.abs(other.crop(other.rgb).astype(int) - subject.crop(subject.rgb)[:, ::-1]).mean() < 2


def test_the_table_counts_hits_misses_and_false_alarms(pairs):
    found = replace(pairs[0], forged=0, p=(0.9, 0.1), labels=(Label.FORGED, Label.AUTHENTIC))
    missed = replace(pairs[0], forged=1, p=(0.8, 0.3), labels=(Label.FORGED, Label.AUTHENTIC))
    assert (found.picked, missed.picked) == (0, 0)
    rows = guess.rows([found, missed], [0, 0])
    assert [row[2] for row in rows] == ["left ✓", "left ✗"]
    assert [row[3] for row in rows] == ["left ✓", "left ✗"]
    assert rows[1][4] == "authentic-looking (0.30)"
    told = guess.score([found, missed, missed], [0, 1])
    assert "You found 2 of 2, the model 1." in told
    assert "did not call 1 of the forgeries forged, and it called 1 of the authentic" in told
