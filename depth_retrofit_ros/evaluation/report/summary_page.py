"""The summary of a run as a page: Markdown, and HTML that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from depth_retrofit_ros.evaluation.report.lead import STYLE as LEAD_STYLE
from depth_retrofit_ros.evaluation.report.lead import Lead
from depth_retrofit_ros.evaluation.report.page import COLUMNS, STYLE
from depth_retrofit_ros.evaluation.report.plots import Line, plot, rate
from depth_retrofit_ros.evaluation.report.results import Entry
from depth_retrofit_ros.evaluation.report.summary import Summary, to_json
from depth_retrofit_ros.evaluation.report.zoomable import NOTE as ZOOM_NOTE
from depth_retrofit_ros.evaluation.report.zoomable import Gallery
from depth_retrofit_ros.io.depth_files import write_text

ACCURACY = {name: heading for name, (heading, _) in COLUMNS.items() if name != "ms"} | {"unaligned_abs_rel": "AbsRel, not aligned"}
FLICKER = {"static": "static pixels", "static_and_refined": "static pixels that were refined"}


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: heading, a line of text, a table with its head, plots (SVG)."""

    heading: str
    note: str
    table: Sequence[Sequence[str]]
    plots: Sequence[str] = ()


def write_summary(folder: Path, summary: Summary, pictures: Mapping[Path, str], lead: Lead | None = None) -> None:
    """``summary.json``, ``summary.md`` and ``summary.html`` with pictures (PNG or JPEG in the folder → caption) inside.

    lead: what the pages begin with; its pictures are not shown again. Raises OutputError.
    """
    if lead is not None:
        pictures = {path: text for path, text in pictures.items() if path != lead.comparison}
    relative = {path.relative_to(folder): text for path, text in pictures.items()}
    write_text(folder / "summary.json", to_json(summary))
    write_text(folder / "summary.md", to_markdown(summary, relative, () if lead is None else lead.markdown(folder)))
    write_text(folder / "summary.html", to_html(summary, pictures, "" if lead is None else lead.html()))


def to_markdown(summary: Summary, pictures: Mapping[Path, str], lead: Sequence[str] = ()) -> str:
    """Pictures by relative path; without the plots. lead: lines that come first."""
    parts = [f"# {summary.title}", "", *lead]
    parts += [f"- {name}: {value}" for name, value in {**summary.facts, **summary.circumstances}.items()]
    parts += ["", *(f"![{text}]({path.as_posix()})\n" for path, text in pictures.items())]
    for section in _sections(summary):
        parts += [f"## {section.heading}", "", *([section.note, ""] if section.note else [])]
        head, *rows = section.table
        parts += ["| " + " | ".join(row) + " |" for row in (head, ["---", *["---:"] * (len(head) - 1)], *rows)]
        parts.append("")
    parts += ["## Files", "", *(f"- `{name}`: {content}" for name, content in summary.files.items()), ""]
    return "\n".join(parts)


def to_html(summary: Summary, pictures: Mapping[Path, str], lead: str = "") -> str:
    """One file without references to anything outside of it. lead: a fragment that comes first."""
    facts = {**summary.facts, **summary.circumstances}
    told = "".join(f'<tr><td>{escape(name)}</td><td class="text">{escape(value)}</td></tr>' for name, value in facts.items())
    body = [f"<h1>{escape(summary.title)}</h1>{lead}", *(["<h2>The run</h2>"] if lead else []), f"<table>{told}</table>"]
    for section in _sections(summary):
        body.append(f"<h2>{escape(section.heading)}</h2>" + (f"<p>{escape(section.note)}</p>" if section.note else ""))
        body.append(f"<table>{''.join(_row(row, 'td' if i else 'th') for i, row in enumerate(section.table))}</table>")
        body += section.plots
    if pictures:
        body.append("<h2>Pictures</h2>")
        gallery = Gallery("pictures")
        shown = "".join(gallery.file(text, path) for path, text in pictures.items())
        body.append(f'<p class="note">{ZOOM_NOTE}</p>{gallery.html(shown)}')
    files = "".join(f"<li><code>{escape(name)}</code>: {escape(content)}</li>" for name, content in summary.files.items())
    body.append(f"<h2>Files</h2><ul>{files}</ul>")
    style = f"{STYLE}{LEAD_STYLE if lead else ''} td.text {{ text-align: left }}"
    head = f'<meta charset="utf-8"><title>{escape(summary.title)}</title><style>{style}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _sections(summary: Summary) -> list[Section]:
    sections = [_frames(summary), _latency(summary)]
    if summary.accuracy is not None:
        sections.append(_accuracy(summary.accuracy))
    if summary.flicker is not None:
        sections.append(_flicker(summary.flicker))
    return sections


def _frames(summary: Summary) -> Section:
    delivery = summary.delivery
    table = [
        ["played", "answered", "dropped for a newer one", "failed", "lost in transport"],
        [str(n) for n in (delivery.played, delivery.answered, delivery.dropped, delivery.failed, delivery.lost)],
    ]
    if summary.mode == "every-frame":
        return Section("Frames", "Each image waited for the one before it, so none was dropped.", table)
    note = f"Images at {summary.input_hz:.2f} Hz, depth at {summary.output_hz:.2f} Hz; {delivery.line()}."
    end_s = max((*summary.images_s, *summary.answers_s), default=0.0)
    if end_s == 0.0:
        return Section("Frames", note, table)
    lines = {"images": rate(summary.images_s, end_s), "depth": rate(summary.answers_s, end_s)}
    drawn = plot([Line(name, line.x, line.y) for name, line in lines.items()], "seconds since the first image", "rate [Hz]")
    return Section("Frames", note, table, [drawn])


def _latency(summary: Summary) -> Section:
    table = [["", "p50 ms", "p95 ms", "p99 ms", "samples"]]
    table += [[name, *(f"{t:.1f}" for t in (v.p50, v.p95, v.p99)), str(v.count)] for name, v in summary.times().items()]
    line = Line("image published → depth received", summary.answers_s, summary.latency_ms)
    return Section("Latency", "", table, [plot([line], "arrival of the depth, seconds since the first image", "latency [ms]")])


def _accuracy(accuracy: Entry) -> Section:
    table = [["method", *ACCURACY.values()]]
    table += [[name, *(_number(figures[metric]) for metric in ACCURACY)] for name, figures in accuracy["methods"].items()]
    frames = accuracy["frames"]
    scales = sorted(entry["alignment"]["scale"] for entry in frames)
    note = (
        f"Means over {accuracy['evaluated']} frames; {accuracy['unmatched'] or 'no'} images had no reference near their stamp. "
        f"Alignment: {accuracy['align']}, scale {scales[0]:.3g} … {scales[-1]:.3g}. The reference knows "
        f"{accuracy['known_share']:.1%} of the pixels; {accuracy['edge_share']:.1%} of these are at edges of which it knows both "
        "sides. Metrics: docs/evaluation.md."
    )
    names = [name for name in accuracy["methods"] if name != "nearest"]
    plots = [
        plot([_over_frames(frames, name, metric) for name in names], "evaluated frame", ACCURACY[metric], x_from=1)
        for metric in ("abs_rel", "edge_abs_rel")
    ]
    return Section("Accuracy against the reference depth", note, table, plots)


def _over_frames(frames: Sequence[Entry], method: str, metric: str) -> Line:
    values = [entry["methods"][method][metric] for entry in frames]
    return Line(method, list(range(1, len(values) + 1)), [float("nan") if value is None else value for value in values])


def _flicker(flicker: Entry) -> Section:
    counted, pairs = flicker["pairs_with_static_pixels"], flicker["pairs"]
    note = (
        f"|Δ ln depth| of pixels that did not change from one frame to the next; {counted} of {pairs} pairs of frames have enough."
    )
    if counted:
        note += f" In these, {flicker['static_share']:.1%} of the pixels are static."
    table = [["over", "method", "median", "95th percentile", "drift"]]
    for key, heading in FLICKER.items():
        table += [
            [heading, name, *(_number(row[figure]) for figure in ("median", "p95", "drift"))] for name, row in flicker[key].items()
        ]
    return Section("Flicker", note, table)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _row(cells: Sequence[str], tag: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"
