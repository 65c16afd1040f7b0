"""What is made of depth is made of the depth that the confidence leaves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.confidence.estimate import confidence_of, cut_below
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.pointcloud.filters import EVERYTHING, CloudFilter
from depth_retrofit_ros.runtime import host_outputs
from depth_retrofit_ros.runtime.derived_outputs import DEFAULTS
from depth_retrofit_ros.runtime.host_outputs import HostOutputs
from test.confidence.test_estimate import answer

HEIGHT, WIDTH = 97, 131
OF_DEPTH = {
    "depth": ((HEIGHT, WIDTH), np.float32),
    "depth_mm": ((HEIGHT, WIDTH), np.uint16),
    "points": ((HEIGHT, WIDTH, 4), np.float32),
    "preview": ((HEIGHT, WIDTH, 3), np.uint8),
    "depth_compressed": ((HEIGHT, WIDTH), np.uint16),
    "depth_mm_compressed": ((HEIGHT, WIDTH), np.uint16),
    "preview_compressed": ((HEIGHT, WIDTH, 3), np.uint8),
    "disparity": ((HEIGHT, WIDTH), np.float32),
    "scan": ((WIDTH,), np.float32),
}
WHOLE = {"normals": ((HEIGHT, WIDTH, 3), np.float32), "confidence": ((HEIGHT, WIDTH), np.float32)}


@pytest.mark.parametrize("cloud", [EVERYTHING, CloudFilter(range_max=5.0)], ids=["plain", "filtered"])
def test_one_parameter_cuts_everything_that_is_made_of_depth(cloud: CloudFilter) -> None:
    camera = Camera.from_hfov(WIDTH, HEIGHT, 70.0)
    frame = Frame(np.full((HEIGHT, WIDTH, 3), 128, np.uint8), camera=camera)
    result = replace(answer(), camera=camera, scale_source="user", image=torch.from_numpy(frame.image))
    confidence = confidence_of(result)
    least = float(confidence.nanmedian())
    names = {**OF_DEPTH, **WHOLE}

    def made(of: DepthFrame, min_confidence: float) -> dict[str, np.ndarray]:
        fills = HostOutputs(torch.device("cpu")).begin(of, frame, names, 1, DEFAULTS, cloud, min_confidence)
        out = {name: np.zeros(*kind) for name, kind in names.items()}
        for name, fill in fills.items():
            fill(out[name])
        return out

    cut, whole, wanted = made(result, least), made(result, 0.0), made(cut_below(result, least, confidence), 0.0)
    for name in OF_DEPTH:
        np.testing.assert_array_equal(cut[name], wanted[name], err_msg=name)
        assert not np.array_equal(cut[name], whole[name], equal_nan=cut[name].dtype == np.float32), name
    for name in WHOLE:
        np.testing.assert_array_equal(cut[name], whole[name], err_msg=name)


def test_it_is_estimated_once_where_somebody_needs_it_and_else_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[DepthFrame] = []

    def counting(result: DepthFrame) -> torch.Tensor:
        asked.append(result)
        return confidence_of(result)

    monkeypatch.setattr(host_outputs, "confidence_of", counting)
    camera = Camera.from_hfov(WIDTH, HEIGHT, 70.0)
    frame = Frame(np.full((HEIGHT, WIDTH, 3), 128, np.uint8), camera=camera)
    result = replace(answer(), camera=camera, scale_source="user", image=torch.from_numpy(frame.image))

    def estimates(names: list[str], min_confidence: float) -> int:
        asked.clear()
        fills = HostOutputs(torch.device("cpu")).begin(result, frame, names, 1, DEFAULTS, EVERYTHING, min_confidence)
        for name, fill in fills.items():
            fill(np.zeros(*{**OF_DEPTH, **WHOLE, "selection": ((HEIGHT, WIDTH), np.uint8)}[name]))
        return len(asked)

    assert estimates(list(OF_DEPTH), 0.0) == 0, "nobody needs it"
    assert estimates(["selection", "normals"], 0.5) == 0, "nothing that is cut is made"
    assert estimates([*OF_DEPTH, "confidence"], 0.5) == 1
