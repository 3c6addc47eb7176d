"""What ships: from finished runs to the model folder and its reference index."""
