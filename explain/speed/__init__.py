"""How long an answer and its explanation take: `python -m explain.speed`."""
