"""Scenes of thin things that Blender path-traces: assets, a stage for them, and what is put on it."""
