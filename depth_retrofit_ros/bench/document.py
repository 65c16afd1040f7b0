"""The benchmark as one document: what ``depth-retrofit bench`` measures, stores and prints."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from depth_retrofit_ros.bench import sparse
from depth_retrofit_ros.bench.live import measure_node
from depth_retrofit_ros.bench.stages import BUDGETS, measure_messages, measure_method, rendered_frame
from depth_retrofit_ros.bench.timing import memcpy_gbps
from depth_retrofit_ros.coarse.engines.assign import engine_of
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.retrofit import Retrofit

UNLOADED_HZ = 1.0  # of the camera, where the node's overhead is measured: nothing else uses the processor meanwhile
OVERHEAD_S = 20.0
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    size: (H, W) of stages and sparse network; budget: share of refined pixels; parts: of sparse, stages and node; sizes: of the
    node; camera_hz: what its camera publishes, for ``seconds``; parameters: of the node, whose ``refiner_precision`` is also the
    sparse network's; rounds: frames per figure.
    """

    size: tuple[int, int]
    budget: float
    parts: Sequence[str]
    sizes: Sequence[tuple[int, int]]
    camera_hz: float
    seconds: float
    parameters: Mapping[str, str | float] = field(default_factory=dict)
    rounds: int = 20


def run(plan: Plan, retrofit: Retrofit, progress: Callable[[str], None]) -> Document:
    """Measure. Raises GraphError where the node does not live through it."""
    speed = memcpy_gbps()
    document: Document = {"machine": description(retrofit), "memcpy_gbps": speed}
    if "sparse" in plan.parts:
        progress("sparse backends")
        names = [*sparse.runs(str(plan.parameters.get("refiner_precision", "auto"))), sparse.DENSE]
        document["sparse"] = sparse.measure(plan.size, plan.budget, plan.rounds, 20.0, names)
    if "stages" in plan.parts:
        progress("stages")
        document["stages"], document["budgets"] = stages(plan, retrofit, speed)
    if "node" in plan.parts:
        document["node"] = [live(plan, size, plan.camera_hz, plan.seconds, progress) for size in plan.sizes]
        unloaded = live(plan, plan.size, UNLOADED_HZ, OVERHEAD_S, progress)
        document["overhead"] = {**unloaded, "floor_ms": unloaded["bytes"] / speed / 1e6}
        document["overhead_ratio"] = unloaded["overhead_ms_p50"] / document["overhead"]["floor_ms"]
    return document


def stages(plan: Plan, retrofit: Retrofit, speed: float) -> tuple[Document, Document]:
    """Every stage at ``plan.size`` and ``plan.budget``; and the method's at each of ``BUDGETS``."""
    frame = rendered_frame(plan.size)
    methods = {budget: measure_method(retrofit, frame, budget, plan.rounds) for budget in sorted({*BUDGETS, plan.budget})}
    depth = retrofit(frame).depth.cpu().numpy()
    messages = measure_messages(frame, depth, plan.rounds, speed)
    return {**methods[plan.budget], **messages}, {f"{budget:g}": methods[budget] for budget in BUDGETS}


def live(plan: Plan, size: tuple[int, int], camera_hz: float, seconds: float, progress: Callable[[str], None]) -> Document:
    """One run of the node."""
    name = f"node, {size[1]}x{size[0]} at {camera_hz:g} Hz"
    return measure_node(
        size, camera_hz, seconds, {**plan.parameters, "budget": plan.budget}, lambda line: progress(f"{name}: {line}")
    )


def description(retrofit: Retrofit) -> str:
    """Machine, threads, library, model, device and sparse backend, in words."""
    device = retrofit.coarse.device
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    threads = f"{torch.get_num_threads()} threads, torch {torch.__version__}"
    coarse = f"{retrofit.coarse.name} on {where}, coarse engine {engine_of(retrofit.coarse)}"
    return f"{machine()}, {threads}; {coarse}, backend {retrofit.refiner.backend_name}"


def lines(document: Document) -> Iterator[str]:
    """The document for people."""
    yield f"{document['machine']}; memory copies at {document['memcpy_gbps']:.1f} GB/s"
    if entry := document.get("sparse"):
        yield f"sparse U-Net, {entry['size'][1]}x{entry['size'][0]}, {entry['active']} active pixels, {entry['threads']} threads:"
        for name, row in (*entry["engines"].items(), (sparse.DENSE, entry[sparse.DENSE])):
            yield f"  {name:15} p50 {row['ms_p50']:8.1f} ms   p99 {row['ms_p99']:8.1f} ms   {row['peak_mb']:6.0f} MB"
    for name, row in document.get("stages", {}).items():
        floor = f"   a plain copy takes {row['floor_ms']:.1f} ms" if row.get("floor_ms") else ""
        yield f"  {name:20} p50 {row['ms_p50']:8.2f} ms   p99 {row['ms_p99']:8.2f} ms{floor}"
    for budget, row in document.get("budgets", {}).items():
        yield f"  budget {budget:5} whole {row['total']['ms_p50']:7.1f} ms, of which refine {row['refine']['ms_p50']:7.1f} ms"
    for row in document.get("node", []):
        height, width = row["size"]
        yield (
            f"  node {width}x{height} at {row['rate_hz']:g} Hz: {row['fps']:.1f} Hz, age p50 {row['age_ms_p50']:.0f} ms, p99 "
            f"{row['age_ms_p99']:.0f} ms, received {row['received']} = processed {row['processed']} + dropped {row['dropped']} "
            f"+ failed {row['failed']}, lost {row['lost']}"
        )
    if row := document.get("overhead"):
        yield (
            f"  all but inference: {row['overhead_ms_p50']:.1f} ms an image, {document['overhead_ratio']:.1f} times what copying "
            f"its {row['bytes'] / 1e6:.0f} MB takes"
        )
