"""Faces: detect (detector.nets.cascade), track (detector.tracking), turn (detector.turning), cut
out.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.shots import THUMB_PX, Thumbnail, split_at_cuts, still_frames
from detector.stopping import pause_to_look
from detector.tracking import (
    MAX_FACES,
    MIN_CROPS,
    OFTEN,
    Box,
    Detection,
    Place,
    by_time_and_size,
    people,
    places_between,
    spread,
)
from detector.turning import (
    QUARTERS,
    certainty,
    enlarged,
    shrunk,
    stood,
    sure_upright,
    track_turned_back,
    well_formed,
)
from detector.types import CROP_PX, FaceCrop, FaceTrack, Frame

if TYPE_CHECKING:
    import torch

    from detector.nets.cascade import Cascade

CROP_MARGIN = 1.3  # crop side / longer side of the face box: room for the seam of a swap

# longer side MTCNN sees: 32 frames of 720p take 1.5 s of one core; at 1280 four times that
DETECT_PX = 640
# the same in a second search of a photo: it costs little there, and group pictures are full of
# small faces
FINE_PX = 1600
# to which a photo is scaled before it is turned: at least twice FINE_PX, so that no face is lost
# that the same search finds upright, and half the time for 80 megapixels
TURNED_PX = 3200
# longer side of a face in frame px; smaller ones are no more than a dozen pixels of features
MIN_FACE_PX = 32
# Share of a face's box outside a photo from which on its crop mirrors the photo. Where less is
# missing, it repeats the border, as the two-stream network's training crops did; AUC measured:
# swaps in stills .85 -> .87, but of faces cut by a fifth .96 -> .92, and clips .91 -> .89, which
# are always mirrored (detector/training/LOG.md)
MIRRORED_FROM = 0.05
# the same on the scaled frame: MTCNN was trained on faces down to 12 px and errs below 20
MIN_DETECT_PX = 20
# of 1,163 frames with a face 99.5 % score above 0.98; most false alarms lie below 0.9
MIN_CONFIDENCE = 0.9
# share of the box inside the frame; of a face cut in half there is too little to judge
MIN_VISIBLE = 0.5
# second try, for pictures cut tightly around a face: repeat the border by this share of the longer
# side
BORDER = 0.3
# between two frames of a clip that are searched whole; those between only where the face must be...
KEY_S = 1.3
KEY_EVERY = 4  # ...and at most so many frames apart
# side of the square that is searched between, in face sizes: half a second of a quick turn
NEAR = 2.5
# to which it is scaled; the face is then 77 px, more than MTCNN's last stage takes in
NEAR_PX = 192
NEAR_BATCH = 64  # squares at a time

BATCH = 16  # frames at a time: larger is no faster on a CPU and takes more memory


def _fine_px(height: int, width: int) -> int:
    """FINE_PX, and more for a panorama: as many pixels as of a picture twice as wide as high."""
    wide = max(height, width) / (2 * min(height, width))
    return round(FINE_PX * max(1.0, wide) ** 0.5)


class FaceFinder:
    """Finds faces with MTCNN. Loads it at the first use; may be shared between threads."""

    def __init__(self, device: str | torch.device = "cpu") -> None:
        import torch

        self.device = torch.device(device)
        self._lock = threading.Lock()
        self._cascade: Cascade | None = None

    def detect_faces(self, rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Return the faces of one (H, W, 3) uint8 picture, largest first; empty if there is
        none.
        """
        return tuple(self._detect_all([rgb])[0])

    def find_tracks(
        self, frames: Sequence[Frame], max_faces: int = MAX_FACES
    ) -> tuple[FaceTrack, ...]:
        """Return the tracks of `find_people`."""
        return self.find_people(frames, max_faces).tracks

    def find_people(self, frames: Sequence[Frame], max_faces: int = MAX_FACES) -> People:
        """Return the people of a clip, at most max_faces, those seen longest and largest first.

        frames in ascending time, as Media holds them. Short gaps are filled with interpolated boxes
        (confidence 0.0); a face that comes back after RETURN_S is a new track. Where nobody surely
        stands upright, the frames are turned too, and the turn with the surest faces counts
        (FaceCrop.turned_deg).
        """
        found = self.detect(frames)
        best = 0
        if not sure_upright(found):
            small, smaller = shrunk(frames, TURNED_PX)
            by_turn = {0: found} | {
                quarters: enlarged(well_formed(self.detect(stood(small, quarters))), smaller)
                for quarters in QUARTERS
            }
            best = max(by_turn, key=lambda quarters: certainty(by_turn[quarters]))
            found = by_turn[best]
        people = people_of(found, stood(frames, best), max_faces)
        sizes_px = {frame.index: frame.rgb.shape[:2] for frame in frames}
        tracks = (track_turned_back(track, best, sizes_px) for track in people.tracks)
        return people if best == 0 else replace(people, tracks=tuple(tracks))

    def detect(self, frames: Sequence[Frame]) -> list[list[Detection]]:
        """Return the faces of every frame, in no particular order.

        Where frames lie close in time, only some are searched whole; in those between, a face is
        looked for around where it is before and after. Frames in which none is found so are
        searched whole, too.
        """
        pictures = [frame.rgb for frame in frames]
        times_s = [frame.t for frame in frames]
        step = (times_s[-1] - times_s[0]) / max(1, len(times_s) - 1) if frames else 0.0
        every = int(min(KEY_EVERY, max(1.0, KEY_S // max(step, 1e-6))))
        keys = sorted({*range(0, len(pictures), every), len(pictures) - 1}) if frames else []
        found: list[list[Detection]] = [[] for _ in pictures]
        for key, some in zip(keys, self._detect_all([pictures[key] for key in keys]), strict=True):
            found[key] = some
        near = places_between(keys, [found[key] for key in keys], times_s)
        for start in range(0, len(near), NEAR_BATCH):
            pause_to_look()
            batch = near[start : start + NEAR_BATCH]
            for place, face in zip(batch, self._detect_near(batch, pictures), strict=True):
                if face is not None and not any(_same(face, known) for known in found[place.frame]):
                    found[place.frame].append(face)
        empty = [index for index in range(len(frames)) if index not in keys and not found[index]]
        for index, some in zip(empty, self._detect([pictures[i] for i in empty], 0.0), strict=True):
            found[index] = some
        return found

    def _detect_all(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Detect on every picture; if none shows a face, once more with a border around each.

        A single large picture is searched a second time, on a finer scale, for what is too small on
        the first.
        """
        found = self._detect(pictures, 0.0)
        if len(pictures) == 1 and max(pictures[0].shape) >= 2 * DETECT_PX:
            fine = self._detect_batch(list(pictures), 0.0, _fine_px(*pictures[0].shape[:2]))[0]
            found = [
                found[0]
                + [face for face in fine if not any(_same(face, known) for known in found[0])]
            ]
        return found if any(found) else self._detect(pictures, BORDER)

    def _detect(
        self, pictures: Sequence[NDArray[np.uint8]], border: float
    ) -> list[list[Detection]]:
        # MTCNN's batches need pictures of one size
        same_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for index, rgb in enumerate(pictures):
            same_shape[rgb.shape].append(index)
        found: list[list[Detection]] = [[] for _ in pictures]
        for indices in same_shape.values():
            for start in range(0, len(indices), BATCH):
                pause_to_look()
                batch = indices[start : start + BATCH]
                for index, faces in zip(
                    batch, self._detect_batch([pictures[i] for i in batch], border), strict=True
                ):
                    found[index] = faces
        return found

    def _detect_batch(
        self, pictures: list[NDArray[np.uint8]], border: float, longer_px: int = DETECT_PX
    ) -> list[list[Detection]]:
        height, width = pictures[0].shape[:2]
        pad = round(border * max(height, width))
        scale = min(1.0, longer_px / (max(height, width) + 2 * pad))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        # added after scaling: around a panorama it would take gigabytes before
        edge = round(pad * scale)
        min_px = max(MIN_DETECT_PX, MIN_FACE_PX * scale)
        if min(size) + 2 * edge < min_px:  # no scale to search; MTCNN would raise
            return [[] for _ in pictures]
        small = [
            cv2.resize(np.ascontiguousarray(rgb), size, interpolation=cv2.INTER_AREA)
            for rgb in pictures
        ]
        scaled = np.stack(
            [cv2.copyMakeBorder(rgb, edge, edge, edge, edge, cv2.BORDER_REPLICATE) for rgb in small]
        )
        searched = self._search(scaled, min_px)
        zoom = np.array([size[0] / width, size[1] / height])
        faces = [
            [
                Detection(
                    box_xyxy_px=_box((np.reshape(row[:4], (2, 2)) - edge) / zoom),
                    # Pixel centres at integers, unlike the edges of a box.
                    landmarks_px=((np.asarray(five, np.float64) + 0.5 - edge) / zoom - 0.5).astype(
                        np.float32
                    ),
                    confidence=float(row[4]),
                )
                for row, five in zip(rows, fives, strict=True)
            ]
            for rows, fives in searched
        ]
        return [
            sorted(
                (face for face in some if _usable(face, width, height)),
                key=lambda face: -face.size_px,
            )
            for some in faces
        ]

    def _detect_near(
        self,
        places: Sequence[Place],
        pictures: Sequence[NDArray[np.uint8]],
    ) -> list[Detection | None]:
        """Return for each place the face that is nearest there, or None."""
        cuts = []
        for place in places:
            x, y, size = place.centre_size_px
            cuts.append(
                cut_square(
                    pictures[place.frame],
                    (x - size / 2, y - size / 2, x + size / 2, y + size / 2),
                    NEAR_PX,
                    NEAR,
                    cv2.BORDER_REPLICATE,  # mirrored, a face at the edge would be found twice
                )
            )
        searched = self._search(np.stack([crop for crop, _ in cuts]), NEAR_PX / NEAR / 2)
        nearest: list[Detection | None] = []
        for place, (_, to_frame), (rows, fives) in zip(places, cuts, searched, strict=True):
            scale = float(to_frame[0, 0])
            shift = to_frame[:, 2].astype(np.float64)
            faces = [
                Detection(
                    # Edges of boxes lie half a pixel off the pixel centres that the affine maps.
                    box_xyxy_px=_box((np.reshape(row[:4], (2, 2)) - 0.5) * scale + shift + 0.5),
                    landmarks_px=(np.asarray(five, np.float64) * scale + shift).astype(np.float32),
                    confidence=float(row[4]),
                )
                for row, five in zip(rows, fives, strict=True)
            ]
            height, width = pictures[place.frame].shape[:2]
            nearest.append(
                min(
                    (face for face in faces if _usable(face, width, height)),
                    key=lambda face: float(
                        np.abs(face.centre_size_px - place.centre_size_px).sum()
                    ),
                    default=None,
                )
            )
        return nearest

    def _search(
        self, scaled: NDArray[np.uint8], min_px: float
    ) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """MTCNN on (N, H, W, 3) uint8: of each (F, 5) x0, y0, x1, y1, confidence and (F, 5, 2)
        points.
        """
        return self.cascade().search(scaled, min_px)

    def cascade(self) -> Cascade:
        """The networks themselves, loaded at the first call."""
        with self._lock:
            if self._cascade is None:
                from detector.nets.cascade import Cascade

                self._cascade = Cascade(self.device)
            return self._cascade


def _box(corners: NDArray[np.float64]) -> Box:
    x0, y0, x1, y1 = corners.astype(np.float64).ravel().tolist()
    return x0, y0, x1, y1


def _usable(face: Detection, width: int, height: int) -> bool:
    x0, y0, x1, y1 = face.box_xyxy_px
    inside = max(0.0, min(x1, width) - max(x0, 0.0)) * max(0.0, min(y1, height) - max(y0, 0.0))
    return (
        face.confidence >= MIN_CONFIDENCE
        and face.size_px >= MIN_FACE_PX
        and inside >= MIN_VISIBLE * (x1 - x0) * (y1 - y0)
    )


def _same(face: Detection, other: Detection) -> bool:
    """Whether two boxes of one picture are of the same face: the centre of either lies in the
    other.
    """

    def holds(box: Box, point: NDArray[np.float64]) -> bool:
        return bool(box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3])

    a, b = face.box_xyxy_px, other.box_xyxy_px
    return holds(a, other.centre_size_px) or holds(b, face.centre_size_px)


@dataclass(frozen=True, eq=False)
class People:
    """The people of a file: those that were cut out, and how many more were found."""

    tracks: tuple[FaceTrack, ...]
    left_out: int


def people_of(
    found: Sequence[Sequence[Detection]], frames: Sequence[Frame], max_faces: int = MAX_FACES
) -> People:
    """Return the people behind the detections of successive frames, cut out.

    See FaceFinder.find_people. Of many people each is cut out in fewer frames.
    """
    everybody = by_time_and_size(
        [
            shot
            for person in people(found, [frame.t for frame in frames])
            for shot in split_at_cuts(person, _thumbnails(person, frames))
        ]
    )
    kept = everybody[:max_faces]
    most = max(MIN_CROPS, OFTEN * len(frames) // max(1, len(kept)))
    tracks = []
    for number, seen in enumerate(kept, start=1):
        still = _still_frames(seen, frames)
        photo = len(frames) == 1
        crops = (_crop(frames[i], seen[i], photo) for i in spread(still or sorted(seen), most))
        tracks.append(FaceTrack(number, tuple(crops), bool(still)))
    return People(tuple(tracks), len(everybody) - len(kept))


def _thumbnails(seen: Mapping[int, Detection], frames: Sequence[Frame]) -> dict[int, Thumbnail]:
    """One person's face in every frame, small."""
    return {
        index: cut_square(frames[index].rgb, face.box_xyxy_px, THUMB_PX)[0]
        for index, face in seen.items()
    }


def _still_frames(seen: Mapping[int, Detection], frames: Sequence[Frame]) -> list[int]:
    """The frames in which a person is no more than one still picture; none of a filmed person."""
    box = seen[sorted(seen)[len(seen) // 2]].box_xyxy_px
    if len({frames[i].rgb.shape for i in seen}) > 1:
        return []
    return still_frames({i: cut_square(frames[i].rgb, box, THUMB_PX)[0] for i in seen})


def _crop(frame: Frame, face: Detection, photo: bool) -> FaceCrop:
    mirrored, to_frame = cut_square(frame.rgb, face.box_xyxy_px)
    crop = FaceCrop(
        mirrored,
        to_frame,
        frame.index,
        frame.t,
        face.box_xyxy_px,
        face.landmarks_px,
        face.confidence,
        (frame.rgb.shape[1], frame.rgb.shape[0]),
    )
    if not photo or crop.missing >= MIRRORED_FROM or crop.inside.all():
        return crop
    repeated, _ = cut_square(frame.rgb, face.box_xyxy_px, border=cv2.BORDER_REPLICATE)
    return replace(crop, rgb=repeated)


def cut_square(
    rgb: NDArray[np.uint8],
    box_xyxy_px: Box,
    size_px: int = CROP_PX,
    margin: float = CROP_MARGIN,
    border: int = cv2.BORDER_REFLECT_101,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cut the square around a face box; return the crop and its affine back to the frame.

    rgb: (H, W, 3) uint8. The square is centred on the box, its side is margin x the box's longer
    side; what lies outside the frame mirrors it, or as OpenCV's `border` says. Returns
    ((size, size, 3) uint8, (2, 3) float32 mapping crop pixel centres to frame pixel centres). Large
    faces are averaged down first (area), so no aliasing passes for a forgery's trace. Raises
    ValueError on an empty box.
    """
    x0, y0, x1, y1 = box_xyxy_px
    side = margin * max(x1 - x0, y1 - y0)
    if not side > 0:
        raise ValueError(f"expected a box with area, but got {box_xyxy_px}")
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    scale = side / size_px  # frame px per crop px
    # Pixel centres at integers: crop px 0 covers [left, left + scale) of the frame.
    to_frame = np.array(
        [[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]], np.float32
    )
    # Work on the neighbourhood only, so that a 12-megapixel photo is not warped whole.
    height, width = rgb.shape[:2]
    pad = 4 + int(2 * scale)
    u0, v0 = max(0, int(left) - pad), max(0, int(top) - pad)
    u1, v1 = min(width, int(left + side) + pad + 1), min(height, int(top + side) + pad + 1)
    if u1 <= u0 or v1 <= v0:
        raise ValueError(f"expected a box inside a {width}x{height} frame, but got {box_xyxy_px}")
    part = np.ascontiguousarray(rgb[v0:v1, u0:u1])
    sx = sy = 1.0  # frame px per part px
    if scale > 1.0:
        new = (max(1, round(part.shape[1] / scale)), max(1, round(part.shape[0] / scale)))
        sx, sy = part.shape[1] / new[0], part.shape[0] / new[1]
        part = cv2.resize(part, new, interpolation=cv2.INTER_AREA)
    # crop px -> frame px -> part px
    back = to_frame.astype(np.float64)
    back[0] = [back[0, 0] / sx, 0, (back[0, 2] - u0 + 0.5) / sx - 0.5]
    back[1] = [0, back[1, 1] / sy, (back[1, 2] - v0 + 0.5) / sy - 0.5]
    crop = cv2.warpAffine(
        part,
        back,
        (size_px, size_px),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=border,
    )
    return crop, to_frame
