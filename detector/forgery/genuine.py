"""Genuine forgeries of data sets, by family, each beside an authentic picture that resembles it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from detector.forgery.pictures import LabelledFace

# family -> set of forged pictures; forged pictures of any other set were generated as a whole
SETS = {
    "openforensics": "openforensics",
    "swap pairs": "swap_pairs",
    "faceswap": "kowalski_faceswap",
}
# family -> sets of authentic faces that resemble its own; those of "swap pairs" are its targets
PARTNERS = {
    "openforensics": ("openimages",),
    "faceswap": ("lfw",),
    "generated": (
        *("ffhq", "officials", "web", "team18f", "london", "webmix"),
        *("staff", "press", "celebahq", "makeup", "dmdnet", "scut", "allage"),
    ),
}
# draws an authentic picture of some sets, or of any
DrawPicture = Callable[[np.random.Generator, Sequence[str]], LabelledFace]


class GenuineForgeries:
    """The forged ones among `pictures`, by family."""

    def __init__(self, pictures: Sequence[LabelledFace]) -> None:
        forged = [p for p in pictures if p.label == 1]
        self.sets = {p.source for p in pictures if p.label == 0}
        self.targets: dict[str, list[LabelledFace]] = {}
        for picture in pictures:
            if picture.label == 0 and picture.pair_id:
                self.targets.setdefault(picture.pair_id, []).append(picture)
        self.by_family = {
            family: [p for p in forged if p.source == name] for family, name in SETS.items()
        }
        swaps = self.by_family["swap pairs"]
        self.by_family["swap pairs"] = [p for p in swaps if p.pair_id in self.targets]
        self.by_family["generated"] = [p for p in forged if p.source not in SETS.values()]
        self._generators: dict[str, list[LabelledFace]] = {}
        for picture in self.by_family["generated"]:
            self._generators.setdefault(picture.source, []).append(picture)

    def draw(self, family: str, rng: np.random.Generator) -> LabelledFace:
        """Draw a forged picture; of generated ones, sets by the square root of their size."""
        pool = self.by_family[family]
        if family == "generated":
            names = sorted(self._generators)
            weights = np.sqrt([len(self._generators[name]) for name in names])
            pool = self._generators[str(rng.choice(names, p=weights / weights.sum()))]
        return pool[rng.integers(len(pool))]

    def draw_partner(
        self, family: str, forged: LabelledFace, rng: np.random.Generator, draw: DrawPicture
    ) -> LabelledFace:
        """Draw the authentic picture of a pair: the swap's own target, or one of a like set."""
        if family == "swap pairs":
            targets = self.targets[forged.pair_id]
            return targets[rng.integers(len(targets))]
        return draw(rng, [name for name in PARTNERS[family] if name in self.sets])
