#!/usr/bin/env python3
"""The film that comes with the package (depth_retrofit_ros/film): a furnished room, rendered with exact depth.

    python benchmarks/make_demo_film.py --assets assets --out depth_retrofit_ros/film

Assets as in docs/training-data.md. Models and textures are of the part that training never sees. The film is redistributed, so of
the textures only those are taken that Debian's copyright file puts into the public domain. ATTRIBUTION.md, written beside the film,
names the models in the room and their authors, as CC BY asks.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import DatasetError, DepthRetrofitError
from depth_retrofit_ros.io.depth_files import write_text
from depth_retrofit_ros.training.scenes.film import pose_along, write_film
from depth_retrofit_ros.training.scenes.meshes.assets import Assets, cache_folder, open_assets
from depth_retrofit_ros.training.scenes.meshes.attribution import terms
from depth_retrofit_ros.training.scenes.meshes.catalogue import Model
from depth_retrofit_ros.training.scenes.meshes.library import ModelLibrary
from depth_retrofit_ros.training.scenes.meshes.obj import Mesh
from depth_retrofit_ros.training.scenes.meshes.rooms import Room
from depth_retrofit_ros.training.scenes.meshes.view import MeshView, most_interesting
from depth_retrofit_ros.training.scenes.render import to_uint8
from depth_retrofit_ros.training.scenes.scene import Pose
from depth_retrofit_ros.training.scenes.video import VideoFrame
from depth_retrofit_ros.training.scenes.world import WorldSpec

COPYRIGHT = Path("usr/share/doc/ufoai-textures/copyright")
POSES = 8
HFOV_DEG = 70.0
MEAN = 0.26  # linear, of the exposed image
WRITTEN_ON = ("Birthday cake",)
BAND = 240  # rows that are rendered at once
ABOUT = """\
# The film of the demo

Pictures of a furnished room with their depth, rendered by `benchmarks/make_demo_film.py`; their format is described in
`training/scenes/film.py`. No model and no texture is part of the film. The textures are in the public domain (Debian package
`ufoai-textures`) or come with the models. The pictures are under Apache-2.0, as the package; what they show of a model stays under
that model's licence. The 3-D models are those of Sweet Home 3D (Debian package `sweethome3d-furniture`), scaled, recoloured, placed
and lit:
"""


class RememberingLibrary(ModelLibrary):
    """Also knows which models were taken, and turns what is written on: the camera stands on the other side of the table."""

    def __init__(self, assets: Path, cache: Path, validation: bool) -> None:
        super().__init__(assets, cache, validation)
        self.taken: dict[str, Model] = {}

    def mesh(self, model: Model) -> Mesh:
        """See ``ModelLibrary``."""
        self.taken[model.key] = model
        mesh = super().mesh(model)
        if model.name not in WRITTEN_ON:
            return mesh
        half_turn = np.array([-1, 1, -1], np.float32)
        return replace(mesh, points=mesh.points * half_turn, normals=mesh.normals * half_turn)


def main() -> int:
    """Render; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--assets", type=Path, required=True, metavar="DIR", help="folder of unpacked models and textures")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the film")
    parser.add_argument("--seed", type=int, default=5010, help="of the room")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--width", type=int, default=2560)
    parser.add_argument("--height", type=int, default=1440)
    args = parser.parse_args()
    try:
        make_film(args)
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def make_film(args: argparse.Namespace) -> None:
    """Furnish, choose where to look from, render, write."""
    assets, library = redistributable_assets(args.assets)
    rng = np.random.default_rng(args.seed)
    room = Room(rng, assets)
    poses = [room.pose() for _ in range(POSES)]
    view = MeshView("furnished", room.soup, poses[0], room.sky, room.ambient)
    camera = Camera.from_hfov(args.width, args.height, HFOV_DEG)
    most_interesting(view, camera, poses)
    view.expose(camera, MEAN)
    write_film(args.out, shots(view, camera, args.views))
    write_text(args.out / "ATTRIBUTION.md", attribution(list(library.taken.values())))


def redistributable_assets(folder: Path) -> tuple[Assets, RememberingLibrary]:
    """Validation's models, and those of its textures that are in the public domain. Raises DatasetError."""
    textures = open_assets(WorldSpec("rooms", 0, assets=folder, held_out=True)).textures
    try:
        paragraphs = re.split(r"\n\s*\n", (folder / COPYRIGHT).read_text(encoding="utf-8"))
    except OSError as error:
        raise DatasetError(f"{folder / COPYRIGHT} cannot be read ({error.strerror}): unpack the package again") from None
    free = {
        name
        for paragraph in paragraphs
        if "\nLicense: public-domain" in paragraph
        for name in re.findall(r"^ base/textures/(\S+)$", paragraph, re.MULTILINE)
    }
    textures.names = sorted(free & set(textures.names))
    library = RememberingLibrary(folder, cache_folder(), validation=True)
    return Assets(library, textures), library


def shots(view: MeshView, camera: Camera, count: int) -> Iterator[VideoFrame]:
    """Views along a short path, as a camera held in the hand takes them; the image with four rays a pixel."""
    start = view.pose
    for i in range(count):
        along = pose_along(i / max(1, count - 1))
        view.pose = Pose(start.rotation @ along.rotation, start.position + start.rotation @ along.position)
        yield VideoFrame(to_uint8(torch.from_numpy(averaged(view, camera))), exact_depth(view, camera), camera)
        print(f"view {i + 1} of {count}", flush=True)


def averaged(view: MeshView, camera: Camera) -> np.ndarray:
    """float32 [H, W, 3]: rendered at twice the size, in bands, and averaged."""
    fine = camera.resized(2 * camera.width, 2 * camera.height)
    image = np.empty((camera.height, camera.width, 3), np.float32)
    for y in range(0, camera.height, BAND):
        rows = min(BAND, camera.height - y)
        band = view.render(fine, (0, 2 * y, fine.width, 2 * rows)).image.numpy()
        image[y : y + rows] = cv2.resize(band, (camera.width, rows), interpolation=cv2.INTER_AREA)
    return image


def exact_depth(view: MeshView, camera: Camera) -> np.ndarray:
    """float32 [H, W] m at the pixels' centres."""
    rows, columns = (a.ravel() for a in np.mgrid[: camera.height, : camera.width])
    return view.look(camera, columns, rows).depth.reshape(camera.height, camera.width)


def attribution(models: list[Model]) -> str:
    """ATTRIBUTION.md."""
    lines = [*ABOUT.splitlines(), ""]
    by_maker: dict[tuple[str, str], set[str]] = {}
    for model in models:
        by_maker.setdefault((terms(model.licence, model.copyright), model.creator), set()).add(model.name)
    for (under, creator), names in sorted(by_maker.items()):
        lines.append(f"- {', '.join(sorted(names))}: by {creator}, {under}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
