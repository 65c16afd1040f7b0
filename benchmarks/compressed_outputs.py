#!/usr/bin/env python3
"""What compressed depth and preview, disparity and the scan cost, and how much of the raw message is left.

    python benchmarks/compressed_outputs.py --json benchmarks/results/compressed_outputs.json

A depth of 2560x1440 (ground, boxes before it, noise of a thousandth) is made into each serialized message, as the node does it on a
CPU; the ways take turns in one process, so that whatever else runs on the machine slows all of them. ms: median; bytes: of the
message; share: of the raw message of the same picture, whose filling is a copy or a coloring.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from std_msgs.msg import Header

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.report.summary import machine
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.ros.messages.outgoing import ImageMessage
from depth_retrofit_ros.ros.node.derived_messages import DerivedMessages, derived_settings
from depth_retrofit_ros.ros.node.parameters import PARAMETERS, Settings
from depth_retrofit_ros.runtime.host_outputs import HostOutputs
from depth_retrofit_ros.sparse.pixel_set import PixelSet

HEIGHT, WIDTH = 1440, 2560
ROUNDS = 7
# Way → output, parameters that differ from the defaults, the raw message beside it.
WAYS: dict[str, tuple[str, dict[str, Any], str]] = {
    "compressedDepth rvl": ("depth_compressed", {}, "depth"),
    "compressedDepth png": ("depth_compressed", {"compressed_depth_format": "png"}, "depth"),
    "compressedDepth rvl, mm": ("depth_mm_compressed", {}, "depth_mm"),
    "compressedDepth png, mm": ("depth_mm_compressed", {"compressed_depth_format": "png"}, "depth_mm"),
    "preview jpeg": ("preview_compressed", {}, "preview"),
    "disparity": ("disparity", {}, "depth"),
    "scan of one row": ("scan", {}, "depth"),
    "scan of 100 rows": ("scan", {"scan_height": 100}, "depth"),
}
RAW: dict[str, tuple[str, type[np.generic], int]] = {
    "depth": ("32FC1", np.float32, 1),
    "depth_mm": ("16UC1", np.uint16, 1),
    "preview": ("rgb8", np.uint8, 3),
}


def answer() -> tuple[DepthFrame, Frame]:
    """A depth as of a room or a yard, and its frame."""
    y, x = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    depth = 30 - 26 * y / HEIGHT
    depth = np.where((x // 310 + y // 230) % 3 == 0, 0.6 * depth, depth) + 0.2 * np.sin(x / 200)
    depth *= 1 + 1e-3 * np.random.default_rng(0).standard_normal(depth.shape)
    values, camera = torch.from_numpy(depth.astype(np.float32)), Camera.from_hfov(WIDTH, HEIGHT, 70.0)
    nothing = PixelSet.from_mask(torch.zeros(HEIGHT, WIDTH, dtype=torch.bool))
    made = DepthFrame(values, values, values, "model", nothing, torch.ones(0), camera=camera)
    return made, Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), camera=camera)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    result, frame = answer()
    defaults: dict[str, Any] = {row.name: row.default for row in PARAMETERS}
    settings = Settings(**defaults)
    outputs, messages, header = HostOutputs(torch.device("cpu")), DerivedMessages(), Header(frame_id="camera_optical_frame")

    def derived(name: str, changed: Settings) -> Callable[[], np.ndarray]:
        def make() -> np.ndarray:
            fill = outputs.begin(result, frame, [name], 2, derived_settings(changed))[name]
            return messages.filled(name, fill, (HEIGHT, WIDTH), frame.camera, header, changed)

        return make

    def raw(name: str) -> Callable[[], np.ndarray]:
        message = ImageMessage(*RAW[name])

        def make() -> np.ndarray:
            outputs.begin(result, frame, [name], 2)[name](message.prepare(HEIGHT, WIDTH, header))
            return message.serialized

        return make

    makers = {f"raw {name}": raw(name) for name in RAW}
    makers |= {way: derived(name, replace(settings, **changes)) for way, (name, changes, _) in WAYS.items()}
    sizes = {way: make().nbytes for way, make in makers.items()}  # all is compiled and allocated by now
    times: dict[str, list[float]] = {way: [] for way in makers}
    for _ in range(ROUNDS):
        for way, make in makers.items():
            start_s = time.perf_counter()
            make()
            times[way].append(1e3 * (time.perf_counter() - start_s))
    found = {way: {"ms": round(statistics.median(times[way]), 2), "bytes": sizes[way]} for way in makers}
    for way, (_, _, beside) in WAYS.items():
        found[way]["share"] = round(sizes[way] / sizes[f"raw {beside}"], 4)
    for way, figures in found.items():
        print(f"{way:26}", figures)
    if options.json:
        told = {"machine": machine(), "size": [HEIGHT, WIDTH], "rounds": ROUNDS, "ways": found}
        options.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
