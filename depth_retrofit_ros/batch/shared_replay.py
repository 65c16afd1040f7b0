"""``replay --every-frame`` shared among workers, with the summary of one process."""

from __future__ import annotations

import shutil

from depth_retrofit_ros.batch.engine import Engine
from depth_retrofit_ros.batch.schedule import run_in_order
from depth_retrofit_ros.coarse.registry import find_model
from depth_retrofit_ros.evaluation.report.run_folder import RunFolder
from depth_retrofit_ros.ros.replay.bag_source import BagSource
from depth_retrofit_ros.ros.replay.live_run import RunResult
from depth_retrofit_ros.ros.replay.output_bag import OutputBag
from depth_retrofit_ros.ros.replay.replay import Replay, Say
from depth_retrofit_ros.ros.replay.shared_parts import MergedParts, PartTask

PART_S = 10.0  # of a recording; batch's own parts are longer, see ``defaults``
FOLDER = "parts"


def run_shared(
    engine: Engine, source: BagSource, how: Replay, folder: RunFolder, bag: OutputBag | None, progress: Say
) -> RunResult:
    """What ``replay.run_here`` does, by an engine that is open. A run that remembers frames is of one part, and one worker."""
    remembers = how.temporal or "the past" in find_model(how.model).uses
    parts = source.parts(float("inf") if remembers else PART_S)
    work = folder.root / FOLDER
    merged = MergedParts(folder, bag, len(parts), progress)
    try:
        run_in_order(engine, [PartTask(part, work / f"{number:05d}") for number, part in enumerate(parts)], merged.take)
        return merged.result()
    finally:
        shutil.rmtree(work, ignore_errors=True)
