"""What stands under the open sky: ground, houses, trees; also what is seen through a room's windows."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.library import ModelLibrary
from depth_retrofit_ros.training.scenes.meshes.palette import Palette, place

TREES = "(Acacia|Copper beech|Cypress|Japanese maple|Palm tree|Peach blossom|Pine|Poplar|Sycamore maple|Ficus|Bush|Coconut tree|Bended coconut tree|Bamboo)"  # fmt: skip


def behind_windows(palette: Palette, library: ModelLibrary, width: float, depth: float) -> None:
    """Ground some way below, houses around, a tree or two: seen from inside through openings."""
    rng, builder = palette.rng, palette.builder
    ground = float(rng.choice([0.15, rng.uniform(2.5, 12)]))
    paint = palette.paint(str(rng.choice(["grass", "asphalt", "paving"])))
    builder.quad(np.array([-60.0, ground, -60]), np.array([120.0, 0, 0]), np.array([0, 0, 120.0]), paint)
    for _ in range(int(rng.integers(1, 5))):
        angle, far = rng.uniform(0, 2 * np.pi), rng.uniform(10, 35)
        half = np.array([rng.uniform(3, 9), rng.uniform(2.5, 9), rng.uniform(3, 6)])
        at = np.array([np.sin(angle) * (far + 8), ground - half[1], depth / 2 + np.cos(angle) * (far + 8)])
        builder.box(at, tuple(half), palette.paint(str(rng.choice(["brick", "plaster"]))), float(rng.uniform(0, np.pi)))
    trees = library.matching(TREES, "Exterior")
    for _ in range(int(rng.integers(0, 3)) if trees else 0):
        angle, far = rng.uniform(0, 2 * np.pi), max(width, depth) / 2 + rng.uniform(5, 9)
        at = np.array([np.sin(angle) * far, ground, depth / 2 + np.cos(angle) * far])
        place(palette, library, trees[rng.integers(len(trees))], at, float(rng.uniform(0, 6)))
