"""Defaults of options, which the command line tells before anything large is imported."""

RETRIES = 2
PART_S = 60.0
