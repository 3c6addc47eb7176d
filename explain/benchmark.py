"""How good are the explanations? Measured on forgeries whose true masks are known.

    python -m explain.benchmark --out DIR [--faces N] [--data DIR]

Forges N validation faces of DIR/faces (or, without --data, the faces that ship inside scikit-image
and matplotlib), explains each with every method and compares. Writes faces.csv (one row per face
and map) and summary.csv, prints the table and the claims. Deletion and insertion use the authentic
pixels as the cover and are given as shares of the distance between the logits of the two halves of
a pair, over the pairs whose halves the detector tells apart.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.cbook import get_sample_data
from numpy.typing import NDArray
from PIL import Image
from skimage import data as skimage_data

from detector.errors import DetectorError
from detector.faces import cut_square
from detector.forgery.pairs import PairMaker
from detector.forgery.pictures import FORGING_MARGIN, LabelledFace, load_pictures
from detector.pipeline import Detector
from detector.types import (
    Analysis,
    Evidence,
    FaceAnalysis,
    FaceCrop,
    FaceTrack,
    Frame,
    Label,
    Media,
    Verdict,
)
from explain.cam import EVIDENCE_MAP, OCCLUSION, Heat
from explain.clip_maps import CLIP_METHODS
from explain.explainer import Explainer
from explain.faithfulness import CONTROLS, RANDOMISED_BELOW, localise
from explain.pipeline import explain_face
from explain.ranks import rank_correlation
from explain.regions import METHOD as LIME

# those whose masks are known to the pixel
FAMILIES = {"self-blend": 0.5, "cross-blend": 0.25, "part splice": 0.25}
STRENGTH = 0.8  # of the forge: opaque, but not as coarse as the start of its curriculum
LEAST_MASK = 0.005  # share of the crop; below it a mask is a dot
TOLD_APART = 0.5  # logits between the halves of a pair, from which on its curves are counted
SHUFFLES = 5  # networks of shuffled weights
MEASURES = ("pixel_auc", "pointing", "iou", "deletion", "insertion", "road", "shuffle")
BARS = {
    "evidence map pixel AUC": 0.97,
    "Grad-CAM s": 0.3,
    "LIME s": 5.0,
    "whole explanation s": 8.0,
}

Row = dict[str, float | int | str]


@dataclass(frozen=True, eq=False)
class ForgedPair:
    """The real and the forged half of a pair, and the mask of what was changed, all (S, S)."""

    family: str
    authentic: NDArray[np.uint8]
    forged: NDArray[np.uint8]
    mask: NDArray[np.bool_]


def built_in_pictures(detector: Detector) -> list[LabelledFace]:
    """The public-domain faces inside scikit-image and matplotlib."""
    with Image.open(str(get_sample_data("grace_hopper.jpg", asfileobj=False))) as hopper:
        portraits = {
            "astronaut": skimage_data.astronaut(),
            "hopper": np.asarray(hopper.convert("RGB")),
        }
    pictures = []
    for person, rgb in portraits.items():
        found = detector.finder.detect_faces(np.ascontiguousarray(rgb))[0]
        pictures.append(
            LabelledFace(rgb, found.box_xyxy_px, found.landmarks_px, "built-in", person, "val", 0)
        )
    return pictures


def forge_pairs(
    pictures: Sequence[LabelledFace], count: int, rng: np.random.Generator
) -> Iterator[ForgedPair]:
    """`count` forgeries of the pictures, each cropped as the detector would crop it."""
    maker = PairMaker(pictures, FAMILIES)
    while count > 0:
        made = maker.make(maker.draw_family(rng), STRENGTH, rng)
        side = made.forged.shape[0]
        reach = side / FORGING_MARGIN / 2
        box = (side / 2 - reach, side / 2 - reach, side / 2 + reach, side / 2 + reach)
        grey = np.rint(made.mask * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
        authentic, forged, mask = (
            cut_square(p, box)[0] for p in (made.authentic, made.forged, grey)
        )
        inside = mask[..., 0] > 127
        if LEAST_MASK <= inside.mean() < 1:
            yield ForgedPair(made.family, authentic, forged, inside)
            count -= 1


def measure(
    explainer: Explainer,
    others: Sequence[Explainer],
    pairs: Iterator[ForgedPair],
    slow_faces: int,
    progress: Callable[[int], None],
) -> list[Row]:
    """One row per face and map. others: around networks of shuffled weights, taken in turn.

    LIME, occlusion and CLIP's maps are drawn for the first `slow_faces` only; CLIP is shuffled in
    the first of the others.
    """
    clip = [method for method in explainer.methods if method in CLIP_METHODS]
    quick = [method for method in explainer.methods if method not in (OCCLUSION, *clip)]
    rows: list[Row] = []
    for index, pair in enumerate(pairs):
        progress(index)
        maps = explainer.heats(pair.forged, quick)
        shuffles = others[index % len(others)].heats(pair.forged, quick)
        if index < slow_faces:
            maps[LIME] = explainer.explain_regions(pair.forged, seed=index).heat()
            maps |= explainer.heats(pair.forged, (OCCLUSION, *clip))
            shuffles |= others[0].heats(pair.forged, clip)
        rows += _face_rows(explainer, index, pair, maps, shuffles)
    return rows


def _face_rows(
    explainer: Explainer,
    index: int,
    pair: ForgedPair,
    maps: Mapping[str, Heat],
    shuffles: Mapping[str, Heat],
) -> list[Row]:
    chosen = (*explainer.default_methods, LIME, OCCLUSION, *CLIP_METHODS)
    graded = {method: found for method, found in maps.items() if method in chosen}
    card = explainer.report_card(pair.forged, graded, pair.authentic, seed=index)
    halves = np.stack([pair.authentic, pair.forged])
    rows = []
    for name in (*maps, *CONTROLS):
        authentic, forged = (float(logit) for logit in explainer.explained_score(name)(halves))
        told_apart = forged - authentic >= TOLD_APART
        row: Row = {
            "face": index,
            "family": pair.family,
            "map": name,
            "logit": forged,
            "logit_authentic": authentic,
        }
        if name in maps:
            found = localise(maps[name].map, pair.mask, seed=index)
            row |= {"pixel_auc": found.pixel_auc, "pointing": int(found.pointing), "iou": found.iou}
        if name in card.curves and told_apart:
            curve = card.curves[name]
            row["deletion"] = (curve.deletion_auc - authentic) / (forged - authentic)
            row["insertion"] = (curve.insertion_auc - authentic) / (forged - authentic)
        if name in graded:
            row["road"] = card.grade(name).road
        if name in shuffles:
            row["shuffle"] = rank_correlation(maps[name].map, shuffles[name].map)
        rows.append(row)
    return rows


def summarise(rows: Sequence[Row]) -> list[Row]:
    """Per map and measure: mean, half the width of its 95% interval, and number of faces."""
    summary = []
    for name in dict.fromkeys(str(row["map"]) for row in rows):
        line: Row = {"map": name}
        for key in MEASURES:
            values = np.array(
                [row[key] for row in rows if row["map"] == name and key in row], np.float64
            )
            line[f"{key}_n"] = len(values)
            if len(values):
                line[key] = float(values.mean())
                line[f"{key}_ci"] = (
                    float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))
                    if len(values) > 1
                    else 0.0
                )
        summary.append(line)
    return summary


def timings(explainer: Explainer, crop: NDArray[np.uint8]) -> dict[str, float]:
    """Seconds on this machine for one Grad-CAM, LIME and the whole explanation of one frame.

    The better of two runs each.
    """
    detector = explainer.detector
    side = crop.shape[0]
    box = (0.12 * side, 0.12 * side, 0.88 * side, 0.88 * side)
    points = (
        np.array([[0.35, 0.4], [0.65, 0.4], [0.5, 0.57], [0.38, 0.73], [0.62, 0.73]], np.float32)
        * side
    )
    face_crop = FaceCrop(
        crop, np.array([[1, 0, 0], [0, 1, 0]], np.float32), 0, 0.0, box, points, 1.0
    )
    predicted = detector.predict(crop[None], kind="image")
    evidence = Evidence(float(predicted.logits[0]), predicted.maps[0], predicted.embeddings[0])
    verdict = Verdict(Label.UNCERTAIN, "For the clock only.", 0.5, evidence.logit)
    face = FaceAnalysis(FaceTrack(0, (face_crop,)), (evidence,), (0.5,), verdict)
    media = Media("clock.png", "0" * 64, "image", side, side, 0.0, (Frame(0, 0.0, crop),))
    analysis = Analysis(media, (face,), verdict, detector.info)
    grad_cam = f"Grad-CAM, {explainer.layers[0]}"
    jobs: dict[str, Callable[[], object]] = {
        "Grad-CAM s": lambda: explainer.heat(crop, grad_cam),
        "LIME s": lambda: explainer.explain_regions(crop),
        "whole explanation s": lambda: explain_face(explainer, analysis),
    }
    return {name: min(_seconds(job) for _ in range(2)) for name, job in jobs.items()}


def _seconds(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


@dataclass(frozen=True)
class Lead:
    """By how much the evidence map beats a control on the same faces."""

    mean: float
    half_width: float  # of its 95% interval; infinite with fewer than two faces


def lead(rows: Sequence[Row], key: str, control: str) -> Lead:
    """The evidence map's lead over a control in "deletion" or "insertion"."""
    ours, theirs = (
        {row["face"]: float(row[key]) for row in rows if row["map"] == name and key in row}
        for name in (EVIDENCE_MAP, control)
    )
    gaps = np.array([ours[face] - theirs[face] for face in ours if face in theirs])
    gaps = -gaps if key == "deletion" else gaps
    if len(gaps) < 2:
        return Lead(float(gaps.sum()), np.inf)
    return Lead(float(gaps.mean()), float(1.96 * gaps.std(ddof=1) / np.sqrt(len(gaps))))


@dataclass(frozen=True)
class Claim:
    """Something that the explanations should reach, and whether they do."""

    text: str
    holds: bool


def claims(
    rows: Sequence[Row], summary: Sequence[Row], seconds: Mapping[str, float]
) -> list[Claim]:
    """Every claim about accuracy, controls, shuffled weights and time."""
    lines = {str(line["map"]): line for line in summary}
    found: list[Claim] = []
    if (best := lines.get(EVIDENCE_MAP)) is not None:
        bar = BARS["evidence map pixel AUC"]
        auc = float(best["pixel_auc"])
        found.append(Claim(f"evidence map pixel AUC {auc:.3f} >= {bar}", auc >= bar))
        for control in CONTROLS:
            found += _control_claims(rows, best, lines[control], control)
    for name, line in lines.items():
        if "shuffle" in line and not name.startswith("EigenCAM"):
            value = float(line["shuffle"])
            text = f"{name}: rank correlation {value:+.2f} after shuffling"
            found.append(Claim(text, abs(value) < RANDOMISED_BELOW))
    found += [
        Claim(f"{name[:-2]} {s:.2f} s <= {BARS[name]} s", s <= BARS[name])
        for name, s in seconds.items()
    ]
    return found


def _control_claims(rows: Sequence[Row], best: Row, line: Row, control: str) -> Iterator[Claim]:
    """That the evidence map beats a control, over all faces and on the same ones."""
    for key, sign in (("deletion", -1), ("insertion", 1)):
        if key not in best or key not in line:
            continue
        beats = f"evidence map {key} beats {control}"
        gap = sign * (float(best[key]) - float(line[key]))
        apart = gap > float(best[f"{key}_ci"]) + float(line[f"{key}_ci"])
        yield Claim(f"{beats}, intervals apart", apart)
        by = lead(rows, key, control)
        text = f"{beats} on the same faces by {by.mean:.3f} +-{by.half_width:.3f}"
        yield Claim(text, by.mean > by.half_width)


def table(summary: Sequence[Row]) -> str:
    """The summary for a terminal: mean +- half width of the 95% interval."""
    lines = [f"{'map':26s}" + "".join(f"{key:>16s}" for key in MEASURES)]
    for row in summary:
        cells = [
            f"{row[key]:.3f} +-{row[f'{key}_ci']:.3f}" if key in row else "" for key in MEASURES
        ]
        lines.append(f"{row['map']!s:26s}" + "".join(f"{cell:>16s}" for cell in cells))
    return "\n".join(lines)


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    names = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names, restval="")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every claim holds, 1 when one doesn't or something is missing."""
    parser = argparse.ArgumentParser(
        prog="python -m explain.benchmark", description=__doc__.split("\n")[0]
    )  # type: ignore[union-attr]
    parser.add_argument("--faces", type=int, default=200, help="how many")
    parser.add_argument(
        "--slow-faces", type=int, default=50, help="faces that LIME and occlusion are drawn for"
    )
    parser.add_argument("--data", type=Path, default=None, help="folder with faces/ and faces.csv")
    parser.add_argument("--out", type=Path, required=True, help="for faces.csv and summary.csv")
    parser.add_argument("--model", default=None)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        detector = Detector(options.model, options.device)
        if options.data is None:
            pictures = built_in_pictures(detector)
        else:
            pictures = [p for p in load_pictures(options.data / "faces") if p.split == "val"]
        rng = np.random.default_rng(options.seed)
        explainer = Explainer(detector, "image")
        clip = CLIP_METHODS if options.slow_faces else ()
        others = [explainer.shuffled(() if i else clip, rng) for i in range(SHUFFLES)]
        pairs = forge_pairs(pictures, options.faces, rng)
        rows = measure(
            explainer, others, pairs, options.slow_faces, lambda i: _count(i, options.faces)
        )
    except DetectorError as err:
        print(err, file=sys.stderr)
        return 1
    summary = summarise(rows)
    options.out.mkdir(parents=True, exist_ok=True)
    write_csv(options.out / "faces.csv", rows)
    write_csv(options.out / "summary.csv", summary)
    checked = claims(rows, summary, timings(explainer, next(forge_pairs(pictures, 1, rng)).forged))
    print(table(summary))
    print("\n".join(f"{'holds ' if c.holds else 'FAILS '} {c.text}" for c in checked))
    return 0 if all(claim.holds for claim in checked) else 1


def _count(index: int, total: int) -> None:
    print(
        f"\rface {index + 1} of {total}",
        end="\n" if index + 1 == total else "",
        file=sys.stderr,
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
