"""A report that can be mailed: one HTML file with everything inside, and the same numbers as JSON.

The JSON holds no times and no dates: the same file and settings give the same bytes from the page,
the API and the command line. The HTML says when it was made.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detector.decide import format_probability
from detector.stopping import pause_to_look
from detector.types import Analysis, Media, Progress
from explain import figures
from explain.cam import Heat
from explain.faithfulness import CONTROLS, ReportCard
from explain.pipeline import ExplainOptions, Explanation, explain_face, timelines_of
from explain.provenance import Statement, statements, traces_of
from explain.regions import METHOD as LIME
from explain.report_html import ReportPicture, page
from explain.report_json import content_of

if TYPE_CHECKING:
    from explain.explainer import Explainer

MAX_NAME_CHARS = 80  # of a file's name in the name of its report
MAX_FACES = 3  # that are explained; the others are listed with their scores


@dataclass(frozen=True, eq=False)
class Report:
    """Numbers, and the pictures of each explained face, in the order of the faces; of a file
    without one, the file's picture.
    """

    content: Mapping[str, Any]
    pictures: Sequence[Sequence[ReportPicture]]
    stated: Sequence[Statement] = ()  # by the file about itself

    # A file name may hold bytes that are no text; both formats have a way to write those.

    def json(self) -> str:
        text = json.dumps(self.content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        return text.encode(errors="backslashreplace").decode()

    def html(self, made: datetime | None = None) -> str:
        """made: when; now without it."""
        text = page(self.content, self.pictures, self.stated, f"{_now(made):%Y-%m-%d %H:%M %Z}")
        return text.encode(errors="xmlcharrefreplace").decode()

    def name(self, ending: str, made: datetime | None = None) -> str:
        """What the report is called where it is downloaded: report-<file>-<date>.<ending>."""
        stem = re.sub(r"[^\w.-]+", "-", Path(self.content["file"]["name"]).stem).strip("-.")
        return f"report-{stem[:MAX_NAME_CHARS] or 'file'}-{_now(made):%Y-%m-%d}.{ending}"


def _now(made: datetime | None) -> datetime:
    return made or datetime.now().astimezone()


def build_report(
    explainer: Explainer,
    analysis: Analysis,
    path: Path | None = None,
    options: ExplainOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Explain the most forged-looking faces of an analysis.

    path: the file itself, for what its bytes tell. `progress(share, stage)` is called along the
    way; raising in it cancels. Raises ValueError as explain_face does.
    """
    options = options or ExplainOptions()
    report = progress or (lambda share, stage: None)
    count = min(MAX_FACES, len(analysis.faces))
    timelines = timelines_of(explainer, analysis)

    def part(index: int) -> Progress:
        return lambda share, stage: report(
            (index + share) / count, f"Face {index + 1} of {count}: {stage}"
        )

    explained = [
        explain_face(
            explainer, analysis, i, options=options, progress=part(i), timeline=timelines[i]
        )
        for i in range(count)
    ]
    report(0.99, "Reading what the file says about itself")
    traces = traces_of(path)
    report(0.99, "Drawing the report")
    content = content_of(analysis, timelines, explained, options, traces)
    stated = statements(traces, analysis.media.metadata)
    return Report(content, _pictures(explained) or [[_file_picture(analysis.media)]], stated)


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write report.html, report.json and the PNGs; each file appears whole or not at all. Raises
    OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {picture.name: picture.png for some in report.pictures for picture in some}
    files |= {f"file{n}.png": one.png for n, one in enumerate(report.stated, 1) if one.png}
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


# ----------------------------------------------------------------------------------------------
# pictures


def _pictures(explained: Sequence[Explanation]) -> list[list[ReportPicture]]:
    methods = list(dict.fromkeys(method for e in explained for method in e.heats))
    scales = {
        m: figures.shared_scale([e.heats[m] for e in explained if m in e.heats]) for m in methods
    }
    found = []
    for number, explanation in enumerate(explained, start=1):
        drawn = [
            *_frame_pictures(explanation),
            *_heat_pictures(explanation, scales),
            *_lime_pictures(explanation, scales),
            *_noise_pictures(explanation),
            *_curve_pictures(explanation),
        ]
        named = [replace(picture, name=f"face{number}-{picture.name}") for picture in drawn]
        found.append(named)
    return found


def _file_picture(media: Media) -> ReportPicture:
    frame = figures.view_frame(media.frames[0].rgb)
    return _picture("frame", frame.rgb, "The picture, or the clip's first frame that was looked at")


def _picture(name: str, rgb: figures.Rgb, caption: str) -> ReportPicture:
    pause_to_look()
    return ReportPicture(f"{name}.png", figures.png(rgb), caption)


def _frame_pictures(e: Explanation) -> Iterator[ReportPicture]:
    label = f"{e.face.track.track}: {format_probability(e.p)}"
    frame = figures.annotate(figures.view_frame(e.frame.rgb), [(e.crop, label)])
    yield _picture("frame", frame, f"The frame, face {label}")
    if len(e.timeline.t) > 1:
        chart = figures.timeline_chart(e.timeline)
        yield _picture("timeline", chart, "Score and frame-to-frame similarity through the clip")


def _heat_pictures(e: Explanation, scales: Mapping[str, figures.Scale]) -> Iterator[ReportPicture]:
    view = figures.view_face(e.frame.rgb, e.crop)
    for method, heat in e.heats.items():
        if method != LIME:
            laid = figures.overlay(view, e.crop, heat, scales[method])
            shown = figures.with_colour_bar(laid, scales[method])
            yield _picture(_slug(method), shown, _heat_caption(heat, e.card))


def _lime_pictures(e: Explanation, scales: Mapping[str, figures.Scale]) -> Iterator[ReportPicture]:
    if e.regions is None:
        return
    positive = figures.regions_positive(e.crop.shown, e.regions)
    yield _picture("lime-positive", positive, "LIME: what speaks most for a forgery")
    steady = (
        f"rank correlation of two halves of the samples {e.regions.stability:.2f}, "
        f"R² {e.regions.r_squared:.2f}"
    )
    yield _picture(
        "lime-signed",
        figures.regions_chart(e.crop.shown, e.regions, scales[LIME]),
        f"{_heat_caption(e.heats[LIME], e.card)} ({steady})",
    )


def _noise_pictures(e: Explanation) -> Iterator[ReportPicture]:
    residual = figures.residual_picture(e.residual)
    yield _picture("noise", residual, "Noise residual, eight times amplified")
    if e.restoration is not None:
        r = e.restoration
        three = figures.side_by_side([r.crop, r.restored, figures.error_picture(r.error)])
        caption = f"Input, reconstruction and their difference. {r.sentence}"
        yield _picture("reconstruction", three, caption)


def _curve_pictures(e: Explanation) -> Iterator[ReportPicture]:
    if e.card is None:
        return
    for test in ("deletion", "insertion"):
        lines = [
            figures.CurveLine(name, getattr(curves, test).tolist(), name in CONTROLS)
            for name, curves in e.card.curves.items()
        ]
        title = test.capitalize()
        caption = f"{title} curves of the maps and of the controls"
        yield _picture(test, figures.curves_chart(lines, title), caption)


def _heat_caption(heat: Heat, card: ReportCard | None) -> str:
    blind = (
        " (class-blind: it shows the layer's strongest pattern, not the reason for the score)"
        if heat.class_blind
        else ""
    )
    grade = "" if card is None else f" {card.grade(heat.method).sentence}"
    return f"{heat.method[0].upper()}{heat.method[1:]}{blind}: {heat.target}.{grade}"


def _slug(method: str) -> str:
    return method.lower().replace("++", "pp").replace(", ", "-").replace(" ", "-")
