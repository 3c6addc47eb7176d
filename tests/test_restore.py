import numpy as np
import pytest
import torch
from explain_faces import astronaut, explainer, face_crop

from detector.nets.network import DeepfakeNetwork, NetworkConfig
from explain.restore import compare, noise_residual, sentence

CROP = face_crop(astronaut()).rgb


def test_a_known_error() -> None:
    changed = CROP.copy()
    changed[:112] = np.where(CROP[:112] > 127, CROP[:112] - 10, CROP[:112] + 10)
    found = compare(CROP, changed)
    # half of it off by 10: MSE 50
    assert found.psnr_db == pytest.approx(10 * np.log10(255**2 / 50), abs=1e-6)
    assert found.error.shape == (224, 224) and found.error.dtype == np.float32
    assert found.error[:112].mean() == 10.0 and found.error[112:].max() == 0.0
    assert 0.5 < found.ssim < 1.0


def test_identical_pictures() -> None:
    found = compare(CROP, CROP)
    assert (found.psnr_db, found.ssim) == (100.0, pytest.approx(1.0))


def test_the_untrained_denoiser_gives_the_picture_back() -> None:
    found = explainer().restore(CROP)
    assert found is not None
    np.testing.assert_array_equal(found.restored, CROP)  # it starts as the identity


def test_a_model_without_a_denoiser() -> None:
    torch.manual_seed(0)
    bare = explainer().with_network(DeepfakeNetwork(NetworkConfig(denoiser_widths=())).eval())
    assert bare.restore(CROP) is None


@pytest.mark.parametrize(
    ("psnr", "words"),
    [
        (
            45.0,
            "changed next to nothing: either little was lost when the picture was stored, or it",
        ),
        (36.0, "took off traces of compression"),
        (28.0, "took off much"),
    ],
)
def test_what_it_means(psnr: float, words: str) -> None:
    text = sentence(psnr, 0.9)
    assert words in text
    assert f"PSNR {psnr:.1f} dB, SSIM 0.900" in text
    assert text.endswith("not whether it is forged.")
    assert "nothing to clean" not in text  # JPEG quality 10 stood beside it


def test_noise_residual() -> None:
    flat = np.full((32, 32, 3), 90, np.uint8)
    np.testing.assert_allclose(noise_residual(flat), 0, atol=1e-4)
    flat[16, 16] = 190
    # 1 minus the middle of a 5 x 5 Gaussian of sigma 1: 1 - 0.162 of the 100 grey levels.
    assert noise_residual(flat)[16, 16, 0] == pytest.approx(83.8, abs=0.1)
