"""The only place where numbers become colours.

Everything returns (H, W, 3) uint8 sRGB. Colours are safe for colour-blind eyes and never alone:
every picture with a heat map has its scale beside it, every box its number. One scale serves all
frames of a report.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from detector.faces import cut_square
from detector.types import FaceCrop
from explain.cam import EVIDENCE_MAP, Heat
from explain.faithfulness import shares
from explain.regions import POSITIVE_SHOWN, SIGNED_SHOWN, Regions
from explain.timeline import Timeline

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Rgb = NDArray[np.uint8]

ONE_SIDED = "cividis"  # dark blue to yellow
TWO_SIDED = "PuOr_r"  # purple (authentic) over white to orange (forged)
# of a heat map at the end of its scale; nothing at all where there is no heat
STRONGEST_ALPHA = 0.75
# the same for values below 0: what speaks for an authentic face is the background
NEGATIVE_ALPHA = 0.35
FRAME_PX = 1280  # longer side of a shown frame
FACE_PX = 448  # side of a shown face
FACE_MARGIN = 1.7  # side of its picture / longer side of the face box
BAR_PX = 448  # least width of a scale's bar, and its colours
BAR_BACKGROUND, BAR_TEXT = "#1f2430", "#e8e8ea"
LEAST_LIMIT = 1e-6  # a scale never blows up rounding noise

# matplotlib's text layout keeps global caches that are not made for threads.
_drawing = threading.Lock()


@dataclass(frozen=True, eq=False)
class View:
    """A frame, or a part of one, made ready to be shown."""

    rgb: Rgb
    from_frame: NDArray[np.float64]  # (2, 3) affine, frame px -> view px, pixel centres at integers


@dataclass(frozen=True)
class Scale:
    """What a colour stands for; shared by all maps of one method in a report."""

    limit: float  # value at the end of the scale
    signed: bool  # from -limit to limit instead of from 0
    label: str

    def unit(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values -> [0, 1] along the colour map, clipped at the ends."""
        low = -self.limit if self.signed else 0.0
        return np.clip((values - low) / (self.limit - low), 0, 1).astype(np.float32)

    def rgba(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values (...,) -> (..., 4) in [0, 1]; alpha grows with the size of the value."""
        colour = coloured(self.unit(values), TWO_SIDED if self.signed else ONE_SIDED)
        strongest = np.where(values < 0, NEGATIVE_ALPHA, STRONGEST_ALPHA)
        colour[..., 3] = strongest * np.clip(np.abs(values) / self.limit, 0, 1) ** 0.6
        return colour


def coloured(unit: NDArray[np.float32], name: str = ONE_SIDED) -> NDArray[np.float32]:
    """Values (...,) in [0, 1] -> RGBA (..., 4) in [0, 1] along one of matplotlib's colour maps."""
    import matplotlib

    return np.asarray(matplotlib.colormaps[name](unit), np.float32)


def shared_scale(heats: Sequence[Heat]) -> Scale:
    """One scale for maps of one method over several frames.

    Raises ValueError without maps and for maps of several methods.
    """
    methods = sorted({heat.method for heat in heats})
    if len(methods) != 1:
        raise ValueError(f"expected maps of one method, but got {methods}")
    first = heats[0]
    largest = max(float(np.abs(heat.map).max()) for heat in heats)
    limit = max(largest, LEAST_LIMIT)
    what = f"{first.method}: {first.target}"
    if first.method == EVIDENCE_MAP:
        what = "evidence at each place"
    return Scale(limit, first.signed, what)


# ----------------------------------------------------------------------------------------------
# frames and faces


def view_frame(rgb: Rgb, max_px: int = FRAME_PX) -> View:
    """The whole frame, scaled down to `max_px` if it is larger."""
    height, width = rgb.shape[:2]
    factor = min(1.0, max_px / max(height, width))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = rgb if size == (width, height) else cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    fx, fy = size[0] / width, size[1] / height
    return View(
        np.asarray(small, np.uint8), np.array([[fx, 0, (fx - 1) / 2], [0, fy, (fy - 1) / 2]])
    )


def view_face(rgb: Rgb, crop: FaceCrop, size_px: int = FACE_PX) -> View:
    """A face with its surroundings, from the frame's own pixels; black beyond its edge."""
    cut, to_frame = cut_square(rgb, crop.box_xyxy_px, size_px, FACE_MARGIN, cv2.BORDER_CONSTANT)
    return View(cut, np.asarray(cv2.invertAffineTransform(to_frame.astype(np.float64))))


def lay_back(
    values: NDArray[np.float32], to_target: NDArray, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Move a crop's map onto a picture of `shape` (h, w).

    to_target: (2, 3) affine, crop px -> picture px. Bilinear interpolation in double precision
    (OpenCV's rounds positions to 1/32 px). Returns the values (h, w) and where the crop covers the
    picture.
    """
    from scipy.ndimage import map_coordinates

    back = cv2.invertAffineTransform(np.asarray(to_target, np.float64))
    y, x = np.mgrid[: shape[0], : shape[1]]
    u = back[0, 0] * x + back[0, 1] * y + back[0, 2]
    v = back[1, 0] * x + back[1, 1] * y + back[1, 2]
    side_y, side_x = values.shape
    covered = (u >= -0.5) & (u <= side_x - 0.5) & (v >= -0.5) & (v <= side_y - 0.5)
    laid = np.zeros(shape, np.float32)
    laid[covered] = map_coordinates(
        values, [v[covered], u[covered]], order=1, mode="nearest", output=np.float32
    )
    return laid, covered


def overlay(view: View, crop: FaceCrop, heat: Heat, scale: Scale) -> Rgb:
    """A heat map over the frame's own pixels, where the crop came from."""
    rgba = _laid(view, crop, heat, scale)
    alpha = rgba[..., 3:]
    return _u8(view.rgb * (1 - alpha) + 255 * rgba[..., :3] * alpha)


def heat_layer(view: View, crop: FaceCrop, heat: Heat, scale: Scale) -> NDArray[np.uint8]:
    """The same heat map by itself, (H, W, 4) uint8 RGBA of the view's size, to be laid over it."""
    return _u8(255 * _laid(view, crop, heat, scale))


def _laid(view: View, crop: FaceCrop, heat: Heat, scale: Scale) -> NDArray[np.float32]:
    """A map's colours (H, W, 4) in [0, 1] on a view; nothing where the crop does not reach."""
    joined = _chain(view.from_frame, crop.to_frame)
    laid, covered = lay_back(heat.inside_frame(crop.inside).map, joined, view.rgb.shape[:2])
    rgba = scale.rgba(laid)
    rgba[..., 3] *= covered
    return rgba


def _chain(second: NDArray, first: NDArray) -> NDArray[np.float64]:
    """(2, 3) affine that does `first`, then `second`."""
    a, b = (np.vstack([np.asarray(m, np.float64), [0, 0, 1]]) for m in (second, first))
    return (a @ b)[:2]


def annotate(view: View, faces: Iterable[tuple[FaceCrop, str]]) -> Rgb:
    """Boxes with a text label each: white on black, so that they read on any picture."""
    image = Image.fromarray(view.rgb)
    draw = ImageDraw.Draw(image)
    side = max(view.rgb.shape[:2])
    width = max(2, side // 320)
    font = ImageFont.load_default(max(13, side // 45))
    for crop, text in faces:
        corners = (
            np.array(crop.box_xyxy_px).reshape(2, 2) @ view.from_frame[:, :2].T
            + view.from_frame[:, 2]
        )
        (x0, y0), (x1, y1) = corners.tolist()
        draw.rectangle(
            (x0 - width, y0 - width, x1 + width, y1 + width), outline="black", width=3 * width
        )
        draw.rectangle((x0, y0, x1, y1), outline="white", width=width)
        _, _, right, bottom = draw.textbbox((0, 0), text, font=font)
        at = (max(min(x0, view.rgb.shape[1] - right - 8), 0), max(y0 - bottom - 8, 0))
        draw.rectangle((at[0], at[1], at[0] + right + 8, at[1] + bottom + 6), fill="black")
        draw.text((at[0] + 4, at[1] + 2), text, fill="white", font=font)
    return np.asarray(image)


# ----------------------------------------------------------------------------------------------
# crop pictures


def heat_picture(crop_rgb: Rgb, heat: Heat, scale: Scale) -> Rgb:
    """A heat map over the crop itself."""
    rgba = scale.rgba(heat.map)
    return _u8(crop_rgb * (1 - rgba[..., 3:]) + 255 * rgba[..., :3] * rgba[..., 3:])


def residual_picture(residual: NDArray[np.float32], gain: float = 8.0) -> Rgb:
    """The noise residual (S, S, 3) in grey levels, amplified around mid-grey."""
    return _u8(128 + gain * residual)


def error_picture(error: NDArray[np.float32], limit: float = 16.0) -> Rgb:
    """Absolute error (S, S) in grey levels, black-blue 0 to yellow at `limit`."""
    return _u8(255 * coloured(np.clip(error / limit, 0, 1))[..., :3])


def regions_positive(crop_rgb: Rgb, regions: Regions, count: int = POSITIVE_SHOWN) -> Rgb:
    """LIME's first picture: the superpixels that speak most for a forgery, the rest hidden."""
    shown = np.isin(regions.segments, regions.strongest(count, positive_only=True))
    return _outlined(np.where(shown[..., None], crop_rgb, np.uint8(40)), regions, shown)


def regions_signed(crop_rgb: Rgb, regions: Regions, scale: Scale, count: int = SIGNED_SHOWN) -> Rgb:
    """LIME's second picture: the strongest superpixels of either sign with their weights."""
    chosen = regions.strongest(count, positive_only=False)
    shown = np.isin(regions.segments, chosen)
    weights = np.where(shown, regions.weights[regions.segments], 0).astype(np.float32)
    side = 2 * crop_rgb.shape[0]  # twice the size: the weights are written into the patches
    tinted = heat_picture(crop_rgb, Heat(weights, "LIME", "frame logit", signed=True), scale)
    picture = _outlined(tinted, regions, shown)
    image = Image.fromarray(picture).resize((side, side), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(13)
    for segment in chosen:
        y, x = (2 * float(np.mean(axis)) for axis in np.nonzero(regions.segments == segment))
        text = f"{regions.weights[segment]:+.2g}"
        draw.text(
            (x, y), text, fill="white", font=font, anchor="mm", stroke_width=2, stroke_fill="black"
        )
    return np.asarray(image)


def _outlined(picture: Rgb, regions: Regions, shown: NDArray[np.bool_]) -> Rgb:
    """Thin grey lines between all superpixels, white ones around those shown."""
    from skimage.segmentation import find_boundaries

    out = picture.copy()
    out[find_boundaries(regions.segments, mode="inner")] = 110
    out[find_boundaries(np.where(shown, regions.segments + 1, 0), mode="inner")] = 255
    return out


def side_by_side(pictures: Sequence[Rgb], gap_px: int = 8) -> Rgb:
    """Pictures of one height, left to right, on white."""
    gap = np.full((pictures[0].shape[0], gap_px, 3), 255, np.uint8)
    parts = [part for picture in pictures for part in (gap, picture)][1:]
    return np.hstack(parts)


def stack(pictures: Sequence[Rgb], gap_px: int = 4) -> Rgb:
    """Pictures one below the other, left-aligned, on white."""
    width = max(picture.shape[1] for picture in pictures)
    parts = [
        np.pad(p, ((0, gap_px), (0, width - p.shape[1]), (0, 0)), constant_values=255)
        for p in pictures
    ]
    return np.vstack(parts)


def enlarged(picture: Rgb, factor: int = 2) -> Rgb:
    """Every pixel as a square of `factor` pixels a side."""
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


def mask_picture(mask: NDArray[np.float32]) -> Rgb:
    """A mask (H, W) in [0, 1], black to white."""
    return np.repeat(_u8(255 * mask)[..., None], 3, axis=2)


def with_colour_bar(picture: Rgb, scale: Scale) -> Rgb:
    """A picture of heat with its scale below, dark as a player's controls on a light page and on a
    dark one.
    """
    bar = colour_bar(scale, max(picture.shape[1], BAR_PX))
    top, width = picture.shape[0] + 4, max(picture.shape[1], bar.shape[1])
    both = np.full((top + bar.shape[0], width, 3), ImageColor.getrgb(BAR_BACKGROUND), np.uint8)
    both[: picture.shape[0], : picture.shape[1]] = picture
    both[top:, : bar.shape[1]] = bar
    return both


def regions_chart(crop_rgb: Rgb, regions: Regions, scale: Scale | None = None) -> Rgb:
    """LIME's second picture with its scale below, by default its own."""
    scale = scale or shared_scale([regions.heat()])
    return with_colour_bar(regions_signed(crop_rgb, regions, scale), scale)


# ----------------------------------------------------------------------------------------------
# charts


def colour_bar(scale: Scale, width: int = BAR_PX) -> Rgb:
    """The scale with its numbers, laid over grey as the maps are over a face; width in px."""
    low = -scale.limit if scale.signed else 0.0
    values = np.linspace(low, scale.limit, 256, dtype=np.float32)[None].repeat(2, axis=0)
    rgba = scale.rgba(values)
    strip = 0.5 * (1 - rgba[..., 3:]) + rgba[..., :3] * rgba[..., 3:]
    figure = blank_figure(BAR_PX / 100, 0.72, dpi=100 * width / BAR_PX)
    figure.set_facecolor(BAR_BACKGROUND)
    axes = figure.subplots()
    axes.imshow(strip, aspect="auto", extent=(low, scale.limit, 0, 1))
    axes.set_yticks([])
    axes.tick_params(labelsize=8, colors=BAR_TEXT)
    axes.set_xlabel(scale.label, fontsize=8, color=BAR_TEXT)
    if scale.signed:
        axes.set_title("authentic" + " " * 60 + "forged", fontsize=7, pad=2, color=BAR_TEXT)
    return drawn(figure)


def timeline_chart(timeline: Timeline) -> Rgb:
    """Scores and similarity of one person through the clip."""
    figure = blank_figure(9.0, 3.8)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    _draw_scores(top, timeline)
    middles = [(a + b) / 2 for a, b in zip(timeline.t, timeline.t[1:], strict=False)]
    bottom.plot(middles, timeline.similarity, color="#444444", marker=".", linewidth=1)
    bottom.set_ylabel("frame-to-frame\nsimilarity", fontsize=8)
    bottom.set_xlabel("seconds", fontsize=8)
    for axes in (top, bottom):
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.25)
    return drawn(figure)


def _draw_scores(axes: Any, timeline: Timeline) -> None:
    low = timeline.thresholds.authentic_below
    high = timeline.thresholds.forged_above
    axes.axhspan(low, high, color="#bbbbbb", alpha=0.4, label="cannot say", zorder=0)
    for interval in timeline.intervals:
        axes.axvspan(
            interval.start_s,
            interval.end_s,
            facecolor="#e08214",
            alpha=0.25,
            hatch="//",
            edgecolor="#7f3b08",
            zorder=1,
        )
        middle = (interval.start_s + interval.end_s) / 2
        text = f"suspicious\n{interval.start_s:.1f}-{interval.end_s:.1f} s"
        axes.text(middle, 0.03, text, ha="center", va="bottom", fontsize=8, zorder=4)
    axes.plot(
        timeline.t,
        timeline.p,
        linestyle="none",
        marker="o",
        markersize=4,
        color="#5e3c99",
        label="frame",
    )
    axes.plot(timeline.t, timeline.p_smooth, color="#000000", linewidth=1.6, label="smoothed")
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("probability of a forgery", fontsize=8)
    axes.set_title(f"Face {timeline.track}", fontsize=9, loc="left")
    axes.legend(
        fontsize=7, loc="lower right", bbox_to_anchor=(1, 1), ncols=3, frameon=False
    )  # above: nothing is hidden


@dataclass(frozen=True)
class CurveLine:
    """One deletion or insertion curve."""

    name: str
    logits: Sequence[float]  # at faithfulness.shares of the area
    is_control: bool


def curves_chart(lines: Sequence[CurveLine], title: str) -> Rgb:
    """Deletion or insertion curves over one axis."""
    figure = blank_figure(4.48, 3.0)
    axes = figure.subplots()
    control_dashes = cycle(("--", ":", "-."))
    for line in lines:
        share = 100 * shares(len(line.logits) - 1)
        style: dict[str, Any] = {"linewidth": 1.8}
        if line.is_control:
            style = {"color": "#888888", "linestyle": next(control_dashes), "linewidth": 1.0}
        axes.plot(share, line.logits, label=line.name, **style)
    axes.set_title(title, fontsize=9)
    axes.set_xlabel("share of the crop, hottest first (%)", fontsize=8)
    axes.set_ylabel("frame logit", fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.25)
    axes.legend(fontsize=6)
    return drawn(figure)


def blank_figure(width_in: float, height_in: float, dpi: float = 100) -> Figure:
    """A matplotlib figure with nothing on it yet, whose parts will not overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_in, height_in), dpi=dpi, layout="constrained")


def drawn(figure: Figure) -> Rgb:
    """A matplotlib figure as pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _drawing:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _u8(picture: NDArray) -> Rgb:
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def png(rgb: Rgb) -> bytes:
    """The picture as PNG bytes; the same bytes for the same picture."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG", optimize=False)
    return buffer.getvalue()


def jpeg(rgb: Rgb, quality: int = 82) -> bytes:
    """The picture as a JPEG, by default a small one for tables of many."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="JPEG", quality=quality)
    return buffer.getvalue()
