"""What a command does with an output that takes nothing, or not every character."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from depth_retrofit_ros.cli import image
from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.evaluation.data import dataset
from depth_retrofit_ros.io.photos import Photo, read_photo
from test.cli.test_main import COMMAND, error_line, write_photo
from test.told import apart_from_compiling

ODD = os.fsdecode(b"caf\xe9")  # Latin-1, as old archives and cameras have it


def run(*arguments: str | Path, redirected: str = "", **environ: str) -> subprocess.CompletedProcess[bytes]:
    """A command behind a shell's redirection."""
    words = ["/bin/sh", "-c", f'exec "$@" {redirected}', "sh", *COMMAND, *map(str, arguments)]
    return subprocess.run(words, env={**os.environ, **environ}, capture_output=True, timeout=100)


def test_a_full_disk_behind_stdout_is_one_line_and_the_work_is_done(tmp_path: Path) -> None:
    photos = [write_photo(tmp_path / f"{name}.png") for name in "ab"]
    done = run("image", *photos, "--out", tmp_path / "out", "--hfov", "60", redirected="> /dev/full")
    assert done.returncode == 1
    (line,) = apart_from_compiling(done.stderr).decode().splitlines()
    assert line.startswith("depth-retrofit: error: standard output cannot be written (No space left on device)")
    assert {"a_relative.npy", "b_relative.npy", "images.json"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("redirected", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_silence(tmp_path: Path, redirected: str) -> None:
    photo = write_photo(tmp_path / "a.png")
    done = run("image", photo, "--out", tmp_path / "out", "--hfov", "60", redirected=redirected)
    assert (done.returncode, done.stdout, apart_from_compiling(done.stderr)) == (0, b"", b"")
    assert (tmp_path / "out" / "a_relative.npy").exists()
    assert run("models", redirected=redirected).returncode == 0


@pytest.mark.parametrize("environ", [{}, {"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "ascii"}])
def test_names_that_are_not_utf_8_are_told_by_their_escapes(tmp_path: Path, environ: dict[str, str]) -> None:
    photo, out = write_photo(tmp_path / "a.png"), tmp_path / f"{ODD} out"
    photo = photo.rename(tmp_path / f"{ODD}.png")
    done = run("image", photo, tmp_path / f"{ODD} none.jpg", "--out", out, "--ply", **environ)
    assert done.returncode == 1, done.stderr
    assert b"1 of 2 images done" in done.stdout and rb"caf\udce9.png: 120x90" in done.stdout
    (line,) = apart_from_compiling(done.stderr).decode().splitlines()
    assert line.startswith("depth-retrofit: error: cannot read ") and r"caf\udce9 none.jpg" in line
    assert sorted(path.name for path in out.iterdir())[:3] == [
        f"{ODD}_{name}" for name in ("preview.png", "relative.npy", "relative.ply")
    ]


def test_any_text_can_be_told_in_ascii() -> None:
    program = "from depth_retrofit_ros.cli.streams import tolerant_streams as t\nwith t(): print('|\u0394 ln d| \u2026')"
    done = subprocess.run([sys.executable, "-c", program], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"|\\u0394 ln d| \\u2026\n")


def test_memory_that_runs_out_in_one_cloud_costs_that_photo_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from depth_retrofit_ros.pointcloud import organized

    make_cloud, calls = organized.make_cloud, iter(range(9))

    def short_at_first(*arguments: object) -> object:
        if next(calls) == 0:
            raise MemoryError("Unable to allocate 3.2 GiB for an array")
        return make_cloud(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(organized, "make_cloud", short_at_first)
    photos = [write_photo(tmp_path / f"{name}.png") for name in "ab"]
    out = tmp_path / "out"
    assert cli.main(["image", *map(str, photos), "--out", str(out), "--hfov", "60", "--ply"]) == 1
    line = error_line(capsys)
    assert "the results of" in line and "a.png (120x90) does not fit into memory: give a larger --ply STRIDE" in line
    assert (out / "b_relative.ply").exists() and (out / "images.json").exists()


def test_memory_that_runs_out_in_one_decoder_costs_that_photo_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = [write_photo(tmp_path / f"{name}.png") for name in "ab"]
    monkeypatch.setattr("depth_retrofit_ros.batch.photos.read_photo", short_for("a.png", read_photo))
    out = tmp_path / "out"
    assert cli.main(["image", *map(str, photos), "--out", str(out), "--hfov", "60"]) == 1
    assert error_line(capsys).endswith("a.png does not fit into memory: scale it down")
    assert (out / "b_relative.npy").exists() and (out / "images.json").exists()


def test_memory_that_runs_out_for_one_pair_costs_that_pair_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pairs, coarse = tmp_path / "pairs", tmp_path / "coarse"
    for folder in (pairs, coarse):
        folder.mkdir()
    for name in "ab":
        write_photo(pairs / f"{name}.png")
        np.savez(pairs / f"{name}.npz", depth=np.full((90, 120), 2.0, np.float32), fx=100.0, fy=100.0, cx=59.5, cy=44.5)
        np.savez(coarse / f"{name}.npz", depth=np.full((24, 32), 2.0, np.float32))
    command = ["evaluate", str(pairs), "--coarse", str(coarse), "--json", str(tmp_path / "figures.json")]
    monkeypatch.setattr(dataset, "read_photo", short_for("a.png", read_photo))
    assert cli.main(command) == 1
    assert "error: a does not fit into memory: lower --budget" in error_line(capsys)
    document = json.loads((tmp_path / "figures.json").read_text())
    assert [entry["name"] for entry in document["images"]] == ["b"]
    assert document["summary"]["notes"]["memory"] == "1 of 2 images did not fit into memory and are left out"
    monkeypatch.setattr(dataset, "read_photo", short_for("", read_photo))
    assert cli.main(command) == 2
    assert "none of the 2 images is evaluated" in capsys.readouterr().err.splitlines()[-1]


def short_for(ending: str, read: Callable[[Path], Photo]) -> Callable[[Path], Photo]:
    """``read``, for which memory runs out where the file's name ends so."""

    def short(path: Path) -> Photo:
        if path.name.endswith(ending):
            raise MemoryError("Unable to allocate 3.2 GiB for an array")
        return read(path)

    return short


def test_memory_that_runs_out_anywhere_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def short(args: object) -> int:
        raise MemoryError

    monkeypatch.setattr(image, "run", short)
    assert cli.main(["image", "a.png", "--out", "out"]) == 1
    assert "memory ran out" in error_line(capsys)


@pytest.mark.parametrize("arguments", [["view", "--node"], ["run", "--image-topic"], ["run", "--info-topic"]])
@pytest.mark.parametrize("name", ["a b", "", "/", "a//b", "/a/", "1st", "a__b", "caf\u00e9", ODD])
def test_names_that_ros_refuses_are_told_before_anything_starts(
    arguments: list[str], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main([*arguments, name])
    assert end.value.code == 2
    assert "is no ROS name: use words of letters, digits and _" in capsys.readouterr().err
