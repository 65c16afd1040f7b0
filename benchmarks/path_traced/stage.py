"""A Blender scene under construction: materials, shapes and furniture, all drawn from one random generator.

World axes: x right, y ahead of the camera, z up; metres.
"""

from __future__ import annotations

import colorsys
import importlib
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from depth_retrofit_ros.errors import DatasetError
from path_traced.assets import Model, read_textures

Point = Sequence[float] | np.ndarray  # x, y, z [m]; of a vector as well


def blender() -> Any:
    """The module ``bpy``. Raises DatasetError."""
    try:
        return importlib.import_module("bpy")
    except ImportError as error:
        raise DatasetError(f"{error}: pip install bpy==5.0.1 OpenEXR in an environment of Python 3.11 of its own") from None


class Stage:
    """An empty Blender scene that things are put on; every choice comes from ``rng``.

    models, textures: what there is to put on it (``assets``); scratch: folder for the files in use until the scene is rendered;
    spread: half the width of the view per metre ahead; half_width: of the room, m; taken: (x, y, radius) of things on the ground.
    """

    def __init__(
        self, rng: np.random.Generator, models: dict[str, Model], textures: Path, scratch: Path, spread: float = 0.6
    ) -> None:
        self.bpy = blender()
        self.rng, self.models, self.scratch = rng, models, scratch
        self.archive, self.pictures = textures, read_textures(textures)
        self.taken: list[tuple[float, float, float]] = []
        self.spread, self.half_width = spread, np.inf
        self.bpy.ops.wm.read_factory_settings(use_empty=True)

    # Materials

    def color(self, dark: float = 0.05, bright: float = 0.85) -> tuple[float, float, float, float]:
        """Linear RGBA; most colours of things are dull."""
        hue, saturation, value = self.rng.random(), 0.85 * self.rng.random() ** 1.7, self.rng.uniform(dark, bright)
        return (*colorsys.hsv_to_rgb(hue, saturation, value), 1.0)

    def plain(self, dark: float = 0.05, bright: float = 0.85, metallic: float = 0.0) -> Any:
        material = self.bpy.data.materials.new("plain")
        shader = material.node_tree.nodes["Principled BSDF"]
        shader.inputs["Base Color"].default_value = self.color(dark, bright)
        shader.inputs["Roughness"].default_value = self.rng.uniform(0.25, 0.9)
        shader.inputs["Metallic"].default_value = metallic
        return material

    def leaf_material(self) -> Any:
        material = self.plain()
        color = (*colorsys.hsv_to_rgb(*self.rng.uniform((0.12, 0.3, 0.1), (0.38, 0.9, 0.6))), 1.0)
        material.node_tree.nodes["Principled BSDF"].inputs["Base Color"].default_value = color
        return material

    def rod_material(self) -> Any:
        """Of thin things: dark, bright, painted or of metal."""
        kind = self.rng.integers(4)
        return self.plain(*((0.01, 0.1), (0.6, 0.9), (0.1, 0.7), (0.4, 0.8))[kind], metallic=float(kind == 3))

    def patterned(self, kinds: Sequence[str] = ("Checker", "Brick", "Noise", "Wave", "Voronoi")) -> Any:
        """A pattern of two colours, 5 cm to 1 m coarse, in world coordinates."""
        kind = str(self.rng.choice(kinds))
        material = self.plain()
        nodes, link = material.node_tree.nodes, material.node_tree.links.new
        texture = nodes.new(f"ShaderNodeTex{kind}")
        texture.inputs["Scale"].default_value = float(np.exp(self.rng.uniform(np.log(1), np.log(12))))
        mapping = self._mapping(material)
        link(mapping.outputs[0], texture.inputs["Vector"])
        one, two = self.color(), self.color()
        color = nodes["Principled BSDF"].inputs["Base Color"]
        if kind in ("Checker", "Brick"):
            texture.inputs["Color1"].default_value, texture.inputs["Color2"].default_value = one, two
            link(texture.outputs["Color"], color)
        else:
            ramp = nodes.new("ShaderNodeValToRGB")
            ramp.color_ramp.elements[0].color, ramp.color_ramp.elements[1].color = one, two
            ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = sorted(self.rng.uniform(0.2, 0.8, 2))
            link(texture.outputs["Distance" if kind == "Voronoi" else "Fac"], ramp.inputs["Fac"])
            link(ramp.outputs["Color"], color)
        return material

    def _mapping(self, material: Any) -> Any:
        nodes = material.node_tree.nodes
        mapping = nodes.new("ShaderNodeMapping")
        material.node_tree.links.new(nodes.new("ShaderNodeTexCoord").outputs["Object"], mapping.inputs["Vector"])
        return mapping

    def papered(self, names: str, size: float) -> Any:
        """A picture whose path matches ``names``, repeated every ``size`` m on all sides of a thing."""
        fitting = [path for path in self.pictures if re.search(names, path.rsplit("/", 1)[-1])]
        if not fitting:
            raise DatasetError(f"{self.archive} has no held-out picture like {names}: give --textures that of ufoai-textures 2.5")
        path = str(self.rng.choice(fitting))
        with zipfile.ZipFile(self.archive) as files:
            image = self.bpy.data.images.load(files.extract(path, self.scratch), check_existing=True)
        material = self.plain()
        nodes, link = material.node_tree.nodes, material.node_tree.links.new
        texture = nodes.new("ShaderNodeTexImage")
        texture.image, texture.projection, texture.projection_blend = image, "BOX", 0.0
        mapping = self._mapping(material)
        mapping.inputs["Scale"].default_value = (1 / size,) * 3
        link(mapping.outputs[0], texture.inputs["Vector"])
        link(texture.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
        nodes["Principled BSDF"].inputs["Roughness"].default_value = self.rng.uniform(0.5, 1)
        return material

    def surface(self, names: str) -> Any:
        """Of a floor or a wall: a picture, a pattern, or one colour."""
        kind = self.rng.random()
        if kind < 0.6:
            return self.papered(names, self.rng.uniform(0.8, 2.5))
        return self.patterned() if kind < 0.85 else self.plain(0.3, 0.8)

    # Shapes

    def add(self, name: str, data: Any, material: Any) -> None:
        """A new object of this mesh or curve."""
        thing = self.bpy.data.objects.new(name, data)
        data.materials.append(material)
        self.bpy.context.scene.collection.objects.link(thing)

    def rods(self, paths: Sequence[Any], radii: float | Sequence[Any], material: Any = None) -> None:
        """Round rods along paths ``[n, 3]``; radii in m: of all, or for each path one or one per point."""
        data = self.bpy.data.curves.new("rods", "CURVE")
        data.dimensions, data.bevel_depth, data.bevel_resolution, data.use_fill_caps = "3D", 1.0, 3, True
        for index, path in enumerate(paths):
            points = np.asarray(path, float)
            spline = data.splines.new("POLY")
            spline.points.add(len(points) - 1)
            spline.points.foreach_set("co", np.column_stack([points, np.ones(len(points))]).astype(np.float32).ravel())
            radius = radii if np.isscalar(radii) else radii[index]  # type: ignore[index]
            spline.points.foreach_set("radius", np.broadcast_to(radius, len(points)).astype(np.float32))
        self.add("rods", data, material or self.rod_material())

    def box(self, center: Point, size: Point, material: Any = None, yaw: float = 0.0) -> None:
        """size: along x, y, z before the turn by ``yaw`` [rad] around z."""
        corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]) * size
        c, s = np.cos(yaw), np.sin(yaw)
        corners = corners @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]]) + np.asarray(center)
        faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
        data = self.bpy.data.meshes.new("box")
        data.from_pydata(corners.tolist(), [], faces)
        self.add("box", data, material or self.plain())

    def leaves(self, places: np.ndarray, length: float, material: Any) -> None:
        """Flat hexagonal leaves at ``[n, 3]``, turned at random, 0.6 to 1 ``length`` m long and a third as wide."""
        outline = np.array([[0, 0], [0.3, 0.17], [0.7, 0.13], [1, 0], [0.7, -0.13], [0.3, -0.17]])
        axes = np.linalg.qr(self.rng.standard_normal((len(places), 3, 2)))[0] * length
        axes *= self.rng.uniform(0.6, 1, (len(places), 1, 1))
        corners = places[:, None] + outline @ axes.transpose(0, 2, 1)
        data = self.bpy.data.meshes.new("leaves")
        data.from_pydata(corners.reshape(-1, 3).tolist(), [], np.arange(len(places) * 6).reshape(-1, 6).tolist())
        self.add("leaves", data, material)

    def model(self, stem: str, at: Point, yaw: float | None = None) -> None:
        """Furniture with its foot, or its own elevation, above ``at``; turned at random unless told. Raises DatasetError."""
        from mathutils import Matrix, Vector  # comes with bpy

        if stem not in self.models:
            raise DatasetError(f"no held-out model {stem}: give --furniture all libraries of sweethome3d-furniture 1.8")
        model = self.models[stem]
        folder = self.scratch / model.archive.stem
        with zipfile.ZipFile(model.archive) as files:
            files.extractall(folder, [n for n in files.namelist() if n.startswith(str(PurePosixPath(model.member).parent) + "/")])
        self.bpy.ops.wm.obj_import(filepath=str(folder / model.member))
        things = list(self.bpy.context.selected_objects)
        for material in {slot.material for thing in things for slot in thing.material_slots if slot.material}:
            _make_solid(material)
        self.bpy.context.view_layer.update()
        corners = np.array([thing.matrix_world @ Vector(corner) for thing in things for corner in thing.bound_box])
        low, high = corners.min(0), corners.max(0)
        foot = Vector((*(low + high)[:2] / 2, low[2]))
        scale = model.height / (high[2] - low[2])
        turn = self.rng.uniform(-np.pi, np.pi) if yaw is None else yaw
        place = Matrix.Translation(Vector(at) + Vector((0, 0, model.elevation))) @ Matrix.Rotation(turn, 4, "Z")
        place = place @ Matrix.Scale(scale, 4) @ Matrix.Translation(-foot)
        for thing in things:
            thing.matrix_world = place @ thing.matrix_world

    def spot(self, near: float, far: float, radius: float) -> tuple[float, float, float]:
        """A place on the ground within view, ``near`` to ``far`` m ahead; free, unless 200 trials found none."""
        for _ in range(200):
            y = self.rng.uniform(near, far)
            x = self.rng.uniform(-0.85, 0.85) * min(self.spread * y, self.half_width - radius)
            if all(np.hypot(x - u, y - v) > radius + r for u, v, r in self.taken):
                break
        self.taken.append((x, y, radius))
        return (x, y, 0.0)


def _make_solid(material: Any) -> None:
    """Glass becomes opaque, half-transparent texels one or the other: the image shows the very surface that depth tells."""
    nodes, link = material.node_tree.nodes, material.node_tree.links.new
    for shader in [node for node in nodes if node.type == "BSDF_PRINCIPLED"]:
        alpha = shader.inputs["Alpha"]
        shader.inputs["Transmission Weight"].default_value, alpha.default_value = 0.0, 1.0
        if alpha.is_linked:
            cut = nodes.new("ShaderNodeMath")
            cut.operation = "GREATER_THAN"  # than 0.5
            link(alpha.links[0].from_socket, cut.inputs[0])
            link(cut.outputs[0], alpha)
