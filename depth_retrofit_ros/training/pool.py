"""Pools of rendered samples on disk: a scene is a pure function of (seed, index), rendered once, then read in every epoch."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.training.scenes.dead_leaves import dead_leaves
from depth_retrofit_ros.training.scenes.layout import SceneAndPose, random_scene
from depth_retrofit_ros.training.scenes.render import Renderer, Rendering
from depth_retrofit_ros.training.scenes.sensor import Sensor
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures

FORMAT = 2  # of the samples; part of their names, so that none of another format is taken
VIEW_SIDE = 768  # long side of the whole view, from which coarse views of any lower size are averaged
CROP = 384  # side of a full-resolution crop
FRAMES = ((2560, 1440), (1920, 1440), (1920, 1080), (2304, 1536), (1440, 1920), (3840, 2160), (1280, 720))
MIN_DEPTH_M = 0.2


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What a pool holds. folder: where; count: number of scenes; crops: full-resolution crops per scene (0: whole views only);
    seed: of scenes and textures; photos: folder of texture photographs or None; device: where to render."""

    folder: Path
    count: int
    crops: int
    seed: int
    photos: Path | None = None
    device: str = "cpu"

    def path(self, index: int) -> Path:
        """File of one sample."""
        look = f"_{zlib.crc32(str(self.photos.resolve()).encode()):08x}" if self.photos else ""
        return self.folder / f"{self.seed:04d}_{index:06d}_{self.crops}{look}_v{FORMAT}.npz"


def build_pool(spec: PoolSpec, workers: int, progress: Callable[[int], None]) -> list[Path]:
    """Render what is missing; ``progress`` is told the number of samples done. Returns the files in order.

    Raises ImageError for photos that are none, OutputError if the folder cannot be written.
    """
    try:
        spec.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the pool folder {spec.folder} ({error.strerror}): choose a writable place") from None
    missing = [i for i in range(spec.count) if not spec.path(i).exists()]
    done = spec.count - len(missing)
    chunks = [missing[i : i + 16] for i in range(0, len(missing), 16)]
    if workers <= 1:
        for chunk in chunks:
            done += _render_chunk(spec, chunk)
            progress(done)
    else:
        with ProcessPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as executor:
            for n in executor.map(_render_chunk, [spec] * len(chunks), chunks):
                done += n
                progress(done)
    return [spec.path(i) for i in range(spec.count)]


_textures: dict[tuple[int, Path | None, str], TextureStack] = {}


def textures_for(spec: PoolSpec) -> TextureStack:
    """The spec's textures, built once per process."""
    key = (spec.seed, spec.photos, spec.device)
    if key not in _textures:
        _textures[key] = build_textures(spec.seed, photos=spec.photos).to(torch.device(spec.device))
    return _textures[key]


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

    view: uint8 [h, w, 3], the whole frame at a long side of 768; view_depth: float32 [h, w] m at its pixel centres; kind: room,
    street, clutter, leaves; frame: int [2] (width, height) of the full frame; f_px: focal length in full-frame pixels; and per crop
    crops: uint8 [N, S, S, 3], crop_depth: float32 [N, S, S] m, at: int [N, 2] (x0, y0) in the full frame. inf is sky.
    """
    rng = np.random.default_rng((spec.seed, index))
    width, height = FRAMES[rng.integers(len(FRAMES))]
    camera = Camera.from_hfov(width, height, float(rng.uniform(38, 100) if width > height else rng.uniform(30, 70)))
    renderer, placed = usable_scene(spec, rng, camera)
    renderer.expose(camera, placed.pose, float(np.exp(rng.normal(np.log(0.17), 0.35))))
    sensor = Sensor.random(rng)

    view_w, view_h = (round(v * VIEW_SIDE / max(width, height)) for v in (width, height))
    view = renderer.render(camera.resized(view_w, view_h), placed.pose)
    sample = {
        "view": sensor.shoot(view.image.cpu().numpy(), rng, VIEW_SIDE / max(width, height)),
        "view_depth": view.depth.cpu().numpy(),
        "frame": np.array([width, height]),
        "f_px": np.array(camera.fx),
        "kind": np.array(placed.kind),
    }
    if spec.crops:
        views = [_crop(renderer, placed, camera, at) for at in _edge_windows(rng, sample["view_depth"], width, height, spec.crops)]
        sample["at"] = np.array([at for at, _ in views])
        sample["crops"] = np.stack([sensor.shoot(v.image.cpu().numpy(), rng) for _, v in views])
        sample["crop_depth"] = np.stack([v.depth.cpu().numpy() for _, v in views])
    return sample


def of_kinds(files: Sequence[Path], kinds: Sequence[str]) -> list[Path]:
    """The samples whose scene is of one of these kinds."""
    return [path for path in files if str(np.load(path)["kind"]) in kinds]


def usable_scene(spec: PoolSpec, rng: np.random.Generator, camera: Camera) -> tuple[Renderer, SceneAndPose]:
    """Draw scenes until one is seen from free space: little of the view nearer than 0.2 m, and not only sky."""
    textures = textures_for(spec)
    while True:
        placed = dead_leaves(rng, textures, camera) if rng.random() < 0.15 else random_scene(rng, textures)
        renderer = Renderer(placed.scene.to(torch.device(spec.device)), textures)
        depth = renderer.render(camera.resized(96, max(1, round(96 * camera.height / camera.width))), placed.pose).depth
        near, sky = (depth < MIN_DEPTH_M).float().mean(), torch.isinf(depth).float().mean()
        if near < 0.002 and sky < 0.7:
            return renderer, placed


def _crop(renderer: Renderer, placed: SceneAndPose, camera: Camera, at: tuple[int, int]) -> tuple[tuple[int, int], Rendering]:
    return at, renderer.render(camera, placed.pose, (*at, CROP, CROP))


def _edge_windows(rng: np.random.Generator, depth: np.ndarray, width: int, height: int, count: int) -> list[tuple[int, int]]:
    """Crop corners, drawn where the view has depth edges (three in four) or anywhere."""
    log = np.log(np.clip(depth, MIN_DEPTH_M, 200))
    edges = (np.abs(np.diff(log, axis=1, append=log[:, -1:])) + np.abs(np.diff(log, axis=0, append=log[-1:]))) > 0.1
    rows, cols = np.nonzero(edges)
    windows = []
    for _ in range(count):
        if rows.size and rng.random() < 0.75:
            i = rng.integers(rows.size)
            cx, cy = cols[i] * width / depth.shape[1], rows[i] * height / depth.shape[0]
            cx, cy = cx + rng.uniform(-0.4, 0.4) * CROP, cy + rng.uniform(-0.4, 0.4) * CROP
        else:
            cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        windows.append((int(np.clip(cx - CROP / 2, 0, width - CROP)), int(np.clip(cy - CROP / 2, 0, height - CROP))))
    return windows
