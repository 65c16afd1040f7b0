"""Every entry of a model that comes through ``transformers``: what it loads, what it refuses, and what it states."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse import transformers_loading
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.registry import MODELS, load_coarse
from depth_retrofit_ros.errors import ModelError, WeightsError
from test.coarse import tiny_networks as tiny
from test.coarse.families import CPU, FAMILIES, Family, image, input_size, library_answer, saved

transformers = pytest.importorskip("transformers")


def tiny_of(info: ModelInfo) -> Family:
    """The family of an entry."""
    loader, options = info.loader.rpartition(".")[2], info.options
    if loader == "depth_anything:load":
        kind = {} if info.claim.inverse else {"depth_estimation_type": "metric", "max_depth": options["max_depth"]}
        return FAMILIES["depth anything"]._replace(net=lambda: tiny.depth_anything(**kind))
    if loader == "glpn:load":
        return FAMILIES["glpn"]._replace(net=lambda: tiny.glpn(max_depth=options["max_depth"]))
    if loader == "zoe_depth:load" and len(options["max_depths"]) == 1:  # type: ignore[arg-type]
        return FAMILIES["zoe nyu" if "nyu" in info.name else "zoe kitti"]
    return {
        "prompt_depth_anything:load": FAMILIES["prompt"],
        "depth_pro:load": FAMILIES["depth pro"],
        "dpt:load_midas": FAMILIES["midas hybrid" if options.get("hybrid") else "midas large"],
        "dpt:load_dinov2": FAMILIES["dpt on dinov2"],
        "tips:load": FAMILIES["tips"],
        "zoe_depth:load": FAMILIES["zoe nyu-kitti"],
    }[loader]


THROUGH_TRANSFORMERS = [info for info in MODELS.values() if info.needs == ("transformers",)]


def load_tiny(info: ModelInfo, weights: Path) -> Any:
    module, _, function = info.loader.partition(":")
    family = tiny_of(info)
    return getattr(import_module(module), function)(weights, CPU, info.claim, input_size(family), **info.options)


@pytest.mark.parametrize("info", THROUGH_TRANSFORMERS, ids=lambda info: info.name)
def test_every_entry_loads_a_network_of_its_kind(info: ModelInfo, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    net = tiny_of(info).net()
    weights = saved(net, tmp_path)
    capfd.readouterr()
    model = load_tiny(info, weights)
    assert capfd.readouterr() == ("", "")
    assert (model.name, model.claim) == (info.name, info.claim)
    prediction = model.predict(image(90, 120), Camera.from_hfov(120, 90, 60.0))
    assert bool((prediction.depth > 0).all()) and bool(prediction.depth.isfinite().all())
    square = model.planes(image(96, 96))
    if info.name != "zoedepth-kitti":  # whose range is not the file's
        torch.testing.assert_close(model.network(square)[0][0], library_answer(net, square), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("info", {info.loader: info for info in THROUGH_TRANSFORMERS}.values(), ids=lambda info: info.name)
def test_a_checkpoint_of_another_network_is_told_in_one_line(info: ModelInfo, tmp_path: Path) -> None:
    weights = saved(tiny_of(info).net(), tmp_path)
    tensors = safetensors.torch.load_file(weights)
    projection = next(name for name in sorted(tensors) if "head" in name or "decoder" in name)
    for changed, match in (
        ({name: value for name, value in tensors.items() if name != projection}, "made for another network .missing"),
        ({**tensors, "extra": torch.zeros(1)}, "made for another network .unexpected extra"),
        ({**tensors, projection: torch.full_like(tensors[projection], torch.nan)}, "not finite"),
    ):
        safetensors.torch.save_file(changed, weights, {"format": "pt"})
        refused(info, weights, match)
    config = weights.with_name("config.json")
    safetensors.torch.save_file(tensors, weights, {"format": "pt"})
    known = json.loads(config.read_text())
    config.write_text(json.dumps({**known, "model_type": "sam"}))
    refused(info, weights, "is a configuration of sam, not of")
    config.write_text("[]")
    refused(info, weights, "is not a configuration of")
    config.unlink()
    refused(info, weights, "config.json is missing")


def stating(net: Any, **settings: object) -> Any:
    """The network, whose configuration says more."""
    for key, value in settings.items():
        setattr(net.config, key, value)
    return net


def refused(info: ModelInfo, weights: Path, match: str) -> None:
    with pytest.raises(WeightsError, match=match) as caught:
        load_tiny(info, weights)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "net", "match"),
    [
        ("depth-anything-v2-small", lambda: tiny.depth_anything(depth_estimation_type="metric"), "depth_estimation_type metric"),
        (
            "depth-anything-v2-base-outdoor",
            lambda: tiny.depth_anything(depth_estimation_type="metric", max_depth=20),
            "max_depth 20",
        ),
        ("dpt-large", tiny.dpt_hybrid, "is_hybrid True"),
        ("dpt-dinov2-small-nyu", lambda: stating(tiny.dpt_dinov2(), max_depth=80), "max_depth 80"),
        ("dpt-dinov2-small-kitti", lambda: stating(tiny.dpt_dinov2(), max_depth=10), "max_depth 10"),
        ("dpt-hybrid", tiny.dpt_large, "is_hybrid False"),
        ("dpt-dinov2-small-nyu", tiny.dpt_large, "add_projection False"),
        ("glpn-kitti", tiny.glpn, "max_depth 10"),
        ("zoedepth-nyu", lambda: tiny.zoe_depth(heads=2), "has 2 metric heads"),
        ("zoedepth-nyu-kitti", tiny.zoe_depth, "has 1 metric heads"),
        ("prompt-depth-anything-small", lambda: tiny.prompt_depth_anything(depth_estimation_type="relative"), "relative"),
    ],
)
def test_a_checkpoint_of_a_sibling_is_refused(name: str, net: Callable[[], Any], match: str, tmp_path: Path) -> None:
    refused(MODELS[name], saved(net(), tmp_path), match)


@pytest.mark.parametrize("name", ["dpt-large", "dpt-dinov2-base-nyu", "zoedepth-nyu", "depth-anything-v1-small"])
def test_weights_that_never_run_may_be_missing(name: str, tmp_path: Path) -> None:
    """Public checkpoints lack them."""
    weights = saved(tiny_of(MODELS[name]).net(), tmp_path)
    whole = load_tiny(MODELS[name], weights).predict(image(90, 120), None).depth
    tensors = safetensors.torch.load_file(weights)
    kept = {key: value for key, value in tensors.items() if not key.startswith("neck.fusion_stage.layers.0.residual_layer1.")}
    assert len(kept) < len(tensors)
    kept["backbone.encoder.layer.0.attention.attention.relative_position_bias.relative_position_index"] = torch.zeros(2, 2)
    safetensors.torch.save_file(kept, weights, {"format": "pt"})
    torch.testing.assert_close(load_tiny(MODELS[name], weights).predict(image(90, 120), None).depth, whole, rtol=0, atol=0)


PUBLISHED = {
    "depth-anything-v1-base": "backbone.encoder.layer.0.attention.attention.query.weight",
    "prompt-depth-anything-large": "neck.fusion_stage.layers.3.prompt_depth_layer.convolution3.weight",
    "depth-pro": "depth_pro.encoder.patch_encoder.model.encoder.layer.0.attention.attention.query.weight",
    "zoedepth-nyu": "backbone.encoder.layer.0.attention.attention.relative_position_bias.relative_position_bias_table",
    "zoedepth-nyu-kitti": "metric_head.conditional_log_binomial.nyu.mlp.0.weight",
    "dpt-large": "dpt.encoder.layer.0.attention.attention.query.weight",
    "dpt-hybrid": "dpt.embeddings.backbone.bit.encoder.stages.0.layers.0.conv1.weight",
    "dpt-dinov2-large-kitti": "backbone.encoder.layer.0.attention.attention.query.weight",
    "glpn-nyu": "glpn.encoder.block.0.0.attention.self.query.weight",
    "tipsv2-base": "depth_head.depth_head.weight",
}


@pytest.mark.parametrize(("name", "key"), PUBLISHED.items(), ids=PUBLISHED)
def test_published_names_and_settings_of_older_versions_load(name: str, key: str, tmp_path: Path) -> None:
    """The library writes the published names; and the published files say more than the network needs to know."""
    weights = saved(tiny_of(MODELS[name]).net(), tmp_path)
    tensors = safetensors.torch.load_file(weights)
    assert key in tensors
    if name == "tipsv2-base":
        tensors |= {"normals_head.project.weight": torch.zeros(2), "segmentation_head.project.weight": torch.zeros(2)}
        safetensors.torch.save_file(tensors, weights, {"format": "pt"})
    config = weights.with_name("config.json")
    old: dict[str, object] = {
        "backbone": None,
        "backbone_kwargs": None,
        "use_pretrained_backbone": False,
        "use_timm_backbone": False,
    }
    old |= {"torch_dtype": "float32", "transformers_version": "4.38.0", "_commit_hash": None, "_name_or_path": "somewhere"}
    config.write_text(json.dumps({**json.loads(config.read_text()), **old}))
    assert bool((load_tiny(MODELS[name], weights).predict(image(90, 120), None).depth > 0).all())


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """To where anything wanted to connect."""
    asked: list[object] = []

    def refuse(*address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("no network in a test")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return asked


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"auto_map": {"AutoModel": "acme/evil--model.Net"}}, "auto_map"),
        ({"trust_remote_code": True}, "trust_remote_code"),
        ({"use_pretrained_backbone": True}, "use_pretrained_backbone"),
        ({"use_timm_backbone": True, "backbone": "resnet18", "backbone_config": None}, "use_timm_backbone"),
        (
            {"backbone": "facebook/dinov2-small", "backbone_config": None},
            "backbone facebook/dinov2-small without a backbone_config",
        ),
        (
            {"backbone_config": {"model_type": "timm_backbone", "backbone": "resnet18", "backbone_config": {"x": 1}}},
            "timm_backbone",
        ),
        ({"backbone_config": {"model_type": "dinov2", "auto_map": {"AutoModel": "a--b.C"}}}, "backbone_config with auto_map"),
        ({"quantization_config": {"quant_method": "acme"}}, "quantization_config"),
    ],
)
def test_a_configuration_reaches_neither_network_nor_code(
    change: dict[str, object], told: str, tmp_path: Path, no_sockets: list[object]
) -> None:
    weights = saved(tiny.depth_anything(), tmp_path)
    config = weights.with_name("config.json")
    config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
    refused(MODELS["depth-anything-v2-small"], weights, f"{told}.*, which would bring code or files from elsewhere")
    assert no_sockets == []


@pytest.mark.parametrize("place", ["top", "backbone"])
@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "_attn_implementation_internal"])
@pytest.mark.parametrize("value", ["kernels-community/flash-attn", "flash_attention_2", "eager"])
def test_how_attention_is_computed_is_not_the_files_to_say(
    key: str, value: str, place: str, tmp_path: Path, no_sockets: list[object]
) -> None:
    weights = saved(tiny.depth_anything(), tmp_path)
    usual = load_tiny(MODELS["depth-anything-v2-small"], weights).network.net
    config = weights.with_name("config.json")
    known = json.loads(config.read_text())
    (known if place == "top" else known["backbone_config"])[key] = value
    config.write_text(json.dumps(known))
    net = load_tiny(MODELS["depth-anything-v2-small"], weights).network.net
    assert net.config._attn_implementation == usual.config._attn_implementation
    assert net.backbone.config._attn_implementation == usual.backbone.config._attn_implementation == "sdpa"
    assert no_sockets == []


def test_a_network_is_built_without_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever way a version of the library may find there."""
    from huggingface_hub import constants, errors, get_session, hf_hub_download

    net_class = transformers.DepthAnythingForDepthEstimation
    usual = net_class.from_pretrained

    def curious(*arguments: Any, **settings: Any) -> Any:
        with pytest.raises((errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled)):
            hf_hub_download("acme/depth", "model.py", cache_dir=tmp_path / "hub")
        with pytest.raises(errors.OfflineModeIsEnabled):
            get_session().get("https://acme.invalid/model.py")
        return usual(*arguments, **settings)

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(net_class, "from_pretrained", curious)
    load_tiny(MODELS["depth-anything-v2-small"], saved(tiny.depth_anything(), tmp_path))
    assert constants.HF_HUB_OFFLINE is False


def test_an_older_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    with pytest.raises(ModelError, match=r"needs a newer transformers than .*, one with FutureNet: pip install --upgrade"):
        transformers_loading.load_network(tmp_path / "model.safetensors", "future", "FutureNet")


def test_pytorch_s_own_format_is_read_too(tmp_path: Path) -> None:
    info = MODELS["glpn-kitti"]
    net = tiny.glpn(max_depth=80)
    net.config.save_pretrained(tmp_path)
    torch.save(net.state_dict(), tmp_path / "pytorch_model.bin")
    model = load_coarse(info.name, weights=tmp_path, device="cpu", size=128)
    assert model.predict(image(90, 120), None).depth.shape == (96, 128)


def _full_configurations() -> dict[str, Callable[[], Any]]:
    """As published, by the conversion scripts of the library."""
    vit = {
        "small": ({"hidden_size": 384, "num_attention_heads": 6, "num_hidden_layers": 12}, (3, 6, 9, 12)),
        "base": ({"hidden_size": 768, "num_attention_heads": 12, "num_hidden_layers": 12}, (3, 6, 9, 12)),
        "large": ({"hidden_size": 1024, "num_attention_heads": 16, "num_hidden_layers": 24}, (5, 12, 18, 24)),
    }
    necks = {"small": ([48, 96, 192, 384], 64), "base": ([96, 192, 384, 768], 128), "large": ([256, 512, 1024, 1024], 256)}

    def backbone(size: str, apply_layernorm: bool = True) -> Any:
        shape, stages = vit[size]
        stages_out = [f"stage{stage}" for stage in stages]
        return transformers.Dinov2Config(
            **shape,
            patch_size=14,
            image_size=518,
            reshape_hidden_states=False,
            apply_layernorm=apply_layernorm,
            out_features=stages_out,
        )

    def depth_anything(size: str, kind: str = "DepthAnything") -> Any:
        neck, fusion = necks[size]
        config = getattr(transformers, f"{kind}Config")(
            backbone_config=backbone(size),
            reassemble_hidden_size=vit[size][0]["hidden_size"],
            neck_hidden_sizes=neck,
            fusion_hidden_size=fusion,
        )
        return getattr(transformers, f"{kind}ForDepthEstimation")(config)

    def on_dinov2(size: str) -> Any:
        neck = {**necks, "large": ([128, 256, 512, 1024], 256)}[size][0]
        config = transformers.DPTConfig(
            backbone_config=backbone(size, apply_layernorm=False),
            neck_hidden_sizes=neck,
            use_bias_in_fusion_residual=False,
            add_projection=True,
        )
        return transformers.DPTForDepthEstimation(config)

    def midas(**settings: Any) -> Any:
        return transformers.DPTForDepthEstimation(transformers.DPTConfig(**settings))

    def zoe(**settings: Any) -> Any:
        config = transformers.ZoeDepthConfig(neck_hidden_sizes=[256, 512, 1024, 1024], **settings)
        return transformers.ZoeDepthForDepthEstimation(config)

    def pro() -> Any:
        encoder = {**vit["large"][0], "mlp_ratio": 4, "image_size": 384, "patch_size": 16, "use_mask_token": False}
        encoders = {f"{part}_model_config": {"model_type": "dinov2", **encoder} for part in ("image", "patch", "fov")}
        return transformers.DepthProForDepthEstimation(transformers.DepthProConfig(use_fov_model=True, **encoders))

    large: dict[str, Any] = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
    large |= {"backbone_out_indices": [5, 11, 17, 23], "neck_hidden_sizes": [256, 512, 1024, 1024]}
    patch_transformer = {"num_patch_transformer_layers": 4, "patch_transformer_hidden_size": 128}
    patch_transformer |= {"patch_transformer_intermediate_size": 1024, "patch_transformer_num_attention_heads": 4}
    found: dict[str, Callable[[], Any]] = {
        "depth-pro": pro,
        "zoedepth-nyu": zoe,
        "zoedepth-kitti": lambda: zoe(bin_centers_type="normed"),
        "zoedepth-nyu-kitti": lambda: zoe(bin_configurations=tiny.SCENES, **patch_transformer),
        "dpt-large": lambda: midas(**large),
        "dpt-hybrid": lambda: midas(is_hybrid=True, reassemble_factors=[1, 1, 1, 0.5], neck_hidden_sizes=[256, 512, 768, 768]),
        "glpn-nyu": lambda: transformers.GLPNForDepthEstimation(
            transformers.GLPNConfig(hidden_sizes=[64, 128, 320, 512], depths=[3, 8, 27, 3])
        ),
        "tipsv2-base": lambda: transformers.Tipsv2DptForDepthEstimation(transformers.Tipsv2DptConfig()),
    }
    for size in vit:
        found[f"depth-anything-v2-{size}"] = found[f"depth-anything-v1-{size}"] = partial(depth_anything, size)
        found[f"dpt-dinov2-{size}-nyu"] = partial(on_dinov2, size)
    for size in ("small", "large"):
        found[f"prompt-depth-anything-{size}"] = partial(depth_anything, size, "PromptDepthAnything")
    return found


@pytest.mark.parametrize("name", sorted(_full_configurations()))
def test_entries_state_the_networks_size(name: str) -> None:
    with torch.device("meta"):
        net = _full_configurations()[name]()
    info = MODELS[name]
    assert sum(parameter.numel() for parameter in net.parameters()) == info.parameters
    siblings = [other for other in THROUGH_TRANSFORMERS if other.name.startswith(name.removesuffix("-nyu"))]
    assert all(
        other.parameters == info.parameters for other in siblings if other.loader == info.loader != MODELS["zoedepth-nyu"].loader
    )
    bytes_each = 2 if name == "depth-pro" else 4
    if name != "tipsv2-base":  # its file has two more heads
        assert info.size_mb == pytest.approx(bytes_each * info.parameters / 1e6, rel=0.04)


def test_the_larger_depth_anything_v2_and_depth_pro_are_not_for_products() -> None:
    not_commercial = {info.name for info in THROUGH_TRANSFORMERS if not info.commercial}
    larger = {f"depth-anything-v2-{size}{kind}" for size in ("base", "large") for kind in ("", "-indoor", "-outdoor")}
    assert not_commercial == {*larger, "depth-pro"}


def test_only_depth_pro_is_metric_by_itself_and_only_the_prompted_by_a_sensor() -> None:
    words = {info.name: info.claim.word for info in THROUGH_TRANSFORMERS}
    assert [name for name, word in words.items() if word == "camera"] == ["depth-pro"]
    assert [name for name, word in words.items() if word == "sensor"] == [
        "prompt-depth-anything-small",
        "prompt-depth-anything-large",
    ]
    assert all("sparse depth" in info.uses for info in THROUGH_TRANSFORMERS if info.claim.word == "sensor")
