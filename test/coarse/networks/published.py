"""To run a published network beside ours, for ``benchmarks/check_networks.py``."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from depth_retrofit_ros.coarse.networks.dinov2 import VitSize
from test.coarse.networks.parity import digest, signature


class Comparison:
    """differences: the largest of each output so far, absolute."""

    def __init__(self) -> None:
        self.differences: dict[str, float] = {}

    def outputs(self, published: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> dict[str, Any]:
        """The published answers' digest."""
        assert {name: x.shape for name, x in published.items()} == {name: x.shape for name, x in ours.items()}
        for name, x in published.items():
            worst = float((x - ours[name]).abs().max())
            self.differences[name] = float(f"{max(worst, self.differences.get(name, 0.0)):.1e}")
        return digest(published)


def same_signature(published: nn.Module, ours: nn.Module, **names: Any) -> dict[str, Any]:
    """Of the published network. Both must have the same names and shapes."""
    found = signature(published)
    assert found == signature(ours, **names), "names or shapes differ"
    return found


def vision_transformer(module: str, layers: str, size: VitSize, **more: Any) -> Any:
    """The DINOv2 that came along with the published code, of a size that it does not know."""
    code, parts = import_module(module), import_module(layers)
    block = getattr(parts, "NestedTensorBlock", None) or parts.Block
    settings = {"img_size": 518, "init_values": 1.0, "block_chunks": 0, "interpolate_antialias": False, "interpolate_offset": 0.1}
    return code.DinoVisionTransformer(
        patch_size=14,
        embed_dim=size.width,
        depth=size.depth,
        num_heads=size.heads,
        mlp_ratio=4,
        block_fn=functools.partial(block, attn_class=parts.MemEffAttention),
        **{**settings, **more},
    )


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """What the module is given inside, call by call."""
    seen: list[Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, args: seen.append(args[0].clone()))
    yield seen
    hook.remove()


@contextmanager
def linspace_on_cpu() -> Iterator[None]:
    """Published code asks a series for its values, which the meta device lacks, or makes it on CUDA."""
    linspace = torch.linspace
    with patch.object(torch, "linspace", lambda *args, **named: linspace(*args, **{**named, "device": "cpu"})):
        yield


@contextmanager
def on_meta() -> Iterator[None]:
    """Networks of full size without memory."""
    with linspace_on_cpu(), torch.device("meta"):
        yield


def bare_package(name: str, folder: Path) -> None:
    """A package whose ``__init__`` is not run: it imports every other model of its authors."""
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package
