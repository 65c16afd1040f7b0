"""The cameras of a robot as a YAML file: read, checked, and every mistake told in one line before anything starts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.ros.node.parameters import PARAMETERS, Value, renamed

NODE = "depth_retrofit"  # of every camera, in the camera's namespace
INPUTS = ("image", "camera_info", "sparse_depth", "sparse_points")
OF_FILE = ("cameras", "parameters", "one_process")
OF_CAMERA = ("name", "namespace", *INPUTS, "parameters")
OF_EACH = frozenset({"trust_scale"})  # fixed while a model is loaded, and yet each camera's own
SHARED = tuple(row.name for row in PARAMETERS if row.until == "unconfigured" and row.name not in OF_EACH)
"""Parameters that describe the model and the method, which the cameras of one process share."""
OF_ROS = "use_sim_time"  # the one parameter of every node that is of use here
_NAME = re.compile(r"[A-Za-z_]\w*(/[A-Za-z_]\w*)*")

Parameters: TypeAlias = "dict[str, Value]"


@dataclass(frozen=True, slots=True)
class CameraEntry:
    """One camera. namespace: of its node, from /; topics: input of the node → its full name, of those that are named; parameters:
    of its node, the shared ones among them."""

    name: str
    namespace: str
    topics: dict[str, str]
    parameters: Parameters

    @property
    def node(self) -> str:
        """The full name of its node."""
        return f"{self.namespace}/{NODE}"

    @property
    def remappings(self) -> list[tuple[str, str]]:
        """What its node is started with."""
        return list(self.topics.items())


@dataclass(frozen=True, slots=True)
class CameraList:
    """All of a file's cameras; one_process: whether one process serves them with one model, else each has its own."""

    cameras: tuple[CameraEntry, ...]
    one_process: bool


def read_cameras(path: Path, one_process: bool | None = None) -> CameraList:
    """Of a file as ``config/cameras.yaml``; one_process: outranks the file's word. Raises SetupError, one line."""
    content = _mapping(_loaded(path), f"{path}", OF_FILE)
    where = f"{path}: "
    told = content.get("one_process", False)
    if not isinstance(told, bool):
        raise SetupError(f"{where}one_process is true or false, not {told!r}")
    in_one = told if one_process is None else one_process
    entries = content.get("cameras")
    if not isinstance(entries, list) or not entries:
        raise SetupError(f"{where}it names no camera: give a list `cameras`, of which each has a name and an image topic")
    shared = _parameters(content.get("parameters"), f"{where}parameters")
    cameras = tuple(_camera(entry, number, where, shared, in_one) for number, entry in enumerate(entries, 1))
    _require_apart(cameras, where)
    return CameraList(cameras, in_one)


def _loaded(path: Path) -> Any:
    import yaml  # comes with rclpy and with launch

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SetupError(f"{path} cannot be read: {reason}") from error
    except yaml.YAMLError as error:
        raise SetupError(f"{path} is no YAML: {' '.join(str(error).split())}") from error


def _mapping(value: Any, what: str, keys: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SetupError(f"{what} is not what it should be, keys with values: {', '.join(keys)}")
    if unknown := [str(key) for key in value if key not in keys]:
        raise SetupError(f"{what} has no key {', '.join(unknown)}: it takes {', '.join(keys)}")
    return value


def _camera(entry: Any, number: int, where: str, shared: Parameters, in_one: bool) -> CameraEntry:
    what = f"{where}camera {number}"
    given = _mapping(entry, what, OF_CAMERA)
    name = given.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise SetupError(f"{what} needs a name of letters, digits and _, not {name!r}")
    what = f"{where}camera {name}"
    namespace = _ros_name(given.get("namespace", name), "/", f"{what}: namespace")
    if "image" not in given:
        raise SetupError(f"{what} needs the topic of its image: give `image`")
    topics = {key: _ros_name(given[key], namespace, f"{what}: {key}") for key in INPUTS if key in given}
    # As image_transport does it: beside the image.
    topics.setdefault("camera_info", f"{topics['image'].rpartition('/')[0]}/camera_info")
    own = _parameters(given.get("parameters"), f"{what}: parameters")
    if in_one and (of_model := [parameter for parameter in own if parameter in SHARED]):
        told = "cameras of one process share one model: move it to the file's own `parameters`, or set one_process to false"
        raise SetupError(f"{what}: parameters: {', '.join(of_model)} cannot be one camera's, {told}")
    return CameraEntry(name, namespace, {key: topics[key] for key in INPUTS if key in topics}, {**shared, **own})


def _ros_name(value: Any, namespace: str, what: str) -> str:
    """The full name."""
    if not isinstance(value, str) or not _NAME.fullmatch(value.removeprefix("/")):
        raise SetupError(f"{what} is a name such as /front/image_rect, of letters, digits, _ and /, not {value!r}")
    return value if value.startswith("/") else f"{namespace.rstrip('/')}/{value}"


def _parameters(given: Any, what: str) -> Parameters:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise SetupError(f"{what} are names with values, as in config/pipeline.yaml, not {given!r}")
    return dict(_checked(given, what))


def _checked(given: Mapping[Any, Any], what: str) -> Iterator[tuple[str, Value]]:
    rows = {row.name: row for row in PARAMETERS}
    for name, value in given.items():
        if name == OF_ROS:
            if not isinstance(value, bool):
                raise SetupError(f"{what}: {OF_ROS} must be true or false, not {value!r}")
            yield name, value
            continue
        if name not in rows:
            raise SetupError(f"{what}: {renamed(str(name)) or f'there is no parameter {name}, see config/pipeline.yaml'}")
        converted = rows[name].converted(value)
        if reason := rows[name].refusal(converted):
            raise SetupError(f"{what}: {reason}")
        yield name, converted


def _require_apart(cameras: tuple[CameraEntry, ...], where: str) -> None:
    """Raises SetupError where two are one."""
    names: dict[str, str] = {}
    for camera in cameras:
        if camera.name in names:
            raise SetupError(f"{where}two cameras are called {camera.name}: give each a name of its own")
        names[camera.name] = camera.name
    used: dict[str, str] = {}
    for camera in cameras:
        for kind, value in (("namespace", camera.namespace), *((key, camera.topics[key]) for key in ("image", "camera_info"))):
            other = used.setdefault(f"{kind} {value}", camera.name)
            if other != camera.name:
                raise SetupError(f"{where}cameras {other} and {camera.name} have one {kind}, {value}: give each its own")
