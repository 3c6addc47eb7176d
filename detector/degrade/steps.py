"""A degradation as a value: steps by name, carried out in order, and told in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from detector.degrade.checks import Rgb, require_choice, require_rgb
from detector.degrade.codecs import video_codec_clip
from detector.degrade.registry import OPERATIONS, Value


@dataclass(frozen=True)
class Step:
    """One operation by name, with its parameters; those left out take the registry's defaults."""

    name: str
    params: Mapping[str, Value] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        require_choice("The degradation", self.name, OPERATIONS)
        known = {parameter.name: parameter for parameter in OPERATIONS[self.name].parameters}
        params = {parameter.name: parameter.default for parameter in known.values()}
        for name, value in self.params.items():
            require_choice(f"A parameter of {self.name}", name, known)
            if known[name].choices:
                require_choice(f"The parameter {name} of {self.name}", value, known[name].choices)
                params[name] = value
            else:
                # a slider hands over 50.0 where 50 is meant
                params[name] = type(known[name].default)(value)
        object.__setattr__(self, "params", params)


Degradation = tuple[Step, ...]  # carried out in order


def apply(rgb: Rgb, degradation: Degradation) -> Rgb:
    """Carry out the steps in order. The same picture and steps always give the same result."""
    require_rgb(rgb)
    for step in degradation:
        rgb = OPERATIONS[step.name].function(rgb, **step.params)
    return rgb


def apply_clip(frames: Sequence[Rgb], degradation: Degradation) -> list[Rgb]:
    """Carry out the steps on a clip.

    A video codec codes it as a whole, and noise differs from frame to frame.
    """
    clip = list(frames)
    for step in degradation:
        if step.name == "video_codec":
            params = {name: value for name, value in step.params.items() if name != "as_p_frame"}
            clip = video_codec_clip(clip, **params)  # type: ignore[arg-type]  # checked by Step and by the codec
        elif step.name == "noise":
            seed = int(step.params["seed"])
            clip = [
                apply(rgb, (Step("noise", {**step.params, "seed": seed + i}),))
                for i, rgb in enumerate(clip)
            ]
        else:
            clip = [apply(rgb, (step,)) for rgb in clip]
    return clip


def describe(degradation: Degradation) -> str:
    """The steps in plain words, 'unchanged' if there are none.

    For example 'noise of sigma 5, then JPEG at quality 50 (4:2:0)'.
    """
    return (
        ", then ".join(OPERATIONS[step.name].phrase.format(**step.params) for step in degradation)
        or "unchanged"
    )
