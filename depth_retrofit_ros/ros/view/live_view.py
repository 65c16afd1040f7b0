"""A live view for Foxglove and Lichtblick: their WebSocket protocol, on this machine's own address only."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rclpy.serialization import serialize_message

from depth_retrofit_ros.errors import OutputError, SetupError
from depth_retrofit_ros.ros.replay.output_bag import type_name
from depth_retrofit_ros.ros.replay.recorder import stamp_ns
from depth_retrofit_ros.ros.view.viewer import VIEWS

HOST = "127.0.0.1"
_BACKLOG = 2 * len(VIEWS)  # messages that wait for a slow browser; then the oldest are dropped


class LiveView:
    """``with LiveView(8765) as live: ...``; ``live.write`` and ``live.wanted`` make a ``Sink``.

    Raises SetupError where foxglove-sdk is missing, OutputError where the port cannot be had.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._context: Any = None  # the server lives on without it, but has no channels then
        self._channels: dict[str, Any] = {}
        self._server: Any = None

    def __enter__(self) -> LiveView:
        try:
            import foxglove
        except ImportError:
            raise SetupError(
                "the live view needs foxglove-sdk: pip install foxglove-sdk (or depth_retrofit_ros[view]); --out DIR needs nothing"
            ) from None
        from rosbags.typesys import Stores, get_typestore

        store = get_typestore(Stores.ROS2_JAZZY)
        self._context = foxglove.Context()
        for view, message_type in VIEWS.items():
            name = type_name(message_type)
            definition = store.generate_msgdef(name, ros_version=2)[0]
            schema = foxglove.Schema(name=name, encoding="ros2msg", data=definition.encode())
            self._channels[view] = foxglove.Channel(view, schema=schema, message_encoding="cdr", context=self._context)
        try:
            self._server = foxglove.start_server(
                name="depth_retrofit_ros", host=HOST, port=self._port, context=self._context, message_backlog_size=_BACKLOG
            )
        except (OSError, RuntimeError) as error:
            raise OutputError(f"cannot serve at port {self._port} ({error}): choose another --port") from None
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.stop()

    @property
    def address(self) -> str:
        """What to open in the viewer."""
        return f"ws://{HOST}:{self._server.port}"

    def wanted(self, view: str) -> bool:
        """Whether a connected viewer shows it."""
        return bool(self._channels[view].has_sinks())

    def write(self, view: str, message: Any) -> None:
        """To every viewer that shows it."""
        self._channels[view].log(bytes(serialize_message(message)), log_time=max(0, stamp_ns(message)))
