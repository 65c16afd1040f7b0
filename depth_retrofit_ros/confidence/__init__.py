"""How far a frame's depth is to be trusted, pixel by pixel."""
