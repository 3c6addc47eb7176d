"""Adds CLIP to a model folder: shards of its base, what was tuned, and how both networks are fused.

`python -m detector.release.fusion --base clip_int8.safetensors --tuned tuned.safetensors
--data DIR --devset DIR --out weights`

The weights of the sum are given in units of each logit's spread on authentic files, so that they
can be read; they were chosen on the validation set by its three figures. Calibration and thresholds
are then fitted on the fused logits. A file is called forged in at most FPR_TARGET of authentic
files although several questions are asked: whole clip or part of it, one face or several.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from tqdm import tqdm

from detector.benchmark.accuracy import DEGRADATIONS
from detector.benchmark.metrics import expected_calibration_error
from detector.benchmark.trackcache import cached_tracks
from detector.benchmark.validation import GENERATED, RESTORED
from detector.decide import highest_stretch, log_sharpness, subject_track
from detector.errors import DetectorError
from detector.forgery.pairs import STRENGTH, PairMaker
from detector.forgery.pictures import load_all
from detector.manifest import sha256_of
from detector.media import DEFAULT_FRAMES
from detector.nets.clip import encode_base
from detector.pipeline import Detector
from detector.predictions import ClipLogits
from detector.profile import Calibration, ExpertFusion, Profile, Thresholds, profiles_to_dict
from detector.release.material import DEGRADATION_MIX
from detector.training.calibration import CalibrationSet, fit_calibration, fit_sharpness
from detector.types import CROP_PX, KINDS, Kind
from detector.weights import ClipFiles

SHARD_BYTES = 9_500_000  # below the 10 MB that a Space's repository takes without extra storage
SOURCE_TARGET = 0.10  # false positives that no authentic source may exceed...
SOURCE_FILES = 20  # ...when it has at least so many files
# the fitted tail times this: measured on group photos, where at the tail itself 20% of authentic
# ones were called forged beside 3% of those with one face; recall at 5% of all .40 -> .46
GROUP_FACTOR = 2.25
SHARP_FROM = 0.9  # quantile of crops that count as sharp: ECE of genuine stills .058 at the median
TAIL_FROM = 0.8  # quantile of authentic scores above which the tail is fitted
# of the two-stream, the manipulation and the generation logit, per standard deviation
WEIGHTS: Mapping[Kind, tuple[float, float, float]] = {
    "image": (0.5, 1.0, 0.8),
    "video": (0.5, 1.0, 0.25),
}


@dataclass(frozen=True, eq=False)
class Scored:
    """The subject of one file, crop by crop: (T, 3) logits of the two-stream network, of
    manipulation and of generation."""

    source: str  # the type in the validation set, or "fresh pairs"
    label: int
    logits: NDArray[np.float64]
    log_sharpness: NDArray[np.float32]  # (T,), as in detector.decide


def shard_base(state: Mapping[str, Tensor], out: Path, most: int = SHARD_BYTES) -> list[Path]:
    """Write a tower's stored state into files of at most `most` bytes, and return their paths.

    Raises ValueError where one tensor alone is larger.
    """
    groups: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, tensor in state.items():
        count = tensor.numel() * tensor.element_size()
        if count > most:
            raise ValueError(f"expected tensors of at most {most} bytes, but {name} has {count}")
        if size + count > most:
            groups.append({})
            size = 0
        groups[-1][name] = tensor.contiguous()
        size += count
    out.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, group in enumerate(groups, 1):
        path = out / f"clip-vit-b16-{number:02d}-of-{len(groups):02d}.safetensors"
        save_file(group, path)
        paths.append(path)
    return paths


def score_devset(detector: Detector, folder: Path, cache: Path | None) -> dict[Kind, list[Scored]]:
    """Every file of the validation set, its largest face, by each network."""
    found: dict[Kind, list[Scored]] = {kind: [] for kind in KINDS}
    with folder.with_suffix(".csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in tqdm(rows, desc="validation set", disable=None):
        try:
            kind, tracks = cached_tracks(detector, folder / row["file"], cache, DEFAULT_FRAMES)
        except DetectorError:
            continue
        if not tracks or RESTORED in row["type"]:
            continue
        track = subject_track(tracks)
        own = detector.predict(np.stack([crop.rgb for crop in track.crops]), kind=kind).logits
        clip = detector.clip_of_tracks([track], detector.profiles[kind])[0]
        logits = stack(own, clip)
        detail = log_sharpness(crop.rgb for crop in track.crops)
        found[kind].append(Scored(row["type"], int(row["label"]), logits, detail))
    return found


def score_fresh(detector: Detector, held: Sequence[Any], per_family: int = 24) -> list[Scored]:
    """Fresh pairs of held-back faces under the calibration's mix of degradations."""
    maker = PairMaker(held)
    rng = np.random.default_rng(7)
    found = []
    for degradation in tqdm(DEGRADATION_MIX, desc="fresh pairs", disable=None):
        for family in maker.families:
            crops = []
            for _ in range(per_family):
                forgery = maker.make(family, STRENGTH, rng)
                pair, _ = maker.to_crops(forgery, DEGRADATIONS[degradation](rng), CROP_PX, rng)
                crops.append(pair)
            batch = np.concatenate(crops)
            logits = stack(
                detector.predict(batch, kind="image").logits, detector.predict_clip(batch)
            )
            found += [
                Scored("fresh pairs", i % 2, row[None], detail[None])
                for i, (row, detail) in enumerate(zip(logits, log_sharpness(batch), strict=True))
            ]
    return found


def stack(own: NDArray, clip: ClipLogits | None) -> NDArray[np.float64]:
    """(T, 3) logits of the two-stream network, of manipulation and of generation."""
    if clip is None:
        raise ValueError("expected a model with two networks, but got one")
    return np.stack([own, clip.manipulated, clip.generated], 1).astype(float)


def fit_fusion(scored: Sequence[Scored], weights: Sequence[float]) -> ExpertFusion:
    """The weights per logit, from `weights` per standard deviation of authentic files; then each
    question's own calibration."""
    means = np.array([one.logits.mean(0) for one in scored])
    labels = np.array([one.label for one in scored])
    spread = means[labels == 0].std(0)
    two_stream, put, made = (round(float(w / s), 5) for w, s in zip(weights, spread, strict=True))
    fusion = ExpertFusion(two_stream, put, made)
    generated = np.array([is_generated(one.source) for one in scored])
    put_in = fusion.put_in(means[:, 0], means[:, 1])
    authentic = labels == 0
    calibrations = []
    for logits, forged in ((put_in, ~authentic & ~generated), (means[:, 2], generated)):
        if not forged.any():  # clips: no generated ones; stills' reading is set by the caller
            calibrations.append(Calibration())
            continue
        used = authentic | forged
        own = CalibrationSet(logits[used], forged[used].astype(int))
        calibrations.append(fit_calibration([own])[0])
    return replace(
        fusion, manipulated_calibration=calibrations[0], generated_calibration=calibrations[1]
    )


def is_generated(source: str) -> bool:
    """Whether a type of the validation set is a picture generated as a whole."""
    return source.startswith(GENERATED)


def fused(fusion: ExpertFusion, one: Scored) -> NDArray[np.float32]:
    """(T,) fused logits of a file's subject."""
    two_stream, manipulated, generated = one.logits.astype(np.float32).T
    return fusion.fuse(two_stream, manipulated, generated, one.log_sharpness)


def calibration_set(fusion: ExpertFusion, some: Sequence[Scored]) -> CalibrationSet:
    """The fused logits of files, averaged over their crops."""
    return CalibrationSet(
        np.array([fused(fusion, one).mean() for one in some]),
        np.array([one.label for one in some]),
        np.array([one.log_sharpness.mean() for one in some]),
    )


def fit_profile(
    profile: Profile, fusion: ExpertFusion, sets: Sequence[Sequence[Scored]]
) -> Profile:
    """Calibration and thresholds on the fused logits of several sets, each counting the same."""
    material = [calibration_set(fusion, some) for some in sets]
    calibration, thresholds = fit_calibration(material)
    authentic = [one for some in sets for one in some if not one.label]
    kind: Kind = "image" if profile.min_frames == 1 else "video"
    ceiling = max(
        thresholds.forged_above,
        source_ceiling(fusion, calibration, authentic),
    )
    log_odds = calibration.scale * np.concatenate([one.authentic for one in material])
    stretch = None
    tail = upper_tail(log_odds)
    if kind == "image":
        tail = round(GROUP_FACTOR * tail, 4)
    if kind == "video":
        stretch = stretch_ceiling(fusion, calibration, authentic, ceiling)
    raised = Thresholds(thresholds.authentic_below, ceiling, stretch, tail)
    return replace(profile, calibration=calibration, thresholds=raised, fusion=fusion)


def source_ceiling(
    fusion: ExpertFusion, calibration: Calibration, authentic: Sequence[Scored]
) -> float:
    """The probability that keeps every larger authentic source below SOURCE_TARGET."""
    ceiling = 0.5
    for source in {one.source for one in authentic}:
        own = [fused(fusion, one).mean() for one in authentic if one.source == source]
        if len(own) >= SOURCE_FILES:
            at = float(np.quantile(own, 1 - SOURCE_TARGET))
            ceiling = max(ceiling, calibration.probability(at))
    return round(ceiling, 4)


def stretch_ceiling(
    fusion: ExpertFusion, calibration: Calibration, authentic: Sequence[Scored], above: float
) -> float:
    """The probability that no stretch of an authentic clip exceeds, beyond those called forged as a
    whole."""
    highest = [
        calibration.probability(highest_stretch(frames.tolist()))
        for frames in (fused(fusion, one) for one in authentic)
        if calibration.probability(float(frames.mean())) <= above
    ]
    return round(max([above, *highest]), 4)


def upper_tail(log_odds: NDArray) -> float:
    """Scale of an exponential fitted to the upper tail: the mean excess over its start."""
    start = np.quantile(log_odds, TAIL_FROM)
    return round(float((log_odds[log_odds > start] - start).mean()), 4)


def described(paths: Sequence[Path]) -> list[dict[str, str]]:
    return [{"name": path.name, "sha256": sha256_of(path)} for path in paths]


def add_clip(out: Path, base: Sequence[Path] | None, tuned: Path) -> dict[str, Any]:
    """Write CLIP's files into a model folder and name them in its default model's entry.

    base: files of the tower's state, as stored (int8) or in floats; None keeps the shards that are
    there, which are committed once. Returns the manifest.
    """
    path = out / "manifest.json"
    manifest = json.loads(path.read_text())
    entry = manifest["models"][manifest["default"]]
    if base is not None:
        state = {name: tensor for path in base for name, tensor in load_file(path).items()}
        stored = state if any(k.endswith(".scale") for k in state) else encode_base(state)
        kept = {k: v for k, v in stored.items() if not k.startswith("head.")}
        shards = described(shard_base(kept, out))
    else:
        shards = entry["clip"]["base"]
    copy = out / "clip-tuned.safetensors"
    save_file({k: v.half().contiguous() for k, v in load_file(tuned).items()}, copy)
    entry["clip"] = {"base": shards, "tuned": described([copy])[0]}
    path.write_text(json.dumps(manifest, indent=1) + "\n")
    return manifest


def with_clip(out: Path, manifest: Mapping[str, Any]) -> Detector:
    """A detector with both networks that fuses nothing yet."""
    detector = Detector(out, device="cpu")
    entry = manifest["models"][manifest["default"]]
    detector.clip_files = ClipFiles.from_entry(out, entry["clip"])
    neutral = ExpertFusion(1.0, 0.0, 0.0)
    detector.profiles = {k: replace(p, fusion=neutral) for k, p in detector.profiles.items()}
    return detector


def parts(
    scored: Mapping[Kind, Sequence[Scored]], fresh: Sequence[Scored]
) -> Iterator[tuple[Kind, list[Sequence[Scored]]]]:
    """What each kind is calibrated on. Clips are averages over frames, which single crops cannot
    stand for: only clips count there."""
    yield "image", [fresh, scored["image"]]
    yield "video", [scored["video"]]


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m detector.release.fusion",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    tower = "the tower's weights, one file or its shards; kept when left out"
    parser.add_argument("--base", type=Path, nargs="+", help=tower)
    parser.add_argument("--tuned", type=Path, required=True, help="norms and heads of a run")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--devset", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("--out", type=Path, default=Path("weights"))
    args = parser.parse_args(argv)
    manifest = add_clip(args.out, args.base, args.tuned)
    detector = with_clip(args.out, manifest)
    held = load_all(args.data, args.cache, None, splits=("val",))
    scored = score_devset(detector, args.devset, args.cache / "devset")
    fresh = score_fresh(detector, held)
    profiles = dict(detector.profiles)
    entry = manifest["models"][manifest["default"]]
    for kind, sets in parts(scored, fresh):
        fusion = fit_fusion(scored[kind], WEIGHTS[kind])
        if kind == "video":  # no clip of the set is generated as a whole
            of_stills = profiles["image"].fusion
            assert of_stills is not None
            fusion = replace(fusion, generated_calibration=of_stills.generated_calibration)
        else:
            material = [calibration_set(fusion, some) for some in sets]
            fusion = replace(fusion, sharpness=fit_sharpness(material, SHARP_FROM))
        profiles[kind] = fit_profile(profiles[kind], fusion, sets)
        for name, some in zip(("fresh", "genuine"), sets, strict=False):
            p = [profiles[kind].calibration.probability(fused(fusion, s).mean()) for s in some]
            error = expected_calibration_error(np.array([s.label for s in some]), np.array(p))
            print(f"{kind}, {name if kind == 'image' else 'genuine'}: ECE {error:.4f}")
            if (kind, name) == ("image", "fresh"):
                entry["validation_ece"] = round(error, 4)
    entry["profiles"] = profiles_to_dict(profiles)
    (args.out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")
    print(json.dumps({k: asdict(p) for k, p in profiles.items()}, indent=1))


if __name__ == "__main__":
    main()
