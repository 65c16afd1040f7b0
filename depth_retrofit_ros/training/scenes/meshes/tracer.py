"""Rays against a triangle soup, by Embree."""

from __future__ import annotations

import platform
from typing import Any

import numpy as np

from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.scenes.meshes import kernels
from depth_retrofit_ros.training.scenes.meshes.soup import LINEAR, Soup

MOST_HOLES = 24  # cut-out surfaces that one ray passes; beyond them it ends
MACHINE = "x86_64"  # for which the extra ``train`` installs embreex
FAR = 1e5  # in lengths of a ray: beyond everything


def missing_embreex(why: str) -> DatasetError:
    """What to do about it on this machine."""
    machine = platform.machine()
    if machine == MACHINE:
        return DatasetError(f"rooms and streets need embreex ({why}): pip install 'depth_retrofit_ros[train]'")
    return DatasetError(
        f"rooms and streets need embreex ({why}), which is not packaged for {platform.system()} on {machine}: render the pool on "
        f"{MACHINE}, or choose other --worlds"
    )


class Tracer:
    """A soup made ready for rays. Raises DatasetError where embreex is not installed."""

    def __init__(self, soup: Soup) -> None:
        try:
            from embreex.mesh_construction import TriangleMesh
            from embreex.rtcore_scene import EmbreeScene
        except ImportError as error:
            raise missing_embreex(str(error)) from None
        self.soup = soup
        cut = soup.holes[soup.surface]
        # Two sets: only rays that meet a cut-out surface pay for looking into its texture.
        self._parts = []
        for chosen in (np.flatnonzero(~cut), np.flatnonzero(cut)):
            if len(chosen):
                scene: Any = EmbreeScene()
                mesh = TriangleMesh(scene, np.ascontiguousarray(soup.points[chosen]))
                self._parts.append((scene, mesh, chosen.astype(np.int32), bool(cut[chosen[0]])))

    def hit(
        self, origin: np.ndarray, ray: np.ndarray, reach: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First hits of rays [N, 3] within ``reach`` times their length: triangle [N] (−1: none), and u, v on it."""
        origin, ray = np.ascontiguousarray(origin, np.float32), np.ascontiguousarray(ray, np.float32)
        limit = np.full(len(ray), FAR, np.float32) if reach is None else reach.astype(np.float32)
        prim, u, v = np.full(len(ray), -1, np.int32), np.zeros(len(ray), np.float32), np.zeros(len(ray), np.float32)
        for part in self._parts:
            found, part_u, part_v, t = self._through_holes(part, origin, ray, limit)
            closer = found >= 0
            prim[closer], u[closer], v[closer], limit[closer] = found[closer], part_u[closer], part_v[closer], t[closer]
        return prim, u, v

    def blocked(self, origin: np.ndarray, ray: np.ndarray) -> np.ndarray:
        """bool [N]: whether anything lies on the ray before its end, a hair before t = 1."""
        origin, ray = np.ascontiguousarray(origin, np.float32), np.ascontiguousarray(ray, np.float32)
        reach = np.full(len(ray), 0.999, np.float32)
        blocked = np.zeros(len(ray), bool)
        for part in self._parts if len(ray) else ():
            open_ = np.flatnonzero(~blocked)
            if part[3]:
                blocked[open_] = self._through_holes(part, origin[open_], ray[open_], reach[open_])[0] >= 0
            else:
                blocked[open_] = np.asarray(part[0].run(origin[open_], ray[open_], dists=reach[open_], query="OCCLUDED")) == 0
        return blocked

    def _through_holes(self, part: Any, origin: np.ndarray, ray: np.ndarray, reach: np.ndarray) -> tuple[np.ndarray, ...]:
        """First hits with one set of triangles: triangle of the soup, u, v, t. Rays go on where they meet a hole."""
        scene, _, chosen, cut = part
        if not len(ray):
            return np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32), np.zeros(0, np.float32)
        first = scene.run(origin, ray, dists=reach, output=1)
        u, v, t = first["u"], first["v"], first["tfar"]
        prim = np.where(first["primID"] >= 0, chosen[first["primID"]], -1)
        for _ in range(MOST_HOLES if cut else 0):
            open_ = self._open(prim, u, v).nonzero()[0]
            if not open_.size:
                break
            # On from a hair behind the hole; distances are still measured from the ray's start.
            start = t[open_] * (1 + 1e-5) + 1e-4 / np.maximum(np.linalg.norm(ray[open_], axis=1), 1e-6)
            moved = (origin[open_] + start[:, None] * ray[open_]).astype(np.float32)
            left = np.maximum(reach[open_] - start, 0).astype(np.float32)
            again = scene.run(moved, ray[open_], dists=left, output=1)
            prim[open_] = np.where(again["primID"] >= 0, chosen[again["primID"]], -1)
            u[open_], v[open_], t[open_] = again["u"], again["v"], again["tfar"] + start
        return prim, u, v, t

    def _open(self, prim: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        s = self.soup
        open_: np.ndarray = kernels.holes(prim, u, v, s.uv, s.surface, s.texture, s.holes, s.texels, LINEAR, s.table)
        return open_
