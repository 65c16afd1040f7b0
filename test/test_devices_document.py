"""The table of devices says measured, predicted or unknown, and what the file in its row says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from test.paths import ROOT

RESULTS = ROOT / "benchmarks" / "results"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "devices.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| device")
]


def compact(entries: list[Any], **more: Any) -> Any:
    return next(entry for entry in entries if entry["model"] == "compact" and more.items() <= entry.items())


def stated(device: str, file: str) -> float:
    """What the file says of a device [ms]."""
    document = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    if file == "bench_cpu.json":
        assert device in document["machine"]
        return float(document["stages"]["total"]["ms_p50"])
    if file == "bench_gpu.json":
        entry = compact(document["gpu"]["models"], cuda_graphs="CUDA graphs" in device)
        assert device.split(",")[0] in entry["machine"]
        return float(entry["one_at_a_time"]["ms_p50"])
    return float(compact(document["cases"])["predicted"][device]["one_at_a_time"]["expected"])


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_device_s_figure_is_that_of_its_file(row: list[str]) -> None:
    device, kind, figure, source = row
    if kind == "unknown":
        assert (figure, source) == ("", "")
        return
    file = source.strip("`")
    assert (kind == "predicted") is (file == "roofline.json") and kind in ("measured", "predicted")
    assert figure == f"{stated(device, file):.1f}"


def test_each_kind_has_rows() -> None:
    assert {row[1] for row in ROWS} == {"measured", "predicted", "unknown"}
