"""The lessons on digits: a GAN played step by step, and dense autoencoders."""

import numpy as np
import pytest
import torch

from detector.manifest import SHIPPED
from explain.lab import autoencoder, gan
from explain.lab.autoencoder import Training, holed, noisy, not_digits, pca_error, train
from explain.lab.charts import Line
from explain.lab.digits import digits, split
from explain.lab.gan import Game, recognise, variety
from explain.tabs.curves import curves

STOP = RuntimeError("stopped")


def test_the_digits_are_scikit_learns_and_the_unseen_ones_are_apart():
    assert digits().pictures.shape == (1797, 28, 28)
    assert digits().pictures.min() == 0.0 and digits().pictures.max() == 1.0
    seen, unseen = split()
    assert (len(seen.labels), len(unseen.labels)) == (1437, 360)
    assert set(unseen.labels) == set(range(10))


# ----------------------------------------------------------------------------------------------
# GAN


def test_the_players_have_the_layers_named():
    shapes = [tuple(p.shape) for p in gan.generator().parameters() if p.ndim > 1]
    assert shapes == [(12544, 100), (256, 128, 5, 5), (128, 64, 5, 5), (64, 1, 5, 5)]
    shapes = [tuple(p.shape) for p in gan.discriminator().parameters() if p.ndim > 1]
    assert shapes == [(64, 1, 5, 5), (128, 64, 5, 5), (1, 6272)]
    made = gan.generator()(torch.randn(2, 100))
    assert made.shape == (2, 1, 28, 28) and made.abs().max() <= 1
    assert [m.p for m in gan.discriminator() if isinstance(m, torch.nn.Dropout)] == [0.3, 0.3]


@pytest.fixture(scope="module")
def game() -> Game:
    played = Game(seed=3)
    played.play(4)
    return played


def test_a_game_goes_on_where_it_stood(game):
    assert game.steps == len(game.losses) == 4
    before = Game(seed=3).samples()
    assert before.shape == (36, 28, 28) and before.min() >= 0 and before.max() <= 1
    assert np.abs(game.samples() - before).max() > 0.02
    assert game.samples(40).shape == (40, 28, 28)
    stages = []
    game.play(1, lambda share, stage: stages.append(stage))
    assert stages == ["Step 5", "Done"]


def test_a_game_can_be_stopped(game):
    def stop(share: float, stage: str) -> None:
        raise STOP

    steps = game.steps
    with pytest.raises(RuntimeError, match="stopped"):
        game.play(5, stop)
    assert game.steps == steps


def test_in_a_collapse_only_the_generator_learns(game):
    game.collapse()
    before = [p.clone() for p in game.discriminator.parameters()]
    drawn = [p.clone() for p in game.generator.parameters()]
    game.play(1)
    assert all(
        torch.equal(a, b) for a, b in zip(before, game.discriminator.parameters(), strict=True)
    )
    assert not all(
        torch.equal(a, b) for a, b in zip(drawn, game.generator.parameters(), strict=True)
    )


def test_noise_lies_around_the_points_and_keeps_its_variance() -> None:
    random, points = (
        torch.Generator().manual_seed(0),
        torch.randn(7, 100, generator=torch.Generator().manual_seed(1)),
    )
    noise = gan.draw_noise(500, points, random)
    apart = torch.cdist(noise, (1 - 0.4**2) ** 0.5 * points)
    assert noise.shape == (500, 100) and float(noise.var()) == pytest.approx(1.0, abs=0.05)
    # of a cloud in 100 dimensions
    assert float(apart.min(1).values.mean()) == pytest.approx(0.4 * 10, rel=0.05)
    assert set(apart.argmin(1).tolist()) == set(range(7))
    plain = gan.draw_noise(4, points[:0], torch.Generator().manual_seed(2))
    assert torch.equal(plain, torch.randn(4, 100, generator=torch.Generator().manual_seed(2)))


def test_the_points_are_learnt_with_the_generator() -> None:
    game = Game(seed=1, centres=5)
    before = game.points.detach().clone()
    game.play(1)
    assert game.points.shape == (5, 100) and not torch.equal(before, game.points)


def test_variety_falls_when_samples_repeat():
    some = digits().pictures[:20]
    assert variety(some) > 0.25
    assert variety(np.repeat(some[:1], 20, axis=0)) == pytest.approx(0, abs=1e-6)


def test_real_digits_are_recognised_and_grain_is_not():
    dimmed = recognise(digits().pictures[:30] * 0.95)
    assert (dimmed.labels == digits().labels[:30]).all() and np.median(dimmed.margin) > 2
    grain = recognise(np.random.default_rng(0).random((30, 28, 28)).astype(np.float32))
    assert np.median(grain.margin) < 1.02


@pytest.mark.skipif(
    not (SHIPPED / gan.WEIGHTS).is_file(), reason="the longer run is not shipped in this copy"
)
def test_the_longer_runs_samples_look_like_digits():
    found = recognise(gan.shipped_samples(400, seed=1))
    assert (found.margin > 1.1).mean() >= 0.8
    assert set(found.labels) == set(range(10))
    assert variety(gan.shipped_samples(100, seed=2)) > 0.7 * variety(digits().pictures[:100])


# ----------------------------------------------------------------------------------------------
# autoencoder


def test_the_autoencoder_has_the_layers_named():
    net = autoencoder.dense_autoencoder(32)
    sizes = [m.in_features for m in net.modules() if isinstance(m, torch.nn.Linear)]
    assert sizes == [784, 128, 64, 32, 64, 128]
    with pytest.raises(ValueError, match="code of 2 to 64"):
        autoencoder.dense_autoencoder(1)
    with pytest.raises(ValueError, match="expected a loss"):
        train(8, loss="L3")


@pytest.fixture(scope="module")
def learnt():
    return {code: train(code) for code in (2, 32)}


def test_32_numbers_keep_unseen_digits_better_than_8_linear_ones(learnt):
    unseen = split()[1].pictures
    kept = learnt[32].error(unseen).mean()
    assert kept < pca_error(8)
    assert kept < 0.7 * learnt[2].error(unseen).mean()
    assert learnt[32].losses[-1] < 0.3 * learnt[32].losses[0]


def test_what_is_no_digit_is_rebuilt_badly(learnt):
    odd, names = not_digits()
    assert len(odd) == len(names) == 3
    assert learnt[32].error(odd).min() > np.percentile(learnt[32].error(split()[1].pictures), 95)


def test_a_hole_is_filled(learnt):
    some = split()[1].pictures[:60]
    filled = learnt[32].inpaint(holed(some))
    inside = autoencoder.HOLE
    before, after = (((p - some)[:, inside, inside] ** 2).mean() for p in (holed(some), filled))
    assert after < 0.6 * before
    outside = np.ones((28, 28), bool)
    outside[inside, inside] = False
    assert np.array_equal(filled[:, outside], some[:, outside])


def test_noise_is_taken_off():
    cleaner, some = train(32, task="denoise", steps=600), split()[1].pictures
    grainy = noisy(some, np.random.default_rng(0))
    before, after = ((p - some) ** 2 for p in (grainy, cleaner.rebuild(grainy)))
    assert after.mean() < 0.6 * before.mean()


def test_pictures_with_near_codes_show_the_same_digit(learnt):
    seen, unseen = split()
    hits = []
    for i in range(30):
        nearest = learnt[32].alike(unseen.pictures[i], seen.pictures)
        hits.append((seen.labels[nearest] == unseen.labels[i]).mean())
    assert np.mean(hits) > 0.8


def test_training_goes_on_where_it_stood_and_knows_its_end():
    training = Training(8, total=30)
    for _ in range(20):
        training.step()
    assert (training.steps, len(training.losses), training.done) == (20, 1, False)
    early, some = training.learnt().rebuild(split()[1].pictures[:4]), split()[1].pictures[:4]
    for _ in range(20):
        training.step()
    assert (training.steps, training.done) == (30, True)
    assert np.array_equal(training.learnt().rebuild(some), train(8, steps=30).rebuild(some))
    assert np.abs(training.learnt().rebuild(some) - early).max() > 0.01


def test_curves_say_where_they_stand():
    assert curves([Line("one", [1.0])], "step", "loss") == ""
    drawn = curves([Line("one", [4.0, 2.0, 0.5]), Line("two", [1.0, 1.0, 1.0])], "step", "loss")
    assert 'aria-label="loss by step, now at 2: one 0.5, two 1"' in drawn
    assert drawn.count("<polyline") == 2 and ">4</text>" in drawn  # the y axis holds the highest
    long = curves([Line("one", list(range(1, 5001)))], "step", "loss")
    assert long.split('points="')[1].split('"')[0].count(" ") == 149


def test_the_loss_is_a_choice():
    one, other = (
        train(8, loss, steps=60).rebuild(split()[1].pictures[:4]) for loss in ("MSE", "L1")
    )
    assert np.abs(one - other).max() > 0.05
