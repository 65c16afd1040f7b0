"""The encoder of ``compact``: TensorFlow's SAME padding by another way, at every parity of the sides, and the maps' sizes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from depth_retrofit_ros.coarse.efficientnet_lite import CHANNELS, EfficientNetLite0, InvertedResidual, SameConv


def same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """As TensorFlow defines it: just enough for ⌈size / stride⌉ outputs, the odd pixel after."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


@pytest.mark.parametrize("size", [(8, 12), (9, 12), (8, 13), (9, 13), (5, 5)])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (5, 1), (3, 2), (5, 2)])
def test_same_padding_by_definition(size: tuple[int, int], kernel: int, stride: int) -> None:
    torch.manual_seed(0)
    layer = SameConv(6, 6, kernel, stride, groups=6, linear=True)
    x = torch.randn(2, 6, *size)
    padded = F.pad(x, (*same_padding(size[1], kernel, stride), *same_padding(size[0], kernel, stride)))
    expected = F.conv2d(padded, layer.conv.weight, layer.conv.bias, stride, groups=6)
    torch.testing.assert_close(layer(x), expected)


def test_relu6_unless_linear() -> None:
    x = 100 * torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        cut, linear = SameConv(4, 4, 3)(x), SameConv(4, 4, 3, linear=True)(x)
    assert float(cut.min()) == 0 and float(cut.max()) == 6
    assert float(linear.min()) < 0 and float(linear.max()) > 6


def test_blocks_add_their_input_only_where_shapes_agree() -> None:
    x = torch.randn(1, 8, 6, 6)
    for block, adds in (
        (InvertedResidual(8, 8, 3, 1, 6), True),
        (InvertedResidual(8, 8, 3, 2, 6), False),
        (InvertedResidual(8, 12, 3, 1, 1), False),
    ):
        torch.nn.init.zeros_(block.project.conv.weight)
        torch.nn.init.zeros_(block.project.conv.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            assert torch.equal(block(x), x if adds else torch.zeros_like(block(x)))


@pytest.mark.parametrize("size", [(144, 256), (208, 176), (33, 65)])
def test_maps_halve_and_round_up(size: tuple[int, int]) -> None:
    maps = EfficientNetLite0()(torch.rand(2, 3, *size))
    for level, (found, channels) in enumerate(zip(maps, CHANNELS, strict=True), start=1):
        assert found.shape == (2, channels, *(-(-side // 2**level) for side in size))


def test_pixels_are_scaled_as_in_the_training_of_the_weights() -> None:
    """(rgb − 127) / 128 of 8-bit values: 127 is zero, 255 is one."""
    network = EfficientNetLite0()
    seen: list[torch.Tensor] = []
    network.stem.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    network(torch.tensor([0, 127, 255]).div(255).view(1, 3, 1, 1).expand(1, 3, 32, 32))
    torch.testing.assert_close(seen[0][0, :, 0, 0], torch.tensor([-127 / 128, 0.0, 1.0]), atol=1e-6, rtol=0)
