"""What stands under the open sky: trees, people, vehicles, things of the street and the garden; also the view from a window."""

from __future__ import annotations

import numpy as np

from depth_retrofit_ros.training.scenes.meshes.catalogue import Model
from depth_retrofit_ros.training.scenes.meshes.library import ModelLibrary
from depth_retrofit_ros.training.scenes.meshes.palette import Palette, place
from depth_retrofit_ros.training.scenes.meshes.placing import Floor, Footprint
from depth_retrofit_ros.training.scenes.meshes.structures import bare_tree

MOST_TRIANGLES = 650_000  # of a scene: beyond them no more models are added, and trees are bare
TREES = (
    "(Acacia|Copper beech|Cypress|Japanese maple|Palm tree|Peach blossom|Pine|Poplar|Sycamore maple|"
    "Ficus|Bush|Coconut tree|Bended coconut tree|Bamboo)"
)
PEOPLE = "(Male|Female|Boy|Girl|Holding male|Holding female|Dog|Bulldog|Cat|Siamese cat)"
CARS = "(Chevrolet|Concept Sedan.*|Ford Focus|Peugeot 308 CC|Renault Scenic|SUV|Seat Leon|Smart car|VW new beetle|Van|Truck)"
CYCLES = "(Bicycle|Bike|Scooter|Motorbike|Yamaha YZR R6|Tricycle|Stroller)"
STREET = (
    "(Bench|Painted bench|Concrete bench|Park trashcan|Residential trashcan|Fire hydrant|Cone|Flower box|"
    "Plant box|Mailbox|Pedestrian railing|Cafe chair|Cafe table|Pallet|Crate|Park light|Street lamp|"
    "Classic lamppost|Recycling bin|Folding chair|Little bank|Wood bank|Barrel|Wheelbarrow|Step ladder)"
)
GARDEN = (
    "(Bench|Beach chair|Deck chair|Relax chair|Folding chair|Teck chair|Cafe chair|Cafe table|"
    "Rattan armchair|Rattan table|Rattan sofa|Clothes horse|Step ladder|Small step ladder|Wheelbarrow|"
    "Child swing|Seesaw|Sandpit|Trampoline|Dog house|Garden hut|Children game|Hammock|Camping tent|"
    "Hose reel|Flower box|Plant box|Rock|Stone lantern|Fountain|Umbrella|Barrel|Wood logs|Mower|Tricycle|"
    "Football goal|Chicken|Rabbit|Bush|Hedge|Table tennis|Residential trashcan|Shovel|Broom|Spray bottle|"
    "Basketball|Soccer ball|Pool lounge|Child hut)"
)


class Outdoors:
    """Places things on open ground. floor: where; walk: width and (from, to) of where a camera may stand; lamps: of the night."""

    def __init__(self, palette: Palette, library: ModelLibrary, night: bool) -> None:
        self.palette = palette
        self.library = library
        self.night = night
        self.rng = palette.rng
        self.builder = palette.builder
        self.floor = Floor(0.0, 0.0)
        self.walk = (0.0, (0.0, 0.0))
        self.lamps: list[np.ndarray] = []

    def put(self, model: Model, x: float, z: float, yaw: float, above: float = 0.0, scale: float = 1.0) -> bool:
        """A model on the ground, if its place is free and the scene has room for it."""
        if self.builder.triangles > MOST_TRIANGLES:
            return False
        half = model.size[0] / 2 * scale, model.size[2] / 2 * scale
        if not self.floor.take(Footprint(x, z, half[0], half[1], yaw, above, above + model.size[1] * scale)):
            return False
        place(self.palette, self.library, model, np.array([x, -above, z]), yaw, scale)
        return True

    def pick(self, pattern: str, category: str = "") -> Model | None:
        """A model whose name fits, if there is one."""
        models = self.library.matching(pattern, category)
        return models[self.rng.integers(len(models))] if models else None

    def scatter(
        self,
        pattern: str,
        count: int,
        x: tuple[float, float],
        z: tuple[float, float],
        yaws: tuple[float, ...] = (),
        above: float = 0.0,
    ) -> None:
        """Some models within a rectangle; yaws: near one of which they are turned, none: any."""
        rng = self.rng
        for _ in range(count):
            if model := self.pick(pattern):
                for _ in range(6):
                    yaw = float(rng.choice(yaws) + rng.normal(0, 0.06)) if yaws else float(rng.uniform(0, 2 * np.pi))
                    if self.put(model, float(rng.uniform(*x)), float(rng.uniform(*z)), yaw, above):
                        break

    def tree(self, x: float, z: float, above: float = 0.0) -> None:
        """A tree with leaves, of the catalogue, or a bare one; its trunk takes the place."""
        rng = self.rng
        if not self.floor.take(Footprint(x, z, 0.35, 0.35, 0.0, 0.0, 4.0)):
            return
        model = self.pick(TREES, "Exterior")
        if model is None or rng.random() < 0.25 or self.builder.triangles > MOST_TRIANGLES:
            bare_tree(self.palette, np.array([x, -above, z]), float(rng.uniform(4, 9)))
            return
        scale = float(rng.uniform(0.6, 1.0))
        place(self.palette, self.library, model, np.array([x, -above, z]), float(rng.uniform(0, 2 * np.pi)), scale)

    def ground(self, paint_name: str, y: float, x: tuple[float, float], z: tuple[float, float]) -> None:
        """A level rectangle at height y (down)."""
        corner = np.array([x[0], y, z[0]])
        paint = self.palette.paint(paint_name, own=True)
        self.builder.quad(corner, np.array([x[1] - x[0], 0, 0]), np.array([0, 0, z[1] - z[0]]), paint)


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
