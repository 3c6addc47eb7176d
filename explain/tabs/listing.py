"""Many files as HTML: a table that a click on a heading sorts, two files side by side, and the rows
to download. Everything from outside is escaped.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from detector.decide import format_probability
from detector.scan.rows import Row
from detector.scan.tables import csv_bytes, parquet_bytes
from detector.types import Label

NO_PARQUET = "Parquet needs pyarrow on the server: pip install 'deepfake-lens[scan]'."
HEADINGS = ("", "File", "Answer", "Score", "Faces", "Kind", "Why")
# A heading's button sorts the rows by data-sort, numbers as numbers; again, the other way round.
SORT_JS = """
element.addEventListener('click', e => {
  const button = e.target.closest('th button');
  if (!button) return;
  const head = button.closest('th'), body = head.closest('table').tBodies[0];
  const down = head.ariaSort === 'ascending' || (!head.ariaSort && head.dataset.first === 'down');
  for (const other of head.parentNode.cells) other.ariaSort = null;
  head.ariaSort = down ? 'descending' : 'ascending';
  const key = row => row.cells[head.cellIndex].dataset.sort;
  const compare = new Intl.Collator(undefined, {numeric: true}).compare;
  const rows = [...body.rows].sort((a, b) => (key(a) === '') - (key(b) === '') ||
    (down ? -1 : 1) * (isNaN(key(a)) || isNaN(key(b)) ? compare(key(a), key(b)) : key(a) - key(b)));
  body.append(...rows);
});
"""


@dataclass(frozen=True, eq=False)
class Looked:
    """One file that was looked at."""

    row: Row
    thumbnail: bytes = b""  # JPEG; empty where the file could not be read
    picture: bytes = b""  # larger, the deciding face in a box


def table(found: Sequence[Looked]) -> str:
    """One row per file."""
    head = "".join(
        f'<th scope="col"{" data-first=down" if name == "Score" else ""}>'
        + (f'<button type="button">{name}</button>' if name else "")
        + "</th>"
        for name in HEADINGS
    )
    body = "".join(_row(one) for one in found)
    return (
        '<div class="lens-table lens-sortable"><table><thead>'
        f"<tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(one: Looked) -> str:
    row = one.row
    picture = f'<img alt="" src="{_data("image/jpeg", one.thumbnail)}">' if one.thumbnail else ""
    cells = (
        (answer(row), answer(row)),
        (score(row), "" if row["p_fake"] is None else f"{row['p_fake']:.6f}"),
        *((text, text) for text in (_text(row["faces"]), _text(row["kind"]))),
        (why(row), why(row)),
    )
    rest = "".join(
        f'<td{" class=lens-answered" if n in (0, 4) else ""} data-sort="{escape(key)}">'
        f"{escape(shown)}</td>"
        for n, (shown, key) in enumerate(cells)
    )
    name = escape(row["file"])
    return (
        f'<tr><td data-sort="">{picture}</td><th scope="row" data-sort="{name}">{name}</th>'
        f"{rest}</tr>"
    )


def pair(two: Sequence[Looked]) -> str:
    """Two files side by side."""
    return f'<div class="lens-pair">{"".join(_half(one) for one in two)}</div>'


def _half(one: Looked) -> str:
    row = one.row
    facts = {
        "Score": score(row),
        "Something was put in": _share(row["manipulated"]),
        "Generated as a whole": _share(row["generated"]),
        "Faces": _text(row["faces"]),
        "Kind": _text(row["kind"]),
        "SHA-256": _text(row["sha256"])[:16],
    }
    told = "".join(
        f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value
    )
    shown = ""
    name = escape(row["file"])
    if one.picture:
        shown = f'<img alt="{name}" src="{_data("image/jpeg", one.picture)}">'
    label = row["label"] or Label.NO_FACE
    return (
        f'<section class="lens-card lens-{escape(label)}" aria-label="{name}">'
        f'<p class="lens-small">{name}</p><h4>{escape(answer(row))}</h4>{shown}'
        f"<p>{escape(why(row))}</p><dl>{told}</dl></section>"
    )


def downloads(rows: Sequence[Row]) -> str:
    """Links that hold the table itself: no file is written for them."""
    name = f"deepfake-lens-{datetime.now().astimezone():%Y-%m-%d}"
    links = [_link(f"{name}.csv", "CSV", _data("text/csv", csv_bytes(rows)))]
    try:
        parquet = _data("application/vnd.apache.parquet", parquet_bytes(rows))
        links.append(_link(f"{name}.parquet", "Parquet", parquet))
    except ImportError:
        links.append(f"<span>{NO_PARQUET}</span>")
    return f'<p class="lens-downloads">Download the table: {"".join(links)}</p>'


def _link(name: str, text: str, address: str) -> str:
    return f'<a download="{name}" href="{address}">{text}</a>'


def answer(row: Row) -> str:
    headline = row["headline"] or "not read"
    return headline[:1].upper() + headline[1:]


def why(row: Row) -> str:
    return row["reason"] or row["error_message"] or ""


def score(row: Row) -> str:
    return _share(row["p_fake"])


def _share(p: float | None) -> str:
    return "" if p is None else format_probability(p)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{b64encode(content).decode()}"
