"""What tiles say of the same place: neighbours where they overlap, in another order, and alone against in company."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.evaluation.baselines.upsampling import bilinear
from depth_retrofit_ros.evaluation.metrics.alignment import fit
from depth_retrofit_ros.evaluation.metrics.pointwise import abs_rel
from depth_retrofit_ros.evaluation.metrics.seams import overlap_error
from depth_retrofit_ros.evaluation.metrics.tiles import Look, change_by_order, each_alone
from depth_retrofit_ros.evaluation.report.nulls import mean_of, or_none
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.refinement.base import RefinerInput
from depth_retrofit_ros.refinement.tiles.layout import TileLayout, blended, fullest, held
from depth_retrofit_ros.refinement.tiles.refiner import TileRefiner
from refiner_table.accuracy import FrameSet
from refiner_table.systems import System, recorded_input

TILES = 16  # that are seen together


@torch.inference_mode()
def seams(system: System, frames: FrameSet, budget: float) -> Entry | None:
    """Means over the frames; None for a refiner that sees no tiles.

    ``overlap_together``, ``overlap_alone``: see ``overlap_error``, of tiles that overlap by half, as in PatchFusion's evaluation;
    all seen at once, or each alone; ``change``: mean |ln(refined / coarse)| there, to compare with. ``order``: the most that ln
    depth changes where the tiles come in another order. ``abs_rel_together``, ``abs_rel_alone``: at the selected pixels of 16.
    """
    refiner = system.refiner()
    if not isinstance(refiner, TileRefiner):
        return None
    rows = []
    for sample, coarse in frames:
        given = recorded_input(coarse, sample.frame, budget)
        if min(given.size) < refiner.network.side:
            continue
        scale = fit(bilinear(sample.frame.image, coarse.prediction.depth), sample.depth, "median", inverse=False).scale
        rows.append(
            _overlaps(refiner, given) | _company(refiner, given, np.where(np.isfinite(sample.depth), sample.depth, np.nan), scale)
        )
    if not rows:
        return None
    return {key: mean_of(or_none(row[key]) for row in rows) for key in rows[0]} | {"order": max(row["order"] for row in rows)}


def _overlaps(refiner: TileRefiner, given: RefinerInput) -> dict[str, float]:
    side = refiner.network.side
    layout = TileLayout(given.size, side, side // 2)
    tiles = fullest(held(layout, given.pixels), min(TILES, layout.total))
    starts, selected = layout.origins(tiles).numpy(), given.pixels.mask().numpy()
    look = _look(refiner, given, layout)
    together, alone = look(tiles), each_alone(look, tiles)
    inside = np.stack([selected[y : y + side, x : x + side] for y, x in starts])
    return {
        "overlap_together": overlap_error(starts, together.numpy(), selected),
        "overlap_alone": overlap_error(starts, alone.numpy(), selected),
        "change": float(np.abs(together.numpy())[inside].mean(dtype=np.float64)),
    }


def _company(refiner: TileRefiner, given: RefinerInput, truth: np.ndarray, scale: float) -> dict[str, float]:
    network = refiner.network
    layout = TileLayout(given.size, network.side, network.overlap)
    tiles = fullest(held(layout, given.pixels), min(TILES, layout.total))
    look = _look(refiner, given, layout)
    together = look(tiles)
    order = change_by_order(look, tiles, together, torch.Generator().manual_seed(0))
    pixels = given.pixels.indices
    base, true = given.depth.flatten()[pixels], truth.reshape(-1)[pixels.numpy()]
    errors = {}
    for name, changes in (("together", together), ("alone", each_alone(look, tiles))):
        values, share = blended(layout, tiles, changes[..., None], pixels)
        depth = (base * values[:, 0].exp() * scale).numpy()
        errors[f"abs_rel_{name}"] = abs_rel(depth, true, share.numpy() > 0)
    return {"order": order, **errors}


def _look(refiner: TileRefiner, given: RefinerInput, layout: TileLayout) -> Look:
    """ln(refined / coarse) of tiles, ``[T, S, S]``."""
    counts = held(layout, given.pixels)
    return lambda tiles: refiner.look(given, layout, tiles, counts)[0][..., 0]
