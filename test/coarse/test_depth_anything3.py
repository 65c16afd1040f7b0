"""Depth Anything 3 as a coarse model, with random weights of small networks of the true kinds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import depth_anything3
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.depth_anything3 import LEAST, MOST, PUBLISHED, SKY, DepthAnything3, load, put_far
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.networks.depth_anything3 import (
    LEFT_OUT,
    AnyViewDepth,
    Architecture,
    MonocularDepth,
    build,
)
from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.upsampling.area_average import downsample
from test.coarse.networks.parity import fill

CPU = torch.device("cpu")
SIZE = long_side(112, 14)
RELATIVE, METRIC = ScaleClaim("up-to-scale", "never"), ScaleClaim("metric", "camera")
ANY_VIEW = Architecture(VitSize(32, 6, 2), (2, 3, 4, 5), (16, 24, 32, 40), 32, any_view=2)
MONOCULAR = Architecture(VitSize(32, 4, 2), (0, 1, 2, 3), (16, 24, 32, 40), 32, any_view=None)
TINY = {name: ANY_VIEW if official.any_view is not None else MONOCULAR for name, (_, official) in PUBLISHED.items()}
METRIC_LARGE, MONO_LARGE = "depth-anything-3-metric-large", "depth-anything-3-mono-large"


def claim_of(name: str) -> ScaleClaim:
    return METRIC if name == METRIC_LARGE else RELATIVE


def net_of(name: str) -> AnyViewDepth | MonocularDepth:
    net = build(TINY[name]).eval()
    fill(net)
    return net


def model_of(name: str, dtype: torch.dtype | None = None) -> DepthAnything3:
    return DepthAnything3(net_of(name), name, claim_of(name), CPU, SIZE, dtype)


def image_of(height: int = 90, width: int = 120) -> Tensor:
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(5))
    return F.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0).mul(255).byte().contiguous()


def normalised(image: Tensor, size: tuple[int, int]) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (downsample(image, size) - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_predicts_what_its_network_does(name: str) -> None:
    image = image_of(180, 300)
    prediction = model_of(name).predict(image, None)
    with torch.no_grad():
        depth, features, beside = net_of(name)(normalised(image, (70, 112)))
    assert prediction.depth.shape == (70, 112) and prediction.depth.dtype == torch.float32
    torch.testing.assert_close(prediction.features, features[0])
    if TINY[name].any_view is None:
        assert prediction.sky is not None and prediction.sky.dtype == torch.bool
        assert torch.equal(prediction.sky, beside[0] >= SKY)
        assert 0 < int(prediction.sky.sum()) < prediction.sky.numel()  # else this test would say nothing of it
        surface = ~prediction.sky
        torch.testing.assert_close(prediction.depth[surface], depth[0][surface])
    else:
        assert prediction.sky is None
        torch.testing.assert_close(prediction.depth, depth[0])
    assert prediction.normals is None


def test_metres_follow_the_focal_length_at_the_networks_input() -> None:
    image = image_of(180, 300)  # to 70 x 112: not quite the same aspect
    camera = Camera(300, 180, 250.0, 260.0, 149.5, 89.5)
    model = model_of(METRIC_LARGE)
    canonical = model.predict(image, None).depth
    focal = (250.0 * 112 / 300 + 260.0 * 70 / 180) / 2
    torch.testing.assert_close(model.predict(image, camera).depth, canonical * focal / 300)
    relative = model_of(MONO_LARGE)
    assert torch.equal(relative.predict(image, camera).depth, relative.predict(image, None).depth)


def test_metres_do_not_depend_on_the_frames_size() -> None:
    """The same view, of twice the pixels: the camera's focal length is then twice as many of them."""
    image = image_of(84, 112)
    larger = image.repeat_interleave(2, 0).repeat_interleave(2, 1)
    model, camera = model_of(METRIC_LARGE), Camera(112, 84, 100.0, 100.0, 55.5, 41.5)
    torch.testing.assert_close(
        model.predict(larger, camera.resized(224, 168)).depth, model.predict(image, camera).depth, rtol=1e-4, atol=1e-5
    )


def test_the_sky_is_put_at_the_far_end_of_everything_else() -> None:
    depth = torch.linspace(1, 100, 5000).reshape(50, 100)
    sky = torch.zeros(50, 100, dtype=torch.bool)
    sky[:10] = True  # the network says 1 to 21 there
    put = put_far(depth, sky)
    assert torch.equal(put[10:], depth[10:])
    far = float(torch.quantile(depth[10:], 0.99))
    assert far > 98
    torch.testing.assert_close(put[:10], torch.full((10, 100), far))
    assert torch.equal(put_far(depth, torch.ones_like(sky)), depth)  # nothing else
    assert torch.equal(put_far(depth, torch.zeros_like(sky)), depth)
    large, its_sky = (x.repeat_interleave(20, 0).repeat_interleave(20, 1) for x in (depth, sky))
    assert float(put_far(large, its_sky)[0, 0]) == pytest.approx(far, rel=0.001)  # of a sample


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("name", PUBLISHED)
def test_half_precision_gives_finite_float32_depth(name: str, dtype: torch.dtype) -> None:
    image = image_of()
    exact = model_of(name).predict(image, None)
    half = model_of(name, dtype).predict(image, None)
    assert (half.depth.dtype, half.features.dtype) == (torch.float32, dtype)
    assert bool(half.features.isfinite().all())
    assert bool(half.depth.isfinite().all()) and bool((half.depth > 0).all())
    assert float((half.depth / exact.depth).log().abs().median()) < 0.05


def test_the_input_size_may_change_between_frames() -> None:
    model = model_of("depth-anything-3-small")
    assert model.predict(image_of(), None).depth.shape == (84, 112)
    model.size = long_side(70, 14)
    assert model.predict(image_of(), None).depth.shape == (56, 70)


@pytest.mark.cuda
@pytest.mark.parametrize("name", PUBLISHED)
def test_half_precision_is_the_default_on_cuda(name: str) -> None:
    image, device = image_of(), torch.device("cuda")
    exact = model_of(name).predict(image, None)
    half = DepthAnything3(net_of(name), name, claim_of(name), device, SIZE).predict(image.to(device), None)
    assert (half.depth.dtype, half.features.dtype) == (torch.float32, torch.float16)
    assert float((half.depth.cpu() / exact.depth).log().abs().median()) < 0.02


@pytest.mark.parametrize(("bias", "bound"), [(200.0, MOST), (-200.0, LEAST)])
def test_depth_is_finite_and_positive_whatever_the_network_says(bias: float, bound: float) -> None:
    net = net_of("depth-anything-3-small")
    torch.nn.init.constant_(net.get_parameter("head.scratch.output_conv2.2.bias"), bias)
    depth = DepthAnything3(net, "depth-anything-3-small", RELATIVE, CPU, SIZE).predict(image_of(), None).depth
    assert torch.equal(depth, torch.full_like(depth, bound))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """The published names with small networks."""
    monkeypatch.setattr(depth_anything3, "PUBLISHED", {name: (official, TINY[name]) for name, (official, _) in PUBLISHED.items()})


def published(folder: Path, name: str) -> tuple[Path, dict[str, Tensor]]:
    """A checkpoint as its authors write it: with their wrapper's prefix, and with the parts that we leave out."""
    tensors = {f"model.{key}": value for key, value in net_of(name).state_dict().items()}
    if TINY[name].any_view is not None:
        tensors |= {f"model.{prefix}weight": torch.zeros(3) for prefix in LEFT_OUT}
    weights = folder / "model.safetensors"
    safetensors.torch.save_file(tensors, weights, {"format": "pt"})
    return weights, tensors


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_checkpoints_load(tmp_path: Path, name: str) -> None:
    weights, _ = published(tmp_path, name)
    weights.with_name("config.json").write_text(json.dumps({"model_name": PUBLISHED[name][0], "config": {}}))
    model = load(weights, CPU, claim_of(name), SIZE, name)
    assert (model.name, model.claim, model.device) == (name, claim_of(name), CPU)
    image = image_of()
    torch.testing.assert_close(model.predict(image, None).depth, model_of(name).predict(image, None).depth)


def refused(weights: Path, name: str, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        load(weights, CPU, claim_of(name), SIZE, name)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", ["depth-anything-3-base", MONO_LARGE])
def test_broken_checkpoints_are_told_in_one_line(tmp_path: Path, name: str) -> None:
    weights, tensors = published(tmp_path, name)
    whole, last = weights.read_bytes(), "model.head.scratch.output_conv2.2.weight"

    weights.write_bytes(whole[:-100])
    refused(weights, name, "corrupt")
    safetensors.torch.save_file({key: value for key, value in tensors.items() if key != last}, weights)
    refused(weights, name, r"made for another network \(lacks head\.scratch\.output_conv2\.2\.weight\)")
    safetensors.torch.save_file({**tensors, "model.extra": torch.zeros(1)}, weights)
    refused(weights, name, r"made for another network \(has unknown extra\)")
    safetensors.torch.save_file({**tensors, last: torch.zeros(1, 16, 1, 1)}, weights)
    refused(weights, name, r"output_conv2\.2\.weight is \[1, 16, 1, 1\], not \[[12], 32, 1, 1\]")
    safetensors.torch.save_file({**tensors, last: torch.full_like(tensors[last], torch.nan)}, weights)
    refused(weights, name, "not finite")


@pytest.mark.usefixtures("small")
def test_a_checkpoint_of_the_same_shapes_but_another_meaning_is_told_by_its_configuration(tmp_path: Path) -> None:
    weights, _ = published(tmp_path, MONO_LARGE)
    config = weights.with_name("config.json")
    config.write_text(json.dumps({"model_name": "da3mono-large"}))
    refused(weights, METRIC_LARGE, f"is da3mono-large, not da3metric-large: give it to model '{MONO_LARGE}'")
    for silent in ("{", "[]", "{}", '{"model_name": "mine"}'):
        config.write_text(silent)
        assert load(weights, CPU, METRIC, SIZE, METRIC_LARGE).name == METRIC_LARGE
