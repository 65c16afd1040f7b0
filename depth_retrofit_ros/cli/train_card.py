"""The model card that ``depth-retrofit train`` writes beside a checkpoint: data, command and figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.train_pools import KINDS, VALIDATION_SEED, divided
from depth_retrofit_ros.cli.train_targets import TARGETS

if TYPE_CHECKING:
    from depth_retrofit_ros.training.loop import LoopSpec


def write_card(
    args: argparse.Namespace, spec: LoopSpec, path: Path, parameters: int, steps: int, figures: dict[str, float]
) -> None:
    """Beside ``path``, the checkpoint."""
    from depth_retrofit_ros.io.depth_files import write_text

    lines = [
        f"# {args.target}",
        "",
        f"- licence: Apache-2.0; parameters: {parameters:,}",
        f"- trained {steps:,} steps of {spec.batch}, peak rate {spec.rate:g}, seed {spec.seed}",
        f"- data: {_worlds_of(args, args.scenes)} of seed {args.seed}; textures "
        + (f"procedural and from {len(list(args.photos.iterdir()))} photographs" if args.photos else "procedural"),
        *_attribution(args),
        f"- command: `depth-retrofit train {args.target} --out OUT {' '.join(_card_options(args, spec))}`",
        "",
        f"Validation on {_worlds_of(args, args.held_out)} of seed {VALIDATION_SEED}, never trained on:",
        "",
        "| figure | value |",
        "|---|---|",
        *(f"| {name} | {value:.4f} |" for name, value in figures.items()),
    ]
    write_text(path.with_suffix(".md"), "\n".join(lines) + "\n")


def _worlds_of(args: argparse.Namespace, count: int) -> str:
    """How many scenes of which world."""
    parts = [f"{n} scenes of the world {w.name}" for w, n in zip(args.worlds, divided(count, args.worlds), strict=True)]
    if count == args.scenes and set(args.kinds) != set(KINDS):
        parts.append(f"of primitives the kinds {', '.join(args.kinds)}")
    return ", ".join(parts)


def _attribution(args: argparse.Namespace) -> list[str]:
    """Whose models and textures were rendered: a line, or none."""
    from depth_retrofit_ros.training.scenes.world import WORLDS

    if args.assets is None:
        return []
    sources = dict.fromkeys(part for w in args.worlds for part in WORLDS[w.name].attribution)
    return [f"- assets, of which nothing is contained here: {'; '.join(sources)}"] if sources else []


def _card_options(args: argparse.Namespace, spec: LoopSpec) -> list[str]:
    """Everything that decides the result; files and folders by name, as they lie elsewhere for others."""
    values: dict[str, object] = {
        "scenes": args.scenes,
        "seed": spec.seed,
        "crops": args.crops,
        "worlds": " ".join(map(str, args.worlds)),
        "kinds": " ".join(args.kinds),
        "held-out": args.held_out,
        "steps": spec.steps,
        "batch": spec.batch,
        "rate": f"{spec.rate:g}",
        "precision": args.precision,
    }
    if spec.minutes:
        values["minutes"] = f"{spec.minutes:g}"
    paths = {"photos": args.photos, "held-out-photos": args.held_out_photos, "assets": args.assets}
    if args.target == "compact":
        paths |= {"backbone": args.backbone, "teach": args.teach}
    values |= {name: path.absolute().name for name, path in paths.items() if path is not None}
    if TARGETS[args.target].refiner is not None:
        values["coarse"] = " ".join(args.coarse)
    if args.target == "paper" and args.calibrate:
        values["calibrate"] = " ".join(args.calibrate)
    if args.target in ("refiner", "paper"):
        values["engine"] = args.engine
        if args.start is None:
            values |= {"widths": " ".join(map(str, args.widths)), "blocks": args.blocks}
        else:
            values["start"] = args.start.name
    flags = {"unguided": args.unguided, "no-pretraining": args.no_pretraining, "apart": args.apart}
    flags |= {"local-positions": args.local_positions, "uniform-noise": args.uniform_noise}
    flags |= {"no-anchor": args.no_anchor, "no-distillation": args.no_distillation, "resume": spec.resume}
    given = [f"--{name}" for name, is_given in flags.items() if is_given]
    return [f"--{name} {value}".rstrip() for name, value in values.items()] + given
