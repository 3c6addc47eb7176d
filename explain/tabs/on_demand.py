"""Explanations that take seconds, each behind its own button, for the frame that is chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from detector.types import Progress
from explain import figures
from explain.cam import Heat
from explain.capture import RGB_STREAM
from explain.faithfulness import BADGE, Grade, ReportCard
from explain.map_test import TESTED
from explain.pipeline import Explanation, explain_face, within
from explain.regions import METHOD as LIME
from explain.regions import Regions
from explain.report import build_report
from explain.server import markup
from explain.server.language import told_document
from explain.server.service import Choice, Service, Session
from explain.server.widgets import Runner, Update, picture, runner
from explain.tabs.diagram import DIAGRAM_JS
from explain.tabs.inside import INSIDE_TEXT, inside
from explain.tabs.panel import frame_caption, frame_of, heat_over_face

if TYPE_CHECKING:
    from explain.explainer import Explainer

# the keys of what runs for one frame, and for the whole file
FRAME_RUNS = ("cam", "lime", "inside", "card", "shuffle")
REPORT_RUN = "report"
FIRST_METHOD = f"Grad-CAM, {RGB_STREAM}"
# rank correlation of two halves of LIME's samples from which on they are called that
STEADY = 0.7
FAIRLY_STEADY = 0.4
LIME_SHARE = 0.75  # of the progress: 192 pictures before the 60 of its map's test
TRUST_TEXT = (
    "A map is only worth something if taking away what it marks moves the score **more** than "
    "taking away random places, the centre, or the picture's edges. This is measured here, on this "
    "face."
)
SHUFFLE_TEXT = (
    "A map that stays the same when the network's weights are shuffled shows the picture, not what "
    "the network found in it."
)
REPORT_TEXT = (
    "One HTML file with every picture and grade, and its numbers as JSON. Takes about 15 seconds "
    "per face."
)


class OnDemand:
    """Lays the accordions out and wires them. `words` is the panel's place for the evidence in
    words.
    """

    def __init__(
        self, service: Service, token: gr.State, chosen: gr.State, status: gr.HTML, words: gr.HTML
    ) -> None:
        self.service = service
        self.token = token
        self.chosen = chosen
        self.status = status
        self.words = words
        self.outputs: list[Any] = []
        with gr.Accordion("Grad-CAM and other heat maps", open=False, elem_id="lens-cam"):
            self._heat_maps()
        with gr.Accordion("LIME: which patches carry the score", open=False, elem_id="lens-lime"):
            self._lime()
        with gr.Accordion(
            "Can these maps be trusted? (report card)", open=False, elem_id="lens-trust"
        ):
            self._grades()
            self._shuffle()
        with gr.Accordion("Inside the networks", open=False, elem_id="lens-inside"):
            self._inside()
        with gr.Accordion("Report to download", open=False, elem_id="lens-report"):
            self._report()

    def stop(self, visitor: str, of_file: bool = False) -> None:
        """End what runs for a visitor about the frame chosen before, its map's test among it.

        of_file: another file was chosen, so the report, too.
        """
        runs = ["map", *FRAME_RUNS, *[REPORT_RUN] * of_file]
        for key in runs:
            self.service.runs.cancel(f"{visitor} {key}")

    def cleared(self) -> Update:
        """Nothing shown: another frame is chosen, and old pictures would stand beside it."""
        return _emptied(self.outputs)

    def fresh(self, explainer: Explainer) -> Update:
        """Nothing shown, and the methods that this network can be explained with."""
        names = explainer.methods
        value = FIRST_METHOD if FIRST_METHOD in names else names[0]
        return {
            **self.cleared(),
            **_emptied(self.report),
            self.method: gr.Dropdown(list(names), value=value),
        }

    def _wire(
        self, run: Runner, outputs: Sequence[Any], work: Callable[..., Update], *more: Any
    ) -> None:
        """Run `work(step, session, choice, *more)` at a click; `step` reports, and raises when
        stopped. Pictures appear with their first content.
        """

        def clicked(step: Progress, token: str | None, chosen: Choice, *extra: Any) -> Update:
            found = work(step, self.service.sessions.get(token), chosen, *extra)
            return {
                c: gr.update(value=v, visible=True) if isinstance(c, gr.Image) else v
                for c, v in found.items()
            }

        self.outputs += [run.status, *(o for o in outputs if o is not self.words)]
        run.wire(clicked, [self.token, self.chosen, *more], outputs)

    # ------------------------------------------------------------------------------------------
    # heat maps

    def _heat_maps(self) -> None:
        method = gr.Dropdown([], label="Method and layer", elem_id="lens-method")
        run = runner(self.service, "cam", "Draw the heat map and test it")
        shown = picture(
            "Heat map",
            "lens-cam-picture",
            "The face with the places that the method marks coloured",
            visible=False,
        )
        about = gr.HTML(elem_id="lens-cam-about")

        def draw(step: Progress, session: Session, choice: Choice, name: str) -> Update:
            crop = session.crop(choice)
            explainer = self.service.explainer_of(session, choice)
            heat = explainer.heat(crop.rgb, name)
            card = explainer.report_card(crop.rgb, {name: heat}, progress=step)
            lines = [frame_caption(session, choice), target_sentence(heat)]
            return {
                shown: heat_over_face(frame_of(session, crop).rgb, crop, heat),
                about: grade_badge(card.grades[0]) + markup.sentences(lines),
            }

        self._wire(run, [shown, about], draw, method)
        self.method = method

    # ------------------------------------------------------------------------------------------
    # LIME

    def _lime(self) -> None:
        run = runner(self.service, "lime", "Run LIME and test its map")
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

        def draw(step: Progress, session: Session, choice: Choice) -> Update:
            crop = session.crop(choice)
            explainer = self.service.explainer_of(session, choice)
            regions = explainer.explain_regions(crop.rgb, progress=within(step, 0.0, LIME_SHARE))
            card = explainer.report_card(
                crop.rgb, {LIME: regions.heat()}, progress=within(step, LIME_SHARE, 1.0)
            )
            lines = [frame_caption(session, choice), stability_sentences(regions)]
            return {
                positive: figures.regions_positive(crop.shown, regions),
                signed: figures.regions_chart(crop.shown, regions),
                about: grade_badge(card.grades[0]) + markup.sentences(lines),
            }

        self._wire(run, [positive, signed, about], draw)

    # ------------------------------------------------------------------------------------------
    # the networks themselves

    def _inside(self) -> None:
        gr.Markdown(INSIDE_TEXT)
        run = runner(self.service, "inside", "Send this face through")
        shown = gr.HTML(js_on_load=DIAGRAM_JS, elem_id="lens-inside-shown")

        def draw(step: Progress, session: Session, choice: Choice) -> Update:
            explainer = self.service.explainer_of(session)
            return {shown: inside(explainer, session.analysis, choice.face, choice.frame)}

        self._wire(run, [shown], draw)

    # ------------------------------------------------------------------------------------------
    # trust

    def _grades(self) -> None:
        gr.Markdown(TRUST_TEXT)
        run = runner(self.service, "card", "Grade every map")
        marks = gr.HTML(elem_id="lens-marks")

        def grade(step: Progress, session: Session, choice: Choice) -> Update:
            explanation = explain_fully(self.service, session, choice, step)
            assert explanation.card is not None  # the default options ask for it
            return {
                marks: marks_table(explanation.card),
                self.words: markup.sentences(explanation.words),
            }

        self._wire(run, [marks, self.words], grade)

    def _shuffle(self) -> None:
        gr.Markdown(SHUFFLE_TEXT)
        run = runner(self.service, "shuffle", "Shuffle the network")
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

        def shuffle(step: Progress, session: Session, choice: Choice, name: str) -> Update:
            step(0.1, "Drawing the map of the network as it is and with shuffled weights")
            crop = session.crop(choice)
            explainer = self.service.explainer_of(session, choice)
            result = explainer.shuffle_weights(crop.rgb, (name,))[name]
            verdict = "changed, as it should"
            if not result.changed:
                verdict = "hardly changed: do not rely on this map"
            text = (
                f"{name}: rank correlation {result.correlation:.2f} between the two maps; it "
                f"{verdict}."
            )
            rgb = frame_of(session, crop).rgb
            return {
                before: heat_over_face(rgb, crop, result.before),
                after: heat_over_face(rgb, crop, result.after),
                about: markup.sentences([text]),
            }

        self._wire(run, [before, after, about], shuffle, self.method)

    # ------------------------------------------------------------------------------------------
    # report

    def _report(self) -> None:
        gr.Markdown(REPORT_TEXT)
        run = runner(self.service, REPORT_RUN, "Make the report")
        files = gr.File(
            label="Report",
            file_count="multiple",
            interactive=False,
            visible=False,
            elem_id="lens-report-files",
        )
        self.report = [files, run.status]  # of the whole file: stays when another frame is chosen

        def make(step: Progress, token: str | None) -> Update:
            session = self.service.sessions.get(token)
            explainer = self.service.explainer_of(session)
            report = build_report(explainer, session.analysis, session.path, progress=step)
            made = {
                report.name("html"): told_document(report.html()),
                report.name("json"): report.json(),
            }
            paths = [str(session.write(name, text)) for name, text in made.items()]
            return {
                files: gr.update(value=paths, visible=True),
                run.status: markup.note("The report is ready."),
            }

        run.wire(make, [self.token], [files])


def _emptied(components: Sequence[Any]) -> Update:
    return {
        c: "" if isinstance(c, gr.HTML) else gr.update(value=None, visible=False)
        for c in components
    }


def target_sentence(heat: Heat) -> str:
    """What a map explains."""
    if heat.class_blind:
        return (
            f"{heat.method} shows the layer's strongest pattern, whatever the network concludes "
            "from it."
        )
    return f"{heat.method} explains: {heat.target}."


def stability_sentences(regions: Regions) -> str:
    """How far LIME agrees with itself, and how well a linear model fits at all."""
    agreement = "not steady"
    if regions.stability >= STEADY:
        agreement = "steady"
    elif regions.stability >= FAIRLY_STEADY:
        agreement = "fairly steady"
    return (
        f"Two independent halves of the samples agree to {regions.stability:.2f} (rank "
        f"correlation): {agreement}. A sum of patches explains {max(regions.r_squared, 0):.0%} of "
        "how the score moves."
    )


def marks_table(card: ReportCard) -> str:
    """Grades by method, with the controls below."""
    head = (
        "Method",
        "Deletion (low is good)",
        "Insertion (high is good)",
        "ROAD (above 0 is right)",
        "Grade",
    )
    rows = []
    for grade in card.grades:
        sign = _tick(grade.trusted)
        marks = (
            f"{grade.deletion_auc:.2f} {_tick(not grade.lost_deletion)}",
            f"{grade.insertion_auc:.2f} {_tick(not grade.lost_insertion)}",
            f"{grade.road:+.2f} {_tick(grade.road > 0)}",
        )
        rows.append((grade.method, *marks, f"{sign} {grade.sentence}"))
    for name, curves in card.controls.items():
        marks = (f"{curves.deletion_auc:.2f}", f"{curves.insertion_auc:.2f}", "")
        rows.append((f"control: {name}", *marks, "knows nothing of the network"))
    return markup.grid(head, rows)


def _tick(passed: bool) -> str:
    return "✓" if passed else "✗"


def grade_badge(grade: Grade) -> str:
    """The badge of one map that was graded."""
    return markup.badge(TESTED if grade.trusted else BADGE, grade.reason, grade.trusted)


def explain_fully(
    service: Service, session: Session, choice: Choice, progress: Progress | None = None
) -> Explanation:
    """The whole explanation of one frame, worked out once per analysis."""
    if choice not in session.explanations:
        session.explanations[choice] = explain_face(
            service.explainer_of(session),
            session.analysis,
            choice.face,
            choice.frame,
            progress=progress,
            timeline=session.timelines[choice.face],
        )
    return session.explanations[choice]
