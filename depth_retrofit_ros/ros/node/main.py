"""The process around the node: `ros2 run depth_retrofit_ros depth_node`, the launch file, and `depth-retrofit run`."""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.ros.environment import require_ros
from depth_retrofit_ros.ros.transport.dds_profile import configure_transport

if TYPE_CHECKING:
    from depth_retrofit_ros.ros.node.node import DepthNode
    from depth_retrofit_ros.ros.node.parameters import Value

_SAME_WISH_S = 1.0  # a signal so soon after another is the same one, that took another way


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; ``argv`` as ROS passes it (``--ros-args …``). Leaves the process with ``run_node``'s exit code where not 0."""
    code = run_node(ros_args=sys.argv[1:] if argv is None else argv)
    if code:
        sys.exit(code)


def run_node(overrides: Mapping[str, Value] | None = None, ros_args: Sequence[str] = ()) -> int:
    """Run the node until SIGINT or SIGTERM (result 0), or until it cannot start (result 1, one line on stderr or in the log).

    A CUDA device that is lost to this process ends it with code 1 too, after one line, so that whoever started it starts a new one.
    That, and an image in work that never ended, end the process here and now: nothing of it can be torn down in order.

    overrides: parameter values that outrank the YAML files and ``-p`` of ``ros_args``. ros_args: from ``--ros-args`` on.
    With the parameter ``autostart`` (the default) the node configures and activates itself, and a failure ends the process, so that
    whoever started it learns of it; without, the node waits for lifecycle transitions and outlives failed ones.
    """
    try:
        require_ros()
    except SetupError as error:
        return _refuse(str(error))
    configure_transport()
    try:
        import rclpy
        from rclpy.exceptions import NotInitializedException, ParameterException
        from rclpy.parameter import Parameter

        rclpy.init(args=list(ros_args))  # before torch is imported: a word about wrong arguments need not wait for it
    except KeyboardInterrupt:
        return 0  # a signal came before rclpy could take it
    except RuntimeError as error:
        return _refuse(str(error))
    try:
        from depth_retrofit_ros.ros.node.node import DepthNode

        node = DepthNode(parameter_overrides=[Parameter(name, value=value) for name, value in (overrides or {}).items()])
    except ParameterException as error:
        rclpy.try_shutdown()
        return _refuse(str(error))
    except (KeyboardInterrupt, NotInitializedException, RuntimeError) as error:
        if isinstance(error, RuntimeError) and rclpy.ok():
            raise
        return 0  # a signal came before the node was there: whatever rclpy was creating then failed
    return _run(node)


def _run(node: DepthNode) -> int:
    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.signals import uninstall_signal_handlers

    from depth_retrofit_ros.ros.node.resilience import ResilientExecutor

    executor, code = ResilientExecutor(node.on_callback_error), 0
    executor.add_node(node)
    try:
        if node.settings.autostart and not node.autostart():
            code = 1 if rclpy.ok() else 0  # 0: a signal came while the model was loading
        else:
            while rclpy.ok() and not node.device_fault:
                executor.spin_once()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except RuntimeError:  # rclpy's answer where a signal came while something was being created
        if rclpy.ok():
            raise
    finally:
        # rclpy tells the executor of a signal from a thread of its own, and crashes where the executor is gone by then.
        uninstall_signal_handlers()
        _end_at_once_when_told_again()
        if node.device_fault:
            node.get_logger().fatal(f"the device is lost to this process, which ends: {node.device_fault}")
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown()
        # Python's last garbage collection would walk all of torch, for seconds on a busy machine; ros2 launch gives us five.
        gc.freeze()
        if node.device_fault or node.has_abandoned:
            _end_without_teardown()
    return code


def _end_without_teardown() -> NoReturn:
    """Code 1. The destructors of a lost device's libraries, or of what a thread that hangs holds on to, may wait for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def _end_at_once_when_told_again() -> None:
    """Whoever sends another signal does not want to wait for the image in work.

    One wish may come twice, though: who signals the whole process group reaches us and `ros2 launch`, which passes it on.
    """
    begin_s = time.monotonic()

    def on_signal(number: int, frame: FrameType | None) -> None:
        if time.monotonic() - begin_s > _SAME_WISH_S:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, on_signal)


def _refuse(reason: str) -> int:
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    main()
