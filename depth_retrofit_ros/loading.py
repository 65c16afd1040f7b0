"""A ready ``Retrofit`` by names and files, and what is refused before a checkpoint is read."""

from __future__ import annotations

from pathlib import Path

import torch

from depth_retrofit_ros.coarse.auto import AUTO, SERVES, Refusal
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.engines.assign import named_engine
from depth_retrofit_ros.coarse.engines.registry import GRAPHABLE
from depth_retrofit_ros.coarse.graphed import GraphedCoarse
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.registry import find_model, load_coarse, resolved
from depth_retrofit_ros.coarse.window import one_at_a_time, windowed
from depth_retrofit_ros.device.choice import pick_device
from depth_retrofit_ros.errors import ModelError
from depth_retrofit_ros.presets import Preset, load_preset
from depth_retrofit_ros.refinement.pixels.graphed import GraphedRefiner
from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner
from depth_retrofit_ros.refinement.registry import DEFAULT as GRAPHABLE_REFINER
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.refinement.registry import resolved as resolved_refiner
from depth_retrofit_ros.retrofit import Retrofit, no_temporal, no_trust
from depth_retrofit_ros.selection.names import SELECTORS
from depth_retrofit_ros.temporal.steadiness import Steadiness


def load(
    model: str = "compact",
    *,
    weights: Path | str | None = None,
    refiner: Path | str | None = None,
    budget: float = 0.10,
    device: str = "auto",
    engine: str = "auto",
    refiner_precision: str = "auto",
    cuda_graphs: bool = False,
    trust_scale: bool = False,
    coarse_size: int | str | None = None,
    allow_download: bool = False,
    views: int = 1,
    coarse_engine: str = "auto",
    coarse_precision: str = "auto",
    preset: str = "default",
    entropy_threshold: float = 0.0,
    selector: str = "uncertainty",
    second_model: str | None = None,
    temporal: bool = False,
    suits: Refusal = SERVES,
) -> Retrofit:
    """A ready ``Retrofit``.

    model: a name of ``coarse.registry.MODELS``, or ``auto`` (the best that is here for the device, see ``coarse.auto``); weights:
    file or folder of its checkpoint, where it is not bundled or found by ``DEPTH_RETROFIT_WEIGHTS`` or in the hub's cache; refiner:
    a name of ``refinement.registry.REFINERS`` or the path of a checkpoint, None or ``auto`` for the preset's; budget: see
    ``Retrofit``; device: ``auto`` (CUDA where there is one), ``cpu``, ``cuda``, ``cuda:N``; engine: the backend of the sparse
    convolutions, a name of ``sparse.backends.registry.BACKENDS``, or
    ``auto`` (the fastest on that device); refiner_precision: in which type it computes, see ``refiner.type_for``; cuda_graphs: see
    ``device.cuda_graphs``; trust_scale: see ``Retrofit``; coarse_size: the long side of the coarse model's input [px], ``native``
    for its authors' rule, None for what suits a live node; allow_download: fetch the checkpoint of a named model that is not here;
    views: how many of the newest frames a model of several views sees at once, see ``coarse.window``; coarse_engine: what runs the
    coarse model, of ``coarse.engines.registry.ENGINES``, or ``auto`` (the fastest that is installed, by measurement);
    coarse_precision: in which it computes, ``float32``, ``bfloat16``, ``float16`` or ``auto``; preset: of
    ``preset_names.PRESETS``, which parts the method is made of; entropy_threshold: see ``presets.load_preset``; selector: of
    ``selection.names``; second_model: the other model of selector ``disagreement``, see ``load_second``; temporal: whether frames
    are held steady by those before them, see ``temporal.steadiness``; suits: why a model does
    not suit whoever calls, None where it does: it is refused, and ``auto`` passes it over, as it does those that cannot serve under
    the other settings; the second model's depth is only compared, and suits everybody. Raises ModelError or WeightsError, each one
    line.
    """
    coarse_engine = named_engine(coarse_engine)
    weights = None if weights is None else Path(weights)
    chosen, where = load_preset(preset, refiner, entropy_threshold), pick_device(device)
    if cuda_graphs and (reason := _no_graphs(chosen, coarse_engine, views)):
        raise ModelError(reason)
    if temporal and (reason := no_temporal(where, cuda_graphs, views)):
        raise ModelError(reason)

    def refusal(info: ModelInfo) -> str | None:
        return refused_settings(info, trust_scale, cuda_graphs, views) or chosen.refusal(info) or suits(info)

    info = resolved(model, device, weights, refusal)
    if reason := refusal(info) or refused_selection(chosen.name, selector, second_model, info.name):
        raise ModelError(reason)
    if second_model and (cuda_graphs or views > 1):
        raise ModelError("selector disagreement runs without cuda_graphs, on one view at a time: leave it out, or those")
    loaded = load_refiner(chosen.refiner, where, engine, refiner_precision)  # first: it is small, and its settings may be refused
    if cuda_graphs and (not isinstance(loaded, SparseRefiner) or where.type != "cuda" or loaded.backend.name != "triton"):
        used = loaded.backend.name if isinstance(loaded, SparseRefiner) else loaded.name
        raise ModelError(f"cuda_graphs needs CUDA and engine triton, not {where} and {used}: leave it off")
    coarse = load_coarse(
        info.name,
        weights=weights,
        device=device,
        size=coarse_size,
        allow_download=allow_download,
        engine=coarse_engine,
        precision=coarse_precision,
    )
    if cuda_graphs and isinstance(loaded, SparseRefiner):
        return Retrofit(GraphedCoarse(coarse), GraphedRefiner(loaded), budget, trust_scale)
    coarse = windowed(coarse, views)
    second = load_second(chosen.name, selector, second_model, info.name, coarse.device, coarse_engine, allow_download)
    memory = Steadiness() if temporal else None
    return Retrofit(coarse, loaded, budget, trust_scale, "sparse depth" in info.uses, chosen.parts(coarse), second, memory)


def _no_graphs(chosen: Preset, coarse_engine: str, views: int) -> str | None:
    """Why these cannot be replayed as CUDA graphs, one line; None where they can."""
    if chosen.name != "default":
        return f"cuda_graphs replays a fixed number of pixels, which preset {chosen.name} has not: leave it off"
    if views > 1:
        return "cuda_graphs cannot replay a window of frames: leave it off, or views at 1"
    if coarse_engine not in ("auto", *GRAPHABLE):
        return f"cuda_graphs replays coarse engine {' or '.join(GRAPHABLE)}, not {coarse_engine}: leave one of them out"
    refiner, _ = resolved_refiner(chosen.refiner)
    return None if refiner == GRAPHABLE_REFINER else f"cuda_graphs replays refiner {GRAPHABLE_REFINER}, not {refiner}: leave it off"


def refused_settings(info: ModelInfo, trust_scale: bool = False, cuda_graphs: bool = False, views: int = 1) -> str | None:
    """Why ``load`` cannot run a model with these settings, one line; None where it can."""
    if trust_scale and (reason := no_trust(info.name, info.claim)):
        return reason
    if cuda_graphs and (used := sorted(info.uses & {"sparse depth", "the past"})):
        return f"cuda_graphs cannot replay {info.name}, which uses {' and '.join(used)}: leave it off"
    if views > 1 and "several views" not in info.uses:
        return one_at_a_time(info.name)
    return None


def load_second(
    preset: str,
    selector: str,
    second_model: str | None,
    model: str,
    device: torch.device | str,
    engine: str = "auto",
    allow_download: bool = False,
) -> CoarseModel | None:
    """The model whose disagreement with ``model`` selects pixels; None where the selector asks for none.

    preset, selector, second_model, model: see ``refused_selection``. engine: what runs it, see ``load_coarse``; its checkpoint is
    the one that is here, its size and its precision are its usual ones. Raises ModelError or WeightsError.
    """
    if reason := refused_selection(preset, selector, second_model, model):
        raise ModelError(reason)
    if not second_model:
        return None
    return load_coarse(second_model, weights=None, device=str(device), allow_download=allow_download, engine=engine)


def refused_selection(preset: str, selector: str, second_model: str | None, model: str) -> str | None:
    """Why pixels cannot be selected like this, one line; None where they can.

    second_model: an empty name is none. model: the first one's name, empty for stored maps. Raises ModelError for a second model
    that is not known.
    """
    if selector not in SELECTORS:
        return f"unknown selector '{selector}': choose one of {', '.join(SELECTORS)}"
    if selector != "disagreement":
        if not second_model:
            return None
        return f"selector {selector} asks no second model: choose disagreement, or leave second_model {second_model} out"
    if preset != "default":
        return f"preset {preset} selects by its own threshold: leave selector disagreement out, or the preset"
    if not second_model:
        return "selector disagreement compares two models: name the other one as second_model, see 'depth-retrofit models'"
    if second_model == AUTO:
        return "second_model is not chosen by auto, which might take the model itself: name one, see 'depth-retrofit models'"
    if second_model == model:
        return f"second_model {model} is the model itself, and agrees with it everywhere: name another"
    if used := sorted(find_model(second_model).uses & {"several views", "sparse depth"}):
        return f"second_model {second_model} uses {' and '.join(used)}, and is shown one image at a time: name another"
    return None
