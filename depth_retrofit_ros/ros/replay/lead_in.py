"""The moving picture of a run's answers, and what is said beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.evaluation.report.lead import Lead, gain_remark, gain_sentence
from depth_retrofit_ros.evaluation.report.moving_picture import FPS, MovingPicture, Shot
from depth_retrofit_ros.evaluation.report.run_folder import StoredDepth
from depth_retrofit_ros.evaluation.sequence import Answer, upsampled
from depth_retrofit_ros.frame import Frame
from depth_retrofit_ros.io.animation import write_mp4, write_webp
from depth_retrofit_ros.ros.replay.assess import Assessment, BestPlace, predict
from depth_retrofit_ros.ros.replay.sources import Source

VIDEO, ANIMATION = "moving.mp4", "moving.webp"


def make_lead(
    source: Source,
    answers: Mapping[int, StoredDepth],
    order: Sequence[int],
    assessment: Assessment,
    model: Callable[[], CoarseModel],
    root: Path,
    tell: Callable[[str], None],
) -> Lead | None:
    """What the page of the run begins with; its pictures are written into ``root``. None where nothing could be measured.

    order: the answers that were evaluated, by the numbers of their images along the camera's way. model: gives the coarse model,
    which is run once more on each, as the node publishes none of its depth. tell: why there is no video, where there is none.
    Raises OutputError.
    """
    best = assessment.best
    if best is None or assessment.accuracy is None:
        return None
    picture = moving_picture(source, answers, order, best, model)
    frames = list(picture)
    write_webp(root / ANIMATION, frames, FPS)
    video: Path | None = root / VIDEO
    try:
        write_mp4(root / VIDEO, frames, FPS)
    except SetupError as error:
        video = None
        tell(f"no video, the page shows the animated WebP: {error}")
    comparison = root / "comparison.png"
    flight = " and a flight through the cloud of that image" if picture.has_flight else ""
    caption = (
        f"{len(order)} frames that the node answered: the camera, coarse depth stretched to its size and refined depth (near is "
        f"warm, far is cold){flight}. The outline is the place where the error fell most."
    )
    sentence, remark = gain_sentence(assessment.accuracy), gain_remark(assessment.accuracy)
    return Lead(sentence, remark, caption, video, root / ANIMATION, comparison, assessment.pictures[comparison])


def moving_picture(
    source: Source, answers: Mapping[int, StoredDepth], order: Sequence[int], best: BestPlace, model: Callable[[], CoarseModel]
) -> MovingPicture:
    """Of these answers, closing in on the best place."""
    frames = dict(source.frames(order))
    shots = [_shot(frames[number], answers[number], model) for number in order]
    return MovingPicture(shots, order.index(best.number), best.window, frames[best.number].camera)


def _shot(frame: Frame, stored: StoredDepth, model: Callable[[], CoarseModel]) -> Shot:
    refined, inside = stored.load(), stored.load_inside()
    coarse = predict(model(), frame) if inside is None else inside.coarse
    return Shot(frame.image, upsampled(Answer(frame, refined, coarse, stored.metric))["bilinear"], refined)
