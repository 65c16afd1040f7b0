"""From stored answers to the moving picture: it closes in on the place where the error fell most, of the image where it did."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import CoarsePrediction
from depth_retrofit_ros.coarse.claim import stored_claim
from depth_retrofit_ros.coarse.stored import StoredCoarse
from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.evaluation.report import moving_picture
from depth_retrofit_ros.evaluation.report.lead import Lead, gain_sentence
from depth_retrofit_ros.evaluation.report.run_folder import RunFolder, StoredDepth
from depth_retrofit_ros.evaluation.sequence import SequenceEvaluator
from depth_retrofit_ros.ros.replay import lead_in
from depth_retrofit_ros.ros.replay.assess import Assessment, assess
from depth_retrofit_ros.ros.replay.sources import SceneSource
from depth_retrofit_ros.training.scenes.video import VideoFrame

HEIGHT, WIDTH = 90, 160
CAMERA = Camera.from_hfov(WIDTH, HEIGHT, 70.0)
THING = (slice(50, 58), slice(20, 30))  # nearer than the coarse model sees


class Run:
    """Two views, each answered twice; only in the second one the thing was given back."""

    def __init__(self, root: Path) -> None:
        depth = np.full((HEIGHT, WIDTH), 3.0, np.float32)
        depth[THING] = 2.2
        views = [VideoFrame(np.full((HEIGHT, WIDTH, 3), 60 + 100 * i, np.uint8), depth, CAMERA) for i in range(2)]
        self.source, self.root = SceneSource(views, 10.0, 0.4), root
        list(self.source.stream())  # views 0, 1, 0, 1
        folder = RunFolder(root)
        for number in range(4):
            folder.store(number, number, depth if number % 2 else np.full_like(depth, 3.0), True, CAMERA)
        self.answers: dict[int, StoredDepth] = dict(enumerate(folder.stored))
        coarse = CoarsePrediction(torch.full((9, 16), 3.0), torch.zeros((1, 9, 16)))
        self.model = StoredCoarse(coarse, True, stored_claim(metric=True))

    def assessed(self, order: list[int]) -> Assessment:
        chosen = {number: self.answers[number] for number in order}
        return assess(self.source, self.root, chosen, SequenceEvaluator("median"), lambda: self.model, lambda text: None)

    def lead(self, order: list[int], told: list[str]) -> Lead | None:
        return lead_in.make_lead(self.source, self.answers, order, self.assessed(order), lambda: self.model, self.root, told.append)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setattr(moving_picture, "FPS", 2)
    return Run(tmp_path)


def test_one_answer_of_each_view_along_the_way(run: Run) -> None:
    assert run.source.one_of_each([0, 1, 2, 3]) == [2, 3]
    assert run.source.one_of_each([1, 2]) == [2, 1]
    assert run.source.one_of_each([]) == []


def test_it_closes_in_where_the_error_fell(run: Run) -> None:
    order = [2, 3]
    best = run.assessed(order).best
    assert best is not None and best.number == 3
    rows, columns = best.window
    assert rows.start <= 50 and rows.stop >= 58 and columns.start <= 20 and columns.stop >= 30
    picture = lead_in.moving_picture(run.source, run.answers, order, best, lambda: run.model)
    camera, coarse, refined = picture.panels(len(picture) // 2)
    assert (camera == 160).all(), "the image where the error fell"
    assert len(np.unique(coarse.reshape(-1, 3), axis=0)) == 1 < len(np.unique(refined.reshape(-1, 3), axis=0))


def test_where_nothing_fell_there_is_no_such_place(run: Run) -> None:
    """Not one that is no worse than others."""
    found = run.assessed([0, 2])
    assert found.best is None and [caption for caption in found.pictures.values() if "changed most" in caption]
    assert run.lead([0, 2], []) is None


def test_the_lead_has_the_measured_sentence_and_its_files(run: Run) -> None:
    told: list[str] = []
    lead = run.lead([2, 3], told)
    accuracy = run.assessed([2, 3]).accuracy
    assert lead is not None and accuracy is not None and told == []
    assert lead.sentence == gain_sentence(accuracy) and "2 answered frames" in lead.sentence
    assert lead.video is not None and lead.video.is_file() and lead.comparison.is_file()
    with Image.open(lead.animation) as animation:
        assert animation.n_frames == len(list(moving_picture._moments(2, 1)))


def test_where_no_video_can_be_written_the_page_has_the_animation_and_it_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise SetupError("this OpenCV cannot")

    monkeypatch.setattr(lead_in, "write_mp4", refuse)
    told: list[str] = []
    lead = run.lead([2, 3], told)
    assert lead is not None and lead.video is None and "data:image/webp" in lead.html()
    assert told == ["no video, the page shows the animated WebP: this OpenCV cannot"]


def test_without_an_answer_there_is_no_lead(run: Run) -> None:
    assert run.lead([], []) is None
