"""The node's parameters: one table, from which they are declared, checked and read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import rclpy.parameter
from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor

from depth_retrofit_ros.coarse.input_size import DEFAULT, NATIVE
from depth_retrofit_ros.device.precisions import PRECISIONS
from depth_retrofit_ros.errors import SetupError
from depth_retrofit_ros.io.compressed_depth import DEPTH_CODECS
from depth_retrofit_ros.preset_names import PRESETS
from depth_retrofit_ros.ros.messages.rectification import CHOICES as RECTIFY
from depth_retrofit_ros.runtime.derived_outputs import DERIVED
from depth_retrofit_ros.selection.names import SELECTORS

if TYPE_CHECKING:
    from rclpy.node import Node

Value: TypeAlias = "str | bool | int | float | tuple[str, ...] | tuple[float, ...]"
Stage = Literal["unconfigured", "inactive", "active"]

CONFIDENCES = ("confidence", "confidence_8bit")
OUTPUTS = ("depth", "depth_mm", "points", "preview", "selection", "normals", "normals_preview", *DERIVED, *CONFIDENCES)
EMPTY = "an empty list"
NO_BOX = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
NO_POSE = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table.

    until: the last lifecycle stage in which it may be changed; "active" is live, from the next frame on; None is at start only.
    span: smallest and largest value; below: whether the largest itself is refused, of numbers with a fraction; or_zero: whether 0
    is accepted too; choices: the accepted words, of which a list takes one or more; pose: seven numbers, a position and a unit
    quaternion; box: six, two corners; number_text: a text that may be a whole number, which YAML and ``-p`` take for an integer.
    """

    name: str
    default: Value
    until: Stage | None
    description: str
    span: tuple[float, float] | None = None
    below: bool = False
    or_zero: bool = False
    choices: tuple[str, ...] = ()
    pose: bool = False
    box: bool = False
    number_text: bool = False

    @property
    def constraint(self) -> str:
        """What values are accepted, in words; empty where any value of the type is."""
        if self.choices:
            return f"{'some' if isinstance(self.default, tuple) else 'one'} of {', '.join(self.choices)}"
        if self.pose:
            return "x y z [m] and a unit quaternion qx qy qz qw"
        if self.box:
            return "x y z at least and x y z at most [m], the former below the latter"
        if self.number_text:
            return f"a number of pixels, {NATIVE} or {DEFAULT}"
        zero = "0, or " if self.or_zero else ""
        return f"{zero}{self.span[0]:g} to {'below ' if self.below else ''}{self.span[1]:g}" if self.span else ""

    @property
    def accepted(self) -> tuple[float, float] | None:
        """The smallest and the largest number that are accepted."""
        if self.span and self.or_zero:
            return 0.0, self.span[1]
        return (self.span[0], math.nextafter(self.span[1], -math.inf)) if self.span and self.below else self.span

    def converted(self, value: Any) -> Any:
        """``value`` with integers as the doubles, or the text, that are meant. Of whatever type."""
        if isinstance(value, bool) and str(value).lower() in self.choices:  # YAML takes the word for a truth value
            return str(value).lower()
        if self.number_text and _is_integer(value):
            return str(value)
        if isinstance(self.default, float) and _is_integer(value):
            return float(value)
        integers = isinstance(value, Sequence) and value and all(map(_is_integer, value))
        if (self.pose or self.box) and integers:  # YAML's lists are of one type
            return [float(number) for number in value]
        return value

    def refusal(self, value: Any) -> str | None:
        """Why ``value`` cannot be accepted; None where it can."""
        if not self._fits_type(value):
            return f"{self.name} must be {self._type_words}{f', {self.constraint}' if self.constraint else ''}, not {value!r}"
        if self.choices:
            words = list(value) if isinstance(self.default, tuple) else [value]
            if not words or not set(words) <= set(self.choices) or len(set(words)) < len(words):
                return f"{self.name} must be {self.constraint}, not {repr(', '.join(words)) if words else EMPTY}"
        if self.pose and not (len(value) == 7 and abs(math.hypot(*value[3:]) - 1) < 1e-3 and all(map(math.isfinite, value))):
            return f"{self.name} must be {self.constraint}, not {', '.join(f'{number:g}' for number in value) or EMPTY}"
        if self.box and not _is_box(value):
            return f"{self.name} must be {self.constraint}, not {', '.join(f'{number:g}' for number in value) or EMPTY}"
        if self.number_text and not (value.isdecimal() or value in (DEFAULT, NATIVE)):
            return f"{self.name} must be {self.constraint}, not '{value}'"
        if self.accepted and not self.accepted[0] <= value <= self.accepted[1]:  # written so that NaN fails
            return f"{self.name} must be {self.constraint}, not {value}"
        if self.or_zero and self.span and 0 < value < self.span[0]:
            return f"{self.name} must be {self.constraint}, not {value}"
        return None

    def _fits_type(self, value: Any) -> bool:
        if isinstance(self.default, tuple):
            kind = type(self.default[0])
            return isinstance(value, Sequence) and not isinstance(value, str) and all(type(item) is kind for item in value)
        return type(value) is type(self.default)  # not isinstance: to Python, true is an integer

    @property
    def _type_words(self) -> str:
        words = {str: "text", bool: "true or false", int: "an integer", float: "a number"}
        if isinstance(self.default, tuple):
            return "a list of numbers" if self.pose or self.box else "a list of words"
        return words[type(self.default)]


def _is_box(value: Sequence[float]) -> bool:
    """Two corners, or zeros, which are none."""
    if len(value) != 6 or not all(map(math.isfinite, value)):
        return False
    return not any(value) or all(low < high for low, high in zip(value[:3], value[3:], strict=True))


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


RENAMED = {"least_budget": "min_budget"}
"""Old name → new name. Whoever sets an old one is told the new one: it is neither taken nor ignored."""

PARAMETERS = (
    Parameter("model", "auto", "unconfigured", "Coarse depth model, see `depth-retrofit models`; auto: the best that is here"),
    Parameter("weights", "", "unconfigured", "Checkpoint of the model, file or folder; empty: the bundled or found one"),
    Parameter(
        "allow_download",
        False,
        "unconfigured",
        "Fetch the checkpoint of a model that is named and is not here; not for auto",
    ),
    Parameter(
        "coarse_size",
        "default",
        "unconfigured",
        "Size of the model's input: its long side [px], native (its authors' rule), or default",
        number_text=True,
    ),
    Parameter(
        "coarse_engine",
        "auto",
        "unconfigured",
        "What runs the coarse model, see `depth-retrofit models`; auto: the fastest that is installed",
    ),
    Parameter(
        "coarse_precision",
        "auto",
        "unconfigured",
        "In which the coarse model computes; auto: what was measured to hold",
        choices=("auto", *PRECISIONS),
    ),
    Parameter(
        "selector",
        "uncertainty",
        "unconfigured",
        "Which pixels are refined: where the model itself is unsure, or where it and `second_model` disagree",
        choices=SELECTORS,
    ),
    Parameter(
        "second_model",
        "",
        "unconfigured",
        "The other coarse model of selector disagreement, run beside the first by `coarse_engine`, else as it comes",
    ),
    Parameter(
        "preset",
        "default",
        "unconfigured",
        "Parts of the method; paper: 2K Retrofit to the letter, with the threshold that `budget` of the pixels exceed, and "
        "in one image at most 2.5 times as many",
        choices=tuple(PRESETS),
    ),
    Parameter(
        "entropy_threshold",
        0.0,
        "unconfigured",
        "Of preset paper: share of the largest entropy above which a pixel is refined; 0: as calibrated for the model",
        span=(0.0, 1.0),
        below=True,
    ),
    Parameter(
        "refiner",
        "auto",
        "unconfigured",
        "Name of the refiner, see `depth-retrofit models`, or the path of a checkpoint; auto: the preset's",
    ),
    Parameter("device", "auto", "unconfigured", "auto (CUDA where there is one), cpu, cuda or cuda:N"),
    Parameter("engine", "auto", "unconfigured", "Sparse backend, see `depth-retrofit models`; auto: the fastest on the device"),
    Parameter(
        "refiner_precision",
        "auto",
        "unconfigured",
        "Type of the refiner's convolutions; auto: the fastest that the sparse backend is good for on this machine",
        choices=("auto", *PRECISIONS),
    ),
    Parameter(
        "cuda_graphs",
        False,
        "unconfigured",
        "Launch coarse model and refiner as CUDA graphs; each new size, and each budget of the governor, is captured anew",
    ),
    Parameter(
        "trust_scale",
        False,
        "unconfigured",
        "Depth in metres also by a model that is metric for one camera or kind of scenes only: these are it",
    ),
    Parameter(
        "views",
        1,
        "unconfigured",
        "Newest images that a model of several views sees at once; from 2 on, where depth is metric, also their cloud and poses",
        span=(1, 32),
    ),
    Parameter(
        "temporal",
        False,
        "inactive",
        "Hold depth steady over time by the images before, and keep refined pixels that do not change; on the CPU",
    ),
    Parameter(
        "motion_frame",
        "",
        "active",
        "Of `temporal`: a frame that stands still, such as odom, in which TF tells how the camera moves; empty: by the images",
    ),
    Parameter("image_transport", "raw", "inactive", "Subscribe `image` (raw) or `image/compressed`", choices=("raw", "compressed")),
    Parameter(
        "lazy",
        True,
        "active",
        "Subscribe to the image only while somebody listens to an output; false: always, for the first answer as soon as can be",
    ),
    Parameter(
        "rectify",
        "auto",
        "active",
        "Rectify the images by their camera_info; auto: where D is not zero and the topic is called raw; points: not the image, "
        "but the cloud's points, which lie along the lens's true rays",
        choices=RECTIFY,
    ),
    Parameter("budget", 0.1, "active", "Share of the image's pixels that are refined, at most", span=(0.0, 1.0)),
    Parameter(
        "min_budget",
        0.02,
        "active",
        "To hold `target_fps` the budget falls so far; 0, or from `budget` on: never",
        span=(0.0, 1.0),
    ),
    Parameter(
        "target_fps",
        0.0,
        "active",
        "Images per second to process: no more, and no fewer while a smaller budget can help; 0: as many as possible",
        span=(0.0, 1000.0),
    ),
    Parameter(
        "outputs",
        ("depth", "points", "preview", "selection"),
        "active",
        "Images and clouds; depth: float, in metres where metric; depth_mm: 16-bit millimetres; selection: the refined pixels; "
        "normals: of the surfaces, float; normals_preview: the same for people; depth_compressed, depth_mm_compressed, "
        "preview_compressed: image_transport's compressedDepth and compressed of these; disparity: as of a stereo camera; scan: a "
        "planar laser's; confidence: probability that depth is within 5 %; confidence_8bit: the same as 0 to 255",
        choices=OUTPUTS,
    ),
    Parameter("cloud_stride", 2, "active", "The cloud takes every n-th pixel in both directions", span=(1, 64)),
    Parameter("cloud_rate", 0.0, "active", "Upper limit of clouds per second; 0: one with every depth image", span=(0.0, 1000.0)),
    Parameter("range_min", 0.0, "active", "The cloud begins at this distance from the camera [m]", span=(0.0, 1e6)),
    Parameter("range_max", 0.0, "active", "The cloud ends at this distance from the camera [m]; 0: nowhere", span=(0.0, 1e6)),
    Parameter(
        "flying_pixels",
        0.0,
        "active",
        "Take points between two surfaces out of the cloud: on slopes that the ray meets at fewer degrees; 0: none, usual is 2",
        span=(0.0, 30.0),
    ),
    Parameter(
        "voxel_size",
        0.0,
        "active",
        "One point for each cell of this size [m], unorganised; 0: every point",
        span=(0.001, 100.0),
        or_zero=True,
    ),
    Parameter("voxel_point", "centroid", "active", "Which point of a cell's", choices=("centroid", "first")),
    Parameter("max_points", 0, "active", "Points of a cloud at most, unorganised; 0: as many as there are", span=(0, 100_000_000)),
    Parameter("crop_box", NO_BOX, "active", "The cloud is what lies within, in `crop_frame`; zeros: everything", box=True),
    Parameter("crop_frame", "", "active", "Frame of `crop_box`, by TF; empty: that in which the camera has `crop_pose`"),
    Parameter("crop_pose", NO_POSE, "active", "Pose of the image's optical frame in that of `crop_box`, without TF", pose=True),
    Parameter(
        "sky", "remove", "active", "Of a model that tells the sky: no points, or points at the far limit", choices=("remove", "far")
    ),
    Parameter("cloud_fields", "rgb", "active", "What a point has besides x, y, z", choices=("rgb", "intensity")),
    Parameter(
        "compressed_depth_format",
        "rvl",
        "active",
        "Of depth_compressed and depth_mm_compressed; png is slower, and what Humble's subscribers read, which know no rvl",
        choices=DEPTH_CODECS,
    ),
    Parameter("compressed_depth_max", 100.0, "active", "Compressed depth from here on is unknown [m]", span=(1.0, 1000.0)),
    Parameter(
        "compressed_depth_quantization",
        100.0,
        "active",
        "Depth at which a step of depth_compressed is 1 m; at a tenth of it, a hundredth [m]",
        span=(1.0, 150.0),
    ),
    Parameter("preview_jpeg_quality", 95, "active", "Of preview_compressed", span=(1, 100)),
    Parameter("disparity_baseline", 0.1, "active", "Baseline of the stereo camera that disparity is of [m]", span=(0.001, 100.0)),
    Parameter("scan_row", -1, "active", "Row in the middle of the scan's band; -1: the optical axis", span=(-1, 65535)),
    Parameter("scan_height", 1, "active", "Rows of the scan's band, of which each beam is the nearest point", span=(1, 65535)),
    Parameter("scan_range_min", 0.45, "active", "Nearer than that, a beam of the scan is -inf [m]", span=(0.0, 1000.0)),
    Parameter("scan_range_max", 10.0, "active", "Farther than that, a beam of the scan is inf [m]", span=(0.0, 1000.0)),
    Parameter(
        "scan_frame",
        "",
        "active",
        "Frame of the scan: at the camera, x forward; empty: the image's, with _optical_frame replaced by _frame",
    ),
    Parameter(
        "min_confidence",
        0.0,
        "active",
        "Depth and what is made of it are unknown where confidence is lower; 0: off",
        span=(0.0, 1.0),
    ),
    Parameter(
        "align",
        "none",
        "inactive",
        "Bring depth to metres by `sparse_depth` or `sparse_points`: not, by a scale, or by a scale and a shift",
        choices=("none", "scale", "scale-shift"),
    ),
    Parameter(
        "max_residual",
        0.15,
        "inactive",
        "Aligned depth counts as metres up to this median relative error at the sparse depths",
        span=(0.0, 1.0),
    ),
    Parameter(
        "sparse_points_pose", NO_POSE, "inactive", "Pose of the frame of `sparse_points` in the image's; as it is: by TF", pose=True
    ),
    Parameter("autostart", True, None, "Configure and activate by itself; false: wait for lifecycle transitions"),
)

NAMES = frozenset(row.name for row in PARAMETERS)


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters' values at one moment."""

    model: str
    weights: str
    allow_download: bool
    coarse_size: str
    coarse_engine: str
    coarse_precision: str
    selector: str
    second_model: str
    preset: str
    entropy_threshold: float
    refiner: str
    device: str
    engine: str
    refiner_precision: str
    cuda_graphs: bool
    trust_scale: bool
    views: int
    temporal: bool
    motion_frame: str
    image_transport: str
    lazy: bool
    rectify: str
    budget: float
    min_budget: float
    target_fps: float
    outputs: tuple[str, ...]
    cloud_stride: int
    cloud_rate: float
    range_min: float
    range_max: float
    flying_pixels: float
    voxel_size: float
    voxel_point: str
    max_points: int
    crop_box: tuple[float, ...]
    crop_frame: str
    crop_pose: tuple[float, ...]
    sky: str
    cloud_fields: str
    compressed_depth_format: str
    compressed_depth_max: float
    compressed_depth_quantization: float
    preview_jpeg_quality: int
    disparity_baseline: float
    scan_row: int
    scan_height: int
    scan_range_min: float
    scan_range_max: float
    scan_frame: str
    min_confidence: float
    align: str
    max_residual: float
    sparse_points_pose: tuple[float, ...]
    autostart: bool

    def changed(self, changes: Iterable[tuple[str, Any]]) -> Settings:
        """With these values, as rclpy gives them; names that are not ours are left out."""
        return replace(self, **{name: _plain(value) for name, value in changes if name in NAMES})


def declare(node: Node) -> Settings:
    """Declare every parameter, with YAML and overrides applied. Raises SetupError for a value that is refused."""
    for old in RENAMED:
        if _given(node, old, None) is not None:
            raise SetupError(renamed(old))
    values = {}
    for row in PARAMETERS:
        given = _given(node, row.name, row.default)
        # YAML's [] has no type, and comes as None.
        value = row.converted([] if given is None and isinstance(row.default, tuple) else given)
        if reason := row.refusal(value):
            raise SetupError(reason)
        values[row.name] = _plain(node.declare_parameter(row.name, value, _descriptor(row), ignore_override=True).value)
    return Settings(**values)


def _given(node: Node, name: str, default: Value | None) -> Any:
    """What YAML, ``-p`` or an override give, of whatever type: a static declaration would refuse an integer for a double."""
    node.declare_parameter(name, default, ParameterDescriptor(dynamic_typing=True))
    value = node.get_parameter(name).value
    node.undeclare_parameter(name)
    return value


def converted(changes: Iterable[rclpy.parameter.Parameter]) -> list[rclpy.parameter.Parameter]:
    """Changes as rclpy gives them, with integers as the doubles, or the text, that are meant, and an empty list, which has no type
    of its own, as one of ours; what is not ours stays as it is."""
    rows = {row.name: row for row in PARAMETERS}

    def convert(change: rclpy.parameter.Parameter) -> rclpy.parameter.Parameter:
        row = rows.get(change.name)
        if row is None:
            return change
        if isinstance(row.default, tuple) and change.type_.name.endswith("_ARRAY") and not len(change.value):
            kinds = rclpy.parameter.Parameter.Type
            return rclpy.parameter.Parameter(change.name, kinds.DOUBLE_ARRAY if row.pose or row.box else kinds.STRING_ARRAY, [])
        value = row.converted(change.value)
        return change if value is change.value else rclpy.parameter.Parameter(change.name, value=value)

    return [convert(change) for change in changes]


def renamed(name: str) -> str | None:
    """What to say to somebody who uses an old name; None for any other."""
    return f"{name} is called {RENAMED[name]} now: set that" if name in RENAMED else None


def _plain(value: Any) -> Any:
    """rclpy gives lists as list or array.array; a tuple compares, and cannot change under the worker."""
    return value if isinstance(value, str | bool | int | float) else tuple(value)


def without_a_range(settings: Settings) -> str | None:
    """Why no distance is within the limits of an output that is offered, and what to do; None where some are. To be told, and not
    refused: whoever loads a file of parameters sets one limit after the other."""
    wrong = [
        f"{name}_min {least:g} is not below {name}_max {most:g}: {words} is not published, lower the one or raise the other"
        for output, name, words, least, most in (
            ("points", "range", "the cloud", settings.range_min, settings.range_max or math.inf),
            ("scan", "scan_range", "the scan", settings.scan_range_min, settings.scan_range_max),
        )
        if output in settings.outputs and least >= most
    ]
    return "; ".join(wrong) or None


def refusal(changes: Iterable[tuple[str, Any]], stage: Stage) -> str | None:
    """Why these changes cannot be accepted in this lifecycle stage; None where they can. Names that are not ours pass."""
    rows = {row.name: row for row in PARAMETERS}
    for name, value in changes:
        if name not in rows:
            continue
        if reason := _too_late(rows[name], stage) or rows[name].refusal(value):
            return reason
    return None


def _too_late(row: Parameter, stage: Stage) -> str | None:
    stages: tuple[Stage, ...] = ("unconfigured", "inactive", "active")
    if row.until is None or stages.index(stage) <= stages.index(row.until):
        return None  # rclpy itself guards what is read-only
    steps = {"inactive": "deactivate", "unconfigured": "deactivate and clean up" if stage == "active" else "clean up"}
    return f"{row.name} is fixed while {stage}: {steps[row.until]} the node first"


def _descriptor(row: Parameter) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(name=row.name, description=row.description, read_only=row.until is None)
    if not row.span:
        descriptor.additional_constraints = row.constraint
    if row.accepted and isinstance(row.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(row.accepted[0]), to_value=int(row.accepted[1]), step=1)]
    elif row.accepted:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(row.accepted[0]), to_value=float(row.accepted[1]))]
    return descriptor
