"""``depth-retrofit models``: the table for people, the JSON for programs, and the order of ``auto``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.refinement.registry import REFINERS
from test.coarse.plugin_package import forget_plugins, use_plugins, write_plugin

WIDTH = 120
FIELDS = {
    "name",
    "licence",
    "commercial",
    "parameters",
    "size_mb",
    "description",
    "metric",
    "scale",
    "input",
    "native_input",
    "input_multiple",
    "uncertainty",
    "uses",
    "present",
    "missing_software",
    "hub",
    "auto_rank",
    "for_cpu",
    "how_to_get",
}
SMALL = "depth-anything-v2-small"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    source = """
def load(weights, device, claim, size):
    import torch
    from depth_retrofit_ros.coarse import CoarsePrediction
    class Model:
        name = "best"
        def predict(self, image, camera, hints=None):
            return CoarsePrediction(torch.ones(12, 16), torch.rand(4, 12, 16))
    model = Model()
    model.device, model.claim, model.size = device, claim, size
    return model

MODELS = [
    entry("best", auto_rank=1, for_cpu=True, uses=frozenset({"focal length", "sparse depth", "the past"})),
    entry("gratis", commercial=False, license="CC BY-NC 4.0", auto_rank=0, native=short_side(96, 16)),
    entry("in-part", needs=("a_module_that_is_not_there",)),
]
"""
    use_plugins(monkeypatch, write_plugin(tmp_path / "plugin", "three", source, "a = three:MODELS"))
    monkeypatch.delitem(sys.modules, "three", raising=False)
    yield
    sys.modules.pop("three", None)
    forget_plugins()


def test_the_table_tells_licence_word_and_presence_and_fits_a_terminal(capsys: pytest.CaptureFixture[str], plugin: None) -> None:
    assert cli.main(["models"]) == 0
    told = capsys.readouterr().out
    head, *lines = told.splitlines()[: 1 + len(MODELS)]
    assert head.split() == ["name", "licence", "param.", "size", "depth", "metric", "for", "input", "uses", "here"]
    assert max(map(len, [head, *lines])) <= WIDTH
    rows = {line.split()[0]: line.split() for line in lines}
    families = [MODELS[name].loader.partition(":")[0] for name in rows]
    runs = [family for family, before in zip(families, [None, *families], strict=False) if family != before]
    assert set(rows) == set(MODELS) and len(runs) == len(set(families)), "a family stands together"
    assert rows["compact"][1:] == ["Apache-2.0", "3.1", "M", "6", "MB", "metric", "its", "domain", "long", "256+", "f", "yes"]
    assert rows[SMALL][-6:] == ["disparity", "-", "long", "518", "-", "no"]
    assert rows["best"][-2:] == ["f,sparse,past", "yes"]
    assert rows["gratis"][1] == "NON-COMMERCIAL" and rows["in-part"][-1] == "partly"
    assert "gratis: of a test; metric for any camera with a known focal length; for non-commercial use only (CC BY-NC 4.0)" in told
    unstated = [line for line in told.splitlines() if "its licence is not stated for the weights" in line]
    assert unstated and not any("non-commercial use only" in line for line in unstated)
    assert all("ask its authors before any commercial use" in line for line in unstated)
    assert f"  to get it: depth-retrofit models fetch {SMALL}" in told
    assert "  to get it: pip install a_module_that_is_not_there" in told
    assert "metric for rendered rooms and streets only" in told and "metric for the Kinect of NYU Depth v2 only" in told
    assert "\ntorch: plain torch" in told and "\ncpu: compiled" in told


def test_the_order_of_auto_is_printed(capsys: pytest.CaptureFixture[str], plugin: None) -> None:
    assert cli.main(["models"]) == 0
    orders = [line for line in capsys.readouterr().out.splitlines() if line.startswith("on ")]
    assert orders[0].startswith("on CUDA: best, ") and orders[1] == "on a CPU (only what is made for it): best, compact"
    for line in orders:
        assert line.endswith(", compact") and "gratis" not in line


def test_the_json_is_complete_and_its_names_are_these(capsys: pytest.CaptureFixture[str], plugin: None) -> None:
    assert cli.main(["models", "--json"]) == 0
    listed = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(MODELS)
    assert all(set(entry) == FIELDS for entry in listed.values())
    assert listed["meter-nyu"]["present"] is False and listed["meter-nyu"]["licence"] == "MIT"
    assert all(entry["metric"] == (entry["scale"]["kind"] == "metric") for entry in listed.values()), "as the table has it"
    assert listed["compact"]["metric"] and not listed[SMALL]["metric"]
    assert listed["meter-nyu"]["scale"] == {"kind": "metric", "word": "one camera", "where": "the Kinect of NYU Depth v2"}
    assert listed["gratis"]["commercial"] is False and listed["gratis"]["auto_rank"] is None
    assert (listed["gratis"]["input"], listed["gratis"]["native_input"]) == ("long side 64", "short side 96")
    assert listed["in-part"]["missing_software"] == ["a_module_that_is_not_there"]
    assert listed[SMALL]["hub"]["repo"] == "depth-anything/Depth-Anything-V2-Small-hf" and len(listed[SMALL]["hub"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["models", "--json", "fetch", SMALL], "--json is of the list"),
        (["models", "fetch", SMALL, "compact", "--sha256", "0"], "are of one model: fetch it alone"),
        (["models", "fetch", "depth-anything-v2-smal"], f"did you mean '{SMALL}'?"),
    ],
)
def test_what_does_not_go_together(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line


def image(tmp_path: Path, *arguments: str) -> int:
    photo = tmp_path / "photo.png"
    assert cv2.imwrite(str(photo), np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8))
    return cli.main(["image", str(photo), "--out", str(tmp_path / "out"), *arguments])


def test_an_image_is_made_by_the_best_that_is_here(tmp_path: Path, capsys: pytest.CaptureFixture[str], plugin: None) -> None:
    assert image(tmp_path, "--hfov", "60") == 0
    told = capsys.readouterr().out
    assert told.splitlines()[0].startswith("model auto: taking best, the best there is for ")
    assert (tmp_path / "out" / "photo_depth.png").exists(), "it is metric for any camera"


def test_with_nothing_else_it_is_compact_and_one_line_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert image(tmp_path) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("model auto: ")]
    assert line.startswith("model auto: taking compact, the best there is for cpu; better, but seconds per image: ")
    assert ": depth-retrofit models fetch " in line


def test_weights_need_their_models_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert image(tmp_path, "--weights", "x.pt") == 2
    assert capsys.readouterr().err.endswith("weights x.pt are of one model, and model is auto: name it\n")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--coarse-size", "small"], "a coarse size is a number of pixels, 'native' or 'default', not 'small'"),
        (["--coarse-size", "9999"], "a coarse size of 9999 px is outside 16…4096: it is the long side of compact's input"),
        (["--model", "meter-nyu", "--coarse-size", "256"], "meter-nyu takes 256x192 only: leave its size out"),
    ],
)
def test_a_size_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str) -> None:
    assert image(tmp_path, "--model", "compact", *arguments) == 2
    assert told in capsys.readouterr().err


def test_refiners_are_listed_and_what_one_gives(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    _, _, told = capsys.readouterr().out.partition("\nrefiners (")
    lines = told.partition("\n\n")[0].splitlines()[1:]
    assert [line.partition(":")[0] for line in lines] == list(REFINERS)
    assert [line.partition(":")[0] for line in lines if "; gives normals too (" in line] == ["urgt"]


@pytest.mark.parametrize("option", ["--coarse-precision", "--refiner-precision"])
def test_a_precision_is_one_of_those_that_the_node_takes(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    from depth_retrofit_ros.device.precisions import PRECISIONS
    from depth_retrofit_ros.ros.node.parameters import PARAMETERS

    with pytest.raises(SystemExit):
        cli.build_parser().parse_args(["image", "x.jpg", "--out", "o", option, "half"])
    assert f"argument {option}: invalid choice: 'half'" in capsys.readouterr().err
    (row,) = [row for row in PARAMETERS if row.name == option.removeprefix("--").replace("-", "_")]
    assert tuple(row.choices) == ("auto", *PRECISIONS)


def test_the_size_reaches_the_model(tmp_path: Path) -> None:
    depths = []
    for size in ("default", "256", "native", "64"):
        assert image(tmp_path, "--model", "compact", "--budget", "0", "--coarse-size", size) == 0
        depths.append(np.load(tmp_path / "out" / "photo_relative.npy"))
    np.testing.assert_array_equal(depths[0], depths[1])
    np.testing.assert_array_equal(depths[0], depths[2])
    assert float(np.abs(depths[0] - depths[3]).max()) > 1e-3


@pytest.mark.parametrize("command", [("image", "x.jpg"), ("evaluate", "x")])
def test_a_stored_map_has_its_own_size(command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "out")] if command[0] == "image" else []
    assert cli.main([*command, *out, "--coarse", str(tmp_path), "--coarse-size", "64"]) == 2
    assert "--coarse-size is of a model, and a coarse map has its own" in capsys.readouterr().err


def test_the_demo_and_the_bench_stay_with_one_model() -> None:
    parser = cli.build_parser()
    defaults = {
        command: parser.parse_args([command, *needed]).model
        for command, needed in {
            "demo": ["--out", "o"],
            "bench": ["--json", "o"],
            "image": ["x.jpg", "--out", "o"],
            "evaluate": ["x"],
            "replay": ["x"],
        }.items()
    }
    assert defaults == {"demo": "compact", "bench": "compact", "image": "auto", "evaluate": "auto", "replay": "auto"}
