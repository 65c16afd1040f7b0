"""What ``evaluate`` does with one image, in its own process or in a worker's."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from depth_retrofit_ros.cli.coarse_maps import read_coarse_map
from depth_retrofit_ros.cli.options import chosen_coarse, chosen_preset

if TYPE_CHECKING:
    from depth_retrofit_ros.coarse.base import CoarseModel
    from depth_retrofit_ros.evaluation.data.dataset import Pair

FPS = 10.0


class PairTask(NamedTuple):
    """An image with its truth; number: its place, from 0."""

    number: int
    pair: Pair


@dataclass(frozen=True, slots=True)
class PairFigures:
    """entry: see ``results.image_entry``; pictures: of the page, see ``page.pictures_of``; refined: share of the pixels; bounded:
    whether more were uncertain; relative: whether its coarse map claims no metres; remarks, selected_by: of a stored map."""

    entry: dict[str, Any]
    pictures: str | None
    refined: float
    bounded: bool
    relative: bool
    remarks: tuple[str, ...]
    selected_by: str | None
    seconds: float


class PairWork:
    """See ``batch.engine.Work``. args: of the command, its model by its own name. Raises DepthRetrofitError."""

    def __init__(self, args: argparse.Namespace) -> None:
        from depth_retrofit_ros.device.choice import pick_device
        from depth_retrofit_ros.evaluation.evaluator import Evaluator
        from depth_retrofit_ros.loading import load_second
        from depth_retrofit_ros.refinement.registry import load_refiner
        from depth_retrofit_ros.retrofit import Retrofit
        from depth_retrofit_ros.temporal.steadiness import Steadiness

        self._args = args
        self.source = CoarseSource(args)
        self.source.load()
        far = float("inf") if args.max_depth is None else args.max_depth
        preset = chosen_preset(args)
        refiner = load_refiner(preset.refiner, pick_device(args.device), args.engine, args.refiner_precision)
        first, by_engine = "" if args.coarse else self.source.name, (args.coarse_engine, args.allow_download)
        second = load_second(preset.name, args.selector, args.second_model, first, args.device, *by_engine)
        make = partial(Retrofit, temporal=Steadiness()) if args.temporal == "on" else Retrofit
        valid_m = args.min_depth, far
        timed = not args.no_times
        self._evaluator = Evaluator(refiner, args.budget, args.align, valid_m, preset, second, make=make, timed=timed)

    def prepare(self, task: PairTask) -> None:
        """Nothing: what a stored map's reader and a photo's hold is large."""

    def run(self, task: PairTask, prepared: None = None) -> PairFigures | None:
        """None where memory ran out."""
        from depth_retrofit_ros.device.faults import is_out_of_memory

        try:
            return self._figures(task)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return None

    def close(self) -> None:
        """See ``batch.engine.Work``."""

    def _figures(self, task: PairTask) -> PairFigures:
        from depth_retrofit_ros.coarse.stored import StoredCoarse
        from depth_retrofit_ros.evaluation.data.dataset import read_pair
        from depth_retrofit_ros.evaluation.evaluator import with_oracles
        from depth_retrofit_ros.evaluation.report.page import pictures_of
        from depth_retrofit_ros.evaluation.report.results import image_entry

        args, start = self._args, time.perf_counter()
        coarse = self.source(task.pair)
        sample = read_pair(task.pair)
        if args.temporal == "on":
            stamp_ns = round((task.number + 1) * 1e9 / (args.fps or FPS))
            sample = replace(sample, frame=replace(sample.frame, stamp_ns=stamp_ns))
        result = self._evaluator(sample, coarse)
        result = with_oracles(result) if args.oracles else result
        stored = coarse if isinstance(coarse, StoredCoarse) else None
        return PairFigures(
            image_entry(result),
            None if args.html is None else pictures_of(result, task.number),
            float(result.selected.mean()),
            result.left_out > 0,
            coarse.claim.source(trust_scale=False) is None,
            () if stored is None else tuple(stored.remarks),
            None if stored is None else stored.selected_by(args.second_model),
            time.perf_counter() - start,
        )


def pair_work(settings: Mapping[str, Any]) -> PairWork:
    """See ``batch.engine.Job``. settings: what the command was given, by name."""
    return PairWork(argparse.Namespace(**settings))


class CoarseSource:
    """Where the coarse depth of a pair comes from: one model for all, which is loaded when it is asked for, or a file for each."""

    def __init__(self, args: argparse.Namespace) -> None:
        from depth_retrofit_ros.coarse.registry import find_model

        self._args = args
        self._model: CoarseModel | None = None
        self.name = f"files in {args.coarse.resolve().name}" if args.coarse else find_model(args.model).name

    def load(self) -> None:
        """The model, where there is one. Raises ModelError, WeightsError."""
        if not self._args.coarse:
            self._model = chosen_coarse(self._args)

    def __call__(self, pair: Pair) -> CoarseModel:
        """Raises DatasetError for a file that is missing or not a coarse map."""
        from depth_retrofit_ros.device.choice import pick_device

        return self._model or read_coarse_map(self._args, pair.name, pick_device(self._args.device))

    def notes(self) -> dict[str, str]:
        """What a reader of the figures must know of this source."""
        from depth_retrofit_ros.evaluation.baselines.equal_time import is_resizable

        if self._args.no_times:
            return {"ms": "what a clock decides is left out, and equal_time with it: it is not the same twice"}
        if self._model is None:
            return {
                "equal_time": "not applicable: stored coarse maps cannot be made again at a higher resolution",
                "ms": "without the coarse model, whose output was stored",
            }
        if is_resizable(self._model):
            return {}
        return {"equal_time": f"not applicable: the input size of {self.name} is fixed"}
