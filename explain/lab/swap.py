"""How a face swap is made, and why it flickers.

Only the two built-in public-domain faces are swapped, small and watermarked.

Extraction: find the face and align it by its landmarks. Training: one shared encoder, a decoder for
each person. Both decoders read the same code, so one person's expression can be drawn with the
other's face. Creation: every frame is converted by itself and blended back; nothing ties a frame to
the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

from detector.forgery.appearance import match_colour
from detector.forgery.blending import blend_in
from detector.forgery.regions import FIVE_POINTS, Points, Rgb
from detector.pipeline import Detector, bf16_pays
from detector.stopping import pause_to_look
from detector.types import Analysis, Frame, Media, Progress
from explain.lab.builtin import pictures

FACE_PX = 64  # of the aligned faces: enough to see the principle, too little to fool anybody
# in an aligned face: px per eye distance, and where the middle between the eyes is
UNIT_PX = 21.0
CENTRE_PX = (32.0, 21.0)
STEPS = 200
BATCH = 8
LEARNING_RATE = 2e-3
LOSS_EVERY = 10  # steps between two kept losses
FRAMES, FPS = 24, 12.0  # of the clip
CLIP_PX = (320, 320)  # its width and height
WATERMARK = "TEACHING EXAMPLE: SWAPPED FACE"
SECOND = 1  # Grace Hopper's place in pictures(): the clip is hers, the other face is laid over it


# ----------------------------------------------------------------------------------------------
# 1. extraction


def alignment(points: Points) -> NDArray[np.float64]:
    """(2, 3) similarity from picture px to the aligned face's px.

    points: five landmarks. Raises ValueError where they are all in one place.
    """
    goal = FIVE_POINTS * UNIT_PX + np.array(CENTRE_PX, np.float32)
    move, _ = cv2.estimateAffinePartial2D(points, goal, method=cv2.LMEDS)
    if move is None:
        raise ValueError("expected five landmarks that are not all in one place")
    return np.asarray(move)


def aligned(rgb: Rgb, points: Points) -> Rgb:
    """(FACE_PX, FACE_PX, 3) upright face, the eyes always in the same place."""
    move = alignment(points)
    shrink = float(np.hypot(move[0, 0], move[1, 0]))
    if shrink < 0.7:  # average down first: no aliasing
        small = cv2.resize(rgb, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
        rgb = np.asarray(small, np.uint8)
        move = move @ np.diag([1 / shrink, 1 / shrink, 1.0])
    return np.asarray(
        cv2.warpAffine(rgb, move, (FACE_PX, FACE_PX), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


# ----------------------------------------------------------------------------------------------
# 2. training


class Swapper(nn.Module):
    """One encoder, a decoder for each of two people. (B, 3, 64, 64) in [0, 1] -> same."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(*_down(3, 32), *_down(32, 64), *_down(64, 96), *_down(96, 96))
        self.decoders = nn.ModuleList(
            nn.Sequential(
                *_up(96, 96), *_up(96, 64), *_up(64, 32), *_up(32, 24), nn.Conv2d(24, 3, 3, 1, 1)
            )
            for _ in range(2)
        )

    def forward(self, faces: Tensor, person: int) -> Tensor:
        return torch.sigmoid(self.decoders[person](self.encoder(faces)))


def _down(a: int, b: int) -> list[nn.Module]:
    return [nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.1)]


def _up(a: int, b: int) -> list[nn.Module]:
    return [nn.Conv2d(a, 4 * b, 3, 1, 1), nn.LeakyReLU(0.1), nn.PixelShuffle(2)]


@dataclass(frozen=True, eq=False)
class TrainedSwapper:
    """Both decoders after training."""

    net: Swapper
    # mean absolute error (0..1) of both people together, every LOSS_EVERY steps
    losses: tuple[float, ...]

    @torch.inference_mode()
    def draw(self, face: Rgb, person: int) -> Rgb:
        """An aligned face as that person's decoder draws it."""
        drawn = self.net(_tensor(face[None]), person)[0].permute(1, 2, 0).numpy()
        return np.rint(255 * drawn).astype(np.uint8)


def train(seed: int = 0, steps: int = STEPS, progress: Progress | None = None) -> TrainedSwapper:
    """Teach each decoder to undo small warps of its own person's face.

    The encoder has to read the pose for that, whoever is shown.
    """
    report = progress or (lambda share, stage: None)
    rng = np.random.default_rng(seed)
    people = [_smaller(rgb, points) for rgb, points in pictures()]
    with torch.random.fork_rng():
        torch.manual_seed(seed)  # the layers' own initialisation takes no generator
        net = Swapper()
    optimiser = torch.optim.Adam(net.parameters(), LEARNING_RATE, betas=(0.5, 0.99))
    losses = []
    for i in range(steps):
        error = torch.zeros(())
        for person, (rgb, points) in enumerate(people):
            pause_to_look()
            given, goal = zip(*(_example(rgb, points, rng) for _ in range(BATCH)), strict=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16_pays()):
                drawn = net(_tensor(np.stack(given)), person)
            error = error + (drawn.float() - _tensor(np.stack(goal))).abs().mean()
        optimiser.zero_grad()
        error.backward()
        optimiser.step()
        if i % LOSS_EVERY == 0:
            report(i / steps, f"Step {i} of {steps}")
            losses.append(float(error.detach()) / 2)
    report(1.0, "Done")
    return TrainedSwapper(net.eval().requires_grad_(False), tuple(losses))


def _smaller(rgb: Rgb, points: Points) -> tuple[Rgb, Points]:
    """A picture and its landmarks averaged down once, so that no pose of `_example` has to."""
    move = alignment(points)
    scale = float(np.hypot(move[0, 0], move[1, 0])) / 0.8
    if scale >= 1:
        return rgb, points
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), (points * scale).astype(np.float32)


def _example(rgb: Rgb, points: Points, rng: np.random.Generator) -> tuple[Rgb, Rgb]:
    """(warped, straight) aligned face in a random pose and light."""
    centre = points.mean(axis=0)
    unit = float(np.linalg.norm(points[1] - points[0]))
    turn = cv2.getRotationMatrix2D(
        (0.0, 0.0), float(rng.uniform(-8, 8)), float(rng.uniform(0.95, 1.05))
    )[:, :2]
    posed = ((points - centre) @ turn.T + centre + rng.normal(0, 0.02 * unit, 2)).astype(np.float32)
    goal = aligned(rgb, posed)
    gain = rng.uniform(0.85, 1.15)
    shift = rng.uniform(-12, 12)
    goal = np.asarray(cv2.convertScaleAbs(goal, alpha=gain, beta=shift), np.uint8)
    if rng.random() < 0.5:
        goal = np.ascontiguousarray(goal[:, ::-1])
    grid = rng.normal(0, 1.3, (5, 5, 2)).astype(np.float32)
    flow = cv2.resize(grid, (FACE_PX, FACE_PX), interpolation=cv2.INTER_CUBIC)
    x, y = np.meshgrid(*[np.arange(FACE_PX, dtype=np.float32)] * 2)
    given = cv2.remap(
        goal, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(given, np.uint8), goal


def _tensor(faces: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(faces)).permute(0, 3, 1, 2).float() / 255


# ----------------------------------------------------------------------------------------------
# 3. creation


def put_back(frame: Rgb, points: Points, drawn: Rgb) -> Rgb:
    """Lay a drawn face over the frame it was aligned from: colours matched, seam softened,
    watermarked.
    """
    back = cv2.invertAffineTransform(alignment(points))
    height, width = frame.shape[:2]
    placed = cv2.warpAffine(
        drawn, back, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    oval = np.zeros((FACE_PX, FACE_PX), np.float32)
    cv2.ellipse(oval, (32, 33), (21, 25), 0, 0, 360, 1.0, -1)
    mask = np.asarray(
        cv2.warpAffine(cv2.GaussianBlur(oval, (0, 0), 2.5), back, (width, height)), np.float32
    )
    placed = match_colour(np.asarray(placed, np.uint8), frame, mask)
    return watermarked(blend_in(frame, placed, mask, 1.0))


def watermarked(rgb: Rgb, text: str = WATERMARK) -> Rgb:
    """White on black along the lower edge."""
    image = Image.fromarray(rgb)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(max(9, rgb.shape[1] // 22))
    _, _, right, bottom = draw.textbbox((0, 0), text, font=font)
    top = rgb.shape[0] - bottom - 6
    draw.rectangle((0, top, rgb.shape[1], rgb.shape[0]), fill="black")
    draw.text(((rgb.shape[1] - right) / 2, top + 2), text, fill="white", font=font)
    return np.asarray(image)


# ----------------------------------------------------------------------------------------------
# 4. why it flickers


@dataclass(frozen=True, eq=False)
class Flicker:
    """The clip before and after the swap, and how steady each is."""

    authentic: tuple[Rgb, ...]
    swapped: tuple[Rgb, ...]
    # correlation of the face's fine detail in frame i and i + 1
    steady_authentic: tuple[float, ...]
    steady_swapped: tuple[float, ...]
    analyses: tuple[Analysis, Analysis]  # the detector on both clips


def clip(count: int = FRAMES) -> tuple[tuple[Rgb, ...], tuple[Points, ...]]:
    """The admiral before a gently moving camera, and where her landmarks truly are."""
    rgb, points = pictures()[SECOND]
    middle = points.mean(axis=0).astype(np.float64)
    frames = []
    places = []
    for i in range(count):
        turn = 2 * np.pi * i / FRAMES
        move = cv2.getRotationMatrix2D(
            (middle[0], middle[1]), 2 * np.sin(turn), 0.85 + 0.04 * np.sin(turn / 2)
        )
        move[:, 2] += np.array(CLIP_PX) / 2 - middle + (6 * np.sin(turn), 3 * np.sin(2 * turn))
        frames.append(
            np.asarray(cv2.warpAffine(rgb, move, CLIP_PX, borderMode=cv2.BORDER_REFLECT), np.uint8)
        )
        places.append((np.hstack([points, np.ones((5, 1))]) @ move.T).astype(np.float32))
    return tuple(frames), tuple(places)


def flicker(
    detector: Detector,
    swapper: TrainedSwapper,
    count: int = FRAMES,
    progress: Progress | None = None,
) -> Flicker:
    """Convert the clip frame by frame, each with the landmarks found in it alone, and compare."""
    report = progress or (lambda share, stage: None)
    frames, places = clip(count)
    swapped = []
    for i, (frame, truth) in enumerate(zip(frames, places, strict=True)):
        report(0.6 * i / count, f"Converting frame {i + 1} of {count}")
        found = detector.finder.detect_faces(frame)
        points = found[0].landmarks_px if found else truth
        swapped.append(put_back(frame, points, swapper.draw(aligned(frame, points), 1 - SECOND)))
    steady = [steadiness(clip, places) for clip in (frames, swapped)]
    report(0.6, "Asking the detector")
    marked = [watermarked(frame) for frame in frames]  # on both, so that the mark tells nothing
    analyses = [
        detector.analyze_media(_media(name, clip))
        for name, clip in (("authentic", marked), ("swap", swapped))
    ]
    report(1.0, "Done")
    return Flicker(frames, tuple(swapped), steady[0], steady[1], (analyses[0], analyses[1]))


def steadiness(frames: Sequence[Rgb], places: Sequence[Points]) -> tuple[float, ...]:
    """Correlation of the face's fine detail between neighbouring frames.

    places: the true landmarks, which take the camera's own movement out.
    """
    details = []
    for frame, points in zip(frames, places, strict=True):
        face = cv2.cvtColor(aligned(frame, points), cv2.COLOR_RGB2GRAY).astype(np.float32)
        details.append((face - cv2.GaussianBlur(face, (0, 0), 2.0))[14:52, 14:50].ravel())
    return tuple(float(np.corrcoef(a, b)[0, 1]) for a, b in pairwise(details))


def _media(name: str, frames: Sequence[Rgb]) -> Media:
    seen = tuple(Frame(i, i / FPS, rgb) for i, rgb in enumerate(frames))
    height, width = frames[0].shape[:2]
    return Media(name, "0" * 64, "video", width, height, len(frames) / FPS, seen)
