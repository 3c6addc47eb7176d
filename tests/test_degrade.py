"""Degradations: each does what its name says, a recipe is repeatable, and what is drawn stays in
the stated ranges.
"""

import inspect
import json
import pickle
from collections import Counter

import numpy as np
import pytest
from skimage.data import astronaut

from detector import degrade
from detector.degrade import OPERATIONS, Step

FACE = np.ascontiguousarray(astronaut()[:256, 96:352])
GREY = np.full((64, 64, 3), 128, np.uint8)


def psnr_db(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def high_frequency_energy(rgb):
    """Power of the luma spectrum above a quarter of the sampling rate."""
    luma = rgb.mean(2)
    power = np.abs(np.fft.fft2(luma - luma.mean())) ** 2
    fy, fx = np.meshgrid(
        np.fft.fftfreq(luma.shape[0]), np.fft.fftfreq(luma.shape[1]), indexing="ij"
    )
    return power[np.hypot(fx, fy) > 0.25].sum()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("size", [(37, 53), (1, 1), (256, 256)])
def test_operation_keeps_shape_type_and_input(name, size):
    picture = np.ascontiguousarray(FACE[: size[0], : size[1]])
    before = picture.copy()
    result = degrade.apply(picture, (Step(name),))
    assert result.shape == (*size, 3)
    assert result.dtype == np.uint8
    assert np.array_equal(picture, before)


@pytest.mark.parametrize("name", OPERATIONS)
def test_registry_agrees_with_the_functions(name):
    signature = inspect.signature(OPERATIONS[name].function).parameters
    for parameter in OPERATIONS[name].parameters:
        assert parameter.name in signature
        own_default = signature[parameter.name].default
        if own_default is not inspect.Parameter.empty and name != "gaussian_blur":
            assert own_default == parameter.default
        if parameter.choices:
            assert parameter.default in parameter.choices
        else:
            assert parameter.low <= parameter.default <= parameter.high


@pytest.mark.parametrize("name", OPERATIONS)
def test_both_ends_of_every_slider_and_every_choice_work(name):
    small = np.ascontiguousarray(FACE[80:144, 80:144])
    for parameter in OPERATIONS[name].parameters:
        values = parameter.choices or (
            type(parameter.default)(parameter.low),
            type(parameter.default)(parameter.high),
        )
        for value in values:
            assert degrade.apply(small, (Step(name, {parameter.name: value}),)).shape == (64, 64, 3)


def test_none_is_the_identity():
    assert degrade.draw_preset("none", np.random.default_rng(0)) == ()
    assert np.array_equal(degrade.apply_preset(FACE, "none", np.random.default_rng(0)), FACE)


def test_jpeg_psnr_falls_with_quality():
    psnr = [psnr_db(degrade.jpeg(FACE, quality), FACE) for quality in (95, 80, 60, 40, 20, 5)]
    assert psnr == sorted(psnr, reverse=True)
    assert psnr[0] > 33 and psnr[-1] < 26


def test_jpeg_subsampling_costs_colour():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2, 0] = 255
    stripes[:, 1::2, 2] = 255
    full, half, quarter = (
        psnr_db(degrade.jpeg(stripes, 95, s), stripes) for s in ("4:4:4", "4:2:2", "4:2:0")
    )
    assert full > 30
    assert half < 15 and quarter < 15


def test_webp_psnr_falls_with_quality():
    assert psnr_db(degrade.webp(FACE, 90), FACE) > psnr_db(degrade.webp(FACE, 20), FACE) + 3


@pytest.mark.parametrize(
    "blurred",
    [
        degrade.gaussian_blur(FACE, kernel_px=5),
        degrade.gaussian_blur(FACE, sigma=1.5),
        degrade.motion_blur(FACE, 9, 30),
        degrade.rescale(FACE, 0.5),
    ],
    ids=["kernel", "sigma", "motion", "rescale"],
)
def test_blurs_remove_high_frequencies(blurred):
    assert high_frequency_energy(blurred) < 0.2 * high_frequency_energy(FACE)
    assert abs(blurred.mean() - FACE.mean()) < 1


def test_motion_blur_follows_its_angle():
    dot = np.zeros((31, 31, 3), np.uint8)
    dot[15, 15] = 255
    flat, upright = degrade.motion_blur(dot, 5, 0), degrade.motion_blur(dot, 5, 90)
    assert flat[15, 13:18, 0].tolist() == [51] * 5
    assert upright[13:18, 15, 0].tolist() == [51] * 5
    assert flat.sum() == upright.sum() == 3 * 255


def test_sharpen_adds_high_frequencies():
    assert high_frequency_energy(degrade.sharpen(FACE, 1.0)) > 1.5 * high_frequency_energy(FACE)
    assert np.array_equal(degrade.sharpen(FACE, 0), FACE)


def test_colour_operations_on_known_values():
    assert degrade.colour_shift(GREY, 10, -20, 200)[0, 0].tolist() == [138, 108, 255]
    assert degrade.brightness_contrast(GREY, brightness=-30)[0, 0].tolist() == [98, 98, 98]
    assert degrade.brightness_contrast(np.full_like(GREY, 28), contrast=0.5)[0, 0].tolist() == [
        78,
        78,
        78,
    ]
    assert degrade.gamma(GREY, 2.0)[0, 0].tolist() == [64, 64, 64]
    red = np.full((2, 2, 3), (200, 50, 50), np.uint8)
    assert degrade.hue_saturation(red, saturation=0)[0, 0].tolist() == [95, 95, 95]
    assert np.array_equal(degrade.hue_saturation(FACE), FACE)
    assert np.argmax(degrade.hue_saturation(red, hue_deg=120)[0, 0]) == 1
    assert degrade.hue_saturation(GREY, hue_deg=77)[0, 0].tolist() == [128, 128, 128]


def test_noise_has_its_sigma_and_follows_its_seed():
    noisy = degrade.noise(GREY, 10, np.random.default_rng(3))
    assert abs((noisy.astype(float) - 128).std() - 10) < 0.5
    assert np.array_equal(noisy, degrade.noise(GREY, 10, 3))
    assert not np.array_equal(noisy, degrade.noise(GREY, 10, 4))


def test_dct_is_orthonormal():
    assert np.allclose(degrade.DCT_8 @ degrade.DCT_8.T, np.eye(8), atol=1e-6)


def test_block_artifacts_break_at_multiples_of_eight():
    ramp = np.repeat(
        np.tile(np.arange(64, dtype=np.uint8)[None, :, None] + 60, (64, 1, 1)), 3, axis=2
    )
    steps = np.abs(np.diff(degrade.block_artifacts(ramp, 4)[20, :, 0].astype(int)))
    at_border = np.arange(1, 64) % 8 == 0
    assert steps[at_border].max() == 8  # one quantisation step of the mean, 4 * 16 / 8
    assert steps[~at_border].max() == 0  # the ramp inside a block falls below half a step
    assert np.array_equal(degrade.block_artifacts(FACE, 0), FACE)
    assert (
        psnr_db(degrade.block_artifacts(FACE, 0.5), FACE)
        > psnr_db(degrade.block_artifacts(FACE, 3), FACE) + 4
    )


def test_chroma_subsampling_keeps_luma():
    luma = np.array([0.299, 0.587, 0.114])
    red_blue = np.zeros((64, 64, 3), np.uint8)
    red_blue[...] = (120, 90, 100)
    red_blue[:, ::2, 0] += 40
    result = degrade.chroma_subsampling(red_blue)
    assert np.abs(result @ luma - red_blue @ luma).max() < 1.5
    assert np.ptp(result[..., 0] - result @ luma) < 0.2 * np.ptp(red_blue[..., 0] - red_blue @ luma)


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("as_p_frame", [False, True])
def test_video_codec_round_trip(codec, as_p_frame):
    odd = FACE[:251, :173]
    good, bad = (degrade.video_codec(odd, codec, crf, "ultrafast", as_p_frame) for crf in (18, 40))
    assert good.shape == bad.shape == odd.shape
    assert psnr_db(good, odd) > 31
    assert psnr_db(bad, odd) < psnr_db(good, odd) - 4
    assert psnr_db(good, odd) > psnr_db(good[:, 1:], odd[:, :-1]) + 5  # not displaced


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_predicted_frames_differ_from_intra_frames(codec):
    intra, predicted = (degrade.video_codec(FACE, codec, 30, "ultrafast", p) for p in (False, True))
    assert np.abs(intra.astype(int) - predicted).mean() > 0.3


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_video_codec_is_silent(codec, capfd):
    degrade.video_codec(FACE, codec, 30, "ultrafast")
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_small_clip_keeps_order_and_count(codec):
    frames = [np.full((33, 47, 3), level, np.uint8) for level in range(20, 240, 20)]
    coded = degrade.video_codec_clip(frames, codec, 23, "ultrafast")
    assert len(coded) == 11
    assert all(
        abs(after.mean() - before.mean()) < 4 for before, after in zip(frames, coded, strict=True)
    )


def test_apply_clip_draws_new_noise_for_every_frame():
    noisy = degrade.apply_clip([GREY, GREY], (Step("noise", {"sigma": 5, "seed": 1}),))
    assert not np.array_equal(noisy[0], noisy[1])
    assert np.array_equal(noisy[0], degrade.noise(GREY, 5, 1))
    coded = degrade.apply_clip([FACE, FACE], (Step("video_codec", {"crf": 35}), Step("jpeg")))
    assert [frame.shape for frame in coded] == [(256, 256, 3)] * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda: degrade.jpeg(FACE, 0),
        lambda: degrade.jpeg(FACE, 101),
        lambda: degrade.jpeg(FACE, 50, "4:1:1"),
        lambda: degrade.webp(FACE, -1),
        lambda: degrade.gaussian_blur(FACE),
        lambda: degrade.gaussian_blur(FACE, kernel_px=4),
        lambda: degrade.gaussian_blur(FACE, sigma=1.0, kernel_px=3),
        lambda: degrade.motion_blur(FACE, 4, 0),
        lambda: degrade.rescale(FACE, 0),
        lambda: degrade.rescale(FACE, 0.5, down="magic"),
        lambda: degrade.sharpen(FACE, -1),
        lambda: degrade.colour_shift(FACE, red=300),
        lambda: degrade.brightness_contrast(FACE, contrast=-1),
        lambda: degrade.gamma(FACE, 0),
        lambda: degrade.hue_saturation(FACE, saturation=-1),
        lambda: degrade.noise(FACE, float("nan"), 0),
        lambda: degrade.block_artifacts(FACE, -0.1),
        lambda: degrade.chroma_subsampling(FACE, "4:4:4:4"),
        lambda: degrade.video_codec(FACE, "av1", 20),
        lambda: degrade.video_codec(FACE, "h264", 52),
        lambda: degrade.video_codec(FACE, "h264", 20, "placebo"),
        lambda: degrade.video_codec_clip([], "h264", 20),
        lambda: degrade.video_codec_clip([FACE, GREY], "h264", 20),
        lambda: Step("melt"),
        lambda: Step("jpeg", {"qality": 50}),
        lambda: Step("jpeg", {"subsampling": "4:0:0"}),
        lambda: degrade.apply(FACE.astype(np.float32), ()),
        lambda: degrade.apply(FACE[..., 0], ()),
        lambda: degrade.draw_preset("extreme", np.random.default_rng(0)),
        lambda: degrade.draw_training(np.random.default_rng(0), 1.1),
    ],
)
def test_bad_parameters_are_refused(call):
    with pytest.raises(ValueError, match=r"\.$"):
        call()


@pytest.mark.parametrize(
    ("severity", "quality", "sigma", "factor", "grain"),
    [
        ("light", (70, 90), (0.3, 0.6), None, None),
        ("medium", (50, 70), (0.8, 1.1), (0.7, 0.9), None),
        ("heavy", (30, 50), (1.1, 1.4), (0.5, 0.7), (5, 15)),
    ],
)
def test_presets_stay_in_and_fill_their_ranges(severity, quality, sigma, factor, grain):
    rng = np.random.default_rng(0)
    drawn = [
        {step.name: step.params for step in degrade.draw_preset(severity, rng)} for _ in range(500)
    ]
    wanted = {
        ("jpeg", "quality"): quality,
        ("gaussian_blur", "sigma"): sigma,
        ("rescale", "factor"): factor,
        ("noise", "sigma"): grain,
    }
    for (name, parameter), limits in wanted.items():
        values = [steps[name][parameter] for steps in drawn if name in steps]
        if limits is None:
            assert values == []
            continue
        low, high = limits
        assert len(values) == 500
        assert low <= min(values) <= low + 0.05 * (high - low)
        assert high - 0.05 * (high - low) <= max(values) <= high


def test_presets_are_ordered_by_damage():
    psnr = [
        np.mean(
            [
                psnr_db(degrade.apply_preset(FACE, s, np.random.default_rng(i)), FACE)
                for i in range(5)
            ]
        )
        for s in ("light", "medium", "heavy")
    ]
    assert psnr[0] > psnr[1] + 1 > psnr[2] + 2


def test_recipe_is_repeatable_and_survives_pickle_and_json():
    for seed in range(30):
        recipe = degrade.draw_training(np.random.default_rng(seed), 1.0)
        assert recipe == degrade.draw_training(np.random.default_rng(seed), 1.0)
        copied = pickle.loads(pickle.dumps(recipe))
        written = json.loads(json.dumps([[step.name, step.params] for step in recipe]))
        assert copied == recipe == tuple(Step(name, params) for name, params in written)
        once, again = degrade.apply(FACE, recipe), degrade.apply(FACE, copied)
        assert np.array_equal(once, again)
        assert once.shape == FACE.shape


def noisy_edge(sigma):
    """60 on the left, 180 on the right, and noise of `sigma` 8-bit levels."""
    step = np.full((40, 40, 3), 60, np.uint8)
    step[:, 20:] = 180
    return np.clip(step + np.random.default_rng(0).normal(0, sigma, step.shape), 0, 255).astype(
        np.uint8
    )


def test_bilateral_smooths_skin_and_keeps_edges():
    noisy = noisy_edge(5)
    smooth = degrade.bilateral(noisy, 30, 3).astype(int)
    assert smooth[:, 5:15].std() < 0.4 * noisy[:, 5:15].std()
    # a Gaussian would give 108, 132
    assert abs(smooth[:, 19].mean() - 60) < 4 and abs(smooth[:, 20].mean() - 180) < 4
    with pytest.raises(ValueError, match="sigma in levels"):
        degrade.bilateral(noisy, 500, 3)


def test_noise_reduction_flattens_noise_and_keeps_edges():
    noisy = noisy_edge(4)
    smooth = degrade.non_local_means(noisy, 8).astype(int)
    assert smooth[:, 5:15].std() < 0.4 * noisy[:, 5:15].std()
    assert abs(smooth[:, 19].mean() - 60) < 4 and abs(smooth[:, 20].mean() - 180) < 4
    with pytest.raises(ValueError, match="strength of noise reduction"):
        degrade.non_local_means(noisy, 50)


def test_median_drops_a_single_bright_point():
    dot = GREY.copy()
    dot[30, 30] = 255
    assert np.array_equal(degrade.median(dot, 3), GREY)
    with pytest.raises(ValueError, match="must be odd"):
        degrade.median(dot, 4)


def test_vignette_leaves_the_centre_and_darkens_corners_by_its_amount():
    flat = np.full((101, 101, 3), 200, np.uint8)
    dark = degrade.vignette(flat, 0.5)
    assert dark[50, 50, 0] == 200
    assert dark[0, 0, 0] == dark[100, 100, 0] == 100
    assert dark[0, 50, 0] == 150


def test_training_frequencies():
    rng = np.random.default_rng(1)
    recipes = [degrade.draw_training(rng, 1.0) for _ in range(4000)]
    share = {
        name: count / 4000
        for name, count in Counter(
            n for recipe in recipes for n in {s.name for s in recipe}
        ).items()
    }
    codecs = Counter(
        s.params["codec"] for recipe in recipes for s in recipe if s.name == "video_codec"
    )
    assert share["jpeg"] == pytest.approx(0.6, abs=0.03)
    assert codecs["h264"] / 4000 == pytest.approx(0.4, abs=0.03)
    assert codecs["h265"] / 4000 == pytest.approx(0.08, abs=0.015)
    assert sum(recipe == () for recipe in recipes) / 4000 == pytest.approx(0.11, abs=0.03)
    assert set(share) == set(OPERATIONS)


def test_retouches_are_one_step_or_none():
    rng = np.random.default_rng(4)
    recipes = [degrade.draw_retouch(rng) for _ in range(2000)]
    kinds = Counter(recipe[0].name if recipe else "" for recipe in recipes)
    assert max(len(recipe) for recipe in recipes) == 1
    shares = {
        "": 0.3,
        "rescale": 0.2,
        "gaussian_blur": 0.1,
        "sharpen": 0.1,
        "noise": 0.05,
        "vignette": 0.05,
    }
    shares |= {"bilateral": 0.11, "non_local_means": 0.05, "median": 0.04}
    assert {name: count / 2000 for name, count in kinds.items()} == pytest.approx(shares, abs=0.03)


def test_training_ranges():
    rng = np.random.default_rng(2)
    steps = [step for _ in range(3000) for step in degrade.draw_training(rng, 1.0)]
    quality = [s.params["quality"] for s in steps if s.name == "jpeg"]
    crf = [s.params["crf"] for s in steps if s.name == "video_codec"]
    factor = [s.params["factor"] for s in steps if s.name == "rescale"]
    assert (min(quality), max(quality)) == (35, 98)
    assert (min(crf), max(crf)) == (18, 38)
    assert 0.4 <= min(factor) < 0.42 and 0.93 < max(factor) <= 0.95


def test_strength_scales_damage():
    rng = np.random.default_rng(3)
    assert all(degrade.draw_training(rng, 0.0) == () for _ in range(200))
    mild = [step for _ in range(1000) for step in degrade.draw_training(rng, 0.3)]
    full = [step for _ in range(1000) for step in degrade.draw_training(rng, 1.0)]
    assert len(mild) < 0.4 * len(full)
    assert min(s.params["quality"] for s in mild if s.name == "jpeg") >= 79
    assert max(s.params["crf"] for s in mild if s.name == "video_codec") <= 24


def test_describe_in_plain_words():
    assert degrade.describe(()) == "unchanged"
    recipe = (
        Step("rescale", {"factor": 0.7}),
        Step("noise", {"sigma": 5.0}),
        Step("jpeg", {"quality": 50}),
    )
    assert degrade.describe(recipe) == (
        "shrunk to 70% (area) and enlarged back (bilinear), then noise of sigma 5, "
        "then JPEG at quality 50 (4:2:0)"
    )
    assert Step("jpeg", {"quality": 50.0}) == Step("jpeg", {"quality": 50})
    assert all("{" not in degrade.describe((Step(name),)) for name in OPERATIONS)
