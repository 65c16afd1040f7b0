"""What a backend to train by must do as ``torch`` does: values and gradients, of each operation on each level and of a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from depth_retrofit_ros.sparse.backends.registry import SparseBackend, load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Pyramid
from depth_retrofit_ros.sparse.unet import SparseUNet

TOLERANCE = 1e-4  # of the largest value
Operation = Callable[[SparseBackend, Pyramid, Sequence[torch.Tensor]], torch.Tensor]

REFERENCE = load_backend("torch")


def check_gradients(backend: SparseBackend, mask: torch.Tensor, channels: tuple[int, int], levels: int) -> float:
    """Every operation on every level of this ``bool [H, W]`` mask, against the reference in float64. Returns the largest error, of
    results and of the gradients of all operands, in parts of the largest value."""
    pixels = PixelSet.from_mask(mask)
    pyramid, reference = backend.build_pyramid(pixels, levels), REFERENCE.build_pyramid(pixels, levels)
    worst = 0.0
    for depth in range(levels):
        for name, (operation, shapes) in operations(reference, depth, *channels).items():
            generator = torch.Generator().manual_seed(depth)
            operands = [torch.randn(shape, generator=generator) / 2 for shape in shapes]
            wanted = values_and_gradients(partial(operation, REFERENCE, reference), [operand.double() for operand in operands])
            got = values_and_gradients(partial(operation, backend, pyramid), operands)
            for part, (ours, theirs) in enumerate(zip(got, wanted, strict=True)):
                worst = max(
                    worst, difference(ours, theirs, f"{name} on level {depth}, " + (f"gradient {part}" if part else "values"))
                )
    return worst


def operations(pyramid: Pyramid, depth: int, cin: int, cout: int) -> dict[str, tuple[Operation, list[tuple[int, ...]]]]:
    """Those of a level, with the shapes of their operands: features, weight, bias and, where there is one, residual."""
    here = pyramid[depth].count
    three, flat, added = (cout, cin, 3, 3), (cout, cin), (here, cout)
    found: dict[str, tuple[Operation, list[tuple[int, ...]]]] = {
        "submanifold": (lambda e, p, o: e.submanifold_conv(o[0], o[1], o[2], p[depth]), [(here, cin), three, (cout,)]),
        "submanifold, no bias": (lambda e, p, o: e.submanifold_conv(o[0], o[1], None, p[depth]), [(here, cin), three]),
        "submanifold, relu, residual": (
            lambda e, p, o: e.submanifold_conv(o[0], o[1], o[2], p[depth], relu_input=True, residual=o[3]),
            [(here, cin), three, (cout,), added],
        ),
        "linear": (lambda e, p, o: e.linear(o[0], o[1], o[2]), [(here, cin), flat, (cout,)]),
        "linear, relu": (lambda e, p, o: e.linear(o[0], o[1], None, relu_input=True), [(here, cin), flat]),
    }
    if depth + 1 < len(pyramid):
        below = pyramid[depth + 1].count
        found |= {
            "down": (lambda e, p, o: e.down_conv(o[0], o[1], o[2], p[depth]), [(here, cin), (cout, cin, 2, 2), (cout,)]),
            "up": (lambda e, p, o: e.up_conv(o[0], o[1], o[2], p[depth]), [(below, cin), (cin, cout, 2, 2), (cout,)]),
            "up, residual": (
                lambda e, p, o: e.up_conv(o[0], o[1], o[2], p[depth], residual=o[3]),
                [(below, cin), (cin, cout, 2, 2), (cout,), added],
            ),
        }
    return found


def values_and_gradients(
    operation: Callable[[Sequence[torch.Tensor]], torch.Tensor], operands: Sequence[torch.Tensor]
) -> list[torch.Tensor]:
    """The result, and the gradient of a weighted sum of it by each operand."""
    leaves = [operand.clone().requires_grad_() for operand in operands]
    out = operation(leaves)
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(9)).to(out.dtype)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def check_network_gradients(backend: SparseBackend, mask: torch.Tensor, widths: Sequence[int]) -> float:
    """A U-Net whose every weight matters: its output and the gradients of its input and of all of its weights. Returns as above."""
    torch.manual_seed(0)
    net = SparseUNet(4, widths, blocks=1, out_channels=3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.15)
    pixels = PixelSet.from_mask(mask)
    features = torch.randn(pixels.count, 4)

    def all_of(engine: SparseBackend, dtype: torch.dtype) -> list[torch.Tensor]:
        net.to(dtype).zero_grad()
        leaf = features.to(dtype).requires_grad_()
        out = net(leaf, engine.build_pyramid(pixels, net.levels))
        return [out.detach(), *torch.autograd.grad(out.square().sum(), [leaf, *net.parameters()])]

    names = ["values", "input", *(name for name, _ in net.named_parameters())]
    wanted, got = all_of(REFERENCE, torch.float64), all_of(backend, torch.float32)
    return max(difference(*parts) for parts in zip(got, wanted, names, strict=True))


def difference(ours: torch.Tensor, theirs: torch.Tensor, what: str) -> float:
    """The largest, in parts of the largest value; AssertionError where it is above the tolerance or the shapes differ."""
    assert ours.shape == theirs.shape and ours.dtype == torch.float32, what
    scale = float(theirs.abs().max()) if theirs.numel() else 1.0
    error = float((ours.double() - theirs).abs().max()) if theirs.numel() else 0.0
    assert error <= TOLERANCE * scale, f"{what}: {error} of {scale}"
    return error / scale if scale else 0.0
