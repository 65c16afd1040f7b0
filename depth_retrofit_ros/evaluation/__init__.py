"""Instruments: reading bags, scoring depth against a sensor or a renderer, and the one-page summary of a run."""
