"""Orthogonalised momentum against the singular value decomposition; AdamW where it is not asked for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from depth_retrofit_ros.training.muon import MOMENTUM, USUAL_STEP, Muon, orthogonalized

RATE, BETAS, DECAY = 0.01, (0.9, 0.98), 1e-2


def muon(*groups: dict[str, Any]) -> Muon:
    return Muon(groups, lr=RATE, weight_decay=DECAY, betas=BETAS)


def orthogonal(parameter: nn.Parameter) -> dict[str, Any]:
    return {"params": [parameter], "orthogonal": True}


def moved(optimizer: Muon, parameter: nn.Parameter, gradient: torch.Tensor) -> torch.Tensor:
    """How a step with that gradient changes the parameter."""
    before = parameter.detach().clone()
    parameter.grad = gradient.clone()
    optimizer.step()
    return parameter.detach() - before


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 12), (1, 5)])
def test_singular_vectors_stay_and_values_become_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape, dtype=torch.float64), full_matrices=False)
    values = torch.logspace(0, -2.5, min(shape), dtype=torch.float64)
    found = orthogonalized(((u * values) @ v).float()).double()
    inner = u.T @ found @ v.T
    assert ((inner.diagonal() - 1).abs() < 0.2).all()
    torch.testing.assert_close(found, (u * inner.diagonal()) @ v, atol=1e-4, rtol=0)


def test_nothing_to_learn_moves_nothing() -> None:
    assert torch.equal(orthogonalized(torch.zeros(3, 4)), torch.zeros(3, 4))


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (16, 8, 3, 3)])
def test_a_step_is_as_long_as_one_of_adamw_usually_is(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    parameter = nn.Parameter(torch.randn(shape))
    step = moved(muon(orthogonal(parameter)), parameter, 1e3 * torch.randn(shape))
    assert float(step.square().mean().sqrt()) == pytest.approx(RATE * USUAL_STEP, rel=0.1)


def test_a_convolution_is_a_matrix_of_as_many_rows_as_it_has_outputs() -> None:
    torch.manual_seed(0)
    gradient = torch.randn(6, 4, 2, 2)
    kernel, flat = nn.Parameter(torch.zeros(6, 4, 2, 2)), nn.Parameter(torch.zeros(6, 16))
    upwards = nn.Parameter(torch.zeros(4, 6, 2, 2))  # inputs first, as of a transposed convolution
    optimizer = muon(orthogonal(kernel), orthogonal(flat), orthogonal(upwards) | {"transposed": True})
    step = moved(optimizer, kernel, gradient)
    torch.testing.assert_close(moved(optimizer, flat, gradient.flatten(1)).view_as(step), step)
    torch.testing.assert_close(moved(optimizer, upwards, gradient.transpose(0, 1)).transpose(0, 1), step)


def test_momentum_looks_one_step_ahead() -> None:
    torch.manual_seed(0)
    parameter, (first, second) = nn.Parameter(torch.zeros(5, 9)), torch.randn(2, 5, 9)
    optimizer = muon(orthogonal(parameter))
    moved(optimizer, parameter, first)
    momentum = (1 - MOMENTUM) * (MOMENTUM * first + second)
    wanted = -RATE * USUAL_STEP * 3 * orthogonalized((1 - MOMENTUM) * second + MOMENTUM * momentum)
    torch.testing.assert_close(moved(optimizer, parameter, second), wanted)


def test_other_groups_are_adamws_to_the_bit() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    other = copy.deepcopy(network)
    optimizers = [muon({"params": network.parameters()}), torch.optim.AdamW(other.parameters(), RATE, BETAS, weight_decay=DECAY)]
    for _ in range(4):
        x = torch.randn(16, 4)
        for net, optimizer in zip((network, other), optimizers, strict=True):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), other.parameters(), strict=True))


def test_it_is_as_fast_in_directions_of_small_gradients() -> None:
    """Least squares whose inputs differ by thirty in size, and so their gradients by a thousand."""
    torch.manual_seed(0)
    inputs = torch.randn(512, 12) @ (torch.linalg.qr(torch.randn(12, 12))[0] * torch.logspace(0, -1.5, 12))
    truth = torch.randn(12, 6)
    weights = nn.Parameter(torch.zeros(12, 6))
    optimizer = muon(orthogonal(weights))
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / 400)
        optimizer.zero_grad()
        (inputs @ (weights - truth)).square().sum(1).mean().backward()
        optimizer.step()
    assert float((weights - truth).detach().abs().max()) < 0.05


def test_state_goes_on_where_it_was() -> None:
    torch.manual_seed(0)
    start, gradients = torch.randn(4, 6), torch.randn(4, 4, 6)

    def run(break_after: int) -> torch.Tensor:
        parameter = nn.Parameter(start.clone())
        optimizer = muon(orthogonal(parameter))
        for step, gradient in enumerate(gradients):
            if step == break_after:
                state = copy.deepcopy(optimizer.state_dict())
                optimizer = muon(orthogonal(parameter))
                optimizer.load_state_dict(state)
            moved(optimizer, parameter, gradient)
        return parameter.detach()

    assert torch.equal(run(2), run(99))


def test_a_closure_is_asked_for_the_loss() -> None:
    parameter = nn.Parameter(torch.ones(2, 3))
    optimizer = muon(orthogonal(parameter))

    def loss() -> float:
        value = parameter.square().sum()
        value.backward()
        return float(value.detach())

    assert optimizer.step(loss) == 6.0
    assert float(parameter.detach().max()) < 1
