"""Time, memory, flicker, and what a GPU would take."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from depth_retrofit_ros.bench import roofline
from depth_retrofit_ros.bench.audit import META
from depth_retrofit_ros.bench.memory import peak_beside, peak_resident
from depth_retrofit_ros.coarse.registry import load_coarse
from depth_retrofit_ros.evaluation.baselines.upsampling import UPSAMPLERS
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.evaluation.sequence import Answer, SequenceEvaluator
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner, load_sparse_refiner
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.training.scenes.film import Film
from refiner_table.systems import BESIDE, System

MODEL = "compact"  # the bundled one
AS_RUN = "auto"  # the precision that a node takes
NOISE = 2.0  # of 255, standard deviation of a camera's
REFERENCE = System("sparse", "sparse")
SMALL = (180, 320)
Size = tuple[int, int]  # (H, W)


def film_frame(size: Size) -> tuple[Frame, np.ndarray]:
    """The first view of the bundled film and its true depth, enlarged where it is smaller: neither speed nor memory depends on
    detail."""
    film = Film()
    factor = min(1.0, film.camera.height / size[0], film.camera.width / size[1])
    shown = next(film.views(round(size[1] * factor), round(size[0] * factor)))
    image = cv2.resize(shown.image, size[::-1], interpolation=cv2.INTER_CUBIC)
    depth = cv2.resize(shown.depth, size[::-1], interpolation=cv2.INTER_NEAREST)
    return Frame(np.ascontiguousarray(image), camera=shown.camera.resized(size[1], size[0])), depth


def speed(system: System, size: Size, budget: float, seconds: float) -> Entry:
    """Medians [ms] at a frame of ``size``: of the frame, of the method, which is all but the coarse model, and of refinement alone;
    and of the method with the sparse refiner, which takes turns with it, so that what else the machine does hits both alike."""
    coarse, frame = load_coarse(MODEL, weights=None, device="cpu"), film_frame(size)[0]
    runs = [made.retrofit(coarse, made.refiner(precision=AS_RUN), budget) for made in (system, REFERENCE)]
    taken: list[list[dict[str, float]]] = [[], []]
    for run in runs:
        run(frame)
    end_s = time.perf_counter() + seconds
    while len(taken[0]) < 3 or (time.perf_counter() < end_s and len(taken[0]) < 15):
        for run, times in zip(runs, taken, strict=True):
            times.append(run(frame).times_ms)
    own, reference = (np.array([_sums(row) for row in rows]) for rows in taken)
    medians, beside = np.median(own, 0), np.median(reference, 0)
    return {
        "rounds": len(own),
        "method_ms": float(medians[0]),
        "refine_ms": float(medians[1]),
        "frame_ms": float(medians[2]),
        "sparse_method_ms": float(beside[0]),
        "times_sparse": float(np.median(own[:, 0] / reference[:, 0])),
    }


def _sums(times: dict[str, float]) -> tuple[float, float, float]:
    """Of the method, of refinement, and of the frame."""
    total = sum(times.values())
    return total - times["coarse"], times["refine"] + times["fuse"], total


def upsampling_speed(name: str, size: Size, rounds: int = 3) -> Entry:
    """Median [ms] of a baseline or of what refiners start from, ``base``, without the coarse model."""
    coarse, frame = load_coarse(MODEL, weights=None, device="cpu"), film_frame(size)[0]
    depth, run, times = _coarse_depth(coarse, frame), Retrofit(coarse, System(BESIDE, BESIDE).refiner()), []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        if name == "base":
            times.append(run(frame).times_ms["upsample"])
        else:
            UPSAMPLERS[name](frame.image, depth)
            times.append(1e3 * (time.perf_counter() - start))
    return {"method_ms": float(np.median(times[1:]))}


def memory(chosen: str, size: Size, budget: float, threads: int) -> Entry:
    """Of one frame in a process of its own, see ``memory_here``; chosen: a baseline's name or what ``load_refiner`` takes."""
    script = Path(__file__).resolve().parents[1] / "refiners.py"
    command = [sys.executable, str(script), "--memory-of", chosen, f"{size[1]}x{size[0]}", "--budget", str(budget)]
    done = subprocess.run([*command, "--threads", str(threads)], env=dict(os.environ), check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def memory_here(chosen: str, size: Size, budget: float) -> Entry:
    """[MB] ``peak``: of this process; ``frame``: the most that a frame takes beside what is there after another, a small one."""
    coarse, frame = load_coarse(MODEL, weights=None, device="cpu"), film_frame(size)[0]
    small = film_frame(SMALL)[0]
    work: Callable[[Frame], Any]
    if chosen in UPSAMPLERS:
        work = lambda given: UPSAMPLERS[chosen](given.image, _coarse_depth(coarse, given))  # noqa: E731
    else:
        system = System(chosen, chosen)
        work = system.retrofit(coarse, system.refiner(precision=AS_RUN), budget)
    work(small)
    taken = peak_beside(lambda: work(frame))
    return {"frame": round(taken), "peak": round(peak_resident())}


def _coarse_depth(coarse: Any, frame: Frame) -> torch.Tensor:
    with torch.inference_mode():
        return coarse.predict(torch.from_numpy(frame.image), frame.camera).depth


def flicker(system: System, size: Size, budget: float, frames: int) -> Entry:
    """|Δ ln depth| from frame to frame of a camera at rest whose image is noisy, over the pixels that were refined in either frame:
    of the refined depth and of the bilinear one. The model sees the noise too."""
    coarse = load_coarse(MODEL, weights=None, device="cpu")
    still, depth = film_frame(size)
    run, evaluator = system.retrofit(coarse, system.refiner(precision=AS_RUN), budget), SequenceEvaluator("median")
    rng = np.random.default_rng(0)
    for number in range(frames):
        image = np.clip(still.image + rng.normal(0, NOISE, still.image.shape), 0, 255).astype(np.uint8)
        frame = Frame(image, number * 33_000_000, camera=still.camera)
        result = run(frame)
        selected = result.selection.mask().numpy()
        evaluator.add(Answer(frame, result.depth.numpy(), result.coarse.numpy(), result.metric, selected, depth))
    document = evaluator.flicker()
    assert document is not None, "several frames of one size were added with their selection"
    return dict(document["static_and_refined"])


def predicted(system: System) -> Entry:
    """Of refining a frame of 2560x1440: launches, MB, GFLOP, and [ms] best and expected by GPU; ``not`` says why there is none."""
    if reason := roofline.missing():
        return {"not": reason}
    if system.preset().name != "default":
        return {"not": "it selects as many pixels as are uncertain, and nothing tells how many without values"}
    loaded = system.refiner()
    try:
        given = (
            load_sparse_refiner(None, torch.device("cpu")).network
            if isinstance(loaded, SparseRefiner)
            else system.refiner(META, AS_RUN)
        )
        entry = roofline.predicted(roofline.Case(MODEL, "live"), given)
    except (NotImplementedError, RuntimeError) as error:
        return {"not": f"it cannot be counted without values: {str(error).splitlines()[0]}"}
    counted = {key: sum(entry["counted"][stage][key] for stage in ("refine", "fuse")) for key in ("launches", "mb", "gflop")}
    ms = {
        device: {key: sum(one["stages"][stage][key] for stage in ("refine", "fuse")) for key in ("best", "expected")}
        for device, one in entry["predicted"].items()
    }
    return {"counted": counted, "ms": ms}


def camera_size(text: str) -> Size:
    """``WxH`` → (H, W)."""
    width, _, height = text.partition("x")
    return int(height), int(width)
