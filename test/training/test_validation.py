"""Validation is a mean over its batches, and the share that is left of the coarse error."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.training.validation import validated


def test_means_and_what_is_left() -> None:
    weight = torch.ones((), requires_grad=True)

    def losses(index: int) -> dict[str, torch.Tensor]:
        assert not torch.is_grad_enabled()
        return {name: weight * value for name, value in (("total", 3.0), ("error", 1.0 + index), ("coarse", 4.0 * (1 + index)))}

    figures = validated(losses, 3)
    assert figures == pytest.approx({"val_total": 3, "val_error": 2, "val_coarse": 8, "val_left": 0.25})
    assert validated(losses, 1, "total")["val_left"] == pytest.approx(0.75)


def test_a_perfect_coarse_map_leaves_a_number() -> None:
    assert validated(lambda index: {"error": torch.zeros(()), "coarse": torch.zeros(())}, 1)["val_left"] == 0
