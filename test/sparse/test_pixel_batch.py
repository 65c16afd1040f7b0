"""A stacked batch is the same as its images one by one."""

from __future__ import annotations

import pytest
import torch

from depth_retrofit_ros.sparse.backends.registry import load_backend
from depth_retrofit_ros.sparse.pixel_batch import stack_masks
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.unet import SparseUNet
from test.sparse.dense_reference import make_mask

BACKEND = load_backend("torch")


@pytest.mark.parametrize("size", [(16, 24), (17, 13), (15, 20)])
@pytest.mark.parametrize("levels", [1, 2, 4])
def test_images_do_not_touch_each_other(size: tuple[int, int], levels: int) -> None:
    torch.manual_seed(0)
    net = SparseUNet(3, (4, 5, 6, 7)[:levels]).double()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    masks = torch.stack([make_mask(kind, size, seed) for seed, kind in enumerate(("all", "random", "empty", "borders", "all"))])
    images = torch.randn(len(masks), 3, *size, dtype=torch.float64)

    batch = stack_masks(masks, levels)
    together = net(batch.gather(images), BACKEND.build_pyramid(batch.pixels, levels))
    for number, mask in enumerate(masks):
        pixels = PixelSet.from_mask(mask)
        alone = net(images[number].flatten(1).T[pixels.indices], BACKEND.build_pyramid(pixels, levels))
        torch.testing.assert_close(together[batch.image_number() == number], alone)


def test_gather_and_scatter_are_inverse() -> None:
    masks = torch.stack([make_mask("random", (9, 7), seed) for seed in range(3)])
    images = torch.arange(3 * 2 * 9 * 7.0).view(3, 2, 9, 7)
    batch = stack_masks(masks, 3)
    values = batch.gather(images)
    assert torch.equal(values, images.permute(0, 2, 3, 1)[masks])
    changed = batch.scatter(-values, images)
    assert torch.equal(changed, torch.where(masks[:, None], -images, images))


def test_scatter_passes_the_gradient_to_the_active_pixels() -> None:
    masks = torch.stack([make_mask("random", (9, 7), seed) for seed in range(2)])
    batch = stack_masks(masks, 2)
    values = torch.zeros(batch.pixels.count, 1, requires_grad=True)
    weight = torch.arange(2 * 9 * 7.0).view(2, 1, 9, 7)
    (batch.scatter(values, torch.zeros(2, 1, 9, 7)) * weight).sum().backward()
    assert values.grad is not None and torch.equal(values.grad, weight.permute(0, 2, 3, 1)[masks])
