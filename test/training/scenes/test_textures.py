"""Texture look-ups against the image itself, and textures that are the same for the same seed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.training.scenes.textures import LEVELS, SIZE, TextureStack, build_textures
from test.training.scenes.simple import TEXELS


@pytest.fixture(scope="module")
def textures() -> TextureStack:
    """A few of each kind."""
    return build_textures(1, count=10)


def level_image(textures: TextureStack, index: int, level: int) -> np.ndarray:
    """uint8 [size, size, 3] of one mip level, cut from the packed chain."""
    start = sum((SIZE >> i) ** 2 for i in range(level))
    size = SIZE >> level
    return textures.texels[index, start : start + size * size].view(size, size, 3).numpy()


def test_shapes_and_range(textures: TextureStack) -> None:
    assert textures.texels.shape == (10, TEXELS, 3) and textures.texels.dtype == torch.uint8
    assert textures.masks.shape == (8, SIZE, SIZE)
    assert (textures.count, textures.plain) == (10, 4)
    open_share = (textures.masks <= 0.5).float().mean((1, 2))
    assert float(open_share.min()) > 0.02 and float(open_share.max()) < 0.98  # each mask has both holes and matter


def test_same_seed_same_textures(textures: TextureStack) -> None:
    again, other = build_textures(1, count=10), build_textures(2, count=10)
    assert torch.equal(again.texels, textures.texels) and torch.equal(again.masks, textures.masks)
    assert not torch.equal(other.texels, textures.texels)


@pytest.mark.parametrize("level", [0, 1, 4, LEVELS - 1])
def test_sampling_at_texel_centres_gives_the_texels(textures: TextureStack, level: int) -> None:
    size = SIZE >> level
    y, x = np.mgrid[:size, :size][:, :: max(1, size // 16), :: max(1, size // 16)]
    uv = torch.from_numpy((np.stack([x, y], -1).reshape(-1, 2) + 0.5) / size).float()
    index = torch.full((len(uv),), 7)
    got = textures.sample(index, uv, torch.full((len(uv),), level))
    expected = level_image(textures, 7, level)[y.ravel(), x.ravel()] / 255
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-3)


def test_sampling_is_bilinear_between_texels(textures: TextureStack) -> None:
    """In the first repeat, against OpenCV's bilinear resampling of the same image."""
    rng = np.random.default_rng(0)
    uv = rng.uniform(0.01, 0.99, (500, 2)).astype(np.float32)
    got = textures.sample(torch.full((500,), 3), torch.from_numpy(uv), torch.zeros(500, dtype=torch.int64)).numpy()
    positions = uv * SIZE - 0.5
    image = level_image(textures, 3, 0).astype(np.float32)
    expected = cv2.remap(image, positions[None, :, :1], positions[None, :, 1:], cv2.INTER_LINEAR)[0] / 255
    np.testing.assert_allclose(got, expected, atol=0.03)  # OpenCV rounds positions to 1/32 texel
    assert np.abs(got - expected).mean() < 2e-3


def test_repeats_are_mirrored_and_therefore_seamless(textures: TextureStack) -> None:
    uv = torch.rand(200, 2) * 3 - 1
    index, level = torch.randint(0, 10, (200,)), torch.randint(0, 4, (200,))
    plain = textures.sample(index, uv, level)
    torch.testing.assert_close(textures.sample(index, -uv, level), plain, atol=2e-3, rtol=0)
    torch.testing.assert_close(textures.sample(index, uv + 2, level), plain, atol=2e-3, rtol=0)
    torch.testing.assert_close(textures.sample(index, 2 - uv, level), plain, atol=2e-3, rtol=0)
    seam = torch.tensor([[1.0, 0.3]])
    step = torch.tensor([[1e-4, 0.0]])
    at = [textures.sample(torch.tensor([7]), seam + s * step, torch.tensor([0])) for s in (-1, 1)]
    torch.testing.assert_close(at[0], at[1], atol=0.02, rtol=0)


def test_levels_beyond_the_chain_are_its_ends(textures: TextureStack) -> None:
    uv, index = torch.rand(20, 2), torch.full((20,), 7)
    for asked, used in ((-3, 0), (50, LEVELS - 1)):
        got = textures.sample(index, uv, torch.full((20,), asked))
        assert torch.equal(got, textures.sample(index, uv, torch.full((20,), used)))
    means = [level_image(textures, 7, level).mean() for level in range(LEVELS)]
    assert np.ptp(means) < 2.5  # each halving rounds a little


def test_solid_reads_the_mask_and_repeats(textures: TextureStack) -> None:
    rows, columns = torch.randint(0, SIZE, (2, 300))
    uv = torch.stack([columns + 0.5, rows + 0.5], 1) / SIZE
    for mask in range(8):
        expected = textures.masks[mask, rows, columns] > 0.5
        assert torch.equal(textures.solid(mask, uv), expected)
        assert torch.equal(textures.solid(mask, uv + torch.tensor([3.0, -2.0])), expected)


def test_photos_become_textures(tmp_path: Path) -> None:
    """A pure green photo, in RGB: nothing procedural is so green."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((300, 400, 3), (0, 255, 0), np.uint8))
    (tmp_path / "notes.txt").write_text("not an image")
    textures = build_textures(1, count=20, photos=tmp_path)
    first_level = textures.texels[:, : SIZE * SIZE].float().mean(1)
    green = ((first_level - torch.tensor([0.0, 255.0, 0.0])).abs() < 2).all(1)
    assert not bool(green[: textures.plain].any())
    assert 4 <= int(green.sum()) <= 12


@pytest.mark.parametrize("folder", ["empty", "absent"])
def test_a_folder_without_photos_is_one_line(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="no images in"):
        build_textures(1, count=4, photos=tmp_path / folder)
