"""The models whose architecture is our own code (``networks/``), as no well-kept package has them; a function for each family."""

from __future__ import annotations

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.hub import HubModel
from depth_retrofit_ros.coarse.info import NOT_STATED, ModelInfo, Use
from depth_retrofit_ros.coarse.input_size import InputSize, long_side, short_side

_MODULES = "depth_retrofit_ros.coarse"
_RELATIVE, _DISPARITY = ScaleClaim("up-to-scale", "never"), ScaleClaim("disparity", "never")
_METRIC = ScaleClaim("metric", "camera")
_FOCAL: frozenset[Use] = frozenset({"focal length"})


def _depth_anything3(
    variant: str, hub: HubModel, parameters: int, size_mb: float, claim: ScaleClaim, told: str, auto_rank: int | None
) -> ModelInfo:
    name = f"depth-anything-3-{variant}"
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.depth_anything3:load",
        license="Apache-2.0",
        parameters=parameters,
        size_mb=size_mb,
        claim=claim,
        description=f"Depth Anything 3 {told}",
        files=(f"{hub.folder}/model.safetensors",),
        input=long_side(504, 14),  # the authors' own rule
        uses=_FOCAL if claim.kind == "metric" else frozenset(),
        hub=hub,
        auto_rank=auto_rank,
        options={"name": name},
    )


def _moge(size: str, letter: str, revision: str, sha256: str, parameters: int, size_mb: float, auto_rank: int) -> ModelInfo:
    hub, name = HubModel(f"Ruicheng/moge-2-vit{letter}-normal", revision, sha256, ("model.pt",)), f"moge-2-{size}"
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.moge:load",
        license="MIT",
        parameters=parameters,
        size_mb=size_mb,
        claim=_METRIC,
        description=f"MoGe-2 {size.capitalize()} (ViT-{letter.upper()}): metres of any camera, normals, and where the sky is",
        files=(f"{hub.folder}/model.pt",),
        input=InputSize("area", (485,), 14),  # 1,200 patches, the least of the authors' range
        native=InputSize("area", (840,), 14),  # 3,600, the most
        uses=_FOCAL,
        hub=hub,
        auto_rank=auto_rank,
        options={"name": name},
    )


def _metric3d(size: str, sha256: str, parameters: int, size_mb: float) -> ModelInfo:
    file, name = f"metric_depth_vit_{size}_800k.pth", f"metric3d-v2-{size}"
    hub = HubModel("JUGGHM/Metric3D", "80d2d1410afb4b23cd9d18c6be9144483d4b70b6", sha256, (file,))
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.metric3d:load",
        license=f"{NOT_STATED} for the weights (code BSD-2-Clause)",
        commercial=False,
        parameters=parameters,
        size_mb=size_mb,
        claim=_METRIC,
        description=f"Metric3D v2 {size.capitalize()}: metres of any camera, normals; the frame is fitted into its input",
        files=(f"{hub.folder}/{file}",),
        input=InputSize("exact", (616, 1064)),
        uncertainty="distribution",
        uses=_FOCAL,
        hub=hub,
        options={"name": name, "variant": size},
    )


def _vggt(name: str, hub: HubModel, license: str, commercial: bool, told: str) -> ModelInfo:
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.vggt:load",
        license=license,
        commercial=commercial,
        parameters=1_190_596_120,
        size_mb=5026.2,
        claim=_RELATIVE,
        description=f"VGGT: depth, poses and points of any number of views{told}",
        files=(f"{hub.folder}/{hub.files[-1]}",),
        input=long_side(518, 14),
        uses=frozenset({"several views"}),
        hub=hub,
        options={"name": name},
    )


OF_OUR_OWN: tuple[ModelInfo, ...] = (
    _depth_anything3(
        "small",
        HubModel(
            "depth-anything/DA3-SMALL",
            "e08cab65ca0ec38e7826075418411ab90cab4da3",
            "364492e38a3a06d221ac75da7f6621ada3f2361cd24fde11ba79091e9f40efcf",
        ),
        24_991_714,
        137.2,
        _RELATIVE,
        "Small (ViT-S), its single-view depth",
        500,
    ),
    _depth_anything3(
        "base",
        HubModel(
            "depth-anything/DA3-BASE",
            "f4a6c9b3c95e41c82048423d3493a81ec3fa810e",
            "e01067dc1659613083d9145a9a2547ccdbe6ccbbf83c4fe7b3e8a4e2bdae78b5",
        ),
        98_287_458,
        541.5,
        _RELATIVE,
        "Base (ViT-B), its single-view depth",
        400,
    ),
    _depth_anything3(
        "metric-large",
        HubModel(
            "depth-anything/DA3METRIC-LARGE",
            "4010e39f3634a45bc60553321fb49fb760bd594e",
            "bbea5b0b3ee389849cffa7ddae89de064a90abd2b055fc5aa99aac68db324776",
        ),
        334_171_394,
        1336.7,
        _METRIC,
        "Metric Large (ViT-L): metres of any camera, and where the sky is",
        100,
    ),
    _depth_anything3(
        "mono-large",
        HubModel(
            "depth-anything/DA3MONO-LARGE",
            "f465978e618db8cc79c83b8bbf24964857db1875",
            "7a799a7f95eb8d4c404c2ca8be3dc3276b350a417ddc4420db72ba850cc0e960",
        ),
        334_171_394,
        1336.7,
        _RELATIVE,
        "Mono Large (ViT-L): relative depth, and where the sky is",
        None,
    ),
    _moge(
        "small",
        "s",
        "679230677b4d282c6f304189a93e98e14f085902",
        "79a16621928c2bf0ed04659218c55c01075e950507f40bb3332fb4c873d3e1dc",
        35_103_656,
        140.6,
        300,
    ),
    _moge(
        "base",
        "b",
        "54ad3a693e61907ea4633d13dec6ee682fa09419",
        "16b8110e86d5dc5a849db120ca96ef3a223fd30b0c9146d1d81db504073da5f6",
        104_743_592,
        419.1,
        210,
    ),
    _moge(
        "large",
        "l",
        "b135031bae30b5ac2ae141a0e68717795ce38340",
        "280741fd09bc3f403ccff9967784c2a391b52d2c0742ae3efdb21d9f90cc1a01",
        330_901_544,
        1323.7,
        200,
    ),
    ModelInfo(
        name="video-depth-anything-small",
        loader=f"{_MODULES}.video_depth_anything:load",
        license="Apache-2.0",
        parameters=29_035_137,
        size_mb=116.4,
        claim=_DISPARITY,
        description="Video Depth Anything Small (ViT-S), frame by frame: each attends to those before it",
        files=("Video-Depth-Anything-Small/video_depth_anything_vits.pth",),
        input=long_side(518, 14),
        native=short_side(518, 14),
        uses=frozenset({"the past"}),
        hub=HubModel(
            "depth-anything/Video-Depth-Anything-Small",
            "256875362cff76724b920335dfb4b29dd611f66e",
            "13379300b739e659f076a59d52e9801bd8d38c541a7e71f73bbca4dcfb013609",
            ("video_depth_anything_vits.pth",),
        ),
    ),
    _metric3d("small", "b34b2a2be9148054991cef7e417930e1320602ba7bc503b0ee4e7888543728f6", 37_495_051, 150.1),
    _metric3d("large", "15328ffc42b528b95f188687418f6f03b3f123eb34ccdbd686c112abbea6d972", 411_941_915, 1648.0),
    _vggt(
        "vggt",
        HubModel(
            "facebook/VGGT-1B",
            "860abec7937da0a4c03c41d3c269c366e82abdf9",
            "f164acf60724910d8fe1578bb499d800850c7bb0948db7555c413f9fbe60467e",
            ("model.safetensors",),
        ),
        "CC BY-NC 4.0",
        False,
        "",
    ),
    _vggt(
        "vggt-commercial",
        HubModel("facebook/VGGT-1B-Commercial", files=("vggt_1B_commercial.pt",)),
        "VGGT (gated)",
        True,
        "; its authors' checkpoint for commercial, not for military use",
    ),
)
