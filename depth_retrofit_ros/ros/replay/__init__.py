"""Recorded or rendered images through the node, and what came out of it."""
