"""What the camera's poses add to memory over time, on the rendered video of ``temporal.py``: exact, noisy, and of another time.

    python benchmarks/camera_motion.py --json benchmarks/results/camera_motion.json

Each sequence without memory, with it by the images alone, and with poses besides. A camera that moves slowly, and one that turns at
46° a second. All of it is repeatable but the times.
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from temporal import BUDGET, FRAMES, PATHS, RATE_HZ, Simulated, View, figures, number_of, pairs, run, video

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.evaluation.report.results import to_json
from depth_retrofit_ros.io.depth_files import write_text
from depth_retrofit_ros.refinement.registry import DEFAULT as REFINER
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.temporal.known_motion import KnownMotion
from depth_retrofit_ros.temporal.motion import FlowEstimator
from depth_retrofit_ros.temporal.steadiness import Steadiness
from depth_retrofit_ros.training.scenes.textures import TextureStack, build_textures

SEQUENCES = (("room", 3, "moving"), ("room", 55, "turning"), ("street", 89, "moving"), ("room", 55, "moving"))
TURN_DEG, SHIFT_SHARE, LATE_S = 0.1, 0.01, 0.02
FIGURES = {"flicker": "flicker", "abs_rel": "AbsRel", "scaled_abs_rel": "scaled", "boundary_f1": "F1", "ball_edge": "ball's edge"}
KINDS = ("off", "images", "exact", "noisy", "late")
GRID = 144, 256  # whose motion is timed
ROUNDS = 15


class Poses:
    """The camera's motion by the path that was rendered. turn_deg: deviation of each motion's turn about each axis; shift_share:
    of its shift along each axis, of its length; late_s: by which the stamps of the poses are behind."""

    def __init__(self, path: str, turn_deg: float = 0.0, shift_share: float = 0.0, late_s: float = 0.0) -> None:
        self._path, self._turn, self._share, self._late_s = PATHS[path], np.radians(turn_deg), shift_share, late_s

    def __call__(self, frame_id: str, before_ns: int, now_ns: int) -> KnownMotion:
        """See ``Motions``."""
        (r0, p0), (r1, p1) = (
            self._path((number_of(at_ns) + self._late_s * RATE_HZ) / (FRAMES - 1)) for at_ns in (before_ns, now_ns)
        )
        rng = np.random.default_rng((now_ns, 77))
        turn = cv2.Rodrigues(rng.normal(0, 1, 3) * self._turn)[0]
        shift = r0.T @ (p1 - p0)
        return KnownMotion(turn @ r0.T @ r1, shift + rng.normal(0, 1, 3) * self._share * np.linalg.norm(shift))


class Watched(Steadiness):
    """Counts the frames whose poses the images contradicted."""

    contradicted = 0

    def begin(self, *given: Any) -> Any:
        """See ``Steadiness``."""
        moment = super().begin(*given)
        self.contradicted += self.motion_problem is not None
        return moment


def memories(path: str) -> dict[str, Watched | None]:
    """By what tells the camera's motion: ``KINDS``."""
    poses = None, Poses(path), Poses(path, TURN_DEG, SHIFT_SHARE), Poses(path, late_s=LATE_S)
    return dict(zip(KINDS, (None, *map(Watched, poses)), strict=True))


def sequence(views: list[View], path: str, coarse: CoarseModel) -> dict[str, Any]:
    """Figures by what tells the motion."""
    refiner, surfaces = load_refiner(REFINER, torch.device("cpu")), pairs(views)
    told: dict[str, Any] = {}
    for word, memory in memories(path).items():
        depths, _, _ = run(views, Retrofit(coarse, refiner, BUDGET, temporal=memory))
        told[word] = figures(views, depths, surfaces) | ({} if memory is None else {"contradicted": memory.contradicted})
    return told


def cost() -> dict[str, float]:
    """What the motion of a camera that turns takes [ms], by the images alone and with poses, in turns; medians."""
    rng = np.random.default_rng(0)
    wide = cv2.GaussianBlur(rng.random((GRID[0], GRID[1] + 20, 3), np.float32), (0, 0), 3)
    before, now = (np.ascontiguousarray(wide[:, x : x + GRID[1]]) * 4 - 1.5 for x in (0, 4))
    depth, usable, camera = (2 + rng.random(GRID)).astype(np.float32), np.ones(GRID, bool), Camera.from_hfov(GRID[1], GRID[0], 70.0)
    poses, flow = KnownMotion(cv2.Rodrigues(np.array([0, 4 / camera.fx, 0]))[0], np.array([0.0, 0.0, 0.01])), FlowEstimator()
    times: dict[str, list[float]] = {"images_ms": [], "poses_ms": []}
    for _ in range(ROUNDS):
        for name, known in zip(times, (None, poses), strict=True):
            start = time.perf_counter()
            flow.motion(before, now, depth, usable, camera, known=known, unit=1.0)
            times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(taken)) for name, taken in times.items()}


def rendered(kind: str, seed: int, path: str, textures: TextureStack, folder: Path | None) -> list[View]:
    """One sequence, kept in the folder where there is one."""
    file = None if folder is None else folder / f"{kind}{seed}_{path}.pickle"
    if file is not None and file.exists():
        found: list[View] = pickle.loads(file.read_bytes())
        return found
    views = video(kind, seed, path, textures)
    if file is not None:
        file.write_bytes(pickle.dumps(views))
    return views


def table(document: dict[str, Any]) -> str:
    """For docs/temporal.md: without memory → by the images alone → with exact, noisy, late poses."""
    rows = [f"| scene, camera | model | {' | '.join(FIGURES.values())} | contradicted |", f"|{'---|' * (len(FIGURES) + 3)}"]
    for row in document["sequences"]:
        cells = [" → ".join(f"{row[kind][name]:.4f}" for kind in KINDS) for name in FIGURES]
        refused = " / ".join(str(row[kind]["contradicted"]) for kind in KINDS[2:])
        rows.append(f"| {row['scene']} {row['seed']}, {row['camera']} | {row['model']} | {' | '.join(cells)} | {refused} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "camera_motion.json")
    parser.add_argument("--views", type=Path, help="folder in which rendered sequences are kept")
    args = parser.parse_args()
    textures, compact = build_textures(13), load_coarse("compact", weights=None, device="cpu")
    sequences = []
    for kind, seed, path in SEQUENCES:
        views = rendered(kind, seed, path, textures, args.views)
        models: dict[str, CoarseModel] = {"compact": compact, "simulated": Simulated(views, seed)}
        for name, coarse in models.items():
            sequences.append({"scene": kind, "seed": seed, "camera": path, "model": name} | sequence(views, path, coarse))
            print(table({"sequences": sequences[-1:]}).splitlines()[-1], flush=True)
    settings = {"turn_deg": TURN_DEG, "shift_share": SHIFT_SHARE, "late_s": LATE_S}
    document = {"settings": settings, "sequences": sequences, "cost": cost()}
    print(document["cost"])
    write_text(args.json, to_json(document))


if __name__ == "__main__":
    main()
