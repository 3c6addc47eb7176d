"""A lesson's worksheet: one HTML file that needs nothing else, for A4 paper, the key on a page of
its own.
"""

from __future__ import annotations

from html import escape

from explain.lab.lessons import Plan, Question, Scheme, Task

BOX_W, BOX_H, COLUMN, ROW = 114, 40, 134, 74  # units of a scheme
STYLE = """
@page { size: A4; margin: 18mm; }
body { font: 12pt/1.45 system-ui, sans-serif; color: #000; background: #fff; max-width: 174mm;
  margin: 0 auto; padding: 4mm; }
h1 { font-size: 18pt; margin: 0 0 2mm; } h2 { font-size: 13pt; margin: 6mm 0 1mm; }
p { margin: 1mm 0; } @media print { body { padding: 0; } }
.who { display: flex; gap: 8mm; margin: 4mm 0; }
.who span { flex: 1; border-bottom: .3mm solid #000; }
.line { border-bottom: .3mm solid #888; height: 8.5mm; } .task, .guess { break-inside: avoid; }
ul { list-style: none; padding: 0; margin: 1mm 0; } li::before { content: "\\2610\\00a0\\00a0"; }
.key { break-before: page; } .key li { margin: 2mm 0; } .key li::before { content: ""; }
svg { width: 100%; max-width: 120mm; display: block; margin: 3mm auto; }
small { color: #333; }
"""


def worksheet(plan: Plan, number: int) -> str:
    """The whole file. number: the lesson's on the page."""
    tasks = "".join(_task(i, task) for i, task in enumerate(plan.tasks, 1))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(plan.title)}: worksheet</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{number}. {escape(plan.title)}</h1>"
        f"<p><b>Aim:</b> {escape(plan.aim)} <small>About {plan.minutes} minutes, in the Learn "
        "tab of Deepfake Lens.</small></p>"
        '<div class="who">Name <span></span> Date <span></span></div>'
        f"{scheme(plan.scheme, f'sheet-{plan.name}')}{_guess(plan.question)}{tasks}</main>"
        f"{_key(plan, number)}</body></html>"
    )


def file_name(plan: Plan, number: int) -> str:
    return f"worksheet-{number}-{plan.name}.html"


def _guess(question: Question) -> str:
    options = "".join(f"<li>{escape(option)}</li>" for option in question.options)
    return (
        '<section class="guess"><h2>Guess first</h2>'
        f"<p>{escape(question.text)}</p><ul>{options}</ul></section>"
    )


def _task(number: int, task: Task) -> str:
    lines = '<div class="line"></div>' * task.lines
    return (
        f'<section class="task"><h2>Task {number}</h2><p>{escape(task.text)}</p>{lines}</section>'
    )


def _key(plan: Plan, number: int) -> str:
    question = plan.question
    answers = "".join(
        f"<li><b>Task {i}.</b> {escape(task.key)}</li>" for i, task in enumerate(plan.tasks, 1)
    )
    return (
        f'<section class="key"><h1>Key: {number}. {escape(plan.title)}</h1><ul>'
        f"<li><b>Guess first.</b> {escape(question.options[question.right])} "
        f"{escape(question.why)}</li>{answers}</ul></section>"
    )


def scheme(drawn: Scheme, name: str) -> str:
    """Boxes and arrows as SVG in the text's own colour. name: unlike those of others on a page."""
    width = 2 * COLUMN + BOX_W + 4
    height = round(max(row for _, row in drawn.boxes.values()) * ROW) + BOX_H + 4
    lines = "".join(
        f'<path d="{_arrow(drawn.boxes[a], drawn.boxes[b])}" marker-end="url(#{name})"/>'
        for a, b in drawn.arrows
    )
    boxes = "".join(_box(title, place) for title, place in drawn.boxes.items())
    return (
        f'<svg class="lens-scheme" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(_said(drawn))}" fill="none" stroke="currentColor">'
        f'<defs><marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="currentColor"/></marker>'
        "</defs>"
        f"{lines}{boxes}</svg>"
    )


def _said(drawn: Scheme) -> str:
    """The drawing for those who do not see it."""
    return "; ".join(f"arrow from {a} to {b}" for a, b in drawn.arrows)


def _corner(place: tuple[float, float]) -> tuple[float, float]:
    column, row = place
    return 2 + column * COLUMN, 2 + row * ROW


def _box(title: str, place: tuple[float, float]) -> str:
    x, y = _corner(place)
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{BOX_W}" height="{BOX_H}" rx="6"/>'
        f'<text x="{x + BOX_W / 2:g}" y="{y + BOX_H / 2 + 4.5:g}" text-anchor="middle" '
        f'font-size="12.5" fill="currentColor" stroke="none">{escape(title)}</text>'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    """From side to side in one row or half a row apart, else from foot to head."""
    (x0, y0), (x1, y1) = _corner(start), _corner(end)
    if abs(y1 - y0) < ROW and x0 != x1:
        forth = x1 > x0
        a, b = (x0 + BOX_W, x1) if forth else (x0, x1 + BOX_W)
        return f"M{a:g} {y0 + BOX_H / 2:g}L{b:g} {y1 + BOX_H / 2:g}"
    shift = 0 if x0 == x1 else (BOX_W / 4 if x1 > x0 else -BOX_W / 4)
    return f"M{x0 + BOX_W / 2 + shift:g} {y0 + BOX_H:g}L{x1 + BOX_W / 2 - shift:g} {y1:g}"
