"""The networks: frame embedders, temporal heads, the denoiser, and the network that holds them
together.
"""
