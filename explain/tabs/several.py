"""Several files at once: a row each, as `deepfake-lens scan` writes them; two side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from detector.decide import deciding_face, format_probability
from detector.errors import DetectorError
from detector.scan.rows import Job, scan_file
from detector.stopping import stoppable
from detector.types import Analysis
from explain import figures
from explain.pipeline import most_suspicious
from explain.server import markup
from explain.server.faults import UNEXPECTED, log_fault
from explain.server.language import told_progress
from explain.server.service import Cancelled, Run, Service
from explain.server.widgets import QUIET, Update
from explain.tabs import listing
from explain.tabs.listing import Looked

MOST_FILES = 50  # a minute or two of photos on two cores
THUMBNAIL_PX, PICTURE_PX = 96, 480  # longer sides
HELLO = (
    "Each file gets one row; click a heading to sort. At most {files} files, together at most "
    "{mb} MB. For more, there is the command `deepfake-lens scan FOLDER --out table.parquet`. "
    "**Each answer is a statistical impression of one file, never evidence against a person.**"
)


def build(service: Service, most_mb: int) -> None:
    """Lay out the tab and wire it. most_mb: of all files together."""
    gr.Markdown(HELLO.format(files=MOST_FILES, mb=most_mb))
    files = gr.File(
        label="Photos and clips", file_count="multiple", elem_id="lens-several-files", height=150
    )
    with gr.Row():
        start = gr.Button(
            "Look at all", variant="primary", elem_id="lens-several-go", min_width=120
        )
        stop = gr.Button(
            "Stop", variant="stop", interactive=False, elem_id="lens-several-stop", min_width=90
        )
    status = gr.HTML(markup.note(" "), elem_id="lens-several-status")
    table = gr.HTML(js_on_load=listing.SORT_JS, elem_id="lens-several-table")
    with gr.Column(visible=False, elem_id="lens-several-pair") as compared:
        gr.Markdown("### Two side by side")
        with gr.Row():
            left = gr.Dropdown([], label="Left", elem_id="lens-several-left", min_width=120)
            right = gr.Dropdown([], label="Right", elem_id="lens-several-right", min_width=120)
        pair = gr.HTML(elem_id="lens-several-shown")
    found = gr.State(())
    tab = SeveralTab(
        service, most_mb, start, stop, status, table, compared, left, right, pair, found
    )
    tab.wire(files)


@dataclass(frozen=True, eq=False)
class SeveralTab:
    """The tab's listeners; each returns the components that it changes."""

    service: Service
    most_mb: int
    start: gr.Button
    stop: gr.Button
    status: gr.HTML
    table: gr.HTML
    compared: gr.Column
    left: gr.Dropdown
    right: gr.Dropdown
    pair: gr.HTML
    found: gr.State

    def wire(self, files: gr.File) -> None:
        buttons = [self.start, self.stop]
        shown = [self.status, self.table, self.compared, self.left, self.right, self.pair]
        self.start.click(self._begin, None, buttons, queue=False, **QUIET).then(
            self._look, files, [*shown, self.found],
            concurrency_id="several", api_visibility="private", show_progress_on=self.status,
        ).then(self._end, None, buttons, queue=False, **QUIET)  # fmt: skip
        self.stop.click(self._cancel, None, None, queue=False, **QUIET)
        chosen = [self.found, self.left, self.right]
        gr.on([self.left.input, self.right.input], side_by_side, chosen, self.pair, **QUIET)

    def _begin(self, request: gr.Request) -> Update:
        self.service.runs.start(_run_of(request))
        return {self.start: gr.Button(interactive=False), self.stop: gr.Button(interactive=True)}

    def _end(self) -> Update:
        return {self.start: gr.Button(interactive=True), self.stop: gr.Button(interactive=False)}

    def _cancel(self, request: gr.Request) -> None:
        self.service.runs.cancel(_run_of(request))

    def _look(
        self,
        paths: list[str] | None,
        request: gr.Request,
        progress: Any = gr.Progress(),  # noqa: B008
    ) -> Iterator[Update]:
        """Rows as they come; what is there when somebody stops, or something breaks, stays."""
        found: list[Looked] = []
        refusal = refused([Path(path) for path in paths or []], self.most_mb)
        if refusal:
            yield {self.status: markup.alert(refusal)}
            return
        count = len(paths or [])
        yield {self.table: "", self.found: (), self.compared: gr.Column(visible=False)}
        said = markup.note(f"Done: {count} file{'' if count == 1 else 's'}.")
        try:
            with self.service.runs.running(_run_of(request), told_progress(progress)) as step:
                for n, path in enumerate(paths or []):
                    found.append(self._one(Path(path), n, count, step))
                    yield {self.table: listing.table(found)}
        except Cancelled:
            said = markup.note(f"Stopped after {len(found)} of {count} files; their rows stay.")
        except DetectorError as err:
            said = markup.alert(str(err))
        except Exception as err:
            log_fault(err)
            said = markup.alert(UNEXPECTED)
        yield {self.status: said, **self._finished(found)}

    def _one(self, path: Path, n: int, count: int, step: Run) -> Looked:
        """One file's row. Raises Cancelled, WeightsError."""
        name = f"{path.name}, {n + 1} of {count}"

        def part(share: float, stage: str) -> None:
            step((n + share) / count, f"{name}: {stage}")

        part(0.0, "Loading the detector")
        with stoppable(step.look):  # every row of a generator may be made in another context
            row, analysis = scan_file(self.service.detector(), str(path), Job(), part)
        part(1.0, "Done")  # raises where a stop became the row of an error
        row["path"] = row["file"]  # where the server keeps it is nobody's business
        return Looked(row) if analysis is None else Looked(row, *pictures(analysis))

    def _finished(self, found: Sequence[Looked]) -> Update:
        """The table with its downloads, and the first two side by side."""
        if not found:
            return {self.found: ()}
        names = [(f"{n + 1}. {one.row['file']}", n) for n, one in enumerate(found)]
        first, second = 0, min(1, len(found) - 1)
        return {
            self.table: listing.table(found) + listing.downloads([one.row for one in found]),
            self.found: tuple(found),
            self.compared: gr.Column(visible=len(found) > 1),
            self.left: gr.Dropdown(names, value=first),
            self.right: gr.Dropdown(names, value=second),
            self.pair: side_by_side(found, first, second),
        }


def refused(paths: Sequence[Path], most_mb: int) -> str:
    """Why these files are not looked at; empty where they are."""
    if not paths:
        return "Please choose some files first."
    if len(paths) > MOST_FILES:
        return f"At most {MOST_FILES} files are looked at here at a time, not {len(paths)}."
    try:
        mb = sum(path.stat().st_size for path in paths) / 2**20
    except OSError:
        return "These files are no longer kept. Please choose them again."
    if mb > most_mb:
        return f"Together the files may have {most_mb} MB, not {mb:.0f} MB."
    return ""


def pictures(analysis: Analysis) -> tuple[bytes, bytes]:
    """A small and a larger JPEG of the frame that the answer rests on, the face in a box."""
    face = deciding_face(analysis.faces, analysis.verdict)
    frame = analysis.media.frames[0]
    faces = []
    if face is not None:
        crop = face.track.crops[most_suspicious(face)]
        frame = next(f for f in analysis.media.frames if f.index == crop.frame_index)
        score = "" if face.verdict.p_fake is None else format_probability(face.verdict.p_fake)
        faces = [(crop, score)]
    small = figures.view_frame(frame.rgb, THUMBNAIL_PX).rgb
    return figures.jpeg(small), figures.jpeg(
        figures.annotate(figures.view_frame(frame.rgb, PICTURE_PX), faces)
    )


def side_by_side(found: Sequence[Looked], left: int | None, right: int | None) -> str:
    """Two of the files, as HTML; nothing where they are not there."""
    if left not in range(len(found)) or right not in range(len(found)):
        return ""
    return listing.pair([found[left], found[right]])  # type: ignore[index] # not None


def _run_of(request: gr.Request) -> str:
    return f"{request.session_hash} several"
