"""``depth-retrofit reconstruct``: stored predictions of several photos in, depth, cameras and a cloud out."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.coarse import registry
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.info import ModelInfo
from depth_retrofit_ros.coarse.input_size import long_side
from depth_retrofit_ros.coarse.vggt import VggtModel
from depth_retrofit_ros.reconstruction.geometry import inverse
from test.coarse.test_vggt import CLAIM, CPU, SIZE, filled
from test.reconstruction.scene import COARSE, WORLD_FROM, exact_depth, image

K = np.array([[COARSE.fx, 0, COARSE.cx], [0, COARSE.fy, COARSE.cy], [0, 0, 1]])


def write_photos(folder: Path) -> list[str]:
    """Three views of the known scene, as photos."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"view{i}.png" for i in range(3)]
    for number, path in enumerate(paths):
        assert cv2.imwrite(str(path), image(number)[..., ::-1])
    return [str(path) for path in paths]


def write_predictions(folder: Path, metric: bool = True) -> str:
    folder.mkdir(exist_ok=True)
    for number, pose in enumerate(WORLD_FROM):
        depth = exact_depth(COARSE, pose)
        np.savez(folder / f"view{number}.npz", depth=depth, K=K, camera_from_world=inverse(pose), metric=metric)
    return str(folder)


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("depth-retrofit: error: ")
    return line


@pytest.mark.parametrize(
    ("metric", "cloud", "unit"), [(True, "cloud.ply", "metres"), (False, "cloud_relative.ply", "one unit that is unknown")]
)
def test_stored_predictions_become_one_cloud(
    metric: bool, cloud: str, unit: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, coarse, out = write_photos(tmp_path / "in"), write_predictions(tmp_path / "coarse", metric), tmp_path / "out"
    assert cli.main(["reconstruct", *photos, "--coarse", coarse, "--out", str(out), "--stride", "3"]) == 0
    told = capsys.readouterr().out
    assert "view2: 96x72, 60.0 deg across, 691 pixels refined" in told
    assert f"{3 * 24 * 32} points of 3 views in {unit}" in told
    about = json.loads((out / "cameras.json").read_text())
    assert about["cloud"] == cloud and about["points"] == 3 * 24 * 32 and about["metric"] == metric
    assert (out / cloud).stat().st_size > 15 * about["points"]
    kind = "depth" if metric else "relative"
    with np.load(out / f"view1_{kind}.npz") as stored:
        assert bool(stored["metric"]) == metric and "points" not in stored
    assert np.allclose(about["views"][1]["camera_from_world"], inverse(WORLD_FROM[1]), atol=1e-6)


def test_a_model_of_several_views_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    info = ModelInfo(
        name="vggt",
        loader="test.cli.test_reconstruct:load_random",
        license="none",
        parameters=1,
        size_mb=1.0,
        claim=ScaleClaim("up-to-scale", "never"),
        description="",
        how_to_get="",
        files=("vggt.safetensors",),
        input=long_side(56, 14),
    )
    monkeypatch.setattr(registry, "MODELS", {**registry.MODELS, "vggt": info})
    weights = tmp_path / "vggt.safetensors"
    weights.write_bytes(b"")
    photos = write_photos(tmp_path / "in")
    arguments = ["reconstruct", *photos, "--weights", str(weights), "--out", str(tmp_path), "--geometry", "points", "--point-maps"]
    assert cli.main(arguments) == 0
    assert "3 views in one unit that is unknown" in capsys.readouterr().out
    with np.load(tmp_path / "view0_relative.npz") as stored:
        assert stored["points"].shape == (3, 72, 96)
        assert stored["confidence"].shape == (72, 96)
    about = json.loads((tmp_path / "cameras.json").read_text())
    assert about["confidence_limit"] > 1
    assert 0 < about["points"] < 0.9 * 3 * 36 * 48
    assert np.allclose(about["views"][0]["camera_from_world"], np.eye(4)[:3], atol=1e-6)


def load_random(weights: Path, device: torch.device, claim: ScaleClaim, size: object) -> VggtModel:
    """A loader of the registry."""
    return VggtModel(filled(), "vggt", CLAIM, CPU, SIZE)


def test_a_model_of_one_view_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_photos(tmp_path / "in")
    assert cli.main(["reconstruct", *photos, "--model", "compact", "--out", str(tmp_path / "out")]) == 2
    assert "compact sees one image at a time: choose a model of several views, such as vggt, or give --coarse" in error_line(capsys)


def test_a_prediction_that_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, coarse = write_photos(tmp_path / "in"), write_predictions(tmp_path / "coarse")
    (tmp_path / "coarse" / "view1.npz").unlink()
    assert cli.main(["reconstruct", *photos, "--coarse", coarse, "--out", str(tmp_path / "out")]) == 2
    assert "view1.npz" in error_line(capsys)


def test_the_size_of_a_model_s_input_is_not_that_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, coarse = write_photos(tmp_path / "in"), write_predictions(tmp_path / "coarse")
    assert cli.main(["reconstruct", *photos, "--coarse", coarse, "--coarse-size", "300", "--out", str(tmp_path / "out")]) == 2
    assert "--coarse-size is of a model" in error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_two_photos_of_one_name_have_no_prediction_of_their_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [*write_photos(tmp_path / "in"), *write_photos(tmp_path / "more")]
    coarse = write_predictions(tmp_path / "coarse")
    assert cli.main(["reconstruct", *photos, "--coarse", coarse, "--out", str(tmp_path / "out")]) == 2
    assert "two photos are called view0" in error_line(capsys)


def test_auto_takes_no_model_of_several_views(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = write_photos(tmp_path / "in")
    assert cli.main(["reconstruct", *photos, "--model", "auto", "--out", str(tmp_path / "out")]) == 2
    assert "auto takes models of one view: name one of several, such as vggt, or give --coarse" in error_line(capsys)
    assert not (tmp_path / "out").exists()
    with pytest.raises(SystemExit):
        cli.main(["reconstruct", "--help"])
    assert "or auto" not in capsys.readouterr().out


def test_an_empty_cloud_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos, coarse = write_photos(tmp_path / "in"), Path(write_predictions(tmp_path / "coarse"))
    for number, pose in enumerate(WORLD_FROM):
        depth, no = exact_depth(COARSE, pose), np.zeros((COARSE.height, COARSE.width), np.float32)
        np.savez(coarse / f"view{number}.npz", depth=depth, K=K, camera_from_world=inverse(pose), metric=True, confidence=no)
    assert cli.main(["reconstruct", *photos, "--coarse", str(coarse), "--out", str(tmp_path / "out")]) == 1
    assert "no point is left in the cloud: give a smaller --drop" in error_line(capsys)


def test_files_of_the_other_kind_are_removed(tmp_path: Path) -> None:
    photos, out = write_photos(tmp_path / "in"), tmp_path / "out"
    for metric in (False, True):
        coarse = write_predictions(tmp_path / "coarse", metric)
        assert cli.main(["reconstruct", *photos, "--coarse", coarse, "--out", str(out)]) == 0
    assert not list(out.glob("*_relative*")) and (out / "cloud.ply").is_file() and (out / "view2_depth.npz").is_file()
