"""Refiners, which correct the selected pixels, and the gated fusion with the coarse depth."""
