"""Procedural scenes with exact depth: what is in them (layout), their look (textures, render, sensor), a moving camera (video)."""
