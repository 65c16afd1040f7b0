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
NOT_STATED = "not stated"  # how a licence begins that nobody states: it permits nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A model, by name.

    loader: ``module:function``, called as ``function(weights, device, claim, size, **options)`` with the checkpoint's path (None
    where ``files`` is empty) and an ``InputSize``, returns a ``CoarseModel``.
    license: of the weights; commercial: whether it permits commercial use; parameters: their number; size_mb: of the checkpoint.
    claim: what its depth is, and on whose word it is in metres.
    input: the size that suits a live node; native: the rule of the model's authors, None where that is the same.
    uncertainty: whether the selection ranks the entropy of the head's ``features``, or that of its own ``distribution`` over depth.
    uses: what it takes beside the image; needs: modules that must be installed beside this package.
    files: under which names the checkpoint is looked for; bundled: whether the first of them is part of this package; hub: where
    else it may come from; how_to_get: what to do where it is not there, one line, for a model without a hub.
    auto_rank: its place among the models that ``auto`` may take, the lowest is the best; None: it takes no part.
    for_cpu: whether it is fast enough for a live node on a CPU, where ``auto`` takes no other.
    options: further arguments of the loader.
    """

    name: str
    loader: str
    license: str
    claim: ScaleClaim
    description: str
    input: InputSize
    parameters: int = 0
    size_mb: float = 0.0
    how_to_get: str = ""
    files: tuple[str, ...] = ()
    native: InputSize | None = None
    commercial: bool = True
    uncertainty: Uncertainty = "features"
    uses: frozenset[Use] = frozenset()
    needs: tuple[str, ...] = ()
    bundled: bool = False
    hub: HubModel | None = None
    auto_rank: int | None = None
    for_cpu: bool = False
    options: Mapping[str, object] = field(default_factory=dict)

    @property
    def remedy(self) -> str:
        """What to do where its checkpoint is not there, one line."""
        if self.how_to_get or self.hub is None:
            return self.how_to_get
        if self.hub.is_pinned:
            return f"depth-retrofit models fetch {self.name}"
        return (
            f"its pin is not corroborated: depth-retrofit models fetch {self.name} --revision COMMIT --sha256 DIGEST with both "
            f"from https://huggingface.co/{self.hub.repo}, or give --weights FOLDER"
        )

    @property
    def has_no_license(self) -> bool:
        """Whether nobody states a licence of its weights."""
        return self.license.startswith(NOT_STATED)

    @property
    def restriction(self) -> str:
        """What must be said before the first use of a model that permits no commercial one, one line."""
        if self.has_no_license:
            return f"{self.name}: its licence is {self.license}: ask its authors before any commercial use"
        return f"{self.name} is for non-commercial use only ({self.license})"

    def claim_at(self, size: InputSize) -> ScaleClaim:
        """What its depth is at that size of the input: how large a thing is in pixels tells a model that knows one camera or one
        kind of scenes how near it is, so that its metres hold at the sizes that it was made for."""
        if not self.claim.needs_trust or size in (self.input, self.native):
            return self.claim
        return ScaleClaim("up-to-scale", "never")
