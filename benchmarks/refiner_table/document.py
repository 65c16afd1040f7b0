"""The tables of docs/refiners.md, made of the stored figures; each stands between ``<!-- NAME -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from depth_retrofit_ros.evaluation.report.nulls import weighted_mean
from depth_retrofit_ros.evaluation.report.results import Entry
from refiner_table.accuracy import FIGURES, Figures

ROWS = {
    "bilinear": "bilinear",
    "guided": "guided filter",
    "jbu": "joint bilateral",
    "base": "none: the upsampling that all start from",
}
ORACLES = {"attainable": "*true edges at the coarse map's depths*", "oracle": "*true depth at the selected pixels*"}
ACCURACY = {  # figure: heading, format
    "edge_abs_rel": ("AbsRel at edges ↓", ".4f"),
    "flat_abs_rel": ("elsewhere ↓", ".4f"),
    "see": ("SEE [m] ↓", ".3f"),
    "boundary_f1": ("F1 ↑", ".3f"),
    "dbe_accuracy": ("DBE accuracy [px] ↓", ".2f"),
    "dbe_completeness": ("completeness [px] ↓", ".1f"),
}
SEAMS = ("overlap_together", "overlap_alone", "change", "abs_rel_together", "abs_rel_alone")
HEADLINE = ["seams: overlapping tiles [10⁻³] ↓", "CE there − beside [10⁻³] ↓"]
COUNTED = "`sparse`: its kernels, half precision; others: eager float32"
GPUS = ("RTX 4090", "Orin NX 16 GB")
NONE = "–"
_TABLE = re.compile(r"(<!-- (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str, stored: Entry, ablations: Sequence[Entry]) -> str:
    """The document with each of its tables made anew. Raises KeyError for a name that no table has."""
    made: dict[str, Callable[[], Iterator[str]]] = {
        "main": lambda: main_table(stored),
        "sets": lambda: sets_table(stored),
        "seams": lambda: seams_table(stored),
        "normals": lambda: normals_table(stored),
        "memory": lambda: memory_table(stored),
        "predicted": lambda: predicted_table(stored),
        "ablations": lambda: ablations_table(ablations),
    }
    return _TABLE.sub(lambda found: found[1] + "".join(f"{line}\n" for line in made[found[2]]()) + found[3], text)


def overall(by_set: Mapping[str, Entry], method: str) -> Figures:
    """Means over all frames of all sets, but those that it cannot be measured on."""
    out: Figures = {}
    for figure in FIGURES:
        out[figure] = _mean([(entry, entry[method][figure]) for entry in by_set.values() if method in entry])
    return out


def overall_seams(by_set: Mapping[str, Entry]) -> Figures:
    """Means over all frames of what tiles say, of a refiner that sees any; the most that their order changes."""
    rows = [entry for entry in by_set.values() if "overlap_together" in entry]
    out: Figures = {key: _mean([(row, row[key]) for row in rows]) for key in SEAMS}
    return out | {"order": max((row["order"] for row in rows), default=None)}


def _mean(rows: Sequence[tuple[Entry, float | None]]) -> float | None:
    """Of sets' figures, each by how many frames it has; of those that are not None."""
    return weighted_mean([value for _, value in rows], [len(entry["of"]["frames"]) for entry, _ in rows])


def main_table(stored: Entry) -> Iterator[str]:
    """Everything, overall."""
    costs = [
        *HEADLINE,
        "flicker [10⁻³] ↓",
        "ms, whole method ↓",
        "4K: peak MB ↓",
        f"{GPUS[0]}: refinement, ms, predicted ({COUNTED})",
    ]
    yield from _head([_counts(stored["baselines"]), *(heading for heading, _ in ACCURACY.values()), *costs])
    flickers = [entry["flicker"]["bilinear"]["median"] for entry in stored["refiners"].values() if "flicker" in entry]
    for method, name in ROWS.items():
        if not stored["baselines"]:
            break
        figures, cost = overall(stored["baselines"], method), stored["upsampling"].get(method, {})
        still = _times(1e3, flickers[0]) if flickers and method == "bilinear" else None
        yield _line([name, *_accuracy(figures), NONE, *_shown([_seam(figures), still], ".2f"), *_costs(cost)])
    for name, entry in stored["refiners"].items():
        yield _line(
            [
                _label(name, entry),
                *_accuracy(overall(entry["accuracy"], "refined")),
                *_shown(_consistency(entry), ".2f"),
                *_costs(entry),
            ]
        )
    for method, name in ORACLES.items():
        if stored["baselines"]:
            figures = overall(stored["baselines"], method)
            yield _line([name, *_accuracy(figures), NONE, *_shown([_seam(figures), None], ".2f"), *_costs({})])


def sets_table(stored: Entry) -> Iterator[str]:
    """AbsRel at edges, elsewhere and F1, by set."""
    names = list(stored["baselines"])
    yield from _head(
        ["AbsRel at edges, elsewhere / F1", *(f"{name} ({len(stored['baselines'][name]['of']['frames'])})" for name in names)]
    )

    def of_methods(methods: Mapping[str, str]) -> Iterator[str]:
        for method, label in methods.items():
            yield _line([label, *(_short(stored["baselines"][name][method]) for name in names)])

    yield from of_methods(ROWS)
    for refiner, entry in stored["refiners"].items():
        found = (entry["accuracy"].get(name, {}).get("refined") for name in names)
        cells = [NONE if figures is None else _short(figures) for figures in found]
        yield _line([f"**{refiner}**", *cells])
    yield from of_methods(ORACLES)


def seams_table(stored: Entry) -> Iterator[str]:
    """What tiles say is there of refiners of tiles alone."""
    yield from _head(
        [
            "refiner",
            "overlapping tiles, together [10⁻³]",
            "each alone",
            "mean change",
            "CE at the seams [10⁻³]",
            "there − beside",
            "the same of bilinear",
            "another order",
            "AbsRel of 16 tiles together",
            "each alone",
        ]
    )
    for name, entry in stored["refiners"].items():
        figures, seams = overall(entry["accuracy"], "refined"), overall_seams(entry.get("seams", {}))
        steps = [_times(1e3, figures["ce"]), _seam(figures), _seam(overall(entry["accuracy"], "bilinear"))]
        overlaps = [_times(1e3, seams[key]) for key in ("overlap_together", "overlap_alone", "change")]
        both = [seams["abs_rel_together"], seams["abs_rel_alone"]]
        cells = [*_shown([*overlaps, *steps], ".2f"), *_shown([seams["order"]], ".0e"), *_shown(both, ".4f")]
        yield _line([name, *cells])


def normals_table(stored: Entry) -> Iterator[str]:
    """Angles against the truth."""
    rows = {"coarse": "coarse depth", "refined": "refined depth", "own": "the refiner's own"}
    yield from _head(["refiner, set", *(f"{name}: mean / median [deg], < 11.25°" for name in rows.values())])
    for refiner, entry in stored["refiners"].items():
        for name, found in entry.get("normals", {}).items():
            if "own" not in found:
                continue
            cells = [
                f"{row['normal_mean']:.1f} / {row['normal_median']:.1f}, {row['normal_within']:.0%}" for row in map(found.get, rows)
            ]
            yield _line([f"{refiner}, {name}", *cells])


def memory_table(stored: Entry) -> Iterator[str]:
    """Of large frames."""
    entries = {**stored["upsampling"], **stored["refiners"]}
    sizes = list(next((entry["memory"] for entry in entries.values() if "memory" in entry), {}))
    yield from _head(["", *(f"{size}: peak of the process / of the frame [MB]" for size in sizes)])
    for name, entry in entries.items():
        if "memory" in entry:
            cells = [NONE if row is None else f"{row['peak']:,} / {row['frame']:,}" for row in map(entry["memory"].get, sizes)]
            yield _line([ROWS.get(name, f"**{name}**"), *cells])


def predicted_table(stored: Entry) -> Iterator[str]:
    """Expected, and best in brackets."""
    predictions = {name: entry["predicted"] for name, entry in stored["refiners"].items() if "predicted" in entry}
    devices = next((list(one["ms"]) for one in predictions.values() if "ms" in one), [])
    yield from _head([f"refiner ({COUNTED})", "launches / MB / GFLOP", *devices])
    for name, one in predictions.items():
        if "not" in one:
            yield _line([name, one["not"], *([NONE] * len(devices))])
            continue
        counted = one["counted"]
        cells = [f"{one['ms'][device]['expected']:.1f} ({one['ms'][device]['best']:.1f})" for device in devices]
        yield _line([name, f"{counted['launches']:,} / {counted['mb']:,.0f} / {counted['gflop']:,.0f}", *cells])


def ablations_table(ablations: Sequence[Entry]) -> Iterator[str]:
    """A row for each variant, the systems one after the other."""
    yield from _head(["system", "variant", *(heading for heading, _ in ACCURACY.values()), *HEADLINE])
    before = None
    for entry in ablations:
        figures, system = entry["figures"], entry["system"]
        rest = _shown([_times(1e3, figures["overlap_together"]), _seam(figures)], ".2f")
        yield _line([system if system != before else "", entry["variant"], *_accuracy(figures), *rest])
        before = system


def _accuracy(figures: Mapping[str, Any]) -> list[str]:
    return [cell for key, (_, form) in ACCURACY.items() for cell in _shown([figures[key]], form)]


def _costs(entry: Mapping[str, Any]) -> list[str]:
    speed, size = entry.get("speed", {}), "3840x2160"
    peak = entry.get("memory", {}).get(size, {}).get("peak")
    ms = entry.get("predicted", {}).get("ms", {}).get(GPUS[0], {}).get("expected")
    return [*_shown([speed.get("method_ms")], ",.0f"), *_shown([peak], ",d"), *_shown([ms], ".1f")]


def _consistency(entry: Entry) -> list[float | None]:
    """Of overlapping tiles, at seams, and flicker."""
    overlap = _times(1e3, overall_seams(entry.get("seams", {}))["overlap_together"])
    still = entry.get("flicker", {}).get("refined", {}).get("median")
    return [overlap, _seam(overall(entry["accuracy"], "refined")), _times(1e3, still)]


def _label(name: str, entry: Entry) -> str:
    """Of a refiner; and on how many of the sets it can be measured, where that is not all."""
    count, measured = len(entry["accuracy"]), sum("refined" in found for found in entry["accuracy"].values())
    return f"**{name}**" if measured == count else f"**{name}** ({measured} of {count} sets)"


def _seam(figures: Mapping[str, Any]) -> float | None:
    """CE at seams less that beside them [10⁻³]."""
    there, beside = figures["ce"], figures["ce_beside"]
    return None if there is None or beside is None else 1e3 * (there - beside)


def _counts(by_set: Mapping[str, Entry]) -> str:
    """How many frames, and of how many images: sets of other coarse maps may have the same."""
    if not by_set:
        return "refiner"
    frames = [of for entry in by_set.values() for of in entry["of"]["frames"].items()]
    return f"refiner ({len(frames)} frames, of {len(set(frames))} images)"


def _times(factor: float, value: float | None) -> float | None:
    return None if value is None else factor * value


def _short(figures: Mapping[str, Any]) -> str:
    edge, flat, f1 = (figures[key] for key in ("edge_abs_rel", "flat_abs_rel", "boundary_f1"))
    return f"{edge:.4f}, {flat:.4f} / {f1:.3f}"


def _shown(values: Sequence[float | None], form: str) -> list[str]:
    return [NONE if value is None else format(value, form) for value in values]


def _head(headings: Sequence[str]) -> Iterator[str]:
    yield _line(headings)
    yield "|---" * len(headings) + "|"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
