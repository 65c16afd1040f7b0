"""The one-page summary of a run: JSON for programs, Markdown and a self-contained HTML page for people."""

from __future__ import annotations

import base64
import html
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from depth_retrofit_ros.evaluation.account import FrameAccount
from depth_retrofit_ros.evaluation.comparison import Score
from depth_retrofit_ros.export import write_text
from depth_retrofit_ros.runtime.statistics import Percentiles

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}"
    "table{border-collapse:collapse;margin:.5em 0 1.5em}td,th{border-bottom:1px solid #ddd;padding:.25em .9em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}h2{margin-bottom:.2em}"
)


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that the page tells.

    facts: name → value, in words. input_hz: of the images, from the first to the last; output_hz: of their depth, from the
    first image to the last answer.
    latency_ms: publication of an image → arrival of its depth, in the order of arrival. stages_ms: the node's own wall times.
    age_ms: node clock at publication − stamp of the image, where the stamps are the present. files: what the folder holds.
    """

    title: str
    facts: Mapping[str, str]
    account: FrameAccount
    input_hz: float
    output_hz: float
    latency_ms: Sequence[float]
    stages_ms: Mapping[str, Sequence[float]]
    age_ms: Sequence[float]
    scores: Sequence[Score]
    files: Mapping[str, str]

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


def write_summary(folder: Path, summary: Summary, pictures: Sequence[Path]) -> None:
    """``summary.json``, ``summary.md`` and ``summary.html`` (with ``pictures``, PNG or JPEG, inside). Raises OutputError."""
    write_text(folder / "summary.json", json.dumps(to_json(summary), indent=2) + "\n")
    write_text(folder / "summary.md", to_markdown(summary, [path.relative_to(folder) for path in pictures]))
    write_text(folder / "summary.html", to_html(summary, pictures))


def to_json(summary: Summary) -> dict[str, Any]:
    """Plain types; NaN becomes null."""
    account = summary.account
    return {
        "title": summary.title,
        "facts": dict(summary.facts),
        "frames": {**asdict(account), "lost": account.lost},
        "input_hz": _number(summary.input_hz),
        "output_hz": _number(summary.output_hz),
        "times_ms": {name: asdict(values) for name, values in summary.times().items()},
        "accuracy": [{key: _number(value) for key, value in asdict(row).items()} for row in summary.scores],
        "files": dict(summary.files),
    }


def to_markdown(summary: Summary, pictures: Sequence[Path]) -> str:
    """The page as Markdown; pictures by relative path."""
    parts = [f"# {summary.title}", ""]
    parts += [f"- {name}: {value}" for name, value in summary.facts.items()]
    parts += ["", *(f"![{path.stem}]({path.as_posix()})\n" for path in pictures)]
    for heading, note, table in _sections(summary):
        parts += [f"## {heading}", "", *([note, ""] if note else [])]
        parts += ["| " + " | ".join(row) + " |" for row in (table[0], ["---", *["---:"] * (len(table[0]) - 1)], *table[1:])]
        parts.append("")
    parts += ["## Files", "", *(f"- `{name}`: {content}" for name, content in summary.files.items()), ""]
    return "\n".join(parts)


def to_html(summary: Summary, pictures: Sequence[Path]) -> str:
    """The page as one HTML file without references to anything outside of it."""
    facts = "".join(f"<tr><td>{html.escape(name)}</td><td>{html.escape(value)}</td></tr>" for name, value in summary.facts.items())
    body = [f"<h1>{html.escape(summary.title)}</h1><table>{facts}</table>"]
    body += [_embedded(path) for path in pictures]
    for heading, note, table in _sections(summary):
        body.append(f"<h2>{html.escape(heading)}</h2>" + (f"<p>{html.escape(note)}</p>" if note else ""))
        rows = "".join(_row(row, "td" if i else "th") for i, row in enumerate(table))
        body.append(f"<table>{rows}</table>")
        if heading == "Latency":
            body.append(_plot(summary.latency_ms))
    files = "".join(f"<li><code>{html.escape(name)}</code>: {html.escape(content)}</li>" for name, content in summary.files.items())
    body.append(f"<h2>Files</h2><ul>{files}</ul>")
    head = f'<meta charset="utf-8"><title>{html.escape(summary.title)}</title><style>{_STYLE}</style>'
    return f"<!doctype html><html><head>{head}</head><body>{''.join(body)}</body></html>\n"


def _sections(summary: Summary) -> list[tuple[str, str, list[list[str]]]]:
    """(heading, note, table with its head) of each part of the page."""
    account = summary.account
    frames = [
        ["played", "answered", "dropped for a newer one", "failed", "lost in transport"],
        [str(n) for n in (account.played, account.answered, account.dropped, account.failed, account.lost)],
    ]
    times = [["", "p50 ms", "p95 ms", "p99 ms", "samples"]]
    times += [[name, *(f"{t:.1f}" for t in (v.p50, v.p95, v.p99)), str(v.count)] for name, v in summary.times().items()]
    rates = f"Images at {summary.input_hz:.2f} Hz, depth at {summary.output_hz:.2f} Hz; {account.line()}."
    sections = [("Frames", rates, frames), ("Latency", "", times)]
    if summary.scores:
        accuracy = [["AbsRel", "as published", "median-scaled", "median-scaled, at depth edges", "images"]]
        accuracy += [
            [row.method, _percent(row.abs_rel), _percent(row.abs_rel_scaled), _percent(row.edge_abs_rel_scaled), str(row.frames)]
            for row in summary.scores
        ]
        sections.append(("Accuracy against the reference depth", "", accuracy))
    return sections


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"


def _plot(latency_ms: Sequence[float]) -> str:
    """Latency over the answers' order, as inline SVG."""
    if len(latency_ms) < 2:
        return ""
    width, height, top = 900, 160, max(latency_ms)
    points = " ".join(
        f"{40 + (width - 50) * i / (len(latency_ms) - 1):.1f},{height - 20 - (height - 40) * value / top:.1f}"
        for i, value in enumerate(latency_ms)
    )
    return (
        f'<svg viewBox="0 0 {width} {height}" width="100%"><polyline points="{points}" fill="none" stroke="#0a6" stroke-width="2"/>'
        f'<line x1="40" y1="{height - 20}" x2="{width - 10}" y2="{height - 20}" stroke="#999"/>'
        f'<text x="0" y="20" font-size="12">{top:.0f} ms</text><text x="0" y="{height - 16}" font-size="12">0</text>'
        f'<text x="{width - 10}" y="{height - 4}" font-size="12" text-anchor="end">answered frames</text></svg>'
    )


def _embedded(path: Path) -> str:
    kind = "jpeg" if path.suffix == ".jpg" else "png"
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<p><img alt="{html.escape(path.stem)}" src="data:image/{kind};base64,{data}"></p>'


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f} %"
