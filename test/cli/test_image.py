"""``depth-retrofit image`` with sparse depth: a prompted model's metres, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.coarse.sparse_file import read_sparse
from depth_retrofit_ros.errors import OutputError, SparseDepthError
from depth_retrofit_ros.io.checkpoints import save_tensors
from depth_retrofit_ros.refinement.kinds import KIND
from depth_retrofit_ros.refinement.urgt.network import Urgt
from test.coarse import tiny_networks as tiny
from test.coarse.families import image, saved

PROMPTED = "prompt-depth-anything-small"


def write_sparse(path: Path, height: int, width: int, step: int = 4) -> Path:
    millimeters = np.zeros((height, width), np.uint16)
    millimeters[::step, ::step] = 4000
    millimeters[0, 0] = 6000
    cv2.imwrite(str(path), millimeters)
    return path


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    cv2.imwrite(str(path), image(90, 120).numpy())
    return path


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    pytest.importorskip("transformers")
    return saved(tiny.prompt_depth_anything(), tmp_path / "net")


def run(photo: Path, *options: str) -> int:
    small = ["--coarse-size", "112", "--device", "cpu", "--budget", "0.02"]
    return cli.main(["image", str(photo), "--out", str(photo.parent / "out"), *small, *options])


@pytest.mark.parametrize("given", ["file", "folder"])
def test_sparse_depth_makes_metres_of_a_photo(photo: Path, weights: Path, given: str) -> None:
    folder = photo.parent / "sparse"
    folder.mkdir()
    file = write_sparse(folder / "photo.png", 45, 60)
    sparse = file if given == "file" else folder
    assert run(photo, "--model", PROMPTED, "--weights", str(weights), "--sparse-depth", str(sparse)) == 0
    (entry,) = json.loads((photo.parent / "out" / "images.json").read_text())
    assert (entry["metric"], entry["scale_source"]) == (True, "sensor")
    depth = np.load(photo.parent / "out" / "photo_depth.npy")
    assert float(np.nanmin(depth)) > 3.9 and float(np.nanmax(depth)) < 6.1


def test_too_little_of_it_is_told(photo: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparse = write_sparse(photo.parent / "sparse.png", 45, 60, step=30)
    assert run(photo, "--model", PROMPTED, "--weights", str(weights), "--sparse-depth", str(sparse)) == 0
    assert "only 4 sparse depths are in the image" in capsys.readouterr().out
    assert (photo.parent / "out" / "photo_relative.npy").is_file()


def test_a_model_that_takes_none_refuses_it(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sparse = str(write_sparse(photo.parent / "sparse.png", 45, 60))
    assert cli.main(["image", str(photo), "--out", str(photo.parent / "out"), "--model", "compact", "--sparse-depth", sparse]) != 0
    assert "compact takes no sparse depth" in capsys.readouterr().err
    assert cli.main(["image", str(photo), "--out", str(photo.parent / "out"), "--coarse", ".", "--sparse-depth", sparse]) != 0
    assert "with --coarse none is run" in capsys.readouterr().err
    assert cli.main(["image", str(photo), str(photo), "--out", str(photo.parent / "out"), "--sparse-depth", sparse]) != 0
    assert "is of one photo" in capsys.readouterr().err


def test_the_size_of_the_models_input_is_told(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--model", "compact") == 0
    assert "compact saw it at 112x80" in capsys.readouterr().out
    (entry,) = json.loads((photo.parent / "out" / "images.json").read_text())
    assert (entry["input_size"], entry["coarse_maps"]) == ("112x80", None)


def test_what_computed_it_is_told(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--model", "compact", "--coarse-engine", "eager", "--engine", "torch", "--refiner-precision", "float32") == 0
    assert "\n  coarse engine eager, sparse backend torch in float32\n" in capsys.readouterr().out
    (entry,) = json.loads((photo.parent / "out" / "images.json").read_text())
    assert (entry["coarse_engine"], entry["sparse_backend"]) == ("eager", "torch in float32")


def test_the_same_focal_length_is_assumed_for_normals_and_cloud(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(photo, "--model", "compact", "--normals", "--ply") == 0
    assert "cloud and normals: 65 deg across assumed for the shape" in capsys.readouterr().out
    assert (photo.parent / "out" / "photo_relative.ply").is_file()
    assumed = np.load(photo.parent / "out" / "photo_normals.npz")["normals"]
    assert run(photo, "--model", "compact", "--normals", "--hfov", "65") == 0
    apart = np.abs(np.load(photo.parent / "out" / "photo_normals.npz")["normals"] - assumed)
    assert np.quantile(apart, 0.99) < 0.02, "a few pixels may choose another surface, as the depths differ by a factor"


def test_the_refiner_s_normals_are_in_the_file_where_the_camera_is_known(photo: Path) -> None:
    torch.manual_seed(0)
    network = Urgt()
    torch.nn.init.normal_(network.head.last.weight[-3:].detach(), std=0.3)  # of the normals alone
    assert network.head.last.bias is not None
    torch.nn.init.constant_(network.head.last.bias[1:-3].detach(), -50.0)  # no other surface is chosen
    path, written = photo.parent / "urgt.safetensors", photo.parent / "out" / "photo_normals.npz"
    save_tensors(path, network.state_dict(), {KIND: "urgt", "network": "{}"})
    found = []
    for refiner in (str(path), "none"):
        assert run(photo, "--model", "compact", "--normals", "--hfov", "65", "--refiner", refiner) == 0
        found.append(np.load(written)["normals"])
    apart = np.linalg.norm(found[0] - found[1], axis=0)
    assert 0.01 < np.mean(apart > 1e-3) <= 0.02, "at the budget's share of the pixels"
    np.testing.assert_allclose(np.linalg.norm(found[0], axis=0), 1.0, atol=1e-4)
    assert run(photo, "--model", "compact", "--normals", "--refiner", "none") == 0
    plain = np.load(written)["normals"]
    assert run(photo, "--model", "compact", "--normals", "--refiner", str(path)) == 0
    np.testing.assert_allclose(np.load(written)["normals"], plain, atol=1e-4, err_msg="it was told of no camera")


def test_what_fails_before_a_photo_leaves_no_folder(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = photo.parent / "new" / "out"
    assert cli.main(["image", str(photo), "--out", str(out), "--model", "compcat"]) == 2
    assert not (photo.parent / "new").exists()
    out.mkdir(parents=True)
    assert cli.main(["image", str(photo), "--out", str(out), "--model", "compcat"]) == 2
    assert out.is_dir(), "it was there before"


def test_a_photo_that_is_not_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["image", str(tmp_path / "no.jpg"), "--out", str(tmp_path / "out"), "--model", "compact"]) == 1
    told = capsys.readouterr()
    assert told.err.splitlines()[-1].startswith(
        f"depth-retrofit: error: cannot read {tmp_path / 'no.jpg'} (No such file or directory): give"
    )
    assert "images done" not in told.out


@pytest.mark.parametrize(
    ("option", "told"),
    [("--budget", "'abc' is not a number from 0 to 1"), ("--ply", "'abc' is not a whole number above 0")],
)
def test_what_is_no_number_is_told_with_the_range(option: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["image", "a.jpg", "--out", "out", option, "abc"])
    assert told in capsys.readouterr().err


def test_a_folder_is_no_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["image", str(tmp_path), "--out", str(tmp_path / "out"), "--model", "compact"]) == 1
    assert f"{tmp_path} is a directory: give its files" in capsys.readouterr().err


def test_pixels_of_a_small_map_lie_where_their_centres_are(tmp_path: Path) -> None:
    millimeters = np.zeros((2, 4), np.uint16)
    millimeters[1, 2] = 2500
    cv2.imwrite(str(tmp_path / "sparse.png"), millimeters)
    sparse = read_sparse(tmp_path / "sparse.png", 20, 40)
    np.testing.assert_array_equal(sparse.pixels, [15 * 40 + 25])
    np.testing.assert_allclose(sparse.depth, [2.5])


def test_what_is_no_sparse_depth_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(SparseDepthError, match="no sparse depth at"):
        read_sparse(tmp_path / "absent.png", 20, 40)
    with pytest.raises(SparseDepthError, match="cannot show the view of a 20x40 photo"):
        read_sparse(write_sparse(tmp_path / "wide.png", 20, 40), 40, 20)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(OutputError, match="is not a 16-bit grey PNG"):
        read_sparse(tmp_path / "text.png", 20, 40)
