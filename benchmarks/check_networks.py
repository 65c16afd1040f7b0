#!/usr/bin/env python3
"""Our own networks beside the published code, with the same weights: how far they differ; makes the fixtures that hold them to it.

The published code is no part of this repository: check it out and install what it imports, or put stand-ins on PYTHONPATH for
what no forward pass uses. Then

    python benchmarks/check_networks.py depth_anything3 ~/Depth-Anything-3
    python benchmarks/check_networks.py depth_anything3 ~/Depth-Anything-3 --write ByteDance-Seed/Depth-Anything-3@COMMIT

compares, and writes test/coarse/networks/fixtures/depth_anything3.json beside it. Weights are random, see
``test/coarse/networks/parity.py``; the networks are small, of the sizes in the tests. Names and shapes are compared at full size.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from depth_retrofit_ros.coarse.networks import depth_anything3, metric3d, moge, video_depth_anything  # noqa: E402
from depth_retrofit_ros.coarse.networks.temporal import TemporalMemory  # noqa: E402
from depth_retrofit_ros.coarse.networks.vggt.camera_head import decode_poses  # noqa: E402
from depth_retrofit_ros.coarse.networks.vggt.model import LEFT_OUT, Vggt, VggtSize  # noqa: E402
from depth_retrofit_ros.refinement.urgt.published_net import PublishedUrgt  # noqa: E402
from test.coarse.networks import test_depth_anything3 as da3_test  # noqa: E402
from test.coarse.networks import test_metric3d as metric3d_test  # noqa: E402
from test.coarse.networks import test_moge as moge_test  # noqa: E402
from test.coarse.networks import test_vggt as vggt_test  # noqa: E402
from test.coarse.networks import test_video_depth_anything as video_test  # noqa: E402
from test.coarse.networks.parity import SOURCE, fill, random_input, read_fixture, signature, write_fixture  # noqa: E402
from test.coarse.networks.published import (  # noqa: E402
    Comparison,
    bare_package,
    inputs_of,
    linspace_on_cpu,
    on_meta,
    same_signature,
    vision_transformer,
)
from test.refinement.prv2 import test_fusion_net as prv2_test  # noqa: E402
from test.refinement.urgt import test_published_net as urgt_test  # noqa: E402

KEPT = (0, 1, 10, 11, 12, 13, 30, 31, 41, 42, 43, 55)  # frames of the video, beyond where the memory is full


def compare_depth_anything3(checkout: Path, comparison: Comparison) -> dict[str, Any]:
    sys.path.insert(0, str(checkout / "src"))
    code = {name: import_module(f"depth_anything_3.model.{name}") for name in ("da3", "dpt", "dualdpt", "cam_enc", "cam_dec")}
    wrapper = import_module("depth_anything_3.model.dinov2.dinov2").DinoV2
    encoder = import_module("depth_anything_3.model.dinov2.vision_transformer").DinoVisionTransformer

    def published(architecture: depth_anything3.Architecture) -> Any:
        size, start = architecture.encoder, -1 if architecture.any_view is None else architecture.any_view
        wrapped = wrapper.__new__(wrapper)  # its constructor knows the released sizes alone
        nn.Module.__init__(wrapped)
        wrapped.out_layers = list(architecture.taken)
        starts = {"alt_start": start, "qknorm_start": start, "rope_start": start, "cat_token": start >= 0}
        wrapped.pretrained = encoder(518, 14, embed_dim=size.width, depth=size.depth, num_heads=size.heads, mlp_ratio=4, **starts)
        head = {"features": architecture.features, "out_channels": list(architecture.channels)}
        if start < 0:
            net = code["da3"].DepthAnything3Net(wrapped, code["dpt"].DPT(size.width, output_dim=1, **head))
        else:
            cameras = code["cam_dec"].CameraDec(dim_in=2 * size.width), code["cam_enc"].CameraEnc(size.width, num_heads=size.heads)
            net = code["da3"].DepthAnything3Net(wrapped, code["dualdpt"].DualDPT(2 * size.width, output_dim=2, **head), *cameras)
        net._process_mono_sky_estimation = lambda output: output
        return net.eval()

    full = {}
    for name in ("SMALL", "BASE", "MONOCULAR_LARGE"):
        architecture = getattr(depth_anything3, name)
        with on_meta():
            net, ours = published(architecture), depth_anything3.build(architecture)
        used = depth_anything3.depth_weights(net.state_dict())
        assert {key: x.shape for key, x in used.items()} == {key: x.shape for key, x in ours.state_dict().items()}
        left_out = sorted({start for start in depth_anything3.LEFT_OUT if any(key.startswith(start) for key in net.state_dict())})
        full[name.rpartition("_")[2].lower()] = {
            **signature(net, lambda key: f"model.{key}"),
            "used": signature(ours),
            "left_out": left_out,
            "parameters": sum(parameter.numel() for parameter in net.parameters()),
        }
    runs = []
    for kind, architecture in da3_test.TINY.items():
        net, ours = published(architecture), da3_test.tiny(kind)
        fill(net)
        for height, width in ((56, 84), (98, 42), (70, 70)):
            planes = da3_test.planes(kind, height, width)
            with torch.no_grad(), inputs_of(net.head.scratch.output_conv2[-1]) as features:
                answer = net(planes[:, None])
                depth, ours_features, beside = ours(planes)
            name = da3_test.BESIDE[kind]
            its_beside = answer.sky if name == "sky" else answer.depth_conf
            theirs = {"depth": answer.depth[0], "features": features[0], name: its_beside[0]}
            outputs = comparison.outputs(theirs, {"depth": depth, "features": ours_features, name: beside})
            runs.append({"kind": kind, "size": [height, width], "outputs": outputs})
    return {"full": full, "runs": runs}


def compare_video_depth_anything(checkout: Path, comparison: Comparison) -> dict[str, Any]:
    """Frame by frame in the published streaming loop."""
    sys.path.insert(0, str(checkout))
    net_of = import_module("video_depth_anything.video_depth_stream").VideoDepthAnything
    head = import_module("video_depth_anything.dpt_temporal").DPTHeadTemporal
    released = net_of(encoder="vits", features=64, out_channels=[48, 96, 192, 384])
    with torch.device("meta"):
        full = same_signature(released, video_depth_anything.VideoDepth(video_depth_anything.SMALL))
    full["parameters"] = sum(parameter.numel() for parameter in released.parameters())

    net, tiny = released.eval(), video_test.TINY
    net.intermediate_layer_idx = {"vits": list(tiny.taken)}
    net.pretrained = vision_transformer("video_depth_anything.dinov2", "video_depth_anything.dinov2_layers", tiny.encoder)
    net.head = head(tiny.encoder.width, tiny.features, False, out_channels=list(tiny.channels), num_frames=32, pe="ape")
    net.eval()
    fixed = {name: values.clone() for name, values in net.named_buffers()}
    fill(net)
    net.load_state_dict(fixed, strict=False)
    ours, memory = video_test.tiny(), TemporalMemory()
    height, width = video_test.HEIGHT, video_test.WIDTH
    frames = []
    for number in range(max(KEPT) + 1):
        image = (random_input(f"frame {number}", (height, width, 3)) * 255).numpy().astype(np.uint8)
        with torch.no_grad(), inputs_of(net.head.scratch.output_conv2[2]) as features:
            disparity = torch.from_numpy(net.infer_video_depth_one(image, input_size=min(height, width), device="cpu", fp32=True))
            answer, ours_features, state = ours(video_test.frame(number), memory.past())
        memory.add(state)
        theirs = {"disparity": disparity[None], "features": features[0]}
        outputs = comparison.outputs(theirs, {"disparity": answer, "features": ours_features})
        if number in KEPT:
            frames.append({"frame": number, "outputs": outputs})
    return {"full": full, "size": [height, width], "frames": frames}


def compare_moge(checkout: Path, comparison: Comparison) -> dict[str, Any]:
    """The points' projection is the old fixture's: one that makes the random points look like those of a camera."""
    sys.path.insert(0, str(checkout))
    v2: Any = import_module("moge.model.v2")
    backbones: Any = import_module("moge.model.dinov2.hub.backbones")
    layers = "moge.model.dinov2.models.vision_transformer"
    backbones.tiny = lambda pretrained=False: vision_transformer(layers, layers, moge_test.TINY)
    moge.ENCODERS = {**moge.ENCODERS, "tiny": moge_test.TINY}
    signatures = {}
    for size, config in moge_test.RELEASED.items():
        with on_meta():
            signatures[size] = same_signature(v2.MoGeModel(**config), moge.MoGe(moge.config_of(config)))

    projection = read_fixture("moge")["projection"]
    net = moge_test.filled(v2.MoGeModel(**moge_test.tiny_config()), projection)
    ours = moge_test.filled(moge.MoGe(moge.config_of(moge_test.tiny_config())), projection)
    recover, focal = v2.recover_focal_shift, {}

    def recovering(*args: Any, **named: Any) -> Any:
        found = recover(*args, **{name: value for name, value in named.items() if value is not None})
        focal["last"] = found[0]
        return found

    v2.recover_focal_shift = recovering
    cases = {}
    for case, (height, width, rows, columns, fov_x) in moge_test.CASES.items():
        image = random_input(case, (1, 3, height, width))
        with torch.no_grad(), inputs_of(net.points_head.output_blocks[-1]) as features:
            raw = net(image, rows * columns)
        answer = net.infer(image, num_tokens=rows * columns, fov_x=fov_x, use_fp16=False)
        known = answer["mask"][0]
        theirs = {
            "points": raw["points"][0].permute(2, 0, 1),
            "normals": raw["normal"][0].permute(2, 0, 1),
            "mask": raw["mask"][0],
            "features": features[0][0],
            "known": known.float(),
            "scale_and_focal": torch.cat((raw["metric_scale"], focal["last"])),
            "depth": torch.where(known, answer["depth"][0], 0.0),
        }
        cases[case] = comparison.outputs(theirs, moge_test.answers(ours, case))
    return {"signatures": signatures, "answers": cases, "projection": projection}


def compare_metric3d(checkout: Path, comparison: Comparison) -> dict[str, Any]:
    for package in ("mono", "mono.model", "mono.model.backbones", "mono.model.decode_heads", "mono.utils"):
        bare_package(package, checkout.joinpath(*package.split(".")))
    backbones = "mono.model.backbones.ViT_DINO_reg"
    decoder = import_module("mono.model.decode_heads.RAFTDepthNormalDPTDecoder5").RAFTDepthNormalDPT5

    def published(encoder: nn.Module, config: metric3d.Metric3DConfig) -> Any:
        head = SimpleNamespace(
            in_channels=[config.encoder.width] * 4,
            use_cls_token=True,
            feature_channels=list(config.features),
            decoder_channels=[config.decoder[0] // 2, *config.decoder],
            up_scale=7,
            hidden_channels=[config.hidden] * 4,
            n_gru_layers=3,
            n_downsample=2,
            iters=config.steps,
            slow_fast_gru=True,
            num_register_tokens=metric3d.REGISTERS,
        )
        settings = SimpleNamespace(model=SimpleNamespace(decode_head=head), data_basic=SimpleNamespace(depth_normalize=(0.1, 200)))
        with linspace_on_cpu():
            return nn.ModuleDict({"encoder": encoder, "decoder": decoder(settings)}).eval()

    signatures = {}
    for size, name, config in (("s", "vit_small_reg", metric3d.SMALL), ("l", "vit_large_reg", metric3d.LARGE)):
        with on_meta():
            net, ours = published(getattr(import_module(backbones), name)(), config), metric3d.Metric3D(config)
        signatures[size] = same_signature(net, ours, name_of=metric3d.published_name)
    registers = {"num_register_tokens": metric3d.REGISTERS, "block_chunks": 1}
    net = published(vision_transformer(backbones, backbones, metric3d_test.TINY.encoder, **registers), metric3d_test.TINY)
    fill(net)
    ours, answers = metric3d_test.tiny_network(), {}
    for case, input_size in metric3d_test.CASES.items():
        image = (random_input(case, (1, 3, *input_size)) - 0.5) * 4
        bins: list[Tensor] = []
        hook = net["decoder"].depth_regressor.register_forward_hook(lambda module, args, out, bins=bins: bins.append(out))
        with torch.no_grad(), linspace_on_cpu():
            answer = net["decoder"](net["encoder"](image))
        hook.remove()
        theirs = {
            "depth": answer["prediction"][0, 0],
            "normals": answer["prediction_normal"][0, :3],
            "bins": bins[0].log_softmax(1)[0],
        }
        answers[case] = comparison.outputs(theirs, metric3d_test.answers(ours, case))
    return {"signatures": signatures, "answers": answers}


def compare_vggt(checkout: Path, comparison: Comparison) -> dict[str, Any]:
    sys.path.insert(0, str(checkout))
    aggregator = import_module("vggt.models.aggregator").Aggregator
    camera, dense = import_module("vggt.heads.camera_head").CameraHead, import_module("vggt.heads.dpt_head").DPTHead
    decode = import_module("vggt.utils.pose_enc").pose_encoding_to_extri_intri

    def published(size: VggtSize) -> Any:
        width = size.encoder.width
        trunk = aggregator(size.pretrained_size, 14, width, depth=size.layers, num_heads=size.heads, patch_embed="conv")
        registers = {"num_register_tokens": 4, "interpolate_antialias": True, "interpolate_offset": 0.0}
        trunk.patch_embed = vision_transformer(
            "vggt.layers.vision_transformer", "vggt.layers", size.encoder, img_size=size.pretrained_size, **registers
        )
        head = {"features": size.head_width, "out_channels": list(size.stages), "intermediate_layer_idx": list(size.taken)}
        parts = {
            "aggregator": trunk,
            "camera_head": camera(dim_in=2 * width, trunk_depth=size.camera_layers, num_heads=size.camera_heads),
            "point_head": dense(2 * width, output_dim=4, activation="inv_log", conf_activation="expp1", **head),
            "depth_head": dense(2 * width, output_dim=2, activation="exp", conf_activation="expp1", **head),
        }
        return nn.ModuleDict(parts).eval()

    net, ours = published(vggt_test.TINY), Vggt(vggt_test.TINY).eval()
    tiny = same_signature(net, ours)
    fill(net)
    fill(ours)
    cases = {}
    for views, height, width in vggt_test.CASES:
        images, theirs = random_input("images", (views, 3, height, width)), {}
        with torch.no_grad():
            tokens, start = net["aggregator"](images[None])
            for name in ("depth", "points"):
                head = net[f"{name.removesuffix('s')}_head"]
                with inputs_of(head.scratch.output_conv2[2]) as features:
                    answer, confidence = head(tokens, images=images[None], patch_start_idx=start)
                theirs[name] = answer[0, ..., 0] if name == "depth" else answer[0]
                theirs.update({f"{name}_confidence": confidence[0], f"{name}_features": torch.cat(features)})
            encoding = net["camera_head"](tokens)[-1]
            theirs.update(pose_encoding=encoding[0], camera_from_world=decode(encoding, (height, width))[0][0])
        cases[f"{views}x{height}x{width}"] = comparison.outputs(theirs, vggt_test.answers(ours, images))
    encodings = vggt_test.pose_encodings()
    extrinsics, intrinsics = (x[0] for x in decode(encodings[None], (42, 70)))
    focal = torch.stack((intrinsics[:, 0, 0], intrinsics[:, 1, 1]), -1)
    mine = dict(zip(("camera_from_world", "focal_lengths"), decode_poses(encodings, 42, 70), strict=True))
    poses = comparison.outputs({"camera_from_world": extrinsics, "focal_lengths": focal}, mine)
    with on_meta():
        full, whole = import_module("vggt.models.vggt").VGGT(), Vggt()
    for part in LEFT_OUT:
        delattr(full, part.rstrip("."))
    return {"cases": cases, "poses": poses, "tiny": tiny, "VGGT-1B": same_signature(full, whole)}


def compare_prv2(checkout: Path, comparison: Comparison) -> dict[str, Any]:
    """The fusion alone; the published code's units for skips that do not exist are left out."""
    for package in ("estimator", "estimator.models", "estimator.models.blocks", "external", "external.depth_anything"):
        bare_package(package, checkout.joinpath(*package.split(".")))
    sys.path.insert(0, str(checkout))
    code, widths = import_module("estimator.models.blocks.bi_directional_fusion_model"), prv2_test.TINY
    channels = {"coarse_chl": list(widths.coarse), "fine_chl": list(widths.fine)}
    net = code.BiDirectionalFusion(
        coarse2fine=False,
        fine_chl_after_coarse2fine=[widths.coarse[0], *(widths.path,) * 5],
        temp_chl=list(widths.joint),
        dec_chl=list(widths.decoder),
        **channels,
    ).eval()
    net.c2f, net.coarse2fine, net.coarse2fine_type = code.C2FModule(features=widths.path, **channels), True, "coarse-gated"
    for unused in (net.c2f.scratch.refinenet5, net.c2f.scratch.output_conv2_fusion):
        del unused.GateresConfUnit1
    ours = prv2_test.filled()
    found = same_signature(net, ours, name_of=prv2_test.published_name)
    fill(net)
    fine, coarse, depth = prv2_test.inputs()
    own: list[Tensor] = []
    hook = net.c2f.register_forward_hook(lambda module, args, out: own.append(out[1]))
    with torch.no_grad():
        offset = net(list(coarse), [fine[0], *fine], depth, torch.zeros_like(depth))
    hook.remove()
    return {"signature": found, "answers": comparison.outputs({"offset": offset, "own": own[0]}, prv2_test.answers(ours))}


def compare_urgt(checkout: Path, comparison: Comparison) -> dict[str, Any]:
    """Tiles side by side, where the positions of both are the same."""
    for package in ("src", "src.external"):
        bare_package(package, checkout.joinpath(*package.split(".")))
    vggt = "src.external.vggt"
    aggregator = import_module(f"{vggt}.models.aggregator_joint").Aggregator_Joint
    dense = import_module(f"{vggt}.heads.dpt_head").DPTHead
    whole = import_module(f"{vggt}.models.vggt_joint").VGGT_Joint

    size = urgt_test.TINY
    width, head = size.encoder.width, {"features": size.head_width, "out_channels": list(size.stages)}
    net = whole.__new__(whole)  # its constructor knows the released size alone
    nn.Module.__init__(net)
    trunk = aggregator(size.pretrained_size, 14, width, depth=size.layers, num_heads=size.heads, patch_embed="conv")
    registers = {"num_register_tokens": 4, "interpolate_antialias": True, "interpolate_offset": 0.0}
    trunk.patch_embed = vision_transformer(
        f"{vggt}.layers.vision_transformer_joint", f"{vggt}.layers", size.encoder, img_size=size.pretrained_size, **registers
    )
    head["intermediate_layer_idx"] = list(size.taken)
    net.aggregator = trunk
    net.depth_head, net.normal_head = (
        dense(2 * width, output_dim=outputs, activation="no_constrain", conf_activation="expp1", **head) for outputs in (2, 4)
    )
    net.camera_head = net.point_head = net.track_head = None
    ours = PublishedUrgt(size).eval()
    same_signature(net.eval(), ours)
    fill(net)
    fill(ours)
    cases = {}
    for along in urgt_test.GRIDS:
        colors, depth, normals = urgt_test.inputs(along**2)
        with torch.no_grad():
            answer = net(colors[None], depth_prior=depth[None], normal_prior=normals)
        theirs = {"depth": answer["depth"][0, ..., 0], "normals": answer["normal"][0].permute(0, 3, 1, 2)}
        cases[f"{along}x{along}"] = comparison.outputs(theirs, urgt_test.answers(ours, along))
    with on_meta():
        full = same_signature(whole(), PublishedUrgt())
    return {"cases": cases, "full": full}


COMPARE = {
    "depth_anything3": compare_depth_anything3,
    "metric3d": compare_metric3d,
    "moge": compare_moge,
    "prv2": compare_prv2,
    "urgt": compare_urgt,
    "vggt": compare_vggt,
    "video_depth_anything": compare_video_depth_anything,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=COMPARE)
    parser.add_argument("checkout", type=Path, help="folder of the published code")
    parser.add_argument("--write", metavar="OWNER/NAME@COMMIT", help="make the fixture; what was checked out, for its `source`")
    args = parser.parse_args()
    if not args.checkout.is_dir():
        parser.error(f"{args.checkout} is no folder: check the published code out there")
    if args.write is not None and not re.fullmatch(SOURCE, args.write):
        parser.error(f"--write {args.write} is not OWNER/NAME@COMMIT with a commit of 40 digits: say what was checked out")
    torch.set_num_threads(1)
    comparison = Comparison()
    content = COMPARE[args.network](args.checkout, comparison)
    for name, difference in comparison.differences.items():
        print(f"{name}: {difference:.1e}")
    if args.write is not None:
        write_fixture(args.network, {"source": args.write, "largest_difference": comparison.differences, **content})


if __name__ == "__main__":
    main()
