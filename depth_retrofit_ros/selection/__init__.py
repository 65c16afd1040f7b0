"""Which pixels to refine: a score per pixel (entropy, edges) and a fixed budget K → PixelSet."""
