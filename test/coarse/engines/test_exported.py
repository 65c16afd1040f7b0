"""``depth-retrofit models export``: what other programs run answers as the model does, and says what it is."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.coarse.engines import exported
from depth_retrofit_ros.coarse.engines.exported import export_model
from depth_retrofit_ros.coarse.engines.natural_image import natural_image
from depth_retrofit_ros.coarse.engines.onnx_export import OPSET, PACKAGES
from depth_retrofit_ros.coarse.engines.registry import ENGINES
from depth_retrofit_ros.coarse.registry import MODELS
from depth_retrofit_ros.errors import ModelError
from test.coarse.engines.models import CASES
from test.coarse.families import image
from test.paths import ROOT

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

HEIGHT, WIDTH = 90, 160
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
    mean, deviation = (
        torch.tensor([float(number) for number in text.split(", ")]) for text in re.findall(r"\(([^)]*)\)", facts["image_planes"])
    )
    height, width = made.inputs["image_planes"][2:]
    small = exported_planes(frame, (height, width))
    planes = (small - mean.view(1, 3, 1, 1)) / deviation.view(1, 3, 1, 1)
    _, features = session.run(None, {"image_planes": planes.numpy()})
    expected = model.predict(frame, None)
    np.testing.assert_allclose(features[0], expected.features.numpy(), rtol=1e-2, atol=1e-2 * float(expected.features.abs().max()))


def exported_planes(frame: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    from depth_retrofit_ros.upsampling.area_average import downsample

    return downsample(frame, size)


def test_a_file_that_answers_something_else_is_not_left_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def write(network: torch.nn.Module, inputs: tuple[torch.Tensor, ...], file: Path, *more: object) -> None:
        from depth_retrofit_ros.coarse.engines.onnx_export import write_onnx

        other = CASES["compact"].make().network
        torch.nn.init.normal_(other.net.logits.weight)
        write_onnx(other, inputs, file, "other")

    monkeypatch.setattr(exported, "write_onnx", write)
    file = tmp_path / "model.onnx"
    with pytest.raises(ModelError, match=r"^compact as ONNX differs from eager by .*: it is not written$"):
        export_model(CASES["compact"].make(), MODELS["compact"], None, (HEIGHT, WIDTH), file)
    assert not file.exists()


def test_a_model_without_a_network_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"^compact has no network that could be exported"):
        export_model(object(), MODELS["compact"], None, (HEIGHT, WIDTH), tmp_path / "model.onnx")  # type: ignore[arg-type]


def test_missing_software_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(exported, "missing_packages", lambda info: ("onnxscript",))
    assert cli.main(["models", "export", "compact", "--onnx", str(tmp_path / "m.onnx")]) != 0
    assert capsys.readouterr().err == (
        "depth-retrofit: error: exporting needs onnxscript: pip install 'depth_retrofit_ros[onnxruntime]'\n"
    )
    assert set(PACKAGES) < set(ENGINES["onnxruntime"].packages)


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
    assert "selection overlap 100.0%" in capsys.readouterr().out
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
