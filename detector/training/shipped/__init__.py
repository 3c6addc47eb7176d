"""Training of the network that ships, on pairs made from authentic faces, and of its parts."""
