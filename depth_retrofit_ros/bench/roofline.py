"""How long a frame would take on GPUs that are not here: a prediction, from what it asks of them and what they can do at most.

Launches, bytes and floating-point operations are counted (``bench/audit.py``); the limits are those that vendors state
(``bench/devices.py``); how much of a limit is reached, and what a launch costs, is assumed. So each figure is a range:

- best: ``max(launches x NODE_US, bytes / bandwidth, flops / peak)``, as if all three went on side by side without a gap and each at
  its limit, launches replayed as a graph, and as if what fits into the cache never left it;
- expected: ``launches x launch_us`` and the sum over all kernels of
  ``max(bytes / (REACHED_BANDWIDTH x bandwidth), flops / (REACHED_FLOPS x peak))``: each is short, and pays for its own start.

In an engine's form of the coarse model, what is done to each element alone, copies and what is always the same are parts of other
kernels and move nothing. That it pays for as many starts as before is no law, but what published times agree with (docs/gpu.md).
Half precision counts at the rate of tensor cores, float32 at that without them; what is no matrix product is not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from depth_retrofit_ros.bench.audit import META, Audit, AuditedRetrofit
from depth_retrofit_ros.bench.cost import Cost, Kernel
from depth_retrofit_ros.bench.devices import DEVICES, Device
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.input_size import InputSize, long_side
from depth_retrofit_ros.coarse.registry import find_model
from depth_retrofit_ros.device.launches import has_kernels
from depth_retrofit_ros.refinement.base import Refiner
from depth_retrofit_ros.refinement.pixels.network import RefinerNet

SIZE, BUDGET = (1440, 2560), 0.1
ROWS = (96_191, 25_963, 7_492, 2_375)  # of the coarser levels of the U-Net, of a view of the bundled film
LARGE = long_side(924, 14)  # as Depth Anything V2's authors have it
NODE_US = 1.0  # of a kernel in a CUDA graph
REACHED_BANDWIDTH, REACHED_FLOPS = 0.8, 0.6
ASSUMED = {"node_us": NODE_US, "reached_bandwidth": REACHED_BANDWIDTH, "reached_flops": REACHED_FLOPS}
Stages = Mapping[str, Sequence[Kernel]]


@dataclass(frozen=True, slots=True)
class Case:
    """model: of ``bench.audited_models``; size: of its input, None for what suits a live node; label: what that size is called."""

    model: str
    label: str
    size: InputSize | None = None


def cases() -> tuple[Case, ...]:
    """The bundled model, and three others each at the size of a live node and at a large one: their authors', or as large."""
    told = [Case("compact", "live")]
    for model in ("depth-anything-v2-small", "depth-anything-3-small", "moge-2-small"):
        told += [Case(model, "live"), Case(model, "large", find_model(model).native or LARGE)]
    return tuple(told)


@dataclass(frozen=True, slots=True)
class Range:
    """[ms]"""

    best: float
    expected: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A prediction for one device, the coarse model being an engine.

    one_at_a_time: the sum of the stages; side_by_side: the time of a frame where the next one's coarse model runs beside its other
    stages, as far as what they share lets it; eager_ms: one at a time, expected, of a coarse model that is not compiled;
    refine_share: of the expected sum.
    """

    stages: Mapping[str, Range]
    one_at_a_time: Range
    side_by_side: Range
    eager_ms: float
    refine_share: float

    @property
    def fps(self) -> tuple[float, float]:
        """Expected, one at a time and side by side."""
        return 1e3 / self.one_at_a_time.expected, 1e3 / self.side_by_side.expected


def as_engine(kernels: Iterable[Kernel]) -> list[Kernel]:
    """What is left of a network's kernels where what can be fused is, and what depends on nothing is computed once."""
    return [kernel for kernel in kernels if not kernel.fusible and kernel.read]


def best_ms(kernels: Sequence[Kernel], device: Device) -> float:
    """See the module."""
    moved = sum(_bytes(kernel) for kernel in kernels if _bytes(kernel) > device.l2_mb * 1e6)
    return max(len(kernels) * NODE_US / 1e3, _bytes_ms(moved, device), sum(_flops_ms(kernel, device) for kernel in kernels))


def expected_ms(kernels: Iterable[Kernel], device: Device, launches: int) -> float:
    """See the module."""
    busy = (max(_bytes_ms(_bytes(one), device) / REACHED_BANDWIDTH, _flops_ms(one, device) / REACHED_FLOPS) for one in kernels)
    return launches * device.launch_us / 1e3 + sum(busy)


def predict(stages: Stages, device: Device) -> Prediction:
    """Of a frame whose stages are ``coarse``, ``refine`` and others."""
    engine = {name: as_engine(kernels) if name == "coarse" else list(kernels) for name, kernels in stages.items()}
    times = {name: Range(best_ms(engine[name], device), expected_ms(engine[name], device, len(stages[name]))) for name in stages}
    coarse, others = times["coarse"], [time for name, time in times.items() if name != "coarse"]
    rest = Range(sum(time.best for time in others), sum(time.expected for time in others))
    total = Range(coarse.best + rest.best, coarse.expected + rest.expected)
    eager_ms = expected_ms(stages["coarse"], device, len(stages["coarse"])) + rest.expected
    kernels = [kernel for part in engine.values() for kernel in part]
    launched_ms = sum(map(len, stages.values())) * device.launch_us / 1e3
    flops_ms = sum(_flops_ms(kernel, device) for kernel in kernels)
    shared = max(launched_ms, _bytes_ms(sum(map(_bytes, kernels)), device) / REACHED_BANDWIDTH, flops_ms / REACHED_FLOPS)
    beside = Range(
        max(coarse.best, rest.best, best_ms(kernels, device)),
        max(coarse.expected, rest.expected, shared),
    )
    return Prediction(times, total, beside, eager_ms, times["refine"].expected / total.expected)


def missing() -> str | None:
    """Why nothing can be predicted here, one line; None where it can."""
    return None if has_kernels(META) else "no prediction for GPUs: it counts Triton's kernels, pip install triton"


def audit(case: Case, refiner: RefinerNet | Refiner[Any]) -> tuple[tuple[int, int], Audit]:
    """The input's size (h, w), and what a frame of ``SIZE`` asks for, by stage; refiner: see ``AuditedRetrofit``."""
    from depth_retrofit_ros.bench.audited_models import audited_model

    size = case.size or find_model(case.model).input
    return size.of(*SIZE), AuditedRetrofit(audited_model(case.model, size), refiner, BUDGET, ROWS).watch(SIZE)


def predicted(case: Case, refiner: RefinerNet | Refiner[Any]) -> dict[str, Any]:
    """An entry of ``cases`` of ``run``; refiner: see ``AuditedRetrofit``."""
    size, seen = audit(case, refiner)
    stages = {name: cost.kernels for name, cost in seen.stages.items()}
    frames = {device.name: _entry(predict(stages, device)) for device in DEVICES}
    counted = {name: _counted(cost, name == "coarse") for name, cost in seen.stages.items()}
    return {"model": case.model, "label": case.label, "input": list(size), "counted": counted, "predicted": frames}


def alone(model: CoarseModel, size: tuple[int, int]) -> list[Kernel]:
    """The kernels of one answer to an image of ``size = (h, w)``, and of bringing it to the model's own."""
    seen = Audit()
    with torch.inference_mode(), seen.watching():
        model.predict(torch.empty(*size, 3, dtype=torch.uint8, device=META), Camera.from_hfov(size[1], size[0], 70.0))
    return seen.total.kernels


def run(network: RefinerNet, progress: Callable[[str], None], chosen: Sequence[Case] | None = None) -> dict[str, Any]:
    """``roofline`` of the benchmark's JSON. network: of the refiner; chosen: None for ``cases()``."""
    entries = []
    for case in cases() if chosen is None else chosen:
        progress(f"counting {case.model}, {case.label}")
        entries.append(predicted(case, network))
    return {
        "what": "a prediction: nothing of it was measured on a GPU",
        "size": list(SIZE),
        "budget": BUDGET,
        "rows": list(ROWS),
        "assumed": ASSUMED,
        "devices": [asdict(device) for device in DEVICES],
        "cases": entries,
    }


def lines(entry: Mapping[str, Any]) -> list[str]:
    """``run``'s result, to be read."""
    height, width = entry["size"]
    assumed = entry["assumed"]
    told = [f"Counted, for {width}x{height} and a budget of {entry['budget']:.0%} (launches / MB / GFLOP):"]
    for case in entry["cases"]:
        parts = [f"{name} {one['launches']} / {one['mb']:.0f} / {one['gflop']:.1f}" for name, one in case["counted"].items()]
        told.append(f"  {_title(case)}: {', '.join(parts)}")
    told.append(
        f"Predicted, not measured; the best is at every limit, the expected at {assumed['reached_bandwidth']:.0%} of bandwidth and "
        f"{assumed['reached_flops']:.0%} of peak, each launch paid for [ms]:"
    )
    for case in entry["cases"]:
        told.append(f"  {_title(case)}")
        told.append(f"    {'':15}{'coarse':>12}{'refine':>12}{'frame':>14}{'beside':>13}{'eager':>8}{'FPS':>10}{'refine':>8}")
        for device, one in case["predicted"].items():
            spans = [one["stages"]["coarse"], one["stages"]["refine"], one["one_at_a_time"], one["side_by_side"]]
            columns = "".join(f"{_span(span):>{width}}" for span, width in zip(spans, (12, 12, 14, 13), strict=True))
            slow, fast = one["fps"]
            told.append(f"    {device:15}{columns}{one['eager_ms']:8.1f}{f'{slow:.0f}-{fast:.0f}':>10}{one['refine_share']:8.0%}")
    return told


def _title(case: Mapping[str, Any]) -> str:
    return f"{case['model']} at {case['input'][1]}x{case['input'][0]}"


def _span(span: Mapping[str, float]) -> str:
    return f"{span['best']:.1f}-{span['expected']:.1f}"


def _entry(frame: Prediction) -> dict[str, Any]:
    return {**asdict(frame), "fps": list(frame.fps)}


def _counted(cost: Cost, network: bool) -> dict[str, float]:
    """network: whether to say, too, what is left of it in an engine."""
    counted = {"launches": cost.launches, "mb": (cost.read + cost.written) / 1e6, "gflop": cost.flops / 1e9}
    if network:
        left = Cost(as_engine(cost.kernels))
        counted |= {"engine_launches": left.launches, "engine_mb": (left.read + left.written) / 1e6}
    return counted


def _bytes(kernel: Kernel) -> int:
    return kernel.read + kernel.written


def _bytes_ms(moved: int, device: Device) -> float:
    return moved / device.bandwidth_gbps / 1e6


def _flops_ms(kernel: Kernel, device: Device) -> float:
    return kernel.flops / (device.half_tflops if kernel.half else device.float_tflops) / 1e9
