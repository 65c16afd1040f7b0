"""What every backend must do as ``torch`` does: maps, convolutions and a whole U-Net on all kinds of active sets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import nn

from depth_retrofit_ros.sparse.backends.registry import SparseBackend, load_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Level, Pyramid
from depth_retrofit_ros.sparse.unet import SparseUNet
from test.sparse.dense_reference import make_mask

Cast = Callable[[torch.Tensor], torch.Tensor]
Operation = Callable[[SparseBackend, Pyramid, Cast], torch.Tensor]

REFERENCE = load_backend("torch")


def operations(cin: int, cout: int, counts: tuple[int, int]) -> dict[str, Operation]:
    """Every operation with every option, on random inputs. counts: (K, K') of the two levels; the last argument casts tensors."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / 2

    fine, coarse, added = random(counts[0], cin), random(counts[1], cin), random(counts[0], cout)
    three, down, up, flat, bias = (
        random(*shape) for shape in ((cout, cin, 3, 3), (cout, cin, 2, 2), (cin, cout, 2, 2), (cout, cin), (cout,))
    )
    return {
        "submanifold": lambda e, p, t: e.submanifold_conv(rows(t(fine), p[0]), t(three), t(bias), p[0]),
        "submanifold, no bias": lambda e, p, t: e.submanifold_conv(rows(t(fine), p[0]), t(three), None, p[0]),
        "submanifold, relu": lambda e, p, t: e.submanifold_conv(rows(t(fine), p[0]), t(three), t(bias), p[0], relu_input=True),
        "submanifold, relu, residual": lambda e, p, t: e.submanifold_conv(
            rows(t(fine), p[0]), t(three), t(bias), p[0], relu_input=True, residual=rows(t(added), p[0])
        ),
        "submanifold, coarse": lambda e, p, t: e.submanifold_conv(rows(t(coarse), p[1]), t(three), t(bias), p[1]),
        "down": lambda e, p, t: e.down_conv(rows(t(fine), p[0]), t(down), t(bias), p[0]),
        "down, no bias": lambda e, p, t: e.down_conv(rows(t(fine), p[0]), t(down), None, p[0]),
        "up": lambda e, p, t: e.up_conv(rows(t(coarse), p[1]), t(up), t(bias), p[0]),
        "up, residual": lambda e, p, t: e.up_conv(rows(t(coarse), p[1]), t(up), t(bias), p[0], residual=rows(t(added), p[0])),
        "up, no bias": lambda e, p, t: e.up_conv(rows(t(coarse), p[1]), t(up), None, p[0]),
        "linear": lambda e, p, t: e.linear(t(fine), t(flat), t(bias)),
        "linear, relu": lambda e, p, t: e.linear(t(fine), t(flat), None, relu_input=True),
    }


def rows(features: torch.Tensor, level: Level) -> torch.Tensor:
    """As many rows as the level has; those that are not in use are NaN, which nothing may come of."""
    unused = features.new_full((level.count - features.shape[0], features.shape[1]), torch.nan)
    return torch.cat([features, unused])


@torch.inference_mode()
def check_operations(
    backend: SparseBackend,
    mask: torch.Tensor,
    channels: tuple[int, int],
    *,
    dtype: torch.dtype = torch.float32,
    tolerance: float = 1e-5,
    device: str = "cpu",
) -> None:
    """Each operation on this ``bool [H, W]`` mask against the reference, which gets the same (rounded) inputs."""
    reference = REFERENCE.build_pyramid(PixelSet.from_mask(mask), 2)
    pyramid = backend.build_pyramid(PixelSet.from_mask(mask.to(device)), 2)
    for name, operation in operations(*channels, (reference[0].count, reference[1].count)).items():
        wanted = operation(REFERENCE, reference, lambda tensor: tensor.to(dtype).double())
        got = operation(backend, pyramid, lambda tensor: tensor.to(device, dtype))[: wanted.shape[0]]
        assert got.dtype == dtype and got.shape == wanted.shape, name
        scale = float(wanted.abs().max()) if wanted.numel() else 1.0
        torch.testing.assert_close(got.cpu().double(), wanted, rtol=0, atol=tolerance * scale, msg=partial("{}: {}".format, name))


@torch.inference_mode()
def check_unet(backend: SparseBackend, mask: torch.Tensor, *, tolerance: float = 1e-4, device: str = "cpu") -> None:
    """A network of three levels whose every weight matters."""
    torch.manual_seed(0)
    net = SparseUNet(4, (6, 8, 10), blocks=2, out_channels=3)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.15)
    pixels = PixelSet.from_mask(mask)
    features = torch.randn(pixels.count, 4)
    wanted = net(features, REFERENCE.build_pyramid(pixels, net.levels))
    moved = PixelSet.from_mask(mask.to(device))
    got = net.to(device)(features.to(device), backend.build_pyramid(moved, net.levels))
    torch.testing.assert_close(got.cpu(), wanted, rtol=tolerance, atol=tolerance)


def check_maps(backend: SparseBackend, mask: torch.Tensor, levels: int = 3, device: str = "cpu") -> None:
    """Pixels and maps of all levels are those of the reference."""
    wanted = REFERENCE.build_pyramid(PixelSet.from_mask(mask), levels)
    got = backend.build_pyramid(PixelSet.from_mask(mask.to(device)), levels)
    for depth, (ours, theirs) in enumerate(zip(got.levels, wanted.levels, strict=True)):
        assert ours.backend is backend and torch.equal(ours.pixels.index_image.cpu(), theirs.pixels.index_image)
        assert (ours.count if ours.active is None else int(ours.active)) == theirs.count
        assert torch.equal(ours.pixels.indices[: theirs.count].cpu(), theirs.pixels.indices)
        assert_same_map(unpacked(ours), theirs.neighbors, ours.count)
        if theirs.children is None or theirs.slots is None:
            assert ours.children is None and ours.slots is None
        else:
            assert ours.children is not None and ours.slots is not None
            assert (len(ours.children) if ours.coarse_active is None else int(ours.coarse_active)) == len(theirs.children)
            assert ours.children.shape[0] == got[depth + 1].count
            assert_same_map(ours.children, theirs.children, ours.count)
            assert torch.equal(ours.slots[: theirs.count].cpu(), theirs.slots)


def unpacked(level: Level) -> torch.Tensor:
    """The neighbours ``int32 [K, 9]`` of a level, also where its backend packs them (``triton.kernels.neighbors``)."""
    if level.neighbors.shape[1] == 9:
        return level.neighbors
    above, below, bits = level.neighbors.unbind(1)
    rows = torch.arange(level.count, dtype=torch.int32, device=bits.device)
    starts = above, rows - ((bits >> 3) & 1), below
    columns = []
    for tap in range(9):
        left = sum((bits >> (tap - tap % 3 + k)) & 1 for k in range(tap % 3))
        columns.append(torch.where((bits >> tap) & 1 > 0, starts[tap // 3] + left, level.count))
    return torch.stack(columns, 1).int()


def assert_same_map(ours: torch.Tensor, theirs: torch.Tensor, absent: int) -> None:
    """Of the rows in use; an absent row has the number of one past the last."""
    used = ours[: theirs.shape[0]].cpu()
    assert used.dtype == theirs.dtype
    last = int(theirs.max()) if theirs.numel() else 0
    present = used != absent
    assert torch.equal(used[present], theirs[present]) and bool((theirs[~present] == last).all())


def large_mask() -> torch.Tensor:
    """Big enough for several pieces of work, in bands and speckles."""
    mask = make_mask("random", (260, 330))
    mask[40:60] = True
    mask[:, 100:104] = True
    return mask
