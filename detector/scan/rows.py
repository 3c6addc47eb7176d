"""One row per file: the table's columns, and how a file becomes a row."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from detector.contract import analysis_json
from detector.decide import deciding_face
from detector.errors import DetectorError, text_of
from detector.media import DEFAULT_FRAMES, open_media
from detector.types import Analysis, Media, Progress

if TYPE_CHECKING:
    from detector.pipeline import Detector

Row = dict[str, Any]

# the table's columns and their SQLite types; p_fake to faces are empty in a row with an error
FIELDS = {
    "path": "TEXT",  # absolute
    "file": "TEXT",
    "sha256": "TEXT",
    "kind": "TEXT",
    "label": "TEXT",
    "headline": "TEXT",
    "p_fake": "REAL",
    "logit": "REAL",
    "reason": "TEXT",
    "part_from_s": "REAL",  # where only a part of a clip looks forged
    "part_to_s": "REAL",
    "manipulated": "REAL",  # of the face that decides; empty where the model has one network
    "generated": "REAL",
    "faces": "INTEGER",
    "notes": "TEXT",  # what was not looked at
    "error_type": "TEXT",
    "error_message": "TEXT",
    "model_name": "TEXT",
    "model_sha256": "TEXT",
    "frames": "INTEGER",  # asked for of a clip
    "track": "INTEGER",  # asked for of a clip; empty where it was chosen
    "seconds": "REAL",  # that the scan spent on the file
}


@dataclass(frozen=True)
class Job:
    """What is done with every file."""

    model: str | None = None
    device: str = "auto"
    frames: int = DEFAULT_FRAMES
    track: int | None = None  # of every clip; None: the one that is chosen


def scan_files(detector: Detector, paths: Iterable[str], job: Job) -> Iterator[Row]:
    """Analyse files in turn and yield their rows; while one is looked at, the next is decoded.

    Whatever goes wrong with a file is in its row.
    """

    def judged(media: Future[Media]) -> Analysis:
        return detector.analyze_media(media.result())

    with ThreadPoolExecutor(1) as reader:
        opened = ((path, reader.submit(open_media, path, job.frames, job.track)) for path in paths)
        ahead = next(opened, None)
        while ahead is not None:
            path, media = ahead
            ahead = next(opened, None)
            yield _row(detector, path, job, partial(judged, media))[0]


def scan_file(
    detector: Detector, path: str, job: Job, progress: Progress | None = None
) -> tuple[Row, Analysis | None]:
    """Analyse one file; return its row, as `scan_files` makes it, and the analysis, if there is
    one. progress: see Detector.analyze."""
    return _row(
        detector, path, job, lambda: detector.analyze(path, job.frames, progress, job.track)
    )


def _row(
    detector: Detector, path: str, job: Job, analyse: Callable[[], Analysis]
) -> tuple[Row, Analysis | None]:
    start = time.perf_counter()
    analysis = None
    row = blank_row(path, job, detector.info.name, detector.info.sha256)
    try:
        analysis = analyse()
        row |= _answer(analysis)
    except DetectorError as err:
        row |= {"error_type": type(err).__name__, "error_message": str(err)}
    # among a million files one meets an error that nobody foresaw; the others still want rows
    except Exception as err:
        row |= {
            "error_type": type(err).__name__,
            "error_message": f"{row['file']} could not be analysed.",
        }
    return row | {"seconds": round(time.perf_counter() - start, 4)}, analysis


def _answer(analysis: Analysis) -> Row:
    """The columns of the answer, rounded as in the file's JSON."""
    found = analysis_json(analysis)
    names = ("sha256", "kind", "label", "headline", "p_fake", "logit", "reason")
    row: Row = {name: found[name] for name in names} | {"faces": len(found["faces"])}
    row["notes"] = " ".join(found["notes"])
    if found["part"] is not None:
        row |= {f"part_{end}": second for end, second in found["part"].items()}
    deciding = deciding_face(analysis.faces, analysis.verdict)
    if deciding is not None:
        row |= found["faces"][analysis.faces.index(deciding)]["evidence"]
    return row


def blank_row(
    path: str, job: Job, model_name: str | None = None, model_sha256: str | None = None
) -> Row:
    """A row of a file that has not been analysed."""
    file = {"path": text_of(path), "file": text_of(os.path.basename(path))}
    asked = {"frames": job.frames, "track": job.track}
    model = {"model_name": model_name, "model_sha256": model_sha256}
    return dict.fromkeys(FIELDS) | file | asked | model
