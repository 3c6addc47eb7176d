"""What the network's boxes hold of one face: pictures and numbers of its own forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from detector.decide import format_probability
from detector.profile import Profile
from detector.types import Analysis, FaceCrop
from explain import figures
from explain.cam import evidence_heat
from explain.figures import Rgb
from explain.lab.charts import Captioned, resized, strip
from explain.tabs.diagram import Box, diagram

if TYPE_CHECKING:
    from explain.explainer import Explainer
    from explain.forward_pass import Energy, ForwardPass

SHOWN_PX, FRAME_PX, SMALL_PX = 336, 480, 92  # sides of pictures and thumbnails
INSIDE_TEXT = (
    "Watch one face on its way through the networks, from the picture to the verdict. Every box "
    "holds what it really gave for this face."
)
MEAN_WORDS = (
    "Frame by frame the answers tremble, so those of all sampled frames of a face are averaged. A "
    "photo has only one."
)


def inside(explainer: Explainer, analysis: Analysis, face: int, frame: int) -> str:
    """The diagram of one face of an analysed file, in one of its frames."""
    from explain.forward_pass import forward_pass

    own = analysis.faces[face]
    reading = explainer.reading(own)
    passed = forward_pass(reading.detector, own.track.crops[frame], kind=reading.kind)
    return diagram(boxes(analysis, face, frame, passed, reading.profile))


def boxes(
    analysis: Analysis, face: int, frame: int, passed: ForwardPass, profile: Profile
) -> dict[str, Box]:
    """Every part that the model has, in the order that a face goes through them."""
    crop = analysis.faces[face].track.crops[frame]
    found = {
        **_to_the_crop(analysis, crop),
        **_streams(crop, passed),
        **_two_stream_answer(crop, passed, profile),
        **_clip(crop, passed, profile),
        **_to_the_verdict(analysis, face, passed, profile),
    }
    return found


def _to_the_crop(analysis: Analysis, crop: FaceCrop) -> dict[str, Box]:
    frame = next(f for f in analysis.media.frames if f.index == crop.frame_index)
    plain = figures.view_frame(frame.rgb, FRAME_PX)
    boxed = _with_landmarks(plain, crop)
    height, width = frame.rgb.shape[:2]
    count = len(analysis.faces)
    when = f"at {crop.t:.2f} s, " if analysis.media.kind == "video" else ""
    faces = f"{count} face{'' if count == 1 else 's'}"
    return {
        "picture": Box(
            "Picture",
            "A file is read as pictures. Of a clip, 24 are taken at even distances.",
            f"The picture {when}{width} × {height} px.",
            thumbnail=_jpeg(plain.rgb, SMALL_PX),
            picture=figures.jpeg(plain.rgb),
            alt="The picture that the face comes from",
        ),
        "faces": Box(
            "Face finder",
            "MTCNN, three small networks, looks for faces. It gives each a box and five points: "
            "eyes, nose and the corners of the mouth.",
            f"{faces} found; this one with a probability of {crop.confidence:.2f}.",
            thumbnail=_jpeg(boxed, SMALL_PX),
            picture=figures.jpeg(boxed),
            alt="The picture with the face in a box and its five points",
        ),
        "crop": Box(
            "Crop",
            "The face is cut out with some room around it and brought to one size. All that "
            "follows sees this square and nothing else.",
            f"A face of {crop.face_px:.0f} px; its crop has {crop.rgb.shape[0]} × "
            f"{crop.rgb.shape[1]} px.",
            thumbnail=_jpeg(crop.shown, SMALL_PX),
            picture=_jpeg(crop.shown, SHOWN_PX),
            alt="The face as the networks see it",
        ),
    }


def _with_landmarks(view: figures.View, crop: FaceCrop) -> Rgb:
    shown = figures.annotate(view, [(crop, "face")]).copy()
    points = crop.landmarks_px @ view.from_frame[:, :2].T + view.from_frame[:, 2]
    for x, y in points.round().astype(int).tolist():
        cv2.circle(shown, (x, y), 4, (0, 0, 0), -1)
        cv2.circle(shown, (x, y), 3, (255, 255, 255), -1)
    return shown


def _streams(crop: FaceCrop, passed: ForwardPass) -> dict[str, Box]:
    found = {}
    if passed.rgb:
        found["rgb"] = _stream(
            "RGB stream",
            "A convolutional network looks at the colours, ever coarser and ever more abstract. "
            "Bright places are where its features respond most.",
            passed.rgb,
        )
    if passed.noise:
        residual = figures.residual_picture(passed.residual)
        found["residual"] = Box(
            "Noise residual",
            "The picture minus a slightly blurred copy: what is left is fine noise, shown 8 times "
            "stronger. A pasted or generated part often has other noise than the camera's.",
            f"Its spread is {float(passed.residual.std()):.1f} of 255 grey levels.",
            thumbnail=_jpeg(residual, SMALL_PX),
            picture=_jpeg(residual, SHOWN_PX),
            alt="Fine noise of the face, amplified eight times",
        )
        found["noise"] = _stream(
            "Noise stream",
            "A second, smaller network is given the noise only. It cannot be distracted by what "
            "the picture shows.",
            passed.noise,
        )
    return found


def _stream(title: str, words: str, energies: Mapping[int, Energy]) -> Box:
    cells = [
        Captioned(
            _energy_picture(energy, SHOWN_PX), f"{energy.shape[1]} × {energy.shape[0]} places"
        )
        for _, energy in sorted(energies.items())
    ]
    last = energies[max(energies)]
    y, x = (int(i) for i in np.unravel_index(int(last.argmax()), last.shape))
    return Box(
        title,
        words,
        f"At its last stage ({last.shape[1]} × {last.shape[0]} places) it responds most in column "
        f"{x + 1}, row {y + 1}.",
        thumbnail=_jpeg(_energy_picture(last, SMALL_PX), SMALL_PX),
        picture=figures.jpeg(strip(cells, side_px=SHOWN_PX // 2, columns=2)),
        alt=f"{title}: the energy of its features at {len(energies)} stages, dark to bright",
    )


def _energy_picture(values: NDArray[np.float32], side_px: int) -> Rgb:
    low, high = float(values.min()), float(values.max())
    unit = (values - low) / max(high - low, 1e-9)
    rgb = np.rint(255 * figures.coloured(unit)[..., :3]).astype(np.uint8)
    return np.asarray(
        cv2.resize(rgb, (side_px, side_px), interpolation=cv2.INTER_NEAREST), np.uint8
    )


def _two_stream_answer(crop: FaceCrop, passed: ForwardPass, profile: Profile) -> dict[str, Box]:
    count = len(passed.embedding)
    side = int(np.ceil(np.sqrt(count)))
    square = np.zeros(side * side, np.float32)
    square[:count] = passed.embedding
    embedding = _energy_picture(square.reshape(side, side), SHOWN_PX)
    found = {
        "embedding": Box(
            "Embedding",
            f"The streams are averaged over the crop and joined into {count} numbers. Faces "
            "with similar numbers look alike to the network.",
            f"Its length is {float(np.linalg.norm(passed.embedding)):.1f}; each square below is "
            "one number.",
            thumbnail=_jpeg(embedding, SMALL_PX),
            picture=figures.jpeg(embedding),
            alt=f"{count} numbers as squares, dark for low and bright for high",
        )
    }
    if passed.evidence is not None:
        found["map"] = _map_box(
            "Evidence map",
            "For every place the network says how much it looks like a forgery. Orange speaks "
            "for one, purple against it.",
            crop,
            passed.evidence,
        )
    return {**found, "logit": _logit_box(passed, profile)}


def _map_box(title: str, words: str, crop: FaceCrop, map_logits: NDArray[np.float32]) -> Box:
    heat = evidence_heat(map_logits, crop.rgb.shape[0])
    drawn = figures.heat_picture(crop.shown, heat, figures.shared_scale([heat]))
    height, width = map_logits.shape
    return Box(
        title,
        words,
        f"{width} × {height} places, from {map_logits.min():+.1f} to {map_logits.max():+.1f}; "
        "above 0 speaks for a forgery.",
        thumbnail=_jpeg(drawn, SMALL_PX),
        picture=_jpeg(drawn, SHOWN_PX),
        alt=f"{title} over the face",
    )


def _logit_box(passed: ForwardPass, profile: Profile) -> Box:
    finding = f"Logit {passed.logit:+.2f}."
    if len(passed.views) > 1:
        full, low = passed.views
        finding = (
            f"With fine detail {full:+.2f}, without it {low:+.2f}; weighted "
            f"{1 - profile.low_pass_weight:.2f} to {profile.low_pass_weight:.2f} and read at this "
            f"crop's sharpness: {passed.logit:+.2f}."
        )
    return Box(
        "Logit",
        "Embedding and the strongest places of the map become one number, the logit. Above 0 it "
        "leans to forged, below 0 to authentic.",
        finding,
        value=f"{passed.logit:+.2f}",
    )


def _clip(crop: FaceCrop, passed: ForwardPass, profile: Profile) -> dict[str, Box]:
    clip = passed.clip
    fusion = profile.fusion
    if clip is None or fusion is None:
        return {}
    put_in_logit = float(fusion.put_in(passed.logit, clip.manipulated))
    put_in = fusion.manipulated_calibration.probability(put_in_logit)
    made = fusion.generated_calibration.probability(clip.generated)
    terms = (
        f"{fusion.two_stream:.2f} × {passed.logit:+.2f} (two streams), {fusion.manipulated:.2f} × "
        f"{clip.manipulated:+.2f} (put in), {fusion.generated:.2f} × {clip.generated:+.2f} "
        f"(generated)"
    )
    finding = f"{terms}: {put_in_logit + fusion.generated * clip.generated:+.2f}."
    if fusion.sharpness is not None:
        finding += f" At this crop's sharpness it is read as {passed.fused:+.2f}."
    return {
        "clip": _map_box(
            "CLIP",
            "A second network, a transformer that has seen very many pictures, looks at the crop "
            "in patches of 16 × 16 px. Its map is coarser.",
            crop,
            clip.map_logits,
        ),
        "put_in": Box(
            "Put in?",
            "CLIP's first answer: was something put into this face? Its logit is joined with the "
            "two streams' one.",
            f"CLIP's logit {clip.manipulated:+.2f}; together with the two streams a probability "
            f"of {format_probability(put_in)}.",
            value=f"{clip.manipulated:+.2f}",
        ),
        "generated": Box(
            "Generated?",
            "CLIP's second answer: was the whole picture made by a generator? Then no place in it "
            "need look different from the others.",
            f"Logit {clip.generated:+.2f}, by itself a probability of {format_probability(made)}.",
            value=f"{clip.generated:+.2f}",
        ),
        "fusion": Box(
            "Fusion",
            "The logits of both networks become one: each has a weight, and they are added. The "
            "weights were chosen on faces that neither network had learnt from. The sum of a photo "
            "is then read at the crop's sharpness: soft crops say less.",
            finding,
            value=f"{passed.fused:+.2f}",
        ),
    }


def _to_the_verdict(
    analysis: Analysis, face: int, passed: ForwardPass, profile: Profile
) -> dict[str, Box]:
    own = analysis.faces[face]
    logits = [evidence.logit for evidence in own.evidence]
    mean = float(np.mean(logits))
    clip_frames = (
        ""
        if passed.clip is None
        else " CLIP looked at some of them; its answers between are interpolated."
    )
    finding = (
        f"One picture, so the mean is its own logit: {mean:+.2f}."
        if len(logits) == 1
        else f"{len(logits)} frames from {min(logits):+.2f} to {max(logits):+.2f}, on average "
        f"{mean:+.2f}.{clip_frames}"
    )
    verdict = own.verdict
    score = "" if verdict.p_fake is None else format_probability(verdict.p_fake)
    return {
        "mean": Box("Mean over time", MEAN_WORDS, finding, value=f"{mean:+.2f}"),
        "verdict": Box(
            "Verdict",
            "The logit becomes a calibrated probability, and thresholds make it an answer. "
            "Between them, or where the face cannot carry one, it says that it cannot say.",
            f"{verdict.headline[:1].upper()}{verdict.headline[1:]}: {score}. {verdict.reason}",
            value=score,
        ),
    }


def _jpeg(rgb: Rgb, side_px: int) -> bytes:
    """A picture at most so large, square ones enlarged."""
    if rgb.shape[0] == rgb.shape[1]:
        return figures.jpeg(resized(rgb, side_px))
    return figures.jpeg(figures.view_frame(rgb, 2 * side_px).rgb)
