"""The models that come through ``transformers``, a function for each family."""

from __future__ import annotations

from typing import NamedTuple

from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.hub import FILES, HubModel
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import InputSize, long_side, short_side

_MODULES = "depth_retrofit_ros.coarse"
_NON_COMMERCIAL = "CC BY-NC 4.0"
_TORCH = ("config.json", "pytorch_model.bin")  # of repositories that have no safetensors
_DISPARITY = ScaleClaim("disparity", "never")
_NYU = "indoor scenes and cameras like those of NYU Depth v2"
_KITTI = "streets and cameras like those of KITTI"
_AS_TRAINED = {"nyu": 640, "kitti": 1242}
"""Long side [px] of the frames of a training. How large a thing is in pixels tells a model that knows one camera how near it is: at
another size its metres would be others."""
_HYPERSIM = "indoor scenes and cameras like those of Hypersim"
_VIRTUAL_KITTI = "streets and cameras like those of Virtual KITTI 2"


class _Size(NamedTuple):
    """Of a ViT: its name as the families spell it, and the parameters of Depth Anything on it."""

    name: str
    letter: str
    parameters: int

    @property
    def title(self) -> str:
        return f"{self.name.capitalize()} (ViT-{self.letter})"


_SIZES = _Size("small", "S", 24_785_089), _Size("base", "B", 97_470_785), _Size("large", "L", 335_315_649)


def _weights_mb(parameters: int, bytes_each: int = 4) -> float:
    """Of a checkpoint with that many numbers [MB]."""
    return round(parameters * bytes_each / 1e6, 1)


def _files(hub: HubModel) -> tuple[str, ...]:
    return tuple(f"{hub.folder}/{file}" for file in dict.fromkeys((hub.files[-1], "model.safetensors")))


def _domain(where: str) -> ScaleClaim:
    return ScaleClaim("metric", "domain", where)


_V2_PINS = {
    "small": (
        "5426e4f0f36572d16453bbda7a8389317b1bef99",
        "3152477ce0d8d6978d76b995120de97cb5b928701fd0f817769f59e249a16b70",
    ),
    "small-indoor": (
        "8078d68a9c75a972131914f6afd0c1723be0da7f",
        "e990eb82fbf11b05b7813261196a2b841bdcf5a05f64396724a8987fa90504a3",
    ),
    "small-outdoor": (
        "fd2c22027eaf20374204f14099b8341e1925ad39",
        "ad065c77a7421ca55159a1f0db9433397a607690f2d76bb8a6fc54b1be7a3124",
    ),
    "large": (
        "7581137eff8d4e94f6e796d3baea0e9fa79b22d2",
        "4e01e34ed5549b529b70b92d53226bc370f03041977b390d3dde45d47f516cf9",
    ),
}


def _depth_anything(
    name: str, size: _Size, hub: HubModel, license: str, claim: ScaleClaim, told: str, max_depth: float | None = None
) -> ModelInfo:
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.depth_anything:load",
        license=license,
        commercial=license != _NON_COMMERCIAL,
        parameters=size.parameters,
        size_mb=99.2 if size.name == "small" else _weights_mb(size.parameters),  # the small ones were weighed
        claim=claim,
        description=told,
        files=_files(hub),
        input=long_side(518, 14),  # the side of the square it was trained at
        native=short_side(518, 14),
        hub=hub,
        needs=("transformers",),
        auto_rank=510 if name == "depth-anything-v2-small" else None,
        options={"name": name} | ({} if max_depth is None else {"max_depth": max_depth}),
    )


def _v1(size: _Size) -> ModelInfo:
    hub = HubModel(f"LiheYoung/depth-anything-{size.name}-hf")
    told = f"Depth Anything V1 {size.title}"
    return _depth_anything(f"depth-anything-v1-{size.name}", size, hub, "Apache-2.0", _DISPARITY, told)


def _v2(size: _Size) -> tuple[ModelInfo, ...]:
    """Relative, indoor and outdoor. The hub calls the larger metric ones Apache-2.0, which their authors do not: theirs counts."""
    license = "Apache-2.0" if size.name == "small" else _NON_COMMERCIAL
    kinds = (
        ("", "", _DISPARITY, "", None),
        ("-indoor", "Metric-Indoor-", _domain(_HYPERSIM), ", tuned on Hypersim, up to 20 m", 20),
        ("-outdoor", "Metric-Outdoor-", _domain(_VIRTUAL_KITTI), ", tuned on Virtual KITTI 2, up to 80 m", 80),
    )
    return tuple(
        _depth_anything(
            f"depth-anything-v2-{size.name}{suffix}",
            size,
            HubModel(
                f"depth-anything/Depth-Anything-V2-{part}{size.name.capitalize()}-hf",
                *_V2_PINS.get(f"{size.name}{suffix}", (None, None)),
            ),
            license,
            claim,
            f"Depth Anything V2 {size.title}{told}",
            max_depth,
        )
        for suffix, part, claim, told, max_depth in kinds
    )


def _prompted(size: _Size, parameters: int) -> ModelInfo:
    name = f"prompt-depth-anything-{size.name}"
    hub = HubModel(f"depth-anything/prompt-depth-anything-vit{size.letter.lower()}-hf")
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.prompt_depth_anything:load",
        license="Apache-2.0",
        parameters=parameters,
        size_mb=_weights_mb(parameters),
        claim=ScaleClaim("metric", "sensor"),
        description=f"Prompt Depth Anything {size.title}: takes sparse depth, and answers on its scale",
        files=_files(hub),
        input=long_side(518, 14),
        native=long_side(1008, 14),
        uses=frozenset({"sparse depth"}),
        hub=hub,
        needs=("transformers",),
        options={"name": name},
    )


def _depth_pro() -> ModelInfo:
    hub = HubModel("apple/DepthPro-hf")
    return ModelInfo(
        name="depth-pro",
        loader=f"{_MODULES}.depth_pro:load",
        license="Apple AMLR (research only)",
        commercial=False,
        parameters=951_991_330,
        size_mb=_weights_mb(951_991_330, bytes_each=2),
        claim=ScaleClaim("metric", "camera"),
        description="Depth Pro: sharp, metric for any camera, slow",
        files=_files(hub),
        input=InputSize("exact", (1536, 1536)),
        uses=frozenset({"focal length"}),
        hub=hub,
        needs=("transformers",),
        options={"name": "depth-pro"},
    )


_ZOE_PINS = {
    "nyu": (
        "52ae69caf7896c927909b3ceab4249c235e16dc1",
        "b616e347efc30e64822be28d2464c2fcd0b665b5fdbc9a135d53d168c31c77ab",
    ),
    "nyu-kitti": (
        "f364d4c7936e91f465abba182208dd68142bf0ca",
        "c5494fa0938f18d71e215e245472470c3aefebd7b434abd89750e5ae4008e2dc",
    ),
}


def _zoe(variant: str, parameters: int, where: str, size: InputSize, max_depths: tuple[float, ...]) -> ModelInfo:
    hub, name = HubModel(f"Intel/zoedepth-{variant}", *_ZOE_PINS.get(variant, (None, None))), f"zoedepth-{variant}"
    told = f"tuned on {variant.upper()}" if len(max_depths) == 1 else "a head of NYU and one of KITTI behind a router"
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.zoe_depth:load",
        license="MIT",
        parameters=parameters,
        size_mb=_weights_mb(parameters),
        claim=_domain(where),
        description=f"ZoeDepth on BEiT-L, {told}",
        files=_files(hub),
        input=size,
        uncertainty="distribution",
        hub=hub,
        needs=("transformers",),
        options={"name": name, "max_depths": max_depths},
    )


def _midas(name: str, repo: str, parameters: int, hybrid: bool, told: str) -> ModelInfo:
    hub = HubModel(f"Intel/{repo}", files=_TORCH if hybrid else FILES)
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.dpt:load_midas",
        license="Apache-2.0",
        parameters=parameters,
        size_mb=_weights_mb(parameters if hybrid else parameters - _UNUSED),
        claim=_DISPARITY,
        description=told,
        files=_files(hub),
        input=long_side(512, 32),
        native=short_side(384, 32),
        hub=hub,
        needs=("transformers",),
        options={"name": name, "hybrid": hybrid},
    )


_UNUSED, _UNUSED_DINOV2 = 1_180_160, 1_179_648  # parameters that never run, and that the checkpoints leave out


def _dpt_dinov2(size: _Size, parameters: int, data: str) -> ModelInfo:
    name = f"dpt-dinov2-{size.name}-{data}"
    hub = HubModel(f"facebook/{name}", files=_TORCH)
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.dpt:load_dinov2",
        license="Apache-2.0",
        parameters=parameters,
        size_mb=_weights_mb(parameters - _UNUSED_DINOV2),
        claim=_domain(_NYU if data == "nyu" else _KITTI),
        description=f"DPT on frozen DINOv2 {size.title}, tuned on {data.upper()}",
        files=_files(hub),
        input=long_side(_AS_TRAINED[data], 28),
        hub=hub,
        needs=("transformers",),
        options={"name": name, "max_depth": 10 if data == "nyu" else 80},
    )


def _glpn(data: str, max_depth: int) -> ModelInfo:
    name = f"glpn-{data}"
    hub = HubModel(f"vinvino02/{name}", files=FILES if data == "nyu" else _TORCH)
    return ModelInfo(
        name=name,
        loader=f"{_MODULES}.glpn:load",
        license="Apache-2.0",
        parameters=61_220_903,
        size_mb=_weights_mb(61_220_903),
        claim=_domain(_NYU if data == "nyu" else _KITTI),
        description=f"GLPN on MiT-B4, trained on {data.upper()}, up to {max_depth} m",
        files=_files(hub),
        input=long_side(_AS_TRAINED[data], 32),
        hub=hub,
        needs=("transformers",),
        options={"name": name, "max_depth": max_depth},
    )


def _tips() -> ModelInfo:
    hub = HubModel("google/tipsv2-b14-dpt")
    return ModelInfo(
        name="tipsv2-base",
        loader=f"{_MODULES}.tips:load",
        license="Apache-2.0",
        parameters=110_244_032,
        size_mb=_weights_mb(158_007_257),  # with the heads for normals and segmentation
        claim=_domain(_NYU),
        description="TIPSv2 (ViT-B) with a DPT head of 256 depths up to 10 m, trained on NYU",
        files=_files(hub),
        input=long_side(448, 28),
        native=InputSize("exact", (448, 448)),
        uncertainty="distribution",
        hub=hub,
        needs=("transformers",),
        options={"name": "tipsv2-base"},
    )


_SMALL, _BASE, _LARGE = _SIZES
THROUGH_TRANSFORMERS: tuple[ModelInfo, ...] = (
    *_v2(_SMALL),
    *_v2(_BASE),
    *_v2(_LARGE),
    *map(_v1, _SIZES),
    _prompted(_SMALL, 25_083_073),
    _prompted(_LARGE, 340_046_529),
    _depth_pro(),
    _zoe("nyu", 343_789_698, _NYU, short_side(320, 32), (10.0,)),
    _zoe("kitti", 343_793_439, _KITTI, long_side(704, 32), (80.0,)),
    _zoe(
        "nyu-kitti",
        345_073_307,
        "rooms and streets, and cameras like those of NYU Depth v2 and KITTI",
        short_side(320, 32),
        (10.0, 80.0),
    ),
    _midas("dpt-large", "dpt-large", 343_030_465, False, "MiDaS 3.0 DPT (ViT-L)"),
    _midas("dpt-hybrid", "dpt-hybrid-midas", 122_377_985, True, "MiDaS 3.0 DPT hybrid (ResNet-50 and ViT-B)"),
    *(
        _dpt_dinov2(size, parameters, data)
        for size, parameters in zip(_SIZES, (37_197_601, 111_954_049, 339_738_305), strict=True)
        for data in ("nyu", "kitti")
    ),
    _glpn("nyu", 10),
    _glpn("kitti", 80),
    _tips(),
)
