#!/usr/bin/env python3
"""How wide and how far from the true place are the edges of coarse depth maps: of real models, and of simulated ones.

python benchmarks/edge_statistics.py --real DIR --native NAME=PX ... --frames DIR2 ... --json OUT

``--real``: stored answers NAME.npz (``value [h, w]``, relative depth or disparity) beside their photos NAME.jpg, and the short side
[px] of each model's own answer, which was made larger for storing. ``--frames``: photos with true depth, over which each kind of
``training/degradations.py`` is simulated. All lengths are in pixels of the model's own answer.

width: of the step from 10 to 90 %; off: distance from the nearest strong edge of the photo, and (simulated only) from the nearest
true depth edge; within 2: share of the edges at most two pixels from a strong edge of the photo; chance: of all pixels; lost: share
of the near parts up to 3 and from 4 to 6 pixels wide (``thin``, ``thicker``) that stand out by less than 0.3 of what they should.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import torch

from depth_retrofit_ros.evaluation.data.dataset import find_pairs, read_pair
from depth_retrofit_ros.training.coarse_views import FAR_FACTOR
from depth_retrofit_ros.training.degradations import KINDS, Degradation, point_sampled, simulate_coarse
from depth_retrofit_ros.training.fields import remove_thin
from depth_retrofit_ros.training.pool import VIEW_SIDE
from depth_retrofit_ros.training.traced_edges import Traced

LARGEST = 2048  # px: larger maps are measured at this size
ENLARGED = 3.0  # times its own size, at which a simulated answer is measured, as the stored real ones were enlarged
LEAST_SIDE = 256  # px: long side of the simulated answers that count
PER_FRAME = 12  # simulated answers of each kind
STEP = 0.04  # of the map's range (1st to 99th percentile): smaller ones are no edges
FLAT = 1 / 8
STRONG_EDGES = 0.9  # quantile of the photo's gradients, above which an edge is strong
REACH = 5.0  # px of the answer, along which an edge is looked at to both sides
FINE = 8  # looks per pixel
EDGES = 20_000  # of a map that are looked at
CLEAR = np.log(1.1)  # by which a thin part stands before what is behind
THIN = {"thin": (2, 4), "thicker": (4, 7)}  # sizes of the structuring elements: removed by the second, not by the first
FEWEST_CELLS = 6  # of a thin part
Figures = dict[str, float]


def main() -> None:
    """Measure, print the table, write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, metavar="DIR")
    parser.add_argument("--native", nargs="+", default=[], metavar="NAME=PX", help="short side of each real model's own answer")
    parser.add_argument("--frames", type=Path, nargs="+", default=[], metavar="DIR2")
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    rows: dict[str, dict[str, Figures]] = {"real": {}}
    for name, short in (pair.split("=") for pair in args.native):
        rows["real"][name] = real_figures(args.real, name, float(short))
        print(name, rows["real"][name], flush=True)
    for kind, _ in KINDS:
        figures = [f for folder in args.frames for f in simulated_figures(folder, kind)]
        rows[name_of(kind)] = {str(i): f for i, f in enumerate(figures)}
    table = {name: spread(list(maps.values())) for name, maps in rows.items() if maps}
    args.json.write_text(json.dumps({"table": table, "real maps": rows["real"]}, indent=1) + "\n")
    for name, row in table.items():
        print(f"{name:16s}" + "  ".join(f"{key} {'/'.join(f'{v:.2f}' for v in values)}" for key, values in row.items()))


def name_of(kind: Degradation) -> str:
    """Of a kind in the table: its class, and for those that share one what they smear."""
    return "traced" if isinstance(kind, Traced) else f"smeared to {kind.smeared[1]:g}"  # type: ignore[attr-defined]


def spread(maps: list[Figures]) -> dict[str, list[float]]:
    """10th percentile, median and 90th percentile over the maps of each figure."""
    keys = {key: [f[key] for f in maps if key in f and np.isfinite(f[key])] for key in maps[0]}
    return {key: [round(float(v), 3) for v in np.quantile(values, (0.1, 0.5, 0.9))] for key, values in keys.items() if values}


def real_figures(folder: Path, name: str, short: float) -> Figures:
    """Figures of one stored answer."""
    with np.load(folder / f"{name}.npz") as file:
        value = file["value"].astype(np.float32)
    size = tuple(round(n * min(1.0, LARGEST / max(value.shape))) for n in value.shape[::-1])
    value = cv2.resize(value, size, interpolation=cv2.INTER_AREA)
    photo = cv2.imread(str(folder / f"{name}.jpg"))
    assert photo is not None, f"{name}.jpg is beside {name}.npz"
    return figures_of(value, photo, min(value.shape) / short)


def simulated_figures(folder: Path, kind: Degradation) -> Iterator[Figures]:
    """Figures of ``PER_FRAME`` simulated answers to each frame of the folder."""
    for number, pair in enumerate(find_pairs(folder)):
        sample = read_pair(pair)
        view = point_sampled(sample.depth, VIEW_SIDE, FAR_FACTOR)
        photo = cv2.cvtColor(sample.frame.image, cv2.COLOR_RGB2BGR)
        done, seed = 0, 0
        while done < PER_FRAME:
            depth, _ = simulate_coarse(np.random.default_rng((number, seed)), view, kind)
            seed += 1
            if max(depth.shape) < LEAST_SIDE:
                continue
            done += 1
            true = cv2.resize(view, depth.shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
            size = tuple(round(n * ENLARGED) for n in depth.shape[::-1])
            value = cv2.resize(1 / depth, size, interpolation=cv2.INTER_LINEAR)
            true_large = cv2.resize(1 / view, size, interpolation=cv2.INTER_NEAREST_EXACT)
            yield figures_of(value, photo, ENLARGED, true_large) | lost_parts(np.log(depth), np.log(true))


def figures_of(value: np.ndarray, photo: np.ndarray, scale: float, true: np.ndarray | None = None) -> Figures:
    """value float32 [h, w]: the map, enlarged by ``scale``; photo: uint8 [H, W, 3]; true: the true one at the map's size."""
    grey = cv2.cvtColor(cv2.resize(photo, value.shape[::-1], interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    rows, columns, widths = depth_edges(value, scale)
    far = distance_from(strong_edges(grey)) / scale
    off = far[rows, columns]
    figures = {
        "width 10": quantile(widths, 0.1),
        "width": quantile(widths, 0.5),
        "width 90": quantile(widths, 0.9),
        "off photo": quantile(off, 0.5),
        "off photo 90": quantile(off, 0.9),
        "within 2": float((off <= 2).mean()),
        "chance": float((far <= 2).mean()),
    }
    if true is not None:
        at = np.zeros(value.shape, bool)
        at[depth_edges(true, scale, width=False)[:2]] = True
        off = distance_from(at)[rows, columns] / scale
        figures |= {"off truth": quantile(off, 0.5), "off truth 90": quantile(off, 0.9)}
    return {key: round(figure, 3) for key, figure in figures.items()}


def quantile(values: np.ndarray, share: float) -> float:
    """NaN of nothing."""
    return float(np.quantile(values, share)) if values.size else float("nan")


def strong_edges(grey: np.ndarray) -> np.ndarray:
    """bool [h, w]: edges of a photo, uint8 [h, w]."""
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.0)
    gradient = np.abs(cv2.Sobel(smooth, cv2.CV_32F, 1, 0)) + np.abs(cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    high = float(np.quantile(gradient, STRONG_EDGES))
    return np.asarray(cv2.Canny(smooth, 0.5 * high, high) > 0)


def distance_from(at: np.ndarray) -> np.ndarray:
    """float32 [h, w]: px to the nearest True."""
    return np.asarray(cv2.distanceTransform((~at).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE))


def depth_edges(value: np.ndarray, scale: float, width: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns of pixels in the middle of the map's steps, at most ``EDGES`` with their widths in px of the answer; without
    ``width`` all of them.
    """
    low, high = np.quantile(value, (0.01, 0.99))
    value = ((value - low) / max(float(high - low), 1e-9)).astype(np.float32)
    smooth = cv2.GaussianBlur(value, (0, 0), 0.5 * scale)
    gx, gy = (cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
    steep = np.hypot(gx, gy)
    rows, columns = np.nonzero(steep > 0.5 * STEP / (REACH * scale))
    nx, ny = (g[rows, columns] / steep[rows, columns] for g in (gx, gy))

    def along(image: np.ndarray, t: np.ndarray) -> np.ndarray:
        x, y = columns[:, None] + t * nx[:, None], rows[:, None] + t * ny[:, None]
        return np.concatenate([_sampled(image, x[i : i + 30_000], y[i : i + 30_000]) for i in range(0, len(x), 30_000)])

    beside = along(steep, np.array([-1.0, 1.0]))
    middle = (steep[rows, columns] >= beside[:, 0]) & (steep[rows, columns] > beside[:, 1])
    rows, columns, nx, ny = rows[middle], columns[middle], nx[middle], ny[middle]
    if width and rows.size > EDGES:
        drawn = np.sort(np.random.default_rng(0).choice(rows.size, EDGES, replace=False))
        rows, columns, nx, ny = rows[drawn], columns[drawn], nx[drawn], ny[drawn]
    if not rows.size:
        return rows, columns, np.empty(0)
    t = np.arange(-round(REACH * FINE), round(REACH * FINE) + 1) * scale / FINE
    profile = along(value, t)
    start, end = _foot_and_top(profile)
    step = end[1] - start[1]
    edges = step > STEP
    widths = np.array([_rise(p, a, b) for p, a, b in zip(profile[edges], start[0][edges], end[0][edges], strict=True)]) / FINE
    return rows[edges], columns[edges], widths


def _sampled(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    maps = x.astype(np.float32), y.astype(np.float32)
    return np.asarray(cv2.remap(image, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def _foot_and_top(profile: np.ndarray) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """(index, value) [n] of where the rise through the middle of each profile [n, 2 k + 1] begins and ends: where a pixel of the
    answer adds less than a ``FLAT`` share of what the middle one does. Equal where it goes on beyond the profile: a slope."""
    k = profile.shape[1] // 2
    rise = profile[:, FINE:] - profile[:, :-FINE]  # over one px of the answer, from each look on
    steepest = rise[:, k - FINE // 2][:, None]
    flat = rise < FLAT * steepest
    after = flat[:, k:]
    top = np.where(after.any(1), k + after.argmax(1), profile.shape[1] - 1)
    before = flat[:, : k - FINE + 1][:, ::-1]
    foot = np.where(before.any(1), k - before.argmax(1), 0)
    each, slope = np.arange(len(profile)), ~(before.any(1) & after.any(1))
    foot[slope] = top[slope]
    return (foot, profile[each, foot]), (top, profile[each, top])


def _rise(profile: np.ndarray, foot: int, top: int) -> float:
    """Looks from 10 to 90 % of the rise between foot and top."""
    share = np.maximum.accumulate((profile[foot : top + 1] - profile[foot]) / (profile[top] - profile[foot]))
    first, last = np.interp((0.1, 0.9), share, np.arange(share.size))
    return float(last - first)


def lost_parts(log: np.ndarray, true: np.ndarray) -> Figures:
    """Share of the thin near parts that are lost, ln depth of answer and truth, both [h, w]."""
    figures = {}
    for name, (stays, goes) in THIN.items():
        there = remove_thin(true, goes) - np.where(remove_thin(true, stays) - true > CLEAR, remove_thin(true, stays), true)
        count, parts, boxes, _ = cv2.connectedComponentsWithStats((there > CLEAR).astype(np.uint8), connectivity=8)
        # The answer's own relief at that size, wherever within a pixel of the part it is.
        relief = cv2.dilate(remove_thin(log, goes + 1) - log, np.ones((3, 3), np.uint8))
        lost = [
            relief[parts == part].mean() < 0.3 * there[parts == part].mean()
            for part in range(1, count)
            if boxes[part, cv2.CC_STAT_AREA] >= FEWEST_CELLS
        ]
        figures[f"lost {name}"] = round(float(np.mean(lost)), 3) if lost else float("nan")
    return figures


if __name__ == "__main__":
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    main()
