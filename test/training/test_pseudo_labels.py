"""Photographs labelled by a teacher: the windows that it is asked for, and its doubts."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.training import pseudo_labels
from depth_retrofit_ros.training.pseudo_labels import TEACHERS, label_photos
from depth_retrofit_ros.training.views import KEPT_SIDE

CPU = torch.device("cpu")


class BrightnessTeacher:
    """Says 1 m + red / 100; with ``doubt``, twice that in the left third of whatever it is shown."""

    claim = MODELS["meter-nyu"].claim
    device = CPU

    def __init__(self, name: str, doubt: bool = False) -> None:
        self.name, self.doubt = name, doubt

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """As ``CoarseModel``, at a quarter of the size."""
        assert camera is None
        depth = 1 + image[2::4, 2::4, 0].float() / 100
        if self.doubt:
            depth[:, : depth.shape[1] // 3] *= 2
        return CoarsePrediction(depth, depth[None])


def write_photo(path: Path, height: int, width: int) -> None:
    """Red grows from left to right, and from top to bottom."""
    path.parent.mkdir(parents=True, exist_ok=True)
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 2] = 20 + 180 * (x + y) / 2  # OpenCV's order: blue, green, red
    cv2.imwrite(str(path), image)


def teach(monkeypatch: pytest.MonkeyPatch, doubt: bool = False) -> list[str]:
    """Replaces METER; the names of the models that are asked for come in the list."""
    asked: list[str] = []

    def load(name: str, *, weights: Path | None, device: str) -> BrightnessTeacher:
        asked.append(name)
        return BrightnessTeacher(name, doubt)

    monkeypatch.setattr(pseudo_labels, "load_coarse", load)
    return asked


def test_each_kind_has_its_teacher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photo(tmp_path / "indoor" / "a.png", 300, 400)
    write_photo(tmp_path / "driving" / "b.png", 192, 636)
    asked = teach(monkeypatch)
    indoor, driving = label_photos(tmp_path, None, CPU)
    assert asked == ["meter-nyu", "meter-kitti"]
    for view, kind in ((indoor, "indoor"), (driving, "driving")):
        teacher = TEACHERS[kind]
        assert view.taught and view.image.shape == (round(KEPT_SIDE / teacher.aspect), KEPT_SIDE, 3)
        assert view.log_depth.shape == view.image.shape[:2]
        inside = (slice(4, -4), slice(4, -4))
        expected = np.log(1 + view.image[..., 0].astype(np.float64) / 100)
        np.testing.assert_allclose(view.log_depth[inside], expected[inside], atol=0.02)


@pytest.mark.parametrize(("size", "count"), [((300, 400), 1), ((330, 400), 1), ((300, 900), 2), ((800, 400), 2)])
def test_windows_have_the_teachers_aspect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], count: int
) -> None:
    """Two, at the ends, of a photograph much longer than the teacher's frames."""
    write_photo(tmp_path / "indoor" / "a.png", *size)
    teach(monkeypatch)
    views = label_photos(tmp_path, None, CPU)
    assert len(views) == count
    if count == 2:
        first, last = (int(view.image[..., 0].mean()) for view in views)
        assert last > first + 30


def test_a_street_is_looked_at_from_its_middle_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies above is sky, where the teacher has seen nothing but near leaves and walls; at the bottom is the car itself."""
    write_photo(tmp_path / "driving" / "a.png", 540, 960)
    teach(monkeypatch)
    brightness = [float(view.image[..., 0].mean()) for view in label_photos(tmp_path, None, CPU)]
    rows = [(value - 20) / 180 * 2 - 0.5 for value in brightness]  # of the photograph's height, at the middles of the windows
    assert rows == pytest.approx([0.5, 0.5 + 0.25 * (540 - 960 * 192 / 636) / 540], abs=0.01)


def test_where_the_teacher_contradicts_its_mirror_image_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_photo(tmp_path / "indoor" / "a.png", 300, 400)
    teach(monkeypatch, doubt=True)
    (view,) = label_photos(tmp_path, None, CPU)
    unknown = np.isnan(view.log_depth).mean(0)
    third = KEPT_SIDE // 3
    assert unknown[: third - 8].min() == 1 and unknown[-third + 8 :].min() == 1
    assert unknown[third + 8 : -third - 8].max() == 0


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="needs subfolders named indoor or driving"):
        label_photos(tmp_path, None, CPU)
