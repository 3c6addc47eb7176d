"""The whole picture, and the map as a layer over it: a slider in the browser sets how strong."""

from __future__ import annotations

from base64 import b64encode
from html import escape

import numpy as np
from numpy.typing import NDArray

from explain import figures
from explain.figures import Rgb

# JPEG quality of the whole picture, which is small already; crops are shown as they are
SHOWN_QUALITY = 92
# one for all frames: it keeps its place when another frame is chosen
STRENGTH = (
    '<label class="lens-strength"><span>The map over the whole picture</span>'
    '<input type="range" min="0" max="100" value="0"><output>0%</output></label>'
    '<button type="button" class="lens-larger">Full screen</button>'
)
STRENGTH_JS = """
element.addEventListener('input', e => {
  if (!e.target.matches('input')) return;
  document.documentElement.style.setProperty('--lens-strength', e.target.value / 100);
  element.querySelector('output').textContent = e.target.value + '%';
});
element.addEventListener('click', e => {
  if (e.target.matches('.lens-larger'))
    document.fullscreenElement ? document.exitFullscreen()
                               : element.closest('.column').requestFullscreen();
});
"""


def picture(rgb: Rgb, layer: NDArray[np.uint8] | None, alt: str) -> str:
    """HTML of a picture (H, W, 3) with a layer (H, W, 4) over it; None: there is no map."""
    shown = f'<img src="{_data("jpeg", figures.jpeg(rgb, SHOWN_QUALITY))}" alt="{escape(alt)}">'
    if layer is not None:
        shown += f'<img class="lens-map" src="{_data("png", figures.png(layer))}" alt="">'
    height, width = rgb.shape[:2]
    return f'<div class="lens-whole" style="aspect-ratio:{width}/{height}">{shown}</div>'


def _data(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"
