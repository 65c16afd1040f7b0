"""The registry of sparse backends."""

from __future__ import annotations

import sys

import pytest
import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.sparse.backends import registry
from depth_retrofit_ros.sparse.backends.registry import BACKENDS, BackendInfo, is_installed, load_backend, resolve_backend
from depth_retrofit_ros.sparse.pixel_set import PixelSet


@pytest.mark.parametrize("name", ["torch", "cpu"])
def test_backend_knows_its_name(name: str) -> None:
    assert load_backend(name).name == name


def test_auto_is_the_fastest_on_the_device() -> None:
    assert load_backend("auto").name == load_backend("auto", torch.device("cpu")).name == "cpu"
    assert resolve_backend("torch", torch.device("cuda")) == "torch"


def test_auto_on_cuda_is_triton_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "is_installed", lambda info: True)
    assert resolve_backend("auto", torch.device("cuda", 1)) == "triton"


def test_auto_without_triton_is_torch_and_says_why(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    assert load_backend("auto", torch.device("cuda")).name == "torch"
    (record,) = caplog.records
    assert record.getMessage().startswith("sparse backend auto is torch here, slower than triton, which is not installed: pip")
    caplog.clear()
    assert load_backend("torch", torch.device("cuda")).name == "torch" and load_backend("auto").name == "cpu"
    assert not caplog.records, "nothing is said of what was asked for"
    with pytest.raises(ModelError, match=r"sparse backend 'triton' needs triton, which is not installed: pip install .*\[cuda\]"):
        load_backend("triton", torch.device("cuda"))


@pytest.mark.parametrize("name", ["triton", "minkowski", "spconv"])
def test_backend_that_is_not_installed_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "find_spec", lambda package: None)
    assert not is_installed(BACKENDS[name])
    with pytest.raises(
        ModelError, match=rf"sparse backend '{name}' needs \w+, which is not installed: (pip install|build)"
    ) as caught:
        load_backend(name, torch.device("cuda"))
    assert "\n" not in str(caught.value)


def test_backend_that_does_not_compute_there_is_one_line() -> None:
    with pytest.raises(
        ModelError, match="sparse backend 'cpu' computes on cpu, not on cuda: choose another one, or auto"
    ) as caught:
        load_backend("cpu", torch.device("cuda"))
    assert "\n" not in str(caught.value)


def test_backend_whose_library_is_broken_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.BACKENDS, "broken", BackendInfo("depth_retrofit_ros.nowhere:Engine", "", how_to_get="mend it"))
    with pytest.raises(ModelError, match=r"sparse backend 'broken' cannot be loaded \(No module named .*\): mend it") as caught:
        load_backend("broken")
    assert "\n" not in str(caught.value)


def test_unknown_backend_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"^unknown sparse backend 'cuda': choose one of auto, torch, cpu, triton") as caught:
        load_backend("cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["cpu", "triton", "spconv", "auto"])
def test_backend_without_gradients_is_refused_for_training(name: str) -> None:
    with pytest.raises(
        ModelError, match=rf"^sparse backend '{name}' computes no gradients: train with torch or minkowski$"
    ) as caught:
        load_backend(name, gradients=True)
    assert "\n" not in str(caught.value)
    assert load_backend("torch", gradients=True).name == "torch"


@pytest.mark.parametrize("name", ["torch", "cpu", "minkowski", "spconv"])
def test_backend_has_the_gradients_that_it_says(name: str) -> None:
    """Of those that are here: gradients of the weights where it has them, one line where not."""
    if not is_installed(BACKENDS[name]):
        pytest.skip(f"{BACKENDS[name].package} is not installed")
    backend = load_backend(name)
    level = backend.build_pyramid(PixelSet.from_mask(torch.ones(3, 4, dtype=torch.bool)), 1)[0]
    weight = torch.ones(2, 1, 3, 3, requires_grad=True)
    if BACKENDS[name].gradients:
        backend.submanifold_conv(torch.ones(12, 1), weight, None, level).sum().backward()
        assert weight.grad is not None and float(weight.grad[0, 0, 1, 1]) == 12
    else:
        with pytest.raises(ModelError, match=f"'{name}' computes no gradients"):
            backend.submanifold_conv(torch.ones(12, 1), weight, None, level)
