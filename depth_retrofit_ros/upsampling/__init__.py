"""From the coarse grid to the frame's grid: half-pixel interpolation, and along the frame's own edges."""
