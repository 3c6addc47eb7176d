"""How the page looks: Gradio's calm theme in system fonts, and the style sheets beside this
file.
"""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = sorted(Path(__file__).parent.glob("*.css"))
# nothing is fetched from elsewhere
_SYSTEM = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")


def theme() -> gr.themes.Base:
    return gr.themes.Soft(
        primary_hue="indigo",
        neutral_hue="slate",
        font=_SYSTEM,
        font_mono=("ui-monospace", "Consolas", "monospace"),
    )
