"""What the page says, without a browser."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from explain_faces import astronaut
from page_tools import built, session, session_of

from detector.decoding import Traces
from detector.profile import Thresholds
from detector.types import Label, ModelInfo, Verdict
from explain import figures
from explain.cam import EVIDENCE_MAP, Heat
from explain.faithfulness import Curves, Grade, ReportCard
from explain.provenance import statements
from explain.server import markup, widgets
from explain.server.service import (
    Choice,
)
from explain.tabs import beforehand, cards, clip, dots, links, on_demand, panel
from explain.timeline import Interval, Timeline

BAND = Thresholds(authentic_below=0.3, forged_above=0.7)
MODEL = ModelInfo("two-stream", "0123456789abcdef" * 4)


@pytest.mark.parametrize(
    ("label", "p", "heading"),
    [
        (Label.FORGED, 0.93, "Forged-looking"),
        (Label.AUTHENTIC, 0.02, "Authentic-looking"),
        (Label.UNCERTAIN, 0.5, "Cannot say"),
        (Label.NO_FACE, None, "No face"),
    ],
)
def test_verdict_says_it_in_words_with_its_reason_and_its_limits(label, p, heading):
    card = cards.verdict_card(
        Verdict(label, "Because of <it>.", p, p), BAND, MODEL, {"false_positives": 0.051}
    )
    assert f"<span>{heading}</span>" in card
    assert "Because of &lt;it&gt;." in card
    assert "two-stream (0123456789ab)" in card
    assert "it called 5.1% of authentic faces forged" in card
    assert "not evidence against a person" in card
    assert ("lens-scale" in card) == (p is not None)


def test_verdict_draws_the_score_and_its_band():
    card = cards.verdict_card(
        Verdict(Label.FORGED, "So.", 0.93, 2.0),
        BAND,
        MODEL,
        {},
        "Some seconds look forged: 1.5–3.0 s.",
    )
    assert '<b style="left:93.0%">' in card
    assert (
        "Below 0.30 authentic-looking, above 0.70 forged-looking, between the two: cannot say."
        in card
    )
    assert "How often it is wrong has not been measured for this model." in card
    assert "Some seconds look forged: 1.5–3.0 s." in card


@pytest.mark.parametrize(("low", "high", "middle"), [(0.3, 0.7, 50.0), (0.9, 0.98, 94.0)])
def test_the_meters_label_stands_over_its_zone(low, high, middle):
    card = cards.verdict_card(
        Verdict(Label.UNCERTAIN, "So.", 0.5, 0.0), Thresholds(low, high), MODEL, {}
    )
    over = card.split('class="lens-over"')[1].split("</div>")[0]
    assert f"left:clamp(4.5rem, {middle:.1f}%, 100% - 4.5rem)" in over
    assert f"cannot say {low:.2f}–{high:.2f}" in over


def test_what_few_ask_for_lies_in_a_fold():
    verdict = Verdict(Label.FORGED, "So.", 0.93, 2.0)
    card = cards.verdict_card(verdict, BAND, MODEL, {}, looked_at="Photo, 5 × 5 px.")
    seen, folded = card.split("<details")
    for fact in ("Photo, 5 × 5 px.", "0123456789ab", "forged-looking above 0.70"):
        assert fact in folded and fact not in seen


def test_thumbnails_tell_clips_from_photos():
    buttons = (
        cards.ExampleButton(b"1", "A photo", "a.png"),
        cards.ExampleButton(b"2", "A clip", "b.mp4"),
    )
    photo, clip_button = cards.examples(buttons).split("<button")[1:]
    assert "lens-clip" in clip_button and "lens-clip" not in photo
    assert 'data-name="b"' in clip_button


def test_a_hundred_dots_say_both_rates(tmp_path):
    table = tmp_path / "accuracy.csv"
    head = "set,family,degradation,recall,false_positives\n"
    rows = "devset,all,none,0.9,0.9\ngenuine forgeries,all files,as found,0.5567,0.0100\n"
    table.write_text(head + rows)
    found, alarms = dots.rates(table)
    drawn = dots.hundred_dots(found, alarms)
    assert (found, alarms) == (0.5567, 0.01)
    assert "Finds 56 of 100 forgeries, wrongly flags 1 of 100 authentic pictures" in drawn
    forgeries, authentic = drawn.split("<figure>")[1:]
    assert forgeries.count("lens-full") == 56 and forgeries.count("lens-ring") == 44
    assert authentic.count("lens-full") == 1 and authentic.count("lens-ring") == 99
    table.write_text(head)
    assert dots.rates(table) is None and dots.rates(tmp_path / "none.csv") is None


@pytest.mark.parametrize(
    ("query", "opened"),
    [
        ({}, (None, 0)),
        ({"tab": "model"}, ("model", 0)),
        ({"tab": "learn", "lesson": "3"}, ("learn", 3)),
        ({"lesson": "6"}, ("learn", 6)),
        ({"tab": "nowhere", "lesson": "7"}, (None, 0)),
        ({"tab": "learn", "lesson": "²"}, ("learn", 0)),
    ],
)
def test_an_address_opens_what_is_there(query, opened):
    assert links.asked(query, ("analyse", "learn", "model"), 6) == opened


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("face", "astronaut_swapped", "astronaut_swapped.png"),
        ("face", "hopper_clip", None),  # not offered here
        ("face", "../secret", None),
        ("kind", "Blur", "Blur"),
        ("kind", "blur", None),
    ],
)
def test_an_address_sets_what_a_lab_offers(name, value, found):
    assert links.setting(name, value, ("astronaut_swapped.png", "Blur")) == found


def test_every_label_has_a_sign_of_its_own():
    assert set(cards.SIGNS) == set(Label)
    assert len(set(cards.SIGNS.values())) == 4


def test_without_a_measurement_the_aim_is_named():
    said = cards.how_often_wrong({"false_positive_target": 0.05})
    assert said.startswith(
        "Its threshold was set to call about 5% of authentic validation faces forged;"
    )
    assert "not been measured" in cards.how_often_wrong({})


def line(**changes) -> Timeline:
    whole = Timeline(
        track=0,
        t=(0.0, 1.0, 2.0, 3.0),
        p=(0.1, 0.9, 0.8, 0.2),
        p_smooth=(0.2, 0.8, 0.75, 0.3),
        thresholds=BAND,
        intervals=(Interval(0.5, 2.5),),
        similarity=(0.5, 1.0, -0.2),
    )
    return replace(whole, **changes)


def test_timeline_is_a_labelled_slider_with_everything_drawn_in_place():
    drawn = clip.timeline(line(), duration_s=4.0, chosen=1)
    assert 'role="slider"' in drawn and 'tabindex="0"' in drawn
    assert 'aria-valuemax="3" aria-valuenow="1"' in drawn
    assert 'aria-valuetext="1.00 s, score 0.90, in a suspicious stretch"' in drawn
    assert "Suspicious stretches: 0.5 to 2.5 s." in drawn
    assert '<div class="lens-interval" style="left:12.50%;width:50.00%"></div>' in drawn
    assert '<span style="left:37.50%">0.5–2.5 s</span>' in drawn
    assert '<div class="lens-band" style="bottom:30.0%;height:40.0%">' in drawn
    assert '<i class="lens-dot" style="left:25.00%;bottom:90.0%">' in drawn
    assert '<polyline points="0.00,80.0 25.00,20.0 50.00,25.0 75.00,70.0"' in drawn
    # similarity, below 0 at the bottom
    assert '<polyline points="12.50,50.0 37.50,0.0 62.50,100.0"' in drawn
    assert '<div class="lens-chosen" style="left:25.00%">' in drawn


def test_labels_above_the_timeline_leave_out_what_would_run_into_another():
    near = (Interval(0.0, 0.2), Interval(0.4, 0.8), Interval(2.0, 2.4))
    drawn = clip.timeline(line(intervals=near), duration_s=4.0, chosen=0)
    labels = drawn.split('<div class="lens-seconds"')[1].split("</div>")[0]
    assert labels.count("<span") == 2
    assert '<span style="left:12.00%">0.0–0.2 s</span>' in labels  # kept off the edge
    assert '<span style="left:55.00%">2.0–2.4 s</span>' in labels
    assert "Suspicious seconds: 0.0 to 0.2 s; 0.4 to 0.8 s; 2.0 to 2.4 s." in drawn


def test_timeline_tells_the_script_its_times():
    drawn = clip.timeline(line(intervals=()), duration_s=4.0, chosen=0)
    state = json.loads(drawn.split('data-state="')[1].split('"')[0].replace("&quot;", '"'))
    assert state["t"] == [0.0, 1.0, 2.0, 3.0]
    assert state["end"] == 4.0
    assert state["texts"][1] == "1.00 s, score 0.90"
    assert "Suspicious stretches: none." in drawn


def test_suspicious_seconds_are_named_person_by_person_and_never_against_the_headline():
    twice = line(track=1, intervals=(Interval(0.0, 0.5), Interval(2.0, 3.0)))
    forged, unsure = Verdict(Label.FORGED, "a", 0.9), Verdict(Label.UNCERTAIN, "a", 0.5)
    both = "Most of it in these seconds: 0.5–2.5 s (face 0); 0.0–0.5 s and 2.0–3.0 s (face 1)."
    assert clip.suspicious_seconds([line(), twice, line(intervals=())], forged) == both
    assert clip.suspicious_seconds([line()], unsure) == (
        "Some seconds stand out, too few to be called forged: 0.5–2.5 s."
    )
    assert clip.suspicious_seconds([line(intervals=())], forged) == ""
    part = replace(forged, part=(0.5, 2.5))
    assert clip.suspicious_seconds([line()], part) == ""  # the headline names it
    assert clip.suspicious_seconds([twice], part).startswith("Other seconds stand out, too: 0.0")


def test_headline_meter_and_score_speak_of_the_same_thing():
    part = Verdict(Label.FORGED, "So.", 0.97, 3.0, (1.5, 2.9))
    card = cards.verdict_card(part, BAND, MODEL, {})
    assert "<span>Part of this clip looks forged: 1.5-2.9 s</span>" in card
    assert "Calibrated probability of a forgery in this part: <b>0.97</b>" in card
    assert '<b style="left:97.0%">' in card
    group = replace(part, part=None, faces=(1, 2))
    card = cards.verdict_card(group, BAND, MODEL, {})
    assert "<span>1 of 2 faces looks forged</span>" in card
    assert "Calibrated probability of a forgery for the most forged-looking face:" in card


def test_a_score_that_is_not_used_is_marked_as_unused():
    blurred = Verdict(Label.UNCERTAIN, "The face is too blurred.", 0.97, 3.0)
    card = cards.verdict_card(blurred, BAND, MODEL, {})
    assert "This score is not used, for the reason above." in card
    assert '<b class="lens-unused" style="left:97.0%">' in card
    between = cards.verdict_card(replace(blurred, p_fake=0.5), BAND, MODEL, {})
    assert "not used" not in between


def test_each_question_has_its_bar_where_the_model_asks_both():
    face = session().analysis.faces[0]
    verdict = face.verdict
    assert "lens-question" not in cards.verdict_card(verdict, BAND, MODEL, {}, face=face)
    both = replace(face, manipulated=0.93, generated=0.04)
    card = cards.verdict_card(verdict, BAND, MODEL, {}, face=both)
    assert 'value="0.9300" aria-label="Something was put into it"' in card
    assert 'value="0.0400" aria-label="It was generated as a whole"' in card


def test_the_box_speaks_of_the_part_where_the_frame_lies_in_it():
    face = session().analysis.faces[0]
    assert panel.label_in(face, 2.0) == "forged-looking"
    part = replace(face, verdict=replace(face.verdict, part=(1.5, 2.9)))
    assert panel.label_in(part, 2.0) == "in the forged-looking part"
    assert panel.label_in(part, 0.5) == "outside the forged-looking part"
    assert cards.face_name(part) == "Face 0: Part of this clip looks forged: 1.5-2.9 s (0.90)"


def test_a_clip_of_one_frame_has_a_timeline():
    one = line(t=(0.0,), p=(0.5,), p_smooth=(0.5,), intervals=(), similarity=())
    assert 'aria-valuemax="0"' in clip.timeline(one, duration_s=0.0, chosen=0)


def test_names_from_outside_are_escaped():
    nasty = '"><script>alert(1)</script>'
    assert "<script" not in clip.player(Path(f"/tmp/{nasty}.mp4"))
    assert "<script" not in markup.table({nasty: nasty}, "")
    assert "<script" not in markup.grid((nasty,), [(nasty, nasty)])
    assert "<script" not in markup.alert(nasty) + markup.note(nasty) + markup.sentences([nasty])
    assert markup.table({}, "Nothing <here>.") == '<p class="lens-small">Nothing &lt;here&gt;.</p>'


def test_what_the_file_says_about_itself_is_listed():
    found = Traces(True, "<i>Studio", (), "PNG", error_levels=figures.png(astronaut()))
    said = statements(replace(found, credentials={"issuer": "A & B"}), {"Software": "<b>"})
    listed = cards.about_file(said)
    assert "<td>&lt;b&gt;</td>" in listed and "&lt;i&gt;Studio" in listed
    assert '<th scope="row">issuer</th><td>A &amp; B</td>' in listed and "title" not in listed
    assert listed.count("<section") == 4 and listed.count("<img") == 1
    assert "no sign of a forgery" in listed


def test_captions_name_the_frame_and_say_when_it_was_not_seen():
    clip_of_two = session(frames=2)
    first = clip_of_two.analysis.faces[0]
    score = f"{first.p_frames[1]:.2f}"
    assert (
        panel.frame_caption(clip_of_two, Choice(0, 1)) == f"Frame at 1.00 s, face 0, score {score}."
    )
    unseen = replace(first.track.crops[1], confidence=0.0)
    track = replace(first.track, crops=(first.track.crops[0], unseen))
    analysis = replace(clip_of_two.analysis, faces=(replace(first, track=track),))
    assert panel.frame_caption(session_of(analysis), Choice(0, 1)) == (
        f"Frame at 1.00 s, face 0, score {score}; not detected in this frame, its place is "
        "interpolated."
    )
    assert panel.frame_caption(session(), Choice(0, 0)).startswith("Face 0, score ")


def test_one_colour_scale_serves_all_frames_of_a_person():
    two = session(frames=2)
    face = two.analysis.faces[0]
    faint = replace(face.evidence[0], map=face.evidence[0].map * 0.01)
    strong = replace(face.evidence[1], map=np.full_like(face.evidence[1].map, 3.0))
    two = session_of(replace(two.analysis, faces=(replace(face, evidence=(faint, strong)),)))
    assert panel.evidence_scale(two, 0).limit == 3.0


def test_status_line_sums_up():
    assert cards.status_line(session().analysis) == "Photo, 512 × 512 px, 1 face, took 1.0 s."
    assert (
        cards.status_line(session(frames=3).analysis)
        == "2.0 s of video, 3 frames sampled, 1 face, took 1.0 s."
    )


def test_marks_say_whether_to_rely_on_a_map():
    good = Grade(EVIDENCE_MAP, -1.0, 2.0, 0.5, (), ())
    bad = Grade("LIME", 0.0, 0.0, -0.1, ("random",), ("edges",))
    flat = Curves(np.zeros(3, np.float32), np.zeros(3, np.float32))
    marks = on_demand.marks_table(ReportCard((good, bad), {"random": flat}, "compressed"))
    assert "✓ Passed" in marks
    assert (
        "✗ Do not rely on this map: deletion no better than random, insertion no better than "
        "edges, ROAD not above 0: its cold places carry as much as its hot ones." in marks
    )
    # every number with its own mark, so that the grade follows from what is shown
    assert "<td>-1.00 ✓</td><td>2.00 ✓</td><td>+0.50 ✓</td>" in marks
    assert "<td>0.00 ✗</td><td>0.00 ✗</td><td>-0.10 ✗</td>" in marks
    assert '<th scope="row">control: random</th>' in marks


def test_results_are_marked_stale_once_a_setting_is_changed():
    done = markup.done("Done.")
    assert "The results below are of the settings before." in widgets.marked_stale(done)
    for other in (markup.note(" "), markup.note("Cancelled."), markup.alert("No."), ""):
        assert not isinstance(widgets.marked_stale(other), str)  # nothing is changed

    def inputs() -> list:
        with gr.Blocks():
            made = [gr.Slider(), gr.Dropdown(), gr.File(), gr.State(), gr.Checkbox()]
        return widgets.touches(made)

    # a slider, a menu and a box by their input, a file by its coming and going, a state never
    assert len(built(inputs)) == 5


def test_the_map_of_the_finished_example_bears_its_badge() -> None:
    heat = Heat(np.zeros((4, 4), np.float32), EVIDENCE_MAP, "t")
    other = Heat(np.zeros((4, 4), np.float32), "occlusion", "t")

    def badge(heat: Heat, passed: bool) -> str:
        found = SimpleNamespace(heat=heat, passed=passed)
        return beforehand._badge_of_evidence_map(found)  # type: ignore[arg-type]

    assert "Not tested yet" in beforehand._badge_of_evidence_map(None)
    assert "Tested on this face" in badge(heat, True)
    for found in (badge(heat, False), badge(other, True)):  # another map passed, which is not shown
        assert "Do not rely on this map" in found
    html = cards.finished("c", "h", "r", b"", "", badge(heat, False))
    assert html.index("lens-badge-failed") < html.index("<img")
