"""The built-in examples: two public-domain faces, forgeries made from them, and two short clips.

The faces ship inside dependencies: NASA astronaut Eileen Collins (scikit-image) and Rear Admiral
Grace Hopper (matplotlib). Every forgery has a fixed seed, so an example is the same picture each
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from detector.forgery.appearance import Appearance
from detector.forgery.blending import Blend, part_splice, self_blend
from detector.media import write_video

Rgb = NDArray[np.uint8]
Points = NDArray[np.float32]

# MTCNN's landmarks in each picture, measured once: left eye, right eye, nose, left and right mouth
# corner, px
ASTRONAUT_POINTS: Points = np.array(
    [[205.0, 101.7], [246.8, 103.7], [224.7, 129.0], [201.7, 139.2], [245.3, 141.9]], np.float32
)
HOPPER_POINTS: Points = np.array(
    [[221.7, 192.2], [309.8, 186.1], [269.4, 239.2], [232.7, 279.6], [306.6, 275.9]], np.float32
)

CLIP_SIZE = (640, 480)  # width, height in px
CLIP_FPS = 25.0
CLIP_SECONDS = 4.0
FORGED_SECONDS = (1.5, 3.0)  # the part of the partly forged clip that is forged


@dataclass(frozen=True)
class Example:
    """One built-in file."""

    name: str  # file name
    caption: str
    forged: bool
    write: Callable[[Path], None]  # makes the file at a path
    picture: Callable[[], Rgb]  # makes the (H, W, 3) picture that the thumbnail is cut from


@lru_cache(2)
def _read(path: Path) -> Rgb:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def astronaut() -> Rgb:
    """(512, 512, 3) uint8."""
    return _read(_bundled("skimage", "data/astronaut.png")).copy()


def hopper() -> Rgb:
    """(600, 512, 3) uint8."""
    return _read(_hopper_path()).copy()


def astronaut_swapped() -> Rgb:
    """The astronaut with her whole face blended in again, a little off in place, colour and
    sharpness.
    """
    appearance = Appearance(rgb_shift=(14.0, -8.0, -12.0), contrast=1.12, down=0.45)
    blend = Blend(
        "face",
        ratio=1.0,
        shift_x=0.006,
        shift_y=0.004,
        scale=1.04,
        blur=0.06,
        appearance=appearance,
    )
    return self_blend(astronaut(), ASTRONAUT_POINTS, blend, np.random.default_rng(7)).forged


def hopper_mouth() -> Rgb:
    """The admiral with a re-drawn mouth, as after lip-sync."""
    appearance = Appearance(rgb_shift=(6.0, -4.0, -4.0), down=0.4)
    blend = Blend("mouth", ratio=1.0, grow=0.12, blur=0.1, appearance=appearance)
    return part_splice(hopper(), HOPPER_POINTS, blend, np.random.default_rng(3)).forged


def clip_frames(forged_s: tuple[float, float] | None) -> Iterator[Rgb]:
    """The admiral before a moving camera at CLIP_FPS; frames in forged_s (start, end) are forged.

    Each frame is forged by itself, with its own jitter of place, colour and outline, which gives
    the flicker of frame-wise conversion.
    """
    rng = np.random.default_rng(11)
    for i in range(round(CLIP_SECONDS * CLIP_FPS)):
        yield _clip_frame(i / CLIP_FPS, forged_s, rng)


def _clip_frame(t: float, forged_s: tuple[float, float] | None, rng: np.random.Generator) -> Rgb:
    move, gain = _camera(t)
    frame = cv2.warpAffine(
        _read(_hopper_path()),
        move,
        CLIP_SIZE,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REFLECT,
    )
    frame = cv2.convertScaleAbs(frame, alpha=gain)
    if not forged_s or not forged_s[0] <= t < forged_s[1]:
        return np.asarray(frame, np.uint8)
    points = (np.hstack([HOPPER_POINTS, np.ones((5, 1))]) @ move.T).astype(np.float32)
    return self_blend(frame, points, _flickering_blend(rng), rng).forged


def _camera(t: float) -> tuple[NDArray[np.float64], float]:
    """Smooth pan, zoom and rotation (2, 3) picture px -> frame px, and brightness, at t seconds."""
    turn = 2 * np.pi * t / CLIP_SECONDS
    centre = HOPPER_POINTS.mean(0).astype(np.float64)
    angle = 2.5 * np.sin(turn)
    zoom = 1.2 + 0.08 * np.sin(turn / 2)
    move = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), angle, zoom)
    move[:, 2] += (
        np.array([CLIP_SIZE[0] / 2, CLIP_SIZE[1] / 2])
        - centre
        + (28 * np.sin(turn), 12 * np.sin(2 * turn))
    )
    return move, 1.0 + 0.05 * np.sin(turn + 1.0)


def _flickering_blend(rng: np.random.Generator) -> Blend:
    appearance = Appearance(
        rgb_shift=tuple(rng.normal((14, -6, -12), 5)),
        contrast=1.1,
        down=float(rng.uniform(0.3, 0.4)),
    )
    shift_x, shift_y = rng.normal(0, 0.004, 2)
    return Blend(
        "face",
        1.0,
        float(shift_x),
        float(shift_y),
        float(rng.normal(1.03, 0.01)),
        blur=0.05,
        appearance=appearance,
    )


def _hopper_path() -> Path:
    return _bundled("matplotlib", "mpl-data/sample_data/grace_hopper.jpg")


@lru_cache
def _bundled(package: str, inside: str) -> Path:
    """A file that comes with a package, found without importing it: what those imports take."""
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None  # both packages are required
    return Path(spec.origin).parent / inside


def _copy_hopper(path: Path) -> None:
    path.write_bytes(_hopper_path().read_bytes())


def _png(picture: Callable[[], Rgb]) -> Callable[[Path], None]:
    return lambda path: Image.fromarray(picture()).save(path)


def _mp4(forged_s: tuple[float, float] | None) -> Callable[[Path], None]:
    return lambda path: write_video(path, clip_frames(forged_s), CLIP_FPS)


def _middle(forged_s: tuple[float, float] | None) -> Callable[[], Rgb]:
    """A frame from the middle of the forged part, which has the clip's look and a jitter of its
    own: the clip's needs all forged frames before it.
    """
    return lambda: _clip_frame(float(np.mean(FORGED_SECONDS)), forged_s, np.random.default_rng(11))


EXAMPLES: tuple[Example, ...] = (
    Example("astronaut.png", "Astronaut, authentic", False, _png(astronaut), astronaut),
    Example(
        "astronaut_swapped.png",
        "Astronaut, face pasted in",
        True,
        _png(astronaut_swapped),
        astronaut_swapped,
    ),
    Example("grace_hopper.jpg", "Grace Hopper, authentic", False, _copy_hopper, hopper),
    Example(
        "grace_hopper_mouth.png",
        "Grace Hopper, mouth re-drawn",
        True,
        _png(hopper_mouth),
        hopper_mouth,
    ),
    Example("hopper_clip.mp4", "Clip, authentic", False, _mp4(None), _middle(None)),
    Example(
        "hopper_clip_forged.mp4",
        "Clip, forged 1.5 to 3.0 s",
        True,
        _mp4(FORGED_SECONDS),
        _middle(FORGED_SECONDS),
    ),
)


def write_example(example: Example, folder: Path) -> Path:
    """The example as a file in `folder`, written on first use. Returns its path."""
    path = folder / example.name
    if not path.exists():
        # Under another name until complete: two people may ask at once, and nobody may read half a
        # file.
        part = folder / f".{np.random.default_rng().integers(1 << 62):x}{path.suffix}"
        example.write(part)
        part.replace(path)
    return path


def thumbnail(example: Example, side_px: int = 160) -> Rgb:
    """(side, side, 3) uint8 picture of the example, centred on the face."""
    picture = example.picture()
    points = ASTRONAUT_POINTS if picture.shape[0] == 512 else HOPPER_POINTS
    centre = np.array(CLIP_SIZE) / 2 if picture.shape[1] == CLIP_SIZE[0] else points.mean(0)
    half = min(
        0.36 * picture.shape[1], *centre, picture.shape[1] - centre[0], picture.shape[0] - centre[1]
    )
    x, y = centre
    part = picture[round(y - half) : round(y + half), round(x - half) : round(x + half)]
    return cv2.resize(part, (side_px, side_px), interpolation=cv2.INTER_AREA)
