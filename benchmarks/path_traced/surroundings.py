"""What encloses a scene and lights it: rooms with lamps, or ground, buildings and sky."""

from __future__ import annotations

import numpy as np

from path_traced.assets import FLOORS, GROUNDS, PICTURES, WALLS
from path_traced.stage import Point, Stage


def room(stage: Stage, width: float, depth: float, height: float, opening: bool) -> None:
    """A room around the camera, lit from its ceiling; the far wall may have a window without a pane, 2 m high, half as wide."""
    stage.half_width = width / 2
    back = 2.5  # behind the camera
    middle, length = (depth - back) / 2, depth + back
    stage.box((0, middle, -0.05), (width, length, 0.1), stage.surface(FLOORS))
    stage.box((0, middle, height + 0.05), (width, length, 0.1), stage.plain(0.6, 0.9))
    sides = stage.surface(WALLS)
    for x in (-1, 1):
        stage.box((x * (width / 2 + 0.05), middle, height / 2), (0.1, length, height), sides)
    stage.box((0, -back - 0.05, height / 2), (width, 0.1, height), stage.plain(0.5, 0.8))
    wall, part = stage.surface(WALLS), width / 4
    if opening:
        for x in (-1, 1):
            stage.box((x * (width / 2 - part / 2), depth + 0.05, height / 2), (part, 0.1, height), wall)
        stage.box((0, depth + 0.05, (height + 2.3) / 2), (2 * part, 0.1, height - 2.3), wall)
        stage.box((0, depth + 0.05, 0.15), (2 * part, 0.1, 0.3), wall)
        frame = np.linspace(-part, part, 4)
        stage.rods([*(((x, depth, 0.3), (x, depth, 2.3)) for x in frame), ((-part, depth, 1.6), (part, depth, 1.6))], 0.018)
    else:
        stage.box((0, depth + 0.05, height / 2), (width, 0.1, height), wall)
    for y in (0.1 * depth, 0.65 * depth):
        lamp(stage, (stage.rng.uniform(-0.5, 0.5), y, height - 0.03), stage.rng.uniform(0.8, 1.6), 60 * stage.rng.uniform(0.6, 1.6))


def lamp(stage: Stage, at: Point, size: float, watts: float) -> None:
    """A square lamp that shines downward and is itself unseen."""
    data = stage.bpy.data.lights.new("lamp", "AREA")
    data.size, data.energy = size, watts
    data.color = (1, stage.rng.uniform(0.8, 1), stage.rng.uniform(0.6, 1))
    thing = stage.bpy.data.objects.new("lamp", data)
    thing.location, thing.visible_camera = at, False
    stage.bpy.context.scene.collection.objects.link(thing)


def sky(stage: Stage, sun: float) -> None:
    """Horizon to zenith with clouds, and a sun of this strength, which stands behind the camera's back half the time."""
    world = stage.bpy.data.worlds.new("sky")
    stage.bpy.context.scene.world = world
    nodes, link = world.node_tree.nodes, world.node_tree.links.new
    direction = nodes.new("ShaderNodeTexCoord").outputs["Generated"]
    split = nodes.new("ShaderNodeSeparateXYZ")
    link(direction, split.inputs[0])
    ramp = nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].color = (0.75, 0.82, 0.9, 1)
    ramp.color_ramp.elements[1].color = (*stage.rng.uniform((0.05, 0.15, 0.45), (0.35, 0.45, 0.8)), 1)
    link(split.outputs["Z"], ramp.inputs["Fac"])
    clouds = nodes.new("ShaderNodeTexNoise")
    clouds.inputs["Scale"].default_value, clouds.inputs["Detail"].default_value = stage.rng.uniform(2, 6), 8
    stretched = nodes.new("ShaderNodeMapping")
    stretched.inputs["Scale"].default_value, stretched.inputs["Location"].default_value = (1, 1, 3), stage.rng.uniform(0, 9, 3)
    link(direction, stretched.inputs["Vector"])
    link(stretched.outputs[0], clouds.inputs["Vector"])
    cover = nodes.new("ShaderNodeMapRange")
    cover.inputs["From Min"].default_value, cover.inputs["From Max"].default_value = stage.rng.uniform(0.3, 0.55), 0.75
    link(clouds.outputs["Fac"], cover.inputs["Value"])
    mix = nodes.new("ShaderNodeMix")
    mix.data_type = "RGBA"
    link(cover.outputs[0], mix.inputs["Factor"])
    link(ramp.outputs["Color"], mix.inputs[6])
    mix.inputs[7].default_value = (0.9, 0.9, 0.92, 1)
    link(mix.outputs[2], nodes["Background"].inputs["Color"])
    data = stage.bpy.data.lights.new("sun", "SUN")
    data.energy, data.angle = sun, np.radians(stage.rng.uniform(0.5, 3))
    thing = stage.bpy.data.objects.new("sun", data)
    thing.rotation_euler = (np.radians(stage.rng.uniform(25, 60)), 0, stage.rng.uniform(-np.pi, np.pi))
    stage.bpy.context.scene.collection.objects.link(thing)


def ground(stage: Stage, level: float = 0.0) -> None:
    """Flat, to 350 m ahead; ``level``: its height, m."""
    stage.box((0, 150, level - 0.05), (600, 400, 0.1), stage.papered(GROUNDS, stage.rng.uniform(1.5, 3)))


def buildings(stage: Stage, near: float, far: float, count: int) -> None:
    """Houses with gaps between them, papered with walls."""
    for x in np.linspace(-1, 1, count) * stage.spread * near * 1.1:
        size = stage.rng.uniform((4, 5, 3), (8, 9, 9))
        at = (x + stage.rng.uniform(-2, 2), stage.rng.uniform(near, far), size[2] / 2)
        stage.box(at, size, stage.papered(WALLS, stage.rng.uniform(2.5, 5)), stage.rng.uniform(-0.3, 0.3))


def hang_pictures(stage: Stage, y: float, width: float, count: int) -> None:
    """Framed pictures on the wall at ``y``."""
    for x in np.linspace(-0.4, 0.4, count) * width:
        w, h = stage.rng.uniform((0.4, 0.4), (0.9, 0.8))
        stage.box((x, y - 0.012, 1.65), (w + 0.05, 0.02, h + 0.05), stage.plain(0.02, 0.3))
        stage.box((x, y - 0.018, 1.65), (w, 0.02, h), stage.papered(PICTURES, max(w, h)))
