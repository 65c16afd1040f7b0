"""The whole method on a coarse model that answers as told, and the promises that the README makes."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from depth_retrofit_ros import loading
from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.coarse.base import NO_HINTS, CoarsePrediction, Hints
from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.claim import ScaleClaim, stored_claim
from depth_retrofit_ros.coarse.compact_net import CompactNet, expected_log_depth
from depth_retrofit_ros.coarse.far_limit import far_limit, limit_far
from depth_retrofit_ros.errors import ModelError, WeightsError
from depth_retrofit_ros.frame import DepthFrame, Frame
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.lens import Lens, Rectification
from depth_retrofit_ros.pointcloud.normals import surface_normals
from depth_retrofit_ros.presets import USUAL, Parts
from depth_retrofit_ros.refinement.base import Fused
from depth_retrofit_ros.refinement.nothing import NoRefiner
from depth_retrofit_ros.refinement.pixels.candidates import COUNT
from depth_retrofit_ros.refinement.pixels.features import pixel_features
from depth_retrofit_ros.refinement.pixels.median import color_median
from depth_retrofit_ros.refinement.pixels.refiner import Refined, SparseRefiner
from depth_retrofit_ros.retrofit import Retrofit, load
from depth_retrofit_ros.selection.contrast import contrast
from depth_retrofit_ros.selection.top_k import select_top
from depth_retrofit_ros.selection.uncertainty import uncertainty
from depth_retrofit_ros.upsampling.edge_aware import guided_upsample, thumbnail
from test.refinement.nets import random_network, random_refiner, two_planes

HEIGHT, WIDTH = 90, 120
PROMPTED = next(info.name for info in BUILT_IN.values() if "sparse depth" in info.uses)
CAMERA = Camera.from_hfov(WIDTH, HEIGHT, 70.0)
ANY_CAMERA, STREETS = ScaleClaim("metric", "camera"), ScaleClaim("metric", "domain", "streets")
ONE_CAMERA, RELATIVE = ScaleClaim("metric", "one camera", "that one"), ScaleClaim("disparity", "never")


class ToldCoarse:
    """Gives the same answer, ``two_planes`` unless told otherwise, whatever it sees."""

    name = "told"

    def __init__(self, answer: CoarsePrediction | None = None, claim: ScaleClaim = ANY_CAMERA) -> None:
        self.answer, self.claim = answer or two_planes(), claim
        self.device = self.answer.depth.device
        self.seen: tuple[torch.Tensor, Camera | None] | None = None

    def predict(self, image: torch.Tensor, camera: Camera | None, hints: Hints = NO_HINTS) -> CoarsePrediction:
        """See ``CoarseModel.predict``."""
        self.seen = image, camera
        return self.answer


class DoublingRefiner(SparseRefiner):
    """Fused depth is twice the coarse one; the gate tells each pixel's place in the list."""

    def fuse(self, refined: Refined) -> Fused:
        """See ``Refiner.fuse``."""
        return Fused(torch.arange(refined.coarse.numel()).float(), 2 * refined.coarse)


@pytest.fixture
def frame() -> Frame:
    """Random pixels with everything known about them."""
    image = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return Frame(image, stamp_ns=123, frame_id="camera_optical", camera=CAMERA)


def run(frame: Frame, factor: float = 1.0, budget: float = 0.1) -> DepthFrame:
    """A random refiner on ``two_planes`` times a factor."""
    planes = two_planes()
    return Retrofit(ToldCoarse(replace(planes, depth=factor * planes.depth)), random_refiner(), budget)(frame)


@pytest.mark.parametrize("factor", [1e-3, 0.037, 0.5, 3.3, 1e3])
def test_scaling_the_coarse_depth_scales_the_output(frame: Frame, factor: float) -> None:
    plain, scaled = run(frame), run(frame, factor)
    assert torch.equal(scaled.selection.indices, plain.selection.indices)
    torch.testing.assert_close(scaled.depth, factor * plain.depth, rtol=5e-5, atol=0)
    assert float((plain.depth / plain.base - 1).abs().max()) > 0.05  # the refiner does do something


def test_budget_zero_is_the_upsampled_coarse_depth_bit_for_bit(frame: Frame) -> None:
    result = run(frame, budget=0.0)
    image = torch.from_numpy(frame.image)
    coarse = two_planes().depth
    assert torch.equal(result.coarse, coarse)
    assert torch.equal(result.depth, guided_upsample(coarse, image, thumbnail(image, coarse)))
    assert result.refined_pixels == 0 and result.gate.shape == (0,)


@pytest.mark.parametrize("budget", [0.02, 0.1, 1.0])
def test_only_the_budget_is_refined(frame: Frame, budget: float) -> None:
    result = run(frame, budget=budget)
    assert result.refined_pixels == round(budget * HEIGHT * WIDTH) == result.gate.numel()
    outside = ~result.selection.mask()
    assert torch.equal(result.depth[outside], result.base[outside])
    assert float((result.depth != result.base)[~outside].float().mean()) > 0.9
    assert bool(torch.isfinite(result.depth).all()) and float(result.depth.min()) > 0


@pytest.mark.parametrize("budget", [0.29, 0.57, 0.07])
def test_budget_is_rounded_not_cut(frame: Frame, budget: float) -> None:
    """0.29 x 100 is 28.999999999999996 in binary."""
    small = Frame(frame.image[:10, :10])
    assert run(small, budget=budget).refined_pixels == round(100 * budget)


def test_refined_values_land_at_their_own_pixels(frame: Frame) -> None:
    each_for_itself = replace(USUAL, agree=None)
    result = Retrofit(ToldCoarse(), DoublingRefiner(random_network(), random_refiner().backend), parts=each_for_itself)(frame)
    mask = result.selection.mask()
    torch.testing.assert_close(result.depth, torch.where(mask, 2 * result.base, result.base), rtol=0, atol=0)
    assert torch.equal(result.gate.int(), result.selection.index_image[mask])


def test_pixels_that_were_refined_each_for_itself_are_brought_into_agreement_and_tiles_are_not(frame: Frame) -> None:
    """On a picture of a few colours, so that there are neighbours to agree with."""
    frame = replace(frame, image=np.repeat(np.repeat(frame.image[::9, ::9], 9, 0), 9, 1)[:HEIGHT, :WIDTH])

    def refined(refiner: SparseRefiner, parts: Parts) -> DepthFrame:
        return Retrofit(ToldCoarse(), refiner, parts=parts)(frame)

    alone, together = (refined(random_refiner(), replace(USUAL, agree=agree)) for agree in (None, USUAL.agree))
    pixels, image = alone.selection, torch.from_numpy(frame.image)
    wanted = alone.depth.flatten().index_copy(0, pixels.indices, color_median(alone.depth, image, pixels)).view_as(alone.depth)
    assert torch.equal(together.depth, wanted) and float((wanted != alone.depth).flatten()[pixels.indices].float().mean()) > 0.2
    assert torch.equal(together.gate, alone.gate)
    of_tiles = random_refiner()
    of_tiles.needs = "tiles"  # whose answers one network gives together
    assert torch.equal(refined(of_tiles, USUAL).depth, alone.depth)


def test_selection_is_where_the_coarse_depth_jumps(frame: Frame) -> None:
    """The step of ``two_planes`` runs down from the middle of the first row; features that never hesitate add nothing."""
    coarse = replace(two_planes(), features=torch.zeros(4, 18, 24))
    chosen = Retrofit(ToldCoarse(coarse), random_refiner(), 0.1)(frame).selection
    y, x = torch.div(chosen.indices, WIDTH, rounding_mode="floor"), chosen.indices % WIDTH
    step = (12 - 0.3 * ((y + 0.5) / 5 - 0.5)) * 5
    assert float(((x - step).abs() / 5).max()) < 3.5


@pytest.mark.parametrize("sky", [1e4, 1e8])
def test_wherever_a_model_puts_the_sky_the_answer_is_the_same(frame: Frame, sky: float) -> None:
    """Selection, upsampling and refinement start from depth that ends at the frame's far limit, and so does what is published."""
    with_sky = replace(two_planes(), depth=two_planes().depth.clone())
    with_sky.depth[:5] = sky
    relative = stored_claim(metric=False)
    limited = limit_far(with_sky, relative)
    got, wanted = (Retrofit(ToldCoarse(answer, relative), random_refiner())(frame) for answer in (with_sky, limited))
    assert torch.equal(got.coarse, limited.depth) and not torch.equal(with_sky.depth, limited.depth)
    assert torch.equal(got.selection.indices, wanted.selection.indices)
    assert torch.equal(got.base, wanted.base) and torch.equal(got.depth, wanted.depth)
    assert float(got.base.max()) <= 1.01 * float(far_limit(with_sky.depth)) < sky and bool(torch.isfinite(got.depth).all())


def test_the_models_normals_are_those_of_the_frame(frame: Frame) -> None:
    said = torch.tensor([0.6, 0.0, -0.8]).view(3, 1, 1).expand(3, 9, 12).contiguous()
    retrofit = Retrofit(ToldCoarse(replace(two_planes(), normals=said)), random_refiner())
    result = retrofit(replace(frame, camera=CAMERA))
    assert result.normals is not None and torch.equal(result.normals, said)
    off = torch.rad2deg((surface_normals(result) * said[:, :1, :1]).sum(0).clamp(-1, 1).acos())
    assert float(off.max()) < 2.0
    assert run(frame).normals is None


@pytest.mark.parametrize("budget", [0.0, 0.1])
def test_what_a_lens_does_not_see_has_no_depth_and_is_not_refined(frame: Frame, budget: float) -> None:
    wide = Camera(WIDTH, HEIGHT, 0.4 * CAMERA.fx, 0.4 * CAMERA.fy, CAMERA.cx, CAMERA.cy)
    optics = Rectification(Lens("plumb_bob", (-0.02, 0.0, 0.0, 0.0, 0.0), CAMERA), wide)
    assert optics.unseen is not None and 0.5 < optics.unseen.mean() < 0.9
    result, plain = (run(replace(frame, camera=wide, optics=made), budget=budget) for made in (optics, None))
    np.testing.assert_array_equal(result.depth.isnan().numpy(), optics.unseen)
    np.testing.assert_array_equal(result.base.isnan().numpy(), optics.unseen)
    assert result.refined_pixels == plain.refined_pixels and plain.depth.isfinite().all()
    chosen = result.selection.mask().numpy()
    assert (chosen & optics.unseen).sum() <= 0.1 * chosen.sum(), "but for cells on the border of what is seen"
    if budget:
        assert (plain.selection.mask().numpy() & optics.unseen).sum() > 0.3 * chosen.sum()


def test_same_frame_same_answer(frame: Frame) -> None:
    retrofit = Retrofit(ToldCoarse(), random_refiner())
    first, second = retrofit(frame), retrofit(frame)
    assert torch.equal(first.depth, second.depth) and torch.equal(first.gate, second.gate)


def test_records_are_passed_on(frame: Frame) -> None:
    coarse = ToldCoarse()
    result = Retrofit(coarse, random_refiner())(frame)
    assert (result.stamp_ns, result.frame_id, result.camera) == (123, "camera_optical", CAMERA)
    assert list(result.times_ms) == ["coarse", "upsample", "select", "refine", "fuse"]
    assert all(t >= 0 for t in result.times_ms.values())
    assert result.depth.dtype == result.base.dtype == torch.float32
    assert result.depth.shape == result.base.shape == (HEIGHT, WIDTH)
    assert coarse.seen is not None and coarse.seen[1] is CAMERA
    np.testing.assert_array_equal(coarse.seen[0].numpy(), frame.image)


@pytest.mark.parametrize(
    ("claim", "trust_scale", "camera", "expected"),
    [
        (ANY_CAMERA, False, CAMERA, "model"),
        (ANY_CAMERA, False, None, None),
        (STREETS, False, CAMERA, None),
        (STREETS, True, CAMERA, "user"),
        (STREETS, True, None, None),
        (ONE_CAMERA, False, CAMERA, None),
        (ONE_CAMERA, True, CAMERA, "user"),
        (RELATIVE, False, CAMERA, None),
        (stored_claim(metric=True), False, None, "file"),  # made with a camera that the frame need not know
        (stored_claim(metric=False), False, None, None),
    ],
)
def test_metres_need_a_known_camera_and_a_model_within_its_word_or_trust(
    frame: Frame, claim: ScaleClaim, trust_scale: bool, camera: Camera | None, expected: str | None
) -> None:
    retrofit = Retrofit(ToldCoarse(claim=claim), random_refiner(), trust_scale=trust_scale)
    result = retrofit(Frame(frame.image, camera=camera))
    assert result.scale_source == expected and result.metric is (expected is not None)


def test_there_is_nothing_to_trust_whatever_the_checkpoint_is() -> None:
    """Found before the file is looked for, which may be large, or not be there."""
    with pytest.raises(ModelError, match=r"^depth-anything-v2-small is relative, .*: there is none to trust"):
        load("depth-anything-v2-small", weights=Path("/nonexistent"), device="cpu", trust_scale=True)


def test_relative_depth_has_no_scale_to_trust() -> None:
    with pytest.raises(ModelError, match=r"^told is relative, up to an unknown scale and shift: there is none to trust"):
        Retrofit(ToldCoarse(claim=RELATIVE), random_refiner(), trust_scale=True)


def test_any_memory_layout_gives_the_same_depth_without_a_warning(frame: Frame) -> None:
    """Channels flipped as views, read-only message data, crops of a larger image."""
    padded = np.zeros((HEIGHT + 3, WIDTH + 5, 3), np.uint8)
    padded[2:-1, 1:-4] = frame.image
    read_only = frame.image.copy()
    read_only.setflags(write=False)
    backwards = np.ascontiguousarray(frame.image[:, :, ::-1])[:, :, ::-1]
    expected = run(frame).depth
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for image in (padded[2:-1, 1:-4], read_only, backwards, np.asfortranarray(frame.image)):
            assert torch.equal(run(Frame(image)).depth, expected)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (18, 24), (7, 400)])
def test_any_frame_size(size: tuple[int, int]) -> None:
    result = run(Frame(np.zeros((*size, 3), np.uint8)), budget=0.5)
    assert result.depth.shape == size and bool(torch.isfinite(result.depth).all())
    assert result.refined_pixels == round(0.5 * size[0] * size[1])


def test_a_broken_coarse_pixel_stays_where_it_is(frame: Frame) -> None:
    planes = two_planes(64, 96)
    planes.depth[5, 5] = torch.nan
    planes.features[:, 5, 5] = torch.nan
    depth = Retrofit(ToldCoarse(planes), random_refiner(), 0.2)(Frame(np.zeros((128, 192, 3), np.uint8))).depth
    assert bool(torch.isnan(depth[10:12, 10:12]).all())
    assert bool(torch.isfinite(depth[80:]).all()) and bool(torch.isfinite(depth[:, 100:]).all())


@pytest.mark.parametrize("budget", [-0.01, 1.01, float("nan")])
def test_impossible_budget(budget: float) -> None:
    with pytest.raises(ValueError, match="outside 0…1"):
        Retrofit(ToldCoarse(), random_refiner(), budget)
    retrofit = Retrofit(ToldCoarse(), random_refiner(), 0.25)
    with pytest.raises(ValueError, match="outside 0…1"):
        retrofit.budget = budget
    assert retrofit.budget == 0.25


def test_warm_up_runs_the_whole_method() -> None:
    result = Retrofit(ToldCoarse(), random_refiner()).warm_up(60, 80)
    assert result.depth.shape == (60, 80) and result.refined_pixels == 480


def test_a_warm_up_shows_a_picture_and_no_noise() -> None:
    """Programs are checked on it, and a network answers anything to noise."""
    image = Retrofit(ToldCoarse(), random_refiner()).warm_up(60, 80).image
    assert image is not None
    image = image.float().mean(2)
    assert float((image[:, 1:] - image[:, :-1]).abs().mean()) < 0.5 * float(image.std())


def test_a_warm_up_knows_the_camera() -> None:
    coarse = ToldCoarse()
    assert Retrofit(coarse, random_refiner()).warm_up(HEIGHT, WIDTH, CAMERA).metric
    assert coarse.seen is not None and coarse.seen[1] == CAMERA


def test_frames_in_work_at_once_do_not_disturb_each_other() -> None:
    retrofit, pictures = Retrofit(ToldCoarse(), random_refiner(), 0.2), np.random.default_rng(3)
    frames = [Frame(pictures.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8), stamp, camera=CAMERA) for stamp in range(3)]
    expected = [retrofit(frame) for frame in frames]
    in_work = [retrofit.refine(retrofit.launch(frame)) for frame in frames]
    for answer, wanted in zip([retrofit.finish(each) for each in in_work], expected, strict=True):
        assert torch.equal(answer.depth, wanted.depth) and answer.stamp_ns == wanted.stamp_ns
        assert list(answer.times_ms) == ["coarse", "upsample", "select", "refine", "fuse"]


def test_load_from_files(tmp_path: Path, frame: Frame) -> None:
    coarse, refiner = tmp_path / "compact.safetensors", tmp_path / "refiner.safetensors"
    save_tensors(coarse, CompactNet().state_dict(), {})
    save_tensors(refiner, random_network().state_dict(), {"network": json.dumps({"widths": [8, 12, 16], "blocks": 1})})
    retrofit = load("compact", weights=str(coarse), refiner=refiner, budget=0.05, device="cpu", trust_scale=True)
    result = retrofit(frame)
    assert result.metric and result.refined_pixels == round(0.05 * HEIGHT * WIDTH)
    with pytest.raises(WeightsError):
        load("compact", weights=tmp_path / "absent", refiner=refiner, device="cpu")
    with pytest.raises(WeightsError):
        load("compact", weights=coarse, refiner=coarse, device="cpu")
    with pytest.raises(ModelError):
        load("compakt", device="cpu")


def test_bundled_checkpoints_belong_to_the_bundled_networks(frame: Frame) -> None:
    result = load(device="cpu")(frame)
    assert not result.metric and result.refined_pixels == 1080
    assert bool(torch.isfinite(result.depth).all()) and float(result.depth.min()) > 0


def whole_averages(frame: Frame) -> Frame:
    """Another picture, whose mean over each 5 x 5 pixels is a whole number: a CPU rounds it to one, which CUDA does not."""
    rng = np.random.default_rng(1)
    cells, half = rng.integers(60, 196, (HEIGHT // 5, WIDTH // 5, 1, 3)), rng.integers(-60, 61, (HEIGHT // 5, WIDTH // 5, 12, 3))
    fine = np.concatenate((cells + half, cells, cells - half), axis=2).reshape(HEIGHT // 5, WIDTH // 5, 5, 5, 3)
    return replace(frame, image=np.ascontiguousarray(fine.transpose(0, 2, 1, 3, 4).reshape(HEIGHT, WIDTH, 3).astype(np.uint8)))


@pytest.mark.cuda
def test_cuda_agrees_with_cpu(frame: Frame) -> None:
    frame = whole_averages(frame)
    expected, planes = run(frame), two_planes()
    coarse = ToldCoarse(CoarsePrediction(planes.depth.cuda(), planes.features.cuda()))
    result = Retrofit(coarse, SparseRefiner(random_network().cuda(), random_refiner().backend))(frame)
    assert torch.equal(result.selection.indices.cpu(), expected.selection.indices)
    torch.testing.assert_close(result.depth.cpu(), expected.depth, rtol=1e-3, atol=0)


def test_frames_begun_beside_each_other_are_finished_as_they_would_be_alone(frame: Frame) -> None:
    retrofit = Retrofit(ToldCoarse(), random_refiner())
    other = Frame(np.ascontiguousarray(frame.image[::-1]), 7, "other", frame.camera)
    alone = [retrofit(one) for one in (frame, other)]
    in_flight = [retrofit.launch(one) for one in (frame, other)]
    for together, expected in zip([retrofit.collect(one) for one in in_flight], alone, strict=True):
        assert torch.equal(together.depth, expected.depth) and together.stamp_ns == expected.stamp_ns
        assert list(together.times_ms) == ["coarse", "upsample", "select", "refine", "fuse"]


def test_on_a_device_nothing_between_coarse_and_u_net_waits_for_values() -> None:
    """Tensors without content show it: what has to look at values fails on them. So CUDA's queue never runs empty there."""
    meta = torch.device("meta")
    image = torch.empty(90, 160, 3, dtype=torch.uint8, device=meta)
    coarse = CoarsePrediction(torch.empty(18, 32, device=meta), torch.empty(8, 18, 32, device=meta))
    coarse = limit_far(coarse, ANY_CAMERA)
    small = thumbnail(image, coarse.depth)
    depth = guided_upsample(coarse.depth, image, small)
    score = uncertainty(coarse, contrast(image, (18, 32)))
    pixels = select_top(score, (90, 160), 1440)
    features = pixel_features(image, small, coarse.depth, depth, score, pixels)
    network = random_network().to(meta)
    refinement = network.decide(torch.empty(1440, COUNT + 4, device=meta), features)
    gate, change = network.fusion(features.level, refinement.change, features.entropy, refinement.entropy)
    assert depth.shape == (90, 160) and gate.shape == change.shape == (1440,)
    logits, log_median = CompactNet().to(meta)(torch.empty(1, 3, 144, 256, device=meta))
    assert (expected_log_depth(logits) + log_median).shape == (1, 72, 128)


def test_a_window_is_asked_of_a_model_of_several_views_only() -> None:
    with pytest.raises(ModelError, match="compact sees one image at a time: leave views at 1, or choose a model of several"):
        load("compact", device="cpu", engine="torch", views=2)
    with pytest.raises(ModelError, match="cuda_graphs cannot replay a window of frames"):
        load("compact", device="cpu", engine="torch", cuda_graphs=True, views=2)


@pytest.mark.cuda
@pytest.mark.parametrize("cuda_graphs", [False, True])
def test_on_cuda_nothing_waits_between_launch_and_the_filled_outputs(cuda_graphs: bool) -> None:
    """Under PyTorch's own watch: whatever makes the host wait for the device, but for the events that are meant to, raises."""
    pytest.importorskip("triton")
    from depth_retrofit_ros.runtime.device_outputs import DeviceOutputs

    retrofit, pictures = load("compact", device="cuda", cuda_graphs=cuda_graphs), np.random.default_rng(3)
    outputs = DeviceOutputs(retrofit.coarse.device)
    frames = [
        Frame(pictures.integers(0, 256, (360, 640, 3), np.uint8), stamp, camera=Camera.from_hfov(640, 360, 70.0))
        for stamp in (1, 2)
    ]

    def published(answer: DepthFrame, frame: Frame) -> dict[str, np.ndarray]:
        room = {"depth": np.empty((360, 640), np.float32), "points": np.empty((180, 320, 4), np.float32)}
        room |= {"preview": np.empty((360, 640, 3), np.uint8), "selection": np.empty((360, 640), np.uint8)}
        room |= {"confidence": np.empty((360, 640), np.float32), "confidence_8bit": np.empty((360, 640), np.uint8)}
        with retrofit.stream():
            fills = outputs.begin(answer, frame, list(room), 2)
            for name, fill in fills.items():
                fill(room[name])
        return room

    expected = [published(retrofit(frame), frame) for frame in frames]  # all is compiled, tuned and captured by now
    torch.cuda.set_sync_debug_mode("error")
    try:
        first = retrofit.refine(retrofit.launch(frames[0]))
        second = retrofit.launch(frames[1])
        got = [published(retrofit.finish(first), frames[0])]
        got.append(published(retrofit.finish(retrofit.refine(second)), frames[1]))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for answer, wanted in zip(got, expected, strict=True):
        np.testing.assert_allclose(answer["depth"], wanted["depth"], rtol=1e-3)
        np.testing.assert_allclose(answer["points"][..., :3], wanted["points"][..., :3], rtol=1e-3, atol=1e-3)
        assert np.mean(np.abs(answer["confidence"] - wanted["confidence"])) < 1e-2
        for name in ("preview", "selection"):
            assert np.mean(answer[name] != wanted[name]) < 1e-2, name


def test_pixels_are_selected_where_the_second_model_disagrees() -> None:
    """Around one cell block of the coarse grid that the other model puts farther; refiners see the uncertainty all the same."""
    other = two_planes()
    other.depth[2:6, 3:7] *= 2
    frame = Frame(np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    plain, told = (Retrofit(ToldCoarse(), random_refiner(), 0.03, second=second) for second in (None, ToldCoarse(other)))
    rows, columns = (np.arange(n) * low // n for n, low in ((HEIGHT, 18), (WIDTH, 24)))
    inside = ((rows >= 2) & (rows < 6))[:, None] & ((columns >= 3) & (columns < 7))
    for retrofit, share in ((told, (0.95, 1.0)), (plain, (0.0, 0.3))):
        result = retrofit(frame)
        assert result.refined_pixels == round(0.03 * HEIGHT * WIDTH)
        assert share[0] <= result.selection.mask().numpy()[inside].sum() / result.refined_pixels <= share[1]
    image = torch.from_numpy(frame.image)
    assert torch.equal(told.select(two_planes(), image, other)[0], plain.select(two_planes(), image)[0])
    assert set(told(frame).times_ms) == set(plain(frame).times_ms)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"selector": "random"}, "unknown selector 'random': choose one of uncertainty, disagreement"),
        ({"selector": "disagreement"}, "compares two models: name the other one as second_model"),
        ({"second_model": "meter-nyu"}, "selector uncertainty asks no second model"),
        ({"selector": "disagreement", "second_model": "compact"}, "is the model itself"),
        ({"selector": "disagreement", "second_model": "auto"}, "second_model is not chosen by auto"),
        ({"selector": "disagreement", "second_model": "vggt"}, "vggt uses several views, and is shown one image at a time"),
        ({"selector": "disagreement", "second_model": PROMPTED}, f"{PROMPTED} uses sparse depth, and is shown one image"),
        ({"selector": "disagreement", "second_model": "meter-nyu", "views": 2}, "compact sees one image at a time"),
        ({"selector": "disagreement", "second_model": "meter-nyu", "cuda_graphs": True}, "without cuda_graphs"),
        ({"selector": "disagreement", "second_model": "compcat"}, "did you mean 'compact'"),
    ],
)
def test_a_selector_that_cannot_be_is_told_in_one_line(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ModelError, match=told) as raised:
        load("compact", device="cpu", **options)
    assert "\n" not in str(raised.value)


def test_the_holes_of_the_first_model_are_not_where_pixels_go() -> None:
    """Depth there is finite, of what is known nearby, and the second model's is another."""
    answer, other = two_planes(), two_planes()
    hole = torch.zeros(18, 24, dtype=torch.bool)
    hole[4:12, 2:10] = True
    holed = replace(answer, depth=torch.where(hole, 3 * answer.depth, answer.depth), unknown=hole)
    other.depth[14:17, 16:20] *= 1.5
    frame = Frame(np.random.default_rng(1).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    result = Retrofit(ToldCoarse(holed), random_refiner(), 0.02, second=ToldCoarse(other))(frame)
    assert result.refined_pixels == round(0.02 * HEIGHT * WIDTH)
    assert not bool(result.depth[result.selection.mask()].isnan().any())


def test_the_second_model_runs_only_where_pixels_are_refined(frame: Frame) -> None:
    for refiner, budget, runs in ((random_refiner(), 0.1, True), (random_refiner(), 0.0, False), (NoRefiner(), 0.1, False)):
        second = ToldCoarse()
        result = Retrofit(ToldCoarse(), refiner, budget, second=second)(frame)
        assert (second.seen is not None) is runs and bool(result.refined_pixels) is runs


def test_a_frame_that_the_second_model_did_not_see_has_no_pixels(frame: Frame) -> None:
    """The budget is raised after its launch; the next frame has some."""
    retrofit = Retrofit(ToldCoarse(), random_refiner(), 0.0, second=ToldCoarse())
    in_flight = retrofit.launch(frame)
    retrofit.budget = 0.1
    assert retrofit.collect(in_flight).refined_pixels == 0
    assert retrofit(frame).refined_pixels == round(0.1 * HEIGHT * WIDTH)


def test_the_engine_runs_the_second_model_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is compiled or made of it is told as the first one's is."""
    asked = dict[str, dict[str, Any]]()

    def load_coarse(name: str, **given: Any) -> ToldCoarse:
        asked[name] = given
        return ToldCoarse()

    monkeypatch.setattr(loading, "load_coarse", load_coarse)
    other = {"selector": "disagreement", "second_model": "meter-nyu"}
    loading.load("compact", coarse_size=96, device="cpu", coarse_engine="onnxruntime", **other)  # type: ignore[arg-type]
    assert {name: given["engine"] for name, given in asked.items()} == {"compact": "onnxruntime", "meter-nyu": "onnxruntime"}
    assert asked["meter-nyu"].get("size") is None and asked["meter-nyu"].get("precision", "auto") == "auto"
    second = ToldCoarse()
    retrofit = Retrofit(ToldCoarse(), random_refiner(), second=second)
    assert not retrofit.compiles_for_size and not retrofit.is_building
    second.network = SimpleNamespace(compiles=True, is_making=True)  # type: ignore[attr-defined]
    monkeypatch.setattr("depth_retrofit_ros.retrofit.CompiledNetwork", SimpleNamespace)
    assert retrofit.compiles_for_size and retrofit.is_building
