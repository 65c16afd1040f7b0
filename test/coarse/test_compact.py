"""``compact``: the network's arithmetic, and metres that follow the focal length."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.compact import Compact, load
from depth_retrofit_ros.coarse.compact_net import BINS, CANONICAL_F_PX, SPAN, CompactNet, Residual, bin_centers, expected_log_depth
from depth_retrofit_ros.coarse.efficientnet_lite import EfficientNetLite0
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.selection.uncertainty import doubt

CPU = torch.device("cpu")
IMAGE = torch.randint(0, 256, (180, 240, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> Compact:
    """With random weights, the logits spread widely enough to differ between pixels."""
    torch.manual_seed(0)
    network = CompactNet()
    with torch.no_grad():
        network.logits.weight.mul_(5)
    return Compact(network, CPU, MODELS["compact"].claim, MODELS["compact"].input)


def test_expected_log_depth_by_hand() -> None:
    centers = bin_centers()
    assert centers.shape == (BINS,) and float(centers[0]) == -SPAN and float(centers[-1]) == SPAN
    torch.testing.assert_close(centers.diff(), torch.full((BINS - 1,), 2 * SPAN / (BINS - 1)))
    logits = torch.full((1, BINS, 1, 3), -100.0)
    logits[0, 7, 0, 0] = 100.0
    logits[0, [4, 10], 0, 1] = 100.0
    logits[0, :, 0, 2] = 3.0
    expected = torch.stack([centers[7], (centers[4] + centers[10]) / 2, torch.tensor(0.0)])
    torch.testing.assert_close(expected_log_depth(logits)[0, 0], expected, atol=1e-5, rtol=0)


def test_expected_log_depth_of_random_logits_in_double_precision() -> None:
    logits = 3 * torch.randn(2, BINS, 4, 5)
    p = np.exp(logits.double().numpy())
    p /= p.sum(1, keepdims=True)
    expected = (p * np.linspace(-SPAN, SPAN, BINS)[None, :, None, None]).sum(1)
    np.testing.assert_allclose(expected_log_depth(logits).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("size", [(144, 256), (256, 192), (16, 16), (48, 80), (208, 176)])
def test_network_answers_at_half_its_input(size: tuple[int, int]) -> None:
    logits, log_median = CompactNet().eval()(torch.rand(2, 3, *size))
    assert logits.shape == (2, BINS, size[0] // 2, size[1] // 2)
    assert log_median.shape == (2,)


def test_images_of_a_batch_do_not_influence_one_another(model: Compact) -> None:
    images = torch.rand(3, 3, 48, 64)
    with torch.no_grad():
        together = model.network(images)
        alone = model.network(images[1:2])
    torch.testing.assert_close(together[0][1:2], alone[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together[1][1:2], alone[1], atol=1e-4, rtol=1e-4)


def test_every_weight_learns() -> None:
    network = CompactNet()
    for residual in (module for module in network.modules() if isinstance(module, Residual)):
        torch.nn.init.normal_(next(residual.body[2].parameters()))  # begins at zero, behind which nothing would learn in one step
    logits, log_median = network(torch.rand(2, 3, 64, 64))
    (expected_log_depth(logits).square().sum() + log_median.square().sum()).backward()
    still = [name for name, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert still == []


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_depth_grows_with_the_focal_length(model: Compact, factor: float) -> None:
    """The same picture through a lens of twice the focal length is of something twice as far away."""
    camera = Camera(240, 180, 200.0, 200.0, 119.5, 89.5)
    longer = Camera(240, 180, factor * 200.0, factor * 200.0, 119.5, 89.5)
    torch.testing.assert_close(model.predict(IMAGE, longer).depth, factor * model.predict(IMAGE, camera).depth)


def test_canonical_focal_length_gives_the_networks_own_depth(model: Compact) -> None:
    """f such that it is 256 pixels of the 256-pixel input; without a camera the numbers are the same."""
    camera = Camera(240, 180, CANONICAL_F_PX * 240 / 256, CANONICAL_F_PX * 240 / 256, 119.5, 89.5)
    torch.testing.assert_close(model.predict(IMAGE, camera).depth, model.predict(IMAGE, None).depth)


def test_the_resolution_of_the_camera_does_not_matter(model: Compact) -> None:
    """The same view at twice the size, with the camera resized along."""
    large = IMAGE.repeat_interleave(2, 0).repeat_interleave(2, 1)
    camera = Camera(240, 180, 200.0, 200.0, 119.5, 89.5)
    expected = model.predict(IMAGE, camera).depth
    got = model.predict(large, camera.resized(480, 360)).depth
    assert float((got / expected).log().abs().median()) < 0.05


@pytest.mark.parametrize("size", [(1080, 1920), (1920, 1080), (101, 333), (1, 1), (17, 3), (40, 4000)])
def test_any_frame_size(model: Compact, size: tuple[int, int]) -> None:
    prediction = model.predict(torch.randint(0, 256, (*size, 3), dtype=torch.uint8), Camera.from_hfov(size[1], size[0], 70))
    h, w = prediction.depth.shape
    wide = max(size) / min(size) > 16 / 9
    assert h * w <= 1.1 * 72 * 128 if wide else max(h, w) <= 128
    assert h % 8 == w % 8 == 0
    assert prediction.features.shape == (BINS, h, w)
    assert prediction.depth.dtype == torch.float32
    assert bool(torch.isfinite(prediction.depth).all()) and float(prediction.depth.min()) > 0
    assert doubt(prediction).shape == (h, w)


def test_prediction_needs_no_gradient_and_repeats(model: Compact) -> None:
    first, second = model.predict(IMAGE, None), model.predict(IMAGE, None)
    assert not first.depth.requires_grad and torch.equal(first.depth, second.depth)
    assert not model.network.training


def test_checkpoint_round_trip(model: Compact, tmp_path: Path) -> None:
    path = tmp_path / "compact.safetensors"
    save_tensors(path, model.network.net.state_dict(), {"network": '"compact"'})
    assert torch.equal(
        load(path, CPU, MODELS["compact"].claim, MODELS["compact"].input).predict(IMAGE, None).depth,
        model.predict(IMAGE, None).depth,
    )


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "compact.safetensors"
    save_tensors(path, EfficientNetLite0().state_dict(), {})
    with pytest.raises(WeightsError, match="made for another network") as caught:
        load(path, CPU, MODELS["compact"].claim, MODELS["compact"].input)
    assert "\n" not in str(caught.value)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="corrupt"):
        load(path, CPU, MODELS["compact"].claim, MODELS["compact"].input)
