"""Where a clip changes to another picture: a person ends at a cut, and a still has no motion.

Only faces are compared, on thumbnails of their crops, so that a cut costs next to nothing to find
and a camera that pans past people is none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.tracking import FLICKER_BESIDE, Detection

Thumbnail = NDArray[np.uint8]  # (THUMB_PX, THUMB_PX, 3)

THUMB_PX = 28
# Two thumbnails show two people where colours and structure both differ. Measured on 26 clips, up
# to .8 s apart: .1% of pairs of one person, 99.6% of pairs of two people.
OTHER_COLOURS = 0.33  # share of the pixels that lie in other bins of colour, of 6 x 6 x 6
OTHER_STRUCTURE = 0.25  # 1 - correlation
STRUCTURE_PX = 16  # at which both are measured
# Grey levels by which a still's thumbnails may differ from their median, in their most changed
# cells: 2 at most for stills in five codecs; filmed faces exceed it in most frames of a second.
STILL_LEVELS = 5.0
MOST_FRAMES = 0.75  # of a track that must show the still
STILL_SHARE = 0.98  # of the cells that may not differ more: the others may be a mouth that moves
# of the distance between two people's thumbnails: from there on to the nearer of both, a frame
# between them is a blend. Measured .47 to .55 in the middle of a fade, .39 at most in others
BLEND_SHARE = 0.42


def split_at_cuts(
    seen: Mapping[int, Detection], thumbs: Mapping[int, Thumbnail]
) -> list[dict[int, Detection]]:
    """Split one person's detections, by position of their frame, where another person takes the
    place. Who comes back after that is the same person again.

    thumbs: of the face, by position. What was interpolated across a cut is dropped, and so are a
    frame in which one person fades into another and a single detection beside a long track.
    """
    shots: list[dict[int, Detection]] = []
    now: dict[int, Detection] = {}
    blends = set(_blends(sorted(seen), thumbs))
    for position in sorted(set(seen) - blends):
        recent_first = sorted(shots, key=lambda shot: shot is not now)
        alike = (s for s in recent_first if not _differ(thumbs[max(s)], thumbs[position]))
        shot = next(alike, None)
        if shot is None and seen[position].confidence == 0:
            continue
        if shot is None:
            shot = {}
            shots.append(shot)
        now = shot
        now[position] = seen[position]
    longest = max(len(shot) for shot in shots)
    return [shot for shot in shots if len(shot) > 1 or longest < FLICKER_BESIDE]


def still_frames(thumbs: Mapping[int, Thumbnail]) -> list[int]:
    """Positions of the frames that show one and the same picture, where most do; else none.

    thumbs: of one place, by position. The others may fade in or out, or be coded worse.
    """
    usual = np.median(np.stack([*thumbs.values()]), axis=0)
    shown = [
        position
        for position, thumb in sorted(thumbs.items())
        if np.quantile(np.abs(thumb - usual).mean(2), STILL_SHARE) < STILL_LEVELS
    ]
    return shown if len(shown) >= max(2, MOST_FRAMES * len(thumbs)) else []


def _blends(positions: Sequence[int], thumbs: Mapping[int, Thumbnail]) -> Iterator[int]:
    """Yield the positions at which one person fades into another."""
    for before, now, after in zip(positions, positions[1:], positions[2:], strict=False):
        if _differ(thumbs[before], thumbs[after]):
            size = (STRUCTURE_PX, STRUCTURE_PX)
            a, mixed, b = (
                cv2.resize(thumbs[i], size, interpolation=cv2.INTER_AREA).astype(np.float32)
                for i in (before, now, after)
            )
            nearest = min(np.abs(mixed - a).mean(), np.abs(mixed - b).mean())
            if nearest > BLEND_SHARE * np.abs(a - b).mean():
                yield now


def _differ(one: Thumbnail, other: Thumbnail) -> bool:
    """Whether two thumbnails show two people."""
    size = (STRUCTURE_PX, STRUCTURE_PX)
    a, b = (cv2.resize(thumb, size, interpolation=cv2.INTER_AREA) for thumb in (one, other))
    if np.abs(_colours(a) - _colours(b)).sum() / 2 <= OTHER_COLOURS:
        return False
    x, y = (thumb - thumb.mean((0, 1)) for thumb in (a, b))
    scale = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return 1 - float((x * y).sum()) / max(scale, 1e-9) > OTHER_STRUCTURE


def _colours(thumb: Thumbnail) -> NDArray[np.float64]:
    """Share of the pixels in each of 6 x 6 x 6 bins of colour."""
    red, green, blue = (thumb.reshape(-1, 3) // 43).astype(int).T
    return np.bincount(36 * red + 6 * green + blue, minlength=216) / red.size
