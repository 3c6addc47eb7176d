"""Lesson 3: what up-samplers leave in the spectrum, and why the detector has a second stream."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from explain import figures
from explain.figures import Rgb
from explain.lab import fingerprints
from explain.lab.builtin import NAMES, crops
from explain.lab.charts import Captioned, strip
from explain.lab.fingerprints import Fingerprint
from explain.restore import noise_residual
from explain.server import markup
from explain.server.service import Service
from explain.server.widgets import Update, picture, runner

TEXT = (
    "A generator enlarges a small code step by step, and every enlargement leaves a faint pattern "
    "that repeats. Your eye doesn't see it; in the **spectrum** it is a grid of bright dots (in "
    "the rings), or missing fine detail. That is why the detector has a second stream that is "
    "given the fine noise only.\n\n"
    "**Try:** look for the dots before you read the table. Which up-sampler shows by dots, which "
    "by softness?"
)


def build(service: Service) -> None:
    """Lay out and wire the lesson."""
    gr.Markdown(TEXT)
    who = gr.Radio(list(NAMES), value=NAMES[0], label="Face", elem_id="lens-prints-who")
    run = runner(service, "prints", "Take the fingerprints")
    faces = picture(
        "The face, and as three generators redraw it",
        "lens-prints-faces",
        "Four faces that look the same",
    )
    noise = picture(
        "Fine noise, 8×", "lens-prints-noise", "Fine noise of the four faces, amplified"
    )
    spectra = picture(
        "What stands out in their spectra",
        "lens-prints-spectra",
        "Spectra: the middle is coarse, the rim fine",
    )
    profile = picture(
        "From coarse to fine",
        "lens-prints-profile",
        "Power of the residual from coarse to fine detail",
        chart=True,
    )
    table = gr.HTML(elem_id="lens-prints-table")

    def take(step: Any, name: str) -> Update:
        crop = crops()[NAMES.index(name)]
        prints = fingerprints.take_fingerprints(service.explainer(), crop, step)
        rows = fingerprints.table_rows(prints)

        def sheet(picture_of: Callable[[Fingerprint], Rgb]) -> Rgb:
            return strip([Captioned(picture_of(p), p.name) for p in prints], columns=2)

        return {
            faces: sheet(lambda p: p.rgb),
            noise: sheet(lambda p: figures.residual_picture(noise_residual(p.rgb))),
            spectra: sheet(lambda p: fingerprints.spectrum_picture(p.spectrum)),
            profile: fingerprints.profile_picture(prints),
            table: markup.grid(list(rows[0]), [list(row.values()) for row in rows]),
        }

    run.wire(take, [who], [faces, noise, spectra, profile, table])
