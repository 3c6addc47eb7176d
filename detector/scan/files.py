"""Which files a scan is about: folders, globs and lists of these."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator

from detector.errors import ScanError


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
