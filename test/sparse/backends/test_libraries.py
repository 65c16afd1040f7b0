"""The adapters to other sparse libraries, where these are installed."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.sparse.backends.registry import BACKENDS, SparseBackend, is_installed, load_backend
from test.sparse.backends.conformance import check_operations, check_unet
from test.sparse.dense_reference import MASKS, SIZES, make_mask


@pytest.fixture(params=["minkowski", "spconv"])
def library(request: pytest.FixtureRequest) -> SparseBackend:
    if not is_installed(BACKENDS[request.param]):
        pytest.skip(f"{BACKENDS[request.param].package} is not installed")
    return load_backend(request.param)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", MASKS)
def test_library_gives_the_values_of_torch(library: SparseBackend, kind: str, size: tuple[int, int]) -> None:
    check_operations(library, make_mask(kind, size), (5, 7))
    check_unet(library, make_mask(kind, size))


def test_spconv_says_that_it_runs_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    if not is_installed(BACKENDS["spconv"]):
        pytest.skip("spconv is not installed")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with pytest.warns(UserWarning, match="wrong results on several CPU threads: on a CPU it is run on one"):
        load_backend("spconv")
