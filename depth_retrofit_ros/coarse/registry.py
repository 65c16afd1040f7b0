"""Frozen foundation models: image → ``CoarsePrediction``. One mapping from name to loader; each is imported when it is used."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import cast

from depth_retrofit_ros.coarse import hub
from depth_retrofit_ros.coarse.base import CoarseModel
from depth_retrofit_ros.coarse.claim import RENDERED_SCENES, ScaleClaim
from depth_retrofit_ros.coarse.hub import HubModel
from depth_retrofit_ros.device.choice import pick_device
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.io.checkpoints import BUNDLED_FOLDER, SEARCH_PATH_VARIABLE, find_weights


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a model before it is loaded.

    loader: ``module:function``, called as ``function(weights, device, claim, **options)``; license: of the weights; size_mb: of
    the checkpoint [MB]; claim: what its depth is, and on whose word it is in metres; files: under which names the checkpoint is
    looked for; bundled: whether the first of them is part of this package; hub: where else it may come from.
    """

    name: str
    loader: str
    license: str
    parameters: int
    size_mb: float
    claim: ScaleClaim
    description: str
    how_to_get: str
    files: tuple[str, ...]
    bundled: bool = False
    hub: HubModel | None = None
    options: Mapping[str, object] = field(default_factory=dict)


def load_coarse(name: str, *, weights: Path | None, device: str) -> CoarseModel:
    """A ready model.

    weights: file or folder of its checkpoint; None takes the bundled one, else searches ``DEPTH_RETROFIT_WEIGHTS``, else asks the
    model's hub if it has one. device: see ``pick_device``.
    Raises ModelError (unknown name or device, missing software) or WeightsError.
    """
    info = find_model(name)
    chosen = pick_device(device)
    path = find_checkpoint(info, weights)
    module, _, function = info.loader.partition(":")
    return cast(CoarseModel, getattr(import_module(module), function)(path, chosen, info.claim, **info.options))


def find_model(name: str) -> ModelInfo:
    """By name. Raises ModelError that lists the names."""
    if name in MODELS:
        return MODELS[name]
    close = difflib.get_close_matches(name, MODELS, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    raise ModelError(f"unknown model '{name}': {hint}choose one of {', '.join(MODELS)}")


def find_checkpoint(info: ModelInfo, weights: Path | None) -> Path:
    """The checkpoint's file; the only step that may use the network, and only for a model that has a hub. Raises WeightsError."""
    if weights is not None:
        plain_names = (Path(file).name for file in info.files)  # a folder given by hand need not have the hub's name
        remedy = "without weights of your own, the bundled ones are used" if info.bundled else info.how_to_get
        return find_weights(list(dict.fromkeys((*info.files, *plain_names))), weights, remedy)
    if info.hub is None:
        return _find_file(info) or find_weights(info.files, None, info.how_to_get)
    return _find_file(info) or hub.verified(hub.cached(info.hub) or hub.fetch(info.hub, info.how_to_get), info.hub)


def is_present(info: ModelInfo) -> bool:
    """Whether the model can be loaded here and now without the network."""
    return _find_file(info) is not None or (info.hub is not None and hub.cached(info.hub) is not None)


def _find_file(info: ModelInfo) -> Path | None:
    """The bundled checkpoint, or the one that the user put on the search path."""
    if info.bundled and (BUNDLED_FOLDER / info.files[0]).is_file():
        return BUNDLED_FOLDER / info.files[0]
    try:
        return find_weights(info.files, None, info.how_to_get)
    except WeightsError:
        return None


def _meter(variant: str, trained_on: str, camera: str) -> ModelInfo:
    file = f"build_model_best_{variant}_xxs"
    return ModelInfo(
        name=f"meter-{variant}",
        loader="depth_retrofit_ros.coarse.meter:load",
        license="MIT",
        parameters=713_464,
        size_mb=3.0,
        claim=ScaleClaim("metric", "one camera", camera),
        description=f"METER-XXS, trained on {trained_on}",
        how_to_get=(
            f"get models/{file} from https://github.com/lorenzopapa5/METER and give it or its folder as --weights or in "
            f"{SEARCH_PATH_VARIABLE}"
        ),
        files=(file,),
        options={"variant": variant},
    )


def _depth_anything(suffix: str, repo: str, revision: str, sha256: str, claim: ScaleClaim, description: str) -> ModelInfo:
    source = HubModel(f"depth-anything/{repo}", revision, sha256)
    return ModelInfo(
        name=f"depth-anything-v2-small{suffix}",
        loader="depth_retrofit_ros.coarse.depth_anything:load",
        license="Apache-2.0",
        parameters=24_785_089,
        size_mb=99.2,
        claim=claim,
        description=description,
        how_to_get=(
            f"with a network, run: pip install 'depth_retrofit_ros[depth-anything]' && hf download {source.repo} "
            f"{' '.join(hub.FILES)} --revision {revision} --local-dir {source.folder}; then give that folder as --weights"
        ),
        files=(f"{source.folder}/model.safetensors",),
        hub=source,
        options={"name": f"depth-anything-v2-small{suffix}"},
    )


_ALL = (
    ModelInfo(
        name="compact",
        loader="depth_retrofit_ros.coarse.compact:load",
        license="Apache-2.0",
        parameters=3_057_761,
        size_mb=6.2,
        claim=ScaleClaim("metric", "domain", RENDERED_SCENES),
        description="our own small network on EfficientNet-Lite0, of rendered scenes and photographs; takes the focal length",
        how_to_get="part of this package: reinstall it, or train one with 'depth-retrofit train compact'",
        files=("compact.safetensors",),
        bundled=True,
    ),
    _meter("nyu", "indoor scenes (NYU Depth v2)", "the Kinect of NYU Depth v2"),
    _meter("kitti", "driving scenes (KITTI)", "the car camera of KITTI"),
    _depth_anything(
        "",
        "Depth-Anything-V2-Small-hf",
        "5426e4f0f36572d16453bbda7a8389317b1bef99",
        "3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70",
        ScaleClaim("disparity", "never"),
        "Depth Anything V2 Small (ViT-S)",
    ),
    _depth_anything(
        "-indoor",
        "Depth-Anything-V2-Metric-Indoor-Small-hf",
        "8078d68a9c75a972131914f6afd0c1723be0da7f",
        "e990eb82fbf11b05b7813261196a2b841bdcf5a05f64396724a8987fa90504a3",
        ScaleClaim("metric", "domain", "indoor scenes and cameras like those of Hypersim"),
        "Depth Anything V2 Small, tuned on Hypersim, up to 20 m",
    ),
    _depth_anything(
        "-outdoor",
        "Depth-Anything-V2-Metric-Outdoor-Small-hf",
        "fd2c22027eaf20374204f14099b8341e1925ad39",
        "ad065c77a7421ca55159a1f0db9433397a607690f2d76bb8a6fc54b1be7a3124",
        ScaleClaim("metric", "domain", "streets and cameras like those of Virtual KITTI 2"),
        "Depth Anything V2 Small, tuned on Virtual KITTI 2, up to 80 m",
    ),
)
MODELS: Mapping[str, ModelInfo] = MappingProxyType({info.name: info for info in _ALL})
