"""The models that this package knows. A family's entries stand together; what they have in common is said once.

``auto_rank`` alone is the order of ``auto``: 100 to 399 for metres of any camera, 400 to 999 for relative depth, the more accurate
first, 1000 for what is bundled. Metres that hold for one camera or domain have no other, as nobody knows whether the scene is
like theirs. On a CPU only those ``for_cpu`` are taken: parameters do not tell what an image costs.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from depth_retrofit_ros.coarse.catalogue_own import OF_OUR_OWN
from depth_retrofit_ros.coarse.catalogue_transformers import THROUGH_TRANSFORMERS
from depth_retrofit_ros.coarse.claim import RENDERED_SCENES, ScaleClaim
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import InputSize
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
        input=InputSize("long side and area", (256, 192), 16),  # the area of a frame of 16:9
        uncertainty="distribution",
        uses=frozenset({"focal length"}),
        bundled=True,
        auto_rank=1000,  # the last: it is always there
        for_cpu=True,  # 0.06 s per image, where the next, moge-2-small, takes 9 s
    ),
    _meter("nyu", (192, 256), "indoor scenes (NYU Depth v2)", "the Kinect of NYU Depth v2"),
    _meter("kitti", (192, 636), "driving scenes (KITTI)", "the car camera of KITTI"),
    *OF_OUR_OWN,
    *THROUGH_TRANSFORMERS,
)
BUILT_IN: Mapping[str, ModelInfo] = MappingProxyType({info.name: info for info in _ALL})
