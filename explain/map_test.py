"""The map that is shown first, tested on the face that it explains.

Where it fails, the next one is tested, and the first that passes is shown in its place; where none
passes, none is called reliable.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from detector.types import Progress
from explain.cam import Heat
from explain.faithfulness import BADGE, STEPS, Grade

if TYPE_CHECKING:
    from explain.explainer import Explainer

TESTED = "Tested on this face"
FIRST_SHARE = 0.6  # of the progress that the first map takes, which the controls are measured with


@dataclass(frozen=True, eq=False)
class MapTest:
    """Which map of one face to show, and how those that were tested did."""

    heat: Heat  # the first that passed, or else the default
    grades: tuple[Grade, ...]  # in the order of testing, the default's first

    @property
    def passed(self) -> bool:
        """Whether the map that is shown passed its test."""
        return self.grades[-1].trusted

    @property
    def badge(self) -> str:
        """The two words for the map itself."""
        return TESTED if self.passed else BADGE

    @property
    def sentence(self) -> str:
        """What the test found, for a reader."""
        first = self.grades[0]
        if first.trusted:
            return (
                "Taking away or showing what it marks moves the score more than random places, the "
                "centre or the picture's edges do."
            )
        if self.passed:
            return f"{self.heat.method} is shown: the {first.method} did not pass here."
        tested = len(self.grades)
        return f"None of the {tested} maps tested on this face marks what the score rests on."


def run_map_test(
    explainer: Explainer,
    crop: NDArray[np.uint8],
    progress: Progress | None = None,
    steps: int = STEPS,
) -> MapTest:
    """Test the default map of one (S, S, 3) crop, and others until one passes.

    `progress(share, stage)` is called along the way; raising in it cancels.
    """
    report = progress or (lambda share, stage: None)
    heats = explainer.heats(crop, explainer.default_methods)
    names = list(heats)
    grades = []
    card = None
    for i, name in enumerate(names):
        start = 0.0 if i == 0 else FIRST_SHARE + (1 - FIRST_SHARE) * (i - 1) / (len(names) - 1)
        length = FIRST_SHARE if i == 0 else (1 - FIRST_SHARE) / (len(names) - 1)

        def part(share: float, stage: str, start: float = start, length: float = length) -> None:
            report(start + length * share, stage)

        found = explainer.report_card(
            crop, {name: heats[name]}, steps=steps, before=card, progress=part
        )
        card = card or found
        grades.append(found.grades[0])
        if grades[-1].trusted:
            return MapTest(heats[name], tuple(grades))
    return MapTest(heats[names[0]], tuple(grades))
