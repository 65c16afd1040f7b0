"""The ``cpu`` backend: compiled, fused, for inference."""
