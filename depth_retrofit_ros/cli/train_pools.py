"""The scenes of ``depth-retrofit train``: divided among worlds, checked before anything is rendered, rendered."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import positive
from depth_retrofit_ros.errors import ModelError

if TYPE_CHECKING:
    from depth_retrofit_ros.training.group import Group
    from depth_retrofit_ros.training.pool import PoolSpec

KINDS = ("room", "street", "clutter", "leaves")
VALIDATION_SEED = 900  # scenes and textures of the held-out pool; training seeds must differ


@dataclass(frozen=True, slots=True)
class WorldShare:
    """A world's name and its weight among the others."""

    name: str
    share: float

    def __str__(self) -> str:
        return self.name if self.share == 1 else f"{self.name}:{self.share:g}"


def world_share(text: str) -> WorldShare:
    """NAME or NAME:SHARE."""
    name, colon, share = text.partition(":")
    return WorldShare(name, positive(share) if colon else 1.0)


def divided(count: int, worlds: Sequence[WorldShare]) -> list[int]:
    """``count`` scenes among the worlds by their shares, to the nearest; the sum is ``count``."""
    total = sum(w.share for w in worlds)
    ends = [round(count * sum(w.share for w in worlds[:n]) / total) for n in range(len(worlds) + 1)]
    return [end - start for start, end in itertools.pairwise(ends)]


def pool_specs(args: argparse.Namespace, device: str, split: str) -> list[PoolSpec]:
    """Pools of the split ``train`` or ``validation``, one for each world."""
    from depth_retrofit_ros.training.pool import PoolSpec

    held_out = split == "validation"
    counts = divided(args.held_out if held_out else args.scenes, args.worlds)
    return [
        PoolSpec(
            folder=args.pool,
            count=count,
            crops=args.crops,
            seed=VALIDATION_SEED if held_out else args.seed,
            photos=args.held_out_photos if held_out else args.photos,
            device=device,
            world=world.name,
            assets=args.assets,
            held_out=held_out,
        )
        for world, count in zip(args.worlds, counts, strict=True)
    ]


def check_pools(specs: Sequence[PoolSpec]) -> None:
    """Raises, before hours of rendering, DatasetError or ImageError for worlds that are unknown or whose sources are missing."""
    from depth_retrofit_ros.training.scenes.world import check_world, find_world

    for spec in specs:
        find_world(spec.world)
    for spec in specs:
        if spec.missing():
            check_world(spec.source())


def render_pools(args: argparse.Namespace, split: str, specs: Sequence[PoolSpec], group: Group) -> list[Path]:
    """Files of the scenes, rendered where they are missing. Raises ModelError where none is of the chosen kinds."""
    files = [path for spec in specs for path in _render(args, split, spec, group)]
    if not files:
        count = sum(spec.count for spec in specs)
        raise ModelError(f"none of the {count} {split} scenes is left: give more --scenes or --kinds")
    return files


def _render(args: argparse.Namespace, split: str, spec: PoolSpec, group: Group) -> list[Path]:
    from depth_retrofit_ros.training.pool import PRIMITIVES, build_pool, of_kinds
    from depth_retrofit_ros.training.scenes.world import WORLDS

    name = f"{split} scenes" + ("" if spec.world == PRIMITIVES else f" of {spec.world}")
    workers = 1 if spec.device.startswith("cuda") and WORLDS[spec.world].on_device else args.workers

    def tell(done: int, end: str = "") -> None:
        if group.leads:
            print(f"\r{name} {done}/{spec.count}", end=end, flush=True)

    files = build_pool(spec, workers, tell, group)
    tell(len(files), "\n")
    if spec.held_out or spec.world != PRIMITIVES or set(args.kinds) == set(KINDS):
        return files
    return of_kinds(files, args.kinds)
