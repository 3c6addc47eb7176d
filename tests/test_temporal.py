"""Tracks for the temporal head: smooth motion, pairs under one augmentation, and a head that learns
what moves.
"""

import numpy as np
from training_data import picture

from detector.forgery.tracks import animated, forged_pair
from detector.training.shipped import temporal


def test_a_still_face_moves_smoothly() -> None:
    frames = animated(picture(0), 8, np.random.default_rng(0))
    noses = np.array([frame.landmarks_px[2] for frame in frames])
    assert len(frames) == 8 and np.ptp(noses, axis=0).max() > 1
    # no jumps: they would be the flicker to be learnt
    assert np.abs(np.diff(noses, 2, axis=0)).max() < 3


def test_a_pair_of_tracks_differs_inside_the_face_only() -> None:
    frames = animated(picture(0), 4, np.random.default_rng(0))
    authentic, forged = forged_pair(frames, np.random.default_rng(1), augmentation=0.0)
    assert authentic.shape == forged.shape == (4, 224, 224, 3)
    change = np.abs(authentic.astype(int) - forged).mean((0, 3))
    assert change[90:130, 90:130].mean() > 5 * change[:12].mean()


def test_a_head_learns_flicker_that_the_mean_cannot_see() -> None:
    rng = np.random.default_rng(0)

    def track(label: int) -> temporal.TrackFeatures:
        # mean 0 either way
        wave = rng.normal(size=8).astype(np.float32) + label * 3 * (-1.0) ** np.arange(8)
        embeddings = np.repeat(wave[:, None], 4, 1).astype(np.float32)
        return temporal.TrackFeatures(embeddings, np.zeros(8, np.float32), label)

    tracks = [track(k % 2) for k in range(80)]
    head, found = temporal.train_head("gru", tracks[:60], tracks[60:], steps=60)
    assert found["mean"] == 0.5 and found["head"] > 0.9
    assert temporal.compare(head, tracks[60:]) == found
