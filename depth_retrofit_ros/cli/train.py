"""``depth-retrofit train``, of ``compact`` or a refiner: render the pool, train, write the checkpoint and its model card."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from depth_retrofit_ros.cli.options import positive, positive_int
from depth_retrofit_ros.cli.train_card import write_card
from depth_retrofit_ros.cli.train_pools import (
    KINDS,
    VALIDATION_SEED,
    WorldShare,
    check_pools,
    pool_specs,
    render_pools,
    world_share,
)
from depth_retrofit_ros.cli.train_targets import TARGETS
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.refinement.kinds import KIND

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from depth_retrofit_ros.training.group import Group

WIDTHS = (16, 32, 48, 64, 64)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "train",
        help="train compact or a refiner on procedural scenes with exact depth",
        description="Renders scenes into --pool as they are needed, trains, and writes the checkpoint and its model card to --out.",
    )
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
        help="processes that render and, for refiners, make samples ahead, as many for each process of torchrun: each keeps a core "
        "busy and holds PyTorch and the models of --coarse, 0.4 GB and more, beside its share of 1 GB of their answers "
        "(default: 2 beside a GPU; 1 on a CPU, which the training itself keeps busy: then no process is started)",
    )
    parser.add_argument("--steps", type=positive_int, default=20000, help="steps of the schedule (default: %(default)s)")
    parser.add_argument("--minutes", type=positive, default=0.0, help="end the schedule after this time at the latest")
    batch, rate = (", ".join(f"{getattr(t, what):g} for {name}" for name, t in TARGETS.items()) for what in ("batch", "rate"))
    parser.add_argument(
        "--accumulate",
        type=positive_int,
        default=1,
        metavar="PARTS",
        help="learn from a step's samples in so many parts, one after the other: up to rounding the same losses and gradients, in "
        "less memory and about a third more time, as each part is seen twice; not prv2, which normalises by all (default: 1)",
    )
    parser.add_argument(
        "--batch",
        type=positive_int,
        help=f"views, crops, tiles or windows per step, divided among the processes that torchrun starts (default: {batch})",
    )
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
    from depth_retrofit_ros.training.group import joined

    if args.seed == VALIDATION_SEED or args.seed < 0:
        raise ModelError(f"--seed {args.seed}: choose one that is not negative, nor {VALIDATION_SEED}, the validation set's")
    with joined(args.device) as (group, device):
        return _train(args, device, group)


def _train(args: argparse.Namespace, device: torch.device, group: Group) -> int:
    import torch

    from depth_retrofit_ros.io.checkpoints import save_tensors
    from depth_retrofit_ros.training.loop import LoopSpec

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
        group=group,
        accumulate=args.accumulate,
    )
    group.places(spec.batch)
    spec.make_out()
    fit = target.prepare(args, spec)
    network, figures, steps, shape = fit(*(render_pools(args, split, specs, group) for split, specs in pools.items()))
    if not group.leads:
        return 0
    path = args.out / f"{args.target}.safetensors"
    metadata = {"network": json.dumps(shape), "steps": str(steps), "torch": torch.__version__}
    if target.refiner is not None:
        metadata[KIND] = target.refiner
    save_tensors(path, checkpoint_tensors(network), metadata)
    write_card(args, spec, path, sum(p.numel() for p in network.parameters()), steps, figures)
    print(f"{path} and {path.with_suffix('.md').name} written; {figures}")
    return 0


def checkpoint_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The weights to store: matrices and kernels in float16, which halves the file, all else as it is."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    return {name: tensor.half() if tensor.ndim >= 2 and tensor.numel() > 64 else tensor for name, tensor in state.items()}
