"""The depth node, and rviz on request.

    ros2 launch depth_retrofit_ros pipeline.launch.py image:=/camera/image_rect camera_info:=/camera/camera_info rviz:=true

Each argument outranks the parameter file; one that is left empty keeps the file's value.
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, OpaqueFunction, Shutdown
from launch.conditions import IfCondition
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from depth_retrofit_ros.ros.node.main import MISCONFIGURED
from depth_retrofit_ros.ros.node.parameters import RENAMED
from depth_retrofit_ros.ros.transport.dds_profile import missing_variables

PACKAGE = "depth_retrofit_ros"
BOOLEAN = ("true", "false")
PRECISIONS = ("", "auto", "float32", "bfloat16", "float16")
RECTIFY = ("", "auto", "true", "false", "points")
KEPT = " [empty: as in params_file]"
NATIVE = ("raw", "compressed")  # image_transport's ways that the node takes itself
RVIZ_TOPICS = ("points", "depth/image_rect", "depth/preview")


def numbers(text: str) -> list[float]:
    """Of an argument such as ``0 -0.1 0, 0.5 -0.5 0.5 0.5``."""
    return [float(number) for number in text.replace(",", " ").split()]


# Launch argument → (parameter, type). `compressed` is the friendlier face of image_transport.
PARAMETERS = {
    "model": ("model", str),
    "weights": ("weights", str),
    "allow_download": ("allow_download", lambda text: text == "true"),
    "coarse_size": ("coarse_size", lambda text: int(text) if text.isdecimal() else text),
    "coarse_engine": ("coarse_engine", str),
    "coarse_precision": ("coarse_precision", str),
    "views": ("views", int),
    "preset": ("preset", str),
    "entropy_threshold": ("entropy_threshold", float),
    "selector": ("selector", str),
    "second_model": ("second_model", str),
    "temporal": ("temporal", lambda text: text == "true"),
    "motion_frame": ("motion_frame", str),
    "refiner": ("refiner", str),
    "device": ("device", str),
    "engine": ("engine", str),
    "refiner_precision": ("refiner_precision", str),
    "cuda_graphs": ("cuda_graphs", lambda text: text == "true"),
    "trust_scale": ("trust_scale", lambda text: text == "true"),
    "rectify": ("rectify", str),
    "lazy": ("lazy", lambda text: text == "true"),
    "budget": ("budget", float),
    "min_budget": ("min_budget", float),
    "target_fps": ("target_fps", float),
    "outputs": ("outputs", lambda text: [word.strip() for word in text.split(",")]),
    "cloud_stride": ("cloud_stride", int),
    "cloud_rate": ("cloud_rate", float),
    "range_min": ("range_min", float),
    "range_max": ("range_max", float),
    "flying_pixels": ("flying_pixels", float),
    "voxel_size": ("voxel_size", float),
    "voxel_point": ("voxel_point", str),
    "max_points": ("max_points", int),
    "crop_box": ("crop_box", numbers),
    "crop_frame": ("crop_frame", str),
    "crop_pose": ("crop_pose", numbers),
    "sky": ("sky", str),
    "cloud_fields": ("cloud_fields", str),
    "compressed_depth_format": ("compressed_depth_format", str),
    "compressed_depth_max": ("compressed_depth_max", float),
    "compressed_depth_quantization": ("compressed_depth_quantization", float),
    "preview_jpeg_quality": ("preview_jpeg_quality", int),
    "disparity_baseline": ("disparity_baseline", float),
    "scan_row": ("scan_row", int),
    "scan_height": ("scan_height", int),
    "scan_range_min": ("scan_range_min", float),
    "scan_range_max": ("scan_range_max", float),
    "scan_frame": ("scan_frame", str),
    "min_confidence": ("min_confidence", float),
    "align": ("align", str),
    "max_residual": ("max_residual", float),
    "sparse_points_pose": ("sparse_points_pose", numbers),
    "autostart": ("autostart", lambda text: text == "true"),
    "compressed": ("image_transport", lambda text: "compressed" if text == "true" else "raw"),
}


def share(*path: str) -> PathJoinSubstitution:
    return PathJoinSubstitution([FindPackageShare(PACKAGE), *path])


def generate_launch_description() -> LaunchDescription:
    def argument(name: str, default: object, description: str, choices: tuple[str, ...] | None = None) -> DeclareLaunchArgument:
        return DeclareLaunchArgument(name, default_value=default, description=description, choices=choices)

    return LaunchDescription(
        [
            argument("image", "image", "Topic of the image, without the transport's suffix"),
            argument("camera_info", "camera_info", "Topic of its camera_info"),
            argument("sparse_depth", "sparse_depth", "Topic of a depth image of the same view, for align"),
            argument("sparse_points", "sparse_points", "Topic of a LiDAR's or depth camera's points, for align"),
            argument("compressed", "", "true: subscribe <image>/compressed (JPEG or PNG)" + KEPT, ("", *BOOLEAN)),
            argument(
                "transport",
                "",
                "image_transport's name for how the image comes, such as raw, compressed, ffmpeg, theora; but for the first two "
                "its republish node decodes <image>/TRANSPORT, with the plugin that is installed" + KEPT,
            ),
            argument("model", "", "Coarse depth model, see `depth-retrofit models`; auto: the best that is here" + KEPT),
            argument("weights", "", "Checkpoint of the model, file or folder" + KEPT),
            argument("allow_download", "", "true: fetch the checkpoint of the model that is named" + KEPT, ("", *BOOLEAN)),
            argument("coarse_size", "", "Size of the model's input: long side in pixels, native or default" + KEPT),
            argument("coarse_engine", "", "What runs the coarse model; `depth-retrofit models` lists it" + KEPT),
            argument("coarse_precision", "", "In which the coarse model computes" + KEPT, PRECISIONS),
            argument("views", "", "Newest images that a model of several views sees at once, 1 to 32" + KEPT),
            argument("selector", "", "Which pixels are refined" + KEPT, ("", "uncertainty", "disagreement")),
            argument("second_model", "", "The other coarse model of selector disagreement" + KEPT),
            argument("temporal", "", "true: hold depth steady over time, on the CPU" + KEPT, ("", *BOOLEAN)),
            argument("motion_frame", "", "Of temporal: a frame that stands still, in which TF tells how the camera moves" + KEPT),
            argument("preset", "", "Parts of the method; paper: 2K Retrofit to the letter" + KEPT, ("", "default", "paper")),
            argument("entropy_threshold", "", "Of preset paper: entropy above which a pixel is refined, 0.0 to below 1.0" + KEPT),
            argument("refiner", "", "Name of the refiner, or the path of a checkpoint; auto: the preset's" + KEPT),
            argument("device", "", "auto, cpu, cuda or cuda:N" + KEPT),
            argument("engine", "", "Sparse backend; `depth-retrofit models` lists them" + KEPT),
            argument("refiner_precision", "", "Type of the refiner's convolutions" + KEPT, PRECISIONS),
            argument("cuda_graphs", "", "true: launch the networks as CUDA graphs" + KEPT, ("", *BOOLEAN)),
            argument("trust_scale", "", "true: camera and scene are those that the model's metres hold for" + KEPT, ("", *BOOLEAN)),
            argument("rectify", "", "Whether images are rectified on board; points: the cloud's rays alone" + KEPT, RECTIFY),
            argument("lazy", "", "false: subscribe to the image also while nobody listens" + KEPT, ("", *BOOLEAN)),
            argument("budget", "", "Share of the image's pixels that are refined at most, 0.0 to 1.0" + KEPT),
            argument("min_budget", "", "The budget may fall so far to hold target_fps" + KEPT),
            argument("target_fps", "", "Images per second to process; 0.0: as many as possible" + KEPT),
            argument(
                "outputs",
                "",
                "Images and clouds to offer, such as depth,points; of depth, depth_mm, points, preview, selection, normals, "
                "normals_preview, depth_compressed, depth_mm_compressed, preview_compressed, disparity, scan, confidence, "
                "confidence_8bit" + KEPT,
            ),
            argument("cloud_stride", "", "The cloud takes every n-th pixel in both directions" + KEPT),
            argument("cloud_rate", "", "Upper limit of clouds per second, of each topic; 0.0: one with every depth image" + KEPT),
            argument("range_min", "", "The cloud begins at this distance from the camera, in metres" + KEPT),
            argument("range_max", "", "The cloud ends at this distance from the camera, in metres; 0.0: nowhere" + KEPT),
            argument("flying_pixels", "", "Points between two surfaces go: steeper than this to the ray, in degrees" + KEPT),
            argument("voxel_size", "", "One point for each cell of this size, in metres; 0.0: every point" + KEPT),
            argument("voxel_point", "", "Which point of a cell's" + KEPT, ("", "centroid", "first")),
            argument("max_points", "", "Points of a cloud at most; 0: as many as there are" + KEPT),
            argument("crop_box", "", "The cloud is what lies within: x y z at least, x y z at most, in metres" + KEPT),
            argument("crop_frame", "", "Frame of crop_box, by TF" + KEPT),
            argument("crop_pose", "", "Pose of the optical frame in that of crop_box, without TF: x y z qx qy qz qw" + KEPT),
            argument(
                "sky", "", "Of a model that tells the sky: no points, or points at the far limit" + KEPT, ("", "remove", "far")
            ),
            argument("cloud_fields", "", "What a point has besides x, y, z" + KEPT, ("", "rgb", "intensity")),
            argument("compressed_depth_format", "", "Of depth_compressed and depth_mm_compressed" + KEPT, ("", "rvl", "png")),
            argument("compressed_depth_max", "", "Compressed depth from here on is unknown, in metres" + KEPT),
            argument("compressed_depth_quantization", "", "Depth at which a step of depth_compressed is 1 m" + KEPT),
            argument("preview_jpeg_quality", "", "Of preview_compressed, 1 to 100" + KEPT),
            argument("disparity_baseline", "", "Baseline of the stereo camera that disparity is of, in metres" + KEPT),
            argument("scan_row", "", "Row in the middle of the scan's band; -1: the optical axis" + KEPT),
            argument("scan_height", "", "Rows of the scan's band" + KEPT),
            argument("scan_range_min", "", "Nearest range of the scan, in metres" + KEPT),
            argument("scan_range_max", "", "Farthest range of the scan, in metres" + KEPT),
            argument("scan_frame", "", "Frame of the scan, at the camera with x forward" + KEPT),
            argument("min_confidence", "", "Depth and what is made of it are unknown where confidence is lower; 0.0: off" + KEPT),
            argument("align", "", "Bring depth to metres by sparse depth" + KEPT, ("", "none", "scale", "scale-shift")),
            argument("max_residual", "", "Aligned depth counts as metres up to this median relative error" + KEPT),
            argument("sparse_points_pose", "", "Pose of their frame in the optical frame: x y z qx qy qz qw" + KEPT),
            argument("autostart", "", "false: wait for lifecycle transitions" + KEPT, ("", *BOOLEAN)),
            argument("params_file", share("config", "pipeline.yaml"), "Parameter file of the node"),
            argument("namespace", "", "Namespace of the node"),
            argument("name", "depth_retrofit", "Name of the node"),
            argument("use_sim_time", "false", "Take the time from /clock", BOOLEAN),
            argument(
                "respawn", "true", "Start the node anew when its process ends, but where it cannot start as configured", BOOLEAN
            ),
            argument("respawn_delay", "2.0", "Seconds until then"),
            argument("rviz", "false", "Start rviz with cloud, preview and depth", BOOLEAN),
            argument("fixed_frame", "camera_color_optical_frame", "Frame that rviz shows; the image's frame_id needs no TF"),
            OpaqueFunction(function=nodes),
        ]
    )


def nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The depth node, and rviz where asked for."""

    def given(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    for old, new in RENAMED.items():
        if old in context.launch_configurations:  # launch itself takes any name, and ignores it
            raise ValueError(f"{old} is called {new} now: give {new}:={given(old)}")
    # Only arguments that were given become parameters, so that the file keeps the others.
    overrides = {name: converted(argument, given(argument)) for argument, (name, _) in PARAMETERS.items() if given(argument)}
    use_sim_time = {"use_sim_time": given("use_sim_time") == "true"}
    private = "/".join(("", *filter(None, (given("namespace").strip("/"), given("name")))))
    transport, image, decoders = given("transport"), given("image"), []
    if transport and given("compressed"):
        raise ValueError("compressed and transport say the same thing twice: give transport alone")
    if transport:
        overrides["image_transport"] = transport if transport in NATIVE else "raw"
    # Of these processes alone: a robot's launch file that includes this one has a profile of its own for its other nodes. Where it
    # has set one, that holds here too.
    environment = missing_variables(context.environment)
    if transport and transport not in NATIVE:
        decoded = f"{private}/image_decoded"
        decoders = [decoder(given("namespace"), given("name"), image, transport, decoded, use_sim_time, environment)]
        image = decoded
    depth_node = Node(
        package=PACKAGE,
        executable="depth_node",
        name=given("name"),
        namespace=given("namespace"),
        parameters=[given("params_file"), {**overrides, **use_sim_time}],
        remappings=[("image", image), *((name, given(name)) for name in ("camera_info", "sparse_depth", "sparse_points"))],
        output="screen",
        additional_env=environment,
        on_exit=on_exit,
        respawn=given("respawn") == "true",
        respawn_delay=float(given("respawn_delay")),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", share("rviz", "depth_retrofit.rviz"), "--fixed-frame", given("fixed_frame")],
        parameters=[use_sim_time],
        remappings=[(f"/depth_retrofit/{topic}", f"{private}/{topic}") for topic in RVIZ_TOPICS],
        additional_env=environment,
        condition=IfCondition(given("rviz")),
    )
    # Those of other packages first: where one is not installed launch stops there, and would leave a node that it had started.
    return [rviz, *decoders, depth_node]


def decoder(
    namespace: str, name: str, image: str, transport: str, decoded: str, use_sim_time: dict[str, bool], environment: dict[str, str]
) -> Node:
    """image_transport's republish node: ``image`` by ``transport`` → raw on ``decoded``, while somebody subscribes to that.

    It takes the two transports as parameters, in Humble as arguments; each ignores the other.
    """
    return Node(
        package="image_transport",
        executable="republish",
        name=f"{name}_decoder",
        namespace=namespace,
        arguments=[transport, "raw"],
        parameters=[{"in_transport": transport, "out_transport": "raw"}, use_sim_time],
        remappings=[(f"in/{transport}", f"{image}/{transport}"), ("out", decoded)],
        output="screen",
        additional_env=environment,
    )


def on_exit(event: ProcessExited, context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """A node that cannot start as it is configured would say the same for ever."""
    if event.returncode != MISCONFIGURED:
        return []
    return [Shutdown(reason="the depth node cannot start as it is configured")]


def converted(argument: str, text: str) -> object:
    """The parameter's value. Raises ValueError that names the argument, which launch prints as one line."""
    _, convert = PARAMETERS[argument]
    try:
        return convert(text)
    except ValueError as error:
        raise ValueError(f"{argument}:={text} does not fit: {error}") from None
