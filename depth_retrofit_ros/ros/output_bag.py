"""A new rosbag2 (MCAP) with what went into the node and what came out, definitions included: rviz and Foxglove read it as it is."""

from __future__ import annotations

import re
import threading
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rclpy.serialization import serialize_message

from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.evaluation.bag import header_stamp_ns
from depth_retrofit_ros.export import writing
from depth_retrofit_ros.msg import FrameStats

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Writer
    from rosbags.typesys.store import Typestore

_OURS = re.compile(r"metadata\.yaml(\.tmp)?|[^/]+\.mcap")
_IDL_NAMES = {"float": "float32", "double": "float64", "boolean": "bool"}


class OutputBag:
    """``with OutputBag(path) as bag: ...``; the folder ``path`` is made anew. Usable from several threads.

    Every message has its header stamp as its time, so that inputs and outputs of one image lie beside each other. Raises
    OutputError where the disk is full, or where ``path`` holds anything else than an earlier bag.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._connections: dict[str, Connection] = {}
        self._writer: Writer | None = None

    def __enter__(self) -> OutputBag:
        from rosbags.rosbag2 import StoragePlugin, Writer

        with writing(self.path):
            _remove_earlier(self.path)
            writer = Writer(self.path, version=9, storage_plugin=StoragePlugin.MCAP)
            writer.open()
        self._writer = writer
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is None:
                return
            with writing(self.path):
                writer.__exit__(kind, error, trace)  # after an error it closes without index and metadata

    def write(self, topic: str, message: Any) -> None:
        """A message with a header."""
        self.write_bytes(topic, type_name(type(message)), bytes(serialize_message(message)))

    def write_bytes(self, topic: str, msgtype: str, data: bytes) -> None:
        """A serialised message (CDR) that begins with a header."""
        with self._lock:
            if self._writer is None:
                raise ValueError("the bag is closed: use it inside its with block")
            with writing(self.path):
                if topic not in self._connections:
                    self._connections[topic] = self._writer.add_connection(topic, msgtype, typestore=_typestore())
                self._writer.write(self._connections[topic], max(0, header_stamp_ns(data)), data)


def type_name(message_type: type) -> str:
    """Such as ``sensor_msgs/msg/Image``."""
    return f"{message_type.__module__.partition('.')[0]}/msg/{message_type.__name__}"


def definition(message_type: Any) -> str:
    """The fields of a generated message class as in its ``.msg`` file, which an installation need not have at hand."""
    fields = message_type.get_fields_and_field_types().items()
    return "".join(f"{_IDL_NAMES.get(kind, kind)} {name}\n" for name, kind in fields)


@cache
def _typestore() -> Typestore:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg(definition(FrameStats), type_name(FrameStats)))
    return store


def _remove_earlier(path: Path) -> None:
    if not path.exists():
        return
    files = list(path.iterdir()) if path.is_dir() else []
    if not path.is_dir() or not all(_OURS.fullmatch(file.name) and file.is_file() for file in files):
        raise OutputError(f"{path} holds something else than a bag of an earlier run: move it away, or choose another --out")
    for file in files:
        file.unlink()
    path.rmdir()
