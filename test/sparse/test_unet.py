"""The whole sparse U-Net against the same network of masked dense convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.layers import ResidualBlock, SubmanifoldConv2d
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.unet import SparseUNet
from test.sparse.dense_reference import MASKS, dense_unet, make_mask, to_dense, to_sparse

BACKEND = load_backend("torch")


def make_net(out_channels: int | None = None, widths: tuple[int, ...] = (6, 8, 10), blocks: int = 2) -> SparseUNet:
    """A network whose every weight matters: the blocks' last convolutions are no longer zero, nor the biases."""
    torch.manual_seed(0)
    net = SparseUNet(4, widths, blocks, out_channels)
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.15)
    return net


@pytest.mark.parametrize("size", [(24, 32), (21, 35), (1, 1)])
@pytest.mark.parametrize("kind", MASKS)
def test_unet_matches_dense(kind: str, size: tuple[int, int]) -> None:
    net = make_net(out_channels=3)
    mask = make_mask(kind, size)
    pixels = PixelSet.from_mask(mask)
    features = torch.randn(pixels.count, 4, generator=torch.Generator().manual_seed(1))

    results = []
    for sparse in (True, False):
        net.zero_grad()
        leaf = features.clone().requires_grad_()
        if sparse:
            output = net(leaf, BACKEND.build_pyramid(pixels, net.levels))
        else:
            output = to_sparse(dense_unet(net, to_dense(leaf, pixels), mask), pixels)
        output.square().sum().backward()
        results.append([output.detach(), leaf.grad, *(parameter.grad for parameter in net.parameters())])
    assert results[0][0].shape == (pixels.count, 3)
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-5, atol=1e-5)
    for ours, reference in zip(*results, strict=True):
        scale = max(1.0, float(reference.abs().max())) if reference.numel() else 1.0
        torch.testing.assert_close(ours, reference, rtol=1e-4, atol=1e-5 * scale)


def test_default_output_width_and_levels() -> None:
    net = SparseUNet(8)
    pixels = PixelSet.from_mask(make_mask("band", (40, 50)))
    assert net.levels == 5
    assert net(torch.randn(pixels.count, 8), BACKEND.build_pyramid(pixels, 5)).shape == (pixels.count, 16)


def test_pyramid_of_another_depth_is_refused() -> None:
    pixels = PixelSet.from_mask(make_mask("band", (40, 50)))
    with pytest.raises(ValueError, match="needs a pyramid of 3 levels, not 2"):
        make_net()(torch.zeros(pixels.count, 4), BACKEND.build_pyramid(pixels, 2))


def test_two_runs_are_bitwise_equal() -> None:
    net = make_net(widths=(16, 32, 32))
    pixels = PixelSet.from_mask(make_mask("random", (150, 170)))
    features = torch.randn(pixels.count, 4, generator=torch.Generator().manual_seed(1))
    runs = []
    for _ in range(2):
        net.zero_grad()
        output = net(features, BACKEND.build_pyramid(pixels, net.levels))
        output.square().mean().backward()
        runs.append([output.detach(), *(parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None)])
    assert len(runs[0]) == 1 + len(list(net.parameters()))
    assert all(torch.equal(first, second) for first, second in zip(*runs, strict=True))


@pytest.mark.cuda
def test_cuda_gives_the_values_of_the_cpu() -> None:
    net = make_net().double()
    mask = make_mask("random", (150, 170))
    features = torch.randn(int(mask.sum()), 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    results = []
    for device in ("cpu", "cuda"):
        net.to(device).zero_grad()
        output = net(features.to(device), BACKEND.build_pyramid(PixelSet.from_mask(mask.to(device)), net.levels))
        output.square().mean().backward()
        results.append(
            # Copies: moving the network to another device moves its gradients too.
            [output.detach().cpu(), *(parameter.grad.cpu().clone() for parameter in net.parameters() if parameter.grad is not None)]
        )
    torch.testing.assert_close(*results)


def test_new_block_is_the_identity_and_can_learn() -> None:
    pixels = PixelSet.from_mask(make_mask("random", (20, 20)))
    level = BACKEND.build_pyramid(pixels, 1)[0]
    features = torch.randn(pixels.count, 8, generator=torch.Generator().manual_seed(1))
    block = ResidualBlock(8)
    output = block(features, level)
    assert torch.equal(output, features)
    output.square().sum().backward()
    assert block.second.weight.grad is not None and bool(block.second.weight.grad.any())


def test_initial_weights_keep_the_variance() -> None:
    torch.manual_seed(0)
    pixels = PixelSet.from_mask(make_mask("all", (40, 40)))
    level = BACKEND.build_pyramid(pixels, 1)[0]
    features = torch.randn(pixels.count, 32)
    for layer in (SubmanifoldConv2d(32, 32), SubmanifoldConv2d(32, 32, relu_input=True)):
        assert 0.8 < float(layer(features, level).detach().square().mean()) < 1.25


def test_checkpoint_fits_a_dense_convolution() -> None:
    layer = SubmanifoldConv2d(3, 5)
    nn.Conv2d(3, 5, 3).load_state_dict(layer.state_dict(), strict=True)
