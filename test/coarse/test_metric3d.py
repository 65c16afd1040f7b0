"""Metric3D v2 as a coarse model, with a tiny network of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import metric3d
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.metric3d import Metric3DV2, load
from depth_retrofit_ros.coarse.networks.metric3d import NEAREST_M, published_name
from depth_retrofit_ros.errors import WeightsError
from test.coarse.networks.test_metric3d import TINY, tiny_network

CPU = torch.device("cpu")
METRIC = ScaleClaim("metric", "camera")
SIZE = InputSize("exact", (84, 140))


def _model(dtype: torch.dtype | None = None) -> Metric3DV2:
    return Metric3DV2(tiny_network(), "tiny", METRIC, CPU, SIZE, dtype)


def _image(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(5))
    return F.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0).mul(255).byte().contiguous()


@pytest.mark.parametrize(
    ("frame", "fitted"), [((90, 150), (84, 140)), ((200, 120), (84, 48)), ((96, 96), (84, 84)), ((50, 400), (16, 140))]
)
def test_maps_are_the_fitted_frame(frame: tuple[int, int], fitted: tuple[int, int]) -> None:
    prediction = _model().predict(_image(*frame), None)
    assert prediction.depth.shape == fitted
    assert prediction.features.shape == (256, fitted[0] // 4, fitted[1] // 4)
    assert prediction.normals is not None and prediction.normals.shape == (3, *fitted)
    assert prediction.sky is None
    assert bool((prediction.depth > 0).all()) and bool(prediction.depth.isfinite().all())
    torch.testing.assert_close(prediction.normals.norm(dim=0), torch.ones(fitted))


def test_the_frame_is_where_it_was_put() -> None:
    """A tall frame stands in the middle of the input, between bars of the mean colour, and the answer is its part alone."""
    seen: list[Tensor] = []
    model = _model()
    model.network.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    prediction = model.predict(_image(200, 120), None)
    (padded,) = seen
    assert padded.shape == (1, 3, 84, 140)
    inside = padded[0].abs().sum(0) > 0
    columns = inside.any(0).nonzero().squeeze(1)
    assert (int(columns[0]), int(columns[-1])) == (44, 91)
    depth, bins, _ = model.network(padded)
    torch.testing.assert_close(prediction.depth, depth[0, :, 44:92])
    torch.testing.assert_close(prediction.features, bins[0, :, :, 11:23])


def test_where_the_network_sees_no_distance_it_is_unknown() -> None:
    """Its answer ends 0.1 canonical metres before the camera; such cells take their neighbours' depth."""
    model, (h, w) = _model(), (84, 140)
    depth = torch.full((h, w), 5.0)
    depth[10:14, 20:30] = NEAREST_M
    normals, bins = torch.zeros(3, h, w), torch.zeros(8, h // 4, w // 4)
    normals[2] = -1.0
    model.network.register_forward_hook(lambda module, inputs, output: (depth[None], bins[None], normals[None]))
    prediction = model.predict(_image(h, w), None)
    assert prediction.unknown is not None and torch.equal(prediction.unknown, depth == NEAREST_M)
    assert bool((prediction.depth == 5.0).all())


def test_features_are_the_logarithm_of_a_distribution() -> None:
    shares = _model().predict(_image(90, 150), None).features.exp().sum(0)
    torch.testing.assert_close(shares, torch.ones_like(shares))


def test_metres_follow_the_focal_length_at_the_inputs_size() -> None:
    image, model = _image(90, 150), _model()
    canonical = model.predict(image, None).depth
    for f_px in (100.0, 300.0):
        metres = model.predict(image, Camera(150, 90, f_px, f_px, 74.5, 44.5)).depth
        torch.testing.assert_close(metres, canonical * (f_px * 140 / 150 / 1000))


def test_normals_face_the_camera() -> None:
    camera = Camera(150, 90, 110.0, 110.0, 74.5, 44.5)
    normals = _model().predict(_image(90, 150), camera).normals
    assert normals is not None
    x, y = (torch.from_numpy(slopes) for slopes in camera.resized(140, 84).ray_slopes())
    assert float((normals[0] * x + normals[1] * y[:, None] + normals[2]).max()) < 0.01


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.03), (torch.float16, 0.004)])
def test_half_precision_gives_float32_depth(dtype: torch.dtype, error: float) -> None:
    """The whole network is cast; what bins, normals and corrections add up to is not."""
    exact, half = _model().predict(_image(90, 150), None), _model(dtype).predict(_image(90, 150), None)
    assert half.normals is not None and exact.normals is not None
    assert half.depth.dtype == half.features.dtype == half.normals.dtype == torch.float32
    assert bool(half.depth.isfinite().all()) and bool(half.normals.isfinite().all()) and bool(half.features.isfinite().all())
    assert float((half.depth / exact.depth).log().abs().median()) < error
    assert float((half.normals * exact.normals).sum(0).median()) > 0.999
    torch.testing.assert_close(half.features.exp().sum(0), torch.ones_like(half.features[0]))
    assert half.depth.unique().numel() > 0.8 * half.depth.numel()  # not rounded to half precision


@pytest.mark.cuda
def test_half_precision_is_the_default_on_cuda() -> None:
    device = torch.device("cuda")
    half = Metric3DV2(tiny_network(), "tiny", METRIC, device, SIZE)
    assert {parameter.dtype for parameter in half.network.parameters()} == {torch.float16}
    depth = half.predict(_image(90, 150).to(device), None).depth.cpu()
    assert float((depth / _model().predict(_image(90, 150), None).depth).log().abs().median()) < 0.01


def _saved(path: Path, **changes: Any) -> Path:
    tensors = {f"depth_model.{published_name(name)}": value for name, value in tiny_network().state_dict().items()}
    torch.save({"model_state_dict": {**tensors, **changes}}, path)
    return path


@pytest.fixture
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(metric3d.CONFIGS, "tiny", TINY)


@pytest.mark.usefixtures("_tiny")
def test_a_published_file_is_read(tmp_path: Path) -> None:
    path = _saved(tmp_path / "weights.pth")
    image = _image(90, 150)
    loaded = load(path, CPU, METRIC, SIZE, "metric3d-tiny", "tiny")
    torch.testing.assert_close(loaded.predict(image, None).depth, _model().predict(image, None).depth)
    content = torch.load(path)
    del content["model_state_dict"]["depth_model.encoder.mask_token"]
    torch.save(content, path)
    torch.testing.assert_close(
        load(path, CPU, METRIC, SIZE, "metric3d-tiny", "tiny").predict(image, None).depth, loaded.predict(image, None).depth
    )


@pytest.mark.usefixtures("_tiny")
@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"depth_model.decoder.more": torch.zeros(1)}, "made for another network .has unknown decoder.more"),
        ({"other.weight": torch.zeros(1)}, r"holds no model_state_dict of names in depth_model\.\*"),
        ({"depth_model.encoder.norm.bias": torch.full((48,), torch.nan)}, "not finite"),
    ],
)
def test_other_files_are_told_in_one_line(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(WeightsError, match=told) as caught:
        load(_saved(tmp_path / "weights.pth", **changes), CPU, METRIC, SIZE, "metric3d-tiny", "tiny")
    assert "\n" not in str(caught.value)
