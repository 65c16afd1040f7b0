"""``depth-retrofit models export``: what other programs run answers as the model does, and says what it is."""

from __future__ import annotations

import re
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.camera import Camera
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.coarse.catalogue import BUILT_IN
from depth_retrofit_ros.coarse.claim import ScaleClaim
from depth_retrofit_ros.coarse.engines import exported, onnx_export
from depth_retrofit_ros.coarse.engines.answers import ANSWERS, answer_of
from depth_retrofit_ros.coarse.engines.assign import family_of
from depth_retrofit_ros.coarse.engines.exported import described, export_model
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.coarse.engines.onnx_export import OPSET
from depth_retrofit_ros.coarse.networks.view_plane import recover_shift
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.errors import ModelError
from test.coarse.engines.models import CASES, HEIGHT, WIDTH, recorded
from test.coarse.families import FAMILIES, image
from test.paths import ROOT

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

OBLONG = Camera(WIDTH, HEIGHT, 80.0, 84.0, WIDTH / 2, HEIGHT / 2)  # of pixels that are not square
LIMITS_M = 1e-3, 1e4  # which models have for themselves
THREE = {"compact": "compact", "meter nyu": "meter-nyu", "depth anything, metric": "depth-anything-v2-small-indoor"}


@pytest.mark.parametrize("case", THREE)
def test_three_families_make_the_round_trip(case: str, tmp_path: Path) -> None:
    info, model, file = MODELS[THREE[case]], CASES[case].make(), tmp_path / "deeper" / "model.onnx"
    made = export_model(model, info, None, (HEIGHT, WIDTH), file)
    assert made.agreement.overlap >= 0.98 and made.agreement.largest < 1e-3, made
    assert list(made.inputs) == ["image_planes"] and list(made.outputs) == ["depth", "features"]
    stored = onnx.load(file)
    onnx.checker.check_model(stored, full_check=True)
    (version,) = [opset.version for opset in stored.opset_import if opset.domain == ""]
    facts = {entry.key: entry.value for entry in stored.metadata_props}
    assert version == OPSET and facts["model"] == info.name and facts["license"] == info.license
    assert facts["frame"] == f"{WIDTH}x{HEIGHT}" and facts["scale"] == str(info.claim)

    # With what the file says of its planes, another program makes what the model makes.
    session, frame = onnxruntime.InferenceSession(str(file)), image(HEIGHT, WIDTH)
    found = re.findall(r"\(([^)]*)\)", facts["image_planes"]) or ["0", "1"]  # compact has no normalization
    mean, deviation = (torch.tensor([float(number) for number in text.split(", ")]).expand(3) for text in found)
    height, width = made.inputs["image_planes"][2:]
    small = exported_planes(frame, (height, width))
    planes = (small - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    _, features = session.run(None, {"image_planes": planes.numpy()})
    expected = model.predict(frame, None)
    np.testing.assert_allclose(features[0], expected.features.numpy(), rtol=1e-2, atol=1e-2 * float(expected.features.abs().max()))


def exported_planes(frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    from depth_retrofit_ros.upsampling.area_average import downsample

    return downsample(frame, size)


# Every kind of network that can be exported, by the model that it is of.
KINDS = {
    **{name: FAMILIES[name].model for name in FAMILIES},
    **{name: name for name in ("depth-anything-3-small", "depth-anything-3-metric-large")},
    **{"compact": "compact", "meter nyu": "meter-nyu", "meter kitti": "meter-kitti"},
    **{"moge": "moge-2-small", "metric3d": "metric3d-v2-small"},
}
WITHOUT_A_NETWORK = {"vggt", "video_depth_anything"}


def test_every_family_declares_what_its_answer_is() -> None:
    assert set(ANSWERS) == {family_of(info) for info in BUILT_IN.values()} - WITHOUT_A_NETWORK
    assert {family_of(MODELS[name]) for name in KINDS.values()} == set(ANSWERS), "and each is tested"


@pytest.mark.parametrize("case", KINDS)
def test_depth_follows_from_the_outputs_as_the_file_says(case: str) -> None:
    """The expression of the metadata, computed with what the network answers, is the depth of the model."""
    info, (model, _, recorder) = MODELS[KINDS[case]], recorded(CASES[case]._replace(camera=OBLONG))
    facts = described(model, info, None, (OBLONG.height, OBLONG.width))
    assert all("\n" not in value for value in facts.values())
    expected = model.predict(image(OBLONG.height, OBLONG.width), OBLONG)
    outputs = {f"output_{index}": tensor.detach() for index, tensor in enumerate(recorder.answer)}
    names = {"W": OBLONG.width, "H": OBLONG.height, "fx": OBLONG.fx, "fy": OBLONG.fy, "exp": torch.exp, "mean": torch.mean}
    height, width = recorder.inputs[0].shape[2:]
    names.update({"depth": outputs["output_0"], "w": width, "h": height, **outputs})
    if case == "moge":
        names["shift"] = shift_of(outputs["output_2"][0], outputs["output_4"][0] > 0)
    depth = eval(facts["to_depth"], {"__builtins__": {}}, names)[0]
    counts = torch.ones_like(depth, dtype=torch.bool)
    for left_out in (expected.sky, expected.unknown):
        if left_out is not None:
            counts &= ~left_out
    assert depth.shape == expected.depth.shape and float(counts.float().mean()) > 0.1
    given, wanted = (values[counts].clamp(*LIMITS_M) for values in (depth, expected.depth))
    torch.testing.assert_close(given, wanted, rtol=1e-3, atol=1e-3)
    assert facts["scale"] == str(info.claim) or case == "prompt", "and what scale it has"


def shift_of(points: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """As the metadata of MoGe-2 describe it."""
    aspect, focal = OBLONG.width / OBLONG.height, 2 * OBLONG.fx / float(np.hypot(OBLONG.width, OBLONG.height))
    z = points[2].exp()
    return recover_shift(torch.stack((points[0] * z, points[1] * z, z)), mask, aspect, focal)[0]


def test_a_prompted_model_makes_no_claim_of_metres_that_its_file_cannot_keep() -> None:
    info = MODELS["prompt-depth-anything-small"]
    answer = answer_of(info, CASES["prompt"].make(), (HEIGHT, WIDTH))
    assert answer.scale.startswith("relative") and str(info.claim).startswith("metric")


def test_a_model_at_a_size_without_its_word_exports_no_metres() -> None:
    model = CASES["compact"].make()
    model.claim = ScaleClaim("up-to-scale", "never")
    assert described(model, MODELS["compact"], None, (HEIGHT, WIDTH))["scale"] == "relative, up to an unknown scale"


@pytest.mark.parametrize("loader", ["compact:load", "their.package.compact:load", "depth_retrofit_ros.coarse.undeclared:load"])
def test_of_a_family_that_nobody_declared_nothing_is_claimed(loader: str) -> None:
    info = replace(MODELS["compact"], name="theirs", loader=loader)
    answer = answer_of(info, CASES["compact"].make(), (HEIGHT, WIDTH))
    assert answer.depth.startswith("what the network of theirs answers first; its authors say") and answer.to_depth == ""
    assert not answer.scale.startswith("metric")


@pytest.mark.parametrize("case", ["depth pro", "moge", "metric3d", "depth-anything-3-metric-large"])
def test_what_answers_something_else_than_depth_says_so_in_the_file(case: str, tmp_path: Path) -> None:
    info, file = MODELS[KINDS[case]], tmp_path / "model.onnx"
    export_model(CASES[case].make(), info, None, (HEIGHT, WIDTH), file)
    facts = {entry.key: entry.value for entry in onnx.load(file).metadata_props}
    assert facts["depth"] != "depth" and facts["to_depth"] != "depth" and facts["scale"] == str(info.claim)


def test_a_file_that_answers_something_else_is_not_left_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def write(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...], file: Path, *more: object) -> None:
        from depth_retrofit_ros.coarse.engines.onnx_export import write_onnx

        other = CASES["compact"].make().network
        torch.nn.init.normal_(other.net.logits.weight)
        write_onnx(other, inputs, file, "other")

    monkeypatch.setattr(exported, "write_onnx", write)
    file = tmp_path / "model.onnx"
    for before in (None, b"the user's own"):
        if before is not None:
            file.write_bytes(before)
        with pytest.raises(ModelError, match=r"^compact as ONNX differs from eager by .*: it is not written$"):
            export_model(CASES["compact"].make(), MODELS["compact"], None, (HEIGHT, WIDTH), file)
        assert [path.name for path in tmp_path.iterdir()] == ([] if before is None else [file.name])
    assert file.read_bytes() == b"the user's own"


def test_weights_beside_the_file_come_and_go_with_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file, data, least = tmp_path / "model.onnx", tmp_path / "model.onnx.data", onnx_export.LARGEST_IN_ONE

    def export() -> None:
        export_model(CASES["compact"].make(), MODELS["compact"], None, (HEIGHT, WIDTH), file)

    monkeypatch.setattr(onnx_export, "LARGEST_IN_ONE", 1000)
    export()
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, data.name]
    onnxruntime.InferenceSession(str(file))
    before = file.read_bytes(), data.read_bytes()
    with monkeypatch.context() as patch, pytest.raises(ModelError, match=r"it is not written$"):
        patch.setattr(exported, "LARGEST_TAIL", -1.0)
        export()
    assert (file.read_bytes(), data.read_bytes()) == before and len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(onnx_export, "LARGEST_IN_ONE", least)
    export()
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    onnxruntime.InferenceSession(str(file))


def test_a_file_that_onnx_runtime_cannot_run_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(exported, "write_onnx", lambda network, inputs, file, *more: file.write_bytes(b"half of it"))
    with pytest.raises(ModelError, match=r"^ONNX Runtime cannot run compact as ONNX \([^\n]*\): it is not written$"):
        export_model(CASES["compact"].make(), MODELS["compact"], None, (HEIGHT, WIDTH), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_told_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["models", "export", "compact", "--onnx", str(tmp_path / "file" / "m.onnx"), "--image-size", "128x96"]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"depth-retrofit: error: cannot write {tmp_path / 'file' / 'm.onnx'} (")
    assert line.endswith("): choose a writable --onnx with free space")
    (tmp_path / "folder").mkdir()
    assert cli.main(["models", "export", "compact", "--onnx", str(tmp_path / "folder"), "--image-size", "128x96"]) != 0
    assert "(Is a directory)" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_model_without_a_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^compact has no network that an export could take: its adapter states none"):
        export_model(object(), MODELS["compact"], None, (HEIGHT, WIDTH), tmp_path / "model.onnx")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["m.txt", "m"])
def test_a_file_that_nobody_would_know_as_onnx_is_refused(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models", "export", "compact", "--onnx", str(tmp_path / name)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("has not the suffix .onnx, by which other programs know it: add it") and not list(tmp_path.iterdir())


def test_planes_without_a_normalization_and_what_is_not_known_are_not_described() -> None:
    black, white = torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 4, 4)
    assert exported._normalization(black, white) == "RGB in 0 to 1 by area averaging"
    assert "minus (0.5, 0.5, 0.5), divided by (0.25, 0.25, 0.25)" in exported._normalization(black - 2, white * 2)
    facts = exported.described(CASES["compact"].make(), MODELS["compact"], None, (HEIGHT, WIDTH))
    assert all(facts.values()) and not {"revision", "sha256_of_checkpoint"} & set(facts)


def test_missing_software_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(exported, "missing_packages", lambda info: ("onnxscript",))
    assert cli.main(["models", "export", "compact", "--onnx", str(tmp_path / "m.onnx")]) != 0
    assert capsys.readouterr().err == (
        "depth-retrofit: error: exporting needs onnxscript: pip install 'depth_retrofit_ros[onnxruntime]'\n"
    )


def test_the_snippet_of_the_documents_runs_on_what_the_command_writes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import cv2

    document = (ROOT / "docs" / "coarse-engines.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    assert len(snippet.strip().splitlines()) <= 14
    height, width = 288, 512
    command = ["models", "export", "compact", "--onnx", str(tmp_path / "compact.onnx"), "--image-size", f"{width}x{height}"]
    assert cli.main(command) == 0
    told = capsys.readouterr().out
    assert "selection overlap 100.0%" in told and "for frames of aspect 16:9 (512x288)" in told
    frame = natural_image(height, width)
    cv2.imwrite(str(tmp_path / "photo.png"), frame.numpy()[..., ::-1])
    (tmp_path / "snippet.py").write_text(snippet, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["snippet.py"])
    depth = runpy.run_path("snippet.py")["depth"]

    from depth_retrofit_ros.camera import Camera
    from depth_retrofit_ros.coarse.registry import load_coarse

    camera = Camera(width, height, 100.0, 100.0, width / 2, height / 2)
    expected = load_coarse("compact", weights=None, device="cpu").predict(frame, camera).depth.numpy()
    assert depth.shape == expected.shape
    assert float(np.median(np.abs(np.log(depth / expected)))) < 0.02  # OpenCV averages areas a little otherwise

    cv2.imwrite(str(tmp_path / "photo.png"), natural_image(width, height).numpy()[..., ::-1])
    with pytest.raises(SystemExit, match="another aspect than 512x288"):
        runpy.run_path("snippet.py")
