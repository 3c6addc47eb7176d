"""The forgery lab: what is forged is where the mask says, and only the face's own pixels are
used.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from explain_faces import BOX, LANDMARKS, astronaut, detector, explainer

from detector.errors import MediaError, WeightsError
from detector.media import open_media
from detector.pipeline import default_detector
from detector.types import Frame, Label
from explain.explainer import Explainer
from explain.faithfulness import Localisation
from explain.lab import builtin, forgery, store
from explain.lab.forgery import (
    FAMILIES,
    ForgerySettings,
    cut_subject,
    follows_ratio,
    forge,
    judge,
    mean_change,
    subject_of,
    surprise,
)
from explain.lab.generators import SHIPPED_GENERATORS
from explain.tabs.forgery import outcome_sentences, place_sentence
from explain.texts import catalogue


@pytest.fixture(scope="module")
def subject():
    return cut_subject(astronaut(), BOX, LANDMARKS)


class Fixed(Explainer):
    """An explainer that scores everything with one logit."""

    def __init__(self, logit: float) -> None:
        super().__init__(detector(), "image")
        self.logit = logit

    def verdict_score(self, crops: np.ndarray) -> np.ndarray:
        return np.full(len(crops), self.logit, np.float32)


def test_the_untouched_face_is_the_one_that_analysing_the_file_sees(tmp_path):
    from explain.lab.examples import EXAMPLES, write_example

    path = write_example(EXAMPLES[0], tmp_path)
    media = open_media(path)
    crop = detector().analyze(path).faces[0].track.crops[0].rgb
    subject = subject_of(detector(), media)
    assert np.abs(subject.crop(subject.rgb).astype(int) - crop).max() <= 1
    blank = replace(media, frames=(Frame(0, 0.0, np.full((64, 64, 3), 90, np.uint8)),))
    with pytest.raises(MediaError, match="nothing to forge"):
        subject_of(detector(), blank)


def test_a_large_face_is_averaged_down():
    double = np.repeat(np.repeat(astronaut()[:240, 100:340], 4, 0), 4, 1)
    box = tuple(4 * np.array([78.0, 60.0, 172.0, 172.0]))
    subject = cut_subject(double, box, 4 * (LANDMARKS - [100, 0]).astype(np.float32))
    x0, y0, x1, y1 = subject.box_xyxy_px
    assert max(x1 - x0, y1 - y0) == pytest.approx(forgery.MOST_FACE_PX, abs=1)
    assert subject.crop(subject.rgb).shape == (224, 224, 3)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_what_lies_under_the_mask_changes(subject, family):
    made = forge(subject, ForgerySettings(family, "mouth", blur=0.05))
    changed = np.abs(made.forged.astype(int) - made.authentic).max(axis=2)
    assert changed[made.mask > 0.5].mean() > 2
    assert changed[made.mask == 0].max() == 0
    assert 0.003 < (made.mask > 0.5).mean() < 0.1
    again = forge(subject, ForgerySettings(family, "mouth", blur=0.05))
    assert np.array_equal(made.forged, again.forged)


def test_every_slider_does_something(subject):
    plain = forge(subject, ForgerySettings()).forged
    for name, value in (
        ("colour", 30),
        ("blur", 0.3),
        ("offset", 0.1),
        ("detail", 0.2),
        ("sharpen", 2),
        ("ratio", 0.5),
    ):
        assert not np.array_equal(forge(subject, ForgerySettings(**{name: value})).forged, plain), (
            name
        )
    drawn = [
        forge(subject, ForgerySettings(FAMILIES[2], generator=g)).forged for g in SHIPPED_GENERATORS
    ]
    assert not np.array_equal(drawn[0], drawn[1]) and not np.array_equal(drawn[1], drawn[2])


def test_no_opacity_is_no_forgery(subject):
    nothing = judge(explainer(), subject, ForgerySettings(ratio=0.0))
    assert np.array_equal(nothing.forged, nothing.authentic)
    assert nothing.p == pytest.approx(nothing.p_authentic, abs=1e-4)
    assert nothing.localisations == {}


def test_settings_outside_the_sliders_are_refused():
    with pytest.raises(ValueError, match="expected ratio between 0"):
        ForgerySettings(ratio=1.5)
    with pytest.raises(ValueError, match="expected one of face"):
        ForgerySettings(region="hat")


def test_the_detector_is_compared_with_the_true_mask(subject):
    result = judge(explainer(), subject, ForgerySettings())
    scored = detector().predict(np.stack([result.authentic, result.forged]), kind="image")
    assert result.logit == pytest.approx(float(scored.logits[1]), abs=1e-5)
    assert set(result.localisations) == {"evidence map", "Grad-CAM, rgb stream"}
    assert all(
        0 <= found.pixel_auc <= 1 and 0 <= found.iou <= 1 for found in result.localisations.values()
    )
    assert result.mask.shape == (224, 224) and 0.1 < (result.mask > 0.5).mean() < 0.7


def test_the_score_follows_the_ratio_at_the_default_settings():
    shipped = Explainer(default_detector(), "image")
    found = [follows_ratio(shipped, face, ForgerySettings()) for face in builtin.subjects()]
    assert np.mean(found) >= 0.9
    assert (
        np.mean([follows_ratio(Fixed(1.0), face, ForgerySettings()) for face in builtin.subjects()])
        == 0.0
    )


@pytest.mark.parametrize(
    ("logit", "label"), [(3.0, Label.FORGED), (0.0, Label.UNCERTAIN), (-3.0, Label.AUTHENTIC)]
)
def test_the_answer_follows_the_calibrated_band(subject, logit, label):
    assert judge(Fixed(logit), subject, ForgerySettings()).label is label


def test_a_surprise_is_missed_and_yet_visible(subject):
    found = surprise(Fixed(-3.0), subject, seed=1)
    assert found is not None
    assert mean_change(forge(subject, found)) >= forgery.VISIBLE_CHANGE
    stages = []
    assert surprise(Fixed(3.0), subject, 1, lambda share, stage: stages.append(stage)) is None
    assert len(stages) == 8


def test_a_forgery_that_fools_the_detector_is_said_to(subject):
    fooled, caught = (
        outcome_sentences(judge(Fixed(logit), subject, ForgerySettings())) for logit in (-3.0, 3.0)
    )
    assert "This forgery fools the detector: it is forged, and it is not found." in fooled
    assert caught[0].startswith("Score 0.95 (forged-looking)") and not any(
        "fools" in line for line in caught
    )
    sure = outcome_sentences(judge(Fixed(30.0), subject, ForgerySettings()))[0]
    assert sure.startswith("Score above 0.99 (forged-looking); the untouched face has above 0.99.")
    assert catalogue("de").text(sure).startswith("Wert über 0.99 (wirkt gefälscht); das unberühr")
    assert outcome_sentences(judge(Fixed(-3.0), subject, ForgerySettings(ratio=0.0)))[1:] == [
        "At ratio 0 nothing is forged."
    ]


def test_one_more_map_is_compared_with_the_mask(subject):
    result = judge(explainer(), subject, ForgerySettings())
    perfect = replace(next(iter(result.heats.values())), map=result.mask)
    more = result.with_map("LIME", perfect)
    assert list(more.localisations) == [*result.localisations, "LIME"]
    assert more.localisations["LIME"].pixel_auc == 1.0 and more.localisations["LIME"].pointing
    assert (
        judge(explainer(), subject, ForgerySettings(ratio=0.0))
        .with_map("LIME", perfect)
        .localisations
        == {}
    )


def test_weights_of_lessons_are_checked(tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        store.load("lesson-x.safetensors", tmp_path)
    tensors = {"a": detector().network.frame_head.out.weight[:, :4]}
    store.save("lesson-x.safetensors", tensors, tmp_path)
    assert store.load("lesson-x.safetensors", tmp_path)["a"].numpy() == pytest.approx(
        tensors["a"].numpy(), abs=1e-3
    )
    (tmp_path / store.SUMS).write_text(json.dumps({"lesson-x.safetensors": "0" * 64}))
    with pytest.raises(WeightsError, match="damaged"):
        store.load("lesson-x.safetensors", tmp_path)


def test_a_map_that_looks_uniform_is_not_said_to_overlap_the_mask() -> None:
    """It read "overlaps the true mask by 71%": the mask was most of the face."""
    uniform = Localisation(pixel_auc=0.9, pointing=True, iou=0.71, contrast=0.04)
    clear = Localisation(pixel_auc=0.8, pointing=True, iou=0.41, contrast=0.6)
    assert place_sentence({"evidence map": uniform}) == (
        "No map shows where: each is about as hot outside the true mask as inside it."
    )
    assert place_sentence({"evidence map": uniform, "LIME": clear}) == (
        "The hottest places of LIME, as many as the true mask has, share 41% with it "
        "(IoU at the true area)."
    )
