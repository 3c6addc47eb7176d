"""How fast, stage by stage, and against the plain way of doing the same, on clips made on the spot.

`--reference` takes the way of the documents that this project grew from: OpenCV decodes every
frame, MTCNN searches the sampled ones at full size one by one, the network sees one crop at a time
in fp32, short clips are padded with black frames, and LIME takes 1000 samples in batches of 10.
Each input is measured in a process of its own, so that its peak memory and its number of threads
are its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import psutil
import torch
from lime.lime_image import LimeImageExplainer
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from PIL import Image
from skimage import data
from torch.utils.flop_counter import FlopCounterMode

from detector.benchmark.accuracy import write_rows
from detector.faces import cut_square, tracks_of
from detector.media import decode, open_media, write_video
from detector.pipeline import DEFAULT_FRAMES, Detector
from detector.types import Analysis
from explain.pipeline import explain_face
from explain.ranks import rank_correlation
from explain.regions import explain_regions, superpixels

Rgb = NDArray[np.uint8]
Row = dict[str, Any]
Laps = dict[str, list[float]]  # stage -> seconds, one per repeat

FPS = 30
# longer clips are this many seconds over and over: encoding takes longer than all the measuring
LOOP_S = 10
LIME_SAMPLES, LIME_BATCH = 1000, 10  # of the reference
STAGES = (
    "start",
    "first",
    "open",
    "decode",
    "detect",
    "track",
    "crop",
    "embed",
    "temporal",
    "explain",
    "LIME",
    "total",
)
# side of the square matrices of the plain multiplication: large enough to be bound by arithmetic
MATMUL = 2048


@dataclass(frozen=True)
class Input:
    """What is measured; a photo has no seconds."""

    width: int
    height: int
    faces: int
    seconds: int = 0


INPUTS = {
    "photo-12mp": Input(4000, 3000, 1),
    "clip-10s-720p": Input(1280, 720, 1, 10),
    "clip-10s-720p-4-faces": Input(1280, 720, 4, 10),
    "clip-60s-1080p": Input(1920, 1080, 1, 60),
    "clip-600s-1080p": Input(1920, 1080, 1, 600),  # not by default: for the growth with length
}
DEFAULT_INPUTS = [name for name in INPUTS if name != "clip-600s-1080p"]


# -------------------------------------------------------------------------------------------------------
# inputs


def write_input(name: str, folder: Path) -> Path:
    """Write an input unless it is there; return its path. Two public-domain faces, slowly moving,
    under noise.
    """
    spec = INPUTS[name]
    path = folder / (f"{name}.mp4" if spec.seconds else f"{name}.jpg")
    if path.exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"part-{path.name}")
    if spec.seconds > LOOP_S:
        loop = path.with_name(f"loop-{path.name}")
        write_video(loop, _frames(replace(spec, seconds=LOOP_S)), FPS)
        _repeat(loop, unfinished, spec.seconds // LOOP_S)
        loop.unlink()
    elif spec.seconds:
        write_video(unfinished, _frames(spec), FPS)
    else:
        Image.fromarray(next(_frames(spec))).save(unfinished, quality=92)
    unfinished.rename(path)
    return path


def _repeat(clip: Path, path: Path, times: int) -> None:
    """Write the clip so many times over into one file, without encoding it again."""
    with av.open(path, "w") as container:
        stream = None
        for number in range(times):
            with av.open(clip) as source:
                video = source.streams.video[0]
                stream = stream or container.add_stream_from_template(video)
                for packet in source.demux(video):
                    # the end marker
                    if packet.pts is None or packet.dts is None or video.duration is None:
                        continue
                    packet.pts += number * video.duration
                    packet.dts += number * video.duration
                    packet.stream = stream
                    container.mux(packet)


def _frames(spec: Input) -> Iterator[Rgb]:
    hopper = Image.open(str(get_sample_data("grace_hopper.jpg", asfileobj=False))).convert("RGB")
    people = [data.astronaut(), np.asarray(hopper)[:512]]
    side = round(min(0.8 * spec.height, 0.95 * spec.width / spec.faces))
    cuts = [cv2.resize(people[i % 2], (side, side)) for i in range(spec.faces)]
    scene = cv2.GaussianBlur(cv2.resize(people[0], (spec.width, spec.height)), (0, 0), 20)
    rng = np.random.default_rng(0)
    # without it a codec has no work
    noises = [rng.normal(0, 3, scene.shape).astype(np.int16) for _ in range(4)]
    for number in range(max(1, spec.seconds * FPS)):
        rgb = scene.copy()
        for i, cut in enumerate(cuts):
            x = round(
                (i + 0.5) * spec.width / spec.faces
                - side / 2
                + 0.02 * side * np.sin(number / 15 + i)
            )
            y = round((spec.height - side) / 2 + 0.05 * side * np.cos(number / 11 + i))
            x, y = min(max(x, 0), spec.width - side), min(max(y, 0), spec.height - side)
            rgb[y : y + side, x : x + side] = cut
        yield np.clip(rgb + noises[number % len(noises)], 0, 255).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------
# measuring


class Clock:
    """Laps by stage."""

    def __init__(self) -> None:
        self.laps: Laps = defaultdict(list)

    @contextmanager
    def of(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.laps[stage].append(time.perf_counter() - start)


@contextmanager
def peak_memory(peak_mb: list[float], every_s: float = 0.02) -> Iterator[None]:
    """Append the largest sum of resident sizes of this process and its children, in MB."""
    done, tree, most = threading.Event(), psutil.Process(), 0.0

    def watch() -> None:
        nonlocal most
        while not done.wait(every_s):
            sizes = []
            for process in (tree, *tree.children(recursive=True)):
                try:
                    sizes.append(process.memory_info().rss)
                except psutil.NoSuchProcess:  # the decoder's child, done meanwhile
                    continue
            most = max(most, sum(sizes) / 1e6)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()
        peak_mb.append(most)


def ours(
    path: Path, detector: Detector, repeats: int, clock: Clock
) -> tuple[Analysis, dict[str, int]]:
    """Time every stage and the whole; return an analysis and how many things each stage handles."""
    start = time.perf_counter()
    analysis = detector.analyze(path)
    clock.laps["first"].append(time.perf_counter() - start)
    for _ in range(repeats):
        with clock.of("total"):
            analysis = detector.analyze(path)
        start = time.perf_counter()
        frames = open_media(path, DEFAULT_FRAMES).frames
        opened = time.perf_counter() - start
        with clock.of("decode"):
            decode(path, DEFAULT_FRAMES)
        # hash, child process, handing over
        clock.laps["open"].append(max(0.0, opened - clock.laps["decode"][-1]))
        with clock.of("detect"):
            found = detector.finder.detect(frames)
        start = time.perf_counter()
        tracks = tracks_of(found, frames)
        linked = time.perf_counter() - start
        pictures = {frame.index: frame.rgb for frame in frames}
        with clock.of("crop"):
            for track in tracks:
                for crop in track.crops:
                    cut_square(pictures[crop.frame_index], crop.box_xyxy_px)
        clock.laps["track"].append(max(0.0, linked - clock.laps["crop"][-1]))
        with clock.of("embed"):
            looked = [
                detector.look(np.stack([crop.rgb for crop in track.crops])) for track in tracks
            ]
        with clock.of("temporal"):
            for one in looked:
                detector.track_logit(one)
    crops = sum(len(track.crops) for track in tracks)
    handled = dict.fromkeys(("open", "decode", "detect", "track"), len(frames)) | {
        "crop": crops,
        "embed": crops,
    }
    return analysis, handled


@torch.inference_mode()
def reference(path: Path, is_clip: bool, detector: Detector, clock: Clock) -> None:
    """The documents' way, once."""
    with clock.of("total"):
        with clock.of("decode"):
            frames = (
                _every_frame(path)
                if is_clip
                else [cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)]
            )
        mtcnn = detector.finder.mtcnn().to(memory_format=torch.contiguous_format)
        with clock.of("detect"):
            boxes = [mtcnn.detect(rgb)[0] for rgb in frames]
        with clock.of("crop"):
            pairs = [
                (rgb, box)
                for rgb, some in zip(frames, boxes, strict=True)
                if some is not None
                for box in some
            ]
            crops = [cut_square(rgb, tuple(box))[0] for rgb, box in pairs]
            crops += [np.zeros_like(crops[0])] * (DEFAULT_FRAMES - len(crops) if is_clip else 0)
        with clock.of("embed"):
            outs = [detector.network.frames(detector.tensor(crop[None])) for crop in crops]
        with clock.of("temporal"):
            embeddings, logits = (
                torch.cat([o.embedding for o in outs])[None],
                torch.cat([o.logit for o in outs])[None],
            )
            detector.network.video(embeddings, logits, torch.ones_like(logits, dtype=torch.bool))


def _every_frame(path: Path) -> list[Rgb]:
    capture = cv2.VideoCapture(str(path))
    every = max(1, int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) // DEFAULT_FRAMES)
    kept: list[Rgb] = []
    number = 0
    while True:
        there, bgr = capture.read()
        if not there:
            capture.release()
            return kept[:DEFAULT_FRAMES]
        if number % every == 0:
            kept.append(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))
        number += 1


def reference_lime(detector: Detector, crop: Rgb) -> NDArray[np.float32]:
    """Weights of the same superpixels by lime's own loop."""
    segments = superpixels(crop)

    @torch.inference_mode()
    def look(pictures: Rgb) -> NDArray[np.float32]:
        logits = detector.network.frames(detector.tensor(np.asarray(pictures, np.uint8))).logit
        return logits.float().cpu().numpy()[:, None]

    found = LimeImageExplainer(feature_selection="none", random_state=0).explain_instance(
        crop, look, labels=(0,), top_labels=None, num_samples=LIME_SAMPLES, batch_size=LIME_BATCH,
        segmentation_fn=lambda picture: segments, random_seed=0,
    )  # fmt: skip
    weights = dict(found.local_exp[0])
    return np.array([weights[i] for i in range(int(segments.max()) + 1)], np.float32)


def gflop_per_crop(detector: Detector) -> float:
    """Floating-point operations of the network for one crop, in 10^9: two per multiply-add. The
    same on any machine.
    """
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        detector.network.frames(detector.tensor(np.zeros((1, 224, 224, 3), np.uint8)))
    return counter.get_total_flops() / 1e9


def matmul_gflops(device: torch.device) -> float:
    """10^9 operations per second of a plain bf16 matrix product on the same device: what can be had
    at best.
    """
    a = torch.ones(MATMUL, MATMUL, dtype=torch.bfloat16, device=device)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * MATMUL**3 / best / 1e9


# -----------------------------------------------------------------------------------------------------------
# table


@dataclass(frozen=True)
class Task:
    name: str  # of the input
    path: Path
    threads: int
    repeats: int
    reference: bool
    device: str
    model: str | None


def measure(task: Task) -> list[Row]:
    """All rows of one input at one number of threads; called in a fresh process."""
    torch.set_num_threads(task.threads)
    cv2.setNumThreads(task.threads)
    clock, peak_mb = Clock(), list[float]()
    detector = Detector(task.model, task.device)
    clock.laps["start"].append(time.time() - psutil.Process().create_time())
    is_clip = INPUTS[task.name].seconds > 0
    correlation = None
    with peak_memory(peak_mb):
        analysis, handled = ours(task.path, detector, task.repeats, clock)
        if not is_clip:  # explanations are of one crop, and cost the same in a clip
            crop = analysis.faces[0].track.crops[0].rgb
            with clock.of("explain"):
                explain_face(detector, analysis)
            with clock.of("LIME"):
                weights = explain_regions(detector, crop).weights
    rows = _rows(task, "ours", clock, handled, peak_mb[0])
    per_crop, seconds = gflop_per_crop(detector), float(np.median(clock.laps["embed"]))
    share = per_crop * handled["embed"] / seconds / matmul_gflops(detector.device)
    rows[-1] |= {"gflop_per_crop": per_crop, "share_of_matmul": share}
    if task.reference:
        clock = Clock()
        with peak_memory(peak_mb):
            reference(task.path, is_clip, detector, clock)
            if not is_clip:
                with clock.of("LIME"):
                    plain = reference_lime(detector, crop)
                correlation = rank_correlation(weights, plain)
        theirs = _rows(task, "reference", clock, {}, peak_mb[1])
        slower = {row["stage"]: row["median_ms"] for row in theirs}
        for row in rows:
            if row["stage"] in slower and row["median_ms"] > 0:
                row["times_faster"] = slower[row["stage"]] / row["median_ms"]
            if row["stage"] == "LIME":
                row["rank_correlation"] = correlation
        rows += theirs
    return rows


def _rows(
    task: Task, way: str, clock: Clock, handled: Mapping[str, int], peak_mb: float
) -> list[Row]:
    rows = []
    for stage in sorted(clock.laps, key=STAGES.index):
        seconds = np.array(clock.laps[stage])
        median = float(np.median(seconds))
        rows.append(
            {
                "input": task.name,
                "threads": task.threads,
                "way": way,
                "stage": stage,
                "median_ms": 1000 * median,
                "p95_ms": 1000 * float(np.percentile(seconds, 95)),
                # frames, crops, or runs of the stage
                "per_s": handled.get(stage, 1) / max(median, 1e-9),
            }
        )
    rows[-1]["peak_mb"] = peak_mb
    return rows


def machine(device: str) -> str:
    """The processor or the graphics card, in words."""
    if device != "cpu" and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def draw_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown, one line per stage; empty where a figure makes no sense."""
    columns = {
        "input": "",
        "threads": "",
        "way": "",
        "stage": "",
        "median_ms": ".1f",
        "p95_ms": ".1f",
        "per_s": ".1f",
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


def run(args: argparse.Namespace) -> int:
    """The command: prints the table and writes speed.csv."""
    facts = {
        "date": date.today().isoformat(),
        "machine": machine(args.device),
        "torch": torch.__version__,
    }
    rows: list[Row] = []
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.inputs:
        path = write_input(name, args.cache)
        for threads in args.threads:
            os.environ["OMP_NUM_THREADS"] = str(threads)  # read when the child imports torch
            task = Task(name, path, threads, args.repeats, args.reference, args.device, args.model)
            with ProcessPoolExecutor(1, get_context("spawn")) as apart:
                found = apart.submit(measure, task).result()
            rows += [row | facts for row in found]
            print(draw_table(found), flush=True)
            write_rows(rows, args.out / "speed.csv")  # as far as it is: the whole takes minutes
    print(f"\n{facts['machine']}, {os.cpu_count()} cores, torch {facts['torch']}, {facts['date']}")
    return 0


def add_to(commands: Any) -> None:
    """Add the command's arguments."""
    command = commands.add_parser(
        "speed", help="time and memory by stage, on inputs made on the spot"
    )
    command.add_argument(
        "--inputs", nargs="+", choices=list(INPUTS), default=DEFAULT_INPUTS, metavar="NAME"
    )
    command.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N")
    command.add_argument("--repeats", type=int, default=5)
    command.add_argument(
        "--reference", action="store_true", help="also the documents' way, and the ratios"
    )
    command.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    command.add_argument("--model", metavar="NAME|DIR")
    command.add_argument(
        "--cache", type=Path, default=Path("runs/cache/speed"), help="where the inputs are kept"
    )
    command.add_argument("--out", type=Path, default=Path("out"), help="folder for speed.csv")
