"""``depth-retrofit train``, from options to a checkpoint that loads, on a very small pool."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.cli.main import main
from depth_retrofit_ros.cli.train_pools import KINDS, WorldShare, check_pools, divided, world_share
from depth_retrofit_ros.coarse import compact
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.errors import ImageError
from depth_retrofit_ros.io.checkpoints import load_tensors
from depth_retrofit_ros.refinement.paper.refiner import read_thresholds
from depth_retrofit_ros.refinement.pixels.refiner import load_sparse_refiner
from depth_retrofit_ros.refinement.registry import load_refiner
from depth_retrofit_ros.sparse.backends import registry
from depth_retrofit_ros.sparse.pixel_set import PixelSet
from depth_retrofit_ros.sparse.pyramid import Pyramid
from depth_retrofit_ros.training import crops, paper, pool, prv2, refiner, sharp, urgt
from depth_retrofit_ros.training.scenes import primitives, world
from depth_retrofit_ros.training.scenes.textures import build_textures
from depth_retrofit_ros.training.scenes.thin import world as thin_world
from depth_retrofit_ros.training.scenes.world import WorldInfo
from test.sparse.backends.dense_library import DenseLibrary

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pool_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Shared by the tests, so that each scene is rendered once; few textures, one frame size, small crops."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(primitives, "build_textures", lambda seed, photos=None: build_textures(seed, count=5, photos=photos))
        patch.setattr(pool, "_worlds", {})
        patch.setattr(pool, "FRAMES", ((1280, 720),))
        patch.setattr(crops, "MAX_ACTIVE", 2000)
        patch.setattr(paper, "MAX_ACTIVE", 2000)
        for training in (refiner, prv2, urgt, sharp, paper):
            patch.setattr(training, "VALIDATION_BATCHES", 1)
        yield tmp_path_factory.mktemp("pool")


def train(target: str, folder: Path, out: Path, *more: str) -> int:
    """Two scenes and two steps."""
    small = ["--scenes", "2", "--held-out", "1", "--steps", "2", "--batch", "1", "--workers", "1", "--device", "cpu"]
    return main(["train", target, "--pool", str(folder), "--out", str(out), *small, *more])


@pytest.fixture(scope="module")
def first_refiner(pool_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder of one, and what its training said on standard output."""
    out, said = tmp_path_factory.mktemp("refiner"), io.StringIO()
    with redirect_stdout(said):
        assert train("refiner", pool_folder, out, "--coarse", "--widths", "4", "8") == 0
    return out, said.getvalue()


def test_refiner(pool_folder: Path, first_refiner: tuple[Path, str]) -> None:
    out, said = first_refiner
    assert "train scenes 2/2" in said
    assert load_sparse_refiner(out / "refiner.safetensors", CPU).network.widths == (4, 8)
    card = (out / "refiner.md").read_text()
    assert "trained 2 steps" in card and "| val_left |" in card and "seed 900" in card
    for option in ("--scenes 2", "--steps 2", "--batch 1", "--rate 0.0015", "--widths 4 8", "--blocks 1", "--engine torch"):
        assert option in card  # its command trains the same again
    assert {p.name for p in pool_folder.iterdir()} >= {"0001_000000_2_v2.npz", "0001_000001_2_v2.npz", "0900_000000_2_v2.npz"}


@pytest.mark.parametrize("more", [(), ("--unguided", "--no-pretraining")])
def test_prv2_and_resuming_it(pool_folder: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    assert train("prv2", pool_folder, tmp_path, "--coarse", "compact", *more) == 0
    path = tmp_path / "prv2.safetensors"
    refiner = load_refiner(path, CPU)
    assert refiner.name == "prv2" and refiner.needs == "tiles"
    tensors, metadata = load_tensors(path)
    assert json.loads(metadata["network"]) == {"channels": {"compact": 32}, "guided": not more}
    card = (tmp_path / "prv2.md").read_text()
    assert "| val_left |" in card and "--coarse compact" in card and "--widths" not in card
    assert ("--unguided" in card) == bool(more)
    assert train("prv2", pool_folder, tmp_path, "--coarse", "compact", "--steps", "3", "--resume", *more) == 0
    assert load_tensors(path)[1]["steps"] == "3"
    assert any(not torch.equal(old, load_tensors(path)[0][name]) for name, old in tensors.items())


@pytest.mark.parametrize("more", [(), ("--uniform-noise", "--no-anchor"), ("--no-distillation",)])
def test_sharp_and_resuming_it(pool_folder: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    assert train("sharp", pool_folder, tmp_path, "--coarse", "compact", *more) == 0
    path = tmp_path / "sharp.safetensors"
    refiner = load_refiner(path, CPU)
    assert refiner.name == "sharp" and refiner.needs == "tiles"
    assert json.loads(load_tensors(path)[1]["network"]) == {"uniform": "--uniform-noise" in more}
    card = (tmp_path / "sharp.md").read_text()
    assert "trained 2 steps" in card and "| val_left |" in card
    assert all((option in card) == (option in more) for option in ("--uniform-noise", "--no-anchor", "--no-distillation"))
    if not more:
        assert train("sharp", pool_folder, tmp_path, "--coarse", "compact", "--steps", "4", "--resume") == 0
        assert load_tensors(path)[1]["steps"] == "3"  # the student's share of four


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--no-anchor", "--no-distillation"), "leave the student nothing"),
        (("--steps", "1"), "too few for a teacher and a student"),
    ],
)
def test_a_student_without_anything_to_learn_is_refused(
    tmp_path: Path, more: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("sharp", tmp_path / "pool", tmp_path / "out", "--coarse", "compact", *more) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("more", [(), ("--apart", "--local-positions")])
def test_urgt(pool_folder: Path, tmp_path: Path, more: tuple[str, ...]) -> None:
    assert train("urgt", pool_folder, tmp_path, "--coarse", "compact", *more) == 0
    path = tmp_path / "urgt.safetensors"
    assert load_refiner(path, CPU).name == "urgt"
    assert json.loads(load_tensors(path)[1]["network"]) == {"across": not more, "local": bool(more)}
    card = (tmp_path / "urgt.md").read_text()
    assert "| val_normal_deg |" in card and ("--local-positions" in card) == bool(more)


def test_paper_and_going_on_from_it(pool_folder: Path, tmp_path: Path) -> None:
    more = ("--coarse", "--calibrate", "compact")
    assert train("paper", pool_folder, tmp_path / "first", *more, "--widths", "4", "8") == 0
    path = tmp_path / "first" / "paper.safetensors"
    refiner = load_refiner(path, CPU)
    assert refiner.name == "paper" and refiner.needs == "pixels"
    assert list(read_thresholds(path)) == ["compact", "files"]
    card = (tmp_path / "first" / "paper.md").read_text()
    assert "| val_left |" in card and "--calibrate compact" in card and "--widths 4 8" in card and "--engine torch" in card
    assert train("paper", pool_folder, tmp_path / "next", "--coarse", "--start", str(path), "--rate", "1e-9") == 0
    before, after = (load_tensors(p)[0] for p in (path, tmp_path / "next" / "paper.safetensors"))
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, before[name], atol=1e-3, rtol=1e-2)


def test_refiner_from_a_checkpoint(pool_folder: Path, first_refiner: tuple[Path, str], tmp_path: Path) -> None:
    """It begins with those weights and their shape, whatever --widths says; the card tells from where."""
    start = first_refiner[0] / "refiner.safetensors"
    assert train("refiner", pool_folder, tmp_path, "--coarse", "--start", str(start), "--rate", "1e-9", "--crops", "1") == 0
    before, after = (load_sparse_refiner(path, CPU).network for path in (start, tmp_path / "refiner.safetensors"))
    assert after.widths == (4, 8)
    for name, tensor in after.state_dict().items():
        if tensor.is_floating_point() and "running" not in name:
            torch.testing.assert_close(tensor, before.state_dict()[name], atol=1e-5, rtol=1e-3)
    card = (tmp_path / "refiner.md").read_text()
    assert "--start refiner.safetensors" in card and "--crops 1" in card and "--widths" not in card
    assert (pool_folder / "0001_000000_1_v2.npz").exists()


def test_refiner_by_another_engine(
    pool_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It computes every convolution of training and validation, in float32 only, and the card names it."""
    used = []

    class Counted(DenseLibrary):
        name = "minkowski"

        def build_pyramid(self, pixels: PixelSet, levels: int) -> Pyramid:
            used.append(levels)
            return super().build_pyramid(pixels, levels)

    def load(name: str, device: torch.device, *, gradients: bool) -> Counted:
        assert name == "minkowski" and gradients
        return Counted()

    monkeypatch.setattr(registry, "load_backend", load)
    options = ["--coarse", "--widths", "4", "8", "--crops", "1", "--engine", "minkowski"]
    assert train("refiner", pool_folder, tmp_path, *options, "--precision", "bfloat16") == 2
    assert "--precision bfloat16 needs --engine torch: minkowski computes in float32" in capsys.readouterr().err
    assert train("refiner", pool_folder, tmp_path, *options) == 0
    assert used == [2] * 3, "two steps, a batch of validation"
    assert "--engine minkowski" in (tmp_path / "refiner.md").read_text()


def test_compact_and_resuming_it(pool_folder: Path, tmp_path: Path) -> None:
    assert train("compact", pool_folder, tmp_path) == 0
    first = compact.load(
        tmp_path / "compact.safetensors", CPU, MODELS["compact"].claim, MODELS["compact"].input
    ).network.state_dict()
    assert train("compact", pool_folder, tmp_path, "--resume", "--steps", "3") == 0
    assert "trained 3 steps" in (tmp_path / "compact.md").read_text()
    again = compact.load(
        tmp_path / "compact.safetensors", CPU, MODELS["compact"].claim, MODELS["compact"].input
    ).network.state_dict()
    assert not all(torch.equal(first[name], again[name]) for name in first)


def test_what_cannot_be_done_is_one_line(pool_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    cases = {
        ("--seed", "900"): "validation set",
        ("--seed", "-1"): "not negative",
        ("--pool", str(blocked / "pool")): "cannot make the pool folder",
        ("--out", str(blocked / "out")): "cannot make the folder",
        ("--pool", str(tmp_path / "other"), "--photos", str(tmp_path / "absent")): "no images in",
        ("--coarse", "no-such-model"): "unknown model",
        ("--worlds", "nowhere"): "unknown world",
        ("--worlds", "rooms"): "give their folder with --assets",
        ("--worlds", "thin", "--assets", str(tmp_path)): "no textures at",
    }
    for options, told in cases.items():
        assert train("refiner", pool_folder, tmp_path / "out", *options) == 2
        error = capsys.readouterr().err
        assert told in error and error.count("\n") == 1, options


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        ("refiner", ["--worlds", "primitives", "nowhere"], "unknown world"),
        ("refiner", ["--worlds", "primitives:9", "nowhere:0.1"], "unknown world"),
        ("refiner", ["--worlds", "primitives", "rooms"], "give their folder with --assets"),
        ("refiner", ["--worlds", "primitives", "rooms", "--assets", "EMPTY"], "no .sh3f catalogue"),
        ("refiner", ["--worlds", "primitives", "thin", "--assets", "EMPTY"], "no textures at"),
        ("refiner", ["--photos", "EMPTY"], "no images in"),
        ("refiner", ["--held-out-photos", "EMPTY"], "no images in"),
        ("refiner", ["--coarse", "no-such-model"], "unknown model"),
        ("refiner", ["--coarse", "meter-nyu", "--weights", "EMPTY"], "METER"),
        ("refiner", ["--coarse", "--start", "EMPTY/absent.safetensors"], "absent.safetensors"),
        ("refiner", ["--engine", "cpu"], "'cpu' computes no gradients: train with torch or minkowski"),
        ("refiner", ["--engine", "mincowski"], "unknown sparse backend 'mincowski'"),
        ("prv2", ["--accumulate", "2"], "leave out --accumulate, or start more processes"),
        ("compact", ["--backbone", "EMPTY/absent.pth"], "absent.pth"),
        ("compact", ["--teach", "EMPTY"], "no photographs in"),
        ("compact", ["--out", "EMPTY/file/out"], "cannot make the folder"),
    ],
)
def test_a_mistake_is_told_before_anything_is_rendered(
    target: str, options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if "sh3f" in told:
        pytest.importorskip("embreex", reason="needs embreex (pip install '.[train]')")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(pool, "build_pool", lambda *args: pytest.fail("rendered"))
    options = [option.replace("EMPTY/file", f"{tmp_path}/file").replace("EMPTY", f"{tmp_path}/empty") for option in options]
    assert train(target, tmp_path / "pool", tmp_path / "out", *options) == 2
    error = capsys.readouterr().err
    assert told in error and error.count("\n") == 1


def test_a_pool_that_is_complete_needs_no_sources(pool_folder: Path) -> None:
    """It may be trained on where its photographs are not."""
    spec = pool.PoolSpec(pool_folder, 1, 2, 1, photos=pool_folder / "absent")
    with pytest.raises(ImageError, match="no images in"):
        check_pools([spec])
    spec.path(0).write_bytes(b"")
    check_pools([spec])


@pytest.mark.parametrize("option", ["--scenes", "--held-out", "--steps", "--batch", "--workers", "--rate", "--minutes", "--widths"])
def test_zero_of_anything_is_refused(option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "compact", "--out", str(tmp_path), option, "0"])
    assert "0 is not above 0" in capsys.readouterr().err


def test_only_the_chosen_kinds_are_trained_on(pool_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A pool of one scene has one kind: the others leave nothing, which is told in one line."""
    kind = str(np.load(pool.build_pool(pool.PoolSpec(pool_folder, 1, 2, 1), 1, lambda done: None)[0])["kind"])
    others = [other for other in KINDS if other != kind]
    small = ["--scenes", "1", "--held-out", "1", "--steps", "1", "--batch", "1", "--workers", "1", "--device", "cpu"]
    assert main(["train", "compact", "--out", str(tmp_path), "--pool", str(pool_folder), *small, "--kinds", *others]) == 2
    assert "none of the 1 train scenes is left" in capsys.readouterr().err


def test_scenes_are_divided_among_worlds(
    pool_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thin_world, "TEXTURES", 6)
    small = [
        "--scenes",
        "3",
        "--held-out",
        "2",
        "--steps",
        "1",
        "--batch",
        "1",
        "--workers",
        "1",
        "--device",
        "cpu",
        "--crops",
        "1",
    ]
    folders = ["--out", str(tmp_path), "--pool", str(pool_folder)]
    assert main(["train", "compact", *folders, *small, "--crops", "1", "--worlds", "primitives:2", "thin"]) == 0
    told = capsys.readouterr().out
    assert "train scenes 2/2" in told and "train scenes of thin 1/1" in told and "validation scenes of thin 1/1" in told
    card = (tmp_path / "compact.md").read_text()
    assert "data: 2 scenes of the world primitives, 1 scenes of the world thin of seed 1" in card
    assert "--worlds primitives:2 thin" in card and "assets" not in card
    held_out = [p.name for p in pool_folder.iterdir() if "held-out" in p.name]
    assert len(held_out) == 1 and held_out[0].startswith("0900_thin2-held-out_000000_1")


def test_assets_are_attributed(pool_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose they are is in the card, by whom a world is made of them."""
    small = ["--scenes", "1", "--held-out", "1", "--steps", "1", "--batch", "1", "--workers", "1", "--device", "cpu"]
    folders = ["--out", str(tmp_path), "--pool", str(pool_folder), "--assets", str(tmp_path)]
    info = WorldInfo("depth_retrofit_ros.training.scenes.primitives", attribution=("models of A (CC BY)", "textures of B"))
    monkeypatch.setattr(world, "WORLDS", {**world.WORLDS, "primitives": info})
    assert main(["train", "compact", *folders, *small]) == 0
    card = (tmp_path / "compact.md").read_text()
    assert "of which nothing is contained here: models of A (CC BY); textures of B" in card
    assert f"--assets {tmp_path.name}" in card


@pytest.mark.parametrize("count", [0, 1, 7, 100])
def test_shares_add_up(count: int) -> None:
    parts = divided(count, [WorldShare("a", 1.0), WorldShare("b", 2.5), WorldShare("c", 0.5)])
    assert sum(parts) == count
    assert all(abs(part - count * share / 4) <= 1 for part, share in zip(parts, (1, 2.5, 0.5), strict=True))


def test_a_world_with_a_share() -> None:
    assert world_share("thin") == WorldShare("thin", 1.0) and str(world_share("thin")) == "thin"
    assert world_share("thin:2.5") == WorldShare("thin", 2.5) and str(world_share("thin:2.5")) == "thin:2.5"
    for wrong in ("thin:0", "thin:", "thin:x"):
        with pytest.raises((argparse.ArgumentTypeError, ValueError)):
            world_share(wrong)
