"""Depth image → organized, colored point cloud, and the files that viewers read."""
