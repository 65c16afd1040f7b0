"""Checkpoints of refiners of tiles: the network's arguments are in the metadata as JSON."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from depth_retrofit_ros.errors import WeightsError
from depth_retrofit_ros.io.checkpoints import load_strict, load_tensors, require_same
from depth_retrofit_ros.refinement.kinds import network_of

Network = TypeVar("Network", bound=nn.Module)
LARGEST_CHANNELS, MOST_MODELS = 65_536, 100  # that a checkpoint may ask for


def load_network(path: Path, device: torch.device, kind: str, make: Callable[..., Network]) -> Network:
    """The network that ``make`` builds of the checkpoint's arguments, with its weights. Raises WeightsError."""
    tensors, metadata = load_tensors(path)
    try:
        arguments = checked(network_of(metadata))
        with torch.device("meta"):
            network = make(**arguments)
    except (KeyError, TypeError, ValueError):
        raise WeightsError(f"{path} is not a checkpoint of refiner {kind}: make one with 'depth-retrofit train {kind}'") from None
    require_same(network, tensors, path)
    network = network.to_empty(device="cpu")
    load_strict(network, {name: tensor.float() for name, tensor in tensors.items()}, path)
    return network.to(device).eval()


def checked(arguments: Any) -> dict[str, Any]:
    """Of a file that may be anybody's: ``channels`` by model's name, if any, the ``size``'s name, and flags. Raises ValueError."""
    channels = arguments.get("channels", {}) if isinstance(arguments, dict) else None
    if not isinstance(channels, dict) or len(channels) > MOST_MODELS:
        raise ValueError("channels are of models by name")
    if not all(type(count) is int and 0 < count <= LARGEST_CHANNELS for count in channels.values()):
        raise ValueError("channels are whole numbers")
    if not all(name == "channels" or type(value) is (str if name == "size" else bool) for name, value in arguments.items()):
        raise ValueError("what is neither channels nor the size is a flag")
    return dict(arguments)
