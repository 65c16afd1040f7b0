"""Frozen foundation models: image → ``CoarsePrediction``. ``registry`` maps names to loaders."""
