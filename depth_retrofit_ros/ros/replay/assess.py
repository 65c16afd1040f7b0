"""What the stored answers of a run are worth: accuracy and flicker, and pictures of some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.far_limit import limit_far
from depth_retrofit_ros.evaluation.report.comparison import Window, most_gained, picture
from depth_retrofit_ros.evaluation.report.contact_sheet import contact_sheet
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.evaluation.report.run_folder import Inside, StoredDepth
from depth_retrofit_ros.evaluation.sequence import Answer, Measured, SequenceEvaluator, upsampled
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.depth_files import write_image
from depth_retrofit_ros.ros.replay.sources import Pair, Source

CONTACT_SHEETS = 4
PANEL_WIDTH = 960


@dataclass(frozen=True, slots=True)
class BestPlace:
    """Where the error fell most of all evaluated answers: number of the image, rows and columns at its size, by how much (see
    ``comparison.most_gained``)."""

    number: int
    window: Window
    gain: float


@dataclass(slots=True)
class Assessment:
    """accuracy, flicker: as in ``SequenceEvaluator``, None where there is nothing to tell; pictures: path → caption; best: None
    where no image has a reference, or the error fell in none."""

    accuracy: Entry | None = None
    flicker: Entry | None = None
    pictures: dict[Path, str] = field(default_factory=dict)
    best: BestPlace | None = None


def assess(
    source: Source,
    root: Path,
    answers: Mapping[int, StoredDepth],
    evaluator: SequenceEvaluator,
    model: Callable[[], CoarseModel],
    progress: Callable[[str], None],
) -> Assessment:
    """Evaluate these stored answers, by the number of their image (see ``Source``). root: folder for the comparison.

    model: gives the coarse model; it is called, and the model run once more on each frame, only where the run did not see inside
    the node. Raises BagError, OutputError.
    """
    result = Assessment()
    if not answers:
        return result
    ordered = sorted(answers)
    shown, middle = spread(ordered, CONTACT_SHEETS), spread(ordered, 1)
    comparison, is_drawn = root / "comparison.png", False
    for number, pair in enumerate(source.pairs(answers), start=1):
        progress(f"evaluating image {number} of {len(answers)}")
        entry = answers[pair.number]
        inside = entry.load_inside()
        answer = _answer(pair, entry.load(), entry.metric, inside, model)
        measured = evaluator.add(answer)
        place = None if measured is None else best_place(pair.number, measured, answer.refined.shape)
        if place is not None and (result.best is None or place.gain > result.best.gain):
            result.best = place
            _write_comparison(comparison, answer, place.window)
            is_drawn = True
        elif result.best is None and pair.number in middle:
            _write_comparison(comparison, answer, None)
            is_drawn = True
        if pair.number in shown:
            path = entry.path.with_name(f"{entry.path.stem}_strip.jpg")
            write_image(path, contact_sheet(pair.frame.image, upsampled(answer), measured))
            result.pictures[path] = _caption(entry.path.stem, measured)
    result.accuracy, result.flicker = evaluator.accuracy(), evaluator.flicker()
    if is_drawn:
        told = "refinement changed most" if result.best is None else "the error fell most of all images that were evaluated"
        result.pictures = {comparison: _COMPARISON.format(told)} | result.pictures
    return result


_COMPARISON = "Coarse depth stretched, refined depth, and the reference; below, where {}."


def best_place(number: int, measured: Measured, shape: tuple[int, int]) -> BestPlace | None:
    """That of one answer of this shape [H, W], whose reference may have another; None where the error fell nowhere."""
    window, gain = most_gained(measured.maps["bilinear"], measured.maps["refined"], measured.reference)
    if gain <= 0:
        return None
    sides = zip(window, shape, measured.reference.shape, strict=True)
    rows, columns = (slice(side.start * new // old, side.stop * new // old) for side, new, old in sides)
    return BestPlace(number, (rows, columns), gain)


def spread(numbers: Sequence[int], count: int) -> set[int]:
    """At most ``count`` of them, evenly over the run, away from its ends."""
    return {numbers[(2 * i + 1) * len(numbers) // (2 * count)] for i in range(count)} if numbers else set()


def _answer(pair: Pair, refined: np.ndarray, metric: bool, inside: Inside | None, model: Callable[[], CoarseModel]) -> Answer:
    coarse, selected = (predict(model(), pair.frame), None) if inside is None else (inside.coarse, inside.selected)
    return Answer(pair.frame, refined, coarse, metric, selected, pair.reference, pair.reference_stamp_ns)


def predict(model: CoarseModel, frame: Frame) -> np.ndarray:
    """The coarse depth ``float32 [h, w]`` of a frame, limited as ``Retrofit`` does it."""
    with torch.inference_mode():
        image = torch.from_numpy(np.require(frame.image, requirements=["C", "W"])).to(model.device)
        return np.asarray(limit_far(model.predict(image, frame.camera), model.claim).depth.cpu().numpy())


def _write_comparison(path: Path, answer: Answer, window: Window | None) -> None:
    reference = answer.reference
    shown = None if reference is None or reference.shape != answer.refined.shape else reference
    write_image(path, picture(answer.frame.image, upsampled(answer), shown, PANEL_WIDTH, window))


def _caption(name: str, measured: Measured | None) -> str:
    if measured is None:
        return f"Image {name}: input, coarse depth stretched bilinearly, refined depth."
    errors = {method: measured.entry["methods"][method]["abs_rel"] for method in ("bilinear", "refined")}
    told = ", ".join(f"{method} {error:.3f}" for method, error in errors.items() if error is not None)
    return f"Image {name}: AbsRel {told or 'unknown'}. Error: black is right, yellow off by a factor of 1.5, grey unknown."
