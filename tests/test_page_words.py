"""What the page says, without a browser."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from page_tools import session, session_of

from detector.profile import Thresholds
from detector.types import Label, ModelInfo, Verdict
from explain.cam import EVIDENCE_MAP
from explain.faithfulness import Curves, Grade, ReportCard
from explain.server import markup
from explain.server.service import (
    Choice,
)
from explain.tabs import analyse, cards, clip, on_demand, panel
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
        intervals=(Interval(0.5, 2.5, 0.9),),
        similarity=(0.5, 1.0, -0.2),
    )
    return replace(whole, **changes)


def test_timeline_is_a_labelled_slider_with_everything_drawn_in_place():
    drawn = clip.timeline(line(), duration_s=4.0, chosen=1)
    assert 'role="slider"' in drawn and 'tabindex="0"' in drawn
    assert 'aria-valuemax="3" aria-valuenow="1"' in drawn
    assert 'aria-valuetext="1.00 s, score 0.90, in a suspicious stretch"' in drawn
    assert "Suspicious stretches: 0.5 to 2.5 s." in drawn
    assert (
        '<div class="lens-interval" style="left:12.50%;width:50.00%">'
        "<span>suspicious 0.5–2.5 s</span>"
    ) in drawn
    assert '<div class="lens-band" style="bottom:30.0%;height:40.0%">' in drawn
    assert '<i class="lens-dot" style="left:25.00%;bottom:90.0%">' in drawn
    assert '<polyline points="0.00,80.0 25.00,20.0 50.00,25.0 75.00,70.0"' in drawn
    # similarity, below 0 at the bottom
    assert '<polyline points="12.50,50.0 37.50,0.0 62.50,100.0"' in drawn
    assert '<div class="lens-chosen" style="left:25.00%">' in drawn


def test_timeline_tells_the_script_its_times():
    drawn = clip.timeline(line(intervals=()), duration_s=4.0, chosen=0)
    state = json.loads(drawn.split('data-state="')[1].split('"')[0].replace("&quot;", '"'))
    assert state["t"] == [0.0, 1.0, 2.0, 3.0]
    assert state["end"] == 4.0
    assert state["texts"][1] == "1.00 s, score 0.90"
    assert "Suspicious stretches: none." in drawn


def test_suspicious_seconds_are_named_person_by_person_and_never_against_the_headline():
    twice = line(track=1, intervals=(Interval(0.0, 0.5, 0.8), Interval(2.0, 3.0, 0.9)))
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
    assert 'value="0.9300" aria-label="Something was put into this face"' in card
    assert 'value="0.0400" aria-label="The picture was generated as a whole"' in card


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


def test_metadata_and_content_credentials_are_listed():
    listed = cards.metadata({"Software": "<b>"}, {"issuer": "A & B", "title": None})
    assert "<td>&lt;b&gt;</td>" in listed
    assert '<th scope="row">Content Credentials: issuer</th><td>A &amp; B</td>' in listed
    assert "title" not in listed
    assert "No Content Credentials (C2PA) could be read." in cards.metadata({}, None)


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
    assert analyse.status_line(session().analysis) == "Photo, 512 × 512 px, 1 face, took 1.0 s."
    assert (
        analyse.status_line(session(frames=3).analysis)
        == "2.0 s of video, 3 frames sampled, 1 face, took 1.0 s."
    )


def test_marks_say_whether_to_rely_on_a_map():
    good = Grade(EVIDENCE_MAP, -1.0, 2.0, 0.5, (), ())
    bad = Grade("LIME", 0.0, 0.0, -0.1, ("random",), ("edges",))
    flat = Curves(np.zeros(3, np.float32), np.zeros(3, np.float32))
    marks = on_demand.marks_table(ReportCard((good, bad), {"random": flat}, "compressed"))
    assert "✓ Passed" in marks
    assert (
        "✗ Do not rely on this map: deletion no better than random, insertion no better than edges, "
        "ROAD not above 0: its cold places carry as much as its hot ones." in marks
    )
    # every number with its own mark, so that the grade follows from what is shown
    assert "<td>-1.00 ✓</td><td>2.00 ✓</td><td>+0.50 ✓</td>" in marks
    assert "<td>0.00 ✗</td><td>0.00 ✗</td><td>-0.10 ✗</td>" in marks
    assert '<th scope="row">control: random</th>' in marks
