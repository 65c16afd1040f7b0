"""Procedural scenes with exact depth: what is in them (layout), how they look (textures, render, sensor), how a camera moves (video)."""
