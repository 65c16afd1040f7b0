"""Catalogues and textures of a few blocks, written as the packages have them: what the worlds of models are tested with."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from depth_retrofit_ros.training.scenes.meshes.catalogue import CATALOGUE, MODELS
from depth_retrofit_ros.training.scenes.meshes.library import TEXTURES

# name → category, size in cm (width, depth, height), further fields
FURNITURE: Mapping[str, tuple[str, tuple[float, float, float], dict[str, str]]] = {
    "Chair": ("Living room", (45, 45, 90), {}),
    "Table": ("Living room", (140, 80, 74), {}),
    "Sofa": ("Living room", (190, 85, 80), {}),
    "Bookcase": ("Living room", (90, 35, 190), {}),
    "TV stand": ("Living room", (120, 45, 50), {}),
    "Bed": ("Bedroom", (160, 205, 60), {}),
    "Wardrobe": ("Bedroom", (120, 60, 200), {}),
    "Desk": ("Office", (140, 70, 73), {}),
    "Lower cabinet": ("Kitchen", (60, 60, 85), {}),
    "Fridge": ("Kitchen", (60, 62, 175), {}),
    "Bath": ("Bathroom", (170, 70, 55), {}),
    "Washbasin": ("Bathroom", (60, 45, 40), {"elevation": "45"}),
    "Shelves": ("Living room", (80, 30, 120), {}),
    "Crate": ("Miscellaneous", (40, 40, 30), {}),
    "Vase": ("Miscellaneous", (14, 14, 30), {}),
    "Ficus": ("Exterior", (120, 120, 200), {}),
    "Pendant lamp": ("Lights", (40, 40, 60), {}),
    "Clock": ("Bedroom", (30, 6, 30), {}),
    "Exterior door": ("Doors and windows", (95, 12, 205), {"doorOrWindow": "true"}),
    "Double window": ("Doors and windows", (120, 12, 130), {"doorOrWindow": "true", "elevation": "90"}),
    "SUV": ("Vehicles", (190, 440, 160), {}),
    "Bicycle": ("Vehicles", (46, 149, 84), {}),
    "Male": ("Characters", (56, 39, 184), {}),
    "Bench": ("Exterior", (150, 55, 80), {}),
    "Bush": ("Exterior", (150, 144, 131), {}),
}
MTL = """newmtl body
Kd 0.6 0.4 0.2
Ks 0.2 0.2 0.2
Ns 64
newmtl pane
Kd 0.9 0.9 0.9
d 0.2
newmtl leaf
Kd 0.8 0.8 0.8
map_Kd leaf.png
"""


def box_obj(material: str = "body", library: str = "m.mtl") -> str:
    """A unit cube from −½ to ½, quadrilaterals with texture coordinates, without normals."""
    lines = [f"mtllib {library}", f"usemtl {material}"]
    lines += [f"v {x} {y} {z}" for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    lines += ["vt 0 0", "vt 1 0", "vt 1 1", "vt 0 1"]
    sides = ((1, 2, 4, 3), (5, 7, 8, 6), (1, 5, 6, 2), (3, 4, 8, 7), (1, 3, 7, 5), (2, 6, 8, 4))
    lines += ["f " + " ".join(f"{v}/{t}" for v, t in zip(side, (1, 2, 3, 4), strict=False)) for side in sides]
    return "\n".join(lines) + "\n"


def png(pixels: np.ndarray) -> bytes:
    """Bytes of an image file."""
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


def leaf(size: int = 16) -> np.ndarray:
    """A green texture whose right half is a hole, RGBA."""
    pixels = np.full((size, size, 4), (30, 160, 40, 255), np.uint8)
    pixels[:, size // 2 :, 3] = 0
    return pixels


def write_catalogue(path: Path, entries: list[dict[str, str]], files: Mapping[str, str | bytes], licence: str) -> None:
    """A ``.sh3f`` file."""
    lines = [f"license={licence}"]
    for number, entry in enumerate(entries, 1):
        lines += [f"{key}#{number}={value}" for key, value in entry.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(CATALOGUE, "\n".join(lines).encode("latin-1"))
        for name, data in files.items():
            file.writestr(name, data)


def write_assets(folder: Path, copies: int = 12) -> Path:
    """A folder of assets: each piece of furniture in so many copies, for both parts to have some."""
    entries: list[dict[str, str]] = []
    files: dict[str, str | bytes] = {}
    for name, (category, size, more) in FURNITURE.items():
        for copy in range(copies):
            stem = f"{name.lower().replace(' ', '-')}{copy}"
            material = "pane" if "window" in name else "leaf" if name in ("Ficus", "Bush") else "body"
            files[f"{stem}/{stem}.obj"] = f"# {stem}\n" + box_obj(material)
            files[f"{stem}/m.mtl"] = MTL
            if material == "leaf":
                pixels = leaf()
                pixels[0, 0, 0] = copy  # a file of its own: a shared one would make all one family
                pixels[0, 1, 0] = len(name)
                files[f"{stem}/leaf.png"] = png(pixels)
            width, depth, height = (str(v) for v in size)
            entry = {"name": name, "category": category, "model": f"/{stem}/{stem}.obj", "width": width, "depth": depth}
            entries.append({**entry, "height": height, "creator": "A. Maker", **more})
    write_catalogue(folder / MODELS / "test.sh3f", entries, files, "Creative Commons Attribution 3.0 license")
    rng = np.random.default_rng(0)
    path = folder / TEXTURES
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        for name in ("tex_buildings/concrete002", "tex_buildings/concrete004", "tex_buildings/floor026", "tex_nature/grass001"):
            pixels = rng.integers(60, 200, (32, 32, 4)).astype(np.uint8)
            pixels[..., 3] = 255
            file.writestr(f"textures/{name}.png", png(pixels))
    return folder
