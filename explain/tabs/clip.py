"""A clip on the page: the player, and the timeline that moves with it; timeline.js joins them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from detector.decide import format_probability
from detector.types import Label, Verdict
from explain.tabs import layer
from explain.timeline import Interval, Timeline

LABEL_SHARE = 0.24  # of the timeline's width: what a label takes on a phone
# one script: the layer on the clip moves with the timeline
TIMELINE_JS = "\n".join(
    (Path(__file__).parent / name).read_text(encoding="utf-8")
    for name in ("timeline.js", "layer.js")
)
UNPLAYABLE = (
    '<p class="lens-small lens-unplayable" hidden>Your browser cannot play this kind of clip. '
    "Its frames can still be chosen on the timeline.</p>"
)


def player(path: Path) -> str:
    """The clip itself, as Gradio serves a file it was given; the timeline finds it by its place in
    the page.

    Gradio's own player would re-encode what browsers cannot play, for as long as that takes.
    """
    return layer.player(f"gradio_api/file={quote(str(path))}", UNPLAYABLE)


def timeline(line: Timeline, duration_s: float, chosen: int, drawn: str = "") -> str:
    """One person through the clip: a slider over the sampled frames, drawn with its scores.

    Positions are percentages, so that it fits a phone and a wall. drawn: what layer.js draws on
    the clip (layer.layer_of).
    """
    end = max(duration_s, line.t[-1], 1e-3)
    texts = [_frame_text(line, i) for i in range(len(line.t))]
    state = escape(json.dumps({"t": line.t, "end": end, "texts": texts}))
    marked = "; ".join(f"{i.start_s:.1f} to {i.end_s:.1f} s" for i in line.intervals) or "none"
    return (
        f'<div class="lens-timeline" tabindex="0" role="slider" data-state="{state}" '
        f'data-chosen="{chosen}" data-full="{chosen}"{layer.attribute(drawn)} aria-valuemin="0" '
        f'aria-valuemax="{len(line.t) - 1}" aria-valuenow="{chosen}" '
        f'aria-valuetext="{texts[chosen]}" aria-label="Face {line.track} through the clip. '
        f'Suspicious stretches: {marked}. Arrow keys choose a frame.">'
        f"{_seconds(line, end)}{_scores(line, end, chosen)}{_similarity(line, end)}"
        '<div class="lens-ends" aria-hidden="true"><span>0 s</span>'
        f"<span>{end:.1f} s</span></div></div>"
        f'<p class="lens-small">Chosen: <b class="lens-now">{texts[chosen]}</b>. '
        f"Click, or use the arrow keys. Suspicious seconds: {marked}.</p>"
        '<details class="lens-small"><summary>How to read this</summary><p>Upper trace: '
        "probability of a forgery, dots as measured, line smoothed; hatched: suspicious. Lower "
        "trace: how alike the face's features are from one sampled frame to the next; a drop is a "
        "jump.</p></details>"
    )


def suspicious_seconds(lines: Sequence[Timeline], verdict: Verdict) -> str:
    """A sentence on the seconds that look forged, person by person; empty when there are none.

    The part that the headline names is not named again.
    """
    found = []
    for line in lines:
        apart = [i for i in line.intervals if (i.start_s, i.end_s) != verdict.part]
        spans = " and ".join(f"{i.start_s:.1f}–{i.end_s:.1f} s" for i in apart)
        if spans:
            found.append(spans if len(lines) == 1 else f"{spans} (face {line.track})")
    if not found:
        return ""
    listed = "; ".join(found)
    if verdict.part is not None:
        return f"Other seconds stand out, too: {listed}."
    if verdict.label is Label.FORGED:
        return f"Most of it in these seconds: {listed}."
    return f"Some seconds stand out, too few to be called forged: {listed}."


def _frame_text(line: Timeline, i: int) -> str:
    inside = any(part.start_s <= line.t[i] <= part.end_s for part in line.intervals)
    return f"{line.t[i]:.2f} s, score {format_probability(line.p[i])}" + (
        ", in a suspicious stretch" if inside else ""
    )


def _scores(line: Timeline, end: float, chosen: int) -> str:
    low = line.thresholds.authentic_below
    high = line.thresholds.forged_above
    dots = "".join(
        f'<i class="lens-dot" style="left:{t / end:.2%};bottom:{p:.1%}"></i>'
        for t, p in zip(line.t, line.p, strict=True)
    )
    return (
        '<div class="lens-plot">'
        '<span class="lens-y" style="top:0">1</span><span class="lens-y" style="bottom:0">0</span>'
        f'<div class="lens-band" style="bottom:{low:.1%};height:{high - low:.1%}"></div>'
        '<span class="lens-zone lens-unsure" '
        f'style="bottom:clamp(28px, {(low + high) / 2:.1%} - 8px, 100% - 44px)">cannot say</span>'
        '<span class="lens-zone" style="top:2px">forged-looking</span>'
        '<span class="lens-zone" style="bottom:2px">authentic-looking</span>'
        f"{''.join(_interval(i, end) for i in line.intervals)}"
        f"{_trace(line.t, line.p_smooth, end)}{dots}"
        f'<div class="lens-chosen" style="left:{line.t[chosen] / end:.2%}"></div>'
        '<div class="lens-head"></div></div>'
    )


def _interval(interval: Interval, end: float) -> str:
    start = interval.start_s / end
    length = (interval.end_s - interval.start_s) / end
    return f'<div class="lens-interval" style="left:{start:.2%};width:{length:.2%}"></div>'


def _seconds(line: Timeline, end: float) -> str:
    """The suspicious seconds above their stretches. One that would run into the label before it is
    left out: the sentence below names all.
    """
    labels = []
    last = -LABEL_SHARE
    for i in line.intervals:
        middle = (i.start_s + i.end_s) / 2 / end
        middle = min(max(middle, LABEL_SHARE / 2), 1 - LABEL_SHARE / 2)
        if middle - last >= LABEL_SHARE:
            last = middle
            labels.append(f'<span style="left:{middle:.2%}">{i.start_s:.1f}–{i.end_s:.1f} s</span>')
    return f'<div class="lens-seconds" aria-hidden="true">{"".join(labels)}</div>'


def _similarity(line: Timeline, end: float) -> str:
    middles = [(a + b) / 2 for a, b in zip(line.t, line.t[1:], strict=False)]
    return f'<div class="lens-plot lens-similarity">{_trace(middles, line.similarity, end)}</div>'


def _trace(t: Sequence[float], values: Sequence[float], end: float) -> str:
    points = " ".join(
        f"{100 * x / end:.2f},{100 - 100 * min(max(y, 0), 1):.1f}"
        for x, y in zip(t, values, strict=True)
    )
    return (
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{points}" fill="none" vector-effect="non-scaling-stroke"/></svg>'
    )
