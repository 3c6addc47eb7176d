"""What a file's bytes tell of its past: JPEG saved once and twice, its grid, C2PA manifests."""

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from explain_faces import astronaut
from PIL import Image

from detector.decoding.credentials import claim_generator, manifest_store, source_types
from detector.decoding.traces import Traces, find_traces
from detector.errors import MediaError
from detector.media import open_traces
from explain.provenance import statements

CLAIM = (
    b"jumdc2pa\x00" + b"jumdc2pa.claim\x00" + b"\xa1\x74claim_generator_info\xa1\x64name\x65Older"
    b"jumdc2pa.claim.v2\x00\xa2\x74claim_generator_info\xa2\x64name\x6cPaint Studio\x67version\x613"
    b"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
)
STORE = struct.pack(">I", len(CLAIM) + 8) + b"jumb" + CLAIM
BMFF_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def jpeg(image: Image.Image, quality: int) -> bytes:
    memory = BytesIO()
    image.save(memory, "JPEG", quality=quality)
    return memory.getvalue()


def image_of(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(astronaut())


def traces_of_bytes(folder: Path, data: bytes) -> Traces:
    path = folder / "file"
    path.write_bytes(data)
    return find_traces(path)


# --------------------------------------------------------------------------------------------------
# JPEG


@pytest.mark.parametrize("quality", [60, 75, 90, 95])
def test_saved_once(photo: Image.Image, tmp_path: Path, quality: int) -> None:
    found = traces_of_bytes(tmp_path, jpeg(photo, quality))
    assert (found.format, found.jpeg_quality, found.jpeg_subsampling) == ("JPEG", quality, "4:2:0")
    assert found.grid == (0, 0) and found.gaps == (0, 9)


@pytest.mark.parametrize(("first", "second"), [(50, 90), (60, 75), (75, 95), (85, 92)])
def test_saved_twice_the_first_time_more_strongly(
    photo: Image.Image, tmp_path: Path, first: int, second: int
) -> None:
    found = traces_of_bytes(tmp_path, jpeg(image_of(jpeg(photo, first)), second))
    assert found.gaps is not None and found.gaps[0] >= 6
    said = " ".join(statements(found, {})[2].found)
    assert "Saved at least twice, before with a lower quality" in said


def test_an_earlier_saving_of_a_higher_quality_is_not_claimed(
    photo: Image.Image, tmp_path: Path
) -> None:
    found = traces_of_bytes(tmp_path, jpeg(image_of(jpeg(photo, 95)), 80))
    assert found.gaps == (0, 9)


def test_the_grid_tells_of_a_jpeg_before_a_png_and_of_a_crop(
    photo: Image.Image, tmp_path: Path
) -> None:
    def stored(image: Image.Image) -> Traces:
        memory = BytesIO()
        image.save(memory, "PNG")
        return traces_of_bytes(tmp_path, memory.getvalue())

    def words(found: Traces) -> str:
        return statements(found, {})[2].found[-1]

    assert stored(photo).grid is None
    assert words(stored(photo)) == "No grid of 8 x 8 blocks stands out."
    was_jpeg = image_of(jpeg(photo, 90))
    assert "the picture was a JPEG before" in words(stored(was_jpeg))
    cropped = stored(was_jpeg.crop((3, 6, 512, 512)))
    assert cropped.grid == (5, 2) and cropped.jpeg_quality is None and cropped.gaps is None
    assert "begins 5 px right of and 2 px below the corner" in words(cropped)


@pytest.mark.parametrize("size", [(1, 1), (7, 300), (300, 7), (8, 8), (16, 9)])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_small_and_flat_pictures_have_no_history(
    tmp_path: Path, size: tuple[int, int], kind: str
) -> None:
    memory = BytesIO()
    Image.new("RGB", size, "grey").save(memory, kind)
    found = traces_of_bytes(tmp_path, memory.getvalue())
    assert found.grid is None and found.gaps is None
    assert image_of(found.error_levels).size == size


def test_error_levels_shine_where_a_part_was_never_compressed(
    photo: Image.Image, tmp_path: Path
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    pasted = image_of(jpeg(image_of(jpeg(photo, 90)), 90))
    pasted.paste(Image.fromarray(noise), (400, 400))
    memory = BytesIO()
    pasted.save(memory, "PNG")
    levels = np.asarray(image_of(traces_of_bytes(tmp_path, memory.getvalue()).error_levels))
    assert levels[400:464, 400:464].mean() > 8 * levels[:200, :200].mean()


def test_turned_grey_and_deep_pictures_are_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(astronaut()).save(tmp_path / "a.jpg", exif=exif)
    assert find_traces(tmp_path / "a.jpg").grid == (0, 0)
    Image.fromarray(astronaut()).convert("L").save(tmp_path / "b.jpg")
    assert find_traces(tmp_path / "b.jpg").jpeg_subsampling == ""
    Image.fromarray(astronaut()).convert("CMYK").save(tmp_path / "c.jpg")
    assert find_traces(tmp_path / "c.jpg").jpeg_quality == 75
    (tmp_path / "e.jpg").write_bytes((tmp_path / "a.jpg").read_bytes()[:-2])  # no end marker
    assert find_traces(tmp_path / "e.jpg").jpeg_quality == 75
    Image.fromarray(astronaut()).save(tmp_path / "f.webp")
    webp = find_traces(tmp_path / "f.webp")
    assert (webp.format, webp.grid, webp.jpeg_quality) == ("WEBP", None, None)
    assert statements(webp, {})[2].found == ("Grids of 8 x 8 blocks are not looked for in a WEBP.",)
    Image.fromarray(np.full((9, 9), 60_000, np.uint16)).save(tmp_path / "d.png")
    assert find_traces(tmp_path / "d.png").format == "PNG"


def test_in_the_sandbox(photo: Image.Image, tmp_path: Path) -> None:
    photo.save(tmp_path / "a.jpg", quality=85)
    found, same = open_traces(tmp_path / "a.jpg"), find_traces(tmp_path / "a.jpg")
    assert vars(found) == vars(same)
    (tmp_path / "b.jpg").write_bytes(jpeg(photo, 85)[:2000])
    with pytest.raises(MediaError, match=r"^b\.jpg is a damaged or incomplete picture\.$"):
        open_traces(tmp_path / "b.jpg")
    with pytest.raises(MediaError, match="is empty"):
        (tmp_path / "c.jpg").write_bytes(b"")
        open_traces(tmp_path / "c.jpg")


@pytest.mark.parametrize(
    "wrong",
    [
        {"claim_generator": 3},
        {"claim_generator": "x" * 1000},
        {"grid": (1, "<b>")},
        {"gaps": (1,)},
        {"jpeg_quality": "high"},
        {"c2pa": "<b>"},
        {"credentials": ["a"]},
        {"credentials": {"title": "a" * 30_000}},
    ],
)
def test_an_answer_of_another_kind_is_not_taken(wrong: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        Traces(**({"c2pa": True, "claim_generator": "", "source_types": ()} | wrong))


# --------------------------------------------------------------------------------------------------
# Content Credentials


def with_app11(data: bytes, store: bytes, part_bytes: int = 90) -> bytes:
    """A JPEG with a manifest store in APP11 segments, as ISO 19566-5 splits it."""
    head, rest, segments = store[:8], store[8:], b""
    for n, at in enumerate(range(0, len(rest), part_bytes), 1):
        body = b"JP" + struct.pack(">HI", 1, n) + head + rest[at : at + part_bytes]
        segments += b"\xff\xeb" + struct.pack(">H", len(body) + 2) + body
    return data[:2] + segments + data[2:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + b"\0\0\0\0"


def files_with_a_store(photo: Image.Image) -> dict[str, bytes]:
    small = photo.resize((64, 64))
    png = BytesIO()
    small.save(png, "PNG")
    png_bytes = png.getvalue()
    box = struct.pack(">I", 24 + len(STORE)) + b"uuid" + BMFF_UUID + STORE
    # a box whose size takes 64 bits
    movie = struct.pack(">I4sQ", 1, b"free", 20) + b"1234"
    return {
        "jpeg": with_app11(jpeg(small, 90), STORE),
        "png": png_bytes[:33] + chunk(b"caBX", STORE) + png_bytes[33:],
        "riff": b"RIFF\0\0\0\0WEBPVP8 \3\0\0\0abc\0C2PA" + struct.pack("<I", len(STORE)) + STORE,
        "bmff": b"\0\0\0\x10ftypisom\0\0\0\0" + movie + box,
    }


@pytest.mark.parametrize("kind", ["jpeg", "png", "riff", "bmff"])
def test_a_manifest_is_found_in_each_kind_of_file(
    photo: Image.Image, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "file"
    path.write_bytes(files_with_a_store(photo)[kind])
    store = manifest_store(path)
    assert store == STORE
    assert claim_generator(store) == "Paint Studio"  # of the last claim: the active manifest's
    assert source_types(store) == ("trainedAlgorithmicMedia",)


@pytest.mark.parametrize("kind", ["jpeg", "png", "riff", "bmff"])
def test_a_cut_or_disturbed_file_is_read_without_harm(
    photo: Image.Image, tmp_path: Path, kind: str
) -> None:
    whole, path = files_with_a_store(photo)[kind], tmp_path / "file"
    rng = np.random.default_rng(1)
    for size in range(0, min(len(whole), 400), 7):
        path.write_bytes(whole[:size])
        claim_generator(manifest_store(path) or b"")
    for _ in range(60):
        bad = bytearray(whole)
        for at in rng.integers(0, min(len(bad), 600), 8):
            bad[at] = rng.integers(0, 256)
        path.write_bytes(bad)
        assert len(claim_generator(manifest_store(path) or b"")) <= 120


def test_no_manifest_and_no_kind_that_is_looked_into(photo: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(jpeg(photo, 90))
    assert manifest_store(tmp_path / "a.jpg") == b""
    photo.resize((8, 8)).save(tmp_path / "a.gif")
    assert manifest_store(tmp_path / "a.gif") is None
    # the letters alone are no manifest
    (tmp_path / "b.jpg").write_bytes(jpeg(photo, 90) + b"jumb c2pa")
    assert manifest_store(tmp_path / "b.jpg") == b""


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (b"\x65hello", "hello"),
        (b"\x78\x05hello", "hello"),
        (b"\x79\x00\x05hello", "hello"),
        (b"\x65a\x00\x1b\nb", "ab"),
        (b"\x7a\xff\xff\xff\xffhello", ""),
        (b"\x79\xff\xff" + b"x" * 500, "x" * 120),
        (b"\x01", ""),
        (b"", ""),
    ],
)
def test_the_program_is_a_short_printable_text(text: bytes, read: str) -> None:
    assert claim_generator(b"c2pa.claim\x00\xa1\x6fclaim_generator" + text) == read


def test_what_is_found_is_said_with_what_it_is_worth() -> None:
    found = Traces(
        True, "<b>Studio", ("trainedAlgorithmicMedia",), "JPEG", 85, "4:2:0", (0, 0), (0, 9)
    )
    tags, c2pa, history, levels = statements(found, {"Software": "Q"})
    assert c2pa.found == (
        "Present: this file carries a C2PA manifest.",
        "It says that it was written by: <b>Studio.",
        "How it says that the picture came about: made by an AI model (trainedAlgorithmicMedia).",
        "The signature was not checked.",
    )
    assert history.found[0] == "Stored as a JPEG of about quality 85, colours 4:2:0."
    assert tags.rows == {"Software": "Q"} and "proves nothing by itself" in levels.worth
    read = replace(found, credentials={"state": "Valid", "title": None})
    checked = statements(read, {})[1]
    assert checked.rows == {"signature": "intact; who signed is not verified"}
    assert "The signature was not checked." not in checked.found
    clip = statements(Traces(False, "", ()), {})
    assert clip[0].found == ("This file carries no metadata.",)
    assert clip[1].found == ("None: this file carries no C2PA manifest.",)
    assert clip[2].found == clip[3].found
    assert clip[2].found == ("Not measured: this is done for pictures, not for clips.",)
    unread = statements(None, {})[1]
    assert unread.found == ("Not looked for in this kind of file.",)
