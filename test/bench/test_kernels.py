"""Every Triton kernel of the method compiles for GPUs that are not here."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from depth_retrofit_ros.device.launches import Launch, plain
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton")


@pytest.fixture(scope="module")
def launches() -> list[Launch]:
    """One of each kernel; of the convolution one of each way to gather and scatter."""
    from depth_retrofit_ros.bench.kernels import launches_of

    forms: dict[object, Launch] = {}
    for launch in launches_of(load_sparse_refiner(None, torch.device("cpu")).network):
        form = tuple(launch.constants.get(name) for name in ("GATHERED", "PACKED", "SCATTERED", "PARTIAL"))
        forms.setdefault((launch.name, form), launch)
    return list(forms.values())


@pytest.mark.timeout(900)  # half a minute of computing
@pytest.mark.parametrize("architecture", [87, 100])  # Jetson Orin; the newest
def test_each_compiles_without_spilling(
    launches: list[Launch], architecture: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from depth_retrofit_ros.bench.kernels import machine_code, resources

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert len(launches) > 20
    for launch in launches:
        compiled = machine_code(launch, architecture)
        needs = resources(compiled)
        assert 0 < needs.registers <= 255 and needs.spilled == 0, (launch.name, needs)
        if launch.name == "convolve":
            assert "mma." in compiled.asm["ptx"] or "tcgen05.mma" in compiled.asm["ptx"]  # halves on tensor cores


def test_keys_of_the_selection_are_rounded_alike_in_every_kernel(
    launches: list[Launch], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A product that is added without being rounded, in one kernel and not in another, makes other keys of the same scores; then
    fewer pixels are written than were counted."""
    from depth_retrofit_ros.bench.kernels import machine_code

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    made = {launch.name: machine_code(launch, 90).asm["ptx"] for launch in launches if "score" in plain(launch.kernel).arg_names}
    keyed = {name: ptx for name, ptx in made.items() if name in ("upper_kernel", "lower_kernel", "count_kernel", "write_kernel")}
    assert len(keyed) == 4
    for name, ptx in keyed.items():
        assert "mul.rn.f32" in ptx and "fma." not in ptx, name
