"""Between the coarse grid and the frame's: half-pixel interpolation, area averages, and upsampling along the frame's own edges."""
