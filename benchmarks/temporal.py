"""What memory over time does to rendered video with exact depth: flicker, accuracy, edges of moving things, coverage, and its cost.

    python benchmarks/temporal.py --json benchmarks/results/temporal.json

Rooms and streets, seen by a camera that stands and by one that moves, a ball flying through each; noise as of a camera. Each
sequence once with the bundled coarse model and once with simulated coarse maps whose edges, warp and scale change from frame to
frame. The constants of ``temporal`` were chosen while looking at ``TUNED``; nobody looked at ``HELD_OUT`` before they were. All of
it is repeatable but the times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarseModel, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.evaluation.metrics.edges import boundary_f1
from depth_retrofit_ros.evaluation.report.results import to_json
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.depth_files import write_text
from depth_retrofit_ros.refinement.registry import DEFAULT as REFINER
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.temporal.steadiness import Steadiness
from depth_retrofit_ros.training.degradations import MILD, point_sampled, simulate_coarse
from depth_retrofit_ros.training.fields import smooth_noise
from depth_retrofit_ros.training.scenes.layout import random_scene
from depth_retrofit_ros.training.scenes.render import Renderer
from depth_retrofit_ros.training.scenes.scene import Kind, Pose, Scene, rotation_ypr
from depth_retrofit_ros.training.scenes.sensor import Sensor
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures

WIDTH, HEIGHT, FRAMES, RATE_HZ, HFOV_DEG = 1280, 720, 16, 10.0, 70.0
BUDGET = 0.1
TUNED = (("room", 3), ("street", 5), ("room", 21), ("street", 34))
HELD_OUT = (("room", 55), ("street", 89), ("room", 144), ("street", 233))
FIGURES = {"abs_rel": 1, "scaled_abs_rel": 1, "boundary_f1": -1, "ball_edge": 1}
"""Name → 1 where less is better, −1 where more is."""
NOISE = 0.012  # of full scale at mid grey, as of a camera indoors
SCALE_JITTER, WARP = 0.04, 0.02  # of the simulated maps, deviation of ln depth from frame to frame
LONG_SIDE = 256  # of the simulated maps
EDGE_PX = 4  # how far from the ball's outline its edge reaches
SAME_SURFACE = 0.01  # |ln| of true depths of one surface seen from two places
BIG = 2560, 1440
REPEATS = 4


@dataclass(frozen=True, slots=True)
class View:
    """image ``uint8 [H, W, 3]``; depth ``float32 [H, W]`` m, inf in the sky; ball: bool [H, W]; pose: of the camera."""

    image: np.ndarray
    depth: np.ndarray
    ball: np.ndarray
    pose: Pose


class Simulated:
    """A coarse model whose answers change from frame to frame: edges, a smooth warp, and the scale."""

    name = "simulated"
    claim = ScaleClaim("metric", "camera")
    device = torch.device("cpu")

    def __init__(self, views: list[View], seed: int) -> None:
        self._answers = [self._answer(view, np.random.default_rng((seed, i))) for i, view in enumerate(views)]

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        assert hints.stamp_ns is not None
        return self._answers[number_of(hints.stamp_ns)]

    @staticmethod
    def _answer(view: View, rng: np.random.Generator) -> CoarsePrediction:
        truth = point_sampled(view.depth, 2 * LONG_SIDE, sky=1.5)
        coarse, features = simulate_coarse(rng, truth, MILD, (LONG_SIDE, LONG_SIDE), warped=False)
        factor = np.exp(rng.normal(0, SCALE_JITTER) + WARP * smooth_noise(rng, coarse.shape, 3.0)).astype(np.float32)
        return CoarsePrediction(torch.from_numpy(coarse * factor), torch.from_numpy(features))


def stamp_of(number: int) -> int:
    return round((number + 1) * 1e9 / RATE_HZ)


def number_of(stamp_ns: int) -> int:
    return round(stamp_ns * 1e-9 * RATE_HZ) - 1


def _standing(s: float) -> tuple[np.ndarray, np.ndarray]:
    return np.eye(3), np.zeros(3)


def _moving(s: float) -> tuple[np.ndarray, np.ndarray]:
    return rotation_ypr(0.12 * s, 0.02 * np.sin(3 * s), 0.01 * np.sin(5 * s)), np.array([0.15 * s, 0.03 * np.sin(6 * s), 0.35 * s])


def _turning(s: float) -> tuple[np.ndarray, np.ndarray]:
    return rotation_ypr(1.2 * s, 0.03 * np.sin(5 * s), 0.02 * np.sin(7 * s)), np.array([0.1 * s, 0.0, 0.2 * s])


PATHS: dict[str, Callable[[float], tuple[np.ndarray, np.ndarray]]] = {
    "standing": _standing,
    "moving": _moving,
    "turning": _turning,
}
"""How the camera goes: 0…1, the time → its rotation and shift [m] since the beginning. Turning: at 46° a second."""


def video(kind: str, seed: int, path: str, textures: TextureStack, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[View]:
    """One sequence. path: of ``PATHS``."""
    rng = np.random.default_rng((seed, 13))
    camera = Camera.from_hfov(*size, HFOV_DEG)
    scene, pose = _clear(kind, rng, textures, camera)
    shots = np.random.default_rng((seed, 14))
    sensor = Sensor(blur_px=0.6, gain=1.0, balance=np.ones(3, np.float32), noise=NOISE, jpeg=0)
    exposed, views = None, []
    for i in range(FRAMES):
        s = i / (FRAMES - 1)
        turn, shift = PATHS[path](s)
        seen = Pose(pose.rotation @ turn, pose.position + pose.rotation @ shift)
        at = pose.position + pose.rotation @ np.array([1.0 * s - 0.5, 0.1 * np.sin(6 * s), 1.6])
        renderer = Renderer(_with_ball_at(scene, at), textures)
        if exposed is None:
            renderer.expose(camera, pose)
            exposed = renderer.exposure
        renderer.exposure = exposed
        rendered = renderer.render(camera, seen)
        x, y, z = (np.asarray(at) - seen.position) @ seen.rotation
        depth = rendered.depth.numpy()
        views.append(View(sensor.shoot(rendered.image.numpy(), shots), depth, _ball(depth, camera, (x, y, z)), seen))
    return views


BALL_M = 0.14


def _with_ball_at(scene: Scene, at: np.ndarray) -> Scene:
    """The scene with its first primitive but the room's own as a ball: it has a material already."""
    values = {name: getattr(scene, name) for name in ("kind", "center", "rotation", "half", "cutout", "texture", "scale_m", "tint")}
    more = {name: torch.cat([value, value[-1:]]) for name, value in values.items()}
    more["kind"][-1], more["center"][-1], more["half"][-1] = int(Kind.ELLIPSOID), torch.tensor(at).float(), torch.full((3,), BALL_M)
    more["rotation"][-1], more["cutout"][-1] = torch.eye(3), -1
    more["tint"][-1] = torch.tensor([1.2, 0.5, 0.3])
    for name in ("gloss", "cutout_scale_m", "casts"):
        value = getattr(scene, name)
        more[name] = torch.cat([value, value[-1:]])
    more["casts"][-1] = False
    return Scene(light=scene.light, **more)


def _ball(depth: np.ndarray, camera: Camera, at: tuple[float, float, float]) -> np.ndarray:
    """Where the ball is seen: its points are as far from its centre as it is large."""
    height, width = depth.shape
    x = (np.arange(width) - camera.cx) / camera.fx * depth - at[0]
    y = ((np.arange(height) - camera.cy) / camera.fy)[:, None] * depth - at[1]
    with np.errstate(invalid="ignore"):
        return np.abs(np.sqrt(x * x + y * y + (depth - at[2]) ** 2) - BALL_M) < 0.005


def _clear(kind: str, rng: np.random.Generator, textures: TextureStack, camera: Camera) -> tuple[Scene, Pose]:
    """A scene of this kind seen from free space, with some depth contrast."""
    while True:
        placed = random_scene(rng, textures)
        if placed.kind != kind:
            continue
        depth = Renderer(placed.scene, textures).render(camera.resized(96, 54), placed.pose).depth
        known = depth[torch.isfinite(depth)]
        if known.numel() > 0.7 * depth.numel() and known.amin() > 1.0 and known.quantile(0.9) > 2 * known.quantile(0.1):
            return placed.scene, placed.pose


def run(views: list[View], retrofit: Retrofit) -> tuple[list[np.ndarray], list[float], list[float]]:
    """Depth of every frame, the factor on its scale, and the share of the pixels that are settled after it."""
    camera = Camera.from_hfov(views[0].image.shape[1], views[0].image.shape[0], HFOV_DEG)
    depths, scales, shares = [], [], []
    for i, view in enumerate(views):
        result = retrofit(Frame(view.image, stamp_of(i), "camera", camera))
        depths.append(result.depth.numpy().copy())
        scales.append(result.temporal_scale)
        settled = None if retrofit.temporal is None else retrofit.temporal.settled
        shares.append(result.refined_pixels / result.depth.numel() if settled is None else settled.share)
    return depths, scales, shares


def pairs(views: list[View]) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each two frames in a row: pixels of the later one, and where the same surface was in the one before, flat indices."""
    camera = Camera.from_hfov(views[0].image.shape[1], views[0].image.shape[0], HFOV_DEG)
    height, width = views[0].depth.shape
    rays = np.stack(
        np.broadcast_arrays(
            (np.arange(width) - camera.cx) / camera.fx, ((np.arange(height) - camera.cy) / camera.fy)[:, None], 1.0
        ),
        -1,
    )
    found = []
    for before, now in pairwise(views):
        known = np.isfinite(now.depth) & ~now.ball
        points = rays[known] * now.depth[known][:, None]
        there = (points @ now.pose.rotation.T + now.pose.position - before.pose.position) @ before.pose.rotation
        x = np.rint(camera.fx * there[:, 0] / there[:, 2] + camera.cx).astype(np.int64)
        y = np.rint(camera.fy * there[:, 1] / there[:, 2] + camera.cy).astype(np.int64)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (there[:, 2] > 0)
        flat = np.flatnonzero(known)[inside]
        was = y[inside] * width + x[inside]
        same = np.abs(np.log(before.depth.ravel()[was] / there[inside, 2])) < SAME_SURFACE
        same &= ~before.ball.ravel()[was]
        found.append((flat[same], was[same]))
    return found


def figures(views: list[View], depths: list[np.ndarray], surfaces: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
    """Means over the frames. flicker, flicker_p95: median and 95th percentile of |change of ln(depth / true depth)| of static
    surfaces from one frame to the next; abs_rel; scaled_abs_rel, each frame scaled by its median; boundary_f1; ball_edge: mean
    |ln error| around the ball's outline, scaled likewise."""
    with np.errstate(divide="ignore"):  # of the sky, which no figure has
        errors = [np.log(depth / view.depth) for depth, view in zip(depths, views, strict=True)]
    steps = zip(pairwise(errors), surfaces, strict=True)
    change = [np.abs(after.ravel()[at] - before.ravel()[was]) for (before, after), (at, was) in steps]
    rows = []
    for depth, view, error in zip(depths, views, errors, strict=True):
        known = np.isfinite(view.depth)
        scaled = error - np.median(error[known])
        edge = cv2.morphologyEx(view.ball.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((2 * EDGE_PX + 1,) * 2, np.uint8)) > 0
        truth = np.where(known, view.depth, np.float32(np.nan))
        rows.append(
            [
                np.mean(np.abs(np.expm1(error[known]))),
                np.mean(np.abs(np.expm1(scaled[known]))),
                boundary_f1(depth, truth),
                np.mean(np.abs(scaled[edge & known])) if (edge & known).any() else np.nan,
            ]
        )
    told = dict(zip(("abs_rel", "scaled_abs_rel", "boundary_f1", "ball_edge"), np.nanmean(rows, axis=0), strict=True))
    flicker = {"flicker": np.mean([np.median(c) for c in change]), "flicker_p95": np.mean([np.percentile(c, 95) for c in change])}
    return {name: float(value) for name, value in (flicker | told).items()}


def cost(retrofit: Retrofit, image: np.ndarray, camera: Camera) -> dict[str, Any]:
    """Median time of a frame of this size without memory and with it, taken in turns [ms]; a standing camera and a turning one."""
    told: dict[str, Any] = {"width": image.shape[1], "height": image.shape[0], "threads": torch.get_num_threads()}
    rng = np.random.default_rng(0)
    for name, step in (("standing", 0), ("moving", 24)):
        memory = Steadiness()
        times: dict[bool, list[float]] = {False: [], True: []}
        stages: dict[bool, list[dict[str, float]]] = {False: [], True: []}
        for i in range(REPEATS + 2):
            noise = rng.integers(-3, 4, image.shape, dtype=np.int16)
            shown = np.clip(np.roll(image, i * step, axis=1) + noise, 0, 255).astype(np.uint8)
            for steady in (False, True):
                retrofit.temporal = memory if steady else None
                start = time.perf_counter()
                made = retrofit(Frame(shown, stamp_of(i), "camera", camera))
                times[steady].append(1e3 * (time.perf_counter() - start))
                stages[steady].append(made.times_ms)
        off, on = (float(np.median(times[steady][2:])) for steady in (False, True))
        told[name] = {"off_ms": off, "on_ms": on, "ratio": on / off} | {
            f"{word}_stages_ms": {
                stage: float(np.median([row[stage] for row in stages[steady][2:]])) for stage in stages[steady][0]
            }
            for word, steady in (("off", False), ("on", True))
        }
    return told


def table(document: dict[str, Any], held_out: bool) -> str:
    """Of the results on scenes of this kind, for docs/temporal.md: each figure without memory and with it."""
    names = {"flicker": "flicker", "abs_rel": "AbsRel", "scaled_abs_rel": "scaled", "boundary_f1": "F1", "ball_edge": "ball's edge"}
    rows = [f"| scene, camera | model | {' | '.join(names.values())} | settled after 5 frames |", f"|{'---|' * (len(names) + 3)}"]
    for row in document["sequences"]:
        if ((row["scene"], row["seed"]) in HELD_OUT) != held_out:
            continue
        cells = [f"{row['off'][name]:.4f} → {row['on'][name]:.4f}" for name in names]
        rows.append(
            f"| {row['scene']} {row['seed']}, {row['camera']} | {row['model']} | {' | '.join(cells)} | {row['settled'][4]:.0%} |"
        )
    return "\n".join(rows) + "\n"


def worse(document: dict[str, Any]) -> str:
    """Every figure that is worse with memory than without it, for docs/temporal.md."""
    lines = []
    for row in document["sequences"]:
        named = f"{row['scene']} {row['seed']}, {row['camera']}, {row['model']}"
        for name, sign in FIGURES.items():
            off, on = row["off"][name], row["on"][name]
            if sign * (on - off) > 1e-9:
                lines.append(f"- {named}: {name} {off:.4f} → {on:.4f} ({on / off - 1:+.1%})")
        if row["on"]["flicker"] > 0.5 * row["off"]["flicker"]:
            lines.append(f"- {named}: flicker is {row['on']['flicker'] / row['off']['flicker']:.0%} of that without, not half")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "temporal.json")
    parser.add_argument("--scenes", type=int, default=len(TUNED + HELD_OUT), help="only the first ones")
    args = parser.parse_args()
    textures, device = build_textures(13), torch.device("cpu")
    refiner, compact = load_refiner(REFINER, device), load_coarse("compact", weights=None, device="cpu")
    sequences, last = [], np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for kind, seed in (TUNED + HELD_OUT)[: args.scenes]:
        for path in ("standing", "moving"):
            start = time.perf_counter()
            views = video(kind, seed, path, textures)
            surfaces = pairs(views)
            rendered_s = time.perf_counter() - start
            models: dict[str, CoarseModel] = {"compact": compact, "simulated": Simulated(views, seed)}
            for name, coarse in models.items():
                entry: dict[str, Any] = {"scene": kind, "seed": seed, "camera": path, "model": name}
                for word, memory in (("off", None), ("on", Steadiness())):
                    depths, scales, shares = run(views, Retrofit(coarse, refiner, BUDGET, temporal=memory))
                    entry[word] = figures(views, depths, surfaces)
                    if memory is not None:
                        entry |= {"temporal_scale": scales, "settled": shares}
                sequences.append(entry)
                told = ", ".join(f"{key} {value:.4f} -> {entry['on'][key]:.4f}" for key, value in entry["off"].items())
                print(
                    f"{kind} {seed} {entry['camera']} {name}: {told}; settled {shares[0]:.2f} {shares[4]:.2f} {shares[-1]:.2f}",
                    flush=True,
                )
            print(f"  ({rendered_s:.0f} s to render, {time.perf_counter() - start:.0f} s in all)", flush=True)
            last = views[0].image
    big = cv2.resize(last, BIG, interpolation=cv2.INTER_CUBIC)
    timed = cost(Retrofit(compact, refiner, BUDGET), big, Camera.from_hfov(*BIG, HFOV_DEG))
    print(timed)
    settings = {"width": WIDTH, "height": HEIGHT, "frames": FRAMES, "rate_hz": RATE_HZ, "budget": BUDGET, "noise": NOISE,
                "scale_jitter": SCALE_JITTER, "warp": WARP}  # fmt: skip
    write_text(args.json, to_json({"settings": settings, "sequences": sequences, "cost": timed}))


if __name__ == "__main__":
    main()
