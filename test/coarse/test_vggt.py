"""VGGT as a model of one view and of several: with random weights, what the adapter must hold of any."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import vggt
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.networks.signed_log import exp_signed
from depth_retrofit_ros.coarse.networks.vggt.camera_head import ROUNDS
from depth_retrofit_ros.coarse.networks.vggt.model import DenseAnswer, Vggt
from depth_retrofit_ros.coarse.vggt import LARGEST_LOG, VggtModel
from depth_retrofit_ros.coarse.views import MultiViewModel, NewestFirstModel
from depth_retrofit_ros.errors import CameraError, ImageError, WeightsError
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.upsampling.area_average import downsample
from test.coarse.networks.parity import fill
from test.coarse.networks.test_vggt import TINY, answers
from test.refinement.nets import random_refiner

CPU = torch.device("cpu")
CLAIM = ScaleClaim("up-to-scale", "never")
SIZE = long_side(56, 14)


def random_image(height: int = 60, width: int = 84, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (height, width, 3), dtype=torch.uint8, generator=generator)


def filled(fov: float = 1.0) -> Vggt:
    """With a camera head that finds about this field of view [rad], up and down as well as across."""
    net = Vggt(TINY)
    fill(net)
    with torch.no_grad():
        last = net.camera_head.pose_branch.fc2
        last.weight[7:] *= 0.02
        last.bias[7:] = fov / ROUNDS
    return net


@pytest.fixture(scope="module")
def model() -> VggtModel:
    return VggtModel(filled(), "vggt", CLAIM, CPU, SIZE)


def test_one_image_gives_depth_and_the_head_s_features(model: VggtModel) -> None:
    prediction = model.predict(random_image(), None)
    assert prediction.depth.shape == (42, 56)
    assert prediction.features.shape == (32, 42, 56)
    assert bool((prediction.depth > 0).all()) and float(prediction.depth.std()) > 0
    assert bool((prediction.features >= 0).all())


def test_it_is_the_network_s_answer_to_the_averaged_image(model: VggtModel) -> None:
    image = random_image(42, 56)
    expected = answers(filled(), image.permute(2, 0, 1)[None] / 255)
    assert torch.allclose(model.predict(image, None).depth, expected["depth"][0], rtol=1e-5)


def test_views_have_cameras_of_their_images_size(model: VggtModel) -> None:
    assert isinstance(model, MultiViewModel)
    views = model.predict_views(iter([random_image(seed=i) for i in range(3)]))
    assert len(views) == 3
    for view in views:
        camera = view.camera
        assert (camera.width, camera.height) == (84, 60)
        assert (camera.cx, camera.cy) == pytest.approx((41.5, 29.5))
        assert view.camera_from_world.dtype == np.float64
        rotation = view.camera_from_world[:, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        assert view.confidence is not None and float(view.confidence.min()) >= 1
        assert view.point_map is None
    assert not torch.allclose(views[0].prediction.depth, views[1].prediction.depth)


def test_the_focal_length_is_that_of_the_field_of_view(model: VggtModel) -> None:
    images = [random_image(seed=i) for i in range(2)]
    for view, encoding in zip(model.predict_views(images), raw_encodings(model, images), strict=True):
        assert np.radians(view.camera.hfov_deg) == pytest.approx(encoding[8], rel=1e-4)
        assert np.radians(view.camera.vfov_deg) == pytest.approx(encoding[7], rel=1e-4)


def raw_encodings(model: VggtModel, images: list[torch.Tensor]) -> list[list[float]]:
    net = filled().eval()
    with torch.inference_mode():
        encodings = net.poses(net(torch.cat([downsample(image, model.size.of(60, 84)) for image in images])))
    return [[float(value) for value in row] for row in encodings]


def test_point_maps_on_demand(model: VggtModel) -> None:
    images = [random_image(42, 56, seed=i) for i in range(2)]
    view = model.predict_views(images, point_maps=True)[1]
    assert view.point_map is not None
    expected = answers(filled(), torch.stack([i.permute(2, 0, 1) / 255 for i in images]))
    assert torch.allclose(exp_signed(view.point_map.raw), expected["points"][1].permute(2, 0, 1), atol=1e-4)
    assert torch.allclose(view.point_map.features, expected["points_features"][1], atol=1e-4)


@pytest.mark.parametrize("count", [1, 3])
def test_the_newest_view_is_there_before_the_others_are_computed(
    model: VggtModel, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    images = [random_image(seed=i) for i in range(count)]
    expected, seen, depth = model.predict_views(images), list[int](), model._net.depth

    def counted(tokens: list[torch.Tensor], height: int, width: int) -> DenseAnswer:
        seen.append(len(tokens[0]))
        return depth(tokens, height, width)

    monkeypatch.setattr(model._net, "depth", counted)
    newest = model.predict_newest(iter(images))
    assert isinstance(model, NewestFirstModel) and seen == [1]
    assert torch.allclose(newest.prediction.depth, expected[0].prediction.depth, rtol=1e-4)
    for pose, view in zip(newest.cameras_from_world, expected, strict=True):
        assert np.allclose(pose, view.camera_from_world)
    for _ in range(2):
        for view, other in zip(newest.views(), expected, strict=True):
            assert view.camera == other.camera and view.confidence is not None and other.confidence is not None
            assert torch.allclose(view.prediction.depth, other.prediction.depth, rtol=1e-4)
            assert torch.allclose(view.confidence, other.confidence, rtol=1e-4)
            assert torch.allclose(view.prediction.features, other.prediction.features, atol=1e-4)
    assert seen == ([1, count - 1] if count > 1 else [1])


def test_views_that_do_not_fit_together_are_refused(model: VggtModel) -> None:
    with pytest.raises(ImageError, match="view 2 is 84x62 but the first is 84x60: vggt takes views of one size"):
        model.predict_views([random_image(), random_image(62)])
    with pytest.raises(ImageError, match="no views"):
        model.predict_views([])


def test_a_view_without_a_field_of_view_is_told() -> None:
    blind = VggtModel(filled(fov=-1.0), "vggt", CLAIM, CPU, SIZE)
    with pytest.raises(CameraError, match="vggt finds no field of view for view 1: leave that view out"):
        blind.predict_views([random_image()])


def test_depth_is_finite_whatever_the_weights_say() -> None:
    net = filled()
    with torch.no_grad():
        net.state_dict()["depth_head.scratch.output_conv2.2.bias"][0] = 1e4
    depth = VggtModel(net, "vggt", CLAIM, CPU, SIZE).predict(random_image(), None).depth
    assert float(depth.max()) == pytest.approx(float(np.exp(LARGEST_LOG)), rel=1e-4)


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.02), (torch.float16, 0.002)], ids=["bfloat16", "float16"])
def test_half_precision_of_the_transformer_gives_float32_views(model: VggtModel, dtype: torch.dtype, error: float) -> None:
    """As on CUDA: multiplications are in half precision, the tokens that they add to and the heads are not."""
    net = filled()
    rounded: list[torch.dtype] = []
    net.aggregator.frame_blocks[0].mlp.fc1.register_forward_hook(lambda module, args, out: rounded.append(out.dtype))  # type: ignore[union-attr]
    net.aggregator.forward = torch.autocast("cpu", dtype)(net.aggregator.forward)  # type: ignore[method-assign]
    images = [random_image(seed=i) for i in range(3)]
    halves = VggtModel(net, "vggt", CLAIM, CPU, SIZE).predict_views(images, point_maps=True)
    assert rounded == [dtype]
    for half, exact in zip(halves, model.predict_views(images, point_maps=True), strict=True):
        assert half.point_map is not None and exact.point_map is not None
        assert half.prediction.depth.dtype == half.prediction.features.dtype == half.point_map.raw.dtype == torch.float32
        depths = half.prediction.depth / exact.prediction.depth
        assert bool(half.point_map.raw.isfinite().all()) and float(depths.log().abs().median()) < error
        assert half.camera.fx == pytest.approx(exact.camera.fx, rel=error)
        assert np.abs(half.camera_from_world - exact.camera_from_world).max() < 4 * error
        assert float((half.point_map.raw - exact.point_map.raw).abs().median()) < error
        rotation = half.camera_from_world[:, :3]
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)


@pytest.mark.cuda
def test_half_precision_is_the_default_on_cuda(model: VggtModel) -> None:
    image, device = random_image(), torch.device("cuda")
    half = VggtModel(filled(), "vggt", CLAIM, device, SIZE).predict(image.to(device), None)
    exact = model.predict(image, None)
    assert half.depth.dtype == half.features.dtype == torch.float32
    assert not torch.equal(half.depth.cpu(), exact.depth)
    assert float((half.depth.cpu() / exact.depth).log().abs().median()) < 0.02


def test_it_runs_under_the_method(model: VggtModel) -> None:
    image = random_image(120, 168)
    frame = Retrofit(model, random_refiner())(Frame(image.numpy(), camera=Camera.from_hfov(168, 120, 60.0)))
    assert frame.depth.shape == (120, 168)
    assert bool(torch.isfinite(frame.depth).all())
    assert not frame.metric
    assert frame.refined_pixels == round(0.1 * 120 * 168)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_tensors(path, filled().state_dict(), {})
    with pytest.raises(WeightsError, match="was made for another network"):
        vggt.load(path, CPU, CLAIM, SIZE, "vggt")
