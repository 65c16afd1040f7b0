"""The Triton backend: its logic by Triton's interpreter on the CPU, in a process of its own; on CUDA where there is one."""

from __future__ import annotations

import os

import pytest
import torch

from depth_retrofit_ros.sparse.backends.registry import BACKENDS, is_installed, load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.sparse.backends.conformance import check_maps, check_operations, check_unet, large_mask
from test.sparse.dense_reference import MASKS, make_mask
from test.waiting import run_python, same_imports

pytestmark = pytest.mark.skipif(not is_installed(BACKENDS["triton"]), reason="triton is not installed: pip install triton")

AGREED = "all agree"
TOLERANCES = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}


def check_interpreted() -> None:
    """In a process whose environment asks Triton to interpret: the kernels are then run on the CPU, as written."""
    backend = load_backend("triton")
    for kind in MASKS:
        check_maps(backend, make_mask(kind, (13, 9)))
        check_unet(backend, make_mask(kind, (13, 9)))
        check_operations(backend, make_mask(kind, (5, 7)), (5, 7))
    for dtype in (torch.float32, torch.float16):  # the interpreter multiplies the bits of bfloat16 as integers
        check_operations(backend, make_mask("random", (16, 20)), (24, 70), dtype=dtype, tolerance=TOLERANCES[dtype])
    check_nothing_reads_values()


def check_nothing_reads_values() -> None:
    """What has to look at values fails on tensors without any."""
    from depth_retrofit_ros.sparse.backends.triton.backend import halve

    pixels = PixelSet(torch.empty(500, dtype=torch.int64, device="meta"), torch.empty(90, 160, dtype=torch.int32, device="meta"))
    coarser, active = halve(pixels, 500)
    assert halve(coarser.pixels, 400)[0].pixels.count == 400 and active.shape == (1,)


@pytest.mark.slow
def test_interpreted_kernels_give_the_values_of_torch() -> None:
    process = run_python("-m", __name__, env={**os.environ, **same_imports(), "TRITON_INTERPRET": "1"})
    assert process.returncode == 0 and process.stdout.strip() == AGREED, process.stderr[-3000:]


@pytest.mark.cuda
@pytest.mark.parametrize("kind", MASKS)
def test_cuda_gives_the_values_of_torch(kind: str) -> None:
    backend = load_backend("triton", torch.device("cuda"))
    check_maps(backend, make_mask(kind, (21, 35)), device="cuda")
    check_unet(backend, make_mask(kind, (21, 35)), device="cuda", tolerance=1e-3)
    for dtype, tolerance in TOLERANCES.items():
        for channels in ((5, 7), (24, 16), (16, 70)):
            check_operations(backend, make_mask(kind, (21, 35)), channels, dtype=dtype, tolerance=tolerance, device="cuda")


@pytest.mark.cuda
def test_cuda_on_a_large_set() -> None:
    backend = load_backend("triton", torch.device("cuda"))
    check_maps(backend, large_mask(), levels=5, device="cuda")
    check_operations(backend, large_mask(), (24, 16), dtype=torch.float16, tolerance=2e-3, device="cuda")


if __name__ == "__main__":
    check_interpreted()
    print(AGREED)
