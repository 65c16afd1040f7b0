"""Several views of one scene: each refined at its own resolution, then merged into one cloud."""
