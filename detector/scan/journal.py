"""The rows so far, in SQLite beside the table, so that a scan that was killed goes on."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from detector.errors import ScanError, text_of
from detector.scan.rows import FIELDS, Job, Row
from detector.scan.tables import schema

ROWS = 10_000  # of the journal read at a time when the table is written


class Journal:
    """The rows so far, on disk. One process at a time; a row that was added outlives the
    process.
    """

    def __init__(self, out: Path) -> None:
        """out: the table's path. Raises ScanError."""
        self.out = out
        self.path = out.with_name(out.name + ".journal")
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
                f"{self.out.name} is there already and is not a table of this version's scan."
            ) from err

    def expect(self, model_sha256: str, job: Job) -> None:
        """Raises ScanError when there are rows of another model, number of frames or track: the two
        cannot be compared.
        """
        strangers = "model_sha256 IS NOT NULL AND (model_sha256, frames, track) IS NOT (?, ?, ?)"
        if self.db.execute(
            f"SELECT 1 FROM rows WHERE {strangers} LIMIT 1", (model_sha256, job.frames, job.track)
        ).fetchone():
            raise ScanError(
                f"{self.out.name} was begun with another model, --frames or --track; name "
                "another --out."
            )

    def has(self, path: str) -> bool:
        return (
            self.db.execute("SELECT 1 FROM rows WHERE path = ?", (text_of(path),)).fetchone()
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
        """Write the table, which appears whole or not at all, and delete the journal; return how
        many rows hold an error.
        """
        import pyarrow as pa
        from pyarrow import parquet

        columns = schema()
        partial = self.files[-1]
        cursor = self.db.execute("SELECT * FROM rows ORDER BY path")
        with parquet.ParquetWriter(partial, columns) as writer:
            while rows := cursor.fetchmany(ROWS):
                writer.write_table(
                    pa.table(dict(zip(FIELDS, zip(*rows, strict=True), strict=True)), columns)
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
