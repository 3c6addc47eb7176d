"""A report that can be mailed: one HTML file with everything inside, and the same numbers as JSON.

The JSON holds no times and no dates: the same file and settings give the same bytes from the page,
the API and the command line.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detector.pipeline import Detector
from detector.types import Analysis
from explain import figures
from explain.cam import Heat
from explain.faithfulness import CONTROLS, ReportCard
from explain.pipeline import Explanation, Settings, explain_face
from explain.provenance import c2pa_manifest
from explain.regions import METHOD as LIME
from explain.report_html import page
from explain.report_json import content_of
from explain.words import said

MAX_FACES = 3  # explained in full; the others are listed with their scores


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture of the report."""

    name: str  # file name
    png: bytes
    caption: str  # also the alternative text


@dataclass(frozen=True, eq=False)
class Report:
    """Numbers, and the pictures of each explained face, in the order of the faces."""

    content: Mapping[str, Any]
    pictures: Sequence[Sequence[Picture]]

    # A file name may hold bytes that are no text; both formats have a way to write those.

    def json(self) -> str:
        text = json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        return text.encode(errors="backslashreplace").decode()

    def html(self) -> str:
        text = page(self.content, [[(p.caption, p.png) for p in some] for some in self.pictures])
        return text.encode(errors="xmlcharrefreplace").decode()


def build_report(
    detector: Detector,
    analysis: Analysis,
    path: Path | None = None,
    settings: Settings | None = None,
    progress: Callable[[float, str], None] | None = None,
) -> Report:
    """Explain the most forged-looking faces of an analysis. path: the file itself, for its Content
    Credentials.
    """
    settings, report = settings or Settings(), progress or (lambda share, stage: None)
    count = min(MAX_FACES, len(analysis.faces))

    def part(index: int) -> Callable[[float, str], None]:
        return lambda share, stage: report(
            (index + share) / count, f"Face {index + 1} of {count}: {stage}"
        )

    explained = [
        explain_face(detector, analysis, i, settings=settings, progress=part(i))
        for i in range(count)
    ]
    content = content_of(detector, analysis, explained, settings, c2pa_manifest(path))
    return Report(content, _pictures(explained))


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write report.html, report.json and the PNGs; each file appears whole or not at all. Raises
    OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {picture.name: picture.png for some in report.pictures for picture in some}
    files |= {"report.json": report.json().encode(), "report.html": report.html().encode()}
    return [write_whole(folder / name, content) for name, content in files.items()]


def write_whole(path: Path, content: bytes) -> Path:
    """Write a file so that it appears whole or not at all, whatever happens on the way. Raises
    OSError.
    """
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
    return path


# --------------------------------------------------------------------------------------------------------
# pictures


def _pictures(explained: Sequence[Explanation]) -> list[list[Picture]]:
    methods = list(dict.fromkeys(method for e in explained for method in e.heats))
    scales = {
        m: figures.shared_scale([e.heats[m] for e in explained if m in e.heats]) for m in methods
    }
    return [_face_pictures(e, f"face{i + 1}", scales) for i, e in enumerate(explained)]


def _face_pictures(
    e: Explanation, prefix: str, scales: Mapping[str, figures.Scale]
) -> list[Picture]:
    made: list[Picture] = []

    def add(name: str, rgb: NDArray[np.uint8], caption: str) -> None:
        made.append(Picture(f"{prefix}-{name}.png", figures.png(rgb), caption))

    label = f"{e.face.track.track}: {said(e.p)}"
    add(
        "frame",
        figures.annotate(figures.view_frame(e.frame.rgb), [(e.crop, label)]),
        f"The frame, face {label}",
    )
    if len(e.timeline.t) > 1:
        add(
            "timeline",
            figures.timeline_chart(e.timeline),
            "Score and frame-to-frame similarity through the clip",
        )
    view = figures.view_face(e.frame.rgb, e.crop)
    for method, heat in e.heats.items():
        if method != LIME:
            bar = figures.colour_bar(scales[method])
            shown = figures.stack([figures.overlay(view, e.crop, heat, scales[method]), bar])
            add(_slug(method), shown, _heat_caption(heat, e.card))
    if e.regions is not None:
        scale = scales[LIME]
        add(
            "lime-positive",
            figures.regions_positive(e.crop.rgb, e.regions),
            "LIME: what speaks most for a forgery",
        )
        signed = figures.stack(
            [figures.regions_signed(e.crop.rgb, e.regions, scale), figures.colour_bar(scale)]
        )
        steady = f"rank correlation of two halves of the samples {e.regions.stability:.2f}, R² {e.regions.score:.2f}"
        add("lime-signed", signed, f"{_heat_caption(e.heats[LIME], e.card)} ({steady})")
    add("noise", figures.residual_picture(e.residual), "Noise residual, eight times amplified")
    if e.restoration is not None:
        r = e.restoration
        three = figures.side_by_side([r.crop, r.restored, figures.error_picture(r.error)])
        add("reconstruction", three, f"Input, reconstruction and their difference. {r.sentence}")
    for test in ("deletion", "insertion") if e.card is not None else ():
        assert e.card is not None
        lines = [
            (name, getattr(c, test).tolist(), name in CONTROLS) for name, c in e.card.curves.items()
        ]
        name = test.capitalize()
        add(
            test,
            figures.curves_chart(lines, name),
            f"{name} curves of the maps and of the controls",
        )
    return made


def _heat_caption(heat: Heat, card: ReportCard | None) -> str:
    blind = (
        " (class-blind: it shows the layer's strongest pattern, not the reason for the score)"
        * heat.class_blind
    )
    grade = "" if card is None else f" {card.grade(heat.method).sentence}"
    return f"{heat.method[0].upper()}{heat.method[1:]}{blind}: {heat.target}.{grade}"


def _slug(method: str) -> str:
    return method.lower().replace("++", "pp").replace(", ", "-").replace(" ", "-")
