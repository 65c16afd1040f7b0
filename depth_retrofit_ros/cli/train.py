"""``depth-retrofit train``, of ``compact`` or a refiner: render the pool, train, write the checkpoint and its model card."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from depth_retrofit_ros.cli.options import positive, positive_int
from depth_retrofit_ros.cli.train_pools import (
    KINDS,
    VALIDATION_SEED,
    WorldShare,
    check_pools,
    divided,
    pool_specs,
    render_pools,
    world_share,
)
from depth_retrofit_ros.errors import ModelError, UsageError
from depth_retrofit_ros.refinement.kinds import KIND

if TYPE_CHECKING:
    from torch import Tensor, nn

    from depth_retrofit_ros.coarse.base import CoarseModel
    from depth_retrofit_ros.sparse.backends.registry import SparseBackend
    from depth_retrofit_ros.training.loop import LoopSpec

WIDTHS = (16, 32, 48, 64, 64)
Fit: TypeAlias = "Callable[[list[Path], list[Path]], tuple[nn.Module, dict[str, float], int, object]]"


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser("train", help="train compact or a refiner on procedural scenes with exact depth")
    parser.add_argument("target", choices=TARGETS, help="what to train; refiner: the sparse one")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the checkpoint, its card, log.csv and the resumable state"
    )
    parser.add_argument("--pool", type=Path, default=Path("runs/pool"), help="folder of rendered scenes, filled once and kept")
    parser.add_argument("--scenes", type=positive_int, default=5000, help="training scenes to render, 1 to 4 s each on one core")
    parser.add_argument(
        "--worlds",
        nargs="+",
        type=world_share,
        default=[WorldShare("primitives", 1.0)],
        metavar="NAME[:SHARE]",
        help="where scenes come from (default primitives): primitives, thin, layers, rooms, streets; --scenes and --held-out are "
        "divided among them by their shares (default 1 each)",
    )
    parser.add_argument(
        "--assets",
        type=Path,
        help="folder of unpacked 3-D models and textures, for worlds other than primitives; validation keeps a part for itself",
    )
    parser.add_argument("--crops", type=positive_int, default=2, help="full-resolution crops of each scene, for the refiner")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=KINDS,
        default=KINDS,
        help="kinds of scenes of primitives to train on (default: all)",
    )
    parser.add_argument("--held-out", type=positive_int, default=64, help="validation scenes, from another seed")
    parser.add_argument("--photos", type=Path, help="folder of photographs to use as textures")
    parser.add_argument("--held-out-photos", type=Path, help="other photographs, for the validation scenes")
    parser.add_argument(
        "--workers",
        type=positive_int,
        help="processes that render and, for refiners, make samples ahead: each keeps a core busy and holds PyTorch and the models "
        "of --coarse, 0.4 GB and more, beside its share of 1 GB of their answers (default: 2 beside a GPU; 1 on a CPU, which the "
        "training itself keeps busy: then no process is started)",
    )
    parser.add_argument("--steps", type=positive_int, default=20000)
    parser.add_argument("--minutes", type=positive, default=0.0, help="end the schedule after this time at the latest")
    batch, rate = (", ".join(f"{getattr(t, what):g} for {name}" for name, t in TARGETS.items()) for what in ("batch", "rate"))
    parser.add_argument("--batch", type=positive_int, help=f"views, crops, tiles or windows per step (default: {batch})")
    parser.add_argument("--rate", type=positive, help=f"peak learning rate (default: {rate})")
    parser.add_argument("--seed", type=int, default=1, help=f"of scenes, textures and training; not {VALIDATION_SEED}")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; scenes are rendered there too")
    parser.add_argument(
        "--precision",
        choices=("float32", "bfloat16"),
        default="float32",
        help="of the products; bfloat16 is up to twice as fast where the processor has it (AVX512_BF16, AMX, CUDA)",
    )
    parser.add_argument("--resume", action="store_true", help="go on from the state in --out")
    parser.add_argument("--weights", type=Path, help="folder of the checkpoints of other models that the training asks")
    compact = parser.add_argument_group("compact only")
    compact.add_argument(
        "--backbone", type=Path, metavar="FILE", help="pretrained EfficientNet-Lite0 to start the encoder from (default: random)"
    )
    compact.add_argument(
        "--teach",
        type=Path,
        metavar="FOLDER",
        help="photographs in subfolders indoor and driving, whose depth meter-nyu and meter-kitti tell",
    )
    refiners = parser.add_argument_group("refiners")
    refiners.add_argument(
        "--coarse",
        nargs="*",
        default=["compact"],
        metavar="NAME",
        help="frozen models whose answers are refined, beside simulated ones",
    )
    refiner = parser.add_argument_group("refiner and paper only")
    refiner.add_argument(
        "--engine",
        default="torch",
        metavar="NAME",
        help="sparse backend to train by, one with gradients: torch, or minkowski, in float32 (default: torch)",
    )
    refiner.add_argument("--start", type=Path, help="checkpoint to go on from, which also gives the widths and blocks")
    refiner.add_argument(
        "--widths", type=positive_int, nargs="+", default=list(WIDTHS), help="channels of the sparse U-Net's levels"
    )
    refiner.add_argument(
        "--blocks", type=positive_int, default=1, help="residual blocks per level, in the encoder and in the decoder"
    )
    paper = parser.add_argument_group("paper only")
    paper.add_argument(
        "--calibrate",
        nargs="*",
        default=[],
        metavar="NAME",
        help="more models whose threshold the checkpoint is to hold, beside those of --coarse; on the validation scenes",
    )
    prv2 = parser.add_argument_group("prv2 only: its ablation")
    prv2.add_argument("--unguided", action="store_true", help="without Guided Denoising Units")
    prv2.add_argument("--no-pretraining", action="store_true", help="end to end from the first step, without noisy pre-training")
    urgt = parser.add_argument_group("urgt only: its ablation")
    urgt.add_argument("--apart", action="store_true", help="without attention across tiles")
    urgt.add_argument("--local-positions", action="store_true", help="positions in the tile, not in the frame")
    sharp = parser.add_argument_group("sharp only: its ablation")
    sharp.add_argument("--uniform-noise", action="store_true", help="as much noise everywhere, not where the two answers disagree")
    sharp.add_argument("--no-anchor", action="store_true", help="without reconstruction of the coarse depth")
    sharp.add_argument("--no-distillation", action="store_true", help="without the teacher's part in what the student learns")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Render, train, save."""
    import torch

    from depth_retrofit_ros.device.choice import pick_device
    from depth_retrofit_ros.io.checkpoints import save_tensors
    from depth_retrofit_ros.training.loop import LoopSpec

    if args.seed == VALIDATION_SEED or args.seed < 0:
        raise ModelError(f"--seed {args.seed}: choose one that is not negative, nor {VALIDATION_SEED}, the validation set's")
    device = pick_device(args.device)
    args.workers = args.workers or (1 if device.type == "cpu" else 2)
    pools = {split: pool_specs(args, str(device), split) for split in ("train", "validation")}
    check_pools([pool for split in pools.values() for pool in split])
    target = TARGETS[args.target]
    spec = LoopSpec(
        steps=args.steps,
        batch=args.batch or target.batch,
        rate=args.rate or target.rate,
        seed=args.seed,
        out=args.out,
        device=device,
        minutes=args.minutes,
        resume=args.resume,
        precision=getattr(torch, args.precision),
        workers=args.workers,
    )
    spec.make_out()
    fit = target.prepare(args, spec)
    network, figures, steps, shape = fit(*(render_pools(args, split, specs) for split, specs in pools.items()))
    path = args.out / f"{args.target}.safetensors"
    metadata = {"network": json.dumps(shape), "steps": str(steps), "torch": torch.__version__}
    if target.refiner is not None:
        metadata[KIND] = target.refiner
    save_tensors(path, checkpoint_tensors(network), metadata)
    _write_card(args, spec, path, sum(p.numel() for p in network.parameters()), steps, figures)
    print(f"{path} and {path.with_suffix('.md').name} written; {figures}")
    return 0


def checkpoint_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The weights to store: matrices and kernels in float16, which halves the file, all else as it is."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    return {name: tensor.half() if tensor.ndim >= 2 and tensor.numel() > 64 else tensor for name, tensor in state.items()}


def _compact(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """All that can be told without scenes is told here; what is returned trains on them."""
    from depth_retrofit_ros.training.compact import prepare_compact, train_compact

    start = prepare_compact(spec, args.backbone, args.teach, args.weights)

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        loop, figures = train_compact(start, train, held_out, spec)
        return loop.average, figures, loop.done, "compact"

    return fit


def _refiner(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    from functools import partial

    import torch

    from depth_retrofit_ros.refinement.pixels.network import RefinerNet
    from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
    from depth_retrofit_ros.training.refiner import refiner_losses, train_refiner

    backend = _backend(args, spec)
    models = _frozen(args, spec)
    torch.manual_seed(spec.seed)
    network = (
        RefinerNet(args.widths, args.blocks)
        if args.start is None
        else load_sparse_refiner(args.start, spec.device, precision="float32").network
    )

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        loop, figures = train_refiner(train, held_out, models, spec, network, partial(refiner_losses, backend=backend))
        return loop.average, figures, loop.done, {"widths": list(network.widths), "blocks": network.blocks}

    return fit


def _paper(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    import torch

    from depth_retrofit_ros.refinement.paper.network import PaperNet
    from depth_retrofit_ros.refinement.paper.refiner import load
    from depth_retrofit_ros.training.paper import calibrate, train_paper

    backend = _backend(args, spec)
    models, more = _frozen(args, spec), _frozen(args, spec, [name for name in args.calibrate if name not in args.coarse])
    torch.manual_seed(spec.seed)
    if args.start is None:
        network = PaperNet(args.widths, args.blocks)
    else:
        network = load(args.start, spec.device, "auto", "float32").network

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        thresholds = calibrate([*models, *more], held_out)
        loop, figures = train_paper(train, held_out, models, spec, network, thresholds, backend)
        told = {name: list(t.alphas) for name, t in thresholds.items()}
        return loop.average, figures, loop.done, {"widths": network.widths, "blocks": network.blocks, "thresholds": told}

    return fit


def _backend(args: argparse.Namespace, spec: LoopSpec) -> SparseBackend:
    """Of the sparse convolutions. Raises ModelError."""
    import torch

    from depth_retrofit_ros.sparse.backends.registry import load_backend

    backend = load_backend(args.engine, spec.device, gradients=True)
    if spec.precision != torch.float32 and backend.name != "torch":
        raise ModelError(f"--precision {args.precision} needs --engine torch: {backend.name} computes in float32")
    return backend


def _prv2(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    import torch

    from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
    from depth_retrofit_ros.training.prv2 import PRETRAINING, train_prv2
    from depth_retrofit_ros.training.windows import feature_channels

    models = _frozen(args, spec)
    torch.manual_seed(spec.seed)
    channels, guided = feature_channels(models), not args.unguided
    network = PatchRefinerV2(channels, guided)

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        pretraining = 0.0 if args.no_pretraining else PRETRAINING
        loop, figures = train_prv2(train, held_out, models, spec, network, pretraining)
        return loop.average, figures, loop.done, {"channels": channels, "guided": guided}

    return fit


def _urgt(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    import torch

    from depth_retrofit_ros.refinement.urgt.network import Urgt
    from depth_retrofit_ros.training.urgt import train_urgt

    models = _frozen(args, spec)
    torch.manual_seed(spec.seed)
    network = Urgt(not args.apart, args.local_positions)

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        loop, figures = train_urgt(train, held_out, models, spec, network)
        return loop.average, figures, loop.done, {"across": network.across, "local": network.local}

    return fit


def _sharp(args: argparse.Namespace, spec: LoopSpec) -> Fit:
    """See ``_compact``."""
    import torch

    from depth_retrofit_ros.refinement.sharp.network import SharpDepth
    from depth_retrofit_ros.training.sharp import Ablation, train_sharp

    if args.no_anchor and args.no_distillation:
        raise UsageError("--no-anchor and --no-distillation leave the student nothing to learn from: give one of them")
    if spec.steps < 2:
        raise UsageError("--steps 1 is too few for a teacher and a student: give 2 or more")
    models = _frozen(args, spec)
    torch.manual_seed(spec.seed)
    network = SharpDepth(args.uniform_noise).to(spec.device)

    def fit(train: list[Path], held_out: list[Path]) -> tuple[nn.Module, dict[str, float], int, object]:
        ablation = Ablation(not args.no_anchor, not args.no_distillation)
        student, figures, steps = train_sharp(train, held_out, models, spec, network, ablation)
        return student, figures, steps, {"uniform": network.uniform}

    return fit


def _frozen(args: argparse.Namespace, spec: LoopSpec, names: Sequence[str] | None = None) -> list[CoarseModel]:
    """The models whose answers are refined; names: other ones."""
    from depth_retrofit_ros.training.frozen import FrozenModels

    return FrozenModels(args.coarse if names is None else names, args.weights, str(spec.device))


@dataclass(frozen=True, slots=True)
class Target:
    """What can be trained. prepare: see ``_compact``; batch, rate: the defaults; refiner: of ``refinement.registry.REFINERS``."""

    prepare: Callable[[argparse.Namespace, LoopSpec], Fit]
    batch: int
    rate: float
    refiner: str | None = None


TARGETS = {
    "compact": Target(_compact, 16, 2e-3),
    "refiner": Target(_refiner, 4, 1.5e-3, "sparse"),
    "prv2": Target(_prv2, 4, 1e-3, "prv2"),
    "urgt": Target(_urgt, 2, 5e-4, "urgt"),
    "sharp": Target(_sharp, 4, 1e-3, "sharp"),
    "paper": Target(_paper, 4, 1.5e-3, "paper"),
}


def _write_card(
    args: argparse.Namespace, spec: LoopSpec, path: Path, parameters: int, steps: int, figures: dict[str, float]
) -> None:
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
