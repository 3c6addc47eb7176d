"""Data sets in miniature, one of each layout: what is read, how it is divided, and how faces are
kept.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image

from detector.errors import DataError
from detector.media import write_video
from detector.pipeline import Detector
from detector.training.__main__ import main
from detector.training.recipes import facecache
from detector.training.recipes.catalogue import find_recipe
from detector.training.recipes.command import build_data, parse_part
from detector.training.recipes.facecache import CacheConfig, extract, read_crops, read_pictures
from detector.training.recipes.layouts import Item, parse_spec, read_items
from detector.training.recipes.splits import BalancedSampler, split_items


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def short(items: list[Item]) -> list[tuple[str, int, tuple[str, ...], str, str]]:
    return [(i.path.name, i.label, i.people, i.original, i.split) for i in items]


def test_celeb_df(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "Celeb-real/id0_0001.mp4",
        "YouTube-real/00007.mp4",
        "Celeb-synthesis/id0_id1_0001.mp4",
        "x.mp4",
    )
    (tmp_path / "List_of_testing_videos.txt").write_text("1 YouTube-real/00007.mp4\n")
    assert short(read_items(f"celeb-df:{tmp_path}")) == [
        ("id0_0001.mp4", 0, ("id0",), "id0_0001", ""),
        ("id0_id1_0001.mp4", 1, ("id0", "id1"), "id0_0001", ""),
        ("00007.mp4", 0, ("youtube 00007",), "youtube 00007_00007", "test"),
    ]


def test_dfdc(tmp_path: Path) -> None:
    touch(tmp_path, "part_0/a.mp4", "part_0/b.mp4", "part_1/c.mp4")
    rows = {
        "a.mp4": {"label": "REAL", "split": "train"},
        "b.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
        "gone.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
    }
    (tmp_path / "part_0" / "metadata.json").write_text(json.dumps(rows))
    fake = {"c.mp4": {"label": "FAKE", "split": "train", "original": "elsewhere.mp4"}}
    (tmp_path / "part_1" / "metadata.json").write_text(json.dumps(fake))
    assert short(read_items(f"dfdc:{tmp_path}")) == [
        ("a.mp4", 0, ("a",), "a", ""),  # "train" of every file says nothing
        ("b.mp4", 1, ("a",), "a", ""),
        ("c.mp4", 1, ("elsewhere",), "elsewhere", ""),
    ]
    fake["c.mp4"] |= {"split": "validation", "target_id": 4, "swapped_id": 9}
    (tmp_path / "part_1" / "metadata.json").write_text(json.dumps(fake))
    assert [(i.split, i.people) for i in read_items(f"dfdc:{tmp_path}")] == [
        ("train", ("a",)), ("train", ("a",)), ("val", ("4", "9")),
    ]  # fmt: skip


def test_face_crops(tmp_path: Path) -> None:
    touch(tmp_path, "faces_224/aa.jpg", "faces_224/bb.jpg")
    (tmp_path / "metadata.csv").write_text(
        "videoname,original_width,label,original\naa.mp4,1920,FAKE,bb.mp4\nbb.mp4,1920,REAL,NaN\ncc.mp4,1,REAL,\n"
    )
    assert short(read_items(f"face-crops:{tmp_path}")) == [
        ("aa.jpg", 1, ("bb",), "bb", ""), ("bb.jpg", 0, ("bb",), "bb", ""),
    ]  # fmt: skip
    (tmp_path / "metadata.csv").write_text("name,label\naa,1\n")
    with pytest.raises(DataError, match="lacks the columns videoname and label"):
        read_items(f"face-crops:{tmp_path}")


def test_faceforensics(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "original_sequences/youtube/c23/videos/000.mp4",
        "original_sequences/youtube/c40/videos/000.mp4",
        "original_sequences/actors/c23/videos/01__walking_outside.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        "manipulated_sequences/Face2Face/c23/videos/003_000.mp4",
        "manipulated_sequences/Deepfakes/c23/masks/000_003.mp4",
        "manipulated_sequences/DeepFakeDetection/c23/videos/01_02__walking_outside__YVGY8LOK.mp4",
    )
    touch(tmp_path, "splits/train.json")
    (tmp_path / "splits" / "train.json").write_text('[["000", "003"]]')
    found = {
        (i.method, *rest)
        for i, rest in ((i, short([i])[0]) for i in read_items(f"faceforensics:{tmp_path}"))
    }
    assert found == {
        ("", "000.mp4", 0, ("000",), "000", "train"),
        ("", "01__walking_outside.mp4", 0, ("actor 01",), "01__walking_outside", ""),
        ("Deepfakes", "000_003.mp4", 1, ("000", "003"), "000", "train"),
        ("Face2Face", "003_000.mp4", 1, ("003", "000"), "003", "train"),
        ("DeepFakeDetection", "01_02__walking_outside__YVGY8LOK.mp4", 1, ("actor 01", "actor 02"),
         "01__walking_outside", ""),
    }  # fmt: skip
    assert len(read_items(f"faceforensics:{tmp_path}")) == 6  # two compressions of one original
    some = read_items(f"faceforensics:{tmp_path}?compression=c23&methods=Deepfakes")
    assert [i.path.name for i in some if i.label] == ["000_003.mp4"]
    assert {i.path.parent.parent.name for i in some} == {"c23"}


def test_plain_folders_and_real_faces(tmp_path: Path) -> None:
    touch(tmp_path, "real/anna/1.jpg", "real/2.png", "fake/anna/1.mp4", "fake/notes.txt")
    assert short(read_items(f"plain:{tmp_path}")) == [
        ("1.mp4", 1, ("anna",), "anna", ""),
        ("2.png", 0, ("2",), "2", ""),
        ("1.jpg", 0, ("anna",), "anna", ""),
    ]
    assert {i.label for i in read_items(f"real-faces:{tmp_path}")} == {0}
    touch(tmp_path / "split", "train/real/a.jpg", "val/fake/b.jpg")
    assert [(i.label, i.split) for i in read_items(f"plain:{tmp_path / 'split'}")] == [
        (0, "train"),
        (1, "val"),
    ]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("celeb-df", "named as LAYOUT:PATH"),
        ("imagenet:{}", "No data layout is called 'imagenet'"),
        ("celeb-df:{}/nowhere", "nowhere does not exist"),
        ("celeb-df:{}", "holds no file in the layout celeb-df"),
        ("face-crops:{}", "has no metadata.csv"),
    ],
)
def test_a_folder_that_is_laid_out_otherwise_is_said(spec: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=says):
        read_items(spec.format(tmp_path))


def test_spec_options() -> None:
    assert parse_spec("plain:/a/b?x=1&y=2") == ("plain", Path("/a/b"), {"x": "1", "y": "2"})
    assert parse_part("1/4") == (1, 4)
    with pytest.raises(DataError, match="K below N"):
        parse_part("4/4")


def make_items(n_people: int, fakes_between: list[tuple[int, int]]) -> list[Item]:
    real = [
        Item(Path(f"r{k}-{take}"), 0, (f"p{k}",), f"r{k}")
        for k in range(n_people)
        for take in range(2)
    ]
    return real + [
        Item(Path(f"f{a}-{b}"), 1, (f"p{a}", f"p{b}"), f"r{a}") for a, b in fakes_between
    ]


def test_nobody_is_on_both_sides_and_both_labels_keep_their_share() -> None:
    items = make_items(
        20, [(k, k + 1) for k in range(0, 20, 2)] + [(k + 1, k) for k in range(0, 20, 2)]
    )
    placed = split_items(items, {"train": 0.8, "val": 0.2}, seed=3)
    assert len(placed) == len(items)
    sides = [{p for i in placed if i.split == s for p in i.people} for s in ("train", "val")]
    assert not sides[0] & sides[1]
    held = [i.label for i in placed if i.split == "val"]
    assert (held.count(0), held.count(1)) == (8, 4)
    assert split_items(items, {"train": 0.8, "val": 0.2}, seed=3) == placed
    assert split_items(items, {"train": 0.8, "val": 0.2}, seed=4) != placed


def test_a_knot_of_people_is_cut_and_what_crosses_is_left_out() -> None:
    items = make_items(10, [(a, b) for a in range(10) for b in range(10) if a != b])
    placed = split_items(items, {"train": 0.8, "val": 0.2}, seed=0)
    sides = [{p for i in placed if i.split == s for p in i.people} for s in ("train", "val")]
    assert not sides[0] & sides[1] and len(sides[1]) == 2
    assert sum(i.label == 0 for i in placed) == 20
    assert sum(i.label == 1 for i in placed) == 8 * 7 + 2 * 1


def test_a_data_sets_own_split_stands() -> None:
    items = [Item(Path("t"), 0, ("x",), "t", split="test"), *make_items(5, [])]
    placed = split_items(items, {"train": 0.5, "val": 0.5})
    assert [i.split for i in placed if i.path == Path("t")] == ["test"]


def test_balanced_sampling_shows_both_labels_equally_and_others_each_epoch() -> None:
    labels = np.array([0] * 9 + [1] * 3)
    sampler = BalancedSampler(labels, seed=1)
    first = list(sampler)
    assert len(first) == len(sampler) == 6
    assert sorted(labels[first].tolist()) == [0, 0, 0, 1, 1, 1] and {9, 10, 11} <= set(first)
    assert list(sampler) == first
    sampler.epoch = 1
    assert set(sampler) != set(first)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """real/ and fake/ with two photos each (one a clip), a picture without a face and a damaged
    one.
    """
    folder = tmp_path_factory.mktemp("set")
    face = skimage.data.astronaut()[:256, 96:352]
    for name in ("real", "fake"):
        (folder / name).mkdir()
    Image.fromarray(face).save(folder / "real" / "a.png")
    Image.fromarray(skimage.data.astronaut()[:300, 60:360]).save(folder / "real" / "wide.png")
    Image.fromarray(face[:, ::-1].copy()).save(folder / "fake" / "b.png")
    write_video(folder / "fake" / "c.mp4", [face] * 6, 5)
    Image.fromarray(np.full((128, 128, 3), 90, np.uint8)).save(folder / "real" / "nobody.png")
    (folder / "real" / "broken.jpg").write_bytes(b"\xff\xd8\xff not a picture")
    return folder


def test_faces_are_kept_once_and_what_has_none_is_listed(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(facecache, "SHARD_ITEMS", 2)
    items, config = read_items(f"plain:{faces}"), CacheConfig(n_frames=4)
    half = extract(items, tmp_path, config, part=(0, 2))  # shards 0 and 2 of three
    assert [s.item.path.name for s in half] == ["b.png", "c.mp4", "wide.png"]
    stored = extract(items, tmp_path, config)
    assert [s.item.path.name for s in stored] == ["b.png", "c.mp4", "a.png", "wide.png"]
    assert read_crops(stored[0]).shape == (1, 224, 224, 3) and read_crops(stored[1]).shape == (
        4,
        224,
        224,
        3,
    )
    with (tmp_path / "skipped.csv").open(newline="") as file:
        skipped = {Path(row["file"]).name: row["reason"] for row in csv.DictReader(file)}
    assert skipped["nobody.png"] == "No face was found." and "broken.jpg" in skipped["broken.jpg"]
    assert len(skipped) == 2

    def no_more(*args: object) -> None:
        raise AssertionError("everything is there already")

    monkeypatch.setattr(facecache, "_write", no_more)
    assert extract(items, tmp_path, config) == stored


def test_one_label_alone_is_said_by_the_command_line(
    faces: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "fake").symlink_to(faces / "fake")
    line = [
        "--recipe",
        "baseline-cnn",
        "--data",
        f"plain:{tmp_path / 'set'}",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(line) == 1
    assert capsys.readouterr().err.endswith("There are not faces of both labels to train on.\n")


@pytest.mark.parametrize("layout", ["plain", "real-faces"])
def test_from_a_folder_to_a_model_in_one_command(faces: Path, tmp_path: Path, layout: str) -> None:
    data = f"{layout}:{faces / 'real' if layout == 'real-faces' else faces}"
    network = ["--recipe", "timm", "--backbone", "test_resnet", "--from-scratch"]
    effort = ["--epochs", "1", "--pairs", "2", "--batch", "2", "--workers", "0"]
    shards = [["--shard", f"{k}/2"] for k in (0, 1)] if layout == "plain" else []
    for part in (*shards, []):
        assert main([*network, "--data", data, "--out", str(tmp_path), *effort, *part]) == 0
    detector = Detector(tmp_path / "model")
    assert detector.info.name == "timm" and detector.entry["network"]["embedder_options"] == {
        "name": "test_resnet"
    }
    assert len(json.loads((tmp_path / "history.json").read_text())) == 2  # an epoch of each stage
    for name in ("curves.png", "classes.png", "samples.png", "strips.png", "clip.gif"):
        assert (tmp_path / name).is_file() or (name == "strips.png" and layout == "plain")


def test_real_faces_alone_become_forgeries(faces: Path, tmp_path: Path) -> None:
    stored = extract(
        read_items(f"real-faces:{faces / 'real'}"), tmp_path / "x", CacheConfig(1, wide=True)
    )
    picture = read_pictures(stored[0])[0]
    assert picture.rgb.shape == (320, 320, 3)
    x0, y0, x1, y1 = picture.box_xyxy_px
    inside = (picture.landmarks_px > [x0, y0]) & (picture.landmarks_px < [x1, y1])
    assert inside.all()
    data = build_data(
        f"real-faces:{faces / 'real'}", find_recipe("baseline-cnn"), tmp_path / "faces", pairs=2
    )
    assert data.train.labels.tolist() == data.val.labels.tolist() == [0, 1, 0, 1]
    assert data.train.crops(1, 0).shape == (1, 224, 224, 3)
