"""Refiners that see square tiles of the frame at its own resolution: those that hold most of the selected pixels."""
