"""A recorded bag through the depth node, with the bag's time as everybody's clock.

    ros2 launch depth_retrofit_ros replay.launch.py bag:=BAG image:=/camera/image_rect camera_info:=/camera/camera_info record:=OUT

Plays as soon as the node says that it is ready, and ends some seconds after the bag. Every argument of pipeline.launch.py works
here too. Figures without rviz, and every single frame: `depth-retrofit replay`.
"""

from __future__ import annotations

from launch import Action, LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
    TimerAction,
)
from launch.event_handlers import OnProcessExit, OnProcessIO
from launch.events.process import ProcessIO
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from depth_retrofit_ros.ros.transport.dds_profile import missing_variables

PACKAGE = "depth_retrofit_ros"
READY = "waiting for "  # how the node's line on activation begins
DISCOVERY_S = "1.0"  # for the node to find the publishers of the player; before it, images are lost
INCLUDED = {"use_sim_time": "true", "respawn": "false"}  # the node's end is the end of the replay
RECORDED = ("depth/image_rect", "depth/camera_info", "points", "frame_stats")


def generate_launch_description() -> LaunchDescription:
    pipeline = PathJoinSubstitution([FindPackageShare(PACKAGE), "launch", "pipeline.launch.py"])
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="Bag to play: a rosbag2 folder or file"),
            DeclareLaunchArgument("play_rate", default_value="1.0", description="2.0 plays twice as fast"),
            DeclareLaunchArgument("record", default_value="", description="New bag for the node's outputs [empty: none is made]"),
            DeclareLaunchArgument("linger", default_value="5.0", description="Seconds from the bag's end to the end of everything"),
            # Declared by pipeline.launch.py too; here, because the recorder needs them as well.
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node"),
            DeclareLaunchArgument("name", default_value="depth_retrofit", description="Name of the node"),
            OpaqueFunction(function=play),
            IncludeLaunchDescription(PythonLaunchDescriptionSource(pipeline), launch_arguments=INCLUDED.items()),
        ]
    )


def is_depth_node(action: Action) -> bool:
    return isinstance(action, Node) and action.node_executable == "depth_node"


def play(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The player, once the node is ready; the recorder, where asked for; and the end of both."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    environment = missing_variables(context.environment)  # images pass through the player and the recorder too
    player = ExecuteProcess(
        cmd=["ros2", "bag", "play", given("bag"), "--clock", "--delay", DISCOVERY_S, "--rate", given("play_rate")],
        name="player",
        output="screen",
        additional_env=environment,
    )
    started: list[ExecuteProcess] = []

    def start(event: ProcessIO) -> list[LaunchDescriptionEntity]:
        if started or READY not in event.text.decode(errors="replace"):
            return []
        started.append(player)
        return [player]

    end = TimerAction(period=float(given("linger")), actions=[Shutdown(reason="the bag has ended")])
    entities: list[LaunchDescriptionEntity] = [
        RegisterEventHandler(OnProcessIO(on_stdout=start, on_stderr=start)),
        RegisterEventHandler(OnProcessExit(target_action=player, on_exit=[end])),
        # A node that could not start, or ended, is nothing to play into or to record.
        RegisterEventHandler(OnProcessExit(target_action=is_depth_node, on_exit=[Shutdown(reason="the depth node has ended")])),
    ]
    if given("record"):
        private = "/".join(("", *filter(None, (given("namespace").strip("/"), given("name")))))
        topics = [f"{private}/{topic}" for topic in RECORDED]
        command = ["ros2", "bag", "record", "--use-sim-time", "--output", given("record"), *topics, "/diagnostics"]
        entities.append(ExecuteProcess(cmd=command, name="recorder", output="screen", additional_env=environment))
    return entities
