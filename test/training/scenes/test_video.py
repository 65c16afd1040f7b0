"""The demo's camera: the same film every time, with depth that belongs to its pictures."""

from __future__ import annotations

from itertools import islice, pairwise

import numpy as np
import pytest

from depth_retrofit_ros.training.scenes import video
from depth_retrofit_ros.training.scenes.textures import build_textures
from depth_retrofit_ros.training.scenes.video import VideoFrame, scene_video


@pytest.fixture(autouse=True)
def _few_textures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full stack takes seconds."""
    monkeypatch.setattr(video, "build_textures", lambda seed: build_textures(seed, count=6))


def film(seed: int = 2, frames: int = 4) -> list[VideoFrame]:
    """A short one."""
    return list(scene_video(seed, 160, 96, frames))


def test_same_arguments_same_film() -> None:
    for first, again in zip(film(), film(), strict=True):
        np.testing.assert_array_equal(first.image, again.image)
        np.testing.assert_array_equal(first.depth, again.depth)
    assert not np.array_equal(film()[0].image, film(seed=3)[0].image)


def test_frames_are_complete_and_free_of_things_before_the_lens() -> None:
    frames = film(frames=8)
    assert len(frames) == 8
    for frame in frames:
        assert frame.image.shape == (96, 160, 3) and frame.image.dtype == np.uint8
        assert frame.depth.shape == (96, 160) and frame.depth.dtype == np.float32
        assert (frame.camera.width, frame.camera.height) == (160, 96)
        assert frame.camera.hfov_deg == pytest.approx(70.0)
        assert not np.isnan(frame.depth).any() and frame.depth.min() > 0.2
        assert np.isfinite(frame.depth).mean() > 0.5


def test_the_camera_moves_smoothly() -> None:
    """Each frame shows something new, and most of it where it was a moment before."""
    for before, after in pairwise(islice(scene_video(2, 160, 96, 60), 3)):
        assert not np.array_equal(before.depth, after.depth)
        both = np.isfinite(before.depth) & np.isfinite(after.depth)
        ratio = np.abs(np.log(before.depth[both] / after.depth[both]))
        assert np.median(ratio) < 0.03


def test_one_frame_is_a_film_too() -> None:
    assert len(film(frames=1)) == 1
