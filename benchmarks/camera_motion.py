"""What the camera's poses add to memory over time, on the rendered video of ``temporal.py``: exact, noisy, and of another time.

    python benchmarks/camera_motion.py --json benchmarks/results/camera_motion.json

Each sequence without memory, with it by the images alone, and with poses. A camera that moves slowly, and one that turns at 46° a
second. All of it is repeatable but the times.
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

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.evaluation.report.results import to_json
from depth_retrofit_ros.io.depth_files import write_text
from depth_retrofit_ros.refinement.registry import DEFAULT as REFINER
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.temporal.known_motion import KnownMotion
from depth_retrofit_ros.temporal.steadiness import Steadiness
from depth_retrofit_ros.training.scenes.textures import build_textures

SEQUENCES = (("room", 3, "moving"), ("street", 5, "moving"), ("room", 55, "moving"), ("street", 89, "moving"),
             ("room", 3, "turning"), ("room", 55, "turning"))  # fmt: skip
TURN_DEG, SHIFT_SHARE, LATE_S = 0.1, 0.01, 0.02
FIGURES = {"flicker": "flicker", "abs_rel": "AbsRel", "scaled_abs_rel": "scaled", "boundary_f1": "F1", "ball_edge": "ball's edge"}


class Poses:
    """The camera's motion by the path that was rendered. turn_deg: deviation of each motion's turn about each axis; shift_share: of
    its shift, of its length; late_s: by which the stamps of the poses are behind."""

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
        off = rng.normal(0, 1, 3) * self._share * np.linalg.norm(shift)
        return KnownMotion(turn @ r0.T @ r1, shift + off)


def memories(path: str) -> dict[str, Steadiness | None]:
    """By what tells the camera's motion."""
    return {
        "off": None,
        "images": Steadiness(),
        "exact": Steadiness(Poses(path)),
        "noisy": Steadiness(Poses(path, TURN_DEG, SHIFT_SHARE)),
        "late": Steadiness(Poses(path, late_s=LATE_S)),
    }


def sequence(views: list[View], path: str, models: dict[str, CoarseModel]) -> dict[str, Any]:
    """Figures by model and by what tells the motion, and milliseconds that a memory takes for a frame."""
    refiner, surfaces = load_refiner(REFINER, torch.device("cpu")), pairs(views)
    told: dict[str, Any] = {}
    for name, coarse in models.items():
        told[name] = {}
        for word, memory in memories(path).items():
            used: list[str | None] = []
            if memory is not None and memory.motions is not None:
                begin = memory.begin

                def watched(*given: Any, _begin: Any = begin, _memory: Steadiness = memory, _used: Any = used) -> Any:
                    moment = _begin(*given)
                    _used.append(_memory.motion_problem)
                    return moment

                memory.begin = watched  # type: ignore[method-assign]
            start = time.perf_counter()
            depths, _, shares = run(views, Retrofit(coarse, refiner, BUDGET, temporal=memory))
            took = time.perf_counter() - start
            told[name][word] = figures(views, depths, surfaces) | {"settled": shares[-1], "s": took}
            if used:
                told[name][word]["contradicted"] = sum(problem is not None for problem in used[1:])
    return told
