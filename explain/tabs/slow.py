"""Explanations that take seconds, each behind its own button, for the frame that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from detector.pipeline import Detector
from detector.types import FaceCrop, Kind
from explain import cam, faithfulness, figures
from explain.cam import Heat
from explain.faithfulness import ReportCard
from explain.figures import Rgb
from explain.pipeline import Explanation, explain_face
from explain.regions import Regions, explain_regions
from explain.report import build_report
from explain.server import markup
from explain.server.faults import spoken
from explain.server.service import Service, Session
from explain.server.widgets import picture
from explain.tabs.panel import caption, frame_of, over_face

FIRST_METHOD = "Grad-CAM, rgb stream"
Update = dict[Any, Any]


class Slow:
    """Lays the accordions out and wires them. `words` is the panel's place for the evidence in
    words.
    """

    def __init__(
        self, service: Service, token: gr.State, chosen: gr.State, status: gr.HTML, words: gr.HTML
    ) -> None:
        self.service, self.token, self.chosen, self.status, self.words = (
            service,
            token,
            chosen,
            status,
            words,
        )
        self.outputs: list[Any] = []
        with gr.Accordion("Grad-CAM and other heat maps", open=False, elem_id="lens-cam"):
            self._cam()
        with gr.Accordion("LIME: which patches carry the score", open=False, elem_id="lens-lime"):
            self._lime()
        with gr.Accordion(
            "Can these maps be trusted? (report card)", open=False, elem_id="lens-trust"
        ):
            self._card()
            self._shuffle()
        with gr.Accordion("Report to download", open=False, elem_id="lens-report"):
            self._report()

    def cleared(self) -> Update:
        """Nothing shown: another frame is chosen, and old pictures would stand beside it."""
        return _emptied(self.outputs)

    def fresh(self, detector: Detector, kind: Kind) -> Update:
        """Nothing shown, and the methods that the detector's network can be explained with."""
        names = cam.method_names(detector.network, detector.profiles[kind])
        value = FIRST_METHOD if FIRST_METHOD in names else names[0]
        return {
            **self.cleared(),
            **_emptied(self.report),
            self.method: gr.Dropdown(list(names), value=value),
        }

    def _on(
        self, button: gr.Button, outputs: Sequence[Any], work: Callable[..., Update], *more: Any
    ) -> None:
        """Run `work(session, face, frame, *more)` at a click. Pictures come into sight with their
        first content.
        """

        @spoken(self.status)
        def clicked(token: str | None, chosen: tuple[int, int], *extra: Any) -> Update:
            found = work(self.service.sessions.get(token), *chosen, *extra)
            return {
                c: gr.update(value=v, visible=True) if isinstance(c, gr.Image) else v
                for c, v in found.items()
            }

        self.outputs += [output for output in outputs if output is not self.words]
        texts = [output for output in outputs if isinstance(output, gr.HTML)]  # always in sight
        button.click(
            clicked, [self.token, self.chosen, *more], [self.status, *outputs],
            concurrency_id="explain", api_visibility="private", show_progress_on=texts,
        )  # fmt: skip

    def _asked(self, session: Session) -> tuple[Detector, Kind]:
        """The detector that scored this session's file, and the file's kind."""
        return self.service.detector(session.model), session.analysis.media.kind

    # ------------------------------------------------------------------------------------------------
    # heat maps

    def _cam(self) -> None:
        with gr.Row():
            method = gr.Dropdown([], label="Method and layer", elem_id="lens-method", scale=3)
            button = gr.Button("Draw the heat map", elem_id="lens-cam-go", scale=1)
        shown = picture(
            "Heat map",
            "lens-cam-picture",
            "The face with the places that the method marks coloured",
            visible=False,
        )
        about = gr.HTML(elem_id="lens-cam-about")

        def draw(session: Session, face: int, frame: int, name: str) -> Update:
            crop = session.analysis.faces[face].track.crops[frame]
            heat = cam.heat(*self._asked(session), crop.rgb, name)
            text = markup.sentences([caption(session, face, frame), *of(heat)])
            return {shown: alone(session, crop, heat), about: text}

        self._on(button, [shown, about], draw, method)
        self.method = method

    # -----------------------------------------------------------------------------------------------------
    # LIME

    def _lime(self) -> None:
        button = gr.Button("Run LIME (some seconds)", elem_id="lens-lime-go")
        with gr.Row():
            positive = picture(
                "Speaks most for a forgery",
                "lens-lime-positive",
                "Those patches, the rest dark",
                visible=False,
            )
            signed = picture(
                "For and against, in logits",
                "lens-lime-signed",
                "The strongest patches with weights",
                visible=False,
            )
        about = gr.HTML(elem_id="lens-lime-about")

        def draw(session: Session, face: int, frame: int) -> Update:
            crop = session.analysis.faces[face].track.crops[frame].rgb
            regions = explain_regions(*self._asked(session), crop)
            scale = figures.shared_scale([regions.heat()])
            return {
                positive: figures.regions_positive(crop, regions),
                signed: figures.stack(
                    [figures.regions_signed(crop, regions, scale), figures.colour_bar(scale)]
                ),
                about: markup.sentences([caption(session, face, frame), steadiness(regions)]),
            }

        self._on(button, [positive, signed, about], draw)

    # -------------------------------------------------------------------------------------------------
    # trust

    def _card(self) -> None:
        gr.Markdown(
            "A map is only worth something if taking away what it marks moves the score **more** than taking away "
            "random places, the centre, or the picture's edges. This is measured here, on this face."
        )
        button = gr.Button("Grade the maps (some seconds)", elem_id="lens-card-go")
        marks = gr.HTML(elem_id="lens-marks")

        def grade(session: Session, face: int, frame: int) -> Update:
            explanation = full(self.service, session, face, frame)
            assert explanation.card is not None  # the default settings ask for it
            return {
                marks: marks_table(explanation.card),
                self.words: markup.sentences(explanation.words),
            }

        self._on(button, [marks, self.words], grade)

    def _report(self) -> None:
        gr.Markdown(
            "One HTML file with every picture and grade, and its numbers as JSON. Takes some seconds per face."
        )
        button = gr.Button("Make the report", elem_id="lens-report-go")
        files = gr.File(
            label="Report",
            file_count="multiple",
            interactive=False,
            visible=False,
            elem_id="lens-report-files",
        )
        about = gr.HTML(elem_id="lens-report-about")
        self.report = [files, about]  # of the whole file: stays when another frame is chosen

        @spoken(self.status)
        def make(token: str | None, request: gr.Request, progress: Any = gr.Progress()) -> Update:  # noqa: B008
            session = self.service.sessions.get(token)
            with self.service.runs.running(
                str(request.session_hash), lambda share, stage: progress(share, desc=stage)
            ) as step:
                detector = self.service.detector(session.model)
                report = build_report(detector, session.analysis, session.path, progress=step)
            made = {"report.html": report.html(), "report.json": report.json()}
            paths = [str(session.write(name, text)) for name, text in made.items()]
            return {
                files: gr.update(value=paths, visible=True),
                about: markup.note("The report is ready."),
            }

        button.click(
            make, self.token, [self.status, files, about],
            concurrency_id="explain", api_visibility="private", show_progress_on=about,
        )  # fmt: skip

    def _shuffle(self) -> None:
        gr.Markdown(
            "A map that stays the same when the network's weights are shuffled shows the picture, not what the "
            "network saw."
        )
        button = gr.Button("Shuffle the network", elem_id="lens-shuffle-go")
        with gr.Row():
            before = picture(
                "As trained",
                "lens-shuffle-before",
                "The heat map of the network as trained",
                visible=False,
            )
            after = picture(
                "Shuffled",
                "lens-shuffle-after",
                "The heat map of the network with shuffled weights",
                visible=False,
            )
        about = gr.HTML(elem_id="lens-shuffle-about")

        def shuffle(session: Session, face: int, frame: int, name: str) -> Update:
            crop = session.analysis.faces[face].track.crops[frame]
            result = faithfulness.shuffle_weights(*self._asked(session), crop.rgb, (name,))[name]
            said = (
                "changed, as it should"
                if result.changed
                else "hardly changed: do not rely on this map"
            )
            text = f"{name}: rank correlation {result.correlation:.2f} between the two maps; it {said}."
            return {
                before: alone(session, crop, result.before),
                after: alone(session, crop, result.after),
                about: markup.sentences([text]),
            }

        self._on(button, [before, after, about], shuffle, self.method)


def _emptied(components: Sequence[Any]) -> Update:
    return {
        c: "" if isinstance(c, gr.HTML) else gr.update(value=None, visible=False)
        for c in components
    }


def alone(session: Session, crop: FaceCrop, heat: Heat) -> Rgb:
    """One heat map by itself, over the face."""
    return over_face(frame_of(session, crop).rgb, crop, heat, figures.shared_scale([heat]))


def of(heat: Heat) -> list[str]:
    """What a map explains."""
    if heat.class_blind:
        return [
            f"{heat.method} shows the layer's strongest pattern; it does not know what the network makes of it."
        ]
    return [f"{heat.method} explains: {heat.target}."]


def steadiness(regions: Regions) -> str:
    """How far LIME agrees with itself, and how far a linear model fits at all."""
    agreement = (
        "steady"
        if regions.stability >= 0.7
        else "fairly steady"
        if regions.stability >= 0.4
        else "not steady"
    )
    return (
        f"Two independent halves of the samples agree to {regions.stability:.2f} (rank correlation): {agreement}. "
        f"A sum of patches explains {max(regions.score, 0):.0%} of how the score moves."
    )


def marks_table(card: ReportCard) -> str:
    """Grades by method, with the controls below."""
    head = (
        "Method",
        "Deletion (low is good)",
        "Insertion (high is good)",
        "ROAD (above 0)",
        "Grade",
    )
    rows = []
    for g in card.grades:
        sign = "✓" if g.trusted else "✗"
        marks = (f"{g.deletion_auc:.2f}", f"{g.insertion_auc:.2f}", f"{g.road:+.2f}")
        rows.append((g.method, *marks, f"{sign} {g.sentence}"))
    for name, (deletion, insertion) in card.controls.items():
        rows.append(
            (
                f"control: {name}",
                f"{deletion:.2f}",
                f"{insertion:.2f}",
                "",
                "knows nothing of the network",
            )
        )
    return markup.grid(head, rows)


def full(service: Service, session: Session, face: int, frame: int) -> Explanation:
    """The whole explanation of one frame, worked out once per analysis."""
    key = ("explanation", face, frame)
    if key not in session.cache:
        session.cache[key] = explain_face(
            service.detector(session.model), session.analysis, face, frame
        )
    return session.cache[key]
