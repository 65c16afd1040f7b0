"""The gate against the formula, written out in NumPy."""

from __future__ import annotations

import numpy as np
import torch

from depth_retrofit_ros.refinement.fusion import GatedFusion


def test_formula() -> None:
    fusion = GatedFusion(hidden=5)
    inputs = torch.randn(100, 4)
    gate, change = fusion(*inputs.unbind(1))
    weights = [p.detach().double().numpy() for p in fusion.parameters()]
    hidden = np.maximum(inputs.double().numpy() @ weights[0].T + weights[1], 0)
    expected = 1 / (1 + np.exp(-(hidden @ weights[2].T + weights[3])[:, 0]))
    np.testing.assert_allclose(gate.detach().numpy(), expected, atol=1e-6)
    np.testing.assert_allclose(change.detach().numpy(), (1 - expected) * inputs[:, 1].double().numpy(), atol=1e-6)


def test_gate_is_a_weight_and_the_result_lies_between_coarse_and_refined() -> None:
    fusion = GatedFusion()
    inputs = 30 * torch.randn(1000, 4)
    gate, change = (values.detach() for values in fusion(*inputs.unbind(1)))
    assert float(gate.min()) >= 0 and float(gate.max()) <= 1
    assert bool((change.abs() <= inputs[:, 1].abs()).all())
    assert bool((change * inputs[:, 1] >= 0).all())


def test_closed_gate_keeps_the_coarse_value_and_open_gate_takes_the_refined_one() -> None:
    fusion = GatedFusion()
    inputs = torch.randn(10, 4)
    last = fusion.mlp[2]
    assert isinstance(last, torch.nn.Linear)
    with torch.no_grad():
        last.bias.fill_(1e4)
        torch.testing.assert_close(fusion(*inputs.unbind(1))[1], torch.zeros(10))
        last.bias.fill_(-1e4)
        torch.testing.assert_close(fusion(*inputs.unbind(1))[1], inputs[:, 1])


def test_new_gate_mostly_trusts_the_refinement() -> None:
    gate, _ = GatedFusion()(*torch.zeros(4, 3))
    assert bool((gate < 0.5).all())


def test_no_pixels() -> None:
    gate, change = GatedFusion()(*torch.zeros(4, 0))
    assert gate.shape == change.shape == (0,)
