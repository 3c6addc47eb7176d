"""The photos and clips that are measured, made on the spot from public-domain faces."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import av
import cv2
import numpy as np
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from detector.media import write_video

Rgb = NDArray[np.uint8]

FPS = 30

# longer clips are this many seconds over and over: encoding takes longer than all the measuring
LOOP_S = 10


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
