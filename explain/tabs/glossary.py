"""The technical terms: each explained where it stands, and all of them at the foot of the page."""

from __future__ import annotations

from html import escape
from pathlib import Path

import gradio as gr

from explain.texts import ENGLISH, glossary

HOW = (
    "The underlined words are explained when you point at them or reach them with the Tab key; "
    "here are all of them."
)
TIP_JS = (Path(__file__).parent / "glossary.js").read_text(encoding="utf-8")


def build() -> None:
    """Lay the list out; localised.py marks the terms in what the page says."""
    listed = "".join(
        f"<dt>{escape(term.name)}</dt><dd>{escape(term.says)}</dd>" for term in glossary(ENGLISH)
    )
    with gr.Accordion("Glossary", open=False, elem_id="lens-glossary"):
        gr.HTML(f'<p class="lens-small">{HOW}</p><dl>{listed}</dl>')
