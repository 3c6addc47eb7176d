"""The forgery lab's tab: sliders on one side, the forged face and the detector's answer beside
them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from detector.decide import format_probability
from detector.forgery.regions import REGIONS
from detector.media import open_media
from explain import figures
from explain.cam import EVIDENCE_MAP, Heat
from explain.faithfulness import Localisation
from explain.figures import Rgb
from explain.lab import forgery
from explain.lab.forgery import FAMILIES, RANGES, ForgerySettings, Result, Subject
from explain.lab.generators import SHIPPED_GENERATORS
from explain.regions import METHOD as LIME
from explain.server import markup
from explain.server.api import CallerError, endpoint
from explain.server.faults import spoken
from explain.server.service import Service
from explain.server.widgets import (
    IDLE_SECONDS,
    QUIET,
    Places,
    Runner,
    Source,
    Update,
    path_of,
    picture,
    runner,
    source,
)

LEAD = (
    "Forge a face from **its own pixels** and watch the detector. What is laid over is a copy of "
    "the same face in slightly other colours and another place, as after a face swap. **Try:** "
    "pull the ratio down until the detector lets go, then make the seam softer. Where is its heat "
    "then?"
)
OWN = "Your own picture is only ever blended with itself; nobody else's face is put on it."
LABELS = {
    "ratio": "Ratio: how much of the copy is seen",
    "colour": "Colour shift (grey levels)",
    "blur": "Softness of the seam (share of the eye distance)",
    "offset": "Offset (share of the eye distance)",
    "detail": "Resolution of the copy",
    "sharpen": "Re-sharpening",
}
EXAMPLE_NAMES = ("astronaut.png", "grace_hopper.jpg")


@dataclass(frozen=True, eq=False)
class KeptSubject:
    """The face that a visitor forges, found once per file."""

    path: Path
    subject: Subject


@dataclass(frozen=True, eq=False)
class Knobs:
    """The settings on the page, in the order of ForgerySettings' fields."""

    family: gr.Radio
    region: gr.Dropdown
    ratio: gr.Slider
    colour: gr.Slider
    blur: gr.Slider
    offset: gr.Slider
    detail: gr.Slider
    sharpen: gr.Slider
    generator: gr.Dropdown
    seed: gr.Number

    @property
    def inputs(self) -> list[Any]:
        return list(vars(self).values())

    def set_to(self, settings: ForgerySettings) -> Update:
        return {getattr(self, name): value for name, value in asdict(settings).items()}


@dataclass(frozen=True, eq=False)
class ResultViews:
    """The components that show a forgery and the detector's answer."""

    words: gr.HTML
    untouched: gr.Image
    forged: gr.Image
    mask: gr.Image
    evidence: gr.Image
    cam: gr.Image
    lime: gr.Image
    table: gr.HTML

    def fill(self, result: Result) -> Update:
        evidence, cam, *_ = result.heats.values()
        return {
            self.words: markup.sentences(outcome_sentences(result)),
            self.untouched: figures.enlarged(result.authentic),
            self.forged: figures.enlarged(result.forged),
            self.mask: figures.enlarged(figures.mask_picture(result.mask)),
            self.evidence: _heat_picture(result.forged, evidence),
            self.cam: _heat_picture(result.forged, cam),
            self.lime: None,
            self.table: localisation_table(result.localisations),
        }


def build(service: Service, tab: gr.Tab) -> Places:
    """Lay out the tab and wire it. Returns what a link can set, by its name in the address."""
    gr.Markdown(LEAD)
    # the result stays in sight while the sliders beside, or on a phone below it, are moved
    with gr.Row(elem_classes=["lens-lab", "lens-bench"]):
        with gr.Column(scale=2, min_width=300):
            surprise = runner(service, "forgery", "Surprise me: a forgery it misses")
            files = source("forgery", EXAMPLE_NAMES, "Or your own photo")
            gr.HTML(f'<p class="lens-small">{OWN}</p>')
            knobs = _knobs()
        with gr.Column(scale=5, min_width=320, elem_classes="lens-result"):
            at_once = _seen_at_once()
    with gr.Column(elem_classes="lens-lab"):
        shown = ResultViews(**at_once, **_below())
        lime = runner(service, "forgery-lime", "Ask LIME, too (about 5 seconds)")
    kept = gr.State(None, time_to_live=IDLE_SECONDS)
    _wire_knobs(service, files, knobs, shown, surprise, kept)
    _wire_slow(service, files, knobs, shown, surprise, lime)
    _wire_first(service, tab, files, knobs, shown, surprise)
    _endpoint(service)
    return {"face": files.example}


def _knobs() -> Knobs:
    start = ForgerySettings()
    family = gr.Radio(
        list(FAMILIES), value=start.family, label="Kind of forgery", elem_id="lens-forgery-family"
    )
    region = gr.Dropdown(
        list(REGIONS), value=start.region, label="Region", elem_id="lens-forgery-region"
    )
    sliders = {
        name: gr.Slider(
            low,
            high,
            getattr(start, name),
            step=0.01,
            label=LABELS[name],
            elem_id=f"lens-forgery-{name}",
        )
        for name, (low, high) in RANGES.items()
    }
    generator = gr.Dropdown(
        list(SHIPPED_GENERATORS), value=start.generator, label="Generator (for reconstruction)"
    )
    seed = gr.Number(start.seed, precision=0, minimum=0, label="Seed of the outline's wobble")
    return Knobs(family=family, region=region, **sliders, generator=generator, seed=seed)


def _seen_at_once() -> dict[str, Any]:
    """What answers to every slider: words, the untouched face, the forged one, and the map."""
    words = gr.HTML(markup.note("Move a slider to forge the face."), elem_id="lens-forgery-words")
    with gr.Row(elem_classes="lens-three"):
        untouched = picture(
            "Untouched face", "lens-forgery-untouched", "The face before anything was forged"
        )
        forged = picture(
            "Forged face", "lens-forgery-face", "The forged face as the detector sees it"
        )
        evidence = picture(
            "Evidence map", "lens-forgery-evidence", "The face, places that look forged coloured"
        )
    return {"words": words, "untouched": untouched, "forged": forged, "evidence": evidence}


def _below() -> dict[str, Any]:
    """The truth, another map, and how well both show it."""
    with gr.Row():
        mask = picture("True mask", "lens-forgery-mask", "White where pixels come from the forgery")
        cam = picture(
            "Grad-CAM", "lens-forgery-cam", "The face, places that carry the score coloured"
        )
    table = gr.HTML(elem_id="lens-forgery-table")
    lime = picture(
        "LIME", "lens-forgery-lime", "Patches for and against a forgery, with their weights"
    )
    return {"mask": mask, "cam": cam, "table": table, "lime": lime}


# ----------------------------------------------------------------------------------------------
# wiring


def _wire_knobs(
    service: Service,
    files: Source,
    knobs: Knobs,
    shown: ResultViews,
    run: Runner,
    kept: gr.State,
) -> None:
    status = run.status

    @spoken(status)
    def moved(
        request: gr.Request,
        known: KeptSubject | None,
        example: str,
        uploaded: str | None,
        *values: Any,
    ) -> Update:
        run.overtake_first(request)
        path = path_of(service, example, uploaded)
        if known is None or known.path != path:
            known = KeptSubject(path, _subject(service, path))
        result = forgery.judge(service.explainer(), known.subject, ForgerySettings(*values))
        return {kept: known, status: markup.note(" "), **shown.fill(result)}

    changed = [files.example.input, files.file.upload, files.file.clear]
    gr.on(
        [*(knob.input for knob in knobs.inputs), *changed],
        moved,
        [kept, *files.inputs, *knobs.inputs],
        [kept, status, *vars(shown).values()],
        trigger_mode="always_last",
        concurrency_id="frames",
        **QUIET,
    )


def _wire_first(
    service: Service,
    tab: gr.Tab,
    files: Source,
    knobs: Knobs,
    shown: ResultViews,
    surprise: Runner,
) -> None:
    """The lab opens with the forgery that its sliders stand at."""

    def first(step: Any, example: str, uploaded: str | None, *values: Any) -> Update:
        step(0.1, "Forging the face")
        subject = _subject(service, path_of(service, example, uploaded))
        return shown.fill(forgery.judge(service.explainer(), subject, ForgerySettings(*values)))

    inputs = [*files.inputs, *knobs.inputs]
    surprise.when_opened(tab.select, first, inputs, list(vars(shown).values()))


def _wire_slow(
    service: Service,
    files: Source,
    knobs: Knobs,
    shown: ResultViews,
    surprise: Runner,
    lime: Runner,
) -> None:
    def search(step: Any, example: str, uploaded: str | None, seed: int) -> Update:
        subject = _subject(service, path_of(service, example, uploaded))
        settings = forgery.surprise(service.explainer(), subject, int(seed) + 1, step)
        if settings is None:
            return {
                surprise.status: markup.note(
                    f"The detector caught all {forgery.TRIES} forgeries tried."
                )
            }
        return {
            **knobs.set_to(settings),
            **shown.fill(forgery.judge(service.explainer(), subject, settings)),
        }

    outputs = [*knobs.inputs, *vars(shown).values()]
    surprise.wire(search, [*files.inputs, knobs.seed], outputs)

    def ask(step: Any, example: str, uploaded: str | None, *values: Any) -> Update:
        subject = _subject(service, path_of(service, example, uploaded))
        result = forgery.judge(service.explainer(), subject, ForgerySettings(*values))
        regions = service.explainer().explain_regions(result.forged, progress=step)
        result = result.with_map(LIME, regions.heat())
        return {**shown.fill(result), shown.lime: figures.regions_chart(result.forged, regions)}

    lime.wire(ask, [*files.inputs, *knobs.inputs], list(vars(shown).values()))


def _subject(service: Service, path: Path) -> Subject:
    return forgery.subject_of(service.detector(), open_media(path, 1))


def _endpoint(service: Service) -> None:
    def forge(file: str, settings: dict[str, Any] | None) -> list[Any]:
        """Forge the largest face of a photo from itself, for teaching, and analyse the forgery.

        Args:
            file: The photo, uploaded before.
            settings: As in the forgery lab; those left out take their defaults.
        """
        try:
            asked = ForgerySettings(**(settings or {}))
        except (TypeError, ValueError) as err:
            raise CallerError(str(err)) from err
        result = forgery.judge(service.explainer(), _subject(service, Path(file)), asked)
        return [to_json(result), result.forged]

    fields = [gr.JSON({}, label="settings", visible=False)]
    forged = gr.Image(label="forged", format="png", visible=False)
    endpoint("forge", "frames", forge, fields, [forged])


# ----------------------------------------------------------------------------------------------
# answers


def outcome_sentences(result: Result) -> list[str]:
    """The detector's answer to the forgery, beside the truth."""
    answer = result.label.headline
    score, untouched = map(format_probability, (result.p, result.p_authentic))
    scores = f"Score {score} ({answer}); the untouched face has {untouched}."
    if not result.localisations:
        return [scores, "At ratio 0 nothing is forged."]
    missed = result.label.value == "authentic"
    verdict = (
        "This forgery fools the detector: it is forged, and it is not found." if missed else ""
    )
    return [line for line in (scores, verdict, place_sentence(result.localisations)) if line]


def place_sentence(found: dict[str, Localisation]) -> str:
    """How well the best map shows the true mask; a map that looks uniform shows nothing."""
    clear = {name: own for name, own in found.items() if own.shows_where}
    if not clear:
        return "No map shows where: each is about as hot outside the true mask as inside it."
    best = max(clear, key=lambda name: clear[name].iou)
    the_map = f"the {best}" if best == EVIDENCE_MAP else best
    return (
        f"The hottest places of {the_map}, as many as the true mask has, share "
        f"{clear[best].iou:.0%} with it (IoU at the true area)."
    )


def localisation_table(found: dict[str, Localisation]) -> str:
    """Every map against the true mask."""
    head = (
        "Map",
        "IoU at the true area",
        "Contrast (0: as hot outside)",
        "Pixel AUC (0.5 is chance)",
        "Hottest pixel in the mask",
    )
    rows = []
    for name, f in found.items():
        pointing = "yes" if f.pointing else "no"
        marks = (f"{f.iou:.2f}", f"{f.contrast:+.2f}", f"{f.pixel_auc:.2f}", pointing)
        rows.append((name, *marks))
    return markup.grid(head, rows) if rows else ""


def to_json(result: Result) -> dict[str, Any]:
    """The numbers, rounded to six digits."""
    found = {
        name: {"iou": round(f.iou, 6), "pixel_auc": round(f.pixel_auc, 6), "pointing": f.pointing}
        for name, f in result.localisations.items()
    }
    return {
        "settings": asdict(result.settings),
        "label": str(result.label),
        "p_fake": round(result.p, 6),
        "logit": round(result.logit, 6),
        "p_fake_untouched": round(result.p_authentic, 6),
        "mask_share": round(float((result.mask > 0.5).mean()), 6),
        "maps": found,
    }


def _heat_picture(crop: Rgb, heat: Heat) -> Rgb:
    scale = figures.shared_scale([heat])
    large = figures.enlarged(figures.heat_picture(crop, heat, scale))
    return figures.with_colour_bar(large, scale)
