"""PatchRefiner V2 (arXiv 2501.01121) as a refiner of tiles."""
