"""``depth-retrofit models``: what can be had, under which licence, and whether it is here; the sparse backends; fetching."""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from depth_retrofit_ros.cli.options import image_size
from depth_retrofit_ros.errors import DepthRetrofitError, OutputError, UsageError

if TYPE_CHECKING:
    from depth_retrofit_ros.cli import Subparsers
    from depth_retrofit_ros.coarse.info import ModelInfo


METRIC_FOR = {
    "camera": "any camera",
    "one camera": "one camera",
    "domain": "its domain",
    "sensor": "a sensor",
    "file": "its file",
    "never": "-",
}
KINDS = {"metric": "metric", "up-to-scale": "relative", "affine": "affine", "disparity": "disparity"}
USES = {"focal length": "f", "sparse depth": "sparse", "several views": "views", "the past": "past"}


def add_parser(subparsers: Subparsers) -> None:
    """Declare the command, and the one below it."""
    parser = subparsers.add_parser(
        "models",
        help="list the coarse models (licence, size, how to get them) and the engines; fetch and export models",
        description="Without more: the tables. With fetch: bring checkpoints into the hub's cache on this machine. With export: "
        "write a model as ONNX.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=run)
    commands = parser.add_subparsers(dest="action", metavar="fetch|export")
    fetch = commands.add_parser(
        "fetch",
        help="fetch models by name",
        description="Resumes what was cut off, and keeps nothing that is not the pinned file. HF_ENDPOINT names a mirror for good.",
    )
    fetch.add_argument("names", nargs="+", metavar="NAME", help="see 'depth-retrofit models'")
    fetch.add_argument("--from", dest="source", metavar="FOLDER|URL", help="a folder that has the files, or a mirror of the hub")
    fetch.add_argument("--revision", metavar="COMMIT", help="40 hex digits, for a model without a pin of its own")
    fetch.add_argument("--sha256", metavar="DIGEST", help="of its weights, 64 hex digits, as its page on the hub shows it")
    fetch.set_defaults(run=run_fetch)
    export = commands.add_parser(
        "export",
        help="write a model's network as ONNX",
        description="For images of one size, float32; checked by ONNX Runtime against the model (docs/coarse-engines.md).",
    )
    export.add_argument("name", metavar="NAME", help="see 'depth-retrofit models'")
    export.add_argument("--onnx", type=Path, required=True, metavar="FILE.onnx", help="where to write it; its folder is made")
    export.add_argument("--weights", type=Path, metavar="PATH", help="its checkpoint, or the folder that has it")
    export.add_argument(
        "--coarse-size",
        default="default",
        metavar="PX",
        help="of its input: long side [px], or native (its authors' rule) (default: default)",
    )
    export.add_argument(
        "--image-size",
        type=image_size,
        default=(1440, 2560),
        metavar="WxH",
        help="of the images: others of this aspect serve as well, of another one they are squashed (default: 2560x1440, 16:9)",
    )
    export.set_defaults(run=run_export)


def run(args: argparse.Namespace) -> int:
    """Print the tables; JSON has the models."""
    from depth_retrofit_ros.coarse.registry import MODELS

    infos = by_family(list(MODELS.values()))
    if args.json:
        print(json.dumps([entry(info) for info in infos], indent=2))
    else:
        _print_models(infos)
        _print_auto(infos)
        _print_presets()
        _print_refiners()
        _print_backends()
        _print_engines()
    return 0


def by_family(infos: list[ModelInfo]) -> list[ModelInfo]:
    """Those of one loader's module together, in the order in which they came."""
    families = list(dict.fromkeys(info.loader.partition(":")[0] for info in infos))
    return sorted(infos, key=lambda info: families.index(info.loader.partition(":")[0]))


def entry(info: ModelInfo) -> dict[str, Any]:
    """What is known of a model, for programs: the names stay."""
    from depth_retrofit_ros.coarse.registry import how_to_use, is_present, missing_software

    return {
        "name": info.name,
        "licence": info.license,
        "commercial": info.commercial,
        "parameters": info.parameters,
        "size_mb": info.size_mb,
        "description": info.description,
        "metric": info.claim.kind == "metric",  # as the table has it; under which condition says "scale"
        "scale": asdict(info.claim),
        "input": str(info.input),
        "native_input": str(info.native or info.input),
        "input_multiple": info.input.multiple,
        "uncertainty": info.uncertainty,
        "uses": sorted(info.uses),
        "present": is_present(info),
        "missing_software": list(missing_software(info)),
        "hub": None if info.hub is None else {**info.hub._asdict(), "files": list(info.hub.files)},
        "auto_rank": info.auto_rank if info.commercial else None,
        "for_cpu": info.for_cpu,
        "how_to_get": how_to_use(info),
    }


def _print_models(infos: list[ModelInfo]) -> None:
    from depth_retrofit_ros.coarse.registry import how_to_use, is_present, is_usable

    table = [("name", "licence", "param.", "size", "depth", "metric for", "input", "uses", "here")]
    for info in infos:
        table.append(
            (
                info.name,
                _license(info),
                f"{info.parameters / 1e6:.{0 if info.parameters >= 1e8 else 1}f} M",
                f"{info.size_mb:.0f} MB" if info.size_mb < 1000 else f"{info.size_mb / 1000:.1f} GB",
                KINDS[info.claim.kind],
                METRIC_FOR[info.claim.word],
                re.sub(" and area of .*", "+", str(info.input)).replace(" side", "").replace("area of ", ""),
                ",".join(word for use, word in USES.items() if use in info.uses) or "-",
                "yes" if is_usable(info) else "partly" if is_present(info) else "no",
            )
        )
    widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
    for line in table:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    print("\nuses: f, the focal length; sparse, a sensor's depth; views, several at once; past, the frames before\n")
    for info in infos:
        print(f"{info.name}: {info.description}; {info.claim}{_restriction(info)}")
        if not is_usable(info):
            print(f"  to get it: {how_to_use(info)}")


def _print_auto(infos: list[ModelInfo]) -> None:
    from depth_retrofit_ros.coarse.auto import order

    print("\nmodel: auto takes the first of these that is here and serves under the other settings; commercial licences only")
    print(f"on CUDA: {', '.join(info.name for info in order(infos, 'cuda'))}")
    print(f"on a CPU (only what is made for it): {', '.join(info.name for info in order(infos, 'cpu'))}")


def _print_refiners() -> None:
    from depth_retrofit_ros.refinement.registry import REFINERS

    print("\nrefiners (--refiner, or the path of a checkpoint of one):")
    for name, refiner in REFINERS.items():
        normals = "; gives normals too" if refiner.normals else ""
        print(f"{name}: {refiner.description}{normals}{refiner.source and f' ({refiner.source})'}")


def _print_presets() -> None:
    from depth_retrofit_ros.preset_names import PRESETS

    print("\npresets (--preset):")
    for name, preset in PRESETS.items():
        print(f"{name}: {preset.description}; refiner {preset.refiner}")


def _print_backends() -> None:
    from depth_retrofit_ros.sparse.backends.registry import BACKENDS, is_installed

    print("\nsparse backends (--engine; auto is triton on CUDA, torch where that is not installed, cpu on a CPU):")
    for name, backend in BACKENDS.items():
        print(f"{name}: {backend.description}")
        if not is_installed(backend):
            print(f"  not installed; to get it: {backend.how_to_get}")


def _print_engines() -> None:
    from depth_retrofit_ros.coarse.engines.registry import ENGINES, missing_packages

    print("\ncoarse engines (--coarse-engine; auto is the fastest that is installed, eager where none was measured):")
    for name, engine in ENGINES.items():
        print(f"{name}: {engine.description}")
        if missing_packages(engine):
            print(f"  not installed; to get it: {engine.how_to_get}")


def run_fetch(args: argparse.Namespace) -> int:
    """Fetch one after the other. Returns 1 where some could not be had; the others are there."""
    if args.json:
        raise UsageError("--json is of the list: leave it out, or fetch")
    if len(args.names) > 1 and (args.revision or args.sha256):
        raise UsageError("--revision and --sha256 are of one model: fetch it alone")
    from depth_retrofit_ros.coarse.registry import find_model

    infos = [find_model(name) for name in dict.fromkeys(args.names)]  # all names first: a download may take an hour
    failed = 0
    for info in infos:
        try:
            print(f"{info.name}: {_fetched(info, args)}", flush=True)
        except DepthRetrofitError as error:
            print(f"depth-retrofit: error: {error}", file=sys.stderr)
            failed += 1
    return 1 if failed else 0


def _fetched(info: ModelInfo, args: argparse.Namespace) -> str:
    """Fetch it; what to say then."""
    from depth_retrofit_ros.coarse.fetching import fetch
    from depth_retrofit_ros.coarse.registry import missing_software

    if info.bundled:
        return "part of this package, nothing to fetch"
    if not info.commercial:
        print(info.restriction, flush=True)
    path: Path = fetch(info, args.source, args.revision, args.sha256)
    missing = missing_software(info)
    return f"{path}{f'; to run it: pip install {chr(32).join(missing)}' if missing else ''}"


def run_export(args: argparse.Namespace) -> int:
    """Write one model, and say what it is like. Raises ModelError, WeightsError, OutputError."""
    if args.json:
        raise UsageError("--json is of the list: leave it out, or export")
    if args.onnx.suffix != ".onnx" and not args.onnx.is_dir():
        raise UsageError(f"--onnx {args.onnx} has not the suffix .onnx, by which other programs know it: add it")
    from depth_retrofit_ros.coarse.engines.exported import export_model, require_software
    from depth_retrofit_ros.coarse.registry import find_checkpoint, find_model, load_coarse
    from depth_retrofit_ros.io.checkpoints import first_line

    require_software()
    info = find_model(args.name)
    model = load_coarse(info.name, weights=args.weights, device="cpu", size=args.coarse_size)
    checkpoint = find_checkpoint(info, args.weights)
    try:
        exported = export_model(model, info, checkpoint, args.image_size, args.onnx)
    except OSError as error:
        reason = error.strerror or first_line(error)
        raise OutputError(f"cannot write {args.onnx} ({reason}): choose a writable --onnx with free space") from None
    print(exported)
    return 0


def _restriction(info: ModelInfo) -> str:
    """Behind what a model is: what its licence does not permit, or that nobody states one."""
    if info.has_no_license:
        return f"; its licence is {info.license}: ask its authors before any commercial use"
    return "" if info.commercial else f"; for non-commercial use only ({info.license})"


def _license(info: ModelInfo) -> str:
    """In a column: what it does not permit is what must be seen."""
    if info.has_no_license:
        return "NOT STATED"
    return info.license if info.commercial else "NON-COMMERCIAL"
