"""The report: the same bytes twice, nothing fetched, nothing unescaped."""

import copy
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from explain_faces import analysis_of, astronaut, detector, explainer
from PIL import Image

import explain.__main__ as command
from detector import __version__
from detector.errors import MediaError
from detector.types import Analysis, Label, Verdict
from explain import report as report_module
from explain.cam import EVIDENCE_MAP
from explain.explainer import Explainer
from explain.pipeline import ExplainOptions
from explain.report import Report, build_report, write_report
from explain.server import localised
from explain.texts import catalogue

OPTIONS = ExplainOptions(
    methods=(EVIDENCE_MAP, "EigenCAM, rgb stream"), lime_samples=32, check_steps=4
)
CLIPS = Explainer(detector(), "video")
MADE = datetime(2026, 3, 4, 15, 6, tzinfo=UTC)
NASTY = '<script>alert("x")</script> & \udcff.png'


@pytest.fixture(scope="module")
def clip_report() -> Report:
    frames = [astronaut(), astronaut()[:, ::-1].copy(), (astronaut() * 0.7).astype(np.uint8)]
    return build_report(CLIPS, analysis_of(frames, name=NASTY), None, OPTIONS)


class Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    return page


def test_the_same_bytes_again(clip_report: Report) -> None:
    frames = [astronaut(), astronaut()[:, ::-1].copy(), (astronaut() * 0.7).astype(np.uint8)]
    again = build_report(CLIPS, analysis_of(frames, name=NASTY), None, OPTIONS)
    assert again.json() == clip_report.json()
    assert again.html(MADE) == clip_report.html(MADE)
    other = build_report(
        CLIPS, analysis_of(frames, name=NASTY), None, ExplainOptions(lime=False, check=False)
    )
    assert other.json() != clip_report.json()


def test_a_reader_of_the_page_gets_it_in_their_language(clip_report: Report) -> None:
    english = clip_report.html(MADE)
    told = localised.document(english, "de")
    assert '<html lang="de">' in told and "lens-term" not in told
    assert "<title>Bericht zu &lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; " in told
    assert f"Deepfake Lens {__version__}, Bericht erstellt am 2026-03-04 15:06 UTC</p>" in told
    assert "<h2>Vorbehalte</h2>" in told and "<td>Kontrolle: Mitte</td>" in told
    assert "<th>Einstellung: lime_samples</th><td>32</td>" in told
    captions = [unescape(one).strip() for one in re.findall(r"<figcaption>([^<]+)", english)]
    known = catalogue("de").known
    assert len(captions) > 5 and [caption for caption in captions if not known(caption)] == []
    assert len(parsed(told).tags) == len(parsed(english).tags)


def test_the_numbers(clip_report: Report) -> None:
    content = json.loads(clip_report.json())
    assert content["file"] == {
        "name": NASTY, "sha256": "ab" * 32, "kind": "video", "width": 512, "height": 512,
        "duration_s": 2.0, "frames_looked_at": [0, 1, 2],
    }  # fmt: skip
    assert content["model"] == {"name": "untrained", "sha256": "0" * 64}
    assert content["verdict"] == {
        "label": "forged",
        "headline": "forged-looking",
        "p_fake": 0.9,
        "logit": 2.0,
        "reason": "Told so by the test.",
        "part_s": None,
    }
    assert content["settings"]["methods"] == [EVIDENCE_MAP, "EigenCAM, rgb stream"]
    assert content["metadata"] == {"Software": "a <b>test</b>"}
    assert content["content_credentials"] is None
    explanation = content["faces"][0]["explanation"]
    assert [m["method"] for m in explanation["maps"]] == [
        EVIDENCE_MAP,
        "EigenCAM, rgb stream",
        "LIME",
    ]
    assert [m["class_blind"] for m in explanation["maps"]] == [False, True, False]
    assert all(m["grade"]["sentence"] for m in explanation["maps"])
    assert len(content["faces"][0]["timeline"]["similarity"]) == 2
    assert content["limits"][-1].endswith("not evidence against a person.")
    assert not re.search(r"timing|seconds_taken|date", clip_report.json())


def test_the_page_fetches_nothing_and_says_what_it_shows(clip_report: Report) -> None:
    page = parsed(clip_report.html())
    images = [attrs for tag, attrs in page.tags if tag == "img"]
    assert len(images) == sum(len(some) for some in clip_report.pictures) >= 10
    for image in images:
        assert (image["src"] or "").startswith("data:image/png;base64,")
        assert len(image["alt"] or "") > 10
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert not any(
        "src" in attrs and not (attrs["src"] or "").startswith("data:") for _, attrs in page.tags
    )
    assert "http" not in re.sub(r'src="[^"]*"', "", clip_report.html())
    assert "@media print" in clip_report.html()


def test_names_and_metadata_are_escaped(clip_report: Report) -> None:
    html = clip_report.html()
    assert "<script" not in html and "<b>test" not in html
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; " in html
    assert "a <b>test</b>" in parsed(html).text


def test_words_before_colours(clip_report: Report) -> None:
    text = parsed(clip_report.html()).text
    assert "Forged-looking" in text and "Calibrated probability of a forgery: 0.90" in text
    assert "not evidence against a person" in text
    assert "never part of the score" in text
    assert "class-blind" in text
    assert text.index("Forged-looking") < text.index("Evidence map")


def test_files(clip_report: Report, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "er"
    written = write_report(clip_report, out)
    names = {path.name for path in written}
    assert {
        "report.html",
        "report.json",
        "face1-frame.png",
        "face1-timeline.png",
        "face1-evidence-map.png",
    } <= names
    assert {path.name for path in out.iterdir()} == names  # and no half-written rest
    assert json.loads((out / "report.json").read_bytes())["file"]["name"] == NASTY
    assert "&#56575;" in (out / "report.html").read_text(encoding="utf-8")
    assert Image.open(io.BytesIO((out / "face1-frame.png").read_bytes())).size == (512, 512)
    write_report(clip_report, out)  # over an older report


def test_a_failed_write_leaves_nothing_behind(
    clip_report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report_module.os, "replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_report(clip_report, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_scale_for_all_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    one = analysis_of([astronaut()])
    dim = analysis_of([(astronaut() * 0.4).astype(np.uint8)])
    two = Analysis(one.media, (one.faces[0], dim.faces[0]), one.verdict, one.model)
    seen: list[float] = []
    draw = report_module.figures.overlay
    monkeypatch.setattr(
        report_module.figures,
        "overlay",
        lambda view, crop, heat, scale: (seen.append(scale.limit), draw(view, crop, heat, scale))[
            1
        ],
    )
    found = build_report(
        explainer(), two, None, ExplainOptions(methods=(EVIDENCE_MAP,), lime=False, check=False)
    )
    assert len(found.pictures) == 2 and len(seen) == 2
    assert seen[0] == seen[1]


def test_no_face_is_a_report_too() -> None:
    whole = analysis_of([astronaut()])
    empty = Analysis(whole.media, (), Verdict(Label.NO_FACE, "No face was found."), whole.model)
    found = build_report(explainer(), empty)
    assert json.loads(found.json())["verdict"] == {
        "label": "no_face", "headline": "no face", "p_fake": None, "logit": None,
        "reason": "No face was found.", "part_s": None,
    }  # fmt: skip
    assert "<strong>No face</strong>" in found.html()
    images = [attrs for tag, attrs in parsed(found.html()).tags if tag == "img"]
    assert [i["alt"] for i in images] == [
        "The picture, or the clip's first frame that was looked at"
    ]


def test_page_one_stands_by_itself(clip_report: Report) -> None:
    first, rest = clip_report.html(MADE).split("</section>", 1)
    text = parsed(first.split("</style>")[1]).text
    assert f"Deepfake Lens {__version__}, report made on 2026-03-04 15:06 UTC" in text
    assert "Forged-looking" in text and "ab" * 32 in text
    assert "clip of 2.0 s, 512 x 512 px, 3 frames looked at" in text
    assert "authentic pictures are sometimes called forged" in text
    assert first.count("<img") == 1 and "The frame, face 0: " in first
    assert "The frame, face 0: " not in rest
    assert f"report made on {datetime.now().astimezone():%Y-%m-%d}" in clip_report.html()
    program = {"name": "Deepfake Lens", "version": __version__}
    assert json.loads(clip_report.json())["program"] == program


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("photo.jpg", "report-photo-2026-03-04.html"),
        ("Zo\u00eb & me (1).tar.png", "report-Zo\u00eb-me-1-.tar-2026-03-04.html"),
        ("../../etc/passwd", "report-passwd-2026-03-04.html"),
        ("\udcff?<>.png", "report-file-2026-03-04.html"),
        ("x" * 255 + ".png", f"report-{'x' * 80}-2026-03-04.html"),
    ],
)
def test_a_report_is_named_after_its_file_and_day(file: str, name: str) -> None:
    found = Report({"file": {"name": file}}, [])
    assert found.name("html", MADE) == name


def test_a_report_says_what_was_not_looked_at() -> None:
    quick = ExplainOptions(methods=(EVIDENCE_MAP,), lime=False, check=False)
    whole = analysis_of([astronaut()] * 2)
    for notes in (("The audio was not checked.", "Only 2 of 9 <b> frames were looked at."), ()):
        found = build_report(
            CLIPS, replace(whole, media=replace(whole.media, notes=notes)), None, quick
        )
        assert found.html().count("The audio was not checked.") == len(notes) / 2
        assert found.html().count("Only 2 of 9 &lt;b&gt; frames were looked at.") == len(notes) / 2


def fake_detector(model: object = None, device: str = "auto") -> Any:
    """Loads nothing, and finds the astronaut in every file but broken ones."""

    def analyze(
        path: Path, n_frames: int = 24, progress: Any = None, track: int | None = None
    ) -> Analysis:
        if "broken" in path.name:
            raise MediaError(f"{path.name} cannot be read as a picture or a clip.")
        return analysis_of([astronaut()], name=path.name)

    made = copy.copy(detector())
    made.analyze = analyze  # type: ignore[method-assign, assignment]
    return made


def test_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("detector.pipeline.Detector", fake_detector)
    quick = ["--methods", EVIDENCE_MAP, "--no-lime", "--no-check"]
    assert command.main(["me.png", "--out", str(tmp_path / "out"), *quick]) == 0
    assert (tmp_path / "out" / "report.html").is_file()
    assert str(tmp_path / "out" / "report.json") in capsys.readouterr().out
    # The command line's JSON is the library's, byte for byte.
    same = ExplainOptions(methods=(EVIDENCE_MAP,), lime=False, check=False)
    library = build_report(
        explainer(), analysis_of([astronaut()], name="me.png"), Path("me.png"), same
    )
    assert (tmp_path / "out" / "report.json").read_text() == library.json()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["broken.mp4"], "broken.mp4 cannot be read as a picture or a clip.\n"),
        (
            ["me.png", "--methods", "nonsense"],
            "No explanation is called 'nonsense'; there are evidence map, ",
        ),
    ],
)
def test_errors_are_one_sentence(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("detector.pipeline.Detector", fake_detector)
    assert command.main([arguments[0], "--out", str(tmp_path / "out"), *arguments[1:]]) == 1
    shown = capsys.readouterr()
    stages, told = shown.err.split(message)
    assert all(re.fullmatch(r" *\d+\.\d s  [A-Z].*", line) for line in stages.splitlines())
    assert told.count("\n") <= 1 and "Traceback" not in shown.err
    assert shown.out == "" and not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("detector.pipeline.Detector", fake_detector)
    (tmp_path / "file").write_text("in the way")
    quick = ["--methods", EVIDENCE_MAP, "--no-lime", "--no-check"]
    assert command.main(["me.png", "--out", str(tmp_path / "file"), *quick]) == 1
    assert "The report cannot be written to " in capsys.readouterr().err


def test_wrong_usage() -> None:
    with pytest.raises(SystemExit) as stopped:
        command.main(["me.png"])
    assert stopped.value.code == 2


def test_the_report_names_the_part_and_both_questions() -> None:
    whole = analysis_of([astronaut()] * 3)
    part = Verdict(Label.FORGED, "So it looks.", 0.97, 3.0, (0.0, 1.0))
    face = replace(whole.faces[0], verdict=part, manipulated=0.93, generated=0.04)
    quick = ExplainOptions(methods=(EVIDENCE_MAP,), lime=False, check=False)
    told = replace(whole, faces=(face,), verdict=part)
    found = build_report(CLIPS, told, None, quick)
    content = json.loads(found.json())
    assert content["verdict"]["headline"] == "Part of this clip looks forged: 0.0-1.0 s"
    assert content["verdict"]["part_s"] == content["faces"][0]["part_s"] == [0.0, 1.0]
    assert content["faces"][0]["evidence"] == {"manipulated": 0.93, "generated": 0.04}
    assert content["faces"][0]["explanation"]["frame"]["t"] <= 1.0  # of the part
    text = parsed(found.html()).text
    assert "Part of this clip looks forged: 0.0-1.0 s" in text
    assert "Calibrated probability of a forgery in this part: 0.97" in text
    assert (
        "something was put into this face, 0.93; the picture was generated as a whole, 0.04."
        in text
    )


def test_the_command_prints_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = command.Stages()
    for share, stage in ((0.1, "Finding faces"), (0.2, "LIME: 0 of 256 pictures")):
        stages(share, stage)
        stages(share, stage)
    stages(0.3, "LIME: 16 of 256 pictures")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(" s  ")[1] for line in lines] == ["Finding faces", "LIME"]
