"""The world of layers: photographs cut out along natural silhouettes, one before another."""
