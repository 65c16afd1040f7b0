"""The roofline: operations counted as by hand, times as its formula says, and a prediction that published times agree with."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from depth_retrofit_ros.bench import gpu, roofline
from depth_retrofit_ros.bench.audit import META, Audit, AuditedRetrofit, BlankModel
from depth_retrofit_ros.bench.cost import ATTENTION, Kernel
from depth_retrofit_ros.bench.devices import DEVICES, Device
from depth_retrofit_ros.bench.roofline import Case, as_engine, best_ms, expected_ms, predict
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.coarse.networks.dinov2 import VIT_SMALL, DinoV2
from depth_retrofit_ros.refinement.pixels.decision import OUTPUTS
from depth_retrofit_ros.refinement.pixels.features import IN_CHANNELS
from depth_retrofit_ros.refinement.pixels.network import MIXED, RefinerNet
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
from test.paths import ROOT
from test.scripts import load_script

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton")

# Round numbers: 100 GB/s, 10 TFLOPS in half precision, 1 in float32, 1 MB of cache, 10 us a launch.
ROUND = Device("round", 100.0, 10.0, 1.0, 1.0, 10.0)
COPY = Kernel("copy", 60_000_000, 20_000_000)  # 0.8 ms
PRODUCT = Kernel("mm", 1_000_000, 1_000_000, flops=6_000_000_000, half=True)  # 0.6 ms
EXACT = Kernel("mm", 1_000_000, 1_000_000, flops=300_000_000)  # 0.3 ms
ADDED = Kernel("add", 10_000_000, 10_000_000, fusible=True)  # 0.2 ms
CONSTANT = Kernel("arange", 0, 10_000_000)


@pytest.fixture(scope="module")
def network() -> RefinerNet:
    return load_sparse_refiner(None, torch.device("cpu")).network


def test_operations_of_a_transformer_are_those_counted_by_hand() -> None:
    """DINOv2 ViT-S at 294x518: 12 blocks of width 384 on 21 x 37 patches and a class token."""
    tokens, width = 21 * 37 + 1, 384
    attention = 2 * 2 * tokens * tokens * width
    block = 2 * tokens * width * (3 * width + width + 2 * 4 * width) + attention
    by_hand = 2 * (tokens - 1) * (3 * 14 * 14) * width + 12 * block
    with META:
        vit, image = DinoV2(VIT_SMALL).half(), torch.empty(1, 3, 294, 518, dtype=torch.float16)
    seen = Audit()
    with torch.inference_mode(), seen.watching():
        vit(image)
    assert seen.total.flops == by_hand
    attended = [kernel for kernel in seen.total.kernels if kernel.name == ATTENTION]
    assert len(attended) == 12 and {kernel.flops for kernel in attended} == {attention}
    assert {(kernel.read, kernel.written) for kernel in attended} == {(3 * tokens * width * 2, tokens * width * 2)}
    assert all(kernel.half for kernel in seen.total.kernels if kernel.flops)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        vit(image)
    assert counter.get_total_flops() == by_hand


def test_operations_of_a_convolution_and_what_can_be_fused() -> None:
    seen, image = Audit(), torch.empty(1, 8, 20, 30, device=META)
    with torch.inference_mode(), seen.watching():
        image = torch.nn.functional.conv2d(image, torch.empty(16, 8, 3, 3, device=META), padding=1).relu()
        torch.nn.functional.interpolate(image, scale_factor=2, mode="bilinear").clone()
    convolution, relu, enlarged, copied = seen.total.kernels
    assert (convolution.flops, convolution.half) == (2 * 20 * 30 * 9 * 8 * 16, False)
    assert relu.fusible and copied.fusible and not convolution.fusible and not enlarged.fusible
    assert (enlarged.read, enlarged.written) == (16 * 20 * 30 * 4, 4 * 16 * 20 * 30 * 4), (
        "one kernel, not those it could be made of"
    )


@needs_triton
def test_operations_of_the_sparse_network_are_those_counted_by_hand(network: RefinerNet) -> None:
    """rows x taps x inputs x outputs x 2 of each convolution, in half precision."""
    rows, widths = (round(0.1 * 1440 * 2560), *roofline.ROWS), network.widths
    multiplied = rows[0] * (IN_CHANNELS * MIXED + 9 * MIXED * widths[0] + widths[0] * OUTPUTS)
    for level, (count, width) in enumerate(zip(rows, widths, strict=True)):
        stages = 1 if level == len(widths) - 1 else 2  # of the encoder and the decoder
        multiplied += stages * network.blocks * 2 * count * 9 * width * width
        if level:
            multiplied += 2 * count * 4 * widths[level - 1] * width  # down and up
    seen = AuditedRetrofit(BlankModel((294, 518), (294, 518)), network, 0.1, roofline.ROWS).watch(roofline.SIZE)
    assert seen.stages["refine"].flops == seen.total.flops == 2 * multiplied
    assert all(kernel.half for kernel in seen.total.kernels if kernel.flops)


@pytest.mark.parametrize("name", ["compact", "depth-anything-v2-small", "depth-anything-3-small", "moge-2-small"])
def test_audited_models_are_the_registered_ones(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name.startswith("depth-anything-v2"):
        pytest.importorskip("transformers")
    from depth_retrofit_ros.bench.audited_models import audited_model
    from depth_retrofit_ros.coarse.registry import find_model

    networks: list[torch.nn.Module] = []
    evaluated = torch.nn.Module.eval

    def kept(module: torch.nn.Module) -> torch.nn.Module:
        networks.append(module)
        return evaluated(module)

    monkeypatch.setattr(torch.nn.Module, "eval", kept)
    model = audited_model(name)
    assert model.name == name and model.device == META
    assert sum(parameter.numel() for parameter in networks[-1].parameters()) == find_model(name).parameters
    assert all(parameter.is_meta for parameter in networks[-1].parameters())


@pytest.mark.parametrize("device", DEVICES, ids=lambda device: device.name)
def test_devices_are_sane(device: Device) -> None:
    """Tensor cores are faster than the others, and on all of them a byte costs the time of tens to hundreds of operations."""
    assert 1.5 < device.half_tflops / device.float_tflops < 40
    assert 100 < device.half_tflops * 1e3 / device.bandwidth_gbps < 1000
    assert 1 < device.l2_mb < 100 and 3 < device.launch_us < 20


def test_figures_of_devices_are_dense() -> None:
    """NVIDIA's own, of sparse matrices: 330.3, 1,979, 20 (918 MHz), 85 TFLOPS of FP16 and 2,070 of FP4."""
    found = {device.name: device.half_tflops for device in DEVICES}
    assert found["RTX 4090"] == pytest.approx(330.3 / 2, rel=0.01) and found["H100 SXM"] == pytest.approx(1979 / 2, rel=0.01)
    assert found["AGX Orin 64 GB"] == pytest.approx(85 / 2, rel=0.01) and found["Jetson Thor"] == pytest.approx(2070 / 8, rel=0.01)
    assert found["Orin NX 16 GB"] == pytest.approx(found["AGX Orin 64 GB"] / 2 * 918 / 1300, rel=0.01)


def test_times_are_those_of_the_formula() -> None:
    assert best_ms([COPY, PRODUCT, EXACT], ROUND) == pytest.approx(0.9), "of operations, which take longer than the bytes"
    assert best_ms([COPY, PRODUCT], ROUND) == pytest.approx(0.82)
    assert best_ms(5 * [replace(EXACT, read=500_000, written=400_000, flops=0)], ROUND) == pytest.approx(0.005), "all in the cache"
    assert expected_ms([COPY, PRODUCT, EXACT], ROUND, 7) == pytest.approx(0.07 + 0.8 / 0.8 + 0.6 / 0.6 + 0.3 / 0.6)


def test_an_engine_leaves_out_what_is_fused_or_always_the_same() -> None:
    assert as_engine([ADDED, PRODUCT, CONSTANT, COPY]) == [PRODUCT, COPY]


def test_a_frame_is_the_sum_of_its_stages_and_less_side_by_side() -> None:
    frame = predict({"coarse": [PRODUCT, ADDED], "refine": [COPY], "fuse": [COPY]}, ROUND)
    assert frame.stages["coarse"].expected == pytest.approx(0.02 + 1.0) and frame.stages["refine"].expected == pytest.approx(1.01)
    assert frame.one_at_a_time.expected == pytest.approx(3.04) and frame.refine_share == pytest.approx(1.01 / 3.04)
    assert frame.eager_ms == pytest.approx(3.04 + 0.2 / 0.8)
    assert frame.side_by_side.expected == pytest.approx(1.62 / 0.8), "of the bytes, which both share"
    assert list(frame.fps) == pytest.approx([1e3 / 3.04, 1e3 / frame.side_by_side.expected])


SLOWER: dict[str, Callable[[Device], Device]] = {
    "less bandwidth": lambda device: replace(device, bandwidth_gbps=device.bandwidth_gbps / 2),
    "slower tensor cores": lambda device: replace(device, half_tflops=device.half_tflops / 2),
    "slower cores": lambda device: replace(device, float_tflops=device.float_tflops / 2),
    "no cache": lambda device: replace(device, l2_mb=0.0),
    "a slower host": lambda device: replace(device, launch_us=device.launch_us * 2),
}


@pytest.mark.parametrize("change", SLOWER)
def test_a_lesser_device_is_slower_somewhere_and_faster_nowhere(change: str) -> None:
    alike = {
        "bytes": {"coarse": [COPY], "refine": [COPY]},
        "products": {"coarse": 9 * [PRODUCT], "refine": [COPY]},
        "exact": {"coarse": 9 * [EXACT], "refine": [COPY]},
        "small": {"coarse": 99 * [replace(COPY, read=90_000, written=90_000)], "refine": [EXACT]},
    }
    slower = []
    for stages in alike.values():
        before, after = predict(stages, ROUND), predict(stages, SLOWER[change](ROUND))
        times = [
            (one.one_at_a_time.best, one.one_at_a_time.expected, one.side_by_side.best, one.side_by_side.expected, one.eager_ms)
            for one in (before, after)
        ]
        assert all(then >= now for now, then in zip(*times, strict=True))
        slower.append(times[0] != times[1])
        assert (
            before.one_at_a_time.best <= before.one_at_a_time.expected and before.side_by_side.best <= before.side_by_side.expected
        )
    assert any(slower)


def test_cases_are_each_model_live_and_large() -> None:
    sizes = {(case.model, case.label): case.size.of(*roofline.SIZE) if case.size else None for case in roofline.cases()}
    assert len(sizes) == 7 and sizes["depth-anything-v2-small", "large"] == sizes["depth-anything-3-small", "large"] == (518, 924)
    assert sizes["moge-2-small", "large"] == (630, 1120) and sizes["compact", "live"] is None


@needs_triton
def test_the_command_prints_the_table_and_stores_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the bundled model; the profile beside it has its own test."""
    monkeypatch.setattr(roofline, "cases", lambda: (Case("compact", "live"),))
    monkeypatch.setattr(gpu, "run", lambda profile, progress: {"dry_run": True})
    assert cli.main(["bench", "--gpu", "--dry-run", "--json", str(tmp_path / "out.json")]) == 0
    told: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    assert told["gpu"] == {"dry_run": True}
    found = told["roofline"]
    assert found["what"].startswith("a prediction") and found["size"] == [1440, 2560] and found["budget"] == 0.1
    assert [device["name"] for device in found["devices"]] == [device.name for device in DEVICES]
    (case,) = found["cases"]
    assert (case["model"], case["label"], case["input"]) == ("compact", "live", [144, 256])
    assert list(case["counted"]) == ["coarse", "upsample", "select", "refine", "fuse"]
    assert case["counted"]["coarse"]["engine_launches"] < case["counted"]["coarse"]["launches"]
    assert case["counted"]["refine"]["mb"] > 500 and case["counted"]["refine"]["gflop"] == pytest.approx(26.7, abs=0.1)
    for frame in case["predicted"].values():
        assert {"stages", "one_at_a_time", "side_by_side", "eager_ms", "refine_share", "fps"} == set(frame)
        assert 0 < frame["side_by_side"]["expected"] <= frame["one_at_a_time"]["expected"] <= frame["eager_ms"]
    shown = capsys.readouterr().out
    assert "Predicted, not measured" in shown and "refine 60 / 710 / 26.7" in shown
    (row,) = (line for line in shown.splitlines() if line.split()[:2] == ["Orin", "NX"])
    assert f"{case['predicted']['Orin NX 16 GB']['refine_share']:.0%}" in row


def test_without_triton_a_dry_run_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(roofline, "has_kernels", lambda device: False)
    monkeypatch.setattr(gpu, "run", lambda profile, progress: {"dry_run": True})
    assert cli.main(["bench", "--gpu", "--dry-run", "--json", str(tmp_path / "out.json")]) == 0
    assert json.loads((tmp_path / "out.json").read_text()) == {"gpu": {"dry_run": True}}
    assert "pip install triton" in capsys.readouterr().out


def test_published_times_agree_with_what_is_predicted() -> None:
    """Within 30 % for a desktop's GPU and for TensorRT 10 on an Orin; that 8.5 on the smallest Orin is slower is no secret."""
    script: Any = load_script(ROOT / "benchmarks" / "roofline.py")
    stored = json.loads((ROOT / "benchmarks" / "results" / "roofline.json").read_text())["published"]
    assert len(stored) == len(script.PUBLISHED)
    anew = script.rounded(script.compared(script.PUBLISHED[0]))
    assert anew == stored[0] and anew["gflop"] > 100
    assert all(row["best_ms"] < row["ms"] for row in stored), "nothing is faster than the best"
    recent = [row["ratio"] for row in stored if row["device"] != script.NANO.name]
    assert len(recent) == 8 and all(0.7 < ratio < 1.3 for ratio in recent)
    assert all(row["ratio"] > 2 for row in stored if row["device"] == script.NANO.name)


def test_the_document_says_what_was_stored() -> None:
    rows = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8").splitlines()
    stored = json.loads((ROOT / "benchmarks" / "results" / "roofline.json").read_text())
    for case in stored["cases"]:
        name = f"| `{case['model']}` {case['input'][1]}×{case['input'][0]} | "
        coarse, *others = case["counted"].values()
        columns = [*_columns(coarse), *_columns({key: sum(one[key] for one in others) for key in others[0]})]
        assert name + " | ".join(columns) + " |" in rows
        frames = [(frame["one_at_a_time"], frame["refine_share"]) for frame in case["predicted"].values()]
        cells = [f"**{time['expected']:.1f}** ({time['best']:.1f}), {100 * share:.0f} %" for time, share in frames]
        assert name + " | ".join(cells) + " |" in rows
    for row in stored["published"]:
        figures = f"| {row['ms']:g} | {row['expected_ms']:.1f} ({row['best_ms']:.1f}) | {row['ratio']:.2f} |"
        assert [line for line in rows if f"{row['device']} [" in line and f"{row['side']}×" in line and line.endswith(figures)]


def test_the_document_says_what_was_measured() -> None:
    text = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    stored = json.loads((ROOT / "benchmarks" / "results" / "bench_gpu.json").read_text())["gpu"]
    cases = json.loads((ROOT / "benchmarks" / "results" / "roofline.json").read_text())["cases"]
    live = {case["model"]: case["predicted"]["H100 SXM"] for case in cases if case["label"] == "live"}
    predicted = [live[name] for name in ("compact", "depth-anything-v2-small")]
    plain, graphed = stored["models"][::2], stored["models"][1::2]
    assert [m["cuda_graphs"] for m in stored["models"]] == [False, True] * 2

    def row(name: str, made: Callable[[Any], str], told: Callable[[Any], str]) -> str:
        cells = [cell for a, b, c in zip(plain, graphed, predicted, strict=True) for cell in (made(a), made(b), told(c))]
        return f"| {name} | " + " | ".join(cells) + " |"

    lines = text.replace("**", "").splitlines()
    one = "one_at_a_time"
    assert row("a frame, ms", lambda m: f"{m[one]['ms_p50']:.1f}", lambda p: f"{p[one]['expected']:.1f}") in lines
    assert row("frames per second, two in work", lambda m: f"{m['side_by_side_fps']:.0f}", lambda p: f"{p['fps'][1]:.0f}") in lines
    assert row("memory, GB", lambda m: f"{m['peak_mb'] / 1e3:.2f}", lambda p: "") in lines
    ratios: dict[str, list[float]] = {"select": [], "refine": []}
    for stage in ("coarse", "upsample", "select", "refine", "fuse"):
        wanted = row(
            f"– {stage}",
            lambda m, s=stage: f"{m['stages'][s]['ms_p50']:.2f}",  # type: ignore[misc]
            lambda p, s=stage: f"{p['stages'][s]['expected']:.2f}",  # type: ignore[misc]
        )
        assert wanted in lines
        for made, told in zip(graphed, predicted, strict=True):
            ratios.setdefault(stage, []).append(made["stages"][stage]["ms_p50"] / told["stages"][stage]["expected"])
    assert "*Select* takes {:.0f} to {:.0f} times".format(*ratios["select"]) in text
    assert "*refine* {:.1f} to {:.1f} times".format(*ratios["refine"]) in text
    faster = sorted(a[one]["ms_p50"] / b[one]["ms_p50"] for a, b in zip(plain, graphed, strict=True))
    assert "a frame {:.1f} to {:.1f} times as fast".format(*faster) in text
    sparse, dense = (stored["refiner"][name]["ms_p50"] for name in ("sparse", "dense_masked"))
    assert f"takes {sparse:.1f} ms" in text and f"masked {dense:.1f}: it is {stored['refiner']['ratio']:.1f} times as fast" in text
    performance = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert f"An H200 takes {graphed[0][one]['ms_p50']:.1f} ms" in performance
    assert f"answers {graphed[0]['side_by_side_fps']:.0f} a second" in performance


def _columns(counted: dict[str, float]) -> list[str]:
    return [f"{counted['launches']:,}", f"{counted['mb']:,.0f}", f"{counted['gflop']:,.1f}"]
