"""The model tab: what the detector was trained on, how well it does, and what it cannot do."""

from __future__ import annotations

import gradio as gr

from detector.weights import SHIPPED
from explain.tabs.service import Service

CARD = "MODEL_CARD.md"
ACCURACY = "accuracy.png"


def build(service: Service) -> None:
    """Show the model card and, where there is one, the picture of the measured accuracy."""
    card, accuracy = SHIPPED / CARD, SHIPPED / ACCURACY
    if accuracy.is_file():
        gr.Image(
            str(accuracy), label="Accuracy by kind of forgery and degradation", format="png", interactive=False,
            alt_text="Chart of the measured accuracy; the model card below has the numbers", elem_id="lens-accuracy",
        )  # fmt: skip
    text = card.read_text(encoding="utf-8") if card.is_file() else "This copy comes without a model card."
    gr.Markdown(text, elem_id="lens-model-card")
