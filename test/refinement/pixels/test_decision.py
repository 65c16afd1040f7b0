"""The compiled decision against its specification."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.refinement.pixels import decision
from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.decision import TERMS, decide, decide_by_torch
from depth_retrofit_ros.refinement.pixels.features import WIDTHS, PixelFeatures


@pytest.mark.parametrize("count", [COUNT, 9])
def test_compiled_pass_follows_the_number_of_candidates(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it is written into the kernel, where the cache of compiled kernels would keep it when it changes."""
    monkeypatch.setattr(decision, "COUNT", count)
    for name in ("candidates", "colors"):
        monkeypatch.setitem(WIDTHS, name, count)
    features = PixelFeatures(torch.randn(500, sum(WIDTHS.values())))
    out = torch.randn(500, count + TERMS + 1)
    wanted = decide_by_torch(out, features)
    with torch.inference_mode():
        got = decide(out, features)
    assert got.log_choice is None
    torch.testing.assert_close(got.change, wanted.change, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(got.entropy, wanted.entropy, rtol=1e-5, atol=1e-5)
