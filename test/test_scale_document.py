"""The cost model of docs/scale.md is that of the measured figures."""

from __future__ import annotations

import json
from typing import Any

import pytest

from test.paths import ROOT

RESULTS = ROOT / "benchmarks" / "results"
TEXT = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
FRAMES = 30 * 3600  # of an hour of video
HOURS = 1_000_000


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text(encoding="utf-8"))


def gpu_ms(model: str) -> float:
    entries = read("bench_gpu.json")["gpu"]["models"]
    return float(next(e for e in entries if e["model"].startswith(model) and not e["cuda_graphs"])["one_at_a_time"]["ms_p50"])


def costs() -> dict[str, tuple[float, str]]:
    """Row → of an hour of video, and its unit."""
    around = read("batch_rate.json")["around_a_frame_of_2k"]
    hours = {
        "one H200, `compact`": gpu_ms("compact"),
        "one H200, `depth-anything-v2-small`": gpu_ms("depth-anything-v2-small"),
        "JPEG decoding, one core": around["decode_ms"],
        "PNG encoding, one core": around["png_ms"],
        "npz, one core, with its checksum": around["npz_ms"] + around["sha256_of_npz_ms"],
    }
    gigabytes = {"images in, JPEG": "jpeg_bytes", "depth out, PNG": "png_bytes", "depth out, npz": "npz_bytes"}
    rows = {name: (ms * 1e-3 * FRAMES / 3600, "h") for name, ms in hours.items()}
    return rows | {name: (around[key] * FRAMES / 1e9, "GB") for name, key in gigabytes.items()}


def rows() -> list[list[str]]:
    lines = TEXT.partition("| of an hour of video |")[2].splitlines()[2:]
    table = lines[: next((at for at, line in enumerate(lines) if not line.startswith("|")), len(lines))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_each_cost_is_that_of_its_figure() -> None:
    expected = costs()
    assert [row[0] for row in rows()] == list(expected)
    for name, an_hour, carried in rows():
        value, unit = expected[name]
        assert an_hour == f"{value:.2f} {unit}"
        assert carried == (f"{value * HOURS / 1e6:.2f} million h" if unit == "h" else f"{value * HOURS / 1e6:.1f} PB")


def test_what_is_told_of_rate_and_memory_is_measured() -> None:
    rate = read("batch_rate.json")
    assert rate["share_of_replay"]["batch_png"] >= 0.9
    assert all(f"{share:.2f}" in TEXT for share in rate["share_of_replay"].values())
    memory = rate["long_bag"]["memory_mb"]
    assert f"{memory['first_third']:,} MB" in TEXT and f"{memory['last_third']:,} MB" in TEXT
    around, gpu = rate["around_a_frame_of_2k"], gpu_ms("compact")
    beside = around["decode_ms"] + around["png_ms"]
    assert f"{beside:.0f} ms beside {gpu:.1f} ms" in TEXT and f"{(beside + gpu) / gpu:.0f} workers" in TEXT


@pytest.mark.parametrize("case", ["two_workers", "ray_with_a_node_killed", "driver_killed"])
def test_every_show_ended_with_the_results_of_one_worker(case: str) -> None:
    shows = read("batch_shows.json")
    assert shows["same_digest"][case]
    told = shows["cases"][case]
    assert (told["given"], told["failed"], told["left"]) == (told["done"] + told["skipped"], 0, 0)
    assert shows["cases"]["driver_killed"]["of_these_done_again"] == 0


def test_the_other_shows() -> None:
    cases = read("batch_shows.json")["cases"]
    full = cases["full_disk"]
    assert full["same_as_with_room"] and full["when_full"]["exit_code"] == 1
    first, second = cases["inputs_that_change"]["first"], cases["inputs_that_change"]["second"]
    assert (first["done"], first["failed"]) == (6, 1) and (second["done"], second["failed"], second["skipped"]) == (1, 1, 5)
    sftp = cases["sftp_with_a_line_that_is_cut"]
    assert sftp["same_as_local"] and not sftp["secret_in_any_text"] and sftp["connections"] > sftp["cuts"]
