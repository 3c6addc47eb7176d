"""How forged does a face look? A file in, a calibrated verdict with its evidence out: `detector.pipeline.Detector`."""

import os

# Torch's OpenMP threads spin while they wait for each other, and on cores shared with other work the spinning is what
# they wait for: a clip took 58 s beside a training run with the default and 9 s with this. Set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
