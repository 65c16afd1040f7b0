"""The node's parameters: one table, from which they are declared, checked and read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException

if TYPE_CHECKING:
    from rclpy.node import Node

Value: TypeAlias = "str | bool | int | float"
Stage = Literal["unconfigured", "inactive", "active"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table.

    until: the last lifecycle stage in which it may be changed; "active" is live, from the next frame on; None is at start only.
    span: smallest and largest value; choices: the accepted words.
    """

    name: str
    default: Value
    until: Stage | None
    description: str
    span: tuple[float, float] | None = None
    choices: tuple[str, ...] = ()

    def refusal(self, value: Any) -> str | None:
        """Why ``value`` cannot be accepted; None where it can. The type is rclpy's to check."""
        if self.choices and value not in self.choices:
            return f"{self.name} must be one of {', '.join(self.choices)}, not '{value}'"
        if self.span and not self.span[0] <= value <= self.span[1]:  # written so that NaN fails
            return f"{self.name} must lie within {self.span[0]:g} and {self.span[1]:g}, not {value}"
        return None


PARAMETERS = (
    Parameter("model", "compact", "unconfigured", "Coarse depth model; `depth-retrofit models` lists them"),
    Parameter("weights", "", "unconfigured", "Checkpoint of the model, file or folder; empty: the bundled or found one"),
    Parameter("refiner", "", "unconfigured", "Checkpoint of the refiner; empty: the bundled one"),
    Parameter("device", "auto", "unconfigured", "auto (CUDA where there is one), cpu, cuda or cuda:N"),
    Parameter("engine", "auto", "unconfigured", "Sparse engine, see `depth-retrofit models`; auto: the fastest on the device"),
    Parameter("image_transport", "raw", "inactive", "Subscribe `image` (raw) or `image/compressed`", choices=("raw", "compressed")),
    Parameter("budget", 0.1, "active", "Share of the image's pixels that are refined", span=(0.0, 1.0)),
    Parameter("rate", 0.0, "active", "Upper limit of processed images per second; 0: as fast as possible", span=(0.0, 1000.0)),
    Parameter("cloud_stride", 2, "active", "The cloud takes every n-th pixel in both directions", span=(1, 64)),
    Parameter("autostart", True, None, "Configure and activate by itself; false: wait for lifecycle transitions"),
)


@dataclass(frozen=True, slots=True)
class Settings:
    """The parameters' values at one moment."""

    model: str
    weights: str
    refiner: str
    device: str
    engine: str
    image_transport: str
    budget: float
    rate: float
    cloud_stride: int
    autostart: bool


def declare(node: Node) -> Settings:
    """Declare every parameter, with YAML and overrides applied. Raises rclpy's ParameterException for a value that is refused."""
    values = {}
    for row in PARAMETERS:
        value = node.declare_parameter(row.name, row.default, _descriptor(row)).value
        if reason := row.refusal(value):
            raise InvalidParameterValueException(row.name, value, reason)
        values[row.name] = value
    return Settings(**values)


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
    if row.choices:
        descriptor.additional_constraints = f"one of {', '.join(row.choices)}"
    if row.span and isinstance(row.default, int):
        descriptor.integer_range = [IntegerRange(from_value=int(row.span[0]), to_value=int(row.span[1]), step=1)]
    elif row.span:
        descriptor.floating_point_range = [FloatingPointRange(from_value=float(row.span[0]), to_value=float(row.span[1]))]
    return descriptor
