"""The sparse U-Net of the bundled refiner on every backend that is here, and the dense masked network, in float32, beside them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from depth_retrofit_ros.bench.dense_masked import DenseMaskedUNet
from depth_retrofit_ros.bench.masks import edge_mask
from depth_retrofit_ros.bench.memory import peak_beside
from depth_retrofit_ros.device.precisions import name_of
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
from depth_retrofit_ros.sparse.backends.registry import BACKENDS, is_installed, load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.unet import SparseUNet

DENSE, FLOAT32 = "dense_masked", "float32"
SMALL = (144, 256)
Size = tuple[int, int]


def bundled_unet(precision: str = FLOAT32) -> SparseUNet:
    """The sparse network of the bundled refiner, as it computes in this precision."""
    return load_sparse_refiner(None, torch.device("cpu"), "torch", precision).network.unet.eval()


def runs(precision: str = "auto") -> list[str]:
    """What can run on this machine's CPU: ``BACKEND``, in float32, or ``BACKEND in TYPE``.

    precision: the refiner's; of ``auto`` the backend ``cpu`` runs in each of its types, the others in float32.
    """
    names = []
    for name in installed_backends():
        types = [name_of(dtype) for dtype in load_backend(name).types]
        wanted = [precision] if precision != "auto" else types if name == "cpu" else [FLOAT32]
        names += [name if word == FLOAT32 else f"{name} in {word}" for word in wanted if word in types]
    return names


def make_runner(name: str, size: Size, share: float) -> tuple[Callable[[], torch.Tensor], int]:
    """What runs one frame, kernel maps included, and K. name: one of ``runs``, or ``dense_masked``."""
    backend_name, _, precision = name.partition(" in ")
    network = bundled_unet(precision or FLOAT32)
    mask = edge_mask(size, share)
    pixels = PixelSet.from_mask(mask)
    channels, dtype = network.stem.weight.shape[1], network.stem.weight.dtype
    features = torch.randn(pixels.count, channels, generator=torch.Generator().manual_seed(0)).to(dtype)
    if name == DENSE:
        dense = DenseMaskedUNet(network)
        image = torch.zeros(size[0] * size[1], features.shape[1]).index_copy_(0, pixels.indices, features)
        channels_last = image.view(1, *size, -1).permute(0, 3, 1, 2)
        ones = mask[None, None].float()
        return lambda: dense(channels_last, ones), pixels.count
    backend = load_backend(backend_name)

    def run() -> torch.Tensor:
        with torch.inference_mode():
            return network(features, backend.build_pyramid(pixels, network.levels))

    return run, pixels.count


def measure_times(
    names: Iterable[str], size: Size, share: float, rounds: int, seconds_each: float
) -> tuple[int, dict[str, dict[str, float]]]:
    """K, and per name p50, p99 of the wall time and p50 of the CPU time of all threads [ms].

    The names take turns, so that all suffer alike from what else the machine does; a slow one sits out after ``seconds_each``.
    """
    active, runners = 0, {}
    for name in names:
        runners[name], active = make_runner(name, size, share)
        runners[name]()
    wall: dict[str, list[float]] = {name: [] for name in runners}
    used: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(rounds):
        for name, run in runners.items():
            if sum(wall[name]) > 1e3 * seconds_each:
                continue
            start, start_used = time.perf_counter(), time.process_time()
            run()
            wall[name].append(1e3 * (time.perf_counter() - start))
            used[name].append(1e3 * (time.process_time() - start_used))
    return active, {
        name: {
            "ms_p50": float(np.percentile(wall[name], 50)),
            "ms_p99": float(np.percentile(wall[name], 99)),
            "ms_min": min(wall[name]),
            "cpu_ms_p50": float(np.percentile(used[name], 50)),
            "frames": len(wall[name]),
        }
        for name in runners
    }


def peak_mb(name: str, size: Size, share: float, threads: int) -> float:
    """The most memory that one frame takes beside its input [MB], in a process of its own that has run only a small frame."""
    code = f"from depth_retrofit_ros.bench import sparse; sparse.print_peak({name!r}, {size}, {share}, {threads})"
    process = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    return float(process.stdout.split()[-1])


def print_peak(name: str, size: Size, share: float, threads: int) -> None:
    """What ``peak_mb`` runs in its process (Linux)."""
    torch.set_num_threads(threads)
    make_runner(name, SMALL, share)[0]()
    run, _ = make_runner(name, size, share)
    print(peak_beside(run))


def installed_backends() -> list[str]:
    """Those that can run on this machine's CPU."""
    return [name for name, info in BACKENDS.items() if name != "triton" and is_installed(info)]


def measure(size: Size, share: float, rounds: int, seconds_each: float, names: Iterable[str]) -> dict[str, Any]:
    """The entry ``sparse`` of the benchmark's JSON."""
    active, times = measure_times(names, size, share, rounds, seconds_each)
    for name, entry in times.items():
        entry["peak_mb"] = peak_mb(name, size, share, torch.get_num_threads())
    dense = times.pop(DENSE, None)
    return {"active": active, "size": list(size), "threads": torch.get_num_threads(), "engines": times, DENSE: dense}


def ratios(entry: dict[str, Any], run: str = "cpu") -> dict[str, dict[str, float]]:
    """How many times what one of ``runs`` takes each of the others takes, of an entry ``sparse``."""
    all_of_them = {**entry["engines"], DENSE: entry[DENSE]}
    own = all_of_them.pop(run)
    keys = ("ms_p50", "cpu_ms_p50", "peak_mb")
    return {name: {key: other[key] / own[key] for key in keys} for name, other in all_of_them.items() if other is not None}
