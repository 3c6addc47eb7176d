"""Rows as tables in memory: Parquet as the scan writes it, and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from detector.scan.rows import FIELDS, Row

# what a spreadsheet takes for the start of a formula; a file's name may begin with it
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def schema() -> Any:
    """The table's columns as pyarrow knows them. Raises ImportError without pyarrow."""
    import pyarrow as pa

    kinds = {"TEXT": pa.string(), "REAL": pa.float64(), "INTEGER": pa.int64()}
    return pa.schema([(name, kinds[kind]) for name, kind in FIELDS.items()])


def parquet_bytes(rows: Sequence[Row]) -> bytes:
    """The rows as a Parquet file. Raises ImportError without pyarrow."""
    import pyarrow as pa
    from pyarrow import parquet

    memory = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(list(rows), schema=schema()), memory)
    return memory.getvalue()


def csv_bytes(rows: Sequence[Row]) -> bytes:
    """The rows as CSV in UTF-8, with a byte order mark, which spreadsheets ask for. Texts that one
    would take for a formula get an apostrophe in front.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(FIELDS)
    table.writerows([_cell(row[name]) for name in FIELDS] for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
