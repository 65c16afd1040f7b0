"""One process that serves several cameras with one model: `ros2 run depth_retrofit_ros depth_cameras FILE`, and the launch file.

What is needed later is imported later: the first thing to do is to take the signals.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.ros.node.main import MISCONFIGURED, run_nodes

if TYPE_CHECKING:
    from depth_retrofit_ros.ros.node.camera_list import CameraList
    from depth_retrofit_ros.ros.node.node import DepthNode

USAGE = "usage: depth_cameras FILE [--ros-args …], where FILE lists the cameras as config/cameras.yaml does"


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; argv: the file, and what ROS passes (``--ros-args …``). Leaves the process with the exit code where not 0."""
    given = list(sys.argv[1:] if argv is None else argv)
    place = given.index("--ros-args") if "--ros-args" in given else len(given)
    files, ros_args = given[:place], given[place:]
    if len(files) != 1 or files[0].startswith("-"):
        print(f"error: {USAGE}", file=sys.stderr)
        sys.exit(MISCONFIGURED)
    code = run_cameras(Path(files[0]), ros_args)
    if code:
        sys.exit(code)


def run_cameras(file: Path, ros_args: Sequence[str] = ()) -> int:
    """Run a node for each camera of a file in this process, whatever it says of ``one_process``; see ``main.run_nodes``."""

    def make() -> list[DepthNode]:
        from depth_retrofit_ros.ros.node.camera_list import read_cameras

        return camera_nodes(read_cameras(file, one_process=True))

    return run_nodes(make, ros_args)


def camera_nodes(cameras: CameraList) -> list[DepthNode]:
    """A node for each, which share one method. Raises SetupError, and leaves none then."""
    from rclpy.parameter import Parameter

    from depth_retrofit_ros.ros.node.camera_list import NODE
    from depth_retrofit_ros.ros.node.node import DepthNode, load_retrofit
    from depth_retrofit_ros.ros.node.shared_method import SharedMethod

    shared, nodes = SharedMethod(load_retrofit), list[DepthNode]()
    try:
        for camera in cameras.cameras:
            rules = [word for pair in camera.remappings for word in ("-r", ":=".join(pair))]
            overrides = [Parameter(name, value=value) for name, value in camera.parameters.items()]
            nodes.append(
                DepthNode(
                    NODE,
                    namespace=camera.namespace,
                    shared=shared,
                    parameter_overrides=overrides,
                    cli_args=["--ros-args", *rules],
                )
            )
    except Exception:
        for node in nodes:
            node.destroy_node()
        raise
    return nodes


if __name__ == "__main__":
    main()
