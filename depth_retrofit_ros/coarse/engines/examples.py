"""What a network is given when its model sees a picture of the bundled film: programs are held to that, whatever comes first."""

from __future__ import annotations

import weakref
from typing import NoReturn, cast

import torch
from torch import Tensor

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.base import CompilableModel, Tensors
from depth_retrofit_ros.coarse.engines.natural_image import VIEWS, natural_image
from depth_retrofit_ros.errors import ModelError

USUAL_HFOV_DEG = 70.0  # of the camera for models that take a focal length


class _Recorder:
    """``Network`` that keeps its inputs, and ends the call."""

    def __init__(self) -> None:
        self.inputs: Tensors | None = None

    def __call__(self, *inputs: Tensor) -> NoReturn:
        self.inputs = tuple(tensor.clone() for tensor in inputs)
        raise ModelError("the network is not run, as only its inputs are asked for")


def network_inputs(model: CoarseModel, image: Tensor) -> Tensors:
    """What a ``CompilableModel`` gives its network for a frame ``uint8 [H, W, 3]`` of a usual camera.

    The network is not run, and is in its place again afterwards. Raises what the model raises before it calls the network,
    ModelError where it never does.
    """
    height, width = image.shape[:2]
    holder = cast(CompilableModel, model)
    network, recorder = holder.network, _Recorder()
    holder.network = recorder
    try:
        model.predict(image, Camera.from_hfov(width, height, USUAL_HFOV_DEG))
    except Exception:  # the recorder's, by whatever name it comes through what wraps the model
        if recorder.inputs is None:
            raise
    finally:
        holder.network = network
    if recorder.inputs is None:
        raise ModelError(f"{model.name} does not call its network")
    return recorder.inputs


class Examples:
    """Inputs of a model's network. model: one with a memory must not change it before it calls the network."""

    def __init__(self, model: CoarseModel) -> None:
        self._model = weakref.ref(model)  # which has the network that has these

    def like(self, inputs: Tensors) -> list[Tensors]:
        """Of each of ``VIEWS``, inputs of the shapes and dtypes of these; these alone where the model makes others of a picture,
        as one does that needs more than a picture and a camera."""
        found = [self._of(view, inputs) for view in VIEWS]
        return [made for made in found if made is not None] or [inputs]

    def _of(self, view: int, inputs: Tensors) -> Tensors | None:
        maps = [tensor for tensor in inputs if tensor.dim() >= 4]
        model = self._model()
        if not maps or model is None:
            return None
        height, width = maps[0].shape[-2:]
        image = natural_image(height, width, view).to(inputs[0].device)
        try:
            made = network_inputs(model, image)
        except Exception:  # a model that wants hints, or another frame, has what the user's frame makes of it
            return None
        return made if _kind(made) == _kind(inputs) else None


def _kind(inputs: Tensors) -> list[tuple[torch.Size, torch.dtype]]:
    return [(tensor.shape, tensor.dtype) for tensor in inputs]
