"""VGGT, the visual geometry grounded transformer (arXiv 2503.11651): depth, points and cameras of any number of views at once."""
