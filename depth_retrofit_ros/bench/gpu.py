"""The profile for a CUDA device: the method with Depth Anything V2, the refiner beside its dense baseline, the whole node.

Everything here runs on a CPU too, smaller: that is the dry run, which shows that it works and says nothing about GPUs.
"""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.bench.dense_masked import DenseMaskedUNet
from depth_retrofit_ros.bench.document import description
from depth_retrofit_ros.bench.live import measure_node
from depth_retrofit_ros.bench.masks import edge_mask
from depth_retrofit_ros.bench.random_models import SIZES, random_model, save_random_checkpoint
from depth_retrofit_ros.bench.stages import measure_method, rendered_frame
from depth_retrofit_ros.bench.timing import figures, repeat
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.graphed import GraphedCoarse
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.pointcloud.organized import make_cloud
from depth_retrofit_ros.pointcloud.ray_slopes import RaySlopes
from depth_retrofit_ros.refinement.pixels.graphed import GraphedRefiner
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner, load_sparse_refiner
from depth_retrofit_ros.retrofit import InFlightFrame, Retrofit
from depth_retrofit_ros.sparse.pixel_set import PixelSet

Entry = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Profile:
    """device; size: (H, W) of the frame; frames: per figure; models: of ``SIZES``; camera_hz, seconds: of the node's run."""

    device: torch.device
    size: tuple[int, int] = (1440, 2560)
    frames: int = 200
    models: tuple[str, ...] = SIZES
    camera_hz: float = 60.0
    seconds: float = 10.0
    budget: float = 0.1


def dry_run() -> Profile:
    """The same on a CPU, in a minute."""
    return Profile(torch.device("cpu"), (144, 256), 3, ("small",), 2.0, 3.0)


def run(profile: Profile, progress: Callable[[str], None]) -> Entry:
    """``gpu`` of the benchmark's JSON."""
    refiner = load_sparse_refiner(None, profile.device)
    entry: Entry = {"dry_run": profile.device.type != "cuda", "size": list(profile.size), "models": []}
    for size in profile.models:
        progress(f"Depth Anything V2 {size}, random weights")
        coarse = random_model(size, profile.device)
        entry["models"].append(measure_model(profile, coarse, refiner, graphs=False))
        if profile.device.type == "cuda":
            entry["models"].append(measure_model(profile, coarse, refiner, graphs=True))
    progress("refiner, sparse and dense")
    entry["refiner"] = measure_refiner(profile, refiner)
    with tempfile.TemporaryDirectory() as folder:
        model = "depth-anything-v2-small"
        weights = save_random_checkpoint("small", Path(folder))
        parameters: dict[str, str | float] = {"model": model, "weights": str(weights), "device": str(profile.device)}
        parameters["budget"] = profile.budget
        measured = measure_node(profile.size, profile.camera_hz, profile.seconds, parameters, progress)
        entry["node"] = {**measured, "model": f"{model} (random weights)"}
    return entry


def measure_model(profile: Profile, coarse: CoarseModel, refiner: SparseRefiner, graphs: bool) -> Entry:
    """One frame at a time, and as many as possible with the coarse model beside the refiner; each with its cloud on the device."""
    if graphs:
        retrofit = Retrofit(GraphedCoarse(coarse), GraphedRefiner(refiner), profile.budget)
    else:
        retrofit = Retrofit(coarse, refiner, profile.budget)
    frame = rendered_frame(profile.size)
    if profile.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(profile.device)

    def use(result: DepthFrame) -> None:
        cloud_on_device(result, frame)
        synchronize(profile.device)

    stages = measure_method(retrofit, frame, profile.budget, profile.frames, use)
    entry: Entry = {
        "model": retrofit.coarse.name,
        "cuda_graphs": graphs,
        "machine": description(retrofit),
        "one_at_a_time": stages.pop("total"),
        "stages": stages,
        "side_by_side_fps": throughput(retrofit, frame, profile),
    }
    if profile.device.type == "cuda":
        entry["peak_mb"] = torch.cuda.max_memory_reserved(profile.device) / 1e6
    return entry


def throughput(retrofit: Retrofit, frame: Frame, profile: Profile) -> float:
    """Frames per second where the next is begun before the last is finished, as the node's worker does under load."""
    in_flight: InFlightFrame = retrofit.launch(frame)
    start_s = time.perf_counter()
    for _ in range(profile.frames):
        following = retrofit.launch(frame)
        cloud_on_device(retrofit.collect(in_flight), frame)
        in_flight = following
    synchronize(profile.device)
    fps = profile.frames / (time.perf_counter() - start_s)
    retrofit.collect(in_flight)
    return fps


def cloud_on_device(result: DepthFrame, frame: Frame) -> None:
    """The cloud of every pixel, left where it was made. Its unit does not matter here."""
    assert frame.camera is not None and result.image is not None
    if result.depth.device.type == "cpu":
        make_cloud(result.depth.numpy(), frame.image, frame.camera)
    else:
        from depth_retrofit_ros.pointcloud.organized_triton import make_cloud_on_device

        make_cloud_on_device(result.depth, result.image, RaySlopes(result.depth.device)(frame.camera))


def measure_refiner(profile: Profile, refiner: SparseRefiner) -> Entry:
    """The sparse U-Net, maps included, and the same network dense and masked, both in the refiner's precision."""
    mask = edge_mask(profile.size, profile.budget)
    pixels = PixelSet.from_mask(mask.to(profile.device))
    network, dtype = refiner.network.unet, refiner.dtype
    channels = network.stem.weight.shape[1]
    rows = torch.randn(pixels.count, channels, generator=torch.Generator().manual_seed(0)).to(profile.device, dtype)
    image = torch.zeros(mask.numel(), channels, device=profile.device, dtype=dtype).index_copy_(0, pixels.indices, rows)
    planes = image.view(1, *profile.size, channels).permute(0, 3, 1, 2)
    ones = mask[None, None].to(profile.device, dtype)
    dense = DenseMaskedUNet(copy.deepcopy(network).to(dtype))

    def sparse_once() -> None:
        with torch.inference_mode():
            network(rows, refiner.backend.build_pyramid(pixels, network.levels))
        synchronize(profile.device)

    def dense_once() -> None:
        dense(planes, ones)
        synchronize(profile.device)

    sparse, baseline = (figures(repeat(work, profile.frames)) for work in (sparse_once, dense_once))
    return {
        "engine": refiner.backend.name,
        "dtype": str(dtype),
        "active": pixels.count,
        "sparse": sparse,
        "dense_masked": baseline,
        "ratio": baseline["ms_p50"] / sparse["ms_p50"],
    }


def synchronize(device: torch.device) -> None:
    """Until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
