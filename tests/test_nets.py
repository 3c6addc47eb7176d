"""The networks' shapes and promises."""

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import nn

from detector.decide import sharpness
from detector.nets.autoencoder import DenoisingAutoencoder
from detector.nets.embedder import NoiseResidual, build_embedder
from detector.nets.network import (
    DeepfakeNetwork,
    FrameHead,
    GlobalBranch,
    NetworkConfig,
    log_sharpness,
    low_pass,
)
from detector.nets.temporal import TEMPORAL_HEADS, build_temporal, masked_mean
from detector.profile import Profile, SharpnessCalibration


def test_one_object_gives_logit_map_embedding_and_reconstruction() -> None:
    net = DeepfakeNetwork(NetworkConfig(denoiser_widths=(8, 8, 8, 8, 8))).eval()
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode():
        out = net.frames(images)
        logit, reconstruction = net(images, return_reconstruction=True)
    assert out.logit.shape == (2,)
    assert out.map_logits is not None and out.map_logits.shape == (2, 28, 28)
    assert out.embedding.shape == (2, 512)
    assert torch.equal(logit, out.logit)
    assert reconstruction.shape == (2, 3, 224, 224)
    assert float(reconstruction.min()) >= 0 and float(reconstruction.max()) <= 1


def test_shipped_shape_stays_small() -> None:
    net = DeepfakeNetwork()
    detector_half = sum(
        p.numel() for n, p in net.named_parameters() if not n.startswith("denoiser.")
    )
    denoiser = sum(p.numel() for p in net.denoiser.parameters())
    assert 1_700_000 < detector_half < 2_000_000  # fp16: under 4 MB
    assert denoiser < 4_900_000  # fp16: under 10 MB


@pytest.mark.parametrize(("option", "gone"), [("use_noise", "noise"), ("use_map", "map_head")])
def test_ablations_leave_a_part_out(option: str, gone: str) -> None:
    net = DeepfakeNetwork(
        NetworkConfig(embedder_options={option: False}, denoiser_widths=())
    ).eval()
    assert getattr(net.embedder, gone) is None
    with torch.inference_mode():
        assert net(torch.rand(1, 3, 224, 224)).shape == (1,)


def test_the_documents_embedder_has_the_documents_shape() -> None:
    net = build_embedder("resilient").eval()
    with torch.inference_mode():
        features = net(torch.rand(2, 3, 224, 224))
    assert features.embedding.shape == (2, 512) and features.map_logits is None
    first, noise_first = net.rgb.blocks[0], net.noise.blocks[0]
    assert isinstance(first[2], torch.nn.SiLU) and isinstance(noise_first[2], torch.nn.ReLU)
    assert [b[0].out_channels for b in net.rgb.blocks] == [32, 64, 128, 256]


def test_unknown_names_are_said() -> None:
    with pytest.raises(ValueError, match="No frame embedder is called 'resnet-9000'"):
        build_embedder("resnet-9000")
    with pytest.raises(ValueError, match="No temporal head is called 'hourglass'"):
        build_temporal("hourglass", 8)


def test_noise_residual_of_a_flat_picture_is_zero_and_of_a_dot_is_not() -> None:
    residual = NoiseResidual(gain=1.0)
    flat = torch.full((1, 3, 32, 32), 0.5)
    assert float(residual(flat).abs().max()) < 1e-6
    flat[:, :, 16, 16] = 1.0
    out = residual(flat)
    assert float(out[0, 0, 16, 16]) > 0.3
    assert abs(float(out.mean())) < 1e-6  # a high-pass filter keeps no mean


def test_frame_head_sees_a_small_forged_place() -> None:
    head = FrameHead(4, use_map=True)
    with torch.no_grad():
        head.out.weight.copy_(torch.tensor([[0, 0, 0, 0, 1.0, 0]]))
        head.out.bias.zero_()
    quiet = torch.full((1, 28, 28), -4.0)
    mouth = quiet.clone()
    mouth[:, 18:22, 12:16] = 4.0  # 16 of 784 cells
    embedding = torch.zeros(1, 4)
    assert head(embedding, quiet).item() == pytest.approx(-4.0)
    assert head(embedding, mouth).item() == pytest.approx(4.0)


@pytest.mark.parametrize("name", sorted(TEMPORAL_HEADS))
def test_padding_cannot_change_the_score(name: str) -> None:
    torch.manual_seed(0)
    head = build_temporal(name, 16).eval()
    embeddings, logits = torch.randn(2, 5, 16), torch.randn(2, 5)
    mask = torch.ones(2, 5, dtype=torch.bool)
    with torch.inference_mode():
        plain = head(embeddings, logits, mask)
        padded_e = torch.cat([embeddings, torch.full((2, 3, 16), 99.0)], dim=1)
        padded_l = torch.cat([logits, torch.full((2, 3), -99.0)], dim=1)
        padded_m = torch.cat([mask, torch.zeros(2, 3, dtype=torch.bool)], dim=1)
        behind = head(padded_e, padded_l, padded_m)
        before = head(padded_e.flip(1), padded_l.flip(1), padded_m.flip(1))
        reversed_plain = head(embeddings.flip(1), logits.flip(1), mask)
    assert torch.allclose(plain, behind, atol=1e-5)
    assert torch.allclose(before, reversed_plain, atol=1e-5)


def test_masked_mean_counts_real_frames_only() -> None:
    values = torch.tensor([[1.0, 3.0, 100.0]])
    assert float(masked_mean(values, torch.tensor([[True, True, False]]))) == 2.0


def test_the_denoiser_starts_as_the_identity_and_the_documents_one_has_a_7x7_latent() -> None:
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(DenoisingAutoencoder((8, 8, 8, 8, 8)).eval()(images), images)
        theirs = DenoisingAutoencoder(skips=False).eval()
        assert theirs.encode(images)[-1].shape == (1, 256, 7, 7)
        assert theirs(images).shape == (1, 3, 224, 224)


def test_where_the_whole_map_is_lit_the_global_branch_counts() -> None:
    plain, head = FrameHead(4, True), FrameHead(4, True, GlobalBranch(0.5, 1.0))
    head.load_state_dict(plain.state_dict())
    embedding, half_lit, lit = (
        torch.zeros(1, 4),
        torch.full((1, 28, 28), -40.0),
        torch.full((1, 28, 28), 30.0),
    )
    half_lit[:, :14] = 30.0
    with torch.inference_mode():
        assert float(head(embedding, half_lit)) == pytest.approx(
            float(plain(embedding, half_lit)), abs=1e-4
        )
        plain.out.weight.zero_(), head.out.weight.zero_()
        plain.out.bias.fill_(-3), head.out.bias.fill_(-3)
        assert float(plain(embedding, lit)) == -3
        assert float(head(embedding, lit)) == pytest.approx(0.5 * 30 + 1, abs=1e-4)


def test_the_low_pass_view_keeps_the_shading_and_loses_the_detail() -> None:
    ramp = torch.linspace(0, 1, 224).expand(1, 3, 224, 224)
    seen = low_pass(ramp)
    assert seen.shape == (1, 3, 176, 176)
    assert torch.allclose(
        seen[0, 0, 0, 3:-3], torch.linspace(0.5, 175.5, 176)[3:-3] / 176, atol=0.01
    )
    stripes = (torch.arange(224) // 2 % 2).float().expand(1, 3, 224, 224)
    assert float(low_pass(stripes).std()) < 0.3 * float(stripes.std())


def test_a_view_without_a_residual_is_that_of_a_picture_that_has_none() -> None:
    torch.manual_seed(0)
    network = DeepfakeNetwork(NetworkConfig(denoiser_widths=())).eval()
    flat = torch.tensor([0.2, 0.5, 0.7])[None, :, None, None].expand(2, -1, 224, 224)
    with torch.inference_mode():
        for norm in (m for m in network.embedder.noise.modules() if isinstance(m, nn.BatchNorm2d)):
            # or the response to a zero residual would be zero, and any other were right
            norm.bias.uniform_(-1, 1)
        with_noise, without = network.embedder(flat), network.embedder(flat, residual=False)
        other = network.embedder(torch.rand(2, 3, 224, 224), residual=False)
    middle = slice(6, 22)  # of the 28 cells: away from the borders
    assert torch.allclose(
        without.map_logits[:, middle, middle], with_noise.map_logits[:, middle, middle], atol=1e-4
    )
    assert not torch.allclose(other.map_logits, without.map_logits, atol=1e-2)


def test_the_low_pass_view_has_its_weight_in_logit_and_map() -> None:
    torch.manual_seed(0)
    network = DeepfakeNetwork(NetworkConfig(denoiser_widths=())).eval()
    with torch.inference_mode():
        images = torch.rand(2, 3, 224, 224)
        full = network.frames(images)
        mixed = network.frames(images, Profile(low_pass_weight=0.5, low_pass_map_weight=0.25))
        seen = network.embedder(low_pass(images), residual=False)
        low_logit = network.frame_head(seen.embedding, seen.map_logits)
        alone = network.frames(images, Profile())
    assert torch.allclose(mixed.logit, 0.5 * full.logit + 0.5 * low_logit, atol=1e-5)
    assert mixed.map_logits.shape == (2, 28, 28) and seen.map_logits.shape == (2, 22, 22)
    mean = 0.75 * full.map_logits.mean() + 0.25 * seen.map_logits.mean()
    assert float(mixed.map_logits.mean()) == pytest.approx(float(mean), abs=1e-3)
    assert torch.equal(mixed.embedding, full.embedding)
    assert torch.equal(alone.logit, full.logit) and torch.equal(alone.map_logits, full.map_logits)


def test_the_sharpness_calibration_by_hand() -> None:
    calibration = SharpnessCalibration(2.0, 0.5, -0.25, 1.0)
    logits, detail = [4.0, 4.0, 4.0, -2.0, 4.0], [2.0, 1.0, 0.2, 1.5, 3.0]
    for array in (torch.tensor, np.array):
        found = calibration.apply(array(logits), array(detail))
        assert found.tolist() == [4.0, 5.75, 5.75, -2.625, 4.0]


def test_the_logit_is_calibrated_at_the_crops_own_sharpness() -> None:
    torch.manual_seed(0)
    calibration = SharpnessCalibration(4.0, 0.3, 0.4, 0.5)
    network = DeepfakeNetwork(NetworkConfig(denoiser_widths=())).eval()
    plain, calibrated = Profile(0.5), Profile(0.5, sharpness=calibration)
    photo = astronaut()[:224, 100:324]
    crops = [photo, cv2.GaussianBlur(photo, (0, 0), 3.0)]
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2) / 255
    detail = log_sharpness(images)
    assert detail.tolist() == pytest.approx(np.log1p([sharpness(crop) for crop in crops]), abs=0.02)
    with torch.inference_mode():
        before, after = (network.frames(images, profile) for profile in (plain, calibrated))
    assert torch.allclose(after.logit, calibration.apply(before.logit, detail), atol=1e-5)
    assert torch.equal(after.map_logits, before.map_logits)
    assert torch.equal(after.embedding, before.embedding)
