"""Faces: the only door to facenet_pytorch's MTCNN. Detect, track, cut out."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

CROP_PX = 224  # what the network sees
CROP_MARGIN = 1.3  # crop side / longer side of the face box: room for the seam of a swap


def cut_square(
    rgb: NDArray[np.uint8],
    box_xyxy_px: tuple[float, float, float, float],
    size_px: int = CROP_PX,
    margin: float = CROP_MARGIN,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Cut the square around a face box; return the crop and its affine back to the frame.

    rgb: (H, W, 3) uint8. The square is centred on the box, its side is margin x the box's longer side; what lies
    outside the frame repeats the border. Returns ((size, size, 3) uint8, (2, 3) float32 mapping crop pixel centres to
    frame pixel centres). Large faces are averaged down first (area), so no aliasing passes for a forgery's trace.
    Raises ValueError on an empty box.
    """
    x0, y0, x1, y1 = box_xyxy_px
    side = margin * max(x1 - x0, y1 - y0)
    if not side > 0:
        raise ValueError(f"expected a box with area, but got {box_xyxy_px}")
    left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
    scale = side / size_px  # frame px per crop px
    # Pixel centres at integers: crop px 0 covers [left, left + scale) of the frame.
    to_frame = np.array([[scale, 0, left + scale / 2 - 0.5], [0, scale, top + scale / 2 - 0.5]], np.float32)
    # Work on the neighbourhood only, so that a 12-megapixel photo is not warped whole.
    height, width = rgb.shape[:2]
    pad = 4 + int(2 * scale)
    u0, v0 = max(0, int(left) - pad), max(0, int(top) - pad)
    u1, v1 = min(width, int(left + side) + pad + 1), min(height, int(top + side) + pad + 1)
    if u1 <= u0 or v1 <= v0:
        raise ValueError(f"expected a box inside a {width}x{height} frame, but got {box_xyxy_px}")
    part = rgb[v0:v1, u0:u1]
    shrink = 1.0
    if scale > 1.0:
        new = (max(1, round(part.shape[1] / scale)), max(1, round(part.shape[0] / scale)))
        sx, sy = part.shape[1] / new[0], part.shape[0] / new[1]
        part = cv2.resize(part, new, interpolation=cv2.INTER_AREA)
    else:
        sx = sy = shrink
    # crop px -> frame px -> part px
    back = to_frame.astype(np.float64)
    back[0] = [back[0, 0] / sx, 0, (back[0, 2] - u0 + 0.5) / sx - 0.5]
    back[1] = [0, back[1, 1] / sy, (back[1, 2] - v0 + 0.5) / sy - 0.5]
    crop = cv2.warpAffine(
        part, back, (size_px, size_px), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return crop, to_frame
