"""Orthogonalised momentum: steps that move a layer's weights as much in every direction that its gradient knows.

Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the size of a step as in Liu et al. 2025, "Muon is
scalable for LLM training"; the polynomials of Amsel et al. 2025, "The Polar Express". ``torch.optim.Muon`` takes matrices only, and
not convolutions.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

MOMENTUM = 0.95
USUAL_STEP = 0.2  # root mean square of a step of AdamW, as a share of the rate: rates mean the same for both
POLYNOMIALS = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
"""Coefficients of x, x³, x⁵: applied one after the other, they bring singular values of 1e-3 to 1 near 1."""


class Muon(torch.optim.AdamW):
    """AdamW, but for groups of parameters with ``orthogonal``: their steps are orthogonalised momentum, without weight decay.

    A parameter ``[outputs, inputs, …]`` is a matrix of so many rows; in groups with ``transposed``, one ``[inputs, outputs, …]``.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take a step. The gradients of orthogonal groups are None afterwards."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group.get("orthogonal"):
                for parameter in group["params"]:
                    self._move(parameter, group["lr"], group.get("transposed", False))
                    parameter.grad = None  # AdamW leaves it alone
        super().step()
        return loss

    def _move(self, parameter: torch.Tensor, rate: float, transposed: bool) -> None:
        gradient = parameter.grad
        if gradient is None:
            return
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)  # as AdamW counts, which reads all states
            state["momentum"] = torch.zeros_like(parameter)
        state["step"] += 1
        momentum = state["momentum"].lerp_(gradient, 1 - MOMENTUM)
        ahead = gradient.lerp(momentum, MOMENTUM)  # Nesterov
        seen = ahead.transpose(0, 1) if transposed else ahead
        matrix = seen.reshape(seen.shape[0], -1)
        step = (USUAL_STEP * max(matrix.shape) ** 0.5 * orthogonalized(matrix)).view(seen.shape)
        parameter.sub_(step.transpose(0, 1) if transposed else step, alpha=rate)


def orthogonalized(matrix: torch.Tensor) -> torch.Tensor:
    """``float32 [n, m]`` with its singular vectors, and singular values near 1 but for those under a thousandth of its norm; 0
    stays 0."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp_min(1e-12)
    for first, third, fifth in POLYNOMIALS:
        square = wide @ wide.T
        wide = first * wide + (third * square + fifth * square @ square) @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T
