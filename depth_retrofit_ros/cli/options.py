"""Options that several commands share, and their checks."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from depth_retrofit_ros.device.precisions import PRECISIONS
from depth_retrofit_ros.errors import UsageError
from depth_retrofit_ros.preset_names import PRESETS
from depth_retrofit_ros.selection.names import SELECTORS

if TYPE_CHECKING:
    from depth_retrofit_ros.batch.engine import Engine
    from depth_retrofit_ros.batch.given_camera import GivenCamera
    from depth_retrofit_ros.coarse.base import CoarseModel
    from depth_retrofit_ros.presets import Preset

_Number = TypeVar("_Number", int, float)
_ROS_NAME = re.compile(r"(~/|/)?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)


# Of ``add_model_options``, those that ``retrofit.load`` and the node's parameters have by the same names.
SHARED = (
    *("weights", "coarse_size", "coarse_engine", "coarse_precision", "preset", "entropy_threshold", "selector", "second_model"),
    *("refiner", "device", "engine", "refiner_precision"),
)


def add_model_options(parser: argparse.ArgumentParser, defaults: bool = True, model: str = "auto", views: bool = False) -> None:
    """What ``retrofit.load`` takes. Without ``defaults`` an option that is not given is None. model: the default one; views:
    whether it must be one of several views, which ``auto`` takes none of."""
    group = parser.add_argument_group("model")

    def add(name: str, default: object, text: str, **more: Any) -> None:
        told = f"{text} (default: {default})"
        group.add_argument(name, default=default if defaults else None, help=told, **more)

    told = "see 'depth-retrofit models'" + ("; auto: the best that is here" if model == "auto" else "" if views else ", or auto")
    add("--model", model, told, metavar="NAME")
    group.add_argument("--weights", type=Path, metavar="PATH", help="its checkpoint, or the folder that has it")
    add("--coarse-size", "default", "of its input: long side [px], or native (its authors' rule)", metavar="PX")
    told = "what runs it, see 'depth-retrofit models'; auto: the fastest that is installed"
    add("--coarse-engine", "auto", told, metavar="NAME")
    add("--coarse-precision", "auto", "in which it computes; auto: what was measured to hold", choices=("auto", *PRECISIONS))
    group.add_argument(
        "--allow-download", action="store_true", help="fetch the checkpoint of the model that is named, where it is not here"
    )
    if not views:
        told = "which pixels are refined: uncertainty, where the model itself is unsure; disagreement, where --second-model differs"
        add("--selector", "uncertainty", told, choices=SELECTORS)
        told = "the other model of --selector disagreement, run beside the first by --coarse-engine, else as it comes"
        group.add_argument("--second-model", metavar="NAME", help=told)
    told = "parts of the method, see 'depth-retrofit models'; paper: 2K Retrofit to the letter"
    add("--preset", "default", told, choices=tuple(PRESETS))
    told = "of preset paper: share of the largest entropy above which a pixel is refined; 0: as calibrated for the model"
    add("--entropy-threshold", 0.0, told, type=share_below_one, metavar="ALPHA")
    told = "its name, see 'depth-retrofit models', or the path of a checkpoint; auto: the preset's"
    add("--refiner", "auto", told, metavar="NAME")
    add("--budget", 0.1, "share of the pixels that are refined, 0 to 1", type=share, metavar="SHARE")
    add("--device", "auto", "auto, cpu, cuda or cuda:N")
    add("--engine", "auto", "sparse backend, see 'depth-retrofit models'; auto: the fastest on the device", metavar="NAME")
    add(
        "--refiner-precision",
        "auto",
        "type of the refiner's convolutions; auto: the fastest that the sparse backend is good for on this machine",
        choices=("auto", *PRECISIONS),
    )


def chosen_coarse(args: argparse.Namespace) -> CoarseModel:
    """The coarse model that the options name, alone. Raises ModelError, WeightsError."""
    from depth_retrofit_ros.coarse.registry import load_coarse

    return load_coarse(
        args.model,
        weights=args.weights,
        device=args.device,
        size=args.coarse_size,
        allow_download=args.allow_download,
        engine=args.coarse_engine,
        precision=args.coarse_precision,
    )


def chosen_model(args: argparse.Namespace) -> str:
    """The model's name; for ``auto``, which is told, the one that it takes. Raises ModelError."""
    from depth_retrofit_ros.coarse.auto import AUTO
    from depth_retrofit_ros.coarse.registry import choose_auto, how_to_use
    from depth_retrofit_ros.loading import refused_settings

    if args.model != AUTO:
        return str(args.model)
    trust_scale = bool(getattr(args, "trust_scale", False))  # not all of the commands have it
    preset = chosen_preset(args)
    choice = choose_auto(args.device, args.weights, lambda info: refused_settings(info, trust_scale) or preset.refusal(info))
    print(choice.line(how_to_use), flush=True)
    return choice.taken.name


def chosen_preset(args: argparse.Namespace) -> Preset:
    """With its refiner. Raises ModelError or WeightsError."""
    from depth_retrofit_ros.presets import load_preset

    return load_preset(args.preset, args.refiner, args.entropy_threshold)


def model_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What ``add_model_options`` has added beside ``--model``, as ``load`` and ``Replay`` take it."""
    return {name: getattr(args, name) for name in (*SHARED, "budget", "allow_download")}


def make_paths_whole(args: argparse.Namespace, *names: str) -> None:
    """For workers, whose folder may be another. names: of the options, beside those of ``add_model_options``."""
    for name in ("weights", *names):
        if (path := getattr(args, name)) is not None:
            setattr(args, name, path.expanduser().absolute())
    from depth_retrofit_ros.preset_names import AUTO
    from depth_retrofit_ros.refinement.registry import REFINERS

    if args.refiner not in (*AUTO, *REFINERS):
        args.refiner = str(Path(args.refiner).expanduser().absolute())


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    """What only the user can know of a model whose metres hold for one camera, or on one kind of scenes."""
    parser.add_argument(
        "--trust-scale",
        action="store_true",
        help="depth in metres also by a model that is metric for one camera or kind of scenes only: these are it (see 'models')",
    )


def add_temporal_option(parser: argparse.ArgumentParser, default: str | None = "off") -> None:
    """Whether a video's images are answered with the help of those before them."""
    told = "on: hold depth steady by the images before, and keep refined pixels that do not change; on the CPU (default: off)"
    parser.add_argument("--temporal", choices=("off", "on"), default=default, help=told)


def add_worker_options(parser: argparse.ArgumentParser, default: str | None = "local") -> None:
    """Who shares the work. default: None where it is one process unless asked for."""
    group = parser.add_argument_group("workers")
    told = "local: processes of this machine; ray: actors on the cluster of RAY_ADDRESS or, without, on one of this machine"
    group.add_argument(
        "--on", default=default, metavar="local|ray|ray://HOST:PORT", help=f"{told} (default: {default or 'neither'})"
    )
    told = "how many (default: one a GPU, or as many as --threads leaves CPUs for; of a cluster, as many as it has room for)"
    group.add_argument("--workers", type=positive_int, metavar="N", help=told)
    told = "of each; on a CPU the last bits of the results depend on them, on the number of workers nothing does"
    many = "4, or as many CPUs as there are" if default else "all CPUs, as of this process alone"
    group.add_argument("--threads", type=positive_int, metavar="N", help=f"{told} (default: {many})")
    told = "0.5 puts two on one (default: 1, where they compute on CUDA)"
    group.add_argument("--gpus-per-worker", type=positive, default=0.0, metavar="G", help=told)


def make_chosen_engine(args: argparse.Namespace, threads: int, factory: str, settings: Mapping[str, Any]) -> Engine:
    """Of ``add_worker_options``; threads: of each worker; factory, settings: see ``Job``. Raises UsageError, SetupError."""
    from depth_retrofit_ros.batch.engine import Job
    from depth_retrofit_ros.batch.engines import choose_workers, is_elsewhere, make_engine

    workers = choose_workers(args.workers, threads, args.gpus_per_worker, worker_device(args), is_elsewhere(args.on))
    return make_engine(args.on, Job(factory, settings), workers)


def worker_device(args: argparse.Namespace) -> str:
    """``cpu`` or ``cuda``, on which all workers compute, or else do not begin. Raises UsageError, ModelError."""
    from depth_retrofit_ros.batch.engines import is_elsewhere
    from depth_retrofit_ros.device.choice import pick_device

    if args.device.startswith("cuda:"):
        raise UsageError(f"--device {args.device} is of one process, and workers share GPUs: give cuda, and CUDA_VISIBLE_DEVICES")
    # A cluster's machines may have GPUs where this one has none.
    if is_elsewhere(args.on) and (args.device == "cuda" or (args.device == "auto" and args.gpus_per_worker)):
        return "cuda"
    return pick_device(args.device).type


def check_coarse_options(args: argparse.Namespace, model: str = "auto") -> None:
    """Raises UsageError for what only a model has, given beside maps from files, and for maps that are no folder.

    model: the default one.
    """
    if args.coarse is None:
        return
    if args.coarse_size != "default":
        raise UsageError("--coarse-size is of a model, and a coarse map has its own: leave it out, or --coarse")
    given = {
        "--model": args.model != model,
        "--weights": args.weights is not None,
        "--coarse-precision": args.coarse_precision != "auto",
    }
    why = "of the first model, in whose place --coarse stands"
    if not getattr(args, "second_model", None):  # reconstruct has none
        why = "of a model, and with --coarse none is run"
        given |= {"--allow-download": args.allow_download, "--coarse-engine": args.coarse_engine != "auto"}
    for option, is_given in given.items():
        if is_given:
            raise UsageError(f"{option} is {why}: leave it out, or --coarse")
    if args.coarse.is_file():
        raise UsageError(f"--coarse {args.coarse} is a file: give its folder, in which each image's map has the image's name")


def _number(text: str, kind: Callable[[str], _Number], wanted: str) -> _Number:
    try:
        return kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not {wanted}") from None


def share(text: str) -> float:
    """A number from 0 to 1, for argparse."""
    value = _number(text, float, "a number from 0 to 1")
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to 1")
    return value


def share_below_one(text: str) -> float:
    """A number from 0 to below 1, for argparse."""
    value = _number(text, float, "a number from 0 to below 1")
    if not 0.0 <= value < 1.0:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to below 1")
    return value


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    value = _number(text, float, "a number above 0")
    if not 0.0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def positive_int(text: str) -> int:
    """A whole number above 0, for argparse."""
    value = _number(text, int, "a whole number above 0")
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return value


def image_size(text: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` → (height, width), for argparse."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) >= 64 and int(height) >= 64):
        raise argparse.ArgumentTypeError(f"'{text}' is not WIDTHxHEIGHT of at least 64x64")
    return int(height), int(width)


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """Intrinsics by hand: all four, or the horizontal field of view."""
    group = parser.add_argument_group("camera")
    for name in ("fx", "fy", "cx", "cy"):
        group.add_argument(f"--{name}", type=float, metavar="PX", help="of the image at its full size [px]; give all four")
    group.add_argument("--hfov", type=float, metavar="DEG", help="horizontal field of view [deg], in place of fx, fy, cx, cy")


def check_camera_options(args: argparse.Namespace) -> None:
    """What can be told of them before the image is known. Raises CameraError."""
    given_camera(args).check()


def given_camera(args: argparse.Namespace) -> GivenCamera:
    """What ``add_camera_options`` has added."""
    from depth_retrofit_ros.batch.given_camera import GivenCamera

    return GivenCamera(args.fx, args.fy, args.cx, args.cy, args.hfov)


def ros_name(text: str) -> str:
    """The name of a topic or a node, such as ``/camera/image_rect``, for argparse; ROS refuses others, some of them much later."""
    if not _ROS_NAME.fullmatch(text) or "__" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no ROS name: use words of letters, digits and _, with / between them")
    return text


def domain_id(text: str) -> int:
    """A ROS domain, 0 to 232, for argparse."""
    value = _number(text, int, "a whole number from 0 to 232")
    if not 0 <= value <= 232:
        raise argparse.ArgumentTypeError(f"{text} is outside 0 to 232")
    return value
