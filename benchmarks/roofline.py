#!/usr/bin/env python3
"""How long a frame at 2560x1440 and 10 % would take on five GPUs, predicted; and what the prediction says where others measured.

    python benchmarks/roofline.py --json benchmarks/results/roofline.json

No GPU is needed, and nothing is timed (``depth_retrofit_ros/bench/roofline.py``). The published times are of the coarse model
alone, as an engine of TensorRT in half precision.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.bench import roofline
from depth_retrofit_ros.bench.audited_models import audited_model
from depth_retrofit_ros.bench.devices import DEVICES, ORIN_PER_CYCLE, Device
from depth_retrofit_ros.bench.timing import rounded
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner

ORIN_NX = "https://github.com/GerdsenAI/GerdsenAI-Depth-Anything-3-ROS2-Wrapper, docs/JETSON_BENCHMARKS.md: TensorRT 10.3, trtexec"
RTX_4090 = "https://github.com/spacewalk01/depth-anything-tensorrt, README.md: with bringing a 1280x720 image in and out, whole ms"
ORIN_NANO = "https://github.com/IRCVLab/Depth-Anything-for-Jetson-Orin, README.md: TensorRT 8.5"
NANO = Device("Orin Nano 8 GB", 68.0, 32 * ORIN_PER_CYCLE * 625 / 1e6, 1.28, 4.2, 12.0)


@dataclass(frozen=True, slots=True)
class Published:
    """A time that somebody measured. model: of ``bench.audited_models``; side: of its square input [px], a multiple of 14."""

    source: str
    device: str
    model: str
    side: int
    ms: float


NX, SMALL = "Orin NX 16 GB", "depth-anything-v2-small"
PUBLISHED = (
    Published(ORIN_NX, NX, "depth-anything-3-small", 518, 25.0),
    Published(ORIN_NX, NX, "depth-anything-3-small", 406, 15.8),  # of 400 px
    Published(ORIN_NX, NX, "depth-anything-3-small", 308, 10.9),
    Published(ORIN_NX, NX, "depth-anything-3-small", 252, 9.1),  # of 256 px
    Published(ORIN_NX, NX, "depth-anything-3-base", 518, 51.4),
    Published(RTX_4090, "RTX 4090", SMALL, 518, 3.0),
    Published(RTX_4090, "RTX 4090", "depth-anything-v2-base", 518, 6.0),
    Published(RTX_4090, "RTX 4090", "depth-anything-v2-large", 518, 12.0),
    Published(ORIN_NANO, NANO.name, SMALL, 518, 98.0),
    Published(ORIN_NANO, NANO.name, SMALL, 406, 47.7),
    Published(ORIN_NANO, NANO.name, SMALL, 364, 39.2),
    Published(ORIN_NANO, NANO.name, SMALL, 308, 23.5),
)
"""The last seven are of Depth Anything V1, whose network is V2's."""


def main() -> None:
    """Write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    args = parser.parse_args()
    document = roofline.run(load_sparse_refiner(None, torch.device("cpu")).network, print)
    document["published"] = [compared(one) for one in PUBLISHED]
    for line in roofline.lines(document):
        print(line)
    for row in document["published"]:
        of = f"{row['model']} at {row['side']} px on {row['device']}"
        print(f"{of}: published {row['ms']} ms, expected {row['expected_ms']:.1f}, ratio {row['ratio']:.2f}")
    args.json.write_text(json.dumps(rounded(document), indent=1) + "\n")


def compared(one: Published) -> dict[str, Any]:
    """What was measured beside what is predicted."""
    (device,) = (device for device in (*DEVICES, NANO) if device.name == one.device)
    kernels = roofline.alone(audited_model(one.model, InputSize("exact", (one.side, one.side))), (one.side, one.side))
    engine = roofline.as_engine(kernels)
    expected = roofline.expected_ms(engine, device, len(kernels))
    row = {"source": one.source, "device": one.device, "model": one.model, "side": one.side, "ms": one.ms}
    counted = {"gflop": sum(kernel.flops for kernel in kernels) / 1e9, "best_ms": roofline.best_ms(engine, device)}
    return {**row, **counted, "expected_ms": expected, "ratio": one.ms / expected}


if __name__ == "__main__":
    main()
