"""What is known of a coarse model before it is loaded: an entry of the registry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.hub import HubModel
from depth_retrofit_ros.coarse.input_size import InputSize

Use = Literal["focal length", "sparse depth", "several views", "the past"]
Uncertainty = Literal["features", "distribution"]


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A model, by name.

    loader: ``module:function``, called as ``function(weights, device, claim, size, **options)`` with the checkpoint's path and an
    ``InputSize``, returns a ``CoarseModel``.
    license: of the weights; commercial: whether it permits commercial use; parameters: their number; size_mb: of the checkpoint.
    claim: what its depth is, and on whose word it is in metres.
    input: the size that suits a live node; native: the rule of the model's authors, None where that is the same.
    uncertainty: whether the selection ranks the entropy of the head's ``features``, or that of its own ``distribution`` over depth.
    uses: what it takes beside the image.
    files: under which names the checkpoint is looked for; bundled: whether the first of them is part of this package; hub: where
    else it may come from; how_to_get: what to do where it is not there, one line.
    options: further arguments of the loader.
    """

    name: str
    loader: str
    license: str
    parameters: int
    size_mb: float
    claim: ScaleClaim
    description: str
    how_to_get: str
    files: tuple[str, ...]
    input: InputSize
    native: InputSize | None = None
    commercial: bool = True
    uncertainty: Uncertainty = "features"
    uses: frozenset[Use] = frozenset()
    bundled: bool = False
    hub: HubModel | None = None
    options: Mapping[str, object] = field(default_factory=dict)
