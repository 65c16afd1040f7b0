"""A depth node for each camera of a list: each in a process of its own, or all in one that shares one model.

    ros2 launch depth_retrofit_ros multi_camera.launch.py cameras:=cameras.yaml one_process:=true

The list outranks the parameter file, and a camera's own parameters those of all.
"""

from __future__ import annotations

from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.ros.node.camera_list import NODE, read_cameras
from depth_retrofit_ros.ros.node.main import MISCONFIGURED
from depth_retrofit_ros.ros.transport.dds_profile import missing_variables

PACKAGE = "depth_retrofit_ros"
BOOLEAN = ("true", "false")


def generate_launch_description() -> LaunchDescription:
    def argument(name: str, default: object, description: str, choices: tuple[str, ...] | None = None) -> DeclareLaunchArgument:
        return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)

    file = PathJoinSubstitution([FindPackageShare(PACKAGE), "config", "pipeline.yaml"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("cameras", description="File of the cameras, as config/cameras.yaml of this package"),
            argument(
                "one_process",
                "",
                "true: one process and model for all; false: one each [empty: as in the list]",
                ("", *BOOLEAN),
            ),
            argument("params_file", file, "Parameter file of every node"),
            argument("use_sim_time", "false", "Take the time from /clock", BOOLEAN),
            argument("respawn", "true", "Start a process anew when it ends, but where it cannot start as configured", BOOLEAN),
            argument("respawn_delay", "2.0", "Seconds until then"),
            OpaqueFunction(function=nodes),
        ]
    )


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The processes. Raises ValueError, which launch prints as one line, before any is started."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    file = Path(given("cameras")).expanduser()
    try:
        listed = read_cameras(file, {"true": True, "false": False}.get(given("one_process")))
    except SetupError as error:
        raise ValueError(str(error)) from None
    use_sim_time = {"use_sim_time": given("use_sim_time") == "true"}
    common = {
        "package": PACKAGE,
        "output": "screen",
        # Of these processes alone, as in pipeline.launch.py.
        "additional_env": missing_variables(context.environment),
        "on_exit": on_exit,
        "respawn": given("respawn") == "true",
        "respawn_delay": float(given("respawn_delay")),
    }
    if listed.one_process:
        # Without a name, which would be that of each node in the process.
        parameters = [given("params_file"), use_sim_time]
        return [Node(executable="depth_cameras", arguments=[str(file.resolve())], parameters=parameters, **common)]
    return [
        Node(
            executable="depth_node",
            name=NODE,
            namespace=camera.namespace,
            parameters=[given("params_file"), {**use_sim_time, **camera.parameters}],
            remappings=camera.remappings,
            **common,
        )
        for camera in listed.cameras
    ]


def on_exit(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """A node that cannot start as it is configured would say the same for ever."""
    if event.returncode != MISCONFIGURED:
        return []
    return [Shutdown(reason="a depth node cannot start as it is configured")]
