"""The YAML list of cameras: what it says, and that each mistake is one line that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.ros.node.camera_list import SHARED, CameraList, read_cameras
from test.paths import ROOT


def read(folder: Path, content: Any, one_process: bool | None = None) -> CameraList:
    file = folder / "cameras.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return read_cameras(file, one_process)


FRONT = {"name": "front", "image": "/front/image_rect"}
REAR = {"name": "rear", "image": "image", "camera_info": "/rear_info", "namespace": "/robot/rear"}


def test_a_camera_has_what_it_says_over_what_is_said_of_all(tmp_path: Path) -> None:
    rear = {**REAR, "sparse_points": "/lidar", "parameters": {"budget": 1, "outputs": ["depth"], "use_sim_time": True}}
    content = {"parameters": {"model": "compact", "budget": 0.05, "coarse_size": 256}, "cameras": [FRONT, rear]}
    listed = read(tmp_path, content)
    first, second = listed.cameras
    assert not listed.one_process and read(tmp_path, content, one_process=True).one_process
    assert (first.namespace, first.node) == ("/front", "/front/depth_retrofit")
    assert first.remappings == [("image", "/front/image_rect"), ("camera_info", "/front/camera_info")]
    assert first.parameters == {"model": "compact", "budget": 0.05, "coarse_size": "256"}
    assert second.node == "/robot/rear/depth_retrofit"
    assert second.topics == {"image": "/robot/rear/image", "camera_info": "/rear_info", "sparse_points": "/lidar"}
    assert second.parameters == {
        "model": "compact",
        "budget": 1.0,
        "coarse_size": "256",
        "outputs": ["depth"],
        "use_sim_time": True,
    }


def test_the_example_is_one() -> None:
    listed = read_cameras(ROOT / "config" / "cameras.yaml")
    assert listed.one_process and [camera.name for camera in listed.cameras] == ["front", "rear"]
    assert listed.cameras[1].parameters["rectify"] == "true" and listed.cameras[0].parameters["target_fps"] == 10.0


def test_what_describes_the_model_is_shared_and_the_word_for_it_is_not() -> None:
    assert {"model", "device", "refiner", "views", "coarse_size"} <= set(SHARED)
    assert not {"trust_scale", "budget", "outputs", "rectify", "align"} & set(SHARED)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("cameras: [", "is no YAML"),
        ("[]", "is not what it should be, keys with values: cameras, parameters, one_process"),
        ({}, "it names no camera: give a list `cameras`"),
        ({"cameras": []}, "it names no camera"),
        ({"cameras": {"front": FRONT}}, "it names no camera: give a list"),
        ({"cameras": [FRONT], "camera": 1}, "has no key camera: it takes cameras, parameters, one_process"),
        ({"cameras": [FRONT], "one_process": "yes please"}, "one_process is true or false"),
        ({"cameras": ["front"]}, "camera 1 is not what it should be"),
        ({"cameras": [{"image": "/i"}]}, "camera 1 needs a name of letters, digits and _"),
        ({"cameras": [{"name": "the front", "image": "/i"}]}, "camera 1 needs a name"),
        ({"cameras": [{"name": "front"}]}, "camera front needs the topic of its image: give `image`"),
        ({"cameras": [{**FRONT, "image": "/front//x"}]}, "camera front: image is a name such as /front/image_rect"),
        ({"cameras": [{**FRONT, "namespace": "~"}]}, "camera front: namespace is a name such as"),
        ({"cameras": [{**FRONT, "topic": "/x"}]}, "camera 1 has no key topic: it takes name, namespace, image"),
        ({"cameras": [FRONT, FRONT]}, "two cameras are called front: give each a name of its own"),
        (
            {"cameras": [FRONT, {**REAR, "namespace": "front"}]},
            "front and rear have one namespace, /front: give each its own",
        ),
        ({"cameras": [FRONT, {**REAR, "image": "/front/image_rect"}]}, "cameras front and rear have one image, /front/image_rect"),
        ({"cameras": [FRONT, {**REAR, "camera_info": "/front/camera_info"}]}, "have one camera_info, /front/camera_info"),
        ({"cameras": [{**FRONT, "parameters": {"budgt": 1}}]}, "camera front: parameters: there is no parameter budgt, see config"),
        ({"cameras": [{**FRONT, "parameters": {"budget": 3}}]}, "camera front: parameters: budget must be 0 to 1, not 3.0"),
        ({"cameras": [{**FRONT, "parameters": {"least_budget": 0.1}}]}, "least_budget is called min_budget now: set that"),
        ({"cameras": [{**FRONT, "parameters": [1]}]}, "camera front: parameters are names with values"),
        ({"cameras": [FRONT], "parameters": {"outputs": ["dept"]}}, "parameters: outputs must be some of depth, "),
        ({"cameras": [FRONT], "parameters": {"use_sim_time": "yes"}}, "use_sim_time must be true or false, not 'yes'"),
        (
            {"one_process": True, "cameras": [{**FRONT, "parameters": {"model": "meter-nyu"}}]},
            "camera front: parameters: model cannot be one camera's, cameras of one process share one model: move it",
        ),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, content: Any, told: str) -> None:
    with pytest.raises(SetupError) as caught:
        read(tmp_path, content)
    assert told in str(caught.value) and "\n" not in str(caught.value) and "cameras.yaml" in str(caught.value)


def test_a_model_of_its_own_is_fine_in_a_process_of_its_own(tmp_path: Path) -> None:
    front = {**FRONT, "parameters": {"model": "meter-nyu"}}
    assert read(tmp_path, {"cameras": [front]}).cameras[0].parameters == {"model": "meter-nyu"}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"nothing.yaml cannot be read: No such file or directory$"):
        read_cameras(tmp_path / "nothing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SetupError, match=r"bytes.yaml cannot be read: it is no text$"):
        read_cameras(tmp_path / "bytes.yaml")
