"""Forgeries made from authentic faces: blends, pairs, small generators, animated tracks.

Training, the benchmarks and the lessons build on it; inference does not import it.
"""
