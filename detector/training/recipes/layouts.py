"""How data sets lie on disk: a folder in, a list of labelled files out.

A data set is named as LAYOUT:PATH, with options behind a question mark:
`faceforensics:/data/ff?compression=c23`. Nothing is decoded here. `splits.py` divides the files,
`facecache.py` takes the faces out of them.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl

from detector.errors import DataError

VIDEOS = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"})
IMAGES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"})
SPLITS = ("train", "val", "test")
COMPRESSIONS = ("raw", "c0", "c23", "c40")


@dataclass(frozen=True)
class Item:
    """One file of a data set."""

    path: Path
    label: int  # 1 forged
    # whose faces are in it; files that share one belong to one split. The first is the target
    people: tuple[str, ...]
    original: str  # the authentic recording it is or was made from
    method: str = ""  # how it was forged, where that is known
    split: str = ""  # where the data set itself says so

    def __post_init__(self) -> None:
        if self.label not in (0, 1) or not self.people:
            raise ValueError(
                "expected a label 0 or 1 and somebody's name, "
                f"but got {self.label} and {self.people}"
            )


def read_items(spec: str) -> list[Item]:
    """The files of LAYOUT:PATH[?options], sorted by path. Raises DataError when the folder is not
    laid out that way.
    """
    layout, folder, options = parse_spec(spec)
    if layout not in LAYOUTS:
        raise DataError(
            f"No data layout is called {layout!r}; there are {', '.join(sorted(LAYOUTS))}."
        )
    if not folder.is_dir():
        raise DataError(f"The data folder {folder.name} does not exist.")
    items = sorted(LAYOUTS[layout](folder, options), key=lambda item: str(item.path))
    if not items:
        raise DataError(f"The folder {folder.name} holds no file in the layout {layout}.")
    return items


def parse_spec(spec: str) -> tuple[str, Path, dict[str, str]]:
    """LAYOUT:PATH[?key=value&key=value] in its parts. Raises DataError."""
    layout, colon, rest = spec.partition(":")
    path, _, query = rest.partition("?")
    if not (layout and colon and path):
        raise DataError(
            f"Data is named as LAYOUT:PATH, for example celeb-df:data/Celeb-DF-v2, not {spec!r}."
        )
    return layout, Path(path), dict(parse_qsl(query))


def files_below(folder: Path, endings: frozenset[str] = VIDEOS | IMAGES) -> list[Path]:
    """Media files anywhere below a folder, sorted."""
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in endings and p.is_file())


def celeb_df(folder: Path, options: Mapping[str, str]) -> list[Item]:
    """Celeb-real/id0_0001.mp4, YouTube-real/00001.mp4, Celeb-synthesis/id0_id1_0001.mp4; its list
    of test videos.
    """
    listed = folder / "List_of_testing_videos.txt"
    tests = (
        {line.split()[-1] for line in listed.read_text().splitlines() if line.strip()}
        if listed.is_file()
        else ()
    )
    items = []
    for name, label in (("Celeb-real", 0), ("YouTube-real", 0), ("Celeb-synthesis", 1)):
        for path in files_below(folder / name):
            *people, take = path.stem.split("_")
            split = "test" if f"{name}/{path.name}" in tests else ""
            if not people:  # YouTube-real: one stranger a clip
                people = [f"youtube {take}"]
            items.append(
                Item(
                    path, label, tuple(people), f"{people[0]}_{take}", name if label else "", split
                )
            )
    return items


def dfdc(folder: Path, options: Mapping[str, str]) -> list[Item]:
    """Folders with metadata.json: file -> label, split, original (and, in the preview, the ids of
    both people).
    """
    items = []
    splits = {}
    for table in sorted(folder.rglob("metadata.json")):
        for name, row in _json(table).items():
            path = table.parent / name
            label = str(row.get("label", "")).upper()
            if label not in ("REAL", "FAKE") or not path.is_file():
                continue
            original = Path(str(row.get("original") or name)).stem
            people = tuple(
                str(row[k]) for k in ("target_id", "swapped_id") if row.get(k) is not None
            ) or (original,)
            splits[path] = _split_name(str(row.get("split") or row.get("set") or ""))
            items.append(
                Item(
                    path, int(label == "FAKE"), people, original, "DFDC" if label == "FAKE" else ""
                )
            )
    if len(set(splits.values())) < 2:  # a training part of the challenge says "train" of every file
        return items
    return [Item(i.path, i.label, i.people, i.original, i.method, splits[i.path]) for i in items]


def face_crops(folder: Path, options: Mapping[str, str]) -> list[Item]:
    """metadata.csv with videoname, label and perhaps original; one crop of each video's name
    anywhere below.
    """
    table = folder / "metadata.csv"
    if not table.is_file():
        raise DataError(f"The folder {folder.name} has no metadata.csv.")
    crops = {path.stem: path for path in files_below(folder, IMAGES)}
    items = []
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if "videoname" not in row or "label" not in row:
                raise DataError(
                    f"The metadata.csv of {folder.name} lacks the columns videoname and label."
                )
            stem = Path(row["videoname"]).stem
            if stem in crops:
                original = Path((row.get("original") or "").strip() or stem).stem
                forged = row["label"].strip().upper() in ("FAKE", "1")
                original = stem if original.upper() == "NAN" else original
                items.append(Item(crops[stem], int(forged), (original,), original))
    return items


def faceforensics(folder: Path, options: Mapping[str, str]) -> list[Item]:
    """original_sequences/SET/COMPRESSION/videos and
    manipulated_sequences/METHOD/COMPRESSION/videos.

    Options: compression=c23, methods=Deepfakes,FaceSwap. The data set's own splits
    (splits/train.json, ...) are kept.
    """
    compressions = (
        options["compression"].split(",") if "compression" in options else list(COMPRESSIONS)
    )
    methods = options["methods"].split(",") if "methods" in options else None
    own = _own_splits(folder)
    items = []
    for kind, label in (("original_sequences", 0), ("manipulated_sequences", 1)):
        for source in sorted(p for p in (folder / kind).glob("*") if p.is_dir()):
            if label and methods is not None and source.name not in methods:
                continue
            for path in (p for c in compressions for p in files_below(source / c / "videos")):
                # 000.mp4, 000_003.mp4 (target, source); of hired actors 01__walk.mp4,
                # 01_02__walk__ABC.mp4
                found = re.match(r"(\d+)(?:_(\d+))?(?:__([^_]+(?:_[^_]+)*))?", path.stem)
                if not found:
                    continue
                numbers = [n for n in found.groups()[:2] if n]
                scene = found.group(3)
                people = tuple(f"actor {n}" if scene else n for n in numbers)
                original = f"{numbers[0]}__{scene}" if scene else numbers[0]
                split = own.get(numbers[0], "") if not scene else ""
                items.append(
                    Item(path, label, people, original, source.name if label else "", split)
                )
    return items


def plain(folder: Path, options: Mapping[str, str]) -> list[Item]:
    """real/ and fake/, alone or within train/, val/ and test/; a folder below them is a
    person's.
    """
    items = []
    for split in ("", *SPLITS):
        for name, label in (("real", 0), ("fake", 1)):
            root = folder / split / name
            items += [
                Item(path, label, (_person(path, root),), _person(path, root), split=split)
                for path in files_below(root)
            ]
    return items


def real_faces(folder: Path, options: Mapping[str, str]) -> list[Item]:
    """Pictures and clips of authentic faces; the forgeries are made from them. A folder below is a
    person's.
    """
    return [Item(path, 0, (_person(path, folder),), path.stem) for path in files_below(folder)]


def _person(path: Path, root: Path) -> str:
    inner = path.relative_to(root).parent.as_posix()
    return inner if inner != "." else path.stem


def _json(path: Path) -> dict[str, dict[str, object]]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as err:
        raise DataError(f"The {path.name} in {path.parent.name} is not valid JSON.") from err
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise DataError(f"The {path.name} in {path.parent.name} is not a table of files.")
    return table


def _split_name(name: str) -> str:
    name = name.lower()
    return {"validation": "val", "valid": "val", "dev": "val"}.get(
        name, name if name in SPLITS else ""
    )


def _own_splits(folder: Path) -> dict[str, str]:
    """FaceForensics++'s lists of pairs: number of a video -> split."""
    found: dict[str, str] = {}
    for split in SPLITS:
        for path in (folder / "splits" / f"{split}.json", folder / f"{split}.json"):
            if path.is_file():
                pairs: Iterable[Iterable[str]] = json.loads(path.read_text())
                found |= {number: split for pair in pairs for number in pair}
    return found


LAYOUTS: dict[str, Callable[[Path, Mapping[str, str]], list[Item]]] = {
    "celeb-df": celeb_df,
    "dfdc": dfdc,
    "face-crops": face_crops,
    "faceforensics": faceforensics,
    "plain": plain,
    "real-faces": real_faces,
}
