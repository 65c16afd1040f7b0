"""The moving picture: as many frames as told, its panels the maps' own colors, closing in on the place where the error fell."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.evaluation.report.fly_through import BACKGROUND_RGB, FlyThrough
from depth_retrofit_ros.evaluation.report.moving_picture import FPS, GAP, STAY_S, ZOOM_S, MovingPicture, Shot
from depth_retrofit_ros.io.animation import QUALITIES, write_mp4, write_webp
from depth_retrofit_ros.io.color_map import colorize, depth_range
from depth_retrofit_ros.pointcloud.organized import make_cloud

HEIGHT, WIDTH = 90, 160
WINDOW = (slice(30, 45), slice(100, 126))


def shot(seed: int) -> Shot:
    rng = np.random.default_rng(seed)
    image = np.full((HEIGHT, WIDTH, 3), 40 * seed, np.uint8)
    coarse = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    refined = coarse + rng.uniform(0, 0.1, coarse.shape).astype(np.float32)
    refined[32:40, 105:115] = 1.0 + 0.1 * seed
    return Shot(image, coarse, refined)


CAMERA = Camera.from_hfov(WIDTH, HEIGHT, 70.0)
SHOTS = [shot(seed) for seed in range(4)]


@pytest.fixture(scope="module")
def picture() -> MovingPicture:
    return MovingPicture(SHOTS, 1, WINDOW, CAMERA)


def test_all_frames_are_there_and_of_one_even_size(picture: MovingPicture) -> None:
    frames = list(picture)
    assert len(frames) == len(picture)
    assert {frame.shape for frame in frames} == {(2 * HEIGHT + GAP, 2 * WIDTH + GAP, 3)}
    assert len(picture) / FPS <= 15


def test_whole_frames_have_the_colors_of_their_maps(picture: MovingPicture) -> None:
    near_far = depth_range(SHOTS[1].refined)
    camera, coarse, refined = picture.panels(0)
    corner = (slice(0, 20), slice(0, 160))  # without the outline of the place
    assert any(np.array_equal(camera[corner], one.image[corner]) for one in SHOTS)
    assert np.array_equal(coarse[corner], colorize(SHOTS[1].coarse, near_far)[corner])
    seen = [one for one in SHOTS if np.array_equal(refined[corner], colorize(one.refined, near_far)[corner])]
    assert len(seen) == 1 and np.array_equal(seen[0].image[corner], camera[corner]), "depth beside the image that it is of"


def test_from_near_it_shows_the_place_and_nothing_else(picture: MovingPicture) -> None:
    middle = len(picture) - round(FPS * (ZOOM_S + STAY_S / 2))
    near_far = depth_range(SHOTS[1].refined[WINDOW])
    expected = [SHOTS[1].image[WINDOW], *(colorize(depth[WINDOW], near_far) for depth in (SHOTS[1].coarse, SHOTS[1].refined))]
    for panel, part in zip(picture.panels(middle), expected, strict=True):
        assert np.array_equal(panel, cv2.resize(part, picture.panel, interpolation=cv2.INTER_LINEAR))


def test_the_panels_lie_where_their_titles_say(picture: MovingPicture) -> None:
    middle = len(picture) - round(FPS * (ZOOM_S + STAY_S / 2))
    frame, (camera, coarse, refined) = picture.frame(middle), picture.panels(middle)
    lower = HEIGHT - 20  # below the titles
    for panel, top, left in ((camera, 0, 0), (coarse, HEIGHT + GAP, 0), (refined, HEIGHT + GAP, WIDTH + GAP)):
        shown = frame[top + HEIGHT - lower : top + HEIGHT, left : left + WIDTH]
        assert np.array_equal(shown[20:], panel[HEIGHT - lower :][20:])


def test_it_begins_and_ends_with_the_whole_frame_and_stays_with_one_image_from_near(picture: MovingPicture) -> None:
    zoom = round(FPS * ZOOM_S)
    whole = len(picture) - 2 * zoom - round(FPS * STAY_S)
    images = [int(np.median(picture.panels(number)[0])) for number in range(len(picture))]  # the outline is of few pixels
    assert set(images[:whole]) == {0, 40, 80, 120}, "all shots are seen"
    assert set(images[whole - 1 :]) == {images[0]} == {40}


@pytest.mark.parametrize("window", [(slice(0, 90), slice(0, 160)), (slice(89, 90), slice(159, 160))])
def test_of_one_image_at_any_place_and_without_a_camera(window: tuple[slice, slice]) -> None:
    picture = MovingPicture(SHOTS[:1], 0, window, None)
    assert not picture.has_flight
    assert {frame.shape for frame in picture} == {(HEIGHT, 3 * WIDTH + 2 * GAP, 3)}


def test_the_flight_begins_with_what_the_camera_sees_and_returns_to_it() -> None:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:, :80], image[:, 80:] = (200, 30, 30), (30, 30, 200)
    depth = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    depth[40:50, 60:100] = 1.0
    flight = FlyThrough(make_cloud(depth, image, CAMERA), CAMERA, (WIDTH, HEIGHT))
    first = flight.picture(0.0)
    inner = (slice(2, -2), slice(2, 77))
    assert np.abs(first[inner].astype(int) - image[inner]).max() <= 2
    assert np.array_equal(first, flight.picture(1.0))
    aside = flight.picture(0.25)  # what the nearer part hid is not known
    assert not (first == BACKGROUND_RGB).all(axis=2).any() and (aside == BACKGROUND_RGB).all(axis=2).sum() > 50


def test_nearer_points_hide_farther_ones_whatever_their_order() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    cloud = make_cloud(np.ones((2, 2), np.float32), image, Camera.from_hfov(2, 2, 60.0)).reshape(1, 4, 4)
    cloud[..., :3] = [[0, 0, 2.0], [0, 0, 1.0], [0, 0, 3.0], [np.nan] * 3]
    cloud.view(np.uint32)[..., 3] = [[0xFF0000, 0x00FF00, 0x0000FF, 0xFFFFFF]]
    seen = FlyThrough(cloud, Camera.from_hfov(2, 2, 60.0), (32, 32)).picture(0.0)
    assert tuple(seen[16, 16]) == (0, 255, 0)


def test_files_have_the_frames(tmp_path: Path, picture: MovingPicture) -> None:
    frames = [picture.frame(number) for number in range(0, len(picture), 5)]
    assert write_webp(tmp_path / "a.webp", frames, FPS) == QUALITIES[0]
    with Image.open(tmp_path / "a.webp") as animation:
        assert (animation.n_frames, animation.size) == (len(frames), (2 * WIDTH + GAP, 2 * HEIGHT + GAP))
        assert animation.info["loop"] == 0
    write_mp4(tmp_path / "a.mp4", frames, FPS)
    video = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    read = []
    while (got := video.read())[0]:
        read.append(got[1][..., ::-1])
    assert len(read) == len(frames) and video.get(cv2.CAP_PROP_FPS) == pytest.approx(FPS)
    assert np.abs(read[-1].astype(int) - frames[-1]).mean() < 12


def test_a_webp_that_would_be_too_large_has_less_quality(tmp_path: Path) -> None:
    frames = [np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8) for seed in range(3)]
    assert write_webp(tmp_path / "a.webp", frames, FPS, largest_mb=0.0) == QUALITIES[-1]
