"""Random training samples of a pool."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.errors import DatasetError
from depth_retrofit_ros.training.ahead import Ahead
from depth_retrofit_ros.training.coarse_views import CoarseView, model_view, simulated_view

KEPT_BYTES = 1 << 30  # of answers of models, kept for the next time that their scene is drawn: by all ``workers`` of a Draws
BLOCK = 4  # steps whose samples are made together where they are used twice
PATIENCE = 4000  # samples drawn for one that is used: of pools with few good ones hundreds in a row are not
SIMULATED = 0.7  # share of the samples whose coarse map is simulated; the others come from models

Sample = TypeVar("Sample")


class Draws(Generic[Sample]):
    """Random training samples of a pool's scenes, each with the coarse map of a frozen or a simulated model; deterministic in
    (seed, step, place in the batch).

    places: which of a step's samples are made, all unless given: others are made by other processes. simulated: share of the
    samples whose coarse map is simulated. echoed: every sample is used twice, mirrored the second time, within ``2 * BLOCK`` steps:
    to make one takes longer than to learn from it (Choi et al. 2019, "Faster neural network training with data echoing"). It keeps
    its place in the batch and changes the step, each place in an order of its own, so that it is beside others whatever places a
    process makes. workers: processes that make samples ahead of their use, for this process; 1: nothing is made ahead.
    """

    def __init__(
        self,
        files: Sequence[Path],
        models: Sequence[CoarseModel],
        batch: int,
        seed: int,
        simulated: float = SIMULATED,
        echoed: bool = False,
        workers: int = 1,
        places: Sequence[int] | None = None,
    ) -> None:
        self.files, self.models = list(files), list(models)
        self.seed, self.simulated, self.echoed = seed, simulated, echoed
        self.places = range(batch) if places is None else places
        self._views: dict[tuple[str, str], CoarseView] = {}
        self._kept, self._most = 0, KEPT_BYTES // max(1, workers)  # bytes in them, and how many there may be in a process
        self._block: tuple[int, list[list[Sample]]] | None = None  # its number, and the samples of each of its steps
        self._drawn = Ahead(self.draw, workers)

    def __getstate__(self) -> dict[str, object]:
        """What another process needs to make the same samples."""
        return self.__dict__ | {"_views": {}, "_kept": 0, "_block": None, "_drawn": None}

    def make(self, rng: np.random.Generator, data: Mapping[str, np.ndarray], view: CoarseView) -> Sample | None:
        """One sample of a scene; None where it is not worth a step."""
        raise NotImplementedError

    def mirrored(self, sample: Sample) -> Sample:
        """Left to right."""
        raise NotImplementedError

    def __call__(self, step: int) -> list[Sample]:
        """One for each of the places. Raises DatasetError where hardly any scene has one."""
        if not self.echoed:
            return self._drawn(step)
        block, within = divmod(step, 2 * BLOCK)
        if self._block is None or self._block[0] != block:
            self._block = block, [self._drawn(block * BLOCK + i) for i in range(BLOCK)]
        steps = self._block[1]
        if within < BLOCK:
            return steps[within]
        again = [np.random.default_rng((self.seed, block, place, 1)).permutation(BLOCK)[within - BLOCK] for place in self.places]
        return [self.mirrored(steps[first][k]) for k, first in enumerate(again)]

    def close(self) -> None:
        """End the processes that make samples; a later call begins others."""
        self._drawn.close()

    def draw(self, index: int) -> list[Sample]:
        """The samples of a step that is not a repetition."""
        return [self._draw_one(np.random.default_rng((self.seed, index, place, 3))) for place in self.places]

    def _draw_one(self, rng: np.random.Generator) -> Sample:
        for _ in range(PATIENCE):
            path = self.files[rng.integers(len(self.files))]
            with np.load(path) as file:
                data = dict(file)
            use_model = bool(self.models) and rng.random() >= self.simulated
            model = self.models[rng.integers(len(self.models))] if use_model else None
            view = self._model_view(model, path, data) if model else simulated_view(rng, data)
            sample = self.make(rng, data, view)
            if sample is not None:
                return sample
        raise DatasetError(
            f"hardly one of the {len(self.files)} scenes has a crop with enough uncertain pixels: render other scenes"
        )

    def _model_view(self, model: CoarseModel, path: Path, data: Mapping[str, np.ndarray]) -> CoarseView:
        key = (model.name, str(path))
        if key not in self._views:
            view = self._views[key] = model_view(model, data)
            self._kept += view.bytes
            while self._kept > self._most and len(self._views) > 1:
                self._kept -= self._views.pop(next(iter(self._views))).bytes
        return self._views[key]


def random_budget(rng: np.random.Generator) -> float:
    """Share of the frame's pixels that are selected."""
    return float(rng.choice([0.05, 0.1, 0.1, 0.2]))


def remembered(draws: Draws[Sample], count: int) -> Callable[[int], list[Sample]]:
    """The first ``count`` batches, all made at the first call and kept: those that a network is judged by again and again."""

    @cache
    def made() -> list[list[Sample]]:
        batches = [draws(index) for index in range(count)]
        draws.close()
        return batches

    return lambda index: made()[index]
