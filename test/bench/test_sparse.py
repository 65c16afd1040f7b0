"""The benchmark of the sparse backends, on a small frame."""

from __future__ import annotations

import sys

import pytest
import torch

from depth_retrofit_ros.bench import sparse
from depth_retrofit_ros.bench.masks import edge_mask

SMALL = (72, 128)


def test_all_backends_and_the_baseline_compute_the_same_frame() -> None:
    network = sparse.bundled_unet()
    results = {}
    for name in ("torch", "cpu", sparse.DENSE):
        run, active = sparse.make_runner(name, network, SMALL, 0.1)
        results[name] = run()
        assert active == round(0.1 * SMALL[0] * SMALL[1])
    mask = edge_mask(SMALL, 0.1)
    results[sparse.DENSE] = results[sparse.DENSE][0][:, mask].T
    for name in ("cpu", sparse.DENSE):
        torch.testing.assert_close(results[name], results["torch"], rtol=1e-4, atol=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_entry_has_what_the_contract_says() -> None:
    entry = sparse.measure(SMALL, 0.1, rounds=2, seconds_each=5, names=["cpu", sparse.DENSE])
    assert entry["active"] == 922 and entry["size"] == [72, 128] and set(entry["engines"]) == {"cpu"}
    for figures in (entry["engines"]["cpu"], entry[sparse.DENSE]):
        assert 0 < figures["ms_min"] <= figures["ms_p50"] <= figures["ms_p99"]
        assert figures["frames"] == 2 and figures["peak_mb"] >= 0


def test_backends_that_need_a_gpu_are_left_out() -> None:
    assert {"torch", "cpu"} <= set(sparse.installed_backends()) and "triton" not in sparse.installed_backends()
