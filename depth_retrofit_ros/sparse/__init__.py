"""Sparse 2-D tensors and convolutions: a ``PixelSet`` carries the positions, ``[K, C]`` the features, a backend the arithmetic."""
