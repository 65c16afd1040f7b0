"""What ``auto`` takes: what was measured to be the fastest of what is installed, and nothing that does not hold."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import replace
from typing import Any

import pytest
import torch

from depth_retrofit_ros.coarse.engines import choice
from depth_retrofit_ros.coarse.engines.assign import EAGER
from depth_retrofit_ros.coarse.engines.choice import ON_A_CPU, Measured, choose, usual_precision
from depth_retrofit_ros.coarse.engines.registry import ENGINES
from test.paths import ROOT

HALF, WHOLE, OTHER = (
    Measured("openvino", "bfloat16", 6.0),
    Measured("openvino", "float32", 4.0),
    Measured("onnxruntime", "float32", 2.0),
)
CASES = {"compact": "compact", "meter": "meter-nyu", "depth_anything": "depth-anything-v2-small"}
LEAST_OVERLAP = 0.95


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A processor with bfloat16 on which everything is installed; and a family of models."""
    monkeypatch.setattr(choice, "ON_A_CPU", {"family": (HALF, WHOLE, OTHER)})
    monkeypatch.setattr(choice, "has_bfloat16", lambda: True)
    monkeypatch.setattr(choice, "missing_packages", lambda info: ())
    return monkeypatch


def without(monkeypatch: pytest.MonkeyPatch, *engines: str) -> None:
    monkeypatch.setattr(choice, "missing_packages", lambda info: ("it",) if info in [ENGINES[name] for name in engines] else ())


def test_the_fastest_is_taken(machine: pytest.MonkeyPatch) -> None:
    chosen = choose("family", "cpu", None)
    assert chosen == choice.Choice(HALF)
    assert chosen.line("m") == "coarse engine auto: m by openvino in bfloat16 (6.0 times as fast as eager)"


def test_without_bfloat16_it_is_the_fastest_in_float32(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(choice, "has_bfloat16", lambda: False)
    assert choose("family", "cpu", None) == choice.Choice(WHOLE)


def test_what_is_not_installed_is_passed_over_and_told(machine: pytest.MonkeyPatch) -> None:
    without(machine, "openvino")
    chosen = choose("family", "cpu", None)
    assert chosen == choice.Choice(OTHER, HALF)
    assert chosen.line("m") == (
        "coarse engine auto: m by onnxruntime in float32 (2.0 times as fast as eager); faster (6.0 times): "
        "openvino: pip install 'depth_retrofit_ros[openvino]'"
    )
    without(machine, "openvino", "onnxruntime")
    assert choose("family", "cpu", None) == choice.Choice(None, HALF)
    assert choose("family", "cpu", None).line("m").startswith("coarse engine auto: m by eager; faster (6.0 times): openvino: ")


def test_a_precision_that_is_named_is_kept(machine: pytest.MonkeyPatch) -> None:
    assert choose("family", "cpu", torch.float32) == choice.Choice(WHOLE)
    assert choose("family", "cpu", torch.float16) == choice.Choice(None)


def test_what_does_not_surely_hold_must_be_named(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(choice, "ON_A_CPU", {"family": (replace(HALF, only_named=True), WHOLE)})
    assert choose("family", "cpu", None) == choice.Choice(WHOLE)
    assert usual_precision("family", "openvino", "cpu") == torch.float32
    chosen = choose("family", "cpu", torch.bfloat16).measured
    assert chosen is not None and chosen.precision == "bfloat16"


def test_what_was_not_measured_stays_eager(machine: pytest.MonkeyPatch) -> None:
    assert choose("another", "cpu", None) == choose("family", "cuda", None) == choice.Choice(None)
    assert choose("another", "cpu", None).line("m") == "coarse engine auto: m by eager"


def test_an_engine_that_is_named_has_the_measured_precision(machine: pytest.MonkeyPatch) -> None:
    assert usual_precision("family", "openvino", "cpu") == torch.bfloat16
    assert usual_precision("family", "onnxruntime", "cpu") == torch.float32
    assert usual_precision("family", "inductor", "cpu") is usual_precision("family", "openvino", "cuda") is None
    machine.setattr(choice, "has_bfloat16", lambda: False)
    assert usual_precision("family", "openvino", "cpu") == torch.float32


@pytest.fixture(scope="module")
def stored() -> dict[str, Any]:
    """What was measured: by model and input, by engine and precision."""
    text = (ROOT / "benchmarks" / "results" / "coarse_engines.json").read_text(encoding="utf-8")
    return dict(json.loads(text)["cases"])


@pytest.mark.parametrize("family", CASES)
def test_the_table_is_what_was_measured(stored: dict[str, Any], family: str) -> None:
    """In the order of speed, the default at least half as fast again as eager, and within the limits that the documents state."""
    rows = ON_A_CPU[family]
    assert next(row for row in rows if not row.only_named).ratio >= 1.5
    assert [row.ratio for row in rows] == sorted((row.ratio for row in rows), reverse=True)
    for row in rows:
        measured = [stored[case]["engines"][f"{row.engine} {row.precision}"] for case in stored if case.startswith(CASES[family])]
        assert row.ratio == pytest.approx(min(entry["ratio_cpu"] for entry in measured), abs=0.06)
        assert row.ratio > 1.1 and row.engine != EAGER
        assert row.only_named or all(entry["selection_overlap"] >= LEAST_OVERLAP for entry in measured)


def test_nothing_that_was_measured_to_hold_in_float32_is_left_out(stored: dict[str, Any]) -> None:
    assert set(ON_A_CPU) == set(CASES)
    assert all(any(case.startswith(model) for case in stored) for model in CASES.values())
    for case, measured in stored.items():
        (family,) = [family for family, model in CASES.items() if case.startswith(model)]
        faster = {name for name, entry in measured["engines"].items() if name.endswith(" float32") and entry["ratio_cpu"] > 1.1}
        assert faster == {f"{row.engine} {row.precision}" for row in ON_A_CPU[family] if row.precision == "float32"}


def test_the_document_has_the_figures_that_were_measured(stored: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "coarse-engines.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.*?) \| `(\w+)` (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.e+-]+) \| ([\d.]+) % \|$", text, re.MULTILINE)
    cases = iter(stored.values())
    told: dict[str, Any] = {}
    for model, engine, precision, cpu_ms, ratio, largest, overlap in rows:
        told = next(cases)["engines"] if model.strip() else told
        entry = told[f"{engine} {precision}"]
        assert float(cpu_ms) == entry["cpu_ms_p50"] and float(largest) == pytest.approx(entry["largest"], rel=0.05)
        assert float(ratio) == round(entry["ratio_cpu"], 1) and float(overlap) == pytest.approx(
            100 * entry["selection_overlap"], abs=0.06
        )
    assert next(cases, None) is None and len(rows) >= 3 * len(stored)


def test_the_document_has_the_figures_of_two_threads() -> None:
    stored = json.loads((ROOT / "benchmarks" / "results" / "coarse_engines_2_threads.json").read_text(encoding="utf-8"))["cases"]
    text = (ROOT / "docs" / "coarse-engines.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| (.*?) \| ([\d.]+) \| ([\d.]+ \([\d.]+\)) \| ([\d.]+ \([\d.]+\)) \| ([\d.]+ \([\d.]+\)) \|$", text, re.MULTILINE
    )
    assert len(rows) == len(stored)
    for (_, eager_ms, *others), case in zip(rows, stored.values(), strict=True):
        engines = case["engines"]
        assert eager_ms == rounded(engines["eager float32"]["ms_p50"])
        for told, name in zip(others, ("onnxruntime float32", "openvino float32", "openvino bfloat16"), strict=True):
            assert told == f"{rounded(engines[name]['ms_p50'])} ({engines[name]['ratio_p50']:.1f})"


def rounded(ms: float) -> str:
    """As the document has it."""
    return f"{ms:.1f}" if ms < 100 else f"{ms:.0f}"


def test_the_environment_can_name_what_auto_takes(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    from depth_retrofit_ros.coarse.engines.assign import engine_of
    from depth_retrofit_ros.coarse.registry import load_coarse

    monkeypatch.setattr(choice, "ON_A_CPU", {"compact": (OTHER,)})
    monkeypatch.setattr(choice, "missing_packages", lambda info: ())
    with caplog.at_level(logging.INFO):
        assert engine_of(load_coarse("compact", weights=None, device="cpu", engine="auto")) == "onnxruntime float32"
        assert "compact by onnxruntime in float32" in caplog.text
        monkeypatch.setenv(choice.ENGINE_VARIABLE, EAGER)
        assert engine_of(load_coarse("compact", weights=None, device="cpu", engine="auto")) == EAGER
    assert engine_of(load_coarse("compact", weights=None, device="cpu")) == EAGER
