"""The parts of ``benchmarks/refiners.py``: what is measured of each refiner, and the tables that are made of it."""
