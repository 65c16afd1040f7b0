"""What the method asks of a GPU: no wait, few launches, few bytes; and that the audit sees what there is to see."""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Callable

import pytest
import torch
import torch.fx.experimental._config

from depth_retrofit_ros.bench.audit import META, Audit, AuditedRetrofit, BlankModel
from depth_retrofit_ros.coarse.compact import Compact
from depth_retrofit_ros.coarse.compact_net import CompactNet
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.presets import Preset
from depth_retrofit_ros.refinement.paper.network import PaperNet
from depth_retrofit_ros.refinement.paper.refiner import PaperRefiner
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
from depth_retrofit_ros.refinement.prv2.network import PatchRefinerV2
from depth_retrofit_ros.refinement.sharp.network import SharpDepth
from depth_retrofit_ros.refinement.tiles.layout import TileLayout
from depth_retrofit_ros.refinement.tiles.refiner import TileNetwork, TileRefiner
from depth_retrofit_ros.refinement.urgt.network import Urgt
from depth_retrofit_ros.selection import threshold

SIZE = (1440, 2560)
ROWS = (96_191, 25_963, 7_492, 2_375)
"""Of the coarser levels, of a view of the bundled film at 10 %."""

needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed: pip install triton")


def _write_by_list(image: torch.Tensor) -> None:
    image[:, [0, -1]] = 0.0


def _write_a_number(image: torch.Tensor) -> None:
    image[torch.zeros(3, dtype=torch.int64, device=META)] = 1.0


def _select(image: torch.Tensor) -> None:
    image[image > 0]


PLANTED: dict[str, Callable[[torch.Tensor], object]] = {
    "a list as an index": lambda image: image[[0, 1, 2]],
    "a write through a list": _write_by_list,
    "a number through a tensor of indices": _write_a_number,
    "indices of the host": lambda image: image[torch.tensor([1, 2])],
    "a constant that is sent": lambda image: image + torch.tensor([1.0, 2.0], device=META)[0],
    "a tensor that is sent": lambda image: image * torch.ones(8).to(META),
    "a tensor that is fetched": lambda image: image.cpu(),
    "a value that is looked at": lambda image: bool(image.sum() > 0),
    "an item": lambda image: image.sum().item(),
    "a shape that depends on values": lambda image: image.nonzero(),
    "a choice of some": _select,
    "a mask that becomes indices": lambda image: torch.where(image > 0),
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_waits_is_seen(name: str) -> None:
    audit, image = Audit(), torch.empty(8, 8, device=META)
    # Tensors without content cannot do all of it; it has been seen by then.
    with audit.watching(), contextlib.suppress(NotImplementedError, RuntimeError):
        PLANTED[name](image)
    assert audit.waits, name


def test_what_does_not_wait_is_not_said_to() -> None:
    audit, image = Audit(), torch.empty(8, 8, device=META)
    with audit.watching():
        index = torch.arange(8, device=META)
        image = image.clamp_min(0.5) * 2.0 + image.mean()
        image[:, :1].zero_()
        image.index_copy_(0, index, image.clone())
        torch.where(image > 0, image, 0.0).to(torch.float16).sum(0)
    assert audit.waits == [] and audit.total.launches > 8


def test_bytes_are_those_of_arguments_and_results_and_views_cost_nothing() -> None:
    audit, image = Audit(), torch.empty(8, 16, device=META)
    with audit.watching(), audit.stage("sum"):
        image.t()[1:].reshape(8, 15)
        image + image
    cost = audit.stages["sum"]
    assert cost.launches == 2  # a copy by reshape, and the sum
    assert (cost.read, cost.written) == (15 * 8 * 4 + 8 * 16 * 4, 15 * 8 * 4 + 8 * 16 * 4)


def test_rows_that_are_put_into_their_places_cost_the_rows_and_not_the_whole() -> None:
    audit, image = Audit(), torch.empty(1000, device=META)
    with audit.watching(), audit.stage("put"):
        image.index_copy_(0, torch.empty(20, dtype=torch.int64, device=META), torch.empty(20, device=META))
    cost = audit.stages["put"]
    assert (cost.launches, cost.read, cost.written) == (1, 20 * 8 + 20 * 4, 20 * 4)


@needs_triton
@pytest.mark.parametrize(("grid", "most"), [((72, 128), 0.9e9), ((294, 518), 1.04e9)])
def test_around_the_model_nothing_waits_and_little_is_launched_and_moved(grid: tuple[int, int], most: float) -> None:
    """At 2560x1440 and 10 %: at most 120 launches; what a large coarse map adds to the bytes is its own. The median reads 30 MB."""
    network = load_sparse_refiner(None, torch.device("cpu")).network
    audit = AuditedRetrofit(BlankModel(grid, grid), network, 0.1, ROWS).watch(SIZE)
    assert audit.waits == []
    assert list(audit.stages) == ["coarse", "upsample", "select", "refine", "fuse"]
    total = audit.total
    assert 50 < total.launches <= 120 and 0.5e9 < total.read + total.written <= most, total
    assert total.fetched == 0


@needs_triton
def test_depth_cloud_and_preview_wait_for_nothing_and_stay_within_the_launches() -> None:
    """With what is published: 120 launches in all, and nothing is fetched but what goes out."""
    network = load_sparse_refiner(None, torch.device("cpu")).network
    audit = AuditedRetrofit(BlankModel((72, 128), (72, 128)), network, 0.1, ROWS).watch(SIZE, ("depth", "points", "preview"))
    assert audit.waits == []
    assert audit.total.launches <= 120, audit.total
    pixels = SIZE[0] * SIZE[1]
    fetched = {name: cost.fetched for name, cost in audit.stages.items() if cost.fetched}
    assert fetched == {"depth": 4 * pixels, "points": 4 * pixels, "preview": 3 * pixels + 12}  # and the range of its colours
    assert audit.stages["depth"].launches == 0 and audit.stages["points"].launches == 1 and audit.stages["preview"].launches <= 4


@needs_triton
def test_what_nobody_asks_for_is_neither_made_nor_fetched_and_dense_depth_is_not_needed_for_another_output() -> None:
    retrofit = AuditedRetrofit(BlankModel((18, 32), (18, 32)), load_sparse_refiner(None, torch.device("cpu")).network, 0.1)
    sizes = {"depth_mm": 2, "selection": 1, "normals": 12, "normals_preview": 3, "confidence": 4, "confidence_8bit": 1}
    for name, each in sizes.items():
        audit = retrofit.watch((90, 160), (name,))
        assert audit.waits == [] and audit.total.fetched == each * 90 * 160, name
        assert audit.stages[name].launches == 1 or name.startswith(("normals", "confidence"))


@needs_triton
def test_compact_waits_for_nothing() -> None:
    info, network = MODELS["compact"], load_sparse_refiner(None, torch.device("cpu")).network
    model = Compact(CompactNet().to(META), META, info.claim, info.input)
    assert AuditedRetrofit(model, network, 0.1).watch((360, 640)).waits == []


@pytest.mark.parametrize("network", [PatchRefinerV2({}), Urgt(), SharpDepth()], ids=lambda network: str(network.name))
def test_refiners_of_tiles_wait_for_nothing_and_are_counted(network: TileNetwork) -> None:
    """On tensors without content, as they are on a GPU; the tiles of a frame decide the cost and not what is on them."""
    assert isinstance(network, torch.nn.Module)
    sizes, flops = ((360, 640), (720, 1280)), dict[tuple[tuple[int, int], float], float]()
    for size in sizes:
        audited = AuditedRetrofit(BlankModel((72, 128), (72, 128)), TileRefiner(network.to(META), META), 0.1)
        for audited.budget in (0.05, 0.1):
            audit = audited.watch(size)
            assert audit.waits == []
            flops[size, audited.budget] = audit.stages["refine"].flops
    totals = [TileLayout(size, network.side, network.overlap).total for size in sizes]
    tiles = {
        (size, budget): math.ceil(2.5 * budget * total) for size, total in zip(sizes, totals, strict=True) for budget in (0.05, 0.1)
    }
    first, last = (sizes[0], 0.1), (sizes[1], 0.1)
    assert flops[first] > 1e9 * tiles[first] / 4 and flops[last] / flops[first] >= 0.9 * tiles[last] / tiles[first]
    half = (sizes[1], 0.05)  # of the budget costs half, or a little less where tiles attend to one another
    assert flops[half] / flops[last] == pytest.approx(tiles[half] / tiles[last], rel=0.15)


@needs_triton
def test_selection_by_disagreement_waits_for_nothing() -> None:
    network = load_sparse_refiner(None, torch.device("cpu")).network
    audited = AuditedRetrofit(BlankModel((72, 128), (72, 128)), network, 0.1, ROWS)
    alone = audited.watch(SIZE)
    audited.second = BlankModel((36, 64), (36, 64))  # another grid
    beside = audited.watch(SIZE)
    assert beside.waits == [] and beside.stages["select"].launches > alone.stages["select"].launches
    assert beside.stages["refine"].launches == alone.stages["refine"].launches


@needs_triton
def test_preset_paper_waits_to_learn_how_many_pixels_there_are_and_for_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its threshold is met by a number that only the device knows: here by all pixels, as none of them has content."""
    from depth_retrofit_ros.sparse.backends.triton.backend import TritonBackend

    plain = threshold.above

    def above(score: torch.Tensor, alpha: float, size: tuple[int, int], most: int) -> tuple[torch.Tensor, int]:
        with contextlib.suppress(RuntimeError):  # what waits is seen by then
            return plain(score, alpha, size, most)
        return score > alpha, 0

    monkeypatch.setattr(threshold, "above", above)
    refiner = PaperRefiner(PaperNet().to(META), TritonBackend(), torch.float16)
    audited = AuditedRetrofit(BlankModel((18, 32), (18, 32)), refiner, 0.1)
    audited.parts = Preset("paper", alpha=0.5).parts(audited.coarse)
    with torch.fx.experimental._config.patch(meta_nonzero_assume_all_nonzero=True):  # type: ignore[attr-defined]
        waits = audited.watch((90, 160)).waits
    assert {wait.where.partition(":")[0] for wait in waits} == {"selection/threshold.py", "sparse/pixel_set.py"}
    assert sum(wait.what == "nonzero" for wait in waits) == 1
