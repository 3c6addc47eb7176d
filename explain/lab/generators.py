"""The small generators that lessons redraw faces with, one of each kind of up-sampler."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from detector.forgery.generators import SmallGenerator

WEIGHTS = "lesson-generators.safetensors"
SHIPPED_GENERATORS = ("transposed4", "nearest-adversarial", "shuffle")


@lru_cache(maxsize=1)
def generators() -> dict[str, SmallGenerator]:
    """The shipped generators by name. Raises WeightsError."""
    from detector.forgery.generators import GENERATORS, SmallGenerator
    from explain.lab import store

    state = store.load(WEIGHTS)
    nets = {}
    for config in GENERATORS:
        if config.name in SHIPPED_GENERATORS:
            net = SmallGenerator(config)
            prefix = f"{config.name}."
            net.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
            nets[config.name] = net.eval().requires_grad_(False)
    return nets
