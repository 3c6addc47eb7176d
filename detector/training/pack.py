"""Pack a data folder for a machine to which little can be sent at once: tar files of limited size.

`python -m detector.training.pack --data DIR --out parts [--base clip-*.safetensors] [--devset DIR]`

Faces are cut to the squares that forgeries are made on and stored as JPEG, frames of clips as well,
so that neither decoding nor face detection is needed there. Unpacked into one folder, in any order,
the parts are a data folder again (`faces_packed`); base/ and devset/ lie beside.
"""

from __future__ import annotations

import argparse
import csv
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
from tqdm import tqdm

from detector.faces import cut_square
from detector.forgery.pictures import (
    FORGING_MARGIN,
    PACKED,
    WIDE_PX,
    LabelledFace,
    load_all,
    to_crop,
)

# colour at full resolution, as the sets have it
JPEG = [cv2.IMWRITE_JPEG_QUALITY, 92]
JPEG += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
PART_MB = 40
TAR_BLOCK = 512  # bytes: one for a file's name, and its content is filled up to whole ones
TAR_END = 10240  # bytes by which an archive may end


def write_faces(pictures: Sequence[LabelledFace], folder: Path) -> None:
    """Write pictures as `load_pictures` reads them: a folder, and the CSV of its name beside it."""
    folder.mkdir(parents=True)
    rows: list[dict[str, object]] = []
    for number, picture in enumerate(tqdm(pictures, desc="faces", disable=None)):
        x0, y0, x1, y1 = picture.box_xyxy_px
        side = min(round(FORGING_MARGIN * max(x1 - x0, y1 - y0)), WIDE_PX)
        crop, to_frame = cut_square(picture.rgb, picture.box_xyxy_px, side, FORGING_MARGIN)
        box, landmarks = to_crop(to_frame, picture.box_xyxy_px, picture.landmarks_px)
        file = f"{number:06d}.jpg"
        cv2.imwrite(str(folder / file), crop[..., ::-1], JPEG)
        row: dict[str, object] = {"file": file, "set": picture.source, "split": picture.split}
        row |= {"identity": picture.person, "label": picture.label, "pair_id": picture.pair_id}
        row |= {k: round(v, 1) for k, v in zip(("x0", "y0", "x1", "y1"), box, strict=True)}
        for k, (x, y) in enumerate(landmarks):
            row |= {f"lm{k}x": round(float(x), 1), f"lm{k}y": round(float(y), 1)}
        rows.append(row)
    with folder.with_suffix(".csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def write_parts(files: Iterable[tuple[Path, str]], out: Path, part_mb: float = PART_MB) -> int:
    """Write files (path, name inside) into out/part-NN.tar of at most `part_mb`, and return how
    many parts there are. Raises ValueError for a file that alone is larger.
    """
    parts: list[list[tuple[Path, str]]] = []
    left = 0.0  # bytes that still go into the last part
    for path, name in files:
        needed = TAR_BLOCK + -(-path.stat().st_size // TAR_BLOCK) * TAR_BLOCK
        if needed > left:
            parts.append([])
            left = part_mb * 1e6 - TAR_END
            if needed > left:
                raise ValueError(f"expected files below {part_mb} MB, but {path.name} is larger")
        parts[-1].append((path, name))
        left -= needed
    out.mkdir(parents=True, exist_ok=True)
    for number, part in enumerate(parts):
        with tarfile.open(out / f"part-{number:02d}.tar", "w") as archive:
            for path, name in part:
                archive.add(path, name)
    return len(parts)


def under(folder: Path, name: str) -> list[tuple[Path, str]]:
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(path, f"{name}/{path.relative_to(folder)}") for path in paths]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m detector.training.pack",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder with faces/, clips/ and the like")
    add("--base", type=Path, nargs="+", default=[], help="shards of CLIP's tower")
    add("--devset", type=Path, help="validation set of genuine forgeries, its CSV beside it")
    add("--cache", type=Path, default=Path("runs/cache"))
    add("--part-mb", type=float, default=PART_MB)
    add("--out", type=Path, required=True)
    args = parser.parse_args(argv)
    with TemporaryDirectory() as work:
        folder = Path(work) / PACKED
        pictures = load_all(args.data, args.cache, None)
        if not pictures:
            parser.error(f"there is no picture of a face in {args.data}")
        write_faces(pictures, folder)
        files = [*under(folder, PACKED), (folder.with_suffix(".csv"), f"{PACKED}.csv")]
        files += [(path, f"base/{path.name}") for path in args.base]
        if args.devset is not None:
            table = args.devset.with_suffix(".csv")
            files += [*under(args.devset, "devset"), (table, "devset.csv")]
        print(f"{write_parts(files, args.out, args.part_mb)} parts in {args.out}")


if __name__ == "__main__":
    main()
