"""The report's HTML: one file, nothing fetched, readable on paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from detector.decide import format_probability
from explain.faithfulness import BADGE
from explain.provenance import Statement

_STYLE = """
*{box-sizing:border-box}
body{font:15px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:62rem;
margin:1.5rem auto;padding:0 1rem;overflow-wrap:break-word}
h1{font-size:1.4rem;margin:.2rem 0 .8rem;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid #ccc}
.made{margin:0;font-size:.85rem;color:#333}
.answer{display:flex;flex-wrap:wrap;gap:1rem;align-items:flex-start}
.answer figure{flex:1 1 15rem}
.answer img{max-height:24rem}
.verdict{flex:1 1 17rem;border:2px solid #333;border-radius:.5rem;padding:.7rem 1.2rem}
.verdict strong{font-size:1.5rem;line-height:1.3}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(19rem,100%),1fr));
gap:1.2rem}
figure{margin:0;min-width:0;break-inside:avoid}figure.wide{grid-column:1/-1}
img{max-width:100%;width:auto;height:auto;border:1px solid #ddd}
figcaption{font-size:.85rem;color:#333}
.badge{box-decoration-break:clone;border:2px solid #7f3b08;color:#7f3b08;font-weight:600;
padding:0 .4rem;border-radius:.3rem}
.table{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.85rem;width:100%}
.marks table{min-width:36rem}
td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left;vertical-align:top}
td:nth-child(2){overflow-wrap:anywhere}
@media screen and (max-width:40rem){.marks :is(table,tbody){display:block;min-width:0}
.marks tr{display:grid;grid-template-columns:repeat(3,1fr);margin-bottom:.4rem}
.marks :is(td,th):is(:first-child,:last-child){grid-column:1/-1}
.marks td:first-child{font-weight:600}.marks :last-child:empty{display:none}}
.caveats{font-size:.9rem}.caveats li{margin:.2rem 0}
@page{size:A4;margin:14mm}
@media print{body{margin:0;padding:0;max-width:none;font-size:10.5pt}
.answer{flex-wrap:nowrap}.answer img{max-height:85mm}.first{break-after:page}
.pictures{grid-template-columns:1fr 1fr}.table{overflow:visible}
.marks table{min-width:0}
h2,h3{break-after:avoid}tr{break-inside:avoid}}
"""


@dataclass(frozen=True, eq=False)
class ReportPicture:
    """One picture of the report."""

    name: str  # file name
    png: bytes
    caption: str  # also the alternative text


@dataclass(frozen=True)
class _MarksRow:
    """One map or control in the table of grades."""

    name: str
    deletion: float
    insertion: float
    road: float | None = None
    sentence: str = ""


def page(
    content: Mapping[str, Any],
    pictures: Sequence[Sequence[ReportPicture]],
    stated: Sequence[Statement],
    made: str,
) -> str:
    """The whole document.

    content: see report_json; pictures: of each explained face, the very first of them for page one;
    stated: by the file about itself; made: when.
    """
    name = escape(content["file"]["name"])
    first = next((some[0] for some in pictures if some), None)
    faces = [
        _face(face, [p for p in pictures[i] if p is not first] if i < len(pictures) else ())
        for i, face in enumerate(content["faces"])
    ]
    parts = [
        _first_page(content, first, made),
        *faces,
        "<h2>What the file says about itself</h2><p>Listed apart: never part of the score.</p>",
        *(_statement(one) for one in stated),
        "<h2>How this was made</h2>",
        _table(_made(content)),
    ]
    head = (
        '<meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Report on {name}</title><style>{_STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _first_page(content: Mapping[str, Any], picture: ReportPicture | None, made: str) -> str:
    """What stands by itself: when, by what, the verdict with its picture, the file, the caveats."""
    program = content["program"]
    file = content["file"]
    shown = "" if picture is None else _figure(picture)
    caveats = "".join(f"<li>{escape(text)}</li>" for text in content["limits"])
    facts = {"File": file["name"], "SHA-256 of the file": file["sha256"], "Kind": _kind(file)}
    return (
        f'<section class="first"><p class="made">{escape(program["name"])} '
        f"{escape(program['version'])}, report made on {escape(made)}</p>"
        f"<h1>Report on {escape(file['name'])}</h1>"
        f'<div class="answer">{_verdict(content["verdict"])}{shown}</div>{_table(facts)}'
        f'<h2>Caveats</h2><ul class="caveats">{caveats}</ul></section>'
    )


def _kind(file: Mapping[str, Any]) -> str:
    size = f"{file['width']} x {file['height']} px"
    if file["kind"] == "image":
        return f"photo, {size}"
    looked_at = len(file["frames_looked_at"])
    return f"clip of {file['duration_s']} s, {size}, {looked_at} frames looked at"


def _verdict(verdict: Mapping[str, Any]) -> str:
    score = ""
    if verdict["p_fake"] is not None:
        p = format_probability(verdict["p_fake"])
        of = " in this part" if verdict["part_s"] else ""
        score = f"<p>Calibrated probability of a forgery{of}: {p}</p>"
    headline = escape(verdict["headline"])
    return (
        f'<div class="verdict"><strong>{headline[:1].upper()}{headline[1:]}</strong>'
        f"<p>{escape(verdict['reason'])}</p>{score}</div>"
    )


def _face(face: Mapping[str, Any], pictures: Sequence[ReportPicture]) -> str:
    score = format_probability(face["p_fake"])
    title = f"Face {face['track']}: {escape(face['headline'])}, score {score}"
    explanation = face["explanation"]
    if explanation is None:
        return f"<h2>{title}</h2><p>{escape(face['reason'])}</p>"
    sentences = [face["reason"], *question_sentences(face["evidence"]), *explanation["words"]]
    words = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    shown = "".join(_figure(picture) for picture in pictures)
    return f'<h2>{title}</h2>{words}{_card(explanation)}<div class="pictures">{shown}</div>'


def question_sentences(evidence: Mapping[str, float | None]) -> list[str]:
    """Each of the two questions with its own probability; none where the model asks only one."""
    manipulated = evidence["manipulated"]
    generated = evidence["generated"]
    if manipulated is None or generated is None:
        return []
    put_in = format_probability(manipulated)
    made = format_probability(generated)
    return [
        f"Each question by itself: something was put into this face, {put_in}; the picture was "
        f"generated as a whole, {made}."
    ]


def _figure(picture: ReportPicture) -> str:
    # of the PNG's header
    width, height = (int.from_bytes(picture.png[at : at + 4], "big") for at in (16, 20))
    wide = ' class="wide"' if width > 1.6 * height else ""
    source = base64.b64encode(picture.png).decode()
    return (
        f'<figure{wide}><img src="data:image/png;base64,{source}" width="{width}" '
        f'height="{height}" alt="{escape(picture.caption)}">'
        f"<figcaption>{_badged(picture.caption)}</figcaption></figure>"
    )


def _badged(text: str) -> str:
    """Escaped text, the badge in it drawn as one."""
    return escape(text).replace(BADGE, f'<span class="badge">{BADGE}</span>')


def _card(explanation: Mapping[str, Any]) -> str:
    """The report card: every map's marks beside those of the controls."""
    if explanation["controls"] is None:
        return ""
    rows = [
        _MarksRow(m["method"], g["deletion_auc"], g["insertion_auc"], g["road"], g["sentence"])
        for m in explanation["maps"]
        for g in (m["grade"],)
    ]
    rows += [
        _MarksRow(f"control: {name}", deletion, insertion)
        for name, (deletion, insertion) in explanation["controls"].items()
    ]
    head = (
        "<tr><th>Map</th><th>Deletion (low is good)</th><th>Insertion (high is good)</th>"
        "<th>ROAD (above 0 is right)</th><th></th></tr>"
    )
    body = "".join(_marks_row(row) for row in rows)
    title = "Can the maps be believed for this face?"
    return f'<h3>{title}</h3><div class="table marks"><table>{head}{body}</table></div>'


def _marks_row(row: _MarksRow) -> str:
    road = "" if row.road is None else f"{row.road:+.2f}"
    return (
        f"<tr><td>{escape(row.name)}</td><td>{row.deletion:.2f}</td>"
        f"<td>{row.insertion:.2f}</td><td>{road}</td><td>{_badged(row.sentence)}</td></tr>"
    )


def _statement(one: Statement) -> str:
    found = "".join(f"<p>{escape(sentence)}</p>" for sentence in one.found)
    rows = _table(one.rows) if one.rows else ""
    shown = _figure(ReportPicture("", one.png, one.title)) if one.png else ""
    return f"<h3>{escape(one.title)}</h3>{found}{rows}{shown}<p><em>{escape(one.worth)}</em></p>"


def _made(content: Mapping[str, Any]) -> dict[str, Any]:
    model = content["model"]
    program = content["program"]
    settings = {
        f"setting: {name}": (", ".join(value) or "default") if isinstance(value, list) else value
        for name, value in content["settings"].items()
    }
    return {
        "program": f"{program['name']} {program['version']}",
        "model": model["name"],
        "model sha256": model["sha256"],
        **settings,
    }


def _table(rows: Mapping[str, Any]) -> str:
    body = "".join(
        f"<tr><th>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>"
        for key, value in rows.items()
    )
    return f'<div class="table"><table>{body}</table></div>'
