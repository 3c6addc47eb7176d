"""Many files in, one table out: a Parquet file with exactly one row per file.

Rows go one by one into a journal (SQLite) beside the table, keyed by path: a scan that was killed
goes on where it stopped, and one that is started again on a finished table adds only what is new.
Nothing is held in memory but the files in work, so a million files take no more of it than a
thousand.
"""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from detector.errors import DetectorError, ScanError
from detector.manifest import find_model
from detector.scan.engines import ENGINES, Engine
from detector.scan.files import find_files
from detector.scan.journal import Journal
from detector.scan.rows import Job

__all__ = ["ENGINES", "Engine", "Job", "run", "scan"]


def scan(inputs: Sequence[str], out: Path, job: Job, engine: Engine, workers: int) -> int:
    """Analyse every file that the inputs name and write the table; return the number of its rows
    with an error.

    Raises ScanError when there is nothing to scan, when the table belongs to another model,
    number of frames or track, or while another scan writes it; WeightsError for the model. Torch is
    left to the engine.
    """
    model = find_model(job.model)
    journal = Journal(out)
    try:
        journal.expect(model.sha256, job)
        apart = {str(path.absolute()) for path in journal.files}
        total = todo = 0
        for path in find_files(inputs, apart):
            total += 1
            todo += not journal.has(path)
        if not total:
            raise ScanError("There is no file to scan.")
        left = (path for path in find_files(inputs, apart) if not journal.has(path))
        with tqdm(
            total=total, initial=total - todo, unit="file", mininterval=0.5, dynamic_ncols=True
        ) as bar:
            for row in engine(left, job, workers):
                journal.add(row)
                bar.update()
        return journal.finish()
    finally:
        journal.close()


def run(inputs: Sequence[str], out: Path, job: Job, engine: str, workers: int) -> int:
    """The command: exit status 0 if every file was read, 1 if any was not, 2 if nothing could be
    scanned.
    """
    try:
        errors = scan(inputs, out, job, ENGINES[engine], workers)
    except DetectorError as err:
        print(err, file=sys.stderr)
        return 2
    except (OSError, sqlite3.Error) as err:  # a full disk, say
        print(
            f"{out.name} cannot be written: {err}. The same command goes on from here.",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(
            f"Stopped. The same command goes on from here; {out.name} is written at the end.",
            file=sys.stderr,
        )
        return 130
    if errors:
        files = f"{errors} file{'' if errors == 1 else 's'}"
        told = f"{files} could not be read: see the column error_message of {out.name}."
        print(told, file=sys.stderr)
    return 1 if errors else 0
