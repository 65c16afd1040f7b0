"""The process around the node: `ros2 run depth_retrofit_ros depth_node`, the launch file, and `depth-retrofit run`.

What is needed later is imported later: the first thing to do is to take the signals.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from depth_retrofit_ros.ros.node.signals import StopSignals

if TYPE_CHECKING:
    from depth_retrofit_ros.ros.node.node import DepthNode
    from depth_retrofit_ros.ros.node.parameters import Value

FAILED, MISCONFIGURED = 1, 2  # exit codes: starting again may help; it cannot, and launch/pipeline.launch.py does not


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; ``argv`` as ROS passes it (``--ros-args …``). Leaves the process with ``run_node``'s exit code where not 0."""
    code = run_node(ros_args=sys.argv[1:] if argv is None else argv)
    if code:
        sys.exit(code)


def run_node(overrides: Mapping[str, Value] | None = None, ros_args: Sequence[str] = ()) -> int:
    """Run the node until SIGINT or SIGTERM (result 0), or until it cannot start (one line on stderr or in the log).

    Then the result says whether to start it again: ``MISCONFIGURED`` where it could not start as it is configured, so that the same
    would happen again; ``FAILED`` for anything else. A CUDA device that is lost to this process, and an image in work or a
    configuration that never ended, end the process here and now with ``FAILED``: nothing of it can be torn down in order.

    overrides: parameter values that outrank the YAML files and ``-p`` of ``ros_args``. ros_args: from ``--ros-args`` on.
    With the parameter ``autostart`` (the default) the node configures and activates itself, and a failure ends the process, so that
    whoever started it learns of it; without, the node waits for lifecycle transitions and outlives failed ones.

    The process's signals are the node's from here on; before it has anything to end, one ends the process, with code 0.
    """

    def make() -> list[DepthNode]:
        from rclpy.parameter import Parameter

        from depth_retrofit_ros.ros.node.node import DepthNode

        return [DepthNode(parameter_overrides=[Parameter(name, value=value) for name, value in (overrides or {}).items()])]

    return run_nodes(make, ros_args)


def run_nodes(make: Callable[[], list[DepthNode]], ros_args: Sequence[str] = ()) -> int:
    """As ``run_node``, of the nodes that ``make`` makes, in one executor; it may raise DepthRetrofitError. They start in their
    order, and end together: where one cannot start, or has lost the device, none goes on."""
    signals = StopSignals()
    signals.install()

    from depth_retrofit_ros.errors import DepthRetrofitError
    from depth_retrofit_ros.ros.context import ros_start
    from depth_retrofit_ros.ros.environment import require_ros
    from depth_retrofit_ros.ros.transport.dds_profile import configure_transport

    try:
        require_ros(ros_args)
        configure_transport()
        with ros_start():
            import rclpy
            from rclpy.signals import SignalHandlerOptions

            # Before torch is imported: a word about wrong arguments need not wait for it.
            rclpy.init(args=list(ros_args), signal_handler_options=SignalHandlerOptions.NO)

        import depth_retrofit_ros.ros.node.node  # noqa: F401 - takes seconds, in which a signal need not wait

        with ros_start(), signals.noting():
            nodes = make()
            signals.leaving_by(lambda: _destroy(nodes))  # so that others need not wait until they miss them
    except DepthRetrofitError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISCONFIGURED
    return _run(nodes, signals)


def _run(nodes: Sequence[DepthNode], signals: StopSignals) -> int:
    import gc

    import rclpy
    from rclpy.executors import ExternalShutdownException
    from rclpy.signals import SignalHandlerOptions, install_signal_handlers, uninstall_signal_handlers

    from depth_retrofit_ros.ros.node.resilience import ResilientExecutor

    executor = ResilientExecutor(nodes[0].on_callback_error, {node: node.on_callback_error for node in nodes})
    for node in nodes:
        executor.add_node(node)
    code = 0
    try:
        failed = next((node for node in nodes if node.settings.autostart and not node.autostart()), None)
        if failed is not None:
            code = MISCONFIGURED if failed.is_misconfigured else FAILED
        else:
            install_signal_handlers(SignalHandlerOptions.ALL)  # rclpy's end the spinning; they call ours, too
            signals.finish_first()
            while rclpy.ok() and not any(node.device_fault for node in nodes):
                executor.spin_once()
    except ExternalShutdownException:
        pass
    except RuntimeError:  # rclpy's answer where a signal came while something was being created
        if rclpy.ok():
            raise
    finally:
        signals.finish_first()
        # rclpy tells the executor of a signal from a thread of its own, and crashes where the executor is gone by then.
        uninstall_signal_handlers()
        lost = next((node for node in nodes if node.device_fault), None)
        if lost is not None:
            lost.get_logger().fatal(f"the device is lost to this process, which ends: {lost.device_fault}")
        try:
            executor.shutdown()
            _destroy(nodes)
            rclpy.try_shutdown()
            signals.ignore()
            # Python's last garbage collection would walk all of torch, for seconds on a busy machine; ros2 launch gives us five.
            gc.freeze()
        finally:
            if lost is not None or any(node.has_abandoned for node in nodes):
                _end_without_teardown()
    return code


def _destroy(nodes: Sequence[DepthNode]) -> None:
    """In no more time than one takes: they may all wait for the same image in work."""
    from depth_retrofit_ros.ros.node.node import LEAVE_S

    until_s = time.monotonic() + LEAVE_S
    for node in nodes:
        node.leave_s = max(0.0, until_s - time.monotonic())
        node.destroy_node()


def _end_without_teardown() -> NoReturn:
    """``FAILED``. The destructors of a lost device's libraries, or of what a thread that hangs holds on to, may wait for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(FAILED)


if __name__ == "__main__":
    main()
