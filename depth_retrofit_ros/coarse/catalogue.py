"""The models that this package knows. A family's entries stand together; what they have in common is said once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from depth_retrofit_ros.coarse import hub
from depth_retrofit_ros.coarse.claim import RENDERED_SCENES, ScaleClaim
from depth_retrofit_ros.coarse.hub import HubModel
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import InputSize, long_side, short_side
from depth_retrofit_ros.io.checkpoints import SEARCH_PATH_VARIABLE


def _meter(variant: str, size: tuple[int, int], trained_on: str, camera: str) -> ModelInfo:
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
        input=InputSize("exact", size),
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
        input=long_side(518, 14),  # the side of the square it was trained at
        native=short_side(518, 14),
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
        input=long_side(256, 16),
        uncertainty="distribution",
        uses=frozenset({"focal length"}),
        bundled=True,
    ),
    _meter("nyu", (192, 256), "indoor scenes (NYU Depth v2)", "the Kinect of NYU Depth v2"),
    _meter("kitti", (192, 636), "driving scenes (KITTI)", "the car camera of KITTI"),
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
BUILT_IN: Mapping[str, ModelInfo] = MappingProxyType({info.name: info for info in _ALL})
