"""Architectures of foundation models that no well-kept package has: plain modules, named as the public checkpoints are."""
