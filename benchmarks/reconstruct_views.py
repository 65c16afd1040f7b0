#!/usr/bin/env python3
"""Views of a scene with exact geometry, spoilt as a multi-view network of 518 px spoils them, and what refinement makes of it.

    python benchmarks/reconstruct_views.py --json benchmarks/results/reconstruct.json --picture docs/images/reconstruct.jpg

The scenes: the film that comes with the package (four views of a furnished room, of models that no training sees) and a room of
the primitives' world. Poses are exact. Of ``edges`` so is depth but for its edges and some noise, and the table tells what
refinement can change; of ``real`` each view's depth is also stretched here and compressed there, as foundation models' is. All
clouds have the points of the same pixels, but for ``coarse``: the network's own. Accuracy, completeness and F-score as in
``evaluation/metrics/point_clouds.py``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.stored_views import StoredViews
from depth_retrofit_ros.evaluation.metrics.point_clouds import compare_clouds
from depth_retrofit_ros.io.depth_files import side_by_side, write_image, write_text
from depth_retrofit_ros.reconstruction.geometry import inverse, moved, rays
from depth_retrofit_ros.reconstruction.reconstruct import reconstruct
from depth_retrofit_ros.reconstruction.refined_view import Geometry, RefinedView
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.training.degradations import MILD, REAL, Degradation, point_sampled, simulate_coarse
from depth_retrofit_ros.training.scenes.film import Film
from depth_retrofit_ros.training.scenes.render import Renderer, area_downsample, to_uint8
from depth_retrofit_ros.training.scenes.scene import Pose, rotation_ypr
from depth_retrofit_ros.training.scenes.textures import build_textures
from depth_retrofit_ros.training.scenes.video import clear_scene
from depth_retrofit_ros.upsampling.interpolation import upsample

CPU = torch.device("cpu")
ROOM = 1  # seed
ROOM_SIZE = (1440, 1920)
FILM_SIZE = (1080, 1920)
NETWORK_PX = 518  # long side of the coarse answer
TOLERANCES_M = (0.01, 0.02, 0.05, 0.1)
STRIDE = 4  # of the pixels whose points are compared
BAND = 240  # rows rendered at once
SKY = 4.0  # times as far as the farthest thing
KINDS: dict[str, Degradation] = {"edges": MILD, "real": REAL}
METHODS = ("coarse", "nearest", "bilinear", "edge-aware", "refined", "refined point map")


@dataclass(frozen=True, slots=True)
class TrueView:
    """image ``uint8 [H, W, 3]``; depth ``float32 [H, W]`` m, exact, inf where the sky is; pose: in the first view's camera."""

    image: np.ndarray
    depth: np.ndarray
    camera: Camera
    pose: Pose

    @property
    def world(self) -> np.ndarray:
        """World from camera, ``[3, 4]``."""
        return np.concatenate((self.pose.rotation, self.pose.position[:, None]), 1)


def film_views() -> list[TrueView]:
    """The bundled film."""
    film = Film()
    height, width = FILM_SIZE
    return [TrueView(v.image, v.depth, v.camera, pose) for v, pose in zip(film.views(width, height), film.poses(), strict=True)]


def room_views(seed: int) -> list[TrueView]:
    """Three views that look at the same part of a room, 0.3 m apart."""
    textures = build_textures(seed)
    camera = Camera.from_hfov(ROOM_SIZE[1], ROOM_SIZE[0], 70.0)
    renderer, placed = clear_scene(np.random.default_rng((seed, 41)), textures, camera, CPU)
    renderer.expose(camera, placed.pose)
    poses = [Pose(rotation_ypr(-0.06 * i, 0.01 * i, 0.0), np.array([0.3 * i, -0.05 * i, 0.04 * i])) for i in range(3)]
    return [_room_view(renderer, placed.pose, camera, pose) for pose in poses]


def _room_view(renderer: Renderer, start: Pose, camera: Camera, pose: Pose) -> TrueView:
    there = Pose(start.rotation @ pose.rotation, start.position + start.rotation @ pose.position)
    fine, bands = camera.resized(2 * camera.width, 2 * camera.height), []
    for y in range(0, fine.height, 2 * BAND):
        rendered = renderer.render(fine, there, (0, y, fine.width, min(2 * BAND, fine.height - y)))
        bands.append(area_downsample(rendered.image, 2))
    return TrueView(to_uint8(torch.cat(bands)), renderer.render(camera, there).depth.numpy(), camera, pose)


def store(folder: Path, number: int, view: TrueView, kind: str) -> None:
    """``number.npz``: the network's simulated answer for a view, see ``StoredViews``."""
    rng = np.random.default_rng((number, 7))
    finer = point_sampled(view.depth, 2 * NETWORK_PX, SKY)
    depth, features = simulate_coarse(rng, finer, KINDS[kind], (NETWORK_PX, NETWORK_PX), warped=False)
    camera = view.camera.resized(depth.shape[1], depth.shape[0])
    k = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1]])
    arrays: dict[str, Any] = {
        "depth": depth,
        "features": features,
        "K": k,
        "camera_from_world": inverse(view.world),
        "metric": True,
        "points": moved(rays(camera) * depth, view.world),
        "point_features": features,
    }
    np.savez(folder / f"{number}.npz", **arrays)


def refined_views(folder: Path, views: list[TrueView], geometry: Geometry) -> Iterator[RefinedView]:
    """As ``depth-retrofit reconstruct --coarse`` does it."""
    model = StoredViews(folder, [str(i) for i in range(len(views))], CPU)
    images = [partial(_image, view) for view in views]
    return reconstruct(model, load_refiner(None, CPU, precision="float32"), images, geometry=geometry).views


def _image(view: TrueView) -> np.ndarray:
    return view.image


def clouds(views: list[TrueView], kind: str) -> tuple[dict[str, list[np.ndarray]], list[float]]:
    """For each method the views' points ``float32 [3, h, w]`` in the world, in the order of the views; each view's time [ms]."""
    out: dict[str, list[np.ndarray]] = {name: [] for name in ("truth", *METHODS)}
    times: list[float] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, view in enumerate(views):
            store(folder, number, view, kind)
        for view, refined in zip(views, refined_views(folder, views, "depth"), strict=True):
            coarse, size = refined.frame.coarse, view.depth.shape
            out["truth"].append(_points(view.depth, view))
            out["coarse"].append(_points(coarse.numpy(), view))
            out["nearest"].append(_points(upsample(coarse, size, "nearest").numpy(), view))
            out["bilinear"].append(_points(upsample(coarse, size, "bilinear").numpy(), view))
            out["edge-aware"].append(_points(refined.frame.base.numpy(), view))
            out["refined"].append(refined.points)
            times.append(sum(refined.frame.times_ms.values()))
        out["refined point map"] = [view.points for view in refined_views(folder, views, "points")]
    return out, times


def _points(depth: np.ndarray, view: TrueView) -> np.ndarray:
    return moved(rays(view.camera.resized(depth.shape[1], depth.shape[0])) * depth, view.world)


def compared(points: list[np.ndarray], views: list[TrueView]) -> np.ndarray:
    """Of points ``[3, h, w]`` those that are compared, where the truth is known: ``float32 [N, 3]``."""
    parts = []
    for cloud, view in zip(points, views, strict=True):
        height, width = view.depth.shape
        if cloud.shape[1:] == view.depth.shape:
            rows, columns = np.arange(STRIDE // 2, height, STRIDE), np.arange(STRIDE // 2, width, STRIDE)
            known = np.isfinite(view.depth[np.ix_(rows, columns)])
            parts.append(cloud[:, rows[:, None], columns][:, known].T)
        else:  # at the network's size
            known = np.isfinite(point_sampled(np.where(np.isfinite(view.depth), view.depth, np.inf), max(cloud.shape[1:]), np.inf))
            parts.append(cloud[:, known].T)
    return np.concatenate(parts)


def measure(views: list[TrueView], by_method: dict[str, list[np.ndarray]]) -> dict[str, dict[str, float]]:
    """The table of one scene."""
    truth, rows = compared(by_method["truth"], views), {}
    for name in METHODS:
        result = compare_clouds(compared(by_method[name], views), truth, TOLERANCES_M)
        row = {
            "accuracy_cm": 100 * result.accuracy,
            "completeness_cm": 100 * result.completeness,
            "overall_cm": 100 * result.overall,
        }
        for score in result.scores:
            cm = f"{100 * score.tolerance:g}cm"
            row |= {f"accuracy_{cm}": score.accuracy, f"completeness_{cm}": score.completeness, f"f_{cm}": score.f_score}
        rows[name] = {key: round(value, 4) for key, value in row.items()}
        print(
            f"  {name:18}"
            + "  ".join(f"{key} {rows[name][key]:.3f}" for key in ("accuracy_cm", "completeness_cm", "f_1cm", "f_2cm", "f_5cm")),
            flush=True,
        )
    return rows


def picture(views: list[TrueView], by_method: dict[str, list[np.ndarray]], size: tuple[int, int] = (405, 540)) -> np.ndarray:
    """Truth, coarse and refined cloud, seen from beside the first camera."""
    height, width = size
    camera = Camera.from_hfov(width, height, 60.0)
    middle = float(np.median(views[0].depth))
    turn = rotation_ypr(0.5, -0.12, 0.0)
    eye = np.array([0, 0, middle]) - turn @ np.array([0, 0, 1.15 * middle])
    pose = inverse(np.concatenate((turn, eye[:, None]), 1))
    panels = []
    for name in ("truth", "bilinear", "refined"):
        panels.append((name, splat([(moved(p, pose), v.image) for p, v in zip(by_method[name], views, strict=True)], camera)))
    return side_by_side(panels, width)


def splat(parts: list[tuple[np.ndarray, np.ndarray]], camera: Camera) -> np.ndarray:
    """Points ``[3, H, W]`` in the camera with their images, drawn as pixels, the nearest on top; white where none is."""
    out = np.full((camera.height, camera.width, 3), 255, np.uint8)
    points = np.concatenate([p.reshape(3, -1) for p, _ in parts], 1)
    colors = np.concatenate([image.reshape(-1, 3) for _, image in parts])
    with np.errstate(invalid="ignore", divide="ignore"):
        x = np.rint(points[0] / points[2] * camera.fx + camera.cx)
        y = np.rint(points[1] / points[2] * camera.fy + camera.cy)
    seen = (points[2] > 0.05) & (x >= 0) & (x < camera.width) & (y >= 0) & (y < camera.height)
    order = np.argsort(-points[2][seen], kind="stable")
    out[y[seen][order].astype(int), x[seen][order].astype(int)] = colors[seen][order]
    return out


def main() -> None:
    """Print and store the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True, metavar="OUT")
    parser.add_argument("--picture", type=Path, metavar="OUT", help="the clouds of the film from another side")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="the same of every scene")
    args = parser.parse_args()
    scenes: dict[str, Callable[[], list[TrueView]]] = {"film": film_views, f"room {ROOM}": partial(room_views, ROOM)}
    results: dict[str, Any] = {}
    for name, make in scenes.items():
        views = make()
        for kind in KINDS:
            by_method, times = clouds(views, kind)
            print(f"{name}, {kind}: {len(views)} views, {np.mean(times):.0f} ms a view", flush=True)
            results[f"{name}, {kind}"] = measure(views, by_method)
            write_text(args.json, json.dumps(results, indent=1) + "\n")
            if args.picture is not None and (name, kind) == ("film", "edges"):
                write_image(args.picture, picture(views, by_method))
            if args.pictures is not None:
                write_image(args.pictures / f"{name.replace(' ', '_')}_{kind}.png", picture(views, by_method))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
