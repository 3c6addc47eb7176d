"""The report's HTML: one file, nothing fetched, readable on paper."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from detector.types import Label
from explain.faithfulness import BADGE
from explain.words import said

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1a1a1a;background:#fff;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem;margin:0 0 .3rem}h2{font-size:1.15rem;margin:2rem 0 .5rem;border-bottom:1px solid #ccc}
.verdict{border:2px solid #333;border-radius:.5rem;padding:1rem 1.2rem}.verdict strong{font-size:1.5rem}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(19rem,1fr));gap:1.2rem}
figure{margin:0;break-inside:avoid}figure.wide{grid-column:1/-1}img{max-width:100%;height:auto;border:1px solid #ddd}
figcaption{font-size:.85rem;color:#333}.badge{display:inline-block;border:2px solid #7f3b08;color:#7f3b08;
font-weight:600;padding:0 .4rem;border-radius:.3rem}
table{border-collapse:collapse;font-size:.85rem;width:100%}td,th{border:1px solid #ccc;padding:.2rem .5rem;
text-align:left;vertical-align:top}td:nth-child(2){overflow-wrap:anywhere}
@media print{body{margin:0;max-width:none}.pictures{grid-template-columns:1fr 1fr}h2{break-after:avoid}}
"""


def page(content: Mapping[str, Any], pictures: Sequence[Sequence[tuple[str, bytes]]]) -> str:
    """The whole document. pictures: per explained face, (caption, PNG bytes)."""
    name = escape(content["file"]["name"])
    faces = [
        _face(face, pictures[i] if i < len(pictures) else ())
        for i, face in enumerate(content["faces"])
    ]
    parts = [
        f"<h1>Report on {name}</h1>",
        _verdict(content["verdict"]),
        *faces,
        "<h2>What the file says about itself</h2><p>Listed apart: never part of the score.</p>",
        _credentials(content["content_credentials"]),
        _table(content["metadata"]) if content["metadata"] else "<p>No metadata.</p>",
        "<h2>Limits</h2><ul>"
        + "".join(f"<li>{escape(text)}</li>" for text in content["limits"])
        + "</ul>",
        "<h2>How this was made</h2>",
        _table(_made(content)),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Report on {name}</title><style>{_STYLE}</style>"
    )
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'


def _verdict(verdict: Mapping[str, Any]) -> str:
    score = (
        ""
        if verdict["p_fake"] is None
        else f"<p>Calibrated probability of a forgery: {said(verdict['p_fake'])}</p>"
    )
    return (
        f'<div class="verdict"><strong>{Label(verdict["label"]).headline.capitalize()}</strong>'
        f"<p>{escape(verdict['reason'])}</p>{score}</div>"
    )


def _face(face: Mapping[str, Any], pictures: Sequence[tuple[str, bytes]]) -> str:
    title = f"Face {face['track']}: {Label(face['label']).headline}, score {said(face['p_fake'])}"
    explanation = face["explanation"]
    if explanation is None:
        return f"<h2>{title}</h2><p>{escape(face['reason'])}</p>"
    words = "".join(
        f"<p>{escape(sentence)}</p>" for sentence in [face["reason"], *explanation["words"]]
    )
    shown = "".join(_figure(caption, png) for caption, png in pictures)
    return f'<h2>{title}</h2>{words}{_card(explanation)}<div class="pictures">{shown}</div>'


def _figure(caption: str, png: bytes) -> str:
    # of the PNG's header
    width, height = (int.from_bytes(png[at : at + 4], "big") for at in (16, 20))
    wide = ' class="wide"' if width > 1.6 * height else ""
    text = escape(caption).replace(BADGE, f'<span class="badge">{BADGE}</span>')
    source = base64.b64encode(png).decode()
    return (
        f'<figure{wide}><img src="data:image/png;base64,{source}" width="{width}" height="{height}" '
        f'alt="{escape(caption)}"><figcaption>{text}</figcaption></figure>'
    )


def _card(explanation: Mapping[str, Any]) -> str:
    """The report card: every map's marks beside those of the controls."""
    if explanation["controls"] is None:
        return ""
    marks = ("deletion_auc", "insertion_auc", "road", "sentence")
    rows = [(m["method"], *(m["grade"][mark] for mark in marks)) for m in explanation["maps"]]
    rows += [
        (f"control: {name}", a, b, None, "") for name, (a, b) in explanation["controls"].items()
    ]
    head = "<tr><th>Map</th><th>Deletion (low is good)</th><th>Insertion (high is good)</th><th>ROAD</th><th></th></tr>"
    body = "".join(
        f"<tr><td>{escape(name)}</td><td>{a:.2f}</td><td>{b:.2f}</td><td>{'' if r is None else f'{r:+.2f}'}</td>"
        f"<td>{escape(text).replace(BADGE, f'<span class=badge>{BADGE}</span>')}</td></tr>"
        for name, a, b, r, text in rows
    )
    return f"<h3>Can the maps be believed for this face?</h3><table>{head}{body}</table><p></p>"


def _credentials(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "<p>No Content Credentials (C2PA) could be read.</p>"
    return "<p>Content Credentials (C2PA):</p>" + _table({k: v for k, v in found.items() if v})


def _made(content: Mapping[str, Any]) -> dict[str, Any]:
    file, model = content["file"], content["model"]
    settings = {f"setting: {name}": value for name, value in content["settings"].items()}
    return {
        "file": file["name"],
        "file sha256": file["sha256"],
        "picture": f"{file['kind']}, {file['width']} x {file['height']}, {file['duration_s']} s",
        "model": model["name"],
        "model sha256": model["sha256"],
        **settings,
    }


def _table(rows: Mapping[str, Any]) -> str:
    body = "".join(
        f"<tr><th>{escape(str(key))}</th><td>{escape(str(value))}</td></tr>"
        for key, value in rows.items()
    )
    return f"<table>{body}</table>"
