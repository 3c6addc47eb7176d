"""Would another runtime be faster? The network's forward pass in each that is installed, with what
it takes to start.

torch alone comes with the requirements; `pip install onnx onnxruntime openvino` adds the others.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data
from torch import Tensor, nn

from detector.faces import cut_square
from detector.pipeline import Detector
from detector.profile import Profile
from detector.types import CROP_PX

# a photo's crop, LIME's batch, a clip's 24 crops and the four of the stability check
BATCHES = (1, 8, 28)
REPEATS = 9

Forward = Callable[[Tensor], NDArray]  # (B, 3, CROP_PX, CROP_PX) in [0, 1] -> (B,) logits


class TensorOutputs(nn.Module):
    """The frames' outputs as plain tensors, which is what exporters take."""

    def __init__(self, network: Any, profile: Profile) -> None:
        super().__init__()
        self.network = network
        self.profile = profile

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = self.network.frames(images, self.profile)
        return out.logit, out.map_logits, out.embedding


def eager(net: nn.Module, bf16: bool) -> Forward:
    def forward(images: Tensor) -> NDArray:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            return net(images.contiguous(memory_format=torch.channels_last))[0].float().numpy()

    return forward


def exported(net: nn.Module, folder: Path) -> Path:
    path = folder / "network.onnx"
    image = torch.zeros(2, 3, CROP_PX, CROP_PX)
    names: dict[str, Any] = {"input_names": ["images"], "dynamic_axes": {"images": {0: "batch"}}}
    torch.onnx.export(net, (image,), str(path), dynamo=False, opset_version=17, **names)
    return path


def onnx_runtime(net: nn.Module, folder: Path) -> Forward:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(
        str(exported(net, folder)), options, providers=["CPUExecutionProvider"]
    )
    return lambda images: session.run(None, {"images": images.contiguous().numpy()})[0]


def open_vino(net: nn.Module, folder: Path) -> Forward:
    import openvino

    core = openvino.Core()
    hints = {"INFERENCE_NUM_THREADS": torch.get_num_threads(), "INFERENCE_PRECISION_HINT": "bf16"}
    compiled = core.compile_model(core.read_model(exported(net, folder)), "CPU", hints)
    return lambda images: compiled([images.contiguous().numpy()])[0]


# name -> package, builder
RUNTIMES: Mapping[str, tuple[str, Callable[[nn.Module, Path], Forward]]] = {
    "torch fp32": ("torch", lambda net, folder: eager(net, False)),
    "torch bf16 (what runs)": ("torch", lambda net, folder: eager(net, True)),
    "torch.compile bf16": ("torch", lambda net, folder: eager(torch.compile(net), True)),  # type: ignore[arg-type]
    "ONNX Runtime fp32": ("onnxruntime", onnx_runtime),
    "OpenVINO bf16": ("openvino", open_vino),
}


def crops_of(detector: Detector, count: int) -> Tensor:
    """(count, 3, CROP_PX, CROP_PX): a built-in face, cut out again and again a little off."""
    x0, y0, x1, y1 = detector.finder.detect_faces(data.astronaut())[0].box_xyxy_px
    cuts = [
        cut_square(data.astronaut(), (x0 + k, y0 - k, x1 + k, y1 - k))[0]
        for k in np.linspace(-9, 9, count)
    ]
    return detector.tensor(np.stack(cuts))


def compare_runtimes(detector: Detector) -> list[dict[str, Any]]:
    """One row per runtime that is installed: seconds to its first answer, ms per crop at each
    batch, and how far its logits lie from those of fp32 at most. The detector is one on the CPU."""
    net = TensorOutputs(detector.network, detector.profiles["image"]).eval()
    images = crops_of(detector, max(BATCHES))
    truth = eager(net, False)(images)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (package, build) in RUNTIMES.items():
            if find_spec(package) is None:
                continue
            began = time.perf_counter()
            forward = build(net, Path(folder))
            row: dict[str, Any] = {
                "runtime": name,
                "off": float(np.abs(forward(images) - truth).max()),
            }
            row["start_s"] = time.perf_counter() - began
            for batch in BATCHES:
                forward(images[:batch])
                laps = []
                for _ in range(REPEATS):
                    lap = time.perf_counter()
                    forward(images[:batch])
                    laps.append(time.perf_counter() - lap)
                row[f"ms_per_crop_{batch}"] = 1000 * float(np.median(laps)) / batch
            rows.append(row)
    return rows
