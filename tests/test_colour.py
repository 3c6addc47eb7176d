"""HDR, wide gamuts and untagged clips: what comes out is the sRGB picture that went in."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from test_decide import analysis
from test_turning import media

from detector.decoding import colour, decode
from detector.decoding.colour import HLG, PQ, to_srgb
from detector.decoding.common import HDR
from detector.media import open_media
from detector.pipeline import Detector
from detector.types import Label

BT709, BT2020, UNSPECIFIED, BT2020_SDR = 1, 9, 2, 14
MATRIX = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}  # weights of red, of blue
# BT.709 primaries in terms of those of BT.2020, as ITU-R BT.2087 prints them
TO_BT2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])


def patches() -> NDArray[np.uint8]:
    """(64, 96, 3) uint8: greys, skin and colours, 16 px each, so that no chroma is shared."""
    colours = [
        (0, 0, 0), (30, 30, 30), (90, 90, 90), (160, 160, 160), (220, 220, 220), (240, 240, 240),
        (224, 172, 105), (141, 85, 36), (198, 134, 66), (255, 219, 172), (80, 50, 35),
        (160, 90, 75),
        (200, 30, 30), (30, 160, 40), (40, 60, 190), (200, 180, 40), (30, 170, 180), (180, 50, 160),
        (120, 120, 130), (60, 70, 60), (140, 120, 110), (100, 90, 160), (60, 130, 110),
        (170, 200, 90),
    ]  # fmt: skip
    rows = np.array(colours, np.uint8).reshape(4, 6, 3)
    return rows.repeat(16, 0).repeat(16, 1)


def linear(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    v = rgb / 255.0
    return np.where(v <= 0.04045, v / 12.92, ((v + 0.055) / 1.055) ** 2.4)


def as_pq(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """SMPTE ST 2084, paper white at 203 cd/m2."""
    y = (light * 203 / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def as_hlg(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """ITU-R BT.2100 for a display of 1,000 cd/m2, paper white at 203."""
    display = light * 0.203
    luminance = np.maximum(display @ np.array([0.2627, 0.6780, 0.0593]), 1e-9)[..., None]
    scene = display * luminance ** (1 / 1.2 - 1)
    upper = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), upper)


def as_sdr(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def write(
    path: Path,
    signal: NDArray[np.float64],
    transfer: int,
    primaries: int,
    matrix: int,
    tagged: bool = True,
    full: bool = False,
) -> Path:
    """Two frames of a signal in [0, 1], ten bits, no loss, by a matrix that may stay unsaid."""
    red, blue = MATRIX[matrix]
    luma = signal @ np.array([red, 1 - red - blue, blue])
    chroma = [
        ((signal[..., at] - luma) / (2 * (1 - part))).reshape(len(luma) // 2, 2, -1, 2).mean((1, 3))
        for at, part in ((2, blue), (0, red))
    ]
    low, scale, of_chroma = (0, 1023, 1023) if full else (64, 876, 896)
    with av.open(path, "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = luma.shape
        stream.pix_fmt = "yuv420p10le"
        codec = stream.codec_context
        codec.color_trc, codec.color_primaries = transfer, primaries
        codec.colorspace = matrix if tagged else UNSPECIFIED
        codec.color_range = 2 if full else 1
        for _ in range(2):
            frame = av.VideoFrame(luma.shape[1], luma.shape[0], "yuv420p10le")
            planes = [scale * luma + low, *(of_chroma * c + 512 for c in chroma)]
            for plane, values in zip(frame.planes, planes, strict=True):
                padded = np.zeros((plane.height, plane.line_size // 2), "<u2")
                padded[:, : values.shape[1]] = np.clip(np.rint(values), 0, 1023)
                plane.update(padded.tobytes())
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def off_by(path: Path, expected: NDArray[np.uint8]) -> float:
    """By how many grey levels the middles of the patches are off, at most."""
    found = decode(path, 1).frames[0].rgb.astype(int)
    return float(np.abs(found - expected)[8::16, 8::16].max())


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("encode", "transfer"), [(as_pq, PQ), (as_hlg, HLG), (as_sdr, BT2020_SDR)])
def test_hdr_and_wide_gamuts_become_the_srgb_they_were_made_from(
    tmp_path: Path, encode, transfer: int, full: bool
) -> None:
    light = linear(patches()) @ TO_BT2020.T
    path = write(tmp_path / "a.mkv", encode(light), transfer, BT2020, 9, full=full)
    assert off_by(path, patches()) <= 5


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_what_is_brighter_than_paper_is_compressed_in_order(transfer: int) -> None:
    levels = np.linspace(0, 65535, 200).astype(np.uint16)
    ramp = np.repeat(levels[None, :, None], 3, axis=2)
    grey = to_srgb(ramp, transfer, BT2020)[0, :, 0].astype(int)
    assert np.all(np.diff(grey) >= 0)
    assert (grey[0], grey[-1]) == (0, 255)
    white = int(as_pq(np.ones(1))[0] * 65535) if transfer == PQ else 49_151  # paper white
    paper = to_srgb(np.full((1, 1, 3), white, np.uint16), transfer, BT2020)[0, 0, 0]
    assert 245 <= paper <= 253


def test_hdr_in_bt709_primaries(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", as_pq(linear(patches())), PQ, BT709, 1)
    assert off_by(path, patches()) <= 5


@pytest.mark.parametrize(
    ("height", "width", "matrix"), [(720, 1280, 1), (1280, 720, 1), (480, 640, 6)]
)
def test_an_untagged_clip_is_bt709_in_hd_and_bt601_below(
    tmp_path: Path, height: int, width: int, matrix: int
) -> None:
    skin = np.full((height, width, 3), (224, 120, 60), np.uint8)
    path = write(tmp_path / "a.mkv", skin / 255.0, UNSPECIFIED, UNSPECIFIED, matrix, tagged=False)
    assert off_by(path, skin) <= 3


@pytest.mark.parametrize("matrix", [1, 6])
def test_a_tagged_clip_is_read_by_its_tag(tmp_path: Path, matrix: int) -> None:
    path = write(tmp_path / "a.mkv", patches() / 255.0, BT709, BT709, matrix)
    assert off_by(path, patches()) <= 5


def test_ordinary_clips_are_not_converted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = write(tmp_path / "a.mkv", patches() / 255.0, BT709, BT709, 1)
    monkeypatch.setattr(colour, "to_srgb", None)
    found = decode(path, 1)
    assert found.frames[0].rgb.shape == (64, 96, 3)
    assert HDR not in found.notes and not found.hdr


@pytest.mark.parametrize(("encode", "transfer"), [(as_pq, PQ), (as_hlg, HLG)])
def test_hdr_is_said_and_lowers_the_certainty(tmp_path: Path, encode, transfer: int) -> None:
    path = write(tmp_path / "a.mkv", encode(linear(patches()) @ TO_BT2020.T), transfer, BT2020, 9)
    found = open_media(path, 2)
    assert found.hdr
    assert found.notes == (
        "The colours are HDR's: they were converted for ordinary screens, which makes scores less "
        "sure.",
    )
    sdr = write(tmp_path / "b.mkv", as_sdr(linear(patches()) @ TO_BT2020.T), BT2020_SDR, BT2020, 9)
    assert not open_media(sdr, 2).hdr


def test_a_forged_answer_on_an_hdr_clip_needs_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same frames, once tagged as HDR's: .73 to .98 is no answer there."""
    detector = Detector.untrained()
    face = analysis(0.9, Label.FORGED, frames=3)
    monkeypatch.setattr(detector, "judge_tracks", lambda *_, **__: (face,))
    labels = []
    for hdr in (False, True):
        clip = replace(media(np.zeros((64, 64, 3), np.uint8), 0.0, 0.1, 0.2), hdr=hdr)
        labels.append(detector.analyze_media(clip).verdict.label)
    assert labels == ["forged", "uncertain"]
