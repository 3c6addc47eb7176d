"""Several files at once: limits, rows, what stays after a stop, the table and its downloads."""

import base64
import csv
import io
import os
import re
from contextvars import copy_context
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import pytest
from explain_faces import analysis_of, astronaut, detector
from page_tools import built
from pyarrow import parquet

from detector.errors import MediaError
from detector.scan.rows import FIELDS, Job, blank_row
from detector.scan.tables import csv_bytes, parquet_bytes
from detector.stopping import pause_to_look
from explain.server.service import Service
from explain.tabs import listing, several

NASTY = '<img src=x onerror="window.owned=1">.png'
ME = SimpleNamespace(session_hash="me")


def row(file: str, p: float | None = None, **more: object) -> dict:
    answer = {} if p is None else {"label": "forged", "headline": "forged-looking", "p_fake": p}
    return blank_row(f"/secret/{file}", Job(frames=24)) | answer | more


# --------------------------------------------------------------------------------------------------
# limits


def test_each_limit_has_its_sentence(tmp_path: Path) -> None:
    small = [tmp_path / f"{n}.png" for n in range(51)]
    for path in small:
        path.write_bytes(b"x")
    big = tmp_path / "big.mp4"
    big.touch()
    os.truncate(big, 200 << 20)
    said = several.refused
    assert said(small[:50], 300) == ""
    assert said(small, 300) == "At most 50 files are looked at here at a time, not 51."
    assert said([], 300) == "Please choose some files first."
    assert said([big], 300) == ""
    assert said([big, big], 300) == "Together the files may have 300 MB, not 400 MB."
    gone = tmp_path / "gone.png"
    assert said([gone], 300) == "These files are no longer kept. Please choose them again."


# --------------------------------------------------------------------------------------------------
# a run


class Fake:
    """A detector that finds the astronaut in every file but broken ones."""

    info = detector().info

    def analyze(self, path, n_frames, progress, track=None):
        progress(0.5, "Looking at the faces")
        name = Path(path).name
        if name == "broken.png":
            raise MediaError(f"{name} is not a picture or a clip that can be read.")
        return analysis_of([astronaut()], p_fake=0.25, name=name)


def looked(tmp_path: Path, names: list[str], stop_at: str = "", fake: object = Fake) -> list[dict]:
    """The updates of a run, by the components' names; stopped at a stage, if told so."""
    service = Service(tmp_path)
    service.detector = lambda model=None: fake()  # type: ignore[method-assign, assignment]
    paths = [tmp_path / name for name in names]
    for path in paths:
        path.write_bytes(b"x")

    def tab() -> several.SeveralTab:
        with gr.Blocks():
            parts = [gr.HTML() for _ in range(9)]
            return several.SeveralTab(service, 300, *parts)  # type: ignore[arg-type]

    def report(share: float, desc: str) -> None:
        if stop_at and stop_at in desc:
            service.runs.cancel("me several")

    made = built(tab)
    named = {id(part): name for name, part in vars(made).items()}
    asked = made._look([str(p) for p in paths], ME, report)
    updates = []
    # Gradio, too, makes each row in another context
    while (update := copy_context().run(next, asked, None)) is not None:
        updates.append({named[id(part)]: value for part, value in update.items()})
    return updates


def test_every_file_gets_a_row_also_the_broken_one(tmp_path: Path) -> None:
    updates = looked(tmp_path, ["a.png", "broken.png", "c.png"])
    last = updates[-1]
    assert "Done: 3 files." in last["status"]
    rows = [one.row for one in last["found"]]
    assert [r["file"] for r in rows] == ["a.png", "broken.png", "c.png"]
    assert [r["p_fake"] for r in rows] == [0.25, None, 0.25]
    assert [r["path"] for r in rows] == ["a.png", "broken.png", "c.png"]  # no folder of the server
    assert str(tmp_path) not in last["table"]
    assert "broken.png is not a picture or a clip that can be read." in last["table"]
    assert "1 of 3" not in last["table"] and last["table"].count("<img") == 2
    # rows come one by one
    counts = [u["table"].count("<tr>") - 1 for u in updates[1:-1]]
    assert counts == [1, 2, 3]


def test_what_was_looked_at_before_a_stop_stays(tmp_path: Path) -> None:
    last = looked(tmp_path, ["a.png", "b.png", "c.png"], "b.png, 2 of 3: Looking")[-1]
    assert "Stopped after 1 of 3 files; their rows stay." in last["status"]
    assert [one.row["file"] for one in last["found"]] == ["a.png"]
    assert "b.png" not in last["table"] and "CSV" in last["table"]


def test_a_stop_is_heard_within_a_file(tmp_path: Path) -> None:
    past = []

    class Slow(Fake):
        def analyze(self, path, n_frames, progress, track=None):
            found = super().analyze(path, n_frames, progress, track)
            pause_to_look()
            past.append(Path(path).name)
            return found

    last = looked(tmp_path, ["a.png", "b.png", "c.png"], "b.png, 2 of 3: Looking", Slow)[-1]
    assert past == ["a.png"]
    assert "Stopped after 1 of 3 files; their rows stay." in last["status"]


def test_a_refusal_changes_nothing_but_the_status(tmp_path: Path) -> None:
    (only,) = looked(tmp_path, [])
    assert list(only) == ["status"] and "Please choose some files first." in only["status"]


def test_a_missing_model_is_one_sentence(tmp_path: Path) -> None:
    def missing() -> object:
        raise MediaError("The weights are missing.")

    last = looked(tmp_path, ["a.png"], fake=missing)[-1]
    assert "<b>Sorry.</b> The weights are missing." in last["status"]


# --------------------------------------------------------------------------------------------------
# HTML and downloads


def test_names_and_reasons_are_text(tmp_path: Path) -> None:
    one = listing.Looked(row(NASTY, 0.9, reason="<b>Because", sha256="ab" * 32), b"jpg", b"jpg")
    for html in (listing.table([one]), listing.pair([one, one])):
        assert 'onerror="' not in html and "<b>" not in html
        assert NASTY in unescape(html) and "<b>Because" in unescape(html)


def test_the_table_sorts_by_numbers_and_keeps_empty_cells_last() -> None:
    found = [listing.Looked(row("a", 0.05)), listing.Looked(row("b"))]
    html = listing.table(found)
    assert re.findall(r'data-sort="([^"]*)">0\.05</td>', html) == ["0.050000"]
    assert html.count('<td data-sort=""></td>') == 7  # three of the first row, four of the second
    assert html.count('<button type="button">') == 6
    assert "Not read" in html


def test_two_side_by_side_or_nothing() -> None:
    found = (listing.Looked(row("a.png", 0.95)), listing.Looked(row("b.png", 0.02)))
    both = several.side_by_side(found, 1, 0)
    assert both.index("b.png") < both.index("a.png") and "0.95" in both
    for left, right in ((None, 0), (0, None), (0, 2), (-1, 0)):
        assert several.side_by_side(found, left, right) == ""


def test_csv_and_parquet_hold_the_scans_columns() -> None:
    rows = [row("a.png", 0.5, faces=1), row("=cmd|' C calc'!A0.png")]
    table = list(csv.reader(io.StringIO(csv_bytes(rows).decode("utf-8-sig"))))
    assert table[0] == list(FIELDS) and len(table) == 3
    assert table[1][1] == "a.png" and table[1][6] == "0.5"
    assert table[2][1] == "'=cmd|' C calc'!A0.png"  # no formula for a spreadsheet
    read = parquet.read_table(io.BytesIO(parquet_bytes(rows)))
    assert read.column_names == list(FIELDS)
    assert read.column("file").to_pylist() == ["a.png", "=cmd|' C calc'!A0.png"]
    assert read.column("faces").to_pylist() == [1, None]


def test_links_hold_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    html = listing.downloads([row("a.png", 0.5)])
    names = re.findall(r'download="deepfake-lens-\d{4}-\d\d-\d\d\.(\w+)"', html)
    assert names == ["csv", "parquet"]
    content = re.search(r"data:text/csv;base64,([^\"]+)", html)
    assert content and b"a.png" in base64.b64decode(content[1])

    def missing(rows: object) -> bytes:
        raise ImportError

    monkeypatch.setattr(listing, "parquet_bytes", missing)
    assert listing.NO_PARQUET in listing.downloads([row("a.png", 0.5)])
