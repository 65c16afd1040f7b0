"""``--coarse``: maps of every kind of file and of values; and real ones of foundation models, where they are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.io.depth_files import read_depth_png
from test.evaluation.scenes import coarse_of, write_scene
from test.io.test_map_files import save_pfm

HEIGHT, WIDTH = 90, 120
REAL = {
    "dav2b_street": "inverted-disparity",
    "dav2b_sunflowers": "inverted-disparity",
    "dav2_bear_ros": "disparity",
    "da3_opera_000": "normalized",
    "da3_toy_01": "depth",
    "dpt_duy": "disparity",
    "dpt_richard": "disparity",
    "depthpro_stairs": "disparity",
    "unidepth_street": "metric",
    "da_tape_a": "depth",
    "midas_moon": "disparity",
}


def depth_map() -> np.ndarray:
    """A box before a wall, ``float32 [30, 40]`` m."""
    depth = np.full((30, 40), 4.0, np.float32) + np.linspace(0, 0.5, 40, dtype=np.float32)
    depth[8:20, 10:25] = 1.5
    return depth


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    image = np.random.default_rng(0).integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    image[24:60, 30:75] += 120
    cv2.imwrite(str(tmp_path / "photos/a.png"), image)
    return tmp_path / "photos/a.png"


def to_png(values: np.ndarray, path: Path, highest: int) -> None:
    cv2.imwrite(str(path), np.rint(values).astype(np.uint16 if highest > 255 else np.uint8))


def write_as(suffix: str, kind: str, folder: Path) -> None:
    """The map as a program might store it: floats, or whole numbers that use the range."""
    depth = depth_map()
    stretched = lambda v: (v - v.min()) / (v.max() - v.min())  # noqa: E731
    values = {
        "depth": depth / depth.max(),
        "metric": depth,
        "normalized": stretched(depth),
        "disparity": stretched(1 / depth),
        "inverted-disparity": 1 - stretched(1 / depth),
    }[kind]
    if suffix == ".npy":
        np.save(folder / "a.npy", values)
    elif suffix == ".npz":
        np.savez(folder / "a.npz", value=values)
    elif suffix == ".pfm":
        save_pfm(folder / "a.pfm", values)
    else:
        highest = int(suffix[1:])
        to_png(1000 * values if kind == "metric" else highest * values, folder / "a.png", highest)


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pfm", ".255", ".65535"])
@pytest.mark.parametrize("kind", ["depth", "metric", "normalized", "disparity", "inverted-disparity"])
def test_every_kind_of_values_in_every_kind_of_file(photo: Path, tmp_path: Path, suffix: str, kind: str) -> None:
    if (suffix, kind) == (".255", "metric"):
        kind = "depth"  # 8 bit holds no metres
    maps, out = tmp_path / "maps", tmp_path / "out"
    maps.mkdir()
    write_as(suffix, kind, maps)
    assert cli.main(["image", str(photo), "--out", str(out), "--coarse", str(maps), "--coarse-kind", kind]) == 0
    (entry,) = json.loads((out / "images.json").read_text())
    assert entry["metric"] is (kind == "metric") and entry["png_beyond"] == 0
    name = "depth" if kind == "metric" else "relative"
    depth = np.load(out / f"a_{name}.npy")
    box, wall = depth[30:54, 36:69], depth[:18, :]
    assert np.isfinite(depth).all() and np.median(wall) > 1.8 * np.median(box)
    np.testing.assert_allclose(read_depth_png(out / f"a_{name}.png", entry["png_unit"]), depth, rtol=0.02, atol=entry["png_unit"])
    if kind == "metric":
        assert np.median(box) == pytest.approx(1.5, abs=0.01)


def test_holes_of_a_map_are_unknown_in_every_file_and_told(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    depth = depth_map()
    depth[2:5, 30:36] = 0
    np.save(photo.with_name("a.npy"), depth)
    out = tmp_path / "out"
    command = ["image", str(photo), "--out", str(out), "--coarse", str(photo.parent), "--coarse-kind", "metric", "--ply", "1"]
    assert cli.main([*command, "--hfov", "60"]) == 0
    unknown = np.kron(depth == 0, np.ones((3, 3), bool))
    assert np.array_equal(np.isnan(np.load(out / "a_depth.npy")), unknown)
    assert np.array_equal(np.isnan(read_depth_png(out / "a_depth.png")), unknown)
    assert f"element vertex {HEIGHT * WIDTH - unknown.sum()}\n".encode() in (out / "a.ply").read_bytes()[:200]
    assert "1.5% of the pixels are unknown" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("write", "options", "words"),
    [
        (lambda folder: np.save(folder / "a.npy", depth_map()), [], "does not say what its values are: give --coarse-kind"),
        (lambda folder: np.save(folder / "a.npy", depth_map().T), ["--coarse-kind", "depth"], "turn it as the image is shown"),
        (lambda folder: np.save(folder / "a.npy", depth_map() - 2), ["--coarse-kind", "depth"], "below 0"),
        (lambda folder: None, ["--coarse-kind", "depth"], "is missing"),
    ],
)
def test_what_cannot_be_taken_is_one_line(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], write: object, options: list[str], words: str
) -> None:
    maps = tmp_path / "maps"
    maps.mkdir()
    write(maps)  # type: ignore[operator]
    assert cli.main(["image", str(photo), "--out", str(tmp_path / "out"), "--coarse", str(maps), *options]) == 1
    error = capsys.readouterr().err
    assert words in error and error.startswith("depth-retrofit: error: ") and error.count("\n") == 1


@pytest.mark.parametrize("command", [["image", "a.png", "--out", "out"], ["evaluate", "."]])
@pytest.mark.parametrize(("option", "value"), [("--coarse-kind", "depth"), ("--coarse-grid", "256")])
def test_an_option_of_maps_without_maps_is_a_mistake(
    command: list[str], option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*command, option, value]) == 2
    assert f"{option} is of the maps in --coarse" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command", [["image", "a.png", "--out", "out"], ["evaluate", "."], ["reconstruct", "a.png", "--out", "out"]]
)
@pytest.mark.parametrize(
    "option", [["--model", "glpn-nyu"], ["--weights", "w.safetensors"], ["--allow-download"], ["--coarse-size", "256"]]
)
def test_an_option_of_a_model_beside_maps_is_a_mistake(
    command: list[str], option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # a checkout in which the demo ran has a folder of that name
    assert cli.main([*command, "--coarse", ".", *option]) == 2
    assert f"{option[0]} is of a model" in capsys.readouterr().err
    assert not Path("out").exists()


@pytest.mark.parametrize("command", [["image", "a.png", "--out", "out"], ["reconstruct", "a.png", "--out", "out"]])
def test_maps_are_in_a_folder(command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.npz").touch()
    assert cli.main([*command, "--coarse", str(tmp_path / "a.npz")]) == 2
    assert "a.npz is a file: give its folder" in capsys.readouterr().err


@pytest.mark.parametrize("grid", ["8", "4097", "-20", "wide"])
def test_a_grid_has_bounds(grid: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["image", "a.png", "--out", "out", "--coarse", ".", f"--coarse-grid={grid}"])
    assert f"{grid} is neither 16 to 4096 px nor native" in capsys.readouterr().err


def test_a_photo_that_is_none_is_told_before_its_map_is_looked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_text("no picture")
    for command in ("image", "reconstruct"):
        cli.main([command, str(tmp_path / "a.png"), "--out", str(tmp_path / "out"), "--coarse", str(tmp_path / "maps")])
        error = capsys.readouterr().err
        assert "a.png cannot be decoded" in error and "is missing" not in error


def test_what_is_relative_is_the_map_and_few_unknown_pixels_are_not_0(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    depth = cv2.resize(depth_map(), (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    depth[3, 3] = np.nan
    np.save(photo.with_name("a.npy"), depth)
    out, maps = tmp_path / "out", str(photo.parent)
    command = ["image", str(photo), "--out", str(out), "--coarse", maps, "--coarse-kind", "depth", "--coarse-grid", "native"]
    assert cli.main([*command, "--hfov", "65"]) == 0
    told = capsys.readouterr().out
    assert "the map is relative" in told and "files is" not in told
    assert "fewer than 0.1% of the pixels are unknown" in told
    (entry,) = json.loads((out / "images.json").read_text())
    assert (entry["model"], entry["coarse_maps"], entry["input_size"]) == ("files", maps, None)


def test_the_sky_of_a_metric_map_is_in_no_cloud_and_has_no_normals(photo: Path, tmp_path: Path) -> None:
    depth = depth_map()
    depth[:6] = np.inf
    np.save(photo.with_name("a.npy"), depth)
    out = tmp_path / "out"
    command = ["image", str(photo), "--out", str(out), "--coarse", str(photo.parent), "--coarse-kind", "metric", "--ply", "1"]
    assert cli.main([*command, "--hfov", "60", "--normals", "--budget", "0", "--coarse-grid", "native"]) == 0
    with np.load(out / "a_normals.npz") as stored:
        known = np.isfinite(stored["normals"]).all(0)
    assert not known[:18].any() and known[18:].all()
    assert f"element vertex {WIDTH * (HEIGHT - 18)}\n".encode() in (out / "a.ply").read_bytes()[:200]
    assert np.isfinite(np.load(out / "a_depth.npy")).all()


def test_files_of_the_other_kind_that_a_run_before_wrote_are_removed(photo: Path, tmp_path: Path) -> None:
    np.save(photo.with_name("a.npy"), depth_map())
    out = tmp_path / "out"
    command = ["image", str(photo), "--out", str(out), "--coarse", str(photo.parent), "--hfov", "60", "--ply", "--coarse-kind"]
    out.mkdir()
    (out / "a_depth.png").write_text("of a sensor")
    assert cli.main([*command, "depth"]) == 0
    assert {path.name for path in out.glob("a[_.]*")} == {
        *("a_depth.png", "a_relative.png", "a_relative.npy", "a_relative.ply", "a_preview.png")
    }, "what no run wrote stays"
    assert cli.main([*command, "metric"]) == 0
    assert {path.name for path in out.glob("a[_.]*")} == {"a_depth.png", "a_depth.npy", "a.ply", "a_preview.png"}
    assert cli.main([*command, "depth"]) == 0
    assert {path.name for path in out.glob("a[_.]*")} == {"a_relative.png", "a_relative.npy", "a_relative.ply", "a_preview.png"}


@pytest.mark.parametrize(("grid", "told"), [(None, "is refined at 60x45"), ("native", ""), ("30", "is refined at 30x22")])
def test_the_grid_of_a_map_that_was_made_larger(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], grid: str | None, told: str
) -> None:
    blocks = np.repeat(np.repeat(np.random.default_rng(1).uniform(0.2, 1, (9, 12)).astype(np.float32), 5, 0), 5, 1)
    np.save(photo.with_name("a.npy"), cv2.resize(blocks, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    command = ["image", str(photo), "--out", str(tmp_path / "out"), "--coarse", str(photo.parent), "--coarse-kind", "disparity"]
    assert cli.main([*command, *([] if grid is None else ["--coarse-grid", grid])]) == 0
    output = capsys.readouterr().out
    assert told in output and ("is refined at" in output) is bool(told)


def test_evaluate_takes_the_same_maps_and_says_what_it_made_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pairs, maps = tmp_path / "pairs", tmp_path / "maps"
    pairs.mkdir()
    maps.mkdir()
    depth = coarse_of(write_scene(pairs, "a", 0))
    to_png(np.where(depth > 0, 1000 * depth, 0), maps / "a.png", 65535)
    command = ["evaluate", str(pairs), "--coarse", str(maps), "--coarse-kind", "metric", "--align", "none"]
    assert cli.main([*command, "--json", str(tmp_path / "metric.json")]) == 0
    summary = json.loads((tmp_path / "metric.json").read_text())["summary"]
    assert summary["methods"]["bilinear"]["abs_rel"] < 0.2 and "align" not in summary["notes"]
    half = depth.copy()
    half[:, : half.shape[1] // 2] = 0
    to_png(1000 * half, maps / "a.png", 65535)
    assert cli.main([*command, "--json", str(tmp_path / "half.json")]) == 0
    methods = json.loads((tmp_path / "half.json").read_text())["summary"]["methods"]
    assert methods["refined"]["unknown_share"] == methods["bilinear"]["unknown_share"] == pytest.approx(0.5, abs=0.1)
    assert "selection: by depth edges alone for 1 of 1 images" in capsys.readouterr().out


@pytest.mark.parametrize("name", REAL)
def test_real_maps_of_foundation_models(shared_data: Path, tmp_path: Path, name: str) -> None:
    folder = shared_data / "predictions"
    if not (folder / f"{name}.npz").is_file():
        pytest.skip(f"no stored answers of foundation models in {folder}")
    photo = cv2.imread(str(folder / f"{name}.jpg"))
    assert photo is not None
    small = cv2.resize(photo, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(tmp_path / f"{name}.png"), small)
    command = ["image", str(tmp_path / f"{name}.png"), "--out", str(tmp_path), "--coarse", str(folder)]
    assert cli.main([*command, "--coarse-kind", REAL[name]]) == 0
    depth = np.load(tmp_path / f"{name}_{'depth' if REAL[name] == 'metric' else 'relative'}.npy")
    with np.load(folder / f"{name}.npz") as file:
        value = cv2.resize(file["value"], small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.isfinite(depth).all() and (depth > 0).all()
    known = value > 0 if REAL[name] in ("depth", "metric") else np.ones_like(value, bool)
    ranks = np.argsort(np.argsort(depth[known])), np.argsort(np.argsort(value[known]))
    order = float(np.corrcoef(*ranks)[0, 1])
    assert (-order if REAL[name] == "disparity" else order) > 0.8  # many are equal in 8 bit


def test_pixels_are_selected_where_a_model_disagrees_with_the_map(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The map's box is where the model sees one; a block that the map alone has is where the pixels go."""
    depth = depth_map()
    depth[24:28, 30:36] = 1.0
    np.save(photo.with_name("a.npy"), depth)
    command = ["image", str(photo), "--coarse", str(photo.parent), "--coarse-kind", "metric", "--budget", "0.05", "--device", "cpu"]
    maps = []
    for name, options in (("plain", []), ("told", ["--selector", "disagreement", "--second-model", "compact"])):
        assert cli.main([*command, "--out", str(tmp_path / name), *options]) == 0
        maps.append(np.load(tmp_path / name / "a_depth.npy"))
    assert "compact beside it" in capsys.readouterr().out
    assert not np.array_equal(*maps)


def with_truth(photo: Path, folder: Path) -> Path:
    """Folder of the photo's copy with a wall 4 m away as its truth; the coarse map is laid beside the photo."""
    pairs = folder / "pairs"
    pairs.mkdir()
    truth = np.full((HEIGHT, WIDTH), 4.0, np.float32)
    np.savez(pairs / "a.npz", depth=truth, fx=np.float32(100), fy=np.float32(100), cx=np.float32(60), cy=np.float32(45))
    Image.open(photo).save(pairs / "a.png")
    np.save(photo.with_name("a.npy"), depth_map())
    return pairs


def test_without_features_it_is_told_what_selects(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the map's edges alone, or by the second model; both commands tell it."""
    pairs = with_truth(photo, tmp_path)
    maps = ["--coarse", str(photo.parent), "--coarse-kind", "metric", "--device", "cpu"]
    second = ["--selector", "disagreement", "--second-model", "compact", "--coarse-engine", "eager", "--allow-download"]
    for options, told in ((), "by depth edges alone"), (second, "by the disagreement with compact alone"):
        assert cli.main(["image", str(photo), *maps, "--out", str(tmp_path / "out"), *options]) == 0
        assert f"coarse map: its file has no features, so pixels are selected {told}\n" in capsys.readouterr().out
        assert cli.main(["evaluate", str(pairs), *maps, *options]) == 0
        assert f"selection: {told} for 1 of 1 images: their files have no features\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--allow-download"], "--allow-download is of a model, and with --coarse none is run"),
        (["--coarse-engine", "eager"], "--coarse-engine is of a model, and with --coarse none is run"),
        (
            ["--selector", "disagreement", "--second-model", "compact", "--weights", "x"],
            "--weights is of the first model, in whose place --coarse stands",
        ),
    ],
)
def test_options_of_a_model_that_does_not_run_are_refused(
    photo: Path, tmp_path: Path, options: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["image", str(photo), "--coarse", str(photo.parent), "--out", str(tmp_path / "out"), *options]) == 2
    assert told in capsys.readouterr().err


def test_a_second_model_at_budget_0_and_beside_refiner_none(photo: Path, tmp_path: Path) -> None:
    """It does not run, and what it would select is measured all the same."""
    pairs = with_truth(photo, tmp_path)
    command = ["evaluate", str(pairs), "--coarse", str(photo.parent), "--coarse-kind", "metric", "--device", "cpu"]
    command += ["--selector", "disagreement", "--second-model", "compact", "--coarse-engine", "eager"]
    for options in (["--budget", "0"], ["--refiner", "none"]):
        assert cli.main([*command, *options]) == 0


def test_a_selector_without_a_second_model_is_told(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(photo.with_name("a.npy"), depth_map())
    command = ["image", str(photo), "--coarse", str(photo.parent), "--selector", "disagreement", "--out", str(tmp_path / "out")]
    assert cli.main(command) == 2
    assert "name the other one as second_model" in capsys.readouterr().err
