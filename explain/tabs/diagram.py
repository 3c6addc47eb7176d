"""The network as a diagram: boxes and arrows as SVG that light up one after the other, and under
them what the chosen box holds. Strings in, strings out.

It is drawn twice, lying for wide screens and standing for phones; the style sheet shows one.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

BOX_W = 108
BOX_H = 74
Place = tuple[int, int]  # left and top of a box
# box -> where it stands when the drawing lies, and when it stands
LYING: Mapping[str, Place] = {
    "picture": (4, 150), "faces": (130, 150), "crop": (256, 150),
    "rgb": (382, 8), "residual": (382, 150), "noise": (508, 150),
    "embedding": (634, 8), "map": (634, 104), "logit": (760, 54),
    "clip": (382, 280), "put_in": (634, 232), "generated": (634, 324),
    "fusion": (886, 116), "mean": (886, 220), "verdict": (886, 324),
}  # fmt: skip
STANDING: Mapping[str, Place] = {
    "picture": (4, 4), "faces": (132, 4), "crop": (260, 4),
    "rgb": (4, 116), "residual": (132, 116), "clip": (260, 116),
    "noise": (132, 222), "put_in": (260, 222),
    "embedding": (4, 328), "map": (132, 328), "generated": (260, 328),
    "logit": (68, 434), "fusion": (260, 434), "mean": (260, 540), "verdict": (132, 540),
}  # fmt: skip
DRAWINGS = (("lying", LYING, 998, 402), ("standing", STANDING, 380, 618))
ARROWS = (
    ("picture", "faces"), ("faces", "crop"), ("crop", "rgb"), ("crop", "residual"),
    ("crop", "clip"), ("residual", "noise"), ("rgb", "embedding"), ("noise", "embedding"),
    ("rgb", "map"), ("noise", "map"), ("embedding", "logit"), ("map", "logit"),
    ("clip", "put_in"), ("clip", "generated"), ("logit", "fusion"), ("put_in", "fusion"),
    ("generated", "fusion"), ("fusion", "mean"), ("mean", "verdict"),
)  # fmt: skip
# how many steps after the start a box lights up
WHEN = {
    "picture": 0, "faces": 1, "crop": 2, "rgb": 3, "residual": 3, "clip": 3, "noise": 4,
    "embedding": 5, "map": 5, "put_in": 5, "generated": 5, "logit": 6, "fusion": 7, "mean": 8,
    "verdict": 9,
}  # fmt: skip
STEP_S = 0.45
# A click, Enter or the space bar shows a box; arrow keys go from box to box.
DIAGRAM_JS = """
const boxes = root => [...root.querySelectorAll('.lens-box')];
const choose = box => {
  for (const other of boxes(element))
    other.setAttribute('aria-pressed', other.dataset.box === box.dataset.box);
  for (const part of element.querySelectorAll('[data-of]'))
    part.hidden = part.dataset.of !== box.dataset.box;
};
element.addEventListener('click', e => {
  const box = e.target.closest('.lens-box');
  if (box) choose(box);
  if (!e.target.closest('.lens-again')) return;
  const net = element.querySelector('.lens-net');
  net.classList.remove('lens-running');
  void net.offsetWidth;  // so that the animation begins anew
  net.classList.add('lens-running');
});
element.addEventListener('keydown', e => {
  const box = e.target.closest('.lens-box');
  if (!box) return;
  const all = boxes(box.closest('svg')), at = all.indexOf(box);
  const to = {ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1}[e.key];
  if (e.key === 'Enter' || e.key === ' ') choose(box);
  else if (to === undefined) return;
  else if (all[to]) all[to].focus();
  e.preventDefault();
});
"""


@dataclass(frozen=True, eq=False)
class Box:
    """One part of the network, with what it holds of the chosen face."""

    title: str  # 15 letters at most
    words: str  # what it is, in two plain sentences
    finding: str  # what it gave, in one
    value: str = ""  # a number or two words, shown in the box
    thumbnail: bytes = b""  # a small picture instead, JPEG
    picture: bytes = b""  # the picture in full, JPEG
    alt: str = ""


def diagram(boxes: Mapping[str, Box], chosen: str = "crop") -> str:
    """boxes: by their names in LYING; those that a model does not have are left out."""
    arrows = [arrow for arrow in ARROWS if set(arrow) <= set(boxes)]
    if "fusion" not in boxes:
        arrows.append(("logit", "mean"))
    drawn = "".join(
        f'<svg class="lens-net-{name}" viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="The network: {len(boxes)} parts">{_arrows(places, arrows, name == "lying")}'
        f"{''.join(_box(key, box, places[key], key == chosen) for key, box in boxes.items())}</svg>"
        for name, places, width, height in DRAWINGS
    )
    details = "".join(_details(key, box, key == chosen) for key, box in boxes.items())
    return (
        f'<div class="lens-net lens-running">{drawn}'
        '<p class="lens-small">Choose a box to see what it holds. '
        '<button type="button" class="lens-again">Run it again</button></p>'
        f'<div class="lens-net-held" aria-live="polite">{details}</div></div>'
    )


def _box(key: str, box: Box, place: Place, chosen: bool) -> str:
    (x, y), middle = place, place[0] + BOX_W / 2
    end = "" if box.title.endswith("?") else "."
    said = escape(f"{box.title}{end} {box.finding}")
    inside = (
        f'<image href="{_data(box.thumbnail)}" x="{x + 31}" y="{y + 22}" width="46" height="46" '
        'preserveAspectRatio="xMidYMid slice"/>'
        if box.thumbnail
        else f'<text class="lens-value" x="{middle:g}" y="{y + 52}">{escape(box.value)}</text>'
    )
    return (
        f'<g class="lens-box" role="button" tabindex="0" data-box="{key}" '
        f'aria-pressed="{str(chosen).lower()}" aria-label="{said}" '
        f'style="--at:{WHEN[key] * STEP_S:g}s"><rect x="{x}" y="{y}" width="{BOX_W}" '
        f'height="{BOX_H}" rx="8"/><text x="{middle:g}" y="{y + 16}">{escape(box.title)}'
        f"</text>{inside}</g>"
    )


def _arrows(places: Mapping[str, Place], arrows: Sequence[tuple[str, str]], lying: bool) -> str:
    return "".join(
        f'<path class="lens-arrow" pathLength="1" style="--at:{(WHEN[end] - 0.6) * STEP_S:g}s" '
        f'd="{_path(places[start], places[end], lying)}"/>'
        for start, end in arrows
    )


def _path(start: Place, end: Place, lying: bool) -> str:
    """A curve between two boxes: sideways, down, or round the box between them."""
    (x0, y0), (x1, y1) = start, end
    right, down = x1 - x0 - BOX_W, y1 - y0 - BOX_H  # the room between them
    side0 = y0 + BOX_H // 2
    side1 = y1 + BOX_H // 2
    if down < 0 and right < 0:  # to the left, in one row
        return f"M{x0} {side0}H{x1 + BOX_W}"
    if right >= 0 and (lying or down < 0):
        middle = (x0 + BOX_W + x1) / 2
        return f"M{x0 + BOX_W} {side0}C{middle:g} {side0} {middle:g} {side1} {x1} {side1}"
    if x0 == x1 and down > BOX_H and x0 > BOX_W:  # round the box between
        x, out = (x0 + BOX_W, 12) if y0 < 200 else (x0, -12)
        return f"M{x} {side0}C{x + out} {side0} {x + out} {side1} {x} {side1}"
    a, b = (x0 + BOX_W // 2, y0 + BOX_H), (x1 + BOX_W // 2, y1)
    if down > BOX_H:  # close to its own column until it is past the next row
        return f"M{a[0]} {a[1]}C{a[0]} {b[1] + 2} {b[0]} {b[1] - 32} {b[0]} {b[1]}"
    middle = (a[1] + b[1]) / 2
    return f"M{a[0]} {a[1]}C{a[0]} {middle:g} {b[0]} {middle:g} {b[0]} {b[1]}"


def _details(key: str, box: Box, shown: bool) -> str:
    picture = f'<img alt="{escape(box.alt)}" src="{_data(box.picture)}">' if box.picture else ""
    return (
        f'<section data-of="{key}"{"" if shown else " hidden"}>{picture}<div>'
        f"<h4>{escape(box.title)}</h4><p>{escape(box.words)}</p><p><b>{escape(box.finding)}</b></p>"
        "</div></section>"
    )


def _data(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{b64encode(jpeg).decode()}"
