"""The JSON of `analyze` on the built-in faces, as the shipped weights give it.

A change of the code leaves these numbers as they are; new weights come with new ones.
"""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from detector.contract import analysis_json
from detector.pipeline import default_detector
from detector.types import Label
from explain.lab.examples import EXAMPLES, write_example

AUTHENTIC = "No trace like those of the forgeries this detector was trained on was found."
PUT_IN = (
    "The face carries traces of a face that was put in, like those of the forgeries this detector "
    "was trained on."
)
# file -> label, reason, p_fake, logit, manipulated, generated, box
GOLDEN = {
    "astronaut.png": (
        "authentic", AUTHENTIC, 0.145311, -3.314119, 0.039477, 0.255336,
        [178.63, 60.98, 266.86, 173.49],
    ),
    "astronaut_swapped.png": (
        "forged", PUT_IN, 0.999286, 5.342827, 0.999824, 0.660894,
        [179.68, 62.70, 269.31, 175.78],
    ),
    "grace_hopper.jpg": (
        "authentic", AUTHENTIC, 0.112158, -3.599301, 0.146233, 0.027804,
        [170.70, 109.92, 354.67, 342.14],
    ),
    "grace_hopper_mouth.png": (
        "forged", PUT_IN, 0.927081, 0.828434, 0.983276, 0.061194,
        [179.99, 120.59, 349.85, 332.30],
    ),
}  # fmt: skip


def near(value: float) -> Any:
    """CLIP computes in bf16 where the processor has it: its third digit is the machine's."""
    return pytest.approx(value, abs=0.01)


@pytest.mark.parametrize("name", GOLDEN)
def test_the_built_in_faces_get_the_same_json(name: str, tmp_path: Path) -> None:
    label, reason, p_fake, logit, manipulated, generated, box = GOLDEN[name]
    (example,) = (example for example in EXAMPLES if example.name == name)
    answer = analysis_json(default_detector().analyze(write_example(example, tmp_path)))
    assert len(answer.pop("sha256")) == 64  # of the file: a PNG's bytes are the library's
    assert sorted(answer.pop("timing_s")) == ["detect", "embed", "open", "total"]
    assert answer.pop("model")["name"] == "deepfake-lens"
    verdict = {
        "label": label,
        "headline": f"{label}-looking",
        "p_fake": near(p_fake),
        "logit": pytest.approx(logit, abs=0.05),
        "reason": reason,
        "part": None,
    }
    frame = {"index": 0, "t": 0.0, "p_fake": near(p_fake), "box_xyxy": pytest.approx(box, abs=0.5)}
    evidence = {"manipulated": near(manipulated), "generated": near(generated)}
    assert answer == {
        "file": name,
        "kind": "image",
        **verdict,
        "notes": [],
        "faces": [{"track": 1, **verdict, "evidence": evidence, "frames": [frame]}],
        "faces_found": 1,
    }


@pytest.mark.parametrize("name", ["astronaut.png", "grace_hopper.jpg"])
@pytest.mark.parametrize("placing", ["1 px off", "3% smaller", "mirror image"])
def test_an_authentic_portrait_that_lies_otherwise_is_not_called_forged(
    name: str, placing: str, tmp_path: Path
) -> None:
    (example,) = (example for example in EXAMPLES if example.name == name)
    with Image.open(write_example(example, tmp_path)) as portrait:
        right, down = portrait.size
        small = portrait.resize((round(0.97 * right), round(0.97 * down)))
        placed = {
            "1 px off": portrait.crop((1, 1, right, down)),
            "3% smaller": small,
            "mirror image": ImageOps.mirror(portrait),
        }[placing]
    placed.save(tmp_path / "placed.png")
    verdict = default_detector().analyze(tmp_path / "placed.png").verdict
    assert verdict.label in (Label.AUTHENTIC, Label.UNCERTAIN)
    assert verdict.p_fake == pytest.approx(0.25, abs=0.25)
