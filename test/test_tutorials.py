"""The tutorials' commands, run as they are printed, each tutorial in a folder that has the files it speaks of.

A block of commands that cannot be run here has a line in italics before it, or on top of the page, that says so to the reader.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from depth_retrofit_ros.cli import main as cli
from depth_retrofit_ros.evaluation.report import moving_picture
from depth_retrofit_ros.training import pool, refiner
from depth_retrofit_ros.training.scenes import primitives
from depth_retrofit_ros.training.scenes.film import FOLDER, Film
from depth_retrofit_ros.training.scenes.textures import build_textures
from test.evaluation.bags import write_bag
from test.paths import ROOT
from test.waiting import PATIENCE_S

TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
RUN = ("evaluation", "first-robot", "training", "your-bag", "your-model", "your-refiner")
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)
SAID = re.compile(r"^ *\*Not run by the tests: ", re.MULTILINE)
PAGE_SAID = "*Nothing on this page is run by the tests: "


def blocks(path: Path) -> list[tuple[str, str, bool]]:
    """(language, text, whether it is to be run) of each of a page."""
    page = path.read_text(encoding="utf-8")
    found = []
    end = 0
    for match in BLOCK.finditer(page):
        text = re.sub(f"^{match['indent']}", "", match["text"], flags=re.MULTILINE)
        left_out = PAGE_SAID in page or SAID.search(page.rstrip()[end : match.start()]) is not None
        found.append((match["language"], text, match["language"] == "sh" and not left_out))
        end = match.end()
    return found


def commands(path: Path) -> list[str]:
    """Those to be run, continued lines as one."""
    text = "".join(text for _, text, is_run in blocks(path) if is_run)
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader is: a photo, a bag, frames with true depth; and few textures, one frame size and few pictures for what is
    rendered."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(primitives, "build_textures", lambda seed, photos=None: build_textures(seed, count=5, photos=photos))
    monkeypatch.setattr(pool, "_worlds", {})
    monkeypatch.setattr(pool, "FRAMES", ((1280, 720),))
    monkeypatch.setattr(refiner, "VALIDATION_BATCHES", 1)
    monkeypatch.setattr(moving_picture, "FPS", 2)
    photo = cv2.imread(str(FOLDER / "view_0.jpg"))
    assert photo is not None and cv2.imwrite("photo.jpg", cv2.resize(photo, (320, 180)))
    write_bag(tmp_path / "my_bag", "mcap", frames=2, height=96, width=128)
    (tmp_path / "frames").mkdir()
    for name, frame in zip("ab", Film().views(320, 180), strict=False):
        assert cv2.imwrite(f"frames/{name}.jpg", frame.image[..., ::-1])
        camera = {key: getattr(frame.camera, key) for key in ("fx", "fy", "cx", "cy")}
        np.savez(f"frames/{name}.npz", depth=frame.depth, **camera)
    return tmp_path


def execute(line: str) -> None:
    """A command line: ours in this process, where everything is loaded, any other by the shell."""
    words = shlex.split(line, comments=True)
    if words[0] == "depth-retrofit":
        assert cli.main(words[1:]) == 0, line
        return
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    subprocess.run(["bash", "-euc", line], env=env, check=True, timeout=PATIENCE_S)


@pytest.mark.parametrize("path", [path for path in TUTORIALS if path.stem in RUN], ids=lambda path: path.stem)
def test_every_command_runs_and_makes_what_the_page_names(path: Path, folder: Path) -> None:
    if "mkdir -p frames" in path.read_text(encoding="utf-8"):
        shutil.rmtree(folder / "frames")  # this page makes them
    for language, text, _ in blocks(path):
        if language == "python":
            (name,) = re.findall(r"with `(\w+\.py)`", path.read_text(encoding="utf-8"))
            (folder / name).write_text(text)
    lines = commands(path)
    assert lines
    for line in lines:
        execute(line)
    named = re.findall(r"`((?:out|runs)/[\w./-]+)`", path.read_text(encoding="utf-8"))
    assert [name for name in named if not (folder / name).exists()] == []


def test_every_tutorial_is_run_or_says_that_it_is_not() -> None:
    assert {path.stem for path in TUTORIALS} == {*RUN, "jetson", "nav2"}
    for path in TUTORIALS:
        assert any(language == "sh" for language, _, _ in blocks(path))
        assert (path.stem in RUN) == (PAGE_SAID not in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", TUTORIALS, ids=lambda path: path.stem)
def test_what_is_not_run_parses_where_it_is_our_command(path: Path) -> None:
    for language, text, is_run in blocks(path):
        for line in text.replace("\\\n", " ").splitlines() if language == "sh" and not is_run else []:
            words = shlex.split(line, comments=True)
            if words[0].endswith("depth-retrofit"):
                cli.build_parser().parse_args(words[1:])


@pytest.mark.parametrize(("before", "is_run"), [("text\n", True), ("*Not run by the tests: why.*\n", False)])
def test_a_block_is_left_out_only_where_the_page_says_so(tmp_path: Path, before: str, is_run: bool) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{before}\n   ```sh\n   echo a \\\n     b\n   ```\n\n```sh\necho c\n```\n")
    assert commands(page) == (["echo a    b", "echo c"] if is_run else ["echo c"])
