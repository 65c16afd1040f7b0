"""MoGe-2 as a coarse model, with a tiny network of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import moge as moge_adapter
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines.precision import in_precision
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.coarse.input_size import InputSize, long_side
from depth_retrofit_ros.coarse.moge import MoGe2, load, metric_depth
from depth_retrofit_ros.coarse.networks import moge
from depth_retrofit_ros.coarse.networks.moge import MoGe, MoGeMaps, config_of
from depth_retrofit_ros.coarse.networks.view_plane import view_plane
from depth_retrofit_ros.errors import WeightsError
from test.coarse.networks.parity import read_fixture
from test.coarse.networks.test_moge import RELEASED, TINY, filled, tiny_config

CPU = torch.device("cpu")
METRIC = ScaleClaim("metric", "camera")
SIZE = long_side(140, 14)


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moge, "ENCODERS", {**moge.ENCODERS, "tiny": TINY})


def _net() -> MoGe:
    network: MoGe = filled(MoGe(config_of(tiny_config())), read_fixture("moge")["projection"])
    return network


def _model(dtype: torch.dtype | None = None, size: InputSize = SIZE) -> MoGe2:
    return MoGe2(_net(), "tiny", METRIC, CPU, size, dtype)


def _last_bias(module: torch.nn.Module) -> Tensor:
    return list(module.parameters())[-1]


def _image(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(5))
    return F.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0).mul(255).byte().contiguous()


@pytest.mark.parametrize("frame", [(90, 140), (200, 120), (96, 96)])
def test_maps_cover_the_frame_with_16_cells_a_patch(frame: tuple[int, int]) -> None:
    prediction = _model().predict(_image(*frame), None)
    rows, columns = (16 * side // 14 for side in SIZE.of(*frame))
    assert prediction.depth.shape == (rows, columns)
    assert prediction.features.shape == (16, rows, columns)
    assert prediction.sky is not None and prediction.normals is not None
    assert prediction.sky.shape == (rows, columns) and prediction.normals.shape == (3, rows, columns)
    assert prediction.depth.dtype == prediction.normals.dtype == torch.float32
    assert bool((prediction.depth > 0).all()) and bool(prediction.depth.isfinite().all())
    assert not prediction.features.requires_grad


def test_features_are_those_that_the_points_are_projected_from() -> None:
    net = _net()
    image = torch.rand(1, 3, 56, 84, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = MoGeMaps.of(net(image, torch.tensor([1.5])))
        last = net.points_head.output_blocks[-1]
        torch.testing.assert_close(maps.points, last(maps.features[None])[0])
    assert float(maps.features.std()) > 0.01


@pytest.mark.parametrize(("dtype", "error"), [(torch.bfloat16, 0.03), (torch.float16, 0.01)])
def test_half_precision_gives_float32_depth(dtype: torch.dtype, error: float) -> None:
    exact, half = _model().predict(_image(90, 140), None), _model(dtype).predict(_image(90, 140), None)
    assert half.features.dtype == dtype
    assert half.depth.dtype == torch.float32
    assert bool(half.depth.isfinite().all()) and bool(half.features.isfinite().all())
    both = ~(exact.sky | half.sky)  # type: ignore[operator]
    assert float((half.depth / exact.depth)[both].log().abs().median()) < error
    assert half.depth[both].unique().numel() > 0.9 * int(both.sum())  # the last projection is not rounded


def test_logarithms_are_not_rounded_to_half_precision() -> None:
    """Of depth and of its scale: a step of float16 is 0.1 % of either."""
    net = _net()
    in_precision(net, torch.float16)
    image = torch.rand(1, 3, 56, 84, generator=torch.Generator().manual_seed(1)).half()
    with torch.no_grad():
        maps = MoGeMaps.of(net(image, torch.tensor([1.5])))
    assert maps.features.dtype == torch.float16
    assert maps.log_scale.dtype == maps.points.dtype == maps.normals.dtype == maps.mask.dtype == torch.float32
    assert float(maps.log_scale) != float(maps.log_scale.half())


@pytest.mark.cuda
def test_half_precision_is_the_default_on_cuda() -> None:
    device, image = torch.device("cuda"), _image(90, 140)
    half = MoGe2(_net(), "tiny", METRIC, device, SIZE).predict(image.to(device), None)
    assert (half.depth.dtype, half.features.dtype) == (torch.float32, torch.float16)
    whole = _model().predict(image, None)
    assert half.sky is not None and whole.sky is not None
    both = ~(half.sky.cpu() | whole.sky)
    assert float((half.depth.cpu() / whole.depth)[both].log().abs().median()) < 0.01


def test_a_known_camera_is_used() -> None:
    """A longer focal length puts the same points farther, for the shift makes them lie on its rays."""
    image, model = _image(90, 140), _model()
    depths = [model.predict(image, Camera(140, 90, f, f, 69.5, 44.5)).depth for f in (60.0, 90.0, 130.0)]
    medians = [float(depth.median()) for depth in depths]
    assert medians == sorted(medians) and medians[2] > 1.05 * medians[0]
    fov = Camera(280, 180, 180.0, 180.0, 139.5, 89.5)  # the same field of view as 90 px of 140
    torch.testing.assert_close(model.predict(_image(180, 280), fov).depth.median(), depths[1].median(), rtol=0.05, atol=0.0)


def test_its_metres_are_those_of_any_camera() -> None:
    assert METRIC.source(trust_scale=False) == "model"
    image, model = _image(90, 140), _model()
    before = model.predict(image, None)
    with torch.no_grad():
        _last_bias(model.network.scale_head).add_(0.5)
    after = model.predict(image, None)
    assert before.sky is not None
    torch.testing.assert_close(after.depth[~before.sky], before.depth[~before.sky] * torch.tensor(0.5).exp())


def test_what_is_not_finite_is_sky_and_lies_far_behind() -> None:
    model = _model()
    prediction = model.predict(_image(90, 140), None)
    sky = prediction.sky
    assert sky is not None and 0.02 < float(sky.float().mean()) < 0.98
    assert float(prediction.depth[sky].min()) >= float(prediction.depth[~sky].max())
    limited = limit_far(prediction, METRIC)
    assert float(limited.depth[sky].max()) < 100.0
    with torch.no_grad():
        _last_bias(model.network.mask_head).sub_(1e4)
    nothing = model.predict(_image(90, 140), None)
    assert nothing.sky is not None and bool(nothing.sky.all()) and bool(nothing.depth.isfinite().all())


def test_normals_have_unit_length_and_face_the_camera() -> None:
    camera = Camera(140, 90, 110.0, 110.0, 69.5, 44.5)
    normals = _model().predict(_image(90, 140), camera).normals
    assert normals is not None
    torch.testing.assert_close(normals.norm(dim=0), torch.ones(normals.shape[1:]))
    rows, columns = normals.shape[1:]
    small = camera.resized(columns, rows)
    x, y = (torch.from_numpy(slopes) for slopes in small.ray_slopes())
    assert float((normals[0] * x + normals[1] * y[:, None] + normals[2]).max()) < 1e-3


def _saved(path: Path, **changes: Any) -> Path:
    torch.save({"model_config": tiny_config(), "model": _net().state_dict(), **changes}, path)
    return path


def test_a_published_file_is_read(tmp_path: Path) -> None:
    loaded = load(_saved(tmp_path / "model.pt"), CPU, METRIC, SIZE, "tiny")
    torch.testing.assert_close(loaded.predict(_image(90, 140), None).depth, _model().predict(_image(90, 140), None).depth)
    assert (loaded.name, loaded.claim) == ("tiny", METRIC)


def _without_normals() -> dict[str, Any]:
    return {**RELEASED["s"], "normal_head": None}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_config": None}, "holds no model with its model_config"),
        ({"model_config": _without_normals()}, r"is no MoGe-2 with normals \(it has no normal_head\): fetch moge-2-small's"),
        ({"model_config": RELEASED["s"]}, "was made for another network"),
        ({"model_config": {**RELEASED["s"], "encoder": {"backbone": "dinov2_vits14"}}}, "its configuration is incomplete"),
        ({"model": {}}, "lacks encoder"),
        ({"model": [1]}, "not a state dict"),
    ],
)
def test_other_files_are_told_in_one_line(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(WeightsError, match=told) as caught:
        load(_saved(tmp_path / "model.pt", **changes), CPU, METRIC, SIZE, "moge-2-small")
    assert "\n" not in str(caught.value)


def test_what_comes_to_lie_behind_the_camera_is_unknown_and_drags_no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cells have the depth of their neighbours; one at 1 mm would leave 40 m to the whole frame."""
    h, w = 64, 96
    z = torch.full((h, w), 60.0)
    z[20:24, 30:40] = -5.0
    known = z > 0
    mask = torch.ones(h, w)
    mask[:8] = -1.0  # sky
    maps = moge.MoGeMaps(torch.zeros(3, h, w), torch.ones(3, h, w), mask, torch.tensor(0.0), torch.zeros(16, h, w))
    model = _model()
    answer = (maps.points[2], maps.features, maps.points, maps.normals, maps.mask, maps.log_scale)
    model.network = lambda *_: tuple(tensor[None] for tensor in answer)  # type: ignore[assignment]
    monkeypatch.setattr(moge_adapter, "metric_depth", lambda *_: (z, known & (mask > 0), torch.tensor(1.0)))
    prediction = model.predict(_image(h, w), None)
    assert prediction.unknown is not None and prediction.sky is not None
    assert torch.equal(prediction.unknown, ~known) and torch.equal(prediction.sky, mask <= 0)
    assert bool((prediction.depth[8:] == 60.0).all()) and bool((prediction.depth[:8] >= 1000.0).all())
    limited = limit_far(prediction, METRIC).depth
    assert bool((limited[8:] == 60.0).all())


def test_a_point_behind_the_camera_is_no_depth() -> None:
    """Between the cells that the shift is found from, some lie nearer than it brings all others."""
    plane = view_plane(128, 128, 1.0, CPU)
    z = torch.full((128, 128), 2.0)
    z[1::2] = 0.1
    xy = plane * 1.5 / z
    maps = moge.MoGeMaps(torch.cat((xy, z.log()[None])), xy, torch.ones_like(z), torch.tensor(0.0), xy)
    depth, known, _ = metric_depth(maps, 1.0, 1.0)
    assert not known[1::2].any() and known[::2].all()
    torch.testing.assert_close(depth[::2], torch.full((64, 128), 1.5))
