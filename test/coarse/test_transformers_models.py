"""The models that come through ``transformers``: each family against the library's own answer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from depth_retrofit_ros.coarse import dpt
from depth_retrofit_ros.coarse.batch import BatchModel
from depth_retrofit_ros.coarse.disparity import depth_from_disparity
from depth_retrofit_ros.coarse.input_size import long_side
from test.coarse import tiny_networks as tiny
from test.coarse.families import DISTRIBUTIONS, FAMILIES, Family, image, library_answer, model_of

pytest.importorskip("transformers")

EVERY = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
SIZES = [(90, 120), (120, 90)]


@EVERY
def test_the_answer_is_the_library_s_own(family: Family) -> None:
    """Square, as the library's MiDaS takes no other."""
    model = model_of(family)
    planes = model.planes(image(96, 96))
    assert planes.shape[2:] == (family.side, family.side)
    answer = model.network(planes)[0]
    expected = library_answer(family.net(), planes)
    assert float(expected.std()) > 0
    torch.testing.assert_close(answer[0], expected, rtol=1e-5, atol=1e-5)


@EVERY
@pytest.mark.parametrize("size", SIZES, ids=["landscape", "portrait"])
def test_frames_of_any_aspect(family: Family, size: tuple[int, int]) -> None:
    model = model_of(family)
    prediction = model.predict(image(*size), None)
    expected = tuple(side * family.out[0] // family.out[1] for side in model.size.of(*size))
    assert prediction.depth.shape == expected and prediction.features.shape == (family.channels, *expected)
    assert prediction.depth.dtype == torch.float32
    assert bool((prediction.depth > 0).all()) and bool(prediction.depth.isfinite().all())
    assert bool(prediction.features.isfinite().all()) and float(prediction.features.float().std()) > 0
    assert not prediction.depth.requires_grad and not prediction.features.requires_grad
    if family.wrap is not dpt.MidasNetwork:  # which the library takes square only
        torch.testing.assert_close(
            model.network(model.planes(image(*size)))[0][0],
            library_answer(family.net(), model.planes(image(*size))),
            rtol=1e-5,
            atol=1e-5,
        )


@EVERY
def test_frames_of_a_batch_are_answered_as_each_alone(family: Family) -> None:
    model = model_of(family)
    if not isinstance(model, BatchModel):
        assert model.name in ("prompt", "depth pro")  # which also take a prompt, and a camera
        return
    images = [image(90, 120), image(90, 120).flip(1), image(180, 240).flip(0)]
    alone = [model.predict(frame, None) for frame in images]
    assert not torch.allclose(alone[0].depth, alone[1].depth, rtol=0.01)
    for answer, other in zip(model.predict_batch(images, [None] * 3), alone, strict=True):
        torch.testing.assert_close(answer.depth, other.depth, rtol=5e-3, atol=0.0)  # disparity close to 0 is a large depth
        torch.testing.assert_close(answer.features, other.features, rtol=0.0, atol=2e-3 * float(other.features.abs().max()))


@pytest.mark.parametrize("size", SIZES, ids=["landscape", "portrait"])
@pytest.mark.parametrize("name", ["midas large", "midas hybrid"])
def test_midas_keeps_a_frame_s_aspect(name: str, size: tuple[int, int]) -> None:
    """As the library would, if it told its parts the size."""
    model, net = model_of(FAMILIES[name]), FAMILIES[name].net()
    planes = model.planes(image(*size))
    rows, columns = planes.shape[2] // 16, planes.shape[3] // 16
    assert rows != columns
    neck, embeddings = net.neck.forward, net.dpt.embeddings.forward
    net.neck.forward = lambda maps, *_: neck(maps, rows, columns)
    if name == "midas hybrid":
        net.dpt.embeddings.forward = lambda planes: embeddings(planes, interpolate_pos_encoding=True)
    torch.testing.assert_close(model.network(planes)[0][0], library_answer(net, planes), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@EVERY
def test_in_half_precision_the_last_step_is_exact(family: Family, dtype: torch.dtype) -> None:
    exact, half = model_of(family), model_of(family, dtype)
    if family.net is tiny.dpt_dinov2:
        exact.size = half.size = long_side(42, 14)  # its 256 channels take a CPU's float16 long
    frame = image(90, 120)
    depth, features = half.predict(frame, None).depth, half.predict(frame, None).features
    assert depth.dtype == torch.float32
    assert bool(depth.isfinite().all()) and bool(features.isfinite().all())
    assert features.dtype == (torch.float32 if family.model in (FAMILIES[n].model for n in DISTRIBUTIONS) else dtype)
    assert float((depth / exact.predict(frame, None).depth).log().abs().median()) < 0.1
    for part in half.network.exact():
        tensors = [*part.parameters(), *(buffer for buffer in part.buffers() if buffer.is_floating_point())]
        assert tensors and all(tensor.dtype == torch.float32 for tensor in tensors)
        wanted = dict(exact.network.named_parameters())
        for name, parameter in half.network.named_parameters():
            if any(parameter is inner for inner in part.parameters()):
                torch.testing.assert_close(parameter, wanted[name], rtol=0, atol=0)  # never rounded on the way
    with torch.no_grad():
        answer = half.network(
            torch.randn(1, 3, *half.planes(frame).shape[2:], generator=torch.Generator().manual_seed(4)).to(dtype)
        )[0]
    assert float((answer != answer.to(dtype)).float().mean()) > 0.01  # answers that half precision does not have


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_distribution_s_softmax_is_itself_and_its_mean_the_depth(name: str) -> None:
    family = FAMILIES[name]
    prediction = model_of(family).predict(image(90, 120), None)
    shares = prediction.features.exp()
    torch.testing.assert_close(shares.sum(0), torch.ones_like(shares[0]), rtol=0, atol=1e-4)
    torch.testing.assert_close(prediction.features.softmax(0), shares, rtol=1e-3, atol=1e-6)
    if name == "tips":
        centers = torch.linspace(0.001, 10, 256)
        torch.testing.assert_close(prediction.depth, (shares * centers[:, None, None]).sum(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("family", "projection"), [("midas large", "head.head.4"), ("glpn", "head.head.2"), ("prompt", "head.conv3")]
)
def test_depth_follows_from_the_features_by_hand(family: str, projection: str) -> None:
    model = model_of(FAMILIES[family])
    prediction = model.predict(image(90, 120), None)
    last = model.network.get_submodule(f"net.{projection}")
    assert isinstance(last, nn.Conv2d)
    projected = F.conv2d(prediction.features[None], last.weight, last.bias, padding=last.padding)[0, 0]
    expected = {
        "midas large": lambda: depth_from_disparity(projected.relu()),
        "glpn": lambda: (10 * projected.sigmoid()).clamp_min(1e-3),
        "prompt": lambda: projected.sigmoid().clamp_min(1e-3),
    }[family]()
    torch.testing.assert_close(prediction.depth, expected)
