"""Training: `shipped` trains the network that ships, `recipes` the systems of docs/SOURCES.md; both
by the one loop of `loop.py`.
"""
