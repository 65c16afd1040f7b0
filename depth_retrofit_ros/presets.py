"""Which parts the method is made of: this project's, or those of the paper to the letter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch

from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.preset_names import PRESETS, refiner_of
from depth_retrofit_ros.refinement.paper.refiner import NAME as PAPER_REFINER
from depth_retrofit_ros.refinement.paper.refiner import read_thresholds
from depth_retrofit_ros.refinement.pixels.median import color_median
from depth_retrofit_ros.refinement.registry import resolved
from depth_retrofit_ros.selection.selector import Ranked, Selector
from depth_retrofit_ros.selection.threshold import AboveThreshold, Thresholds
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.upsampling.edge_aware import guided_upsample
from depth_retrofit_ros.upsampling.interpolation import nearest

Upsample = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""coarse depth ``[h, w]``, image ``uint8 [H, W, 3]``, its average over each coarse pixel ``[h, w, 3]`` → depth ``[H, W]``."""
Agree = Callable[[torch.Tensor, torch.Tensor, PixelSet], torch.Tensor]
"""depth ``[H, W]``, image ``uint8 [H, W, 3]``, pixels that each were refined for itself → depth at these ``[K]``."""


class Named(Protocol):
    """A coarse model, of one view or of several."""

    @property
    def name(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What ``Retrofit`` takes beside the coarse model and the refiner. agree: what brings the answers of a refiner of pixels into
    agreement with those around; None leaves them."""

    upsample: Upsample
    selector: Selector
    agree: Agree | None = None


USUAL = Parts(guided_upsample, Ranked(), color_median)


@dataclass(frozen=True, slots=True)
class Preset:
    """name: of ``preset_names.PRESETS``; refiner: as ``load_refiner`` takes it. thresholds: of the paper's selection, by coarse
    model's name; alpha: one for all models, 0 for those."""

    name: str = "default"
    refiner: Path | str = PRESETS["default"].refiner
    thresholds: Mapping[str, Thresholds] = field(default_factory=dict)
    alpha: float = 0.0

    def refusal(self, coarse: Named) -> str | None:
        """Why it cannot serve this model, one line; None where it can."""
        if self.name == "default":
            return None
        if not getattr(coarse, "has_features", True):
            return "preset paper selects by the entropy of features, and the map's file has none: use preset default"
        if self.alpha or coarse.name in self.thresholds:
            return None
        known = ", ".join(self.thresholds)
        return f"preset paper is calibrated for {known}, not for {coarse.name}: choose one of these, or give entropy_threshold"

    def parts(self, coarse: Named) -> Parts:
        """For a coarse model. Raises ModelError where ``refusal`` says why."""
        if reason := self.refusal(coarse):
            raise ModelError(reason)
        if self.name == "default":
            return USUAL
        return Parts(_nearest, AboveThreshold(self.alpha or self.thresholds[coarse.name]))


DEFAULT = Preset()


def load_preset(name: str = "default", refiner: Path | str | None = None, entropy_threshold: float = 0.0) -> Preset:
    """A preset, with its refiner or another, see ``preset_names.refiner_of``.

    entropy_threshold: of the paper's selection, a share below 1 of the largest entropy; 0 for the ones that are calibrated for each
    model: those in the refiner's checkpoint where it is one of the paper's, else in the bundled one.
    Raises ModelError or WeightsError, each one line.
    """
    if name not in PRESETS:
        raise ModelError(f"unknown preset '{name}': choose one of {', '.join(PRESETS)}")
    if not 0.0 <= entropy_threshold < 1.0:
        raise ModelError(f"entropy_threshold {entropy_threshold:g} is outside 0 to below 1: it is a share of the largest entropy")
    chosen = refiner_of(name, refiner)
    if name == "default":
        if entropy_threshold:
            raise ModelError("entropy_threshold is of preset paper: leave it out, or choose that")
        return Preset(name, chosen)
    if entropy_threshold:
        return Preset(name, chosen, alpha=entropy_threshold)
    kind, path = resolved(chosen)
    of_paper = path if kind == PAPER_REFINER else resolved(PAPER_REFINER)[1]
    assert of_paper is not None, "the paper's refiner has a checkpoint"
    return Preset(name, chosen, read_thresholds(of_paper))


def _nearest(depth: torch.Tensor, image: torch.Tensor, small: torch.Tensor) -> torch.Tensor:
    """See ``Upsample``."""
    return nearest(depth, (image.shape[0], image.shape[1]))
