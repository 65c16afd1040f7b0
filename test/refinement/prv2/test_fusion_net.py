"""PatchRefiner V2's fusion against samples of what the published code answers with the same weights; and what its units do."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from depth_retrofit_ros.refinement.prv2.fusion_net import (
    FusionWidths,
    GuidedDenoisingUnit,
    TwoWayFusion,
    enlarged,
)
from test.coarse.networks.parity import fill, mismatches, random_input, read_fixture, signature

TINY = FusionWidths(fine=(4, 6, 8, 10, 12), coarse=(6, *(16,) * 5), path=16, joint=(4, 5, 6, 7, 8, 9), decoder=(12, 10, 8, 6, 4))
HEIGHT, WIDTH = 64, 96
PLACES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"^c2f\.lateral\.(\d)", lambda m: f"c2f.scratch.layer{int(m[1]) + 1}_rn"),
    (r"^c2f\.blocks\.(\d)", lambda m: f"c2f.scratch.refinenet{int(m[1]) + 1}"),
    (r"^c2f\.block0", lambda m: "c2f.scratch.output_conv2_fusion"),
    (r"^c2f\.narrow", lambda m: "c2f.scratch.output_conv1"),
    (r"^c2f\.last", lambda m: "c2f.scratch.output_conv2.0"),
    (r"^c2f\.depth", lambda m: "c2f.scratch.output_conv3.0"),
    (r"\.own\.", lambda m: ".GateresConfUnit1."),
    (r"\.sum\.", lambda m: ".GateresConfUnit2."),
    (r"\.project\.", lambda m: ".out_conv."),
    (r"\.residual\.", lambda m: ".conv."),
    (r"\.joint\.", lambda m: ".fusion_conv.0."),
    (r"(Unit\d)\.norm\.", lambda m: f"{m[1]}.fusion_conv.1."),
    (r"\.mask\.", lambda m: ".fusion_conv.3."),
    (r"^f2c\.(join|inform)\.(\d)\.conv", lambda m: f"fusion_layers_{1 if m[1] == 'join' else 2}.{m[2]}.single_conv.0"),
    (r"^f2c\.(join|inform)\.(\d)\.norm", lambda m: f"fusion_layers_{1 if m[1] == 'join' else 2}.{m[2]}.single_conv.1"),
    (r"^f2c\.decode\.(\d)", lambda m: f"f2r_agg.{m[1]}.conv.double_conv"),
    (r"^f2c\.offset", lambda m: "final_conv"),
)


def published_name(name: str) -> str:
    """Of a parameter of ours, in the published code."""
    for pattern, place in PLACES:
        name = re.sub(pattern, place, name)
    return name


def inputs() -> tuple[list[Tensor], list[Tensor], Tensor]:
    """The encoder's five maps, six coarse ones, and the coarse depth, of two tiles."""
    fine = [random_input(f"fine {i}", (2, c, HEIGHT >> i + 1, WIDTH >> i + 1)) for i, c in enumerate(TINY.fine)]
    coarse = [random_input(f"coarse {i}", (2, c, HEIGHT >> i, WIDTH >> i)) for i, c in enumerate(TINY.coarse)]
    return fine, coarse, random_input("depth", (2, 1, HEIGHT, WIDTH))


def filled() -> TwoWayFusion:
    network = TwoWayFusion(TINY).eval()
    fill(network, name_of=published_name)
    return network


def answers(network: TwoWayFusion) -> dict[str, Tensor]:
    with torch.no_grad():
        offset, own = network(*inputs())
    return {"offset": offset, "own": own}


def test_it_answers_as_the_published_code() -> None:
    network, fixture = filled(), read_fixture("prv2")
    assert signature(network, published_name) == fixture["signature"]
    assert mismatches(answers(network), fixture["answers"]) == []


def test_coarse_maps_of_any_size_are_brought_to_the_tile_s() -> None:
    network, (fine, coarse, depth) = filled(), inputs()
    small = [level[..., ::2, ::2] for level in coarse]
    with torch.no_grad():
        one = network(fine, small, depth)[0]
        two = network(fine, [enlarged(level, (HEIGHT >> i, WIDTH >> i)) for i, level in enumerate(small)], depth)[0]
    assert torch.equal(one, two)


def test_a_unit_only_attenuates() -> None:
    torch.manual_seed(0)
    unit, x, coarse = GuidedDenoisingUnit(8), torch.randn(2, 8, 9, 9), torch.randn(2, 8, 9, 9)
    with torch.no_grad():
        step, out = x + unit.residual(x.relu()), unit(x, coarse)
        ratio = out / step
        other = unit(x, coarse.flip(0)) / step
    assert float(ratio.min()) >= 0 and float(ratio.max()) <= 1
    assert float((ratio - other).abs().max()) > 1e-3, "the coarse map steers it"


def test_widths_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="coarse as path"):
        FusionWidths((4,) * 5, (6,) * 6, 16, (4,) * 6, (4,) * 5)
