"""How forged does a face look? `detector.embed(paths)` and `detector.Detector` load their parts at
first use.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# Half the cores for torch, unless the user says otherwise: its OpenMP threads wait for each other
# by spinning, and on cores shared with a second visitor or the video decoder that spinning is what
# they wait for. Measured on two busy cores, a 10 s clip: 58 s with two threads, 14 s with one. Set
# before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))

if TYPE_CHECKING:
    from detector.embeddings import embed
    from detector.pipeline import Detector

__all__ = ["Detector", "embed"]


def __getattr__(name: str) -> Any:
    if name == "embed":
        from detector.embeddings import embed

        return embed
    if name == "Detector":
        from detector.pipeline import Detector

        return Detector
    raise AttributeError(f"module 'detector' has no attribute {name!r}")
