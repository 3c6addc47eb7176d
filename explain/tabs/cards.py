"""The main tab's cards as HTML. Strings in, strings out; everything from outside is escaped.

What they say is never carried by colour alone: every state has a sign and words, every zone a
pattern and a label.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from detector.decide import format_probability
from detector.profile import Thresholds
from detector.types import Analysis, FaceAnalysis, Label, Media, ModelInfo, Verdict
from explain import figures
from explain.figures import Rgb
from explain.pipeline import most_suspicious
from explain.provenance import Statement
from explain.server import markup

NOT_EVIDENCE = "This is a statistical impression of one file. It is not evidence against a person."
SIGNS = {
    Label.FORGED: '<path d="M12 3 22 21H2Z"/><path d="M12 10v5M12 17.5v.5"/>',
    Label.AUTHENTIC: '<circle cx="12" cy="12" r="9.5"/><path d="m7.5 12.5 3 3 6-7"/>',
    Label.UNCERTAIN: '<circle cx="12" cy="12" r="9.5"/>'
    '<path d="M9.5 9.5a2.5 2.5 0 1 1 3.5 2.3q-1 .5-1 1.7m0 3v.5"/>',
    Label.NO_FACE: '<circle cx="12" cy="12" r="9.5" stroke-dasharray="3 3"/><path d="M8 12h8"/>',
}
# A click on an example calls the Python listener `select`; the address then names the example.
EXAMPLES_JS = """
element.addEventListener('click', e => {
  const button = e.target.closest('[data-index]');
  if (!button) return;
  const address = new URL(location);
  address.searchParams.set('example', button.dataset.name);
  history.replaceState(history.state, '', address);
  trigger('select', {index: Number(button.dataset.index)});
});
"""
# Choosing a face calls the Python listener `select` of a hidden component whose value is the
# choice; an event's data Gradio would repeat as it first came, where the event had to wait.
FACES_JS = """
document.addEventListener('change', e => {
  if (!e.target.matches('#lens-face input')) return;
  props.value = e.target.value;
  trigger('select');
});
"""
THUMBNAIL_PX = 72
WHAT = (
    '<ul class="lens-what">'
    "<li><b>Whether</b>: forged-looking, authentic-looking, or cannot say, always with the "
    "reason.</li>"
    "<li><b>Where</b>: the places on the face that speak for it, drawn over the picture.</li>"
    "<li><b>When</b>: in a clip, the score through time and the suspicious seconds.</li>"
    "<li><b>How far to trust it</b>: the map shown is tested on the face itself, against maps "
    "that know nothing of the detector.</li></ul>"
)


def welcome(finished: str = WHAT) -> str:
    """What the page does, before there is anything to say. finished: an example of it, as HTML."""
    return (
        '<section class="lens-card" aria-label="What you will get"><h2>What you will get</h2>'
        f"{finished}"
        '<p class="lens-small">A detector like this recognises the kinds of forgery it was trained '
        "on. It misses others, and it sometimes calls an authentic face forged: never use it as "
        "proof.</p></section>"
    )


def finished(
    caption: str, headline: str, reason: str, png: bytes, timeline: str, badge: str = ""
) -> str:
    """A finished answer to look at: the picture with its map and the map's badge, the words, and a
    clip's timeline, which cannot be moved here.
    """
    alt = f"The face with its evidence map; the answer: {headline}"
    return (
        f'<div class="lens-finished"><div>{badge}<img alt="{escape(alt)}" src="{_data(png)}">'
        "</div><div>"
        f'<p class="lens-small">A finished example: {escape(caption)}</p>'
        f'<p class="lens-answer">{escape(headline)}</p><p>{escape(reason)}</p>{WHAT}</div></div>'
        f"<div inert>{timeline}</div>"
    )


def verdict_card(
    verdict: Verdict,
    thresholds: Thresholds,
    model: ModelInfo,
    entry: Mapping[str, Any],
    suspicious: str = "",
    face: FaceAnalysis | None = None,
    looked_at: str = "",
) -> str:
    """The answer, words first.

    thresholds: those that the score was compared with; entry: the model's, in the manifest;
    suspicious: a sentence on the clip's seconds; face: the one whose score is the file's;
    looked_at: what was analysed, for the fold.
    """
    drawn = SIGNS[verdict.label]
    sign = f'<svg class="lens-sign" viewBox="0 0 24 24" aria-hidden="true">{drawn}</svg>'
    scale = "" if verdict.p_fake is None else _scale(verdict, verdict.p_fake, thresholds)
    questions = "" if face is None else _questions(face)
    seconds = f'<p class="lens-reason">{escape(suspicious)}</p>' if suspicious else ""
    return (
        f'<section class="lens-card lens-{verdict.label}" aria-label="Verdict">'
        f"<h2>{sign}<span>{verdict.headline[:1].upper()}{verdict.headline[1:]}</span></h2>"
        f'<p class="lens-reason">{escape(verdict.reason)}</p>{seconds}{scale}{questions}'
        f'<p class="lens-small"><b>{NOT_EVIDENCE}</b> {how_often_wrong(entry)}</p>'
        f"{_facts(model, thresholds, looked_at)}</section>"
    )


def not_looked_at(media: Media) -> str:
    """Under the answer: what of the file it says nothing about."""
    notes = escape(" ".join(media.notes))
    return f'<p class="lens-small">{notes}</p>' if notes else ""


def how_often_wrong(entry: Mapping[str, Any]) -> str:
    """The false-positive rate that was measured, or else the one that was aimed at.

    entry: the model's, in the manifest.
    """
    measured = entry.get("false_positives")
    target = entry.get("false_positive_target")
    if measured is not None:
        text = f"When measured, it called {float(measured):.1%} of authentic faces forged"
    elif target is not None:
        text = (
            f"Its threshold was set to call about {float(target):.0%} of authentic validation "
            "faces forged"
        )
    else:
        return "How often it is wrong has not been measured for this model."
    return f"{text}; on other material it can be more."


def _facts(model: ModelInfo, thresholds: Thresholds, looked_at: str) -> str:
    """What few ask for: size, seconds, model and thresholds, behind one click."""
    low, high = thresholds.authentic_below, thresholds.forged_above
    lines = [
        looked_at,
        f"Model {model.name} ({model.sha256[:12]}).",
        f"Authentic-looking below {low:.2f}, forged-looking above {high:.2f}.",
    ]
    told = markup.sentences([line for line in lines if line])
    return f'<details class="lens-small"><summary>Technical details</summary>{told}</details>'


def _scale(verdict: Verdict, p: float, thresholds: Thresholds) -> str:
    """The meter: always of the score that the headline speaks of."""
    low, high = thresholds.authentic_below, thresholds.forged_above
    subject = "Calibrated probability of a forgery"
    if verdict.part is not None:
        subject += " in this part"
    elif verdict.faces is not None:
        subject += " for the most forged-looking face"
    unused = ""
    if verdict.label is Label.UNCERTAIN and not low <= p <= high:
        unused = " This score is not used, for the reason above."
    label = (
        f"Score {format_probability(p)} on a scale from 0, authentic, to 1, forged. "
        f"Below {low:.2f} authentic-looking, above {high:.2f} forged-looking, between the two: "
        f"cannot say.{unused}"
    )
    marker = ' class="lens-unused"' if unused else ""
    return (
        f'<p class="lens-score">{subject}: <b>{format_probability(p)}</b> '
        f"(if forged and authentic files were equally common).{unused}</p>"
        # over its zone, wherever the thresholds lie, and not beyond the ends of the scale
        '<div class="lens-over" aria-hidden="true">'
        f'<span style="left:clamp(4.5rem, {(low + high) / 2:.1%}, 100% - 4.5rem)">'
        f"cannot say {low:.2f}–{high:.2f}</span></div>"
        f'<div class="lens-scale" role="img" aria-label="{label}">'
        f'<i class="lens-zone-authentic" style="width:{low:.1%}"></i>'
        f'<i class="lens-zone-unsure" style="width:{high - low:.1%}"></i>'
        f'<i class="lens-zone-forged" style="flex:1"></i><b{marker} style="left:{p:.1%}"></b></div>'
        '<div class="lens-ends" aria-hidden="true"><span>0 authentic-looking</span>'
        "<span>forged-looking 1</span></div>"
    )


def _questions(face: FaceAnalysis) -> str:
    """Two small bars, one for each question; empty where the model asks only one."""
    if face.manipulated is None or face.generated is None:
        return ""
    asked = {
        "Something was put into it": face.manipulated,
        "It was generated as a whole": face.generated,
    }
    rows = "".join(
        f'<div class="lens-question"><span>{question}</span>'
        f'<meter min="0" max="1" value="{p:.4f}" aria-label="{question}"></meter>'
        f"<b>{format_probability(p)}</b></div>"
        for question, p in asked.items()
    )
    whole = " (over the whole clip)" if len(face.track.crops) > 1 else ""
    asks = f"<p>Of this face, each question by itself{whole}:</p>"
    return f'<div class="lens-questions">{asks}{rows}</div>'


def face_name(face: FaceAnalysis) -> str:
    """How one person is called in choices: 'Face 2: forged-looking (0.93)'."""
    chance = "" if face.verdict.p_fake is None else f" ({format_probability(face.verdict.p_fake)})"
    return f"Face {face.track.track}: {face.verdict.headline}{chance}"


def faces(people: Sequence[FaceAnalysis]) -> str:
    """A choice of people as they stand in the picture, the first of `people` chosen: each with a
    picture, label and reason. FACES_JS tells the page which was chosen, by position in `people`.
    """
    entries = "".join(
        f'<label><input type="radio" name="lens-face" value="{i}"{" checked" if i == 0 else ""}>'
        f'<img alt="" src="{_data(figures.jpeg(_thumbnail(people[i])), "jpeg")}">'
        f"<span><b>{escape(face_name(people[i]))}</b> {escape(people[i].verdict.reason)}</span>"
        "</label>"
        for i in reading_order(people)
    )
    many = f"{len(people)} faces, as they stand in the picture. Choose one to see its pictures."
    return (
        f'<p class="lens-small">{many}</p><div class="lens-faces" role="radiogroup" '
        f'aria-label="Face">{entries}</div>'
    )


def reading_order(people: Sequence[FaceAnalysis]) -> list[int]:
    """Positions of people in rows from top to bottom, each row from left to right, by where they
    are first seen. Two stand in one row when neither's middle lies below or above the other's box.
    """
    boxes = [face.track.crops[0].box_xyxy_px for face in people]
    rows: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i][1] + boxes[i][3]):
        middle = (boxes[i][1] + boxes[i][3]) / 2
        first = boxes[rows[-1][0]] if rows else None
        if first is not None and first[1] <= middle <= first[3]:
            rows[-1].append(i)
        else:
            rows.append([i])
    return [i for row in rows for i in sorted(row, key=lambda i: boxes[i][0])]


def _thumbnail(face: FaceAnalysis) -> Rgb:
    shown = face.track.crops[most_suspicious(face)].shown
    return figures.view_frame(shown, THUMBNAIL_PX).rgb


@dataclass(frozen=True, eq=False)
class ExampleButton:
    """A button that starts an example."""

    png: bytes
    caption: str
    name: str  # of its file


def examples(buttons: Sequence[ExampleButton]) -> str:
    """The examples' buttons, clips with a sign; EXAMPLES_JS tells the page which was clicked."""
    shown = "".join(
        f'<button type="button" data-index="{i}" data-name="{escape(Path(button.name).stem)}">'
        f'<span class="lens-thumb{" lens-clip" if button.name.endswith(".mp4") else ""}">'
        f'<img alt="" src="{_data(button.png)}"></span>'
        f"<span>{escape(button.caption)}</span></button>"
        for i, button in enumerate(buttons)
    )
    return f'<div class="lens-examples">{shown}</div>'


def _data(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def about_file(said: Sequence[Statement]) -> str:
    """What the file says about itself, each with what it is worth."""
    return "".join(_statement(one) for one in said)


def _statement(one: Statement) -> str:
    rows = markup.table(one.rows, "") if one.rows else ""
    shown = ""
    if one.png:
        shown = f'<img alt="{escape(one.title)}" src="{_data(one.png)}">'
    return (
        f'<section class="lens-stated"><h4>{escape(one.title)}</h4>'
        f"{markup.sentences(one.found)}{rows}{shown}"
        f'<p class="lens-small">{escape(one.worth)}</p></section>'
    )


def status_line(analysis: Analysis) -> str:
    """What was analysed, in one line."""
    media = analysis.media
    faces = len(analysis.faces) + analysis.faces_left_out
    found = f"{faces} face{'' if faces == 1 else 's'}"
    seconds = analysis.timing_s.get("total", 0.0)
    if media.kind == "video":
        what = f"{media.duration_s:.1f} s of video, {len(media.frames)} frames sampled"
    else:
        what = f"Photo, {media.width} × {media.height} px"
    return f"{what}, {found}, took {seconds:.1f} s."
