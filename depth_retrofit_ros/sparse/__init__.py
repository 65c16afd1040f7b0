"""Sparse 2-D tensors and convolutions: a ``PixelSet`` carries the positions, ``[K, C]`` the features, an engine the arithmetic."""
