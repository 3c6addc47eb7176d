"""How fast, stage by stage, and how much faster than the baseline.

Each input is measured in a process of its own, so that its peak memory and its number of threads
are its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch.utils.flop_counter import FlopCounterMode

from detector.decoding import decode
from detector.faces import cut_square, people_of
from detector.media import DEFAULT_FRAMES, open_media
from detector.pipeline import Detector
from detector.predictions import Predictions
from detector.types import CROP_PX, Analysis, FaceTrack, Kind
from explain.explainer import Explainer
from explain.pipeline import explain_face
from explain.ranks import rank_correlation
from explain.speed.baseline import baseline_lime, run_baseline
from explain.speed.clock import Clock, peak_memory
from explain.speed.floor import floor_s
from explain.speed.inputs import INPUTS

Rgb = NDArray[np.uint8]
Row = dict[str, Any]

STAGES = (
    "start",
    "first",
    "open",
    "decode",
    "detect",
    "track",
    "crop",
    "embed",
    "clip",
    "temporal",
    "explain",
    "LIME",
    "total",
)
# side of the square matrices of the multiplication: large enough to be bound by arithmetic
MATMUL = 2048


def ours(
    path: Path, detector: Detector, repeats: int, clock: Clock
) -> tuple[Analysis, dict[str, int]]:
    """Time every stage and the whole; return an analysis and how many things each stage handles."""
    start = time.perf_counter()
    analysis = detector.analyze(path)
    clock.laps["first"].append(time.perf_counter() - start)
    for _ in range(repeats):
        with clock.lap("total"):
            analysis = detector.analyze(path)
        start = time.perf_counter()
        frames = open_media(path, DEFAULT_FRAMES).frames
        opened = time.perf_counter() - start
        with clock.lap("decode"):
            decode(path, DEFAULT_FRAMES)
        # in an analysis a child does it, whose processor time is not this process's
        clock.cpu_laps["total"][-1] += clock.cpu_laps["decode"][-1]
        # hash, child process, handing over
        clock.laps["open"].append(max(0.0, opened - clock.laps["decode"][-1]))
        with clock.lap("detect"):
            found = detector.finder.detect(frames)
        start = time.perf_counter()
        tracks = people_of(found, frames).tracks
        linked = time.perf_counter() - start
        pictures = {frame.index: frame.rgb for frame in frames}
        with clock.lap("crop"):
            for track in tracks:
                for crop in track.crops:
                    cut_square(pictures[crop.frame_index], crop.box_xyxy_px)
        clock.laps["track"].append(max(0.0, linked - clock.laps["crop"][-1]))
        with clock.lap("embed"):
            scored = _embedded(detector, tracks, analysis.media.kind)
        with clock.lap("clip"):
            detector.clip_of_tracks(tracks, detector.profiles[analysis.media.kind])
        with clock.lap("temporal"):
            for one in scored:
                detector.track_logit(one)
    crops = sum(len(track.crops) for track in tracks)
    handled = dict.fromkeys(("open", "decode", "detect", "track"), len(frames)) | {
        "crop": crops,
        "embed": crops,
    }
    return analysis, handled


def _embedded(detector: Detector, tracks: Sequence[FaceTrack], kind: Kind) -> list[Predictions]:
    return [
        detector.predict(np.stack([crop.rgb for crop in track.crops]), kind=kind)
        for track in tracks
    ]


def floors_s(analysis: Analysis, detector: Detector) -> dict[str, float]:
    """Processor seconds of the products alone, of each stage that networks do; see `floor_s`."""
    frames = analysis.media.frames
    kind = analysis.media.kind
    tracks = [face.track for face in analysis.faces]
    stages: dict[str, Callable[[], object]] = {
        "detect": lambda: detector.finder.detect(frames),
        "embed": lambda: _embedded(detector, tracks, kind),
        "clip": lambda: detector.clip_of_tracks(tracks, detector.profiles[kind]),
    }
    return {stage: floor_s(work) for stage, work in stages.items()}


def gflop_per_crop(detector: Detector) -> float:
    """Floating-point operations of the network for one crop, in 10^9: two per multiply-add. The
    same on any machine.
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        crop = detector.tensor(np.zeros((1, CROP_PX, CROP_PX, 3), np.uint8))
        detector.network.frames(crop, detector.profiles["image"])
    return counter.get_total_flops() / 1e9


def matmul_gflops(device: torch.device) -> float:
    """10^9 operations per second of a bf16 matrix product on the same device: what can be had
    at best.
    """
    a = torch.ones(MATMUL, MATMUL, dtype=torch.bfloat16, device=device)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * MATMUL**3 / best / 1e9


@dataclass(frozen=True)
class Task:
    name: str  # of the input
    path: Path
    threads: int
    repeats: int
    baseline: bool
    device: str
    model: str | None


def measure(task: Task) -> list[Row]:
    """All rows of one input at one number of threads; called in a fresh process."""
    torch.set_num_threads(task.threads)
    cv2.setNumThreads(task.threads)
    clock = Clock()
    peak_mb = list[float]()
    detector = Detector(task.model, task.device)
    clock.laps["start"].append(time.time() - psutil.Process().create_time())
    is_clip = INPUTS[task.name].seconds > 0
    correlation = None
    with peak_memory(peak_mb):
        analysis, handled = ours(task.path, detector, task.repeats, clock)
        if not is_clip:  # explanations are of one crop, and cost the same in a clip
            crop = analysis.faces[0].track.crops[0].rgb
            explainer = Explainer(detector, "image")
            with clock.lap("explain"):
                explain_face(explainer, analysis)
            with clock.lap("LIME"):
                weights = explainer.explain_regions(crop).weights
    rows = _rows(task, "ours", clock, handled, peak_mb[0])
    floors = floors_s(analysis, detector)
    for row in rows:
        if row["stage"] in floors:
            row["floor_ms"] = 1000 * floors[row["stage"]]
    per_crop = gflop_per_crop(detector)
    seconds = float(np.median(clock.laps["embed"]))
    share = per_crop * handled["embed"] / seconds / matmul_gflops(detector.device)
    rows[-1] |= {"gflop_per_crop": per_crop, "share_of_matmul": share}
    if task.baseline:
        clock = Clock()
        with peak_memory(peak_mb):
            run_baseline(task.path, is_clip, detector, clock)
            if not is_clip:
                with clock.lap("LIME"):
                    theirs = baseline_lime(detector, crop)
                correlation = rank_correlation(weights, theirs)
        baseline_rows = _rows(task, "baseline", clock, {}, peak_mb[1])
        # of one thread the processor time tells the same, and other work disturbs it less
        measured = "cpu_ms" if task.threads == 1 else "median_ms"
        slower = {row["stage"]: row[measured] for row in baseline_rows}
        for row in rows:
            if row["stage"] in slower and row[measured]:
                row["times_faster"] = slower[row["stage"]] / row[measured]
            if row["stage"] == "LIME":
                row["rank_correlation"] = correlation
        rows += baseline_rows
    return rows


def _rows(
    task: Task, method: str, clock: Clock, handled: Mapping[str, int], peak_mb: float
) -> list[Row]:
    rows = []
    for stage in sorted(clock.laps, key=STAGES.index):
        seconds = np.array(clock.laps[stage])
        median = float(np.median(seconds))
        rows.append(
            {
                "input": task.name,
                "threads": task.threads,
                "method": method,
                "stage": stage,
                "median_ms": 1000 * median,
                "p95_ms": 1000 * float(np.percentile(seconds, 95)),
                "cpu_ms": 1000 * float(np.median(cpu)) if (cpu := clock.cpu_laps[stage]) else None,
                # frames, crops, or runs of the stage
                "per_s": handled.get(stage, 1) / max(median, 1e-9),
            }
        )
    rows[-1]["peak_mb"] = peak_mb
    return rows


def draw_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, one line per stage; empty where a figure makes no sense."""
    columns = {
        "input": "",
        "threads": "",
        "method": "",
        "stage": "",
        "median_ms": ".1f",
        "p95_ms": ".1f",
        "cpu_ms": ".1f",
        "per_s": ".1f",
        "floor_ms": ".1f",
    }
    columns |= {
        "peak_mb": ".0f",
        "times_faster": ".1f",
        "rank_correlation": ".2f",
        "gflop_per_crop": ".2f",
    }
    columns |= {"share_of_matmul": ".2f"}
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    for row in rows:
        cells = [
            "" if row.get(name) is None else format(row[name], form)
            for name, form in columns.items()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
