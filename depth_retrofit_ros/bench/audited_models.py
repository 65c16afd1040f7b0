"""Coarse models in their true architectures on tensors without content, for audits: neither weights nor memory are needed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from depth_retrofit_ros.bench.audit import META
from depth_retrofit_ros.bench.random_models import random_network
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.compact import Compact
from depth_retrofit_ros.coarse.compact_net import CompactNet
from depth_retrofit_ros.coarse.depth_anything import DepthAnythingNetwork
from depth_retrofit_ros.coarse.depth_anything3 import PUBLISHED, DepthAnything3
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.coarse.moge import MoGe2
from depth_retrofit_ros.coarse.networks import depth_anything3
from depth_retrofit_ros.coarse.networks.dinov2 import VIT_SMALL
from depth_retrofit_ros.coarse.networks.moge import MoGe, MoGeConfig
from depth_retrofit_ros.coarse.registry import find_model
from depth_retrofit_ros.coarse.transformers_model import TransformersModel

HALF = torch.float16  # what these models compute in on CUDA
MOGE_SMALL = MoGeConfig(VIT_SMALL, (5, 11), (384, 256, 128, 64, 32), (0, 1, 1, 1, 0), (0, 1, 1, 1, 0), (384, 384, 384, 1))
"""As its public checkpoint says it."""

Build = Callable[[ModelInfo, InputSize], CoarseModel]


def _compact(info: ModelInfo, size: InputSize) -> CoarseModel:
    return Compact(CompactNet(), META, info.claim, size)


def _depth_anything(info: ModelInfo, size: InputSize) -> CoarseModel:
    network = DepthAnythingNetwork(random_network(info.name.rpartition("-")[2]))
    return TransformersModel(network, info.name, info.claim, META, size, HALF)


def _depth_anything3(info: ModelInfo, size: InputSize) -> CoarseModel:
    network = depth_anything3.build(PUBLISHED[info.name][1])
    return DepthAnything3(network, info.name, info.claim, META, size, HALF)


def _moge(info: ModelInfo, size: InputSize) -> CoarseModel:
    return MoGe2(MoGe(MOGE_SMALL), info.name, info.claim, META, size, HALF)


BUILDS: dict[str, Build] = {
    "compact": _compact,
    "depth-anything-v2-small": _depth_anything,
    "depth-anything-v2-base": _depth_anything,
    "depth-anything-v2-large": _depth_anything,
    "depth-anything-3-small": _depth_anything3,
    "depth-anything-3-base": _depth_anything3,
    "moge-2-small": _moge,
}


def audited_model(name: str, size: InputSize | None = None) -> CoarseModel:
    """One of ``BUILDS`` as it computes on CUDA, on ``META``.

    size: of its input, None for what suits a live node. Raises ModelError without the software that it needs.
    """
    info = find_model(name)
    with META:
        return BUILDS[name](info, size or info.input)
