"""Each Triton kernel against the plain torch specification beside it, and the whole method: by Triton's interpreter in a process of
its own, and on CUDA where there is one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from test.waiting import run_python, same_imports

pytestmark = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton")

AGREED = "all agree"
GRIDS = (((9, 13), (71, 101)), ((16, 20), (75, 96)), ((3, 40), (17, 200)), ((12, 16), (12, 16)))


def near(got: torch.Tensor, wanted: torch.Tensor, tolerance: float = 3e-6) -> None:
    """Equal to a tolerance, holes in the same places."""
    got, wanted = got.detach().cpu().double(), wanted.detach().cpu().double()
    known = wanted.isfinite()
    # A kernel does not look at a broken cell that counts nothing; plain torch multiplies it by 0.
    assert bool(got[known].isfinite().all()) and int(got.isfinite().sum() - known.sum()) <= 1e-3 * known.numel()
    scale = wanted[known].abs().clamp_min(1.0)
    assert bool(((got[known] - wanted[known]).abs() <= tolerance * scale).all()), (got[known] - wanted[known]).abs().max()


def scene(low: tuple[int, int], size: tuple[int, int], holes: bool, device: str) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Coarse depth ``[h, w]``, image ``uint8 [H, W, 3]``, score ``[h, w]``."""
    generator = torch.Generator().manual_seed(low[0])
    depth = torch.rand(low, generator=generator) * 9 + 0.5
    if holes:
        depth[2, 5] = depth[0, 0] = torch.nan
    image = torch.randint(0, 256, (*size, 3), dtype=torch.uint8, generator=generator)
    return depth.to(device), image.to(device), torch.rand(low, generator=generator).to(device)


def check_averages(device: str) -> None:
    from depth_retrofit_ros.selection import score_triton
    from depth_retrofit_ros.selection.contrast import cell_deviation_by_torch
    from depth_retrofit_ros.upsampling import area_average_triton
    from depth_retrofit_ros.upsampling.area_average import box_average

    for low, size in (*GRIDS, ((1, 1), (12, 20))):
        image = scene(low, size, False, device)[1]
        near(area_average_triton.average(image, low), box_average(image.permute(2, 0, 1).float() / 255, low))
        near(score_triton.cell_deviation(image, low), cell_deviation_by_torch(image, low))


def check_upsampling(device: str) -> None:
    from depth_retrofit_ros.upsampling import edge_aware as spec
    from depth_retrofit_ros.upsampling import edge_aware_triton as kernels
    from depth_retrofit_ros.upsampling.area_average import box_average

    for holes, (low, size) in enumerate(GRIDS):
        depth, image, _ = scene(low, size, bool(holes % 2), device)
        small = box_average(image.permute(2, 0, 1).float() / 255, low).permute(1, 2, 0)
        bent, usual = kernels.kinks(depth), spec.usual_kink(depth)
        near(bent.nanmedian(), usual)
        constants = {"ridge": spec.RIDGE, "kink": spec.KINK, "noise": spec.NOISE}
        maps = kernels.guided_maps(depth, small, bent, usual, spec.LAYOUT, spec.CHANNELS, steps=spec.STEPS, **constants)
        wanted = spec.guided_maps(depth, small, usual)
        near(maps, wanted, 1e-5)
        near(kernels.upsample(wanted, image, spec.LAYOUT), spec.upsample_by_torch(wanted, image), 3e-5)


def check_score(device: str) -> None:
    from depth_retrofit_ros.coarse.base import CoarsePrediction
    from depth_retrofit_ros.selection import score_triton
    from depth_retrofit_ros.selection import uncertainty as spec

    for factor, (low, _) in enumerate(GRIDS, 1):
        depth, _, contrast = scene(low, low, factor % 2 == 0, device)
        features = 3 * torch.randn(8, *(factor * n for n in low), generator=torch.Generator().manual_seed(1)).to(device)
        features[:, 0, 0], features[2, 1, 1] = -torch.inf, torch.nan
        constants = spec.HALF_STEP, spec.FLOOR, spec.LEAST_DOUBT, (spec.LEAST_CONTRAST, spec.FULL_CONTRAST)
        got = score_triton.score(features, depth, contrast, *constants)
        near(got / got.mean(), spec.weighted(spec.doubt(CoarsePrediction(depth, features)), contrast), 1e-5)


def check_far_limit(device: str) -> None:
    from depth_retrofit_ros.coarse import far_limit as spec
    from depth_retrofit_ros.coarse import far_limit_triton

    for count in (7, 1024, 3000):
        cells = torch.rand(count, generator=torch.Generator().manual_seed(count)) * 9 + 0.5
        cells[: count // 5] *= 50
        cells[3] = torch.nan
        rising = cells.sort().values
        near(far_limit_triton.limit_of(rising.to(device), spec.SEEN, spec.BEHIND, spec.LEAST), spec.limit_of_sorted(rising))


def check_selection(device: str) -> None:
    from depth_retrofit_ros.selection import top_k_triton
    from depth_retrofit_ros.selection.top_k import select_top_by_torch
    from depth_retrofit_ros.upsampling.interpolation import bilinear

    for (low, size), count in zip(GRIDS, (700, 1, 3_399, 100), strict=True):
        for levels in (0, 4, 1):  # distinct, many ties, nothing but ties
            score = scene(low, size, False, device)[2] - 0.2
            score = (score * levels).round() / levels if levels else score
            got, wanted = top_k_triton.select_top(score, size, count), select_top_by_torch(score, size, count)
            scores, differ = bilinear(score[None], size)[0], got.mask() != wanted.mask()
            last = scores.flatten()[wanted.indices].min()  # two that differ are as high as the last, to rounding
            assert bool(((scores - last).abs()[differ] < 1e-5).all()) and (levels != 1 or not differ.any())
            assert got.count == count and bool((got.indices.diff() > 0).all()) and int(got.indices.min()) >= 0
            assert torch.equal(got.index_image.flatten()[got.indices], torch.arange(count, dtype=torch.int32, device=score.device))


def check_features(device: str) -> None:
    from depth_retrofit_ros.refinement.pixels import features as spec
    from depth_retrofit_ros.upsampling.area_average import box_average
    from depth_retrofit_ros.upsampling.interpolation import bilinear

    for holes, (low, size) in enumerate(GRIDS):
        depth, image, score = scene(low, size, bool(holes % 2) and low != size, device)
        small = box_average(image.permute(2, 0, 1).float() / 255, low).permute(1, 2, 0).contiguous()
        full = bilinear(depth.reciprocal()[None], size)[0].reciprocal()
        chosen = torch.rand(size, generator=torch.Generator().manual_seed(2)) < 0.15
        pixels = PixelSet.from_mask(chosen.to(device))
        maps = spec.coarse_maps(depth, score, spec.normalized(small * 255))
        rgb = spec.normalized(image.reshape(-1, 3)[pixels.indices])
        wanted = spec.features_by_torch(rgb, maps, full.flatten()[pixels.indices], pixels.indices, size)
        near(spec.pixel_features(image, small, depth, full, score, pixels).rows, wanted.rows, 2e-5)


def check_decision(device: str) -> None:
    from depth_retrofit_ros.refinement.fusion import GatedFusion
    from depth_retrofit_ros.refinement.pixels import decision as spec
    from depth_retrofit_ros.refinement.pixels import decision_triton
    from depth_retrofit_ros.refinement.pixels.features import IN_CHANNELS, PixelFeatures

    torch.manual_seed(0)
    for count in (0, 1, 500):
        features = PixelFeatures(torch.randn(count, IN_CHANNELS).to(device))
        out, coarse, fusion = (
            3 * torch.randn(count, spec.OUTPUTS).to(device),
            torch.rand(count).to(device) + 1,
            GatedFusion().to(device),
        )
        wanted = spec.decide_by_torch(out, features)
        with torch.inference_mode():
            got = spec.decide(out, features)
            gate, fused = decision_triton.fuse(
                features.level, features.entropy, wanted.change, wanted.entropy, coarse, fusion.layers
            )
        near(got.change, wanted.change, 2e-5)
        near(got.entropy, wanted.entropy, 2e-5)
        wanted_gate, change = fusion(features.level, wanted.change, features.entropy, wanted.entropy)
        near(gate, wanted_gate)
        near(fused, coarse * change.exp(), 1e-5)


def check_median(device: str) -> None:
    from depth_retrofit_ros.refinement.pixels import median as spec
    from depth_retrofit_ros.refinement.pixels import median_triton

    constants = spec.REACH, spec.FARTHEST_COLOR, spec.UNIT, spec.HALVINGS
    for size, levels, step in (((40, 57), 3, 20), ((31, 70), 60, 1), ((5, 4), 2, 20), ((1, 9), 1, 20)):
        generator = torch.Generator().manual_seed(size[0])
        image = (100 + step * torch.randint(0, levels, (*size, 3), generator=generator)).to(torch.uint8).to(device)
        depth = torch.rand(size, generator=generator) * 9 + 0.5
        depth[torch.rand(size, generator=generator) < 0.1] = torch.nan
        depth.view(-1)[5] = torch.inf
        depth = depth.to(device)
        everywhere = torch.arange(depth.numel(), device=device)  # at the borders, too
        for indices in (everywhere, everywhere[1::3].contiguous(), everywhere[:0]):
            got = median_triton.color_median(depth, image, indices, *constants)
            wanted = spec.color_median_by_torch(depth, image, indices)
            torch.testing.assert_close(got, wanted, rtol=0, atol=0, equal_nan=True)


def check_normals(device: str) -> None:
    from depth_retrofit_ros.camera import Camera
    from depth_retrofit_ros.pointcloud import normals as spec
    from depth_retrofit_ros.pointcloud import normals_triton
    from depth_retrofit_ros.pointcloud.ray_slopes import RaySlopes

    for index, size in enumerate(((24, 37), (3, 5), (31, 20))):
        depth = surfaces(size, device)
        camera = Camera(size[1], size[0], 50.0 + index, 60.0, 0.4 * size[1], 0.6 * size[0])
        for stride in (1, 3):
            cells = torch.where((depth > 0) & depth.isfinite(), depth, torch.nan).reciprocal()[
                stride // 2 :: stride, stride // 2 :: stride
            ]
            planes = spec.fit_by_torch(cells, stride)
            constants = (spec.REACH, spec.STEP), spec.STRAIGHT, spec.CONDITION
            for got, wanted in zip(normals_triton.fit(cells, *constants, stride), planes[1:], strict=True):
                near(got, wanted, 1e-5)
            for limit in (spec.NEAR_PLANE, float("inf")):
                rays = RaySlopes(torch.device(device))(camera)
                got = normals_triton.take(depth, planes, rays, (camera.fx, camera.fy), stride, (spec.ON_PLANE, limit))
                wanted = spec.normals_by_torch(depth, planes, camera, stride, limit).permute(1, 2, 0)
                # A cell's plane is on a pixel, or not, by a rounding.
                assert float(((got - wanted).abs().amax(2) > 1e-4).float().mean()) < 2e-3
                assert torch.equal(got.isnan(), wanted.isnan())


def surfaces(size: tuple[int, int], device: str) -> torch.Tensor:
    """Planes at two distances, a little noise, and depth of every kind that is none."""
    generator = torch.Generator().manual_seed(size[0])
    y, x = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in size), indexing="ij")
    depth = torch.where(x > 0.6 * size[1], 1 / (0.2 + 0.001 * x), 1 / (0.5 + 0.002 * x - 0.001 * y))
    depth *= 1 + 1e-3 * torch.randn(size, generator=generator)
    depth.view(-1)[::11] = torch.tensor([torch.nan, torch.inf, 0.0, -1.0]).repeat(size[0] * size[1] // 44 + 1)[
        : len(depth.view(-1)[::11])
    ]
    return depth.to(device)


def at(device: str, made: DepthFrame) -> DepthFrame:
    """The answer on another device."""
    there: dict[str, Any] = {
        field.name: value.to(device) for field in fields(made) if isinstance(value := getattr(made, field.name), torch.Tensor)
    }
    pixels = PixelSet(made.selection.indices.to(device), made.selection.index_image.to(device))
    return replace(made, selection=pixels, **there)


def check_outputs(device: str) -> None:
    """What is published, as the host makes it of the same answer; the host's normals come of compiled loops."""
    from depth_retrofit_ros.camera import Camera
    from depth_retrofit_ros.io.color_map import colorize, colorize_normals, palette
    from depth_retrofit_ros.pointcloud.organized import cloud_size
    from depth_retrofit_ros.runtime.device_outputs import DeviceOutputs
    from depth_retrofit_ros.runtime.host_outputs import HostOutputs

    patch = mock.patch("depth_retrofit_ros.io.color_map._SAMPLES", 100)  # not every pixel
    patch.start()
    outputs = DeviceOutputs(torch.device(device))
    for index, size in enumerate(((24, 37), (20, 31))):
        stride = 1 + index
        depth, image = surfaces(size, "cpu") * 40, scene((2, 6), size, False, "cpu")[1]
        camera = Camera(size[1], size[0], 50.0 + index, 60.0, 0.4 * size[1], 0.6 * size[0])
        pixels = PixelSet.from_mask(image[..., 0] > 200)
        sky = None if index % 2 else image[:2, :6, 1] > 128
        frame = Frame(image.numpy(), camera=camera)

        coarse = torch.full((2, 6), 9.0)
        refined = torch.nn.functional.normalize(torch.linspace(-1, 1, 3 * pixels.count).view(3, -1).sin(), dim=0)
        refined[:, ::3] = 0.0  # where the refiner did not look
        made = DepthFrame(depth, depth, coarse, "model", pixels, torch.ones(0), camera=camera, image=image, sky=sky)
        made = made if index else replace(made, refined_normals=refined)
        shares = torch.linspace(0.1, 0.9, pixels.count)
        made = replace(made, gate=shares, base=1.1 * depth, score=torch.rand(2, 6), choice_entropy=shares)
        room: dict[str, np.ndarray] = {
            name: np.empty(size, kind) for name, kind in (("depth", np.float32), ("depth_mm", np.uint16), ("selection", np.uint8))
        }
        room |= {"points": np.empty((*cloud_size(*size, stride), 4), np.float32), "normals": np.empty((*size, 3), np.float32)}
        room |= {name: np.empty((*size, 3), np.uint8) for name in ("preview", "normals_preview")}
        derived = {"depth_compressed": np.uint16, "depth_mm_compressed": np.uint16, "disparity": np.float32}
        room |= {name: np.empty(size, kind) for name, kind in derived.items()}
        room |= {"scan": np.empty(size[1], np.float32), "preview_compressed": np.empty((*size, 3), np.uint8)}
        room |= {"confidence": np.empty(size, np.float32), "confidence_8bit": np.empty(size, np.uint8)}
        wanted = {name: values.copy() for name, values in room.items()}
        cut: dict[str, Any] = {"min_confidence": 0.4 * index}
        fills = outputs.begin(at(device, made), frame, list(room), stride, **cut)
        host = HostOutputs(torch.device("cpu")).begin(made, frame, list(room), stride, **cut)
        for name in room:
            fills[name](room[name])
            host[name](wanted[name])
        for name in ("depth", "depth_mm", "depth_mm_compressed", "selection", "scan"):
            np.testing.assert_array_equal(room[name], wanted[name])
        assert np.array_equal(room["points"].view(np.uint32)[..., 3], wanted["points"].view(np.uint32)[..., 3])
        np.testing.assert_allclose(room["points"][..., :3], wanted["points"][..., :3], rtol=1e-6)
        np.testing.assert_allclose(room["disparity"], wanted["disparity"], rtol=1e-6)
        assert np.abs(room["depth_compressed"].astype(int) - wanted["depth_compressed"]).max() <= 1
        np.testing.assert_array_equal(room["preview_compressed"], room["preview"])
        levels = {tuple(color): level for level, color in enumerate(palette()[:, 0].tolist())}
        got, right = (
            [levels[tuple(color)] for color in picture.reshape(-1, 3).tolist()] for picture in (room["preview"], wanted["preview"])
        )
        off = np.abs(np.subtract(got, right))  # a level by a rounding
        assert off.max() <= 1 and off.mean() < 2e-3
        np.testing.assert_allclose(room["confidence"], wanted["confidence"], rtol=1e-4)
        assert np.abs(room["confidence_8bit"].astype(int) - wanted["confidence_8bit"]).max() <= 1
        assert not index or np.isnan(room["depth"]).sum() > np.isnan(depth.numpy()).sum(), "some of it is cut"
        near(torch.from_numpy(room["normals"]), torch.from_numpy(wanted["normals"]), 1e-3)
        off = np.abs(room["normals_preview"].astype(int) - colorize_normals(room["normals"].transpose(2, 0, 1)))
        assert off.max() <= 1 and off.mean() < 2e-3
    lonely = torch.full((24, 37), torch.nan)
    lonely[1, 1:3] = torch.tensor([2.0, 4.0])  # beside the samples
    made = at(device, DepthFrame(lonely, lonely, lonely, None, pixels, torch.ones(0)))
    picture = np.empty((24, 37, 3), np.uint8)
    outputs.begin(made, Frame(np.zeros((24, 37, 3), np.uint8)), ["preview"], 1)["preview"](picture)
    np.testing.assert_array_equal(picture, colorize(lonely.numpy()))
    patch.stop()


CHECKS: tuple[Callable[[str], None], ...] = (
    check_averages,
    check_upsampling,
    check_score,
    check_far_limit,
    check_selection,
    check_features,
    check_decision,
    check_median,
    check_normals,
    check_outputs,
)


def check_method(file: str) -> None:
    """The whole method on a small frame, in float32, against what another process computed without the kernels."""
    answer, wanted = method(), np.load(file)
    assert np.array_equal(answer["selected"], wanted["selected"])
    for name in ("depth", "gate"):
        np.testing.assert_allclose(answer[name], wanted[name], rtol=1e-3, atol=1e-4)


def method() -> dict[str, np.ndarray]:
    from depth_retrofit_ros.coarse.base import CoarsePrediction
    from depth_retrofit_ros.coarse.claim import ScaleClaim
    from depth_retrofit_ros.coarse.stored import StoredCoarse
    from depth_retrofit_ros.refinement.pixels.network import RefinerNet
    from depth_retrofit_ros.refinement.pixels.refiner import SparseRefiner
    from depth_retrofit_ros.retrofit import Retrofit
    from depth_retrofit_ros.sparse.backends.registry import load_backend

    device = torch.device("cpu")
    backend = load_backend("triton" if os.environ.get("TRITON_INTERPRET") == "1" else "torch", device)
    torch.manual_seed(0)
    network = RefinerNet((8, 12))
    for parameter in network.unet.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    refiner = SparseRefiner(network, backend)
    depth, cells, _ = scene((8, 12), (8, 12), False, "cpu")
    image = cells.repeat_interleave(6, 0).repeat_interleave(6, 1)  # its average over a cell is exact, however it is taken
    coarse = StoredCoarse(CoarsePrediction(depth, torch.randn(6, 8, 12)), has_features=True, claim=ScaleClaim("disparity", "never"))
    result = Retrofit(coarse, refiner)(Frame(image.numpy()))
    return {"depth": result.depth.numpy(), "gate": result.gate.numpy(), "selected": result.selection.indices.numpy()}


@pytest.mark.slow
@pytest.mark.timeout(900)  # half a minute of computing
def test_interpreted_kernels_give_the_values_of_their_specifications(tmp_path: os.PathLike[str]) -> None:
    file = os.path.join(tmp_path, "method.npz")
    np.savez(file, **method())  # type: ignore[arg-type]
    process = run_python("-m", __name__, file, env={**os.environ, **same_imports(), "TRITON_INTERPRET": "1"}, patience_s=800)
    assert process.returncode == 0 and process.stdout.strip() == AGREED, process.stderr[-3000:]


@pytest.mark.cuda
@pytest.mark.parametrize("check", CHECKS)
def test_on_cuda(check: Callable[[str], None]) -> None:
    check("cuda")


if __name__ == "__main__":
    import sys

    for check in CHECKS:
        check("cpu")
    check_method(sys.argv[1])
    print(AGREED)
