"""What things are made of: classes of photographic textures, colors of paint, and how a model's parts are dressed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from depth_retrofit_ros.training.scenes.meshes.catalogue import Model
from depth_retrofit_ros.training.scenes.meshes.library import ModelLibrary, TextureLibrary
from depth_retrofit_ros.training.scenes.meshes.soup import LINEAR, SEEN_THROUGH, Paint, SoupBuilder

SHARED_LOOK = 0.04  # share of scenes whose own surfaces are all of one paint: depth edges without texture edges


@dataclass(frozen=True, slots=True)
class Class:
    """pattern: of texture names; repeat: metres, from, to; mean: linear luminance that the surface is brought to, from, to;
    painted: how far the color is replaced by a random paint, 0…1; shine: up to; contrast: of the texture, from, to; grey: its
    paints are."""

    pattern: str
    repeat: tuple[float, float]
    mean: tuple[float, float]
    painted: float = 0.0
    shine: float = 0.0
    contrast: tuple[float, float] = (0.8, 1.0)
    grey: bool = False


B, N, M, S, F = "tex_buildings/", "tex_nature/", "tex_material/", "tex_streets/", "tex_furniture/"
CLASSES: Mapping[str, Class] = {
    "plaster": Class(
        B + ("(concrete0(02|03|04|05|06|07|08|22|24)|wall0(19|22|27|34|36)|wall_dirt[13]|wall_se(07|12|14)|japwall003|cementwall)"),
        (1.5, 4),
        (0.35, 0.8),
        0.9,
        0.0,
        (0.1, 0.6),
    ),
    "wallpaper": Class(
        B + "(wallpaper0(01|02|04|05|08|09|10|11|12|13)|japwall003)", (0.6, 1.4), (0.25, 0.6), 0.7, 0.0, (0.25, 0.8)
    ),
    "brick": Class(B + "(wall0(41|42|43|44)|wall_brick01|wall5_4|streetbricks14)", (1.0, 2.2), (0.12, 0.35), 0.15),
    "ceiling": Class(
        B + ("(concrete0(02|07|22|24)|wall_dirt1|wall0(27|34|36)|japwall003)"), (2, 5), (0.6, 0.85), 0.95, 0.0, (0.05, 0.4)
    ),
    "parquet": Class(B + "(floor0(02|22|26|27|34|35|36|37|38|39)|floor_wood01|woodceiling1a)", (0.7, 1.8), (0.08, 0.35), 0.1, 0.35),
    "tiles": Class(B + "(floor0(06|08|10|13|15|16|17|18|19|20|21|30)|tile0[123]|window01[23])", (0.6, 1.6), (0.12, 0.5), 0.2, 0.4),
    "fleece": Class(f"{B}carpet0(06|27|28|29|30|31)|{F}(textil00[123]|seat00[3456])", (0.4, 1.2), (0.06, 0.35), 0.3),
    "rug": Class(B + "carpet0(01|02|03|04|05|07|08|09|11|12|13|14|15|17|18|19|20|21|22|23|24|26)", (1, 1), (0.06, 0.3)),
    "fabric": Class(f"{F}textil00[123456]|{B}carpet0(06|10|25|27|28)|{F}seat00[3456]", (0.2, 0.6), (0.06, 0.5), 0.6),
    "wood": Class(M + "(wood0(02|03|05|08|09|10|11|12|13|14|15)|s_wood00[123])", (0.5, 1.4), (0.06, 0.35), 0.15, 0.3),
    "metal": Class(
        M + "(metal00[12]|metall0(02|08|10a|14|15|16|17|18|19))", (0.5, 1.5), (0.1, 0.5), 0.6, 0.6, (0.3, 1.0), grey=True
    ),
    "picture": Class("tex_pics/(art|asia|landsc|science|cow).*", (1, 1), (0.1, 0.4)),
    "books": Class("tex_misc/books00[1-9]", (1, 1), (0.1, 0.3)),
    "asphalt": Class(f"{S}street001|{B}(floor0(05|11)|concrete008|cemdrk)", (2, 5), (0.06, 0.22), 0.8, 0.0, (0.3, 0.7), grey=True),
    "paving": Class(
        f"{B}(floor_se0[1234]|paving001|floor0(20|21|33|15|16|18)|tile0[12]|concrete_slabs01)",
        (1, 2.5),
        (0.12, 0.4),
        0.3,
        grey=True,
    ),
    "grass": Class(N + "grass(|001|004|_lush|_(mowed|tall)_(dry|green)_[abc])", (1.5, 4), (0.05, 0.2), 0.05),
    "soil": Class(
        N + ("(dirt|dirt00[123]|dirt_se01|soil00[12]|sp_ground|drymud|desert00[134]|sand|rockyground01|wood_chips0[12])"),
        (1, 3),
        (0.06, 0.3),
        0.1,
    ),
    "snow": Class(N + "(snow00[123]|snowey)", (2, 5), (0.5, 0.8)),
    "rock": Class(N + "(rock0.*|pjrock.*|stone001)", (1, 3), (0.08, 0.35), 0.1),
    "bark": Class(N + "(tree00[123]|tree_bark_00[12])", (0.4, 1.0), (0.03, 0.15), 0.1),
    "hedge": Class(N + "(hedge001|jungle00[12]|grass_tall_green_[abc])", (0.6, 1.2), (0.03, 0.12), 0.05),
    "roof": Class(B + "(roof0(06|07|08|10|11|12)|roof1[012]|floor_gray)", (0.8, 2), (0.05, 0.25), 0.3),
}
# The first class whose pattern is in a model's name is what its bare parts may be made of.
DRESSES: tuple[tuple[str, str], ...] = (
    (
        "sofa|couch|armchair|bed|puff|futon|ottoman|cushion|towel|curtain|dress|skirt|trousers|jacket|suit|bootie|backpack|tent",
        "fabric",
    ),
    (
        "fridge|oven|cook|hood|machine|radiator|lamp|light|post|railing|bike|bicycle|locker|safe|speaker|TV|sink|faucet|tool",
        "metal",
    ),
    (
        "table|desk|chair|cabinet|cupboard|wardrobe|shel|bookcase|chest|dresser|bench|door|window|crate|box|fence|hut|stool|piano",
        "wood",
    ),
)


class Palette:
    """Draws paints for one scene."""

    def __init__(self, rng: np.random.Generator, textures: TextureLibrary, builder: SoupBuilder) -> None:
        self.rng = rng
        self.textures = textures
        self.builder = builder
        self._shared: Paint | None = None
        if rng.random() < SHARED_LOOK:
            self._shared = self.paint("plaster")

    def color(self, mean: float, grey: bool = False) -> np.ndarray:
        """A paint of this linear luminance: mostly pale, sometimes strong; grey: as stone and iron are."""
        rng = self.rng
        hue = rng.uniform(0, 2 * np.pi)
        strength = 0.05 if grey else float(rng.choice([0.06, 0.2, 0.5], p=[0.5, 0.35, 0.15]))
        wheel = 1 + strength * np.cos(hue + np.array([0.0, 2.1, 4.2]))
        return np.asarray(mean * wheel / wheel.mean())

    def paint(self, name: str, own: bool = False) -> Paint:
        """A paint of a class of ``CLASSES``; own: not the one that all of the scene may share."""
        if self._shared and not own:
            return self._shared
        rng, kind = self.rng, CLASSES[name]
        mean = float(rng.uniform(*kind.mean))
        number = self.texture(name, float(rng.uniform(*kind.contrast)))
        color = self.color(mean, kind.grey)
        if number >= 0:
            own_color = self.builder.textures.means[number]
            color = kind.painted * color + (1 - kind.painted) * own_color * mean / own_color.mean()
        shine = float(rng.uniform(0, kind.shine)) if rng.random() < 0.6 else 0.0
        return Paint(self.builder.material(color, number, shine), float(rng.uniform(*kind.repeat)))

    def plain(self, mean: float, shine: float = 0.0, glow: float = 0.0, grey: bool = False) -> Paint:
        """Paint without a texture."""
        if self._shared and not glow:
            return self._shared
        return Paint(self.builder.material(self.color(mean, grey), shine=shine, glow=glow), 1.0)

    def texture(self, name: str, contrast: float = 1.0) -> int:
        """A texture of a class: its number in the scene, −1 where this part of the textures has none of the class.

        contrast: below 1 its values are drawn towards their mean.
        """
        found = self.textures.matching(CLASSES[name].pattern)
        if not found:
            return -1
        chosen = found[self.rng.integers(len(found))]
        image = self.textures.image(chosen)
        mean = np.array(cv2.mean(image)[:3])
        table = np.clip(mean + (np.arange(256)[:, None] - mean) * contrast, 0, 255).astype(np.uint8)
        table = np.concatenate([table, np.arange(256, dtype=np.uint8)[:, None]], 1)  # alpha stays
        return self.builder.textures.add(f"{chosen} {contrast:.3f}", cv2.LUT(image, table[None]))


def place(palette: Palette, library: ModelLibrary, model: Model, at: np.ndarray, yaw: float, scale: float = 1.0) -> None:
    """Put a model, dressed, into the scene. at: of its foot's centre [m]."""
    mesh, builder, rng = library.mesh(model), palette.builder, palette.rng
    dress = next((cls for words, cls in DRESSES if re.search(words, model.name, re.IGNORECASE)), "")
    dressed = bool(dress) and rng.random() < 0.6
    shift = np.exp(rng.normal(0, 0.08, 3) + rng.normal(0, 0.12))
    materials, restyled, cloths = [], {}, [palette.paint(dress, own=True) for _ in range(2)] if dressed else []
    for number, surface in enumerate(mesh.surfaces):
        clear = surface.opacity < SEEN_THROUGH or (surface.opacity < 0.8 and model.category == "Doors and windows")
        if clear:
            materials.append(-1)
            continue
        texture = -1
        color = LINEAR[(np.clip(surface.color, 0, 1) * 255).astype(int)]
        if surface.texture >= 0:
            texture = builder.textures.add(f"{model.key}/{surface.texture}", mesh.textures[surface.texture])
            color = builder.textures.means[texture] * shift
        elif cloths and 0.03 < color.mean() < 0.45:
            cloth = cloths[number % len(cloths)]
            texture = builder.cloth_of(cloth)
            restyled[number] = cloth.repeat
        shine = max(surface.shine, 0.5 if surface.opacity < 0.8 else 0.0)
        materials.append(builder.material(np.maximum(color * (1 if surface.texture >= 0 else shift), 0.03), texture, shine))
    builder.mesh(mesh, materials, at, yaw, restyled, scale)
