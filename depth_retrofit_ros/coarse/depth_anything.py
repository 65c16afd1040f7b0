"""Depth Anything V2 Small as a coarse model, through ``transformers`` (optional extra ``depth-anything``; arXiv 2406.09414).

A DINOv2 ViT-S with a DPT head, 24.8 M parameters. The relative model predicts disparity up to scale and shift, the two metric ones
depth. The weights are read from safetensors beside their ``config.json``; nothing in a checkpoint is executed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.input_size import InputSize
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import first_line, load_tensors, require_finite
from depth_retrofit_ros.upsampling.area_average import downsample

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
FAR_SHARE = 0.01
NEAREST_M = 1e-3


class DepthAnything:
    """``CoarseModel``. The frame keeps its aspect; both sides of the input, depth and features are multiples of 14.

    net: a ``DepthAnythingForDepthEstimation``; size: of its input; dtype: None for float16 on CUDA and float32 elsewhere.
    Depth is float32 in any case: the last projection runs in float32 on the features, which stay in ``dtype``.
    """

    def __init__(
        self,
        net: nn.Module,
        name: str,
        claim: ScaleClaim,
        device: torch.device,
        size: InputSize,
        dtype: torch.dtype | None = None,
    ) -> None:
        self.name = name
        self.claim = claim
        self.device = device
        self.size = size
        self._dtype = dtype or (torch.float16 if device.type == "cuda" else torch.float32)
        self._net = net.to(device, self._dtype).eval()
        self._features: Tensor | None = None
        projection = net.get_submodule("head.conv3").float()
        projection.register_forward_pre_hook(self._keep_features)
        self._mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)

    @torch.no_grad()
    def predict(self, image: Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel``. The camera is not used. features: the 32 channels after the head's last ReLU."""
        size = self.size.of(image.shape[0], image.shape[1])
        planes = (downsample(image, size) - self._mean) / self._std
        output = self._net(pixel_values=planes.to(self._dtype)).predicted_depth[0]
        features, self._features = self._features, None
        assert features is not None, "the head's last projection did not run"
        depth = depth_from_disparity(output) if self.claim.inverse else output.clamp_min(NEAREST_M)
        return CoarsePrediction(depth, features[0])

    def _keep_features(self, module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        self._features = inputs[0]
        return (inputs[0].float(),)


def depth_from_disparity(disparity: Tensor) -> Tensor:
    """Relative depth > 0 of a disparity ≥ 0 ``[h, w]``; where that is 0 (sky), 100 times the depth of the frame's mean disparity.

    The floor follows the frame's own scale, so that scaling the disparity scales the depth and nothing else.
    """
    floor = FAR_SHARE * disparity.mean()
    return 1.0 / (disparity + floor).clamp_min(torch.finfo(torch.float32).tiny ** 0.5)


def load(weights: Path, device: torch.device, claim: ScaleClaim, size: InputSize, name: str) -> DepthAnything:
    """weights: the tensors' file, with its ``config.json`` beside it; claim: what the model of this name must be.

    Raises ModelError without ``transformers``, WeightsError for a checkpoint that is incomplete, corrupt, or of another network.
    """
    try:
        from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation
    except ImportError:
        raise ModelError(f"model '{name}' needs transformers: pip install 'depth_retrofit_ros[depth-anything]'") from None
    tensors, _ = load_tensors(weights)
    require_finite(tensors, weights)
    config = _read_config(DepthAnythingConfig, weights.with_name("config.json"))
    wanted = "relative" if claim.inverse else "metric"
    if config.depth_estimation_type != wanted:
        raise WeightsError(
            f"checkpoint {weights} is {config.depth_estimation_type} but '{name}' is {wanted}: give it to the other model"
        )
    return DepthAnything(_build(DepthAnythingForDepthEstimation, config, tensors, weights), name, claim, device, size)


def _read_config(config_class: Any, path: Path) -> Any:
    if not path.is_file():
        raise WeightsError(f"{path} is missing: it belongs beside the weights, fetch both")
    try:
        return config_class.from_json_file(path)
    except Exception as error:  # a configuration of another kind fails in as many ways as there are kinds
        raise WeightsError(f"{path} is not a Depth Anything configuration ({first_line(error)}): fetch it again") from None


def _build(net_class: Any, config: Any, tensors: dict[str, Tensor], weights: Path) -> nn.Module:
    """``from_pretrained`` rather than a plain state dict: it knows the parameters' names in each version of transformers."""
    try:
        with quiet():
            net, report = net_class.from_pretrained(
                None, config=config, state_dict=tensors, ignore_mismatched_sizes=True, output_loading_info=True
            )
    except Exception as error:  # a configuration that parses can still describe a network that cannot be built
        raise WeightsError(f"checkpoint {weights} does not fit its config.json ({first_line(error)}): fetch both again") from None
    problems = [f"{kind.removesuffix('_keys')} {_name(min(found, key=_name))}" for kind, found in report.items() if found]
    if problems:
        raise WeightsError(f"checkpoint {weights} was made for another network ({'; '.join(problems)}): use its own model")
    return cast(nn.Module, net)


def _name(entry: str | tuple[str, Any, Any]) -> str:
    """Of a parameter in the load report, where mismatched ones come with both shapes."""
    return entry if isinstance(entry, str) else entry[0]


@contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bar and load report: what is wrong is raised, in one line."""
    library: Any = import_module("transformers.utils.logging")
    verbosity, progress = library.get_verbosity(), library.is_progress_bar_enabled()
    library.set_verbosity(logging.CRITICAL)
    library.disable_progress_bar()
    try:
        yield
    finally:
        library.set_verbosity(verbosity)
        if progress:
            library.enable_progress_bar()
