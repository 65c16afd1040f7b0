"""Pools of rendered samples on disk: a scene is a pure function of (seed, index), rendered once, then read in every epoch."""

from __future__ import annotations

import multiprocessing
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.training.group import ALONE, Group
from depth_retrofit_ros.training.scenes.lens import Lens
from depth_retrofit_ros.training.scenes.sensor import Sensor
from depth_retrofit_ros.training.scenes.world import MIN_DEPTH_M, WORLDS, View, World, WorldSpec, load_world

FORMAT = 2  # of the samples; part of their names, so that none of another format is taken
PRIMITIVES = "primitives"  # the world whose name is in no file name: pools that were filled before there were others stay usable
VIEW_SIDE = 768  # long side of the whole view, from which coarse views of any lower size are averaged
CROP = 384  # side of a full-resolution crop
FRAMES = ((2560, 1440), (1920, 1440), (1920, 1080), (2304, 1536), (1440, 1920), (3840, 2160), (1280, 720))
MORE_FRAMES = ((1600, 1200), (2048, 1536), (4032, 3024), (1440, 2560), (1080, 1920), (1536, 2048), (2560, 1600), (1280, 960))
THIN_SHARE = 0.5  # of the crops of the newer worlds
THIN_PX = 7  # of a view: two cells of a coarse map of 256


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What a pool holds. folder: where; count: number of scenes; crops: full-resolution crops per scene (0: whole views only);
    seed: of scenes and textures; photos: folder of texture photographs or None; device: where to render; world: of ``WORLDS``;
    assets: folder of unpacked 3-D models and textures or None; held_out: of validation's part of the assets."""

    folder: Path
    count: int
    crops: int
    seed: int
    photos: Path | None = None
    device: str = "cpu"
    world: str = PRIMITIVES
    assets: Path | None = None
    held_out: bool = False

    def path(self, index: int) -> Path:
        """File of one sample."""
        sources = str(self.photos.resolve()) if self.photos else ""
        if self.assets and self.world != PRIMITIVES:
            sources += f"|{self.assets.resolve()}"
        look = f"_{zlib.crc32(sources.encode()):08x}" if sources else ""
        info = WORLDS.get(self.world)
        version = info.version if info else 0  # an unknown world is told by load_world
        world = "" if self.world == PRIMITIVES else f"_{self.world}{version}{'-held-out' if self.held_out else ''}"
        return self.folder / f"{self.seed:04d}{world}_{index:06d}_{self.crops}{look}_v{FORMAT}.npz"

    def missing(self) -> list[int]:
        """Samples that are not rendered yet."""
        return [i for i in range(self.count) if not self.path(i).exists()]

    def source(self) -> WorldSpec:
        """What its world is made of."""
        return WorldSpec(self.world, self.seed, self.photos, self.assets, self.held_out, self.device)


def build_pool(spec: PoolSpec, workers: int, progress: Callable[[int], None], group: Group = ALONE) -> list[Path]:
    """Render what is missing; ``progress`` is told the number of samples done. Returns the files in order.

    The processes of a group each render a part, and then what another machine has rendered into a folder of its own.

    Raises ImageError for photos that are none, OutputError if the folder cannot be written.
    """
    try:
        spec.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the pool folder {spec.folder} ({error.strerror}): choose a writable place") from None
    for rank, size in {(group.rank, group.size): None, (group.local_rank, group.local_size): None}:
        group.wait()  # all see the same samples missing
        missing = spec.missing()
        group.wait()
        _render(spec, [index for place, index in enumerate(missing) if place % size == rank], workers, progress)
    group.wait()
    return [spec.path(i) for i in range(spec.count)]


def _render(spec: PoolSpec, missing: list[int], workers: int, progress: Callable[[int], None]) -> None:
    done = spec.count - len(missing)
    chunks = [missing[i : i + 16] for i in range(0, len(missing), 16)]
    if workers <= 1:
        for chunk in chunks:
            done += _render_chunk(spec, chunk)
            progress(done)
    else:
        spawned = multiprocessing.get_context("spawn")  # a fork would copy the sockets and locks of a group
        with ProcessPoolExecutor(workers, spawned, torch.set_num_threads, (1,)) as executor:
            for n in executor.map(_render_chunk, [spec] * len(chunks), chunks):
                done += n
                progress(done)


_worlds: dict[WorldSpec, World] = {}


def world_for(spec: PoolSpec) -> World:
    """The spec's world, made once per process."""
    source = spec.source()
    if source not in _worlds:
        _worlds[source] = load_world(source)
    return _worlds[source]


def _render_chunk(spec: PoolSpec, indices: list[int]) -> int:
    for index in indices:
        sample = render_sample(spec, index)
        temporary = spec.path(index).with_suffix(".tmp.npz")
        try:
            np.savez(temporary, **sample)  # type: ignore[arg-type]  # none of our names is its allow_pickle
            temporary.rename(spec.path(index))
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OutputError(f"cannot write {spec.path(index)} ({error.strerror}): make room or choose another pool") from None
    return len(indices)


def render_sample(spec: PoolSpec, index: int) -> dict[str, np.ndarray]:
    """One scene from one pose.

    view: uint8 [h, w, 3], the whole frame at a long side of 768; view_depth: float32 [h, w] m at its pixel centres; kind: of the
    scene (``View.kind``); frame: int [2] (width, height) of the full frame; f_px: focal length in full-frame pixels; and per crop
    crops: uint8 [N, S, S, 3], crop_depth: float32 [N, S, S] m, at: int [N, 2] (x0, y0) in the full frame. inf is sky.
    """
    rng = np.random.default_rng((spec.seed, index))
    plain = spec.world == PRIMITIVES
    camera = plain_camera(rng) if plain else varied_camera(rng)
    size = camera.width, camera.height
    scene = world_for(spec).view(rng, camera)
    sensor = Sensor.random(rng) if plain else Sensor.varied(rng)

    scale = VIEW_SIDE / max(size)
    view = scene.render(camera.resized(*(round(v * scale) for v in size)))
    view_depth = view.depth.cpu().numpy()
    lens = Lens() if plain else Lens.random(rng, view_depth, max(size))
    sample = {
        "view": sensor.shoot(lens.image(view.image.cpu().numpy(), view_depth, (0, 0), size, scale), rng, scale),
        "view_depth": view_depth,
        "frame": np.array(size),
        "f_px": np.array(camera.fx),
        "kind": np.array(scene.kind),
    }
    if spec.crops:
        corners = crop_windows(rng, view_depth, size, spec.crops, 0.0 if plain else THIN_SHARE)
        crops = [_crop(scene, camera, corner, lens) for corner in corners]
        sample["at"] = np.array(corners)
        sample["crops"] = np.stack([sensor.shoot(image, rng) for image, _ in crops])
        sample["crop_depth"] = np.stack([depth for _, depth in crops])
    return sample


def _crop(scene: View, camera: Camera, corner: tuple[int, int], lens: Lens) -> tuple[np.ndarray, np.ndarray]:
    """What falls on the sensor, float32 [S, S, 3], and the depth [S, S]: rendered with the margin from which light spreads in."""
    left, top = (min(lens.margin_px, v) for v in corner)
    x0, y0 = corner[0] - left, corner[1] - top
    right, bottom = (min(v + CROP + lens.margin_px, n) for v, n in zip(corner, (camera.width, camera.height), strict=True))
    view = scene.render(camera, (x0, y0, right - x0, bottom - y0))
    depth = view.depth.cpu().numpy()
    image = lens.image(view.image.cpu().numpy(), depth, (x0, y0), (camera.width, camera.height), 1.0)
    cut = slice(top, top + CROP), slice(left, left + CROP)
    return np.ascontiguousarray(image[cut]), np.ascontiguousarray(depth[cut])


def plain_camera(rng: np.random.Generator) -> Camera:
    """Of one of ``FRAMES``, neither wide nor long."""
    width, height = FRAMES[rng.integers(len(FRAMES))]
    return Camera.from_hfov(width, height, float(rng.uniform(38, 100) if width > height else rng.uniform(30, 70)))


def varied_camera(rng: np.random.Generator) -> Camera:
    """Of one of ``FRAMES`` or ``MORE_FRAMES``, in one of four cases with a wide or a long lens."""
    frames = FRAMES + MORE_FRAMES
    width, height = frames[rng.integers(len(frames))]
    low, high = ((45, 85), (85, 115), (15, 45))[rng.choice(3, p=[0.75, 0.12, 0.13])]
    f_px = 0.5 * max(width, height) / np.tan(np.radians(rng.uniform(low, high)) / 2)
    return Camera(width, height, float(f_px), float(f_px), (width - 1) / 2, (height - 1) / 2)


def of_kinds(files: Sequence[Path], kinds: Sequence[str]) -> list[Path]:
    """The samples whose scene is of one of these kinds."""
    return [path for path in files if str(np.load(path)["kind"]) in kinds]


def crop_windows(
    rng: np.random.Generator, depth: np.ndarray, size: tuple[int, int], count: int, thin: float = 0.0
) -> list[tuple[int, int]]:
    """Corners (x0, y0) of crops of a frame of ``size`` (width, height), by its view's ``depth [h, w]``: a share ``thin`` of them
    around thin things, of the others three in four near depth edges, the rest anywhere."""
    width, height = size
    log = np.log(np.clip(depth, MIN_DEPTH_M, 200))
    edges = (np.abs(np.diff(log, axis=1, append=log[:, -1:])) + np.abs(np.diff(log, axis=0, append=log[-1:]))) > 0.1
    at_edges, at_thin = np.argwhere(edges), np.argwhere(thin_things(depth)) if thin else np.empty((0, 2))
    windows = []
    for _ in range(count):
        chosen, spread = (at_thin, 0.25) if len(at_thin) and rng.random() < thin else (at_edges, 0.4)
        if len(chosen) and (chosen is at_thin or rng.random() < 0.75):
            row, col = chosen[rng.integers(len(chosen))]
            cx, cy = col * width / depth.shape[1], row * height / depth.shape[0]
            cx, cy = cx + rng.uniform(-spread, spread) * CROP, cy + rng.uniform(-spread, spread) * CROP
        else:
            cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        windows.append((int(np.clip(cx - CROP / 2, 0, width - CROP)), int(np.clip(cy - CROP / 2, 0, height - CROP))))
    return windows


def thin_things(depth: np.ndarray) -> np.ndarray:
    """Where a view ``[h, w]`` m shows something narrower than ``THIN_PX`` before something farther: a closing takes it away."""
    inverse = 1 / np.clip(depth, MIN_DEPTH_M, 1e4)
    behind = cv2.morphologyEx(inverse, cv2.MORPH_OPEN, np.ones((THIN_PX, THIN_PX), np.uint8))
    return np.asarray(inverse > 1.1 * behind)
