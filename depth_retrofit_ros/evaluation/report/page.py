"""The evaluation as one HTML file: tables, and pictures that a click enlarges. No scripts, nothing to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np

from depth_retrofit_ros.evaluation.evaluator import Evaluated
from depth_retrofit_ros.evaluation.oracles import ORACLES
from depth_retrofit_ros.evaluation.report.pictures import Crop, edge_crops, overviews
from depth_retrofit_ros.evaluation.report.results import CLASS_METHODS, Entry
from depth_retrofit_ros.evaluation.report.zoomable import NOTE as ZOOM_NOTE
from depth_retrofit_ros.evaluation.report.zoomable import STYLE as ZOOM_STYLE
from depth_retrofit_ros.evaluation.report.zoomable import Gallery

OVERVIEW_PX, CROP_PX = 350, 230  # four and six in a row
ENLARGED_PX = 1280  # 0.6 MB an image, about
COLUMNS = {  # metric: (heading, whether more is better)
    "edge_abs_rel": ("AbsRel at edges", False),
    "flat_abs_rel": ("AbsRel elsewhere", False),
    "see": ("SEE [m]", False),
    "boundary_f1": ("boundary F1", True),
    "abs_rel": ("AbsRel", False),
    "rmse": ("RMSE [m]", False),
    "silog": ("SILog", False),
    "delta1": ("δ1", True),
    "ms": ("ms", False),
}
PER_IMAGE = ("edge_abs_rel", "flat_abs_rel", "see", "boundary_f1")
STYLE = (
    ZOOM_STYLE
    + """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 1500px; padding: 0 1em; color: #222 }
table { border-collapse: collapse; margin: .6em 0 1.4em }
th, td { padding: .25em .7em; border-bottom: 1px solid #ddd; text-align: right }
th:first-child, td:first-child { text-align: left } th { font-weight: 600 } td.best { font-weight: 700 }
figure { display: inline-block; margin: 0 .5em .7em 0; vertical-align: top } figcaption { font-size: 13px; color: #555 }
img { display: block; max-width: 100% } h2 { margin-top: 2em; border-top: 1px solid #ccc; padding-top: .6em } .note { color: #555 }
"""
)


def pictures_of(result: Evaluated, number: int) -> str:
    """The pictures of one image, encoded; number: another one of each image of a page."""
    gallery = Gallery(f"pictures-{number}")
    shown = overviews(result).items()
    figures = [gallery.photo(title, picture, OVERVIEW_PX, ENLARGED_PX, 80) for title, picture in shown]
    crops = [_crop_row(title, crop, gallery) for title, crop in edge_crops(result).items()]
    return gallery.html("\n".join(figures + crops))


class Report:
    """Collects images one after the other, keeping only their encoded pictures."""

    def __init__(self) -> None:
        self._pictures: dict[str, str] = {}

    def add(self, name: str, pictures: str) -> None:
        """Of an image of this name, see ``pictures_of``."""
        self._pictures[name] = pictures

    def html(self, document: Entry) -> str:
        """The page for the document of ``results.summarize``, with the pictures of the images that were added."""
        summary, images = document["summary"], document["images"]
        parts = [
            f"<h1>{escape(summary['model'])}: depth of {len(images)} image{'s' * (len(images) != 1)}</h1>",
            _facts(summary),
            "<h2>All images</h2>",
            _method_table(summary["methods"]),
            _notes(summary["notes"]),
            _coverage_table(summary),
            _class_table(summary["classes"]),
            "<h2>Each image, bilinear → refined</h2>",
            _image_table(images),
            f'<p class="note">{ZOOM_NOTE}</p>',
            *(self._section(entry) for entry in images),
        ]
        title = f"{escape(summary['model'])}: depth evaluation"
        head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
        body = "\n".join(parts)
        return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n{body}\n</body></html>\n'

    def _section(self, entry: Entry) -> str:
        pictures = self._pictures.get(entry["name"], "")
        return (
            f'<h2 id="{escape(entry["name"], quote=True)}">{escape(entry["name"])}</h2>\n{pictures}\n'
            f"<details><summary>all figures</summary>{_method_table(entry['methods'])}</details>"
        )


def _facts(summary: Entry) -> str:
    low, high = summary["valid_m"]
    return (
        f'<p class="note">Budget {summary["budget"]:.3g} of the pixels; alignment: {escape(summary["align"])}; device: '
        f"{escape(summary['device'])}; true depths from {low:g} m{'' if high is None else f' to {high:g} m'}. "
        "Every overall figure is the mean over the images. Bold: best. The metrics are defined in docs/evaluation.md.</p>"
    )


def _method_table(methods: Mapping[str, Entry | None]) -> str:
    competing = [figures for name, figures in methods.items() if figures is not None and name not in ORACLES]
    best = {metric: _best(competing, metric) for metric in COLUMNS}
    rows = ["<tr><th>method</th>" + "".join(f"<th>{escape(heading)}</th>" for heading, _ in COLUMNS.values()) + "</tr>"]
    for name, figures in methods.items():
        marks = {} if name in ORACLES else best
        cells = [_cell(None if figures is None else figures[metric], marks.get(metric)) for metric in COLUMNS]
        rows.append(f"<tr><td>{escape(name)}</td>{''.join(cells)}</tr>")
    return f"<table>{''.join(rows)}</table>"


def _best(methods: Sequence[Entry], metric: str) -> float | None:
    values = [m[metric] for m in methods if m[metric] is not None]
    if metric == "ms" or not values:
        return None
    return float(max(values) if COLUMNS[metric][1] else min(values))


def _cell(value: float | None, best: float | None) -> str:
    mark = ' class="best"' if value is not None and value == best else ""
    return f"<td{mark}>{_number(value)}</td>"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _notes(notes: Mapping[str, str]) -> str:
    return "".join(f'<p class="note">{escape(name)}: {escape(text)}</p>' for name, text in notes.items())


def _coverage_table(summary: Entry) -> str:
    heads = "".join(f"<th>{float(budget):.0%}</th>" for budget in summary["coverage"])
    cells = "".join(f"<td>{'–' if share is None else f'{share:.1%}'}</td>" for share in summary["coverage"].values())
    wanted = summary["high_error_share"]
    note = "" if wanted is None else f" They are {wanted:.1%} of the pixels whose depth is known."
    return (
        f"<table><tr><th>budget</th>{heads}</tr><tr><td>high-error pixels covered by the selection</td>{cells}</tr></table>"
        f'<p class="note">High-error pixels are off by more than 10 % beyond the error of their surface.{note}</p>'
    )


def _class_table(classes: Entry) -> str:
    shown = [name for name in CLASS_METHODS if name in classes["thin"]["log_error"]]
    rows = [f"<tr><th>pixels</th><th>share</th><th>selected</th>{''.join(f'<th>{name}</th>' for name in shown)}</tr>"]
    for name, row in classes.items():
        shares = "".join(f"<td>{'–' if row[key] is None else f'{row[key]:.1%}'}</td>" for key in ("share", "selected"))
        errors = "".join(f"<td>{_number(row['log_error'][method])}</td>" for method in shown)
        rows.append(f"<tr><td>{escape(name.replace('_', ' '))}</td>{shares}{errors}</tr>")
    note = "Mean |ln depth − ln truth| by class of pixels; thin things and gaps are narrower than two pixels of the coarse map."
    return f'<table>{"".join(rows)}</table><p class="note">{note}</p>'


def _image_table(images: Sequence[Entry]) -> str:
    heads = "".join(f"<th>{escape(COLUMNS[metric][0])}</th>" for metric in PER_IMAGE)
    rows = [f"<tr><th>image</th>{heads}<th>covered at 10 %</th><th>refined ms</th></tr>"]
    for entry in images:
        before, after = entry["methods"]["bilinear"], entry["methods"]["refined"]
        cells = "".join(f"<td>{_number(before[m])} → {_number(after[m])}</td>" for m in PER_IMAGE)
        covered = entry["coverage"]["0.1"]
        name = escape(entry["name"], quote=True)
        rows.append(
            f'<tr><td><a href="#{name}">{name}</a></td>{cells}<td>{"–" if covered is None else f"{covered:.1%}"}</td>'
            f"<td>{'–' if after['ms'] is None else format(after['ms'], '.0f')}</td></tr>"
        )
    return f"<table>{''.join(rows)}</table>"


def _crop_row(title: str, crop: Crop, gallery: Gallery) -> str:
    explanation = {"best": "edges that refinement improved most", "worst": "edges with the largest error after refinement"}[title]
    head = (
        f"<p><b>{title}</b>: {explanation}, {crop.side} px around ({crop.x + crop.side // 2}, {crop.y + crop.side // 2}); "
        f"mean error there {np.expm1(crop.before):.1%} → {np.expm1(crop.after):.1%}</p>"
    )
    return head + "".join(gallery.pixels(name, picture, CROP_PX) for name, picture in crop.pictures.items())
