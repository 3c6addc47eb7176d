"""The page's HTML: verdict card, timeline, player, tables. Strings in, strings out; everything from outside is escaped.

What it says is never carried by colour alone: every state has a sign and words, every zone a pattern and a label.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from detector.decide import Calibration
from detector.types import FaceAnalysis, Label, ModelInfo, Verdict
from explain.report_html import HEADLINES
from explain.timeline import Timeline

TIMELINE_JS = (Path(__file__).parent / "timeline.js").read_text(encoding="utf-8")
NOT_EVIDENCE = "This is a statistical impression of one file. It is not evidence against a person."
SIGNS = {
    Label.FORGED: '<path d="M12 3 22 21H2Z"/><path d="M12 10v5M12 17.5v.5"/>',
    Label.AUTHENTIC: '<circle cx="12" cy="12" r="9.5"/><path d="m7.5 12.5 3 3 6-7"/>',
    Label.UNCERTAIN: '<circle cx="12" cy="12" r="9.5"/><path d="M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3q-1 .5-1 1.7M12 16.5v.5"/>',
    Label.NO_FACE: '<circle cx="12" cy="12" r="9.5" stroke-dasharray="3 3"/><path d="M8 12h8"/>',
}


def note(text: str) -> str:
    """A quiet line for the status place; read out when it changes."""
    return f'<p class="lens-note" role="status">{escape(text)}</p>'


def alert(text: str) -> str:
    """A line that asks for attention."""
    return f'<p class="lens-alert" role="alert"><b>Sorry.</b> {escape(text)}</p>'


def verdict_card(verdict: Verdict, calibration: Calibration, model: ModelInfo, false_positives: float | None) -> str:
    """The answer, words first. false_positives: share of authentic faces called forged when it was measured."""
    sign = f'<svg class="lens-sign" viewBox="0 0 24 24" aria-hidden="true">{SIGNS[verdict.label]}</svg>'
    scale = "" if verdict.p_fake is None else _scale(verdict.p_fake, calibration)
    if false_positives is None:
        wrong = "How often it is wrong has not been measured for this model."
    else:
        wrong = f"It called {false_positives:.1%} of the authentic faces it was measured on forged; other material can be worse."
    return (
        f'<section class="lens-card lens-{verdict.label}" aria-label="Verdict">'
        f'<h2>{sign}<span>{HEADLINES[verdict.label]}</span></h2><p class="lens-reason">{escape(verdict.reason)}</p>{scale}'
        f'<p class="lens-small">Model {escape(model.name)} ({escape(model.sha256[:12])}). {wrong}</p>'
        f'<p class="lens-small"><b>{NOT_EVIDENCE}</b></p></section>'
    )


def _scale(p: float, calibration: Calibration) -> str:
    low, high = calibration.authentic_below, calibration.forged_above
    label = (
        f"Score {p:.2f} on a scale from 0, authentic, to 1, forged. "
        f"Below {low:.2f} authentic-looking, above {high:.2f} forged-looking, between the two: cannot say."
    )
    return (
        f'<p class="lens-score">Calibrated probability of a forgery: <b>{p:.2f}</b> '
        "(if forged and authentic files were equally common)</p>"
        f'<div class="lens-scale" role="img" aria-label="{label}">'
        f'<i class="lens-zone-authentic" style="width:{low:.1%}"></i>'
        f'<i class="lens-zone-unsure" style="width:{high - low:.1%}"></i><i class="lens-zone-forged" style="flex:1"></i>'
        f'<b style="left:{p:.1%}"></b></div>'
        '<div class="lens-ends" aria-hidden="true">'
        f"<span>0 authentic-looking</span><span>cannot say {low:.2f}–{high:.2f}</span><span>forged-looking 1</span></div>"
    )


def face_name(face: FaceAnalysis) -> str:
    """How one person is called in choices: 'Face 2: forged-looking (0.93)'."""
    chance = "" if face.verdict.p_fake is None else f" ({face.verdict.p_fake:.2f})"
    return f"Face {face.track.track}: {HEADLINES[face.verdict.label].lower()}{chance}"


def player(path: Path, served_as: str = "gradio_api/file=") -> str:
    """The clip itself; the timeline finds it by its place in the page."""
    return (
        f'<video controls muted playsinline preload="auto" src="{served_as}{quote(str(path))}" aria-label="The clip"></video>'
        '<p class="lens-small lens-unplayable" hidden>Your browser cannot play this kind of clip. '
        "Its frames can still be chosen on the timeline.</p>"
    )


def timeline(line: Timeline, duration_s: float, chosen: int) -> str:
    """One person through the clip: a slider over the sampled frames, drawn with its scores.

    The positions are percentages, so that it fits a phone and a wall. timeline.js moves it.
    """
    end = max(duration_s, line.t[-1], 1e-3)
    texts = [_at(line, i) for i in range(len(line.t))]
    state = escape(json.dumps({"t": line.t, "end": end, "texts": texts}))
    low, high = line.band
    marked = "; ".join(f"{i.start_s:.1f} to {i.end_s:.1f} s" for i in line.intervals) or "none"
    dots = "".join(f'<i class="lens-dot" style="left:{t / end:.2%};bottom:{p:.1%}"></i>' for t, p in zip(line.t, line.p, strict=True))
    intervals = "".join(
        f'<div class="lens-interval" style="left:{i.start_s / end:.2%};width:{(i.end_s - i.start_s) / end:.2%}">'
        f"<span>suspicious {i.start_s:.1f}–{i.end_s:.1f} s</span></div>"
        for i in line.intervals
    )
    middles = [(a + b) / 2 for a, b in zip(line.t, line.t[1:], strict=False)]
    return (
        f'<div class="lens-timeline" tabindex="0" role="slider" data-state="{state}" data-chosen="{chosen}" data-full="{chosen}" '
        f'aria-label="Face {line.track} through the clip. Suspicious stretches: {marked}. Arrow keys choose a frame." '
        f'aria-valuemin="0" aria-valuemax="{len(line.t) - 1}" aria-valuenow="{chosen}" aria-valuetext="{texts[chosen]}">'
        f'<div class="lens-plot"><span class="lens-y" style="top:0">1</span><span class="lens-y" style="bottom:0">0</span>'
        f'<div class="lens-band" style="bottom:{low:.1%};height:{high - low:.1%}"><span>cannot say</span></div>{intervals}'
        f"{_trace(line.t, line.p_smooth, end)}{dots}"
        f'<div class="lens-chosen" style="left:{line.t[chosen] / end:.2%}"></div><div class="lens-head"></div></div>'
        f'<div class="lens-plot lens-similarity">{_trace(middles, line.similarity, end)}</div>'
        f'<div class="lens-ends" aria-hidden="true"><span>0 s</span><span>{end:.1f} s</span></div></div>'
        '<p class="lens-small">Upper trace: probability of a forgery, dots as measured, line smoothed; hatched: suspicious. '
        "Lower trace: how alike the face's features are from one sampled frame to the next; a drop is a jump. "
        f'Chosen: <b class="lens-now">{texts[chosen]}</b>.</p>'
    )


def _at(line: Timeline, i: int) -> str:
    inside = any(part.start_s <= line.t[i] <= part.end_s for part in line.intervals)
    return f"{line.t[i]:.2f} s, score {line.p[i]:.2f}" + (", in a suspicious stretch" if inside else "")


def _trace(t: Sequence[float], values: Sequence[float], end: float) -> str:
    points = " ".join(f"{100 * x / end:.2f},{100 - 100 * min(max(y, 0), 1):.1f}" for x, y in zip(t, values, strict=True))
    return (
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">'
        f'<polyline points="{points}" fill="none" vector-effect="non-scaling-stroke"/></svg>'
    )


def table(rows: Mapping[str, str], empty: str) -> str:
    """Names and values, or the sentence `empty`."""
    if not rows:
        return f'<p class="lens-small">{escape(empty)}</p>'
    body = "".join(f'<tr><th scope="row">{escape(k)}</th><td>{escape(v)}</td></tr>' for k, v in rows.items())
    return f'<div class="lens-table"><table>{body}</table></div>'


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a heading for each column; the first cell of a row names it."""
    top = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(row[0])}</th>' + "".join(f"<td>{escape(cell)}</td>" for cell in row[1:]) + "</tr>"
        for row in rows
    )
    return f'<div class="lens-table"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def sentences(lines: Sequence[str]) -> str:
    return "".join(f"<p>{escape(line)}</p>" for line in lines)
