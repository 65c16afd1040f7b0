"""Files: checkpoints, photos, depth, archives of arrays, and depth as a picture."""
