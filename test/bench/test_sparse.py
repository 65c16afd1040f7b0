"""The benchmark of the sparse backends, on a small frame."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from depth_retrofit_ros.bench import document, sparse
from depth_retrofit_ros.bench.masks import edge_mask
from depth_retrofit_ros.retrofit import load

SMALL = (72, 128)


def test_all_backends_and_the_baseline_compute_the_same_frame() -> None:
    results = {}
    for name in ("torch", "cpu", sparse.DENSE):
        run, active = sparse.make_runner(name, SMALL, 0.1)
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


@pytest.mark.parametrize("cpu_types", [(torch.float32,), (torch.bfloat16, torch.float32)])
def test_the_cpu_backend_is_measured_in_each_of_its_types(
    monkeypatch: pytest.MonkeyPatch, cpu_types: tuple[torch.dtype, ...]
) -> None:
    monkeypatch.setattr(sparse, "installed_backends", lambda: ["torch", "cpu"])
    types = {"torch": (torch.float32, torch.bfloat16, torch.float16), "cpu": cpu_types}
    monkeypatch.setattr(sparse, "load_backend", lambda name: SimpleNamespace(types=types[name]))
    lower = ["cpu in bfloat16"] if torch.bfloat16 in cpu_types else []
    assert sparse.runs() == ["torch", *lower, "cpu"]
    assert sparse.runs("float32") == ["torch", "cpu"] and sparse.runs("float16") == ["torch in float16"]
    assert sparse.runs("bfloat16") == ["torch in bfloat16", *lower]


@pytest.mark.parametrize("name", [name for name in sparse.runs("bfloat16") if name.partition(" ")[0] in ("torch", "cpu")])
def test_a_run_in_bfloat16_computes_in_it(name: str) -> None:
    (coarser, _), (exact, _) = sparse.make_runner(name, SMALL, 0.1), sparse.make_runner("torch", SMALL, 0.1)
    error = float((coarser() - exact()).norm() / exact().norm())
    assert 1e-4 < error < 3e-2


@pytest.mark.parametrize("parameters", [{}, {"refiner_precision": "bfloat16"}])
def test_the_sparse_part_follows_the_refiners_precision(monkeypatch: pytest.MonkeyPatch, parameters: dict[str, str]) -> None:
    taken: list[str] = []
    monkeypatch.setattr(document, "memcpy_gbps", lambda: 1.0)
    monkeypatch.setattr(document, "description", lambda retrofit: "")
    monkeypatch.setattr(sparse, "measure", lambda size, share, rounds, seconds, names: taken.extend(names))
    plan = document.Plan(SMALL, 0.1, ("sparse",), (), 1.0, 1.0, parameters)
    document.run(plan, load("compact", device="cpu"), lambda line: None)
    assert taken == [*sparse.runs(parameters.get("refiner_precision", "auto")), sparse.DENSE]
