"""The command line: fast to answer, one line per user error, exit codes that scripts can rely on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from depth_retrofit_ros import __version__
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.io.depth_files import read_depth_png
from test.waiting import PATIENCE_S, run_python, wait_until

COMMAND = [sys.executable, "-m", "depth_retrofit_ros.cli.main"]


def write_photo(path: Path, height: int = 90, width: int = 120) -> Path:
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = (30, 90, 200)
    assert cv2.imwrite(str(path), image)
    return path


def error_line(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("depth-retrofit: error: ")
    return line


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys; from depth_retrofit_ros.cli import main as cli; cli.build_parser().format_help(); "
        "print([m for m in ('torch', 'numpy', 'cv2', 'numba', 'rclpy', 'rosbags') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
    told = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True).stdout
    assert told == f"depth-retrofit {__version__}\n"


@pytest.mark.parametrize("command", ["demo", "run", "view", "image", "reconstruct", "replay", "evaluate", "train", "models"])
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([command, "--help"])
    assert end.value.code == 0
    assert f"usage: depth-retrofit {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["image", "x.jpg"],
        ["image", "x.jpg", "--out", "o", "--budget", "1.5"],
        ["image", "x.jpg", "--out", "o", "--budget", "nan"],
        ["image", "x.jpg", "--out", "o", "--ply", "0"],
        ["reconstruct", "--out", "o"],
        ["reconstruct", "x.jpg", "--out", "o", "--drop", "1.5"],
        ["reconstruct", "x.jpg", "--out", "o", "--geometry", "mesh"],
        ["replay", "bag", "--image-topic", "/i", "--out", "o", "--rate", "0"],
        ["replay", "bag", "--image-topic", "/i", "--out", "o", "--domain", "300"],
        ["demo", "--out", "o", "--seconds", "inf"],
        ["demo", "--out", "o", "--width", "-3"],
    ],
)
def test_wrong_usage_ends_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("depth-retrofit") and ": error: " in line and line.endswith(" --help'")


def test_image_with_a_field_of_view_and_a_trusted_model_is_metric(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out"
    assert (
        cli.main(["image", str(photo), "--out", str(out), "--hfov", "60", "--trust-scale", "--ply", "3", "--budget", "0.25"]) == 0
    )
    assert sorted(path.name for path in out.iterdir()) == ["a.ply", "a_depth.npy", "a_depth.png", "a_preview.png", "images.json"]
    depth = np.load(out / "a_depth.npy", allow_pickle=False)
    assert depth.shape == (90, 120) and depth.dtype == np.float32 and np.isfinite(depth).all()
    np.testing.assert_allclose(read_depth_png(out / "a_depth.png"), depth, atol=0.00051)
    assert b"element vertex 1200\n" in (out / "a.ply").read_bytes()[:200]  # 30 x 40
    assert b"\ncomment metres\n" in (out / "a.ply").read_bytes()[:200]
    preview = cv2.imread(str(out / "a_preview.png"))
    assert preview is not None and preview.shape == (90, 3 * 120 + 2 * 4, 3)
    (entry,) = json.loads((out / "images.json").read_text())
    assert (
        entry["metric"]
        and entry["scale_source"] == "user"
        and entry["png_unit"] == 0.001
        and entry["refined_pixels"] == 90 * 120 // 4
    )
    assert entry["camera"]["fx"] == pytest.approx(60 / np.tan(np.radians(30)))
    assert list(entry["times_ms"]) == ["read", "coarse", "upsample", "select", "refine", "fuse", "write", "total"]
    told = capsys.readouterr().out
    assert "60.0 deg across" in told and "peak memory" in told


def test_image_by_a_model_outside_of_its_word_is_relative_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out"
    assert cli.main(["image", str(photo), "--out", str(out), "--hfov", "60"]) == 0
    assert (out / "a_relative.png").exists() and not (out / "a_depth.png").exists()
    (entry,) = json.loads((out / "images.json").read_text())
    assert entry["metric"] is False and entry["scale_source"] is None
    told = capsys.readouterr().out
    assert "compact is metric for rendered rooms and streets only, so its depth is relative here: give --trust-scale" in told


def test_image_without_focal_length_is_relative(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out"
    assert cli.main(["image", str(photo), "--out", str(out), "--ply"]) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == ["a_preview.png", "a_relative.npy", "a_relative.ply", "a_relative.png", "images.json"]
    assert b"\ncomment relative, not metres\n" in (out / "a_relative.ply").read_bytes()[:200]
    (entry,) = json.loads((out / "images.json").read_text())
    assert entry["metric"] is False and entry["camera"] is None
    depth = np.load(out / "a_relative.npy", allow_pickle=False)
    np.testing.assert_allclose(read_depth_png(out / "a_relative.png", entry["png_unit"]), depth, rtol=1e-3)
    told = capsys.readouterr().out
    assert "depth is relative, its scale unknown" in told and "65 deg across assumed" in told and "(relative)" in told


def test_image_with_confidence_writes_it_and_its_picture(tmp_path: Path) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out"
    assert cli.main(["image", str(photo), "--out", str(out), "--hfov", "60", "--confidence"]) == 0
    confidence = np.load(out / "a_confidence.npy", allow_pickle=False)
    assert confidence.shape == (90, 120) and confidence.dtype == np.float32 and 0 < confidence.min() < confidence.max() < 1
    picture = cv2.imread(str(out / "a_confidence.png"))
    assert picture is not None and picture.shape == (90, 120, 3)
    np.testing.assert_array_equal(picture, np.repeat(np.rint(255 * confidence)[..., None], 3, -1))
    (entry,) = json.loads((out / "images.json").read_text())
    assert entry["files"]["confidence"] == "a_confidence.npy" and entry["files"]["confidence_8bit"] == "a_confidence.png"


def test_image_with_normals_writes_them_and_their_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out"
    assert cli.main(["image", str(photo), "--out", str(out), "--hfov", "60", "--normals"]) == 0
    with np.load(out / "a_normals.npz") as stored:
        normals = stored["normals"]
    assert normals.shape == (3, 90, 120) and normals.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(normals, axis=0), 1.0, atol=1e-5)
    assert normals[2].mean() < -0.1, "they face the camera"
    picture = cv2.imread(str(out / "a_normals.png"))
    assert picture is not None and picture.shape == (90, 120, 3)
    np.testing.assert_allclose(picture[..., 2], 127.5 + 127.5 * normals[0], atol=1.0)
    (entry,) = json.loads((out / "images.json").read_text())
    assert entry["files"]["normals"] == "a_normals.npz" and entry["files"]["normals_preview"] == "a_normals.png"
    capsys.readouterr()
    assert cli.main(["image", str(photo), "--out", str(out / "b"), "--normals"]) == 0
    assert "normals: 65 deg across assumed for the shape" in capsys.readouterr().out
    assert (out / "b" / "a_normals.npz").is_file()


def test_a_bad_file_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8 not really")
    files = [write_photo(tmp_path / "a.png"), tmp_path / "bad.jpg", write_photo(tmp_path / "b" / "a.png")]
    out = tmp_path / "out"
    assert cli.main(["image", *map(str, files), "--out", str(out), "--hfov", "60", "--trust-scale"]) == 1
    captured = capsys.readouterr()
    told = "cannot be decoded: it is damaged (a JPEG without frame header or scan): send or copy it again"
    assert captured.err == f"depth-retrofit: error: {tmp_path / 'bad.jpg'} {told}\n"
    assert "2 of 3 images done" in captured.out
    assert {"a_depth.png", "a_2_depth.png"} <= {path.name for path in out.iterdir()}  # same stem, not overwritten


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--hfov", "60", "--fx", "100"], "either --hfov or"),
        (["--fx", "100", "--fy", "100"], "give all of"),
        (["--fx", "nan", "--fy", "1", "--cx", "1", "--cy", "1"], "calibrate the camera"),
        (["--hfov", "180"], "--hfov 180 is outside 5 to 175 deg"),
        (["--hfov", "179.9"], "--hfov 179.9 is outside 5 to 175 deg"),
        (["--hfov", "nan"], "--hfov nan is outside 5 to 175 deg"),
        (["--hfov", "-3"], "--hfov -3 is outside 5 to 175 deg"),
        (["--coarse", ".", "--trust-scale"], "a coarse map says itself"),
        (["--model", "compct"], "did you mean 'compact'"),
        (["--device", "tpu"], "unknown device"),
        (["--weights", "/nonexistent.safetensors"], "/nonexistent.safetensors"),
    ],
)
def test_user_errors_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], told: str) -> None:
    photo = write_photo(tmp_path / "a.png")
    assert cli.main(["image", str(photo), "--out", str(tmp_path / "out"), *options]) == 2
    assert told in error_line(capsys)


@pytest.mark.parametrize(
    ("intrinsics", "code", "told"),
    [
        (("100", "100", "60", "45"), 0, ""),
        (("0.8", "0.8", "60", "45"), 1, "field of view of 178.5 x 178.0 deg in 120x90 pixels"),
        (("100", "100", "0.5", "0.5"), 1, "cx = 0.5 px, the principal point on the image's edge"),
        (("100", "100", "60", "0"), 1, "cy = 0 px, the principal point on the image's edge"),
    ],
)
def test_intrinsics_are_those_of_a_camera_of_this_image(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], intrinsics: tuple[str, ...], code: int, told: str
) -> None:
    options = [part for pair in zip(("--fx", "--fy", "--cx", "--cy"), intrinsics, strict=True) for part in pair]
    assert cli.main(["image", str(write_photo(tmp_path / "a.png")), "--out", str(tmp_path / "out"), *options]) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == code and told in "".join(lines)


@pytest.mark.parametrize(
    ("hfov", "height", "told"),
    [
        ("4", 90, "--hfov 4 is outside 5 to 175 deg"),
        ("4", 210, ""),  # 7 deg upright: a tall photo
        ("174", 300, "--hfov 174 means 177.6 deg from top to bottom of 120x300, outside 5 to 175 deg"),
    ],
)
def test_a_field_of_view_is_judged_by_the_wider_side(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], hfov: str, height: int, told: str
) -> None:
    photo = write_photo(tmp_path / "a.png", height)
    assert cli.main(["image", str(photo), "--out", str(tmp_path / "out"), "--hfov", hfov]) == bool(told)
    assert capsys.readouterr().err == (f"depth-retrofit: error: {told}\n" if told else "")


def test_a_focal_length_that_no_camera_has_is_unknown_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "a.png"
    tags = Image.Exif()
    tags[0x8769] = {0xA405: 5000}  # FocalLengthIn35mmFilm
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(photo, exif=tags)
    assert cli.main(["image", str(photo), "--out", str(tmp_path / "out"), "--trust-scale"]) == 0
    (entry,) = json.loads((tmp_path / "out/images.json").read_text())
    assert entry["camera"] is None and entry["metric"] is False
    assert "focal length unknown (no camera has 5000 mm, as EXIF says; give --hfov" in capsys.readouterr().out


@pytest.mark.parametrize("camera", [[], ["--hfov", "60"]])
def test_a_stored_map_that_says_metric_needs_no_focal_length(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], camera: list[str]
) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / "out"
    np.savez(tmp_path / "a.npz", depth=np.linspace(1, 4, 108, dtype=np.float32).reshape(9, 12), metric=True)
    assert cli.main(["image", str(photo), "--out", str(out), "--coarse", str(tmp_path), "--ply", *camera]) == 0
    (entry,) = json.loads((out / "images.json").read_text())
    assert entry["metric"] is True and entry["scale_source"] == "file" and (out / "a_depth.png").exists()
    told = capsys.readouterr().out
    assert "relative" not in told and "(m)" in told
    assert (out / "a.ply").exists() is bool(camera) is ("ply" in entry["files"])
    assert bool(camera) or ("depth is metric on the word of its file" in told and "no cloud" in told)


def test_an_output_folder_that_cannot_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = write_photo(tmp_path / "a.png")
    assert cli.main(["image", str(photo), "--out", str(photo / "out")]) == 2
    assert "cannot write" in error_line(capsys)


@pytest.mark.parametrize(
    ("arguments", "overrides", "ros_args"),
    [
        ([], {}, []),
        (["--ros-args", "-p", "budget:=0.2"], {}, ["-p", "budget:=0.2"]),
        (["--budget", "0", "--target-fps", "5", "--weights", "w.bin"], {"weights": "w.bin", "budget": 0.0, "target_fps": 5.0}, []),
        (["--trust-scale", "--ros-args", "-p", "trust_scale:=false"], {"trust_scale": True}, ["-p", "trust_scale:=false"]),
        (["--image-topic", "/c/image"], {"image_transport": "raw"}, ["-r", "image:=/c/image"]),
        (
            ["--image-topic", "/c/image/compressed", "--info-topic", "/c/info", "--ros-args", "-r", "__ns:=/robot"],
            {"image_transport": "compressed"},
            ["-r", "image:=/c/image", "-r", "camera_info:=/c/info", "-r", "__ns:=/robot"],
        ),
    ],
)
def test_run_hands_the_node_only_what_was_given(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str], overrides: dict[str, object], ros_args: list[str]
) -> None:
    from depth_retrofit_ros.ros.node import main as ros_main

    told: list[object] = []

    def run_node(*given: object) -> int:
        told.extend(given)
        return 7

    monkeypatch.setattr(ros_main, "run_node", run_node)
    assert cli.main(["run", *arguments]) == 7
    assert told == [overrides, ["--ros-args", *ros_args]]


def test_run_is_the_node() -> None:
    process = run_python(*COMMAND[1:], "run", "--ros-args", "-p", "budget:=7.0")
    assert process.returncode == 2
    assert "budget" in process.stderr and "Traceback" not in process.stderr


def test_a_reader_that_leaves_is_no_error() -> None:
    process = subprocess.Popen([*COMMAND, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(PATIENCE_S) == 1
    assert process.stderr.read() == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_and_its_node(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A demo is interrupted while its node starts: both are gone, nothing but one line is said."""
    command = [*COMMAND, "demo", "--out", str(tmp_path), "--width", "64", "--height", "48", "--seconds", "600"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    ours = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: (tmp_path / "node.log").exists() and ours.read_text(), "the node to be started")
    children = ours.read_text().split()
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code
    assert told == (b"depth-retrofit: interrupted\n" if number == signal.SIGINT else b"depth-retrofit: terminated\n")
    for child in children:
        with pytest.raises(ProcessLookupError):
            os.kill(int(child), 0)
