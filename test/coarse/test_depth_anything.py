"""Depth Anything V2 with random weights: the true architecture once, a tiny one of the same kind for the rest."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.depth_anything import DepthAnythingNetwork, load
from depth_retrofit_ros.coarse.disparity import depth_from_disparity
from depth_retrofit_ros.coarse.input_size import InputSize, long_side
from depth_retrofit_ros.coarse.registry import MODELS, load_coarse
from depth_retrofit_ros.coarse.transformers_model import NEAREST_M, TransformersModel
from depth_retrofit_ros.errors import ModelError, WeightsError

transformers = pytest.importorskip("transformers")

CPU = torch.device("cpu")
SIZE = MODELS["depth-anything-v2-small"].input
RELATIVE, METRIC = (MODELS[name].claim for name in ("depth-anything-v2-small", "depth-anything-v2-small-indoor"))
TINY = {"reassemble_hidden_size": 24, "neck_hidden_sizes": [8, 8, 8, 8], "fusion_hidden_size": 16}
TINY_BACKBONE = {"hidden_size": 24, "num_attention_heads": 2, "num_hidden_layers": 4, "image_size": 56}


def _net(depth: dict[str, Any], backbone: dict[str, Any], stages: tuple[int, ...]) -> Any:
    torch.manual_seed(0)
    names = [f"stage{stage}" for stage in stages]
    config = transformers.Dinov2Config(patch_size=14, reshape_hidden_states=False, out_features=names, **backbone)
    net = transformers.DepthAnythingForDepthEstimation(transformers.DepthAnythingConfig(backbone_config=config, **depth))
    for module in net.modules():  # the library's initial weights would make a head that answers 0 everywhere
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
    nn.init.constant_(net.head.conv3.bias, 0.5)
    return net


def _tiny(**depth: Any) -> Any:
    return _net({**TINY, **depth}, TINY_BACKBONE, (1, 2, 3, 4))


def _model(
    net: Any,
    claim: ScaleClaim = RELATIVE,
    size: InputSize | None = None,
    device: torch.device = CPU,
    dtype: torch.dtype | None = None,
) -> TransformersModel:
    return TransformersModel(DepthAnythingNetwork(net), "tiny", claim, device, size or long_side(112, 14), dtype)


def _image(height: int, width: int) -> Tensor:
    coarse = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(5))
    return F.interpolate(coarse, (height, width), mode="bilinear")[0].permute(1, 2, 0).mul(255).byte().contiguous()


def _saved(folder: Path, net: Any) -> Path:
    net.save_pretrained(folder)
    return folder / "model.safetensors"


def test_true_architecture_through_the_registry(tmp_path: Path) -> None:
    """The file that is written has the public one's size to the byte (99,173,660): same names, same shapes."""
    net = _net({}, {"hidden_size": 384, "num_attention_heads": 6, "image_size": 518}, (3, 6, 9, 12))
    info = MODELS["depth-anything-v2-small"]
    assert sum(parameter.numel() for parameter in net.parameters()) == info.parameters
    size = _saved(tmp_path, net).stat().st_size
    assert size == 99_173_660
    assert size / 1e6 == pytest.approx(info.size_mb, abs=0.05)

    model = load_coarse("depth-anything-v2-small", weights=tmp_path, device="cpu")
    prediction = model.predict(_image(360, 640), None)
    assert (model.name, model.claim) == ("depth-anything-v2-small", RELATIVE)
    assert prediction.depth.shape == (294, 518)
    assert prediction.features.shape == (32, 294, 518)
    assert bool((prediction.depth > 0).all()) and bool(prediction.depth.isfinite().all())
    net.eval()
    with torch.no_grad():
        disparity = net(pixel_values=_normalized(_image(360, 640), (294, 518))).predicted_depth[0]
    torch.testing.assert_close(prediction.depth, depth_from_disparity(disparity), rtol=1e-3, atol=1e-5)


def _normalized(image: Tensor, size: tuple[int, int]) -> Tensor:
    from depth_retrofit_ros.upsampling.area_average import downsample

    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (downsample(image, size) - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


@pytest.mark.parametrize("frame", [(720, 1280), (1440, 1920), (333, 111), (40, 30)])
@pytest.mark.parametrize("side", [112, 252])
def test_input_keeps_the_aspect_in_multiples_of_14(frame: tuple[int, int], side: int) -> None:
    model = _model(_tiny(), size=long_side(side, 14))
    prediction = model.predict(_image(*frame), None)
    height, width = prediction.depth.shape
    assert height % 14 == 0 and width % 14 == 0
    assert max(height, width) == side
    assert abs(min(height, width) - side * min(frame) / max(frame)) <= 7
    assert prediction.features.shape == (32, height, width)


def test_features_are_those_before_the_last_projection() -> None:
    net = _tiny()
    model = _model(net)
    prediction = model.predict(_image(90, 120), None)
    assert float(prediction.features.min()) == 0.0  # they come out of a ReLU …
    assert float(prediction.features.max()) > 0.0
    projected = F.conv2d(prediction.features[None], net.head.conv3.weight, net.head.conv3.bias)
    torch.testing.assert_close(prediction.depth, depth_from_disparity(projected[0, 0].relu()))  # … and only a projection follows
    assert not prediction.features.requires_grad and not prediction.features.is_inference()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_gives_float32_depth(dtype: torch.dtype) -> None:
    image = _image(90, 120)
    exact = _model(_tiny()).predict(image, None)
    net = _tiny()
    half = _model(net, dtype=dtype).predict(image, None)
    assert half.depth.dtype == torch.float32
    assert half.features.dtype == dtype
    assert float((half.depth / exact.depth).log().abs().median()) < 0.02
    projected = F.conv2d(half.features[None].float(), net.head.conv3.weight, net.head.conv3.bias)
    torch.testing.assert_close(half.depth, depth_from_disparity(projected[0, 0].relu()))  # not rounded to half precision


@pytest.mark.cuda
def test_half_precision_is_the_default_on_cuda() -> None:
    image, device = _image(90, 120), torch.device("cuda")
    exact = _model(_tiny()).predict(image, None)
    half = _model(_tiny(), device=device).predict(image.to(device), None)
    assert (half.depth.dtype, half.features.dtype) == (torch.float32, torch.float16)
    assert float((half.depth.cpu() / exact.depth).log().abs().median()) < 0.02


def test_metric_depth_is_the_networks_own() -> None:
    net = _tiny(depth_estimation_type="metric", max_depth=20)
    prediction = _model(net, METRIC).predict(_image(90, 120), None)
    projected = F.conv2d(prediction.features[None], net.head.conv3.weight, net.head.conv3.bias)[0, 0]
    torch.testing.assert_close(prediction.depth, (20 * projected.sigmoid()).clamp_min(NEAREST_M))


def test_disparity_becomes_positive_depth() -> None:
    disparity = torch.tensor([[0.0, 1.0], [2.0, 5.0]])
    depth = depth_from_disparity(disparity)
    assert bool((depth.flatten().diff() < 0).all())  # larger disparity, nearer
    torch.testing.assert_close(depth[0, 0], torch.tensor(100 / 2.0))  # the mean disparity is 2
    torch.testing.assert_close(depth_from_disparity(7 * disparity), depth / 7)
    blank = depth_from_disparity(torch.zeros(2, 2))
    assert bool((blank > 0).all()) and bool(blank.isfinite().all())


@pytest.mark.parametrize("names", ["public", "current"])
def test_parameter_names_of_any_transformers_version_load(tmp_path: Path, names: str) -> None:
    net = _tiny()
    weights = _saved(tmp_path, net)
    tensors = {key: value.clone() for key, value in net.state_dict().items()}
    if names == "public":
        renamed = {"q_proj": "attention.query", "k_proj": "attention.key", "v_proj": "attention.value", "o_proj": "output.dense"}
        for new, old in renamed.items():
            tensors = {key.replace(f"attention.{new}", f"attention.{old}"): value for key, value in tensors.items()}
        assert "backbone.encoder.layer.0.attention.attention.query.weight" in tensors
    safetensors.torch.save_file(tensors, weights, {"format": "pt"})
    loaded = load(weights, CPU, RELATIVE, SIZE, "tiny").predict(_image(90, 120), None)
    torch.testing.assert_close(loaded.depth, _model(net, size=SIZE).predict(_image(90, 120), None).depth)


def _refused(weights: Path, match: str, claim: ScaleClaim = RELATIVE) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        load(weights, CPU, claim, SIZE, "tiny")
    assert "\n" not in str(caught.value)


def test_broken_checkpoints_are_told_in_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    weights = _saved(tmp_path, _tiny())
    whole, tensors = weights.read_bytes(), safetensors.torch.load_file(weights)
    capfd.readouterr()

    weights.write_bytes(whole[:-100])
    _refused(weights, "corrupt")
    safetensors.torch.save_file({k: v for k, v in tensors.items() if k != "head.conv3.bias"}, weights)
    _refused(weights, r"made for another network \(missing head\.conv3\.bias\)")
    safetensors.torch.save_file({**tensors, "extra": torch.zeros(1)}, weights)
    _refused(weights, r"made for another network \(unexpected extra\)")
    safetensors.torch.save_file({**tensors, "head.conv3.weight": torch.zeros(1, 16, 1, 1)}, weights)
    _refused(weights, r"made for another network \(mismatched head\.conv3\.weight\)")
    safetensors.torch.save_file({**tensors, "head.conv3.weight": torch.full((1, 32, 1, 1), torch.nan)}, weights)
    _refused(weights, "not finite")
    assert capfd.readouterr() == ("", "")  # transformers' own reports stay silent


def test_broken_configurations_are_told_in_one_line(tmp_path: Path) -> None:
    weights = _saved(tmp_path, _tiny())
    config = weights.with_name("config.json")
    _refused(weights, "has depth_estimation_type relative but 'tiny' has metric", claim=METRIC)
    config.write_text(config.read_text()[:50])
    _refused(weights, r"config\.json is not a configuration of depth_anything")
    config.write_text("[]")
    _refused(weights, r"config\.json is not a configuration of depth_anything")
    config.unlink()
    _refused(weights, r"config\.json is missing")


def test_without_transformers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModelError, match=r"needs transformers: pip install 'depth_retrofit_ros\[depth-anything\]'"):
        load(tmp_path / "model.safetensors", CPU, RELATIVE, SIZE, "tiny")
