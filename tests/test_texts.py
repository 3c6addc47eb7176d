"""The page's words in other languages, without a browser."""

import ast
import json
import re
from base64 import b64decode
from html import unescape
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from page_tools import built

from detector.decoding import clips, pictures
from detector.decoding.common import HDR, sampled_note
from detector.degrade import OPERATIONS, Step, describe, draw_preset
from explain.lab.compression import sweeps
from explain.lab.lessons import PLANS, Plan
from explain.lab.worksheet import worksheet
from explain.provenance import statements
from explain.server import language, localised, markup, widgets
from explain.server.language import LocalBlocks, in_language, language_of, said_first
from explain.tabs import (
    cards,
    learn,
    learn_colour,
    learn_digits,
    learn_guess,
    learn_prints,
    learn_swap,
)
from explain.texts import ENGLISH, FOLDER, LANGUAGES, PLACEHOLDER, catalogue, glossary

ROOT = Path(__file__).resolve().parent.parent
OTHERS = [name for name in LANGUAGES if name != ENGLISH]
TEXTS = {name: json.loads((FOLDER / f"{name}.json").read_text("utf-8")) for name in OTHERS}


def test_no_text_is_missing_in_any_language():
    assert len(TEXTS["de"]) > 200
    for name, texts in TEXTS.items():
        assert list(texts) == list(TEXTS["de"]), name
        assert [key for key, text in texts.items() if not text.strip()] == [], name


@pytest.mark.parametrize("name", OTHERS)
def test_placeholders_and_tags_are_the_same_as_in_english(name):
    tag = re.compile(r"</?\w+>|\*\*|`[^`]*`")
    for english, text in TEXTS[name].items():
        assert sorted(PLACEHOLDER.findall(text)) == sorted(PLACEHOLDER.findall(english)), english
        assert tag.findall(text) == tag.findall(english), english
        assert text.count("{") == len(PLACEHOLDER.findall(text)), english


def test_bold_words_of_a_language_without_spaces_are_closed():
    """Markdown does not end bold type between a sign and a letter."""
    texts = TEXTS["zh"]
    closed = re.compile(r"(?:[^*]*\*\*[^*]*[^*：。，！？；]\*\*)*[^*]*|\*\*[^*]*\*\*")
    assert texts["**Try:** double the strength."] == "**试一试**：把强度加倍。"
    assert [text for text in texts.values() if not closed.fullmatch(text)] == []


@pytest.mark.parametrize("name", LANGUAGES)
def test_every_term_is_explained(name):
    terms = glossary(name)
    assert len({term.name for term in terms}) == len(terms) == len(glossary(ENGLISH))
    for term in terms:
        assert len(term.says) > 9 and term.says[-1] in ".。।", term.name
    named = {term.name for term in glossary(ENGLISH)}
    expected = ["Grad-CAM", "LIME", "ROAD", "CRF", "C2PA", "recall", "deletion"]
    expected += ["evidence map", "calibrated probability", "false positive rate", "noise residual"]
    assert set(expected) <= named


@pytest.mark.parametrize(
    ("english", "german"),
    [
        (
            "Part of this clip looks forged: 1.5-2.9 s",
            "Ein Teil dieses Clips wirkt gefälscht: 1.5–2.9 s",
        ),
        ("1 of 2 faces looks forged", "1 von 2 Gesichtern wirkt gefälscht"),
        ("Forged-looking", "Wirkt gefälscht"),
        ("✓ Tested on this face", "✓ An diesem Gesicht geprüft"),
        (
            "Face 2: authentic-looking (below 0.01)",
            "Gesicht 2: wirkt echt (unter 0.01)",
        ),
        (
            "The detector leans towards forged (score 0.93); the traces lie mostly on the eyes and "
            "the nose.",
            "Der Detektor neigt zu „gefälscht“ (Wert 0.93); die Spuren liegen vor allem hier: die "
            "Augen und die Nase.",
        ),
        (
            "The detector leans clearly towards authentic (score 0.02): it found no trace like "
            "those of the forgeries it knows.",
            "Der Detektor neigt deutlich zu „echt“ (Wert 0.02): er fand keine Spur wie bei den "
            "Fälschungen, die er kennt.",
        ),
        (
            "Only 3 of 5 faces were judged: 1 is smaller than 48 pixels and 1 is cut off by the "
            "picture's edge.",
            "Nur 3 von 5 Gesichtern wurden beurteilt: 1 ist kleiner als 48 Pixel und 1 wird vom "
            "Bildrand abgeschnitten.",
        ),
        ("Face 1, score 0.35.", "Gesicht 1, Wert 0.35."),
        (
            "Over the whole clip the score is above 0.99.",
            "Über den ganzen Clip beträgt der Wert über 0.99.",
        ),
        (
            "Authentic-looking below 0.38, forged-looking above 0.78.",
            "Wirkt echt unter 0.38, wirkt gefälscht über 0.78.",
        ),
        ("Somebody's own sentence.", "Somebody's own sentence."),  # unknown: stays English
        ("Done. Somebody's own sentence.", "Fertig. Somebody's own sentence."),
        ("the nose.png is empty.", "the nose.png ist leer."),  # a file's name is never translated
        ("", ""),
        (".", "."),
        ("A camera's own words; ; more.", "A camera's own words; ; more."),  # an empty clause
        (
            "2 faces, as they stand in the picture. Choose one to see its pictures.",
            "2 Gesichter, wie sie im Bild stehen. Wählen Sie eines, um seine Bilder zu sehen.",
        ),
        (
            "Right: the left one is forged (self-blend of the mouth, ratio 0.50; both pictures "
            "then unchanged).",
            "Richtig: gefälscht ist das Bild links (Selbstüberblendung: Mund, Anteil 0.50; danach "
            "beide Bilder: unverändert).",
        ),
        (
            "24 frames from -2.99 to +6.49, on average +0.37.",
            "24 Bilder von -2.99 bis +6.49, im Mittel +0.37.",
        ),
        (
            "loss by step, now at 3: generator 0.83, discriminator 1.2",
            "Verlust nach Schritten, jetzt bei 3: Generator 0.83 und Diskriminator 1.2",
        ),
    ],
)
def test_sentences_are_known_by_their_templates(english, german):
    assert catalogue("de").text(english) == german


def test_a_placeholder_holds_no_tag():
    badge = markup.badge(
        "Tested on this face", "LIME is shown: the evidence map did not pass here.", True
    )
    told = re.sub("<abbr[^>]*>|</abbr>", "", localised.html(badge, "de"))
    assert "<b>✓ An diesem Gesicht geprüft</b> Gezeigt wird LIME: Hinweiskarte hat" in told


def test_sentences_are_joined_as_a_language_joins_them():
    said = "Cancelled. The score is 0.50, and the detector gives no verdict."
    assert catalogue("zh").text(said) == "已取消。分数为 0.50，检测器不给出结论。"
    assert catalogue("hi").text(said).endswith("।")
    assert catalogue(ENGLISH).text(said) == said


def refusals() -> list[str]:
    """Every sentence by which a file is refused or limited, as the code writes it."""
    found = []
    modules = [*ROOT.glob("detector/decoding/*.py"), ROOT / "detector" / "sandbox.py"]
    for path in modules:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if (
                isinstance(node, ast.Call)
                and getattr(node.func, "id", "") == "MediaError"
                and isinstance(node.args[0], ast.JoinedStr)
            ):
                found.append("".join(map(filled, node.args[0].values)))
    return found


def filled(part: ast.expr) -> str:
    if isinstance(part, ast.Constant):
        return str(part.value)
    source = ast.unparse(part)
    if "_ARE_READ" in source:
        from detector.decoding.common import _ARE_READ

        return _ARE_READ
    return "a file.png" if "name" in source else "7"


NOTES = [
    clips.UNHEARD,
    clips.JOINED,
    clips.OPAQUE,
    pictures.CAMERA_JPEG,
    pictures.FALLBACK,
    HDR,
    *sampled_note(24, 100, 4.0),
    "Only one of the 2 pictures in this file was looked at.",
    "The short clip inside this photo was not looked at.",
    "Behind this picture lies another file, which was not looked at.",
    "5,000 bytes behind the end of this clip were not looked at.",
    "This file breaks off: about 40% of it is missing.",
    "This file holds 3 recordings one after another: seconds are counted on. "
    "Only 2 of them can be read.",
    "Of 2 video tracks, track 1 was looked at and track 2 (640 x 480 px for 100 frames) was not.",
    "Of 3 video tracks, track 1 was looked at and track 2 (9 x 8 px for 1 frame), track 3 (of an "
    "unknown codec) were not.",
    "Of 4 faces, 3 had no say: 1 is smaller than 40% of the largest and 2 are seen too briefly. By "
    "themselves, 2 of these would be called forged.",
    "Of 4 faces, 3 had no say: 2 are smaller than 40% of the largest and 1 is seen too briefly. By "
    "itself, one of these would be called forged.",
]


@pytest.mark.parametrize("name", OTHERS)
def test_all_that_was_not_looked_at_is_told_in_every_language(name):
    for note in NOTES:
        told = catalogue(name).text(note)
        english = {"looked", " the ", " track ", "called", "counted", "Only"}
        assert told != note and not any(word in told for word in english), (name, told)


def test_every_refusal_of_a_file_is_translated():
    sentences = refusals()
    assert len(sentences) > 10
    # asked for on the command line only
    tracks = [s for s in sentences if "track" in s]
    for sentence in set(sentences) - set(tracks):
        for name in OTHERS:
            told = catalogue(name).text(sentence)
            assert told != sentence and "a file.png" in told, (name, sentence)


@pytest.mark.parametrize(
    ("query", "accepted", "expected"),
    [
        ({}, "de-AT,de;q=0.9,en;q=0.8", "de"),
        ({}, "en;q=0.5,hi", "hi"),
        ({}, "zh-Hans-CN", "zh"),
        ({}, "pt-BR,pt;q=0.9", "en"),  # none of ours
        ({}, "", "en"),
        ({}, "fr;q=x,;;=", "en"),
        ({"lang": "es"}, "de", "es"),  # the address has the last word
        ({"lang": "tlh"}, "de", "de"),
        ({"lang": "<script>"}, "", "en"),
    ],
)
def test_the_address_or_the_browser_names_the_language(query, accepted, expected):
    assert language_of(query, accepted) == expected


def test_html_is_translated_text_by_text_and_stays_html():
    card = cards.welcome()
    told = localised.html(card, "de")
    assert "<li><b>Ob</b>: wirkt gefälscht, wirkt echt oder keine Aussage möglich" in told
    assert 'aria-label="Was Sie erhalten"' in told
    assert re.sub(r"[^<>]*(<[^>]*>)[^<>]*", r"\1", told).count("<li>") == card.count("<li>") == 4
    state = "<i data-state='x'></i><p data-state=\"{&quot;texts&quot;: [&quot;none&quot;]}\"></p>"
    assert "[&quot;keine&quot;]" in localised.html(state, "de")


def test_what_comes_from_outside_never_becomes_html():
    name = "<b>x</b> is empty.</p><script>"
    said = markup.note(f"{name} is empty.")
    for language_name in LANGUAGES:
        told = localised.html(said, language_name)
        assert "<script" not in told and "<b>" not in told
        assert name in unescape(told)


def test_terms_are_marked_once_and_never_in_something_to_press():
    text = "<p>ROAD and ROAD</p><button>ROAD</button><summary>LIME</summary><p>LIME</p>"
    told = localised.html(text, ENGLISH)
    assert told.count('class="lens-term" tabindex="0"') == 2
    assert told.startswith('<p><abbr class="lens-term" tabindex="0" title="A test of a heat map:')
    assert "<button>ROAD</button><summary>LIME</summary>" in told
    assert "Broad lime" not in told
    assert localised.html("<p>A broadcast of limestone</p>", ENGLISH).count("abbr") == 0
    assert "title=" in localised.markdown("Is the **embedding** near?", ENGLISH)
    assert localised.markdown("# ROAD\n`ROAD`", ENGLISH) == "# ROAD\n`ROAD`"


def test_results_are_marked_stale_in_every_language():
    done = localised.html(markup.done(widgets.DONE), "de")
    assert "Fertig." in done
    assert "The results below are of the settings before." in widgets.marked_stale(done)


def test_the_first_line_names_the_language():
    page = b'<!doctype html>\n<html\n\tlang="en"\n\tstyle="margin: 0;">\n\t<head>\n<title>'
    told = said_first(page, "zh").decode()
    assert '<html lang="zh-CN"\n\tstyle="margin: 0;">\n\t<head><script>' in told
    assert "get: () => 'zh-CN'" in told and told.endswith("</script>\n<title>")
    assert said_first(b"{}", "de") == b"{}"


def test_labels_are_handed_to_gradios_own_i18n_and_functions_for_programs_are_not():
    def page() -> tuple[LocalBlocks, gr.I18n]:
        with LocalBlocks() as blocks:
            gr.Button("Cancel", elem_id="one")
            gr.Image(label="Evidence map")
            gr.Image(label="analysis")
            gr.JSON(label="Model", visible=False)
        return blocks, language.translate_labels(blocks)

    blocks, i18n = built(page)
    button, picture, unknown, result = blocks.blocks.values()
    assert "__i18n__" in str(button.value) and "__i18n__" in str(picture.label)
    assert (unknown.label, result.label) == ("analysis", "Model")
    key = re.search(r'"key": "([^"]+)"', str(button.value))[1]
    words = {name: texts[key] for name, texts in i18n.translations_dict.items()}
    assert words["en"] == "Cancel" and words["de"] == "Abbrechen" and words["zh-CN"] == "取消"


def test_what_the_file_says_about_itself_is_told_in_every_language():
    for said in statements(None, {}):
        for text in (said.title, *said.found, said.worth):
            for name in OTHERS:
                assert catalogue(name).text(text) != text, (name, text)


def sentences(text: str) -> list[str]:
    """Texts of some lines, a sentence each, without what cannot be translated."""
    found = re.split(r"\n+|(?<=[.!?])\s+", text)
    return [one for one in found if any(map(str.isalpha, one))]


def texts_of(plan: Plan) -> list[str]:
    question = plan.question
    told = [plan.title, plan.aim, question.text, *question.options, question.why]
    told += [text for task in plan.tasks for text in (task.text, task.key)]
    return [*told, *plan.scheme.boxes]


@pytest.mark.parametrize("name", OTHERS)
def test_every_sentence_of_the_lessons_is_translated(name):
    told = [text for plan in PLANS for text in texts_of(plan)]
    told += [learn_digits.GAN_TEXT, learn_digits.AUTOENCODER_TEXT]
    told += [learn_digits.longer_sentence()]
    told += [learn_prints.TEXT, learn_swap.SWAP_TEXT, learn_swap.FLICKER_TEXT]
    told += [learn_swap.MOVE_TEXT, learn_colour.TEXT, learn_guess.TEXT, learn.LEAD]
    known = catalogue(name).known
    assert [one for text in told for one in sentences(text) if known(one) is None] == []


@pytest.mark.parametrize("name", ["de", "es", "fr"])
def test_boxes_have_room_for_their_titles(name):
    titles = [title for plan in PLANS for title in plan.scheme.boxes]
    assert max(len(catalogue(name).text(title)) for title in titles) <= 15
    assert max(len(catalogue(name).text(title)) for title, _ in boxes()) <= 16


def boxes() -> list[tuple[str, str]]:
    """Title and words of each of the diagram's boxes, as the code writes them."""
    found = []
    for node in ast.walk(ast.parse((ROOT / "explain/tabs/inside.py").read_text("utf-8"))):
        if isinstance(node, ast.Call) and len(node.args) > 1:
            title, words = node.args[:2]
            if isinstance(title, ast.Constant) and isinstance(words, ast.Constant | ast.JoinedStr):
                parts = words.values if isinstance(words, ast.JoinedStr) else [words]
                found.append((str(title.value), "".join(map(filled, parts))))
    return found


@pytest.mark.parametrize("name", OTHERS)
def test_every_box_of_the_diagram_is_translated(name):
    known = catalogue(name).known
    assert len(boxes()) == 14
    missing = [one for box in boxes() for text in box for one in sentences(text) if not known(one)]
    assert missing == []


@pytest.mark.parametrize("name", OTHERS)
def test_every_degradation_is_translated(name):
    rng = np.random.default_rng(0)
    phrases = {describe(draw_preset(preset, rng)) for preset in ("light", "medium", "heavy")}
    phrases |= {describe((Step(one),)) for one in OPERATIONS}
    known = catalogue(name).known
    told = [part for phrase in phrases for part in phrase.split(", then ")]
    assert len(told) > 17 and [part for part in told if not known(part)] == []


@pytest.mark.parametrize("name", OTHERS)
def test_every_level_of_a_video_codec_is_translated(name):
    known = catalogue(name).known
    plain = [level.plain for sweep in sweeps().values() for level in sweep.levels if level.plain]
    assert len(plain) == 16 and [one for one in plain if not known(one)] == []
    assert known("Exact setting") not in (None, "Exact setting")
    said = known("H.264 video, strength 5 of 8. The score is 0.12.") or ""
    assert "strength" not in said and "video" not in said


def test_a_level_is_told_in_german():
    known = catalogue("de").known
    assert known("H.264 video, strength 5 of 8.") == "H.264-Video, Stärke 5 von 8."


def test_a_worksheet_is_downloaded_in_the_readers_language():
    plan = PLANS[0]
    told = localised.html(learn.opening(plan, 1), "de")
    encoded = re.search(r'href="data:text/html;base64,([^"]*)"', told)[1]
    sheet = b64decode(encoded).decode()
    assert sheet.startswith('<!doctype html><html lang="de"><head><meta charset="utf-8">')
    assert "<title>Arbeitsblatt: Wie ein GAN lernt</title><style>\n@page { size: A4;" in sheet
    assert "<h1>Lösungen: 1. Wie ein GAN lernt</h1>" in sheet
    assert "<li><b>Aufgabe 4.</b> Er täuscht seinen Diskriminator, aber" in sheet
    assert 'aria-label="Pfeil von Zufallszahlen zu Generator; Pfeil von Generator zu' in sheet
    assert "lens-term" not in sheet and "Deepfake Lens" in sheet
    assert localised.document(worksheet(plan, 1), ENGLISH) == worksheet(plan, 1)


def test_an_answer_to_a_guess_is_translated_whole():
    question = PLANS[0].question
    wrong = localised.html(learn.answer(question, question.options[0]), "de")
    assert "<b>Nicht ganz: Er bleibt deutlich über null.</b> Jedes lernt aus den Fehlern" in wrong
    right = localised.html(learn.answer(question, question.options[1]), "zh")
    assert "<b>您猜对了。</b>双方都从对方的错误中学习。" in right


def test_what_the_page_says_without_asking_the_server_is_translated():
    status, button = gr.HTML(), gr.Button()
    update = {status: gr.update(value=markup.note("Playing…")), button: gr.update(visible=False)}
    told = in_language(update, "de")
    assert "Läuft…" in told[0]["value"] and told[1]["visible"] is False
    assert "Playing…" in in_language(update, ENGLISH)[0]["value"]
