"""Many files in, one table out: folders, globs and lists of files -> a Parquet file with exactly
one row per file.

Rows go one by one into a journal (SQLite) beside the table, keyed by path: a scan that was killed
goes on where it stopped, and one that is started again on a finished table adds only what is new.
Nothing is held in memory but the files in work, so a million files take no more of it than a
thousand.
"""

from __future__ import annotations

import glob
import logging
import multiprocessing
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from tqdm import tqdm

from detector.errors import DetectorError, ScanError
from detector.pipeline import DEFAULT_FRAMES, Detector, analysis_json
from detector.weights import load_model

Row = dict[str, Any]

# the table's columns and their SQLite types; p_fake to faces are empty in a row with an error
FIELDS = {
    "path": "TEXT",  # absolute
    "file": "TEXT",
    "sha256": "TEXT",
    "kind": "TEXT",
    "label": "TEXT",
    "p_fake": "REAL",
    "logit": "REAL",
    "reason": "TEXT",
    "faces": "INTEGER",
    "error_type": "TEXT",
    "error_message": "TEXT",
    "model_name": "TEXT",
    "model_sha256": "TEXT",
    "frames": "INTEGER",  # asked for of a clip
    "seconds": "REAL",
}
ROWS = 10_000  # of the journal read at a time when the table is written
RAY_FILES = 10_000  # handed to Ray at a time, so that a million paths are never one object
RAY_BATCH = 8  # files of one call on a Ray worker: what is lost at most when a worker goes


@dataclass(frozen=True)
class Job:
    """What is done with every file."""

    model: str | None = None
    device: str = "auto"
    frames: int = DEFAULT_FRAMES


# (paths, job, workers) -> rows, in any order
Engine = Callable[[Iterator[str], Job, int], Iterator[Row]]


def scan(inputs: Sequence[str], out: Path, job: Job, engine: Engine, workers: int) -> int:
    """Analyse every file that the inputs name and write the table; return the number of its rows
    with an error.

    Raises ScanError when there is nothing to scan, when the table belongs to another model or
    number of frames, or while another scan writes it; WeightsError for the model.
    """
    info = load_model(job.model).info
    journal = Journal(out)
    try:
        journal.expect(info.sha256, job.frames)
        apart = {str(path.absolute()) for path in journal.files}
        total = todo = 0
        for path in find_files(inputs, apart):
            total, todo = total + 1, todo + (not journal.has(path))
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


def find_files(inputs: Iterable[str], apart: set[str]) -> Iterator[str]:
    """Yield the absolute paths of all files in folders, globs (** for all levels) and @lists (one
    entry a line).

    What is named outright is yielded whether it is there or not: its row tells. apart: paths to
    leave out.
    """
    for entry in inputs:
        if entry.startswith("@") and not os.path.exists(entry):
            try:
                with open(entry[1:], encoding="utf-8", errors="surrogateescape") as lines:
                    yield from _expand((line.rstrip("\r\n") for line in lines), apart)
            except OSError as err:
                raise ScanError(f"The list {os.path.basename(entry[1:])} cannot be read.") from err
        else:
            yield from _expand([entry], apart)


def _expand(entries: Iterable[str], apart: set[str]) -> Iterator[str]:
    for entry in filter(None, entries):
        if os.path.isdir(entry):
            for folder, folders, names in os.walk(os.path.abspath(entry)):
                folders.sort()
                yield from (
                    path
                    for name in sorted(names)
                    if (path := os.path.join(folder, name)) not in apart
                )
        elif glob.has_magic(entry) and not os.path.lexists(entry):
            found = glob.iglob(entry, recursive=True)
            yield from (
                p
                for match in found
                if not os.path.isdir(match) and (p := os.path.abspath(match)) not in apart
            )
        else:
            yield os.path.abspath(entry)


def look_at(detector: Detector, path: str, frames: int) -> Row:
    """The row of one file; whatever goes wrong with it is in the row."""
    start = time.perf_counter()
    row = _row(path, frames, detector.info.name, detector.info.sha256)
    try:
        found = analysis_json(detector.analyze(path, frames))
        row |= {
            name: found[name] for name in ("sha256", "kind", "label", "p_fake", "logit", "reason")
        }
        row["faces"] = len(found["faces"])
    except DetectorError as err:
        row |= {"error_type": type(err).__name__, "error_message": str(err)}
    # a million files find what nobody thought of; the others still want their rows
    except Exception as err:
        row |= {
            "error_type": type(err).__name__,
            "error_message": f"{row['file']} could not be analysed.",
        }
    return row | {"seconds": round(time.perf_counter() - start, 4)}


def _row(
    path: str, frames: int, model_name: str | None = None, model_sha256: str | None = None
) -> Row:
    facts = {"path": _text(path), "file": _text(os.path.basename(path)), "frames": frames}
    return dict.fromkeys(FIELDS) | facts | {"model_name": model_name, "model_sha256": model_sha256}


def _text(path: str) -> str:
    """A path as valid Unicode, which is what tables hold: bytes of other encodings are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class Journal:
    """The rows so far, on disk. One process at a time; a row that was added outlives the
    process.
    """

    def __init__(self, out: Path) -> None:
        """out: the table's path. Raises ScanError."""
        self.out, self.path = out, out.with_name(out.name + ".journal")
        self.files = [
            out.with_name(out.name + ending)
            for ending in ("", ".journal", ".journal-wal", ".partial")
        ]
        try:
            import pyarrow.parquet  # noqa: F401 - better missed now than after a million files

            out.parent.mkdir(parents=True, exist_ok=True)
            self.db = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            for setting in ("locking_mode=EXCLUSIVE", "journal_mode=WAL", "synchronous=NORMAL"):
                self.db.execute(f"PRAGMA {setting}")
            columns = ", ".join(f"{name} {kind}" for name, kind in FIELDS.items())
            self.db.execute(
                f"CREATE TABLE IF NOT EXISTS rows ({columns}, PRIMARY KEY (path)) WITHOUT ROWID"
            )
            self.needed = self.db.execute("SELECT 1 FROM rows LIMIT 1").fetchone() is not None
            if out.exists() and not self.needed:
                self._take_over()
                self.needed = False
        except ImportError as err:
            raise ScanError(
                "Tables are written with pyarrow: pip install 'deepfake-lens[scan]'."
            ) from err
        except (OSError, sqlite3.Error) as err:
            raise ScanError(
                f"{out.name} cannot be written, or another scan is writing it."
            ) from err

    def _take_over(self) -> None:
        """Put the rows of a finished table back into the journal."""
        import pyarrow as pa
        from pyarrow import parquet

        try:
            with parquet.ParquetFile(self.out) as table:
                self.db.execute("BEGIN")
                for batch in table.iter_batches(ROWS, columns=list(FIELDS)):
                    for row in batch.to_pylist():
                        self.add(row)
                self.db.execute("COMMIT")
        except (pa.ArrowException, KeyError) as err:
            raise ScanError(
                f"{self.out.name} is there already and is not a table of a scan."
            ) from err

    def expect(self, model_sha256: str, frames: int) -> None:
        """Raises ScanError when there are rows of another model or number of frames: the two cannot
        be compared.
        """
        strangers = "model_sha256 IS NOT NULL AND (model_sha256 != ? OR frames != ?)"
        if self.db.execute(
            f"SELECT 1 FROM rows WHERE {strangers} LIMIT 1", (model_sha256, frames)
        ).fetchone():
            raise ScanError(
                f"{self.out.name} was begun with another model or --frames; name another --out."
            )

    def has(self, path: str) -> bool:
        return (
            self.db.execute("SELECT 1 FROM rows WHERE path = ?", (_text(path),)).fetchone()
            is not None
        )

    def add(self, row: Row) -> None:
        """Keep a row; a path that has one already keeps that."""
        marks = ", ".join("?" * len(FIELDS))
        self.db.execute(
            f"INSERT OR IGNORE INTO rows VALUES ({marks})", [row.get(name) for name in FIELDS]
        )
        self.needed = True

    def finish(self) -> int:
        """Write the table in one stroke and drop the journal; return how many rows hold an
        error.
        """
        import pyarrow as pa
        from pyarrow import parquet

        kinds = {"TEXT": pa.string(), "REAL": pa.float64(), "INTEGER": pa.int64()}
        schema = pa.schema([(name, kinds[kind]) for name, kind in FIELDS.items()])
        partial = self.files[-1]
        cursor = self.db.execute("SELECT * FROM rows ORDER BY path")
        with parquet.ParquetWriter(partial, schema) as writer:
            while rows := cursor.fetchmany(ROWS):
                writer.write_table(
                    pa.table(dict(zip(FIELDS, zip(*rows, strict=True), strict=True)), schema)
                )
        os.replace(partial, self.out)
        (errors,) = self.db.execute(
            "SELECT COUNT(*) FROM rows WHERE error_type IS NOT NULL"
        ).fetchone()
        self.needed = False
        return int(errors)

    def close(self) -> None:
        """Let go of the journal; it stays if it holds what the table does not."""
        self.db.close()
        if not self.needed:
            self.path.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------------------------
# engines


def local(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
    """Rows from processes of this machine, each with a detector of its own and its share of the
    cores.

    A file that takes its worker down is a row with an error, and another worker takes the place.
    Raises ScanError if a worker does not even start.
    """
    # read when a worker imports torch
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))
    team = {worker.connection: worker for worker in (_Worker(job) for _ in range(workers))}
    busy = dict(team)  # every worker's first word is that it is ready
    try:
        while busy:
            for connection in wait(list(busy)):
                assert isinstance(connection, Connection)
                worker = busy.pop(connection)
                try:
                    row = connection.recv()
                except (EOFError, OSError):
                    if worker.path is None:
                        raise ScanError("A worker process could not be started.") from None
                    row = _row(worker.path, job.frames) | {
                        "error_type": "WorkerError",
                        "error_message": f"{os.path.basename(worker.path)} ended the process that was reading it.",
                    }
                    team.pop(connection).stop()
                    worker = _Worker(job)
                    team[worker.connection] = busy[worker.connection] = worker
                else:
                    worker.path = next(paths, None)
                    if worker.path is not None:
                        connection.send(worker.path)
                        busy[connection] = worker
                if row is not None:
                    yield row
    finally:
        for worker in team.values():
            worker.stop()


class _Worker:
    """A process that is sent paths and answers with rows."""

    def __init__(self, job: Job) -> None:
        spawn = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        self.connection, theirs = spawn.Pipe()
        self.path: str | None = None  # in work
        self.process = spawn.Process(target=_work, args=(theirs, job))
        self.process.start()
        theirs.close()

    def stop(self) -> None:
        """Close the pipe, at which the worker ends after the file in work."""
        self.connection.close()
        self.process.join()


def _work(connection: Connection, job: Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one in charge
    detector = Detector(job.model, job.device)
    try:
        connection.send(None)
        while True:
            connection.send(look_at(detector, connection.recv(), job.frames))
    except (EOFError, OSError):
        return  # nobody is listening any more


def on_ray(paths: Iterator[str], job: Job, workers: int) -> Iterator[Row]:
    """Rows from at most so many workers of a Ray cluster, RAY_ADDRESS or one started here; all must
    see the files.

    Raises ScanError when there is no Ray, when the cluster does not answer, or when it gives up.
    """
    try:
        import ray
        import ray.data
        from ray.exceptions import RayError
    except ImportError as err:
        raise ScanError("The engine is not installed: pip install 'deepfake-lens[ray]'.") from err
    try:
        _join_ray(workers)
        ray.data.DataContext.get_current().enable_progress_bars = False  # there is one already
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        # a smaller cluster does it too, more slowly
        team = ray.data.ActorPoolStrategy(min_size=1, max_size=workers)
        while some := [{"path": path} for path in islice(paths, RAY_FILES)]:
            files = ray.data.from_items(
                some, override_num_blocks=max(workers, len(some) // (4 * RAY_BATCH))
            )
            yield from files.map_batches(
                _RayWorker,
                fn_constructor_args=(job,),
                compute=team,
                batch_size=RAY_BATCH,
                num_cpus=1,
            ).iter_rows()
    except (RayError, ConnectionError) as err:
        raise ScanError(
            "The Ray cluster does not answer. The same command goes on from here."
        ) from err


def _join_ray(workers: int) -> None:
    """Connect to the cluster at RAY_ADDRESS, or start one of so many cores on this machine."""
    import ray

    if ray.is_initialized():
        return
    options: dict[str, Any] = {"address": "local", "num_cpus": workers}
    if address := os.environ.get("RAY_ADDRESS"):
        options = {"address": address}
        # tries, of 40 s each; 20 without it
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "1")
    environment = {
        # the checkout, or where the packages are installed
        "working_dir": str(Path(__file__).resolve().parent.parent),
        # code and weights are all that workers need
        "excludes": ["/*", "!/detector", "!/weights"],
        "env_vars": {"OMP_NUM_THREADS": "1"},
    }
    ray.init(
        **options,
        runtime_env=environment,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


class _RayWorker:
    """Ray's name for the same: a batch of paths in, a batch of rows out."""

    def __init__(self, job: Job) -> None:
        self.detector, self.frames = Detector(job.model, job.device), job.frames

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        rows = [look_at(self.detector, str(path), self.frames) for path in batch["path"]]
        return {name: [row[name] for row in rows] for name in FIELDS}


ENGINES: dict[str, Engine] = {"local": local, "ray": on_ray}


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
    return 1 if errors else 0
