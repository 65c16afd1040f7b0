"""How far a depth map is from a reference: over all pixels, at edges, over time, and where the selection looked."""
