"""Every unknown cell gets the value of the nearest known one."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.coarse.holes import filled


def distances(unknown: torch.Tensor) -> torch.Tensor:
    """Of each cell to each known one, ``[h * w, n]``, by rows plus columns."""
    cells = torch.nonzero(torch.ones_like(unknown))
    return (cells[:, None] - torch.nonzero(~unknown)[None]).abs().sum(2)


@pytest.mark.parametrize(("shape", "share"), [((9, 13), 0.2), ((9, 13), 0.95), ((1, 8), 0.5), ((8, 1), 0.5), ((30, 20), 0.99)])
def test_it_is_the_nearest_one(shape: tuple[int, int], share: float) -> None:
    unknown = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < share
    unknown[shape[0] // 2, shape[1] // 3] = False
    values = torch.arange(unknown.numel()).view(shape).float()
    out = filled(values, unknown)
    assert torch.equal(out[~unknown], values[~unknown])
    distance = distances(unknown)
    source = torch.searchsorted(values[~unknown], out.flatten())
    assert torch.equal(values[~unknown][source], out.flatten()), "of known cells alone"
    assert torch.equal(distance[torch.arange(len(distance)), source], distance.amin(1))


def test_where_nothing_is_known_it_is_as_finite_as_before() -> None:
    assert torch.equal(filled(torch.full((4, 6), 2.0), torch.ones(4, 6, dtype=torch.bool)), torch.full((4, 6), 2.0))
