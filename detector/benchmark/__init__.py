"""Measuring the detector: `python -m detector.benchmark accuracy`."""
