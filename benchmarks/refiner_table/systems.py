"""What is measured: refiners by name or checkpoint, each put together as everywhere else, and variants of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from depth_retrofit_ros.coarse.base import CoarseModel, CoarsePrediction
from depth_retrofit_ros.errors import DepthRetrofitError, WeightsError
from depth_retrofit_ros.evaluation.evaluator import Make
from depth_retrofit_ros.io.digests import digest_of
from depth_retrofit_ros.preset_names import PRESETS
from depth_retrofit_ros.presets import Preset, load_preset
from depth_retrofit_ros.refinement.base import Fused, Refiner, RefinerInput
from depth_retrofit_ros.refinement.registry import REFINERS, load_refiner, resolved
from depth_retrofit_ros.retrofit import Retrofit
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.sparse.pixel_set import PixelSet

CPU = torch.device("cpu")
BESIDE = "none"  # of the registry: what refiners start from, a method of every evaluation


@dataclass(frozen=True, slots=True)
class System:
    """A row of the table. chosen: as ``load_refiner`` takes it; make: see ``Evaluator``; wrap: what a variant changes of its
    refiner."""

    name: str
    chosen: str
    make: Make = Retrofit
    wrap: Callable[[Any], Refiner[Any]] = field(default=lambda refiner: refiner)

    def refiner(self, device: torch.device = CPU, precision: str = "float32") -> Refiner[Any]:
        """Loaded; accuracy is that of float32, times are those of ``auto``, as the node runs. Raises ModelError or WeightsError."""
        return self.wrap(load_refiner(self.chosen, device, "auto", precision))

    def preset(self) -> Preset:
        """Which parts surround it: the paper's refiner has its own. Raises ModelError or WeightsError."""
        kind = resolved(self.chosen)[0]
        return load_preset(kind if kind in PRESETS else "default", self.chosen)

    def retrofit(self, coarse: CoarseModel, refiner: Refiner[Any], budget: float) -> Retrofit:
        """The method, with what ``refiner`` gave. Raises ModelError where the preset cannot serve the coarse model."""
        return self.make(coarse, refiner, budget, parts=self.preset().parts(coarse))

    def checkpoint(self) -> dict[str, str]:
        """Which weights it has: refiner, file and SHA-256. Raises ModelError or WeightsError."""
        kind, path = resolved(self.chosen)
        return {"refiner": kind, "file": path.name if path else "", "sha256": digest_of(path) if path else ""}


def systems(named: list[str]) -> tuple[list[System], dict[str, str]]:
    """Of ``NAME`` of the registry or ``NAME=FILE``, all of the registry without any; and why those that are not named cannot be."""
    if named:
        pairs = (item.partition("=") for item in named)
        return [System(name, path if equals else name) for name, equals, path in pairs], {}
    found, missing = [], {}
    for name in REFINERS:
        if name == BESIDE:
            continue
        try:
            resolved(name)
        except WeightsError as error:
            missing[name] = str(error)
        else:
            found.append(System(name, name))
    return found, missing


def is_here(name: str) -> bool:
    """Whether a refiner's checkpoint is bundled."""
    try:
        resolved(name)
    except WeightsError:
        return False
    return True


def folder_system(item: str) -> System:
    """Of ``--ablations``: NAME=PATH or PATH; a folder's only checkpoint of a refiner, named after the folder; a file after itself.

    Raises DepthRetrofitError.
    """
    name, equals, text = item.partition("=")
    path = Path(text if equals else item)
    files = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise DepthRetrofitError(f"{path} holds {len(files)} checkpoints (*.safetensors): give NAME=FILE")
    return System(name if equals else path.resolve().stem, str(files[0]))


class RandomSelection(Retrofit):
    """Refines pixels by lot instead of the uncertain ones."""

    def select(
        self,
        coarse: CoarsePrediction,
        image: torch.Tensor,
        other: CoarsePrediction | None = None,
        claim: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, PixelSet]:
        """See ``Retrofit.select``; the same pixels for every frame of a size."""
        score, pixels = super().select(coarse, image, other, claim)
        lots = torch.rand(pixels.size, generator=torch.Generator().manual_seed(0))
        return score, select_top(lots.to(score.device), pixels.size, pixels.count)


class WithoutGate:
    """A refiner of pixels whose answer replaces the coarse depth, instead of being mixed with it."""

    def __init__(self, refiner: Refiner[Any]) -> None:
        self.inner, self.name, self.needs = refiner, refiner.name, refiner.needs

    @property
    def backend_name(self) -> str:
        """See ``Refiner``."""
        return self.inner.backend_name

    def refine(self, given: RefinerInput) -> Any:
        """See ``Refiner.refine``."""
        return self.inner.refine(given)

    def fuse(self, refined: Any) -> Fused:
        """See ``Refiner.fuse``."""
        depth = REPLACING[self.name](refined)
        return Fused(torch.zeros_like(depth), depth)


REPLACING: dict[str, Callable[[Any], torch.Tensor]] = {
    "sparse": lambda refined: refined.coarse * refined.refinement.change.exp(),
    "paper": lambda refined: (refined.value.level + refined.middle).exp(),
}
"""Depth ``[K]`` before the gate, of what ``Refiner.refine`` gives."""


def retrofit_variants(chosen: str) -> list[System]:
    """Of the method itself, with a refiner of ``REPLACING``: how pixels are chosen, and how what is found for them is mixed with
    the coarse depth."""
    return [
        System("entropy, gate (as it is)", chosen),
        System("random selection", chosen, make=RandomSelection),
        System("direct replacement", chosen, wrap=WithoutGate),
    ]


def recorded_input(coarse: CoarseModel, frame: Any, budget: float) -> RefinerInput:
    """What a refiner of a frame is given."""
    recorder = _Recorder()
    Retrofit(coarse, recorder, budget)(frame)
    return recorder.given


class _Recorder:
    """A refiner that keeps what it is given, and the coarse depth."""

    name, backend_name = "recorder", "none"
    needs: Any = "pixels"
    given: RefinerInput

    def refine(self, given: RefinerInput) -> torch.Tensor:
        """See ``Refiner.refine``."""
        self.given = given
        return given.depth.flatten()[given.pixels.indices]

    def fuse(self, refined: torch.Tensor) -> Fused:
        """See ``Refiner.fuse``."""
        return Fused(torch.ones_like(refined), refined)
