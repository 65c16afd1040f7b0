"""Losses against NumPy formulations that share no code with them, and cases worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from depth_retrofit_ros.training import losses
from depth_retrofit_ros.training.losses import Losses, Term, mean_of

SIDE, WINDOWS = 23, 100


def silog_loss(pred: torch.Tensor, true: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """Of these maps alone, as the three below."""
    return losses.silog_loss(pred, true, valid).alone()


def gradient_loss(pred: torch.Tensor, true: torch.Tensor, valid: torch.Tensor, scales: int = 3) -> torch.Tensor:
    return losses.gradient_loss(pred, true, valid, scales).alone()


def local_window_loss(
    pred: torch.Tensor, true: torch.Tensor, valid: torch.Tensor, generator: torch.Generator, windows: int, side: int
) -> torch.Tensor:
    return losses.local_window_loss(pred, true, valid, [generator], windows, side).alone()


def two_hot_cross_entropy(logits: torch.Tensor, log_true: torch.Tensor, centers: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    return losses.two_hot_cross_entropy(logits, log_true, centers, valid).alone()


def maps(seed: int = 0, shape: tuple[int, int, int] = (2, 48, 64)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Prediction and truth [B, H, W] as ln depth in float64, valid at about nine pixels of ten."""
    rng = np.random.default_rng(seed)
    true = rng.normal(size=shape).cumsum(1).cumsum(2) / 40
    return torch.from_numpy(true + 0.2 * rng.normal(size=shape)), torch.from_numpy(true), torch.from_numpy(rng.random(shape) < 0.9)


def generator() -> torch.Generator:
    """The same windows each time."""
    return torch.Generator().manual_seed(5)


def test_silog_is_the_published_formula() -> None:
    pred, true, valid = maps()
    g = (pred - true).numpy()[valid.numpy()]
    assert float(silog_loss(pred, true, valid)) == pytest.approx(10 * math.sqrt(g.var(ddof=1) + 0.15 * g.mean() ** 2), rel=1e-6)


def test_silog_by_hand() -> None:
    """g = 0, 2: variance 2, mean 1."""
    pred, true = torch.tensor([[[1.0, 3.0, 9.0]]]), torch.tensor([[[1.0, 1.0, 1.0]]])
    valid = torch.tensor([[[True, True, False]]])
    assert float(silog_loss(pred, true, valid)) == pytest.approx(10 * math.sqrt(2.15), rel=1e-6)


def test_silog_of_a_wrong_scale_is_085_below_the_full_error() -> None:
    _, true, valid = maps()
    assert float(silog_loss(true + 0.7, true, valid)) == pytest.approx(10 * math.sqrt(0.15) * 0.7, rel=1e-4)


def test_silog_of_nothing_is_zero_and_has_a_gradient() -> None:
    pred, true, valid = maps()
    pred.requires_grad_(True)
    loss = silog_loss(pred, true, torch.zeros_like(valid))
    loss.backward()
    assert float(loss.detach()) == 0 and pred.grad is not None and float(pred.grad.abs().max()) == 0


def test_gradient_loss_is_the_sum_over_scales_and_directions() -> None:
    pred, true, valid = maps()
    g, v = (pred - true).numpy(), valid.numpy()
    expected = 0.0
    for step in (1, 2, 4):
        d, k = g[:, ::step, ::step], v[:, ::step, ::step]
        for axis in (1, 2):
            pair = np.logical_and(*(np.take(k, np.arange(s, k.shape[axis] - 1 + s), axis) for s in (0, 1)))
            expected += float(np.abs(np.diff(d, axis=axis))[pair].mean())
    assert float(gradient_loss(pred, true, valid)) == pytest.approx(expected, rel=1e-9)


def test_gradient_loss_by_hand() -> None:
    """Differences 0, 1, 3 in one row, a second row that is one lower: |1|, |2| across and |1|, |1|, |1| down."""
    g = torch.tensor([[[0.0, 1.0, 3.0], [-1.0, 0.0, 2.0]]])
    valid = torch.ones(1, 2, 3, dtype=torch.bool)
    assert float(gradient_loss(g, torch.zeros_like(g), valid, scales=1)) == pytest.approx(1.5 + 1.0)
    valid[0, 0, 1] = False  # takes both pairs across of the first row, and the middle one down
    assert float(gradient_loss(g, torch.zeros_like(g), valid, scales=1)) == pytest.approx(1.5 + 1.0)
    valid[0, 1, 1] = False
    assert float(gradient_loss(g, torch.zeros_like(g), valid, scales=1)) == pytest.approx(0.0 + 1.0)


def test_gradient_loss_does_not_see_a_constant_factor_but_sees_a_moved_edge() -> None:
    _, true, valid = maps()
    assert float(gradient_loss(true + 0.7, true, valid)) == pytest.approx(0.0, abs=1e-9)
    edge = torch.zeros(1, 8, 8)
    edge[:, :, 4:] = 1.0
    assert float(gradient_loss(edge.roll(1, 2), edge, torch.ones(1, 8, 8, dtype=torch.bool))) > 0.1


def test_local_windows_equal_a_least_squares_fit_of_each() -> None:
    pred, true, valid = maps()
    draw = generator()
    y = torch.randint(0, 48 - SIDE + 1, (2 * WINDOWS,), generator=draw).tolist()
    x = torch.randint(0, 64 - SIDE + 1, (2 * WINDOWS,), generator=draw).tolist()
    total, count = 0.0, 0
    for i, (top, left) in enumerate(zip(y, x, strict=True)):
        window = (i // WINDOWS, slice(top, top + SIDE), slice(left, left + SIDE))
        p, t, v = pred[window].numpy(), true[window].numpy(), valid[window].numpy()
        scale, shift = np.linalg.lstsq(np.stack([p[v], np.ones(v.sum())], 1), t[v], rcond=None)[0]
        residual = scale * p + shift - t
        total += float(np.abs(np.diff(residual, axis=1))[v[:, 1:] & v[:, :-1]].sum())
        total += float(np.abs(np.diff(residual, axis=0))[v[1:] & v[:-1]].sum())
        count += int(v.sum())
    loss = local_window_loss(pred, true, valid, generator(), WINDOWS, SIDE)
    assert float(loss) == pytest.approx(total / (2 * count), rel=1e-6)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 5.0), (7.0, 0.0), (0.05, -3.0), (-2.0, 1.0)])
def test_local_windows_do_not_see_any_scale_and_shift_of_the_prediction(scale: float, shift: float) -> None:
    pred, true, valid = maps()
    plain = local_window_loss(pred, true, valid, generator(), WINDOWS, SIDE)
    changed = local_window_loss(scale * pred + shift, true, valid, generator(), WINDOWS, SIDE)
    assert float(plain) > 0.01
    assert float(changed) == pytest.approx(float(plain), rel=1e-6)
    perfect = local_window_loss(scale * true + shift, true, valid, generator(), WINDOWS, SIDE)
    assert float(perfect) == pytest.approx(0.0, abs=1e-6)


def test_local_windows_of_a_flat_prediction_and_of_nothing_valid_are_finite() -> None:
    _, true, valid = maps()
    flat = torch.full_like(true, 2.0, requires_grad=True)
    loss = local_window_loss(flat, true, valid, generator(), WINDOWS, SIDE)
    loss.backward()
    assert math.isfinite(float(loss.detach())) and flat.grad is not None and bool(torch.isfinite(flat.grad).all())
    assert float(local_window_loss(true, true, torch.zeros_like(valid), generator(), WINDOWS, SIDE)) == 0


def test_two_hot_by_hand() -> None:
    """Bins at 0, 1, 2: a target of 1.25 is three parts of bin 1 and one of bin 2."""
    centers = torch.tensor([0.0, 1.0, 2.0])
    logits = torch.tensor([0.2, 0.5, -1.0]).log_softmax(0)
    targets = torch.tensor([[[1.25, 0.0, -7.0, 2.0, 40.0, 1.0]]])
    ones = torch.ones_like(targets, dtype=torch.bool)
    expected = [-(0.75 * logits[1] + 0.25 * logits[2]), -logits[0], -logits[0], -logits[2], -logits[2], -logits[1]]
    for i, value in enumerate(expected):
        loss = two_hot_cross_entropy(logits[None, :, None, None], targets[..., i : i + 1], centers, ones[..., :1])
        assert float(loss) == pytest.approx(float(value), rel=1e-5)
    whole = two_hot_cross_entropy(logits[None, :, None, None].expand(1, 3, 1, 6), targets, centers, ones)
    assert float(whole) == pytest.approx(float(torch.stack(expected).mean()), rel=1e-5)


def test_two_hot_is_least_where_the_expectation_is_the_target() -> None:
    centers = torch.linspace(-1, 1, 9, dtype=torch.float64)
    target = torch.tensor([[[0.3]]], dtype=torch.float64)
    share = (0.3 - 0.25) / 0.25
    best = torch.full((9,), 1e-12, dtype=torch.float64)
    best[5], best[6] = 1 - share, share
    logits = best.log().view(1, 9, 1, 1).float().requires_grad_(True)
    valid = torch.ones(1, 1, 1, dtype=torch.bool)
    two_hot_cross_entropy(logits, target.float(), centers.float(), valid).backward()
    assert logits.grad is not None and float(logits.grad.abs().max()) < 1e-5
    assert float((best * centers).sum()) == pytest.approx(0.3)


def test_two_hot_ignores_what_is_not_valid() -> None:
    logits, valid = torch.randn(2, 5, 3, 4), torch.rand(2, 3, 4) < 0.5
    target = torch.rand(2, 3, 4) * 4
    elsewhere = torch.where(valid, target, math.inf)
    centers = torch.arange(5.0)
    plain = two_hot_cross_entropy(logits, target, centers, valid)
    torch.testing.assert_close(two_hot_cross_entropy(logits, elsewhere, centers, valid), plain)
    assert float(two_hot_cross_entropy(logits, target, centers, torch.zeros_like(valid))) == 0


def test_gradients_are_the_derivatives() -> None:
    pred, true, valid = maps(shape=(1, 8, 9))
    pred.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda p: silog_loss(p, true, valid), (pred,))
    assert torch.autograd.gradcheck(lambda p: gradient_loss(p, true, valid), (pred,))
    assert torch.autograd.gradcheck(lambda p: local_window_loss(p, true, valid, generator(), 3, 5), (pred,))


def test_unknown_truth_does_not_poison_the_gradient() -> None:
    pred, true, valid = maps()
    true[~valid] = math.inf
    pred.requires_grad_(True)
    total = silog_loss(pred, true, valid) + gradient_loss(pred, true, valid)
    total = total + local_window_loss(pred, true, valid, generator(), WINDOWS, SIDE)
    total.backward()
    assert pred.grad is not None and bool(torch.isfinite(pred.grad).all())
    assert float(pred.grad[~valid].abs().max()) == 0


def four_maps() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Of four images, of which the last is hardly known: means of parts are not the mean of all."""
    pred, true, valid = maps(shape=(4, 24, 32))
    valid[3, 2:] = False
    return pred.requires_grad_(), true, valid


def of_images(name: str, part: slice, of: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> Term:
    """One of the losses of some images."""
    pred, true, valid = (value[part] for value in of)
    if name == "silog":
        return losses.silog_loss(pred, true, valid)
    if name == "gradient":
        return losses.gradient_loss(pred, true, valid)
    if name == "windows":
        generators = [torch.Generator().manual_seed(image) for image in range(4)][part]
        return losses.local_window_loss(pred, true, valid, generators, 5, 9)
    return mean_of((pred - true).abs(), valid)


@pytest.mark.parametrize("name", ["silog", "gradient", "windows", "mean"])
@pytest.mark.parametrize("parts", [(2, 2), (1, 3), (3, 1), (0, 4)])
def test_parts_are_the_whole(name: str, parts: tuple[int, int]) -> None:
    """Value and gradient, though one part has fewer known pixels, or no image at all."""
    of = four_maps()
    of_images(name, slice(0, 4), of).alone().backward()
    assert of[0].grad is not None
    wanted, of[0].grad = of[0].grad, None
    terms = [of_images(name, part, of) for part in (slice(0, parts[0]), slice(parts[0], 4))]
    whole = torch.stack([term.sums.detach() for term in terms]).sum(0)
    for term in terms:
        value = term.among(whole)
        assert float(value) == pytest.approx(float(of_images(name, slice(0, 4), of).alone()), rel=1e-12)
        value.backward()
    torch.testing.assert_close(of[0].grad, wanted, rtol=1e-9, atol=1e-12)


def test_losses_are_named_values_and_their_weighted_sum() -> None:
    values = torch.tensor([1.0, 3.0], requires_grad=True)
    found = Losses({"a": mean_of(values), "b": mean_of(values**2)}, {"a": 2.0, "b": 0.5})
    assert {name: float(value.detach()) for name, value in found.items()} == {"total": 6.5, "a": 2.0, "b": 5.0}
    assert found.sums.tolist() == [4.0, 2.0, 10.0, 2.0] and not found.sums.requires_grad
    among = found.among(torch.tensor([8.0, 4.0, 20.0, 4.0], dtype=torch.float64))
    assert float(among["total"].detach()) == 6.5
    among["total"].backward()
    assert values.grad is not None and values.grad.tolist() == pytest.approx([0.75, 1.25])


def test_a_plain_mean_keeps_no_map_for_its_gradient() -> None:
    """It weighs by nothing."""
    kept: list[int] = []
    values = torch.randn(3, 5, requires_grad=True)

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        mean = mean_of(values).alone()
    mean.backward()
    assert values.grad is not None
    torch.testing.assert_close(mean, values.mean().double())
    torch.testing.assert_close(values.grad, torch.full((3, 5), 1 / 15))
    assert max(kept, default=0) < values.numel()
    assert float(mean_of(torch.zeros(0)).alone()) == 0
