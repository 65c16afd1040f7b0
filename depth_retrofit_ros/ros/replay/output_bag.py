"""A new rosbag2 (MCAP) with what went into the node and what came out, definitions included: rviz and Foxglove read it as it is."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rclpy.serialization import serialize_message

from depth_retrofit_ros.errors import OutputError
from depth_retrofit_ros.evaluation.data.bag import header_stamp_ns
from depth_retrofit_ros.io.depth_files import writing
from depth_retrofit_ros.msg import FrameStats

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Writer
    from rosbags.typesys.store import Typestore

_FILES = re.compile(r"metadata\.yaml(\.tmp)?|[^/]+\.mcap")
_MARK = ("written_by", "depth-retrofit replay")  # in the metadata: such a bag may be replaced, any other is somebody's recording
_IDL_NAMES = {"float": "float32", "double": "float64", "boolean": "bool"}


class OutputBag:
    """``with OutputBag(path) as bag: ...``; the folder ``path`` is made anew. Usable from several threads.

    Every message has its header stamp as its time, so that inputs and outputs of one image lie beside each other. After an error
    nothing is left of it. Raises OutputError where the disk is full, or where ``path`` is not an earlier bag of ours.
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
            writer.set_custom_data(*_MARK)
            writer.open()
        self._writer = writer
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._lock:
            writer, self._writer = self._writer, None
            if writer is None:
                return
            with writing(self.path):
                writer.__exit__(kind, error, trace)
                if error is not None:
                    _remove(self.path)

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
    metadata = path / "metadata.yaml"
    if not (metadata.is_file() and f"{_MARK[0]}: {_MARK[1]}" in metadata.read_text(errors="replace")):
        raise OutputError(f"{path} is not a bag of an earlier replay: move it away, or choose another --out")
    _remove(path)


def _remove(path: Path) -> None:
    """A bag of ours; a file that somebody else put there stays, and the folder with it."""
    for file in path.iterdir():
        if _FILES.fullmatch(file.name):
            file.unlink()
    with suppress(OSError):
        path.rmdir()
