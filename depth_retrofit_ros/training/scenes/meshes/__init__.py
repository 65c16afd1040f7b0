"""Furnished rooms and streets of catalogue models and photographic textures, ray traced: worlds to train in."""
