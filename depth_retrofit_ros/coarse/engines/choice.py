"""``coarse_engine: auto``: the fastest that is installed, by what was measured for a family of models and a kind of processor."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from depth_retrofit_ros.coarse.engines.registry import AUTO, ENGINES, missing_packages
from depth_retrofit_ros.device.precisions import PRECISIONS, type_named
from depth_retrofit_ros.errors import ModelError

ENGINE_VARIABLE = "DEPTH_RETROFIT_COARSE_ENGINE"  # names what ``auto`` takes, such as eager where nothing shall be compiled


@dataclass(frozen=True, slots=True)
class Measured:
    """An engine in a precision, and how many times as fast as eager float32 it was: CPU time, one thread
    (benchmarks/results/coarse_engines.json).

    only_named: it is taken only where the user names its precision, as it is not shown with real weights that the selection holds.
    """

    engine: str
    precision: str
    ratio: float
    only_named: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What ``auto`` takes. measured: None for eager, as it is; faster: the fastest one, where that is not installed."""

    measured: Measured | None
    faster: Measured | None = None

    def line(self, model: str) -> str:
        """What was taken, and what would be faster."""
        line = f"coarse engine auto: {model} by "
        if self.measured is None:
            line += "eager"
        else:
            line += f"{self.measured.engine} in {self.measured.precision} ({self.measured.ratio:.1f} times as fast as eager)"
        if self.faster is not None:
            line += f"; faster ({self.faster.ratio:.1f} times): {self.faster.engine}: {ENGINES[self.faster.engine].how_to_get}"
        return line


# The fastest first (see docs/coarse-engines.md). A family is its loader's module; those that are not here were not measured, and
# stay eager.
ON_A_CPU: dict[str, tuple[Measured, ...]] = {
    "compact": (
        Measured("openvino", "float32", 1.6),
        Measured("onnxruntime", "float32", 1.5),
    ),
    "meter": (
        Measured("onnxruntime", "float32", 2.7),
        Measured("openvino", "float32", 2.5),
    ),
    "depth_anything": (
        Measured("openvino", "bfloat16", 3.1, only_named=True),
        Measured("openvino", "float32", 1.8),
        Measured("onnxruntime", "float32", 1.2),
    ),
}


def choose(family: str, device_type: str, precision: torch.dtype | None) -> Choice:
    """What ``auto`` takes for a family of models; on anything but a CPU it is eager, until there are figures.

    precision: None for the fastest of those that were measured to hold.
    """
    rows = [] if device_type != "cpu" else [row for row in ON_A_CPU.get(family, ()) if _serves(row, precision)]
    installed = [row for row in rows if not missing_packages(ENGINES[row.engine])]
    faster = rows[0] if rows and rows[0] not in installed else None
    return Choice(installed[0] if installed else None, faster)


def usual_precision(family: str, engine: str, device_type: str) -> torch.dtype | None:
    """In which precision an engine that is named runs a family of models: the measured one; None for the model's own."""
    rows = [row for row in ON_A_CPU.get(family, ()) if row.engine == engine and _serves(row, None)]
    return type_named(rows[0].precision) if rows and device_type == "cpu" and engine != "eager" else None


def parsed_precision(name: str) -> torch.dtype | None:
    """By name; None for ``auto``. Raises ModelError."""
    if name == AUTO:
        return None
    if name not in PRECISIONS:
        raise ModelError(f"unknown coarse precision '{name}': choose one of {AUTO}, {', '.join(PRECISIONS)}")
    return type_named(name)


def _serves(row: Measured, precision: torch.dtype | None) -> bool:
    wanted = type_named(row.precision)
    asked = precision == wanted or (precision is None and not row.only_named)
    return asked and (wanted != torch.bfloat16 or has_bfloat16())


@cache
def has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself; emulated it is slower than float32."""
    try:
        flags = set(Path("/proc/cpuinfo").read_text().split())
    except OSError:
        return False
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})
