"""The summary of a run: JSON for programs, Markdown and a self-contained HTML page for people."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from depth_retrofit_ros.evaluation.report.delivery import DeliveryReport
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.runtime.statistics import Percentiles

RunMode = Literal["realtime", "every-frame"]


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that the page tells.

    facts: name → value, in words, the same in every run; circumstances: those that differ from run to run.
    input_hz: of the images, from the first to the last; output_hz: of their depth, from the first image to the last answer.
    images_s, answers_s: when each image was published and each depth arrived, seconds after the first image.
    latency_ms: publication of an image → arrival of its depth, in the order of ``answers_s``. stages_ms: the node's own wall times.
    age_ms: node clock at publication − stamp of the image, where the stamps are the present.
    accuracy, flicker: documents of ``SequenceEvaluator``. files: what the folder holds. last_failure: why an image
    failed, the last one.
    """

    title: str
    mode: RunMode
    facts: Mapping[str, str]
    circumstances: Mapping[str, str]
    delivery: DeliveryReport
    input_hz: float
    output_hz: float
    images_s: Sequence[float]
    answers_s: Sequence[float]
    latency_ms: Sequence[float]
    stages_ms: Mapping[str, Sequence[float]]
    age_ms: Sequence[float]
    accuracy: Entry | None
    flicker: Entry | None
    files: Mapping[str, str]
    last_failure: str = ""

    @property
    def nothing_answered(self) -> str | None:
        """Why there is not one depth image, in one line; None where there is one."""
        delivery = self.delivery
        if delivery.recorded:
            return None
        if not delivery.played:
            return "no image was played"
        reason = f"; the last failure: {self.last_failure}" if self.last_failure else ""
        return f"none of the {delivery.played} images was answered ({delivery.line()}){reason}"

    def times(self) -> dict[str, Percentiles]:
        """Row name → percentiles [ms] of everything that was measured."""
        rows = {"image published → depth received": self.latency_ms, "age at publication": self.age_ms, **self.stages_ms}
        return {name: percentiles(values) for name, values in rows.items() if values}


def percentiles(values: Sequence[float]) -> Percentiles:
    """Of at least one value."""
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return Percentiles(float(p50), float(p95), float(p99), len(values))


def machine() -> str:
    """Processor and number of CPUs that this process may use, in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{names[0] if names else platform.machine()}, {count} CPUs"


def to_json(summary: Summary) -> str:
    """Strict JSON: NaN becomes null. Every-frame runs leave out what a clock measured: two of them give the same text."""
    delivery = summary.delivery
    document: dict[str, Any] = {
        "title": summary.title,
        "mode": summary.mode,
        "facts": dict(summary.facts),
        "frames": {**asdict(delivery), "lost": delivery.lost},
    }
    if summary.mode == "realtime":
        document |= {
            "circumstances": dict(summary.circumstances),
            "input_hz": _number(summary.input_hz),
            "output_hz": _number(summary.output_hz),
            "times_ms": {name: asdict(values) for name, values in summary.times().items()},
        }
    document |= {"accuracy": summary.accuracy, "flicker": summary.flicker, "files": dict(summary.files)}
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
