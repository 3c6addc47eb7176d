"""A face's box and evidence maps as a layer for the playing clip; layer.js draws it."""

from __future__ import annotations

import json
from base64 import b64encode
from html import escape

import numpy as np
from numpy.typing import NDArray

from detector.types import FaceCrop
from explain import figures
from explain.figures import Scale
from explain.server.service import Service, Session
from explain.tabs.panel import evidence_scale, frame_of

SWITCH = (
    '<label class="lens-small lens-layer-on"><input type="checkbox"> Draw the face\'s box and '
    "evidence map on the clip</label>"
    '<p class="lens-small lens-layer-note">Of the nearest frame that was looked at, in the colours '
    "of the map below. Only that map is tested.</p>"
)
# A drawn box is about a sampling distance at most from the frame that it was found in.
REACH_SAMPLES = 1.05


def player(source: str, note: str) -> str:
    """A clip with its layer and the switch for it. source: what the browser plays; note: HTML."""
    return (
        '<div class="lens-screen"><video controls muted playsinline preload="auto" '
        f'src="{source}" aria-label="The clip"></video><canvas aria-hidden="true"></canvas></div>'
        f"{SWITCH}{note}"
    )


def layer_of(service: Service, session: Session, position: int) -> str:
    """What layer.js draws for one face, as JSON: for each frame that was looked at its time, the
    box, and the map as a picture with its place. Lengths are shares of the frame's width and
    height, so that a small copy of the clip serves as well.
    """
    face = session.analysis.faces[position]
    media = session.analysis.media
    shows_map = service.explainer_of(session).has_evidence_map
    scale = evidence_scale(session, position) if shows_map else None
    frames = []
    for crop, evidence in zip(face.track.crops, face.evidence, strict=True):
        height, width = frame_of(session, crop).rgb.shape[:2]
        frames.append(
            {
                "t": crop.t,
                "box": [
                    round(edge / side, 5)
                    for edge, side in zip(crop.box_xyxy_px, (width, height) * 2, strict=True)
                ],
                "place": place_of(crop, (width, height)),
                "heat": scale and _picture(evidence.map, scale),
            }
        )
    times = [frame.t for frame in media.frames]
    reach = REACH_SAMPLES * max(np.diff(times), default=media.duration_s)
    return json.dumps({"frames": frames, "reach": round(float(reach), 3)})


def place_of(crop: FaceCrop, frame_px: tuple[int, int]) -> list[float]:
    """The six numbers a, b, c, d, e, f of a canvas' transform (x, y) -> (a x + c y + e, b x + d y +
    f), from the crop's unit square to shares of a frame's width and height.
    """
    side, (width, height) = crop.rgb.shape[0], frame_px
    (a, c, e), (b, d, f) = crop.to_frame.astype(np.float64)
    # pixel centres at integers: the crop reaches from -0.5 to side - 0.5
    e = e - (a + c) / 2 + 0.5
    f = f - (b + d) / 2 + 0.5
    along_x = (side * a, side * c, e)
    along_y = (side * b, side * d, f)
    pairs = zip(along_x, along_y, strict=True)
    return [round(float(n), 6) for x, y in pairs for n in (x / width, y / height)]


def _picture(map_logits: NDArray[np.float32], scale: Scale) -> str:
    """The map in its colours, a pixel per place, as a data: address."""
    rgba = np.rint(255 * scale.rgba(map_logits)).astype(np.uint8)
    return f"data:image/png;base64,{b64encode(figures.png(rgba)).decode()}"


def attribute(layer: str) -> str:
    """The layer as an attribute of the timeline, whose face it belongs to."""
    return f' data-layer="{escape(layer)}"' if layer else ""
