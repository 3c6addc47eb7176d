"""Small pieces of HTML that every tab uses. Strings in, strings out; everything from outside is
escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape


def note(text: str) -> str:
    """A quiet line for the status place; read out when it changes."""
    return f'<p class="lens-note" role="status">{escape(text)}</p>'


def done(text: str) -> str:
    """The same after work that was finished, in whatever language: see `is_done`."""
    return note(text).replace("<p ", "<p data-done ", 1)


def is_done(shown: str) -> bool:
    """Whether a status says so."""
    return "<p data-done " in shown


def stale(text: str) -> str:
    """The same, seen at a glance: results stand below that belong to something else."""
    return f'<p class="lens-note lens-stale" role="status">{escape(text)}</p>'


def heard(text: str) -> str:
    """A line for screen readers, about what the eye sees elsewhere on the page."""
    return f'<p class="lens-heard" role="status">{escape(text)}</p>'


def alert(text: str) -> str:
    """A line that asks for attention."""
    return f'<p class="lens-alert" role="alert"><b>Sorry.</b> {escape(text)}</p>'


def table(rows: Mapping[str, str], empty: str) -> str:
    """Names and values, or the sentence `empty`."""
    if not rows:
        return f'<p class="lens-small">{escape(empty)}</p>'
    return _table("", list(rows.items()))


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table with a heading for each column; the first cell of a row names it."""
    columns = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    return _table(f"<thead><tr>{columns}</tr></thead>", rows)


def _table(head: str, rows: Sequence[Sequence[str]]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cell)}</td>" for cell in cells)
        + "</tr>"
        for name, *cells in rows
    )
    return f'<div class="lens-table"><table>{head}<tbody>{body}</tbody></table></div>'


def sentences(lines: Sequence[str]) -> str:
    """A paragraph each."""
    return "".join(f"<p>{escape(line)}</p>" for line in lines)


def fold(title: str, text: str) -> str:
    """A sentence for those who want to know it."""
    return f"<details><summary>{escape(title)}</summary><p>{escape(text)}</p></details>"


def badge(title: str, text: str, passed: bool | None = None) -> str:
    """A map's badge: whether it passed its test; None where it was not tested (yet)."""
    state, sign = {None: ("open", "…"), True: ("passed", "✓"), False: ("failed", "✗")}[passed]
    return (
        f'<p class="lens-badge lens-badge-{state}" role="status"><b>{sign} {escape(title)}</b> '
        f"{escape(text)}</p>"
    )
