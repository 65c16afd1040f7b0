"""Training without downloads: scenes with exact depth, coarse degradations, losses, the loop."""
