"""Metric scale of a depth map from a few true depths."""
