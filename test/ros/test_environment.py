"""The start-up check: what is told for each way in which ROS 2 can be missing or mixed."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from depth_retrofit_ros.ros.environment import (
    WHEELS_GUARD,
    Installation,
    find_problem,
    require_ros,
    thread_variables,
    variables_problem,
)
from test.paths import ROOT
from test.waiting import PATIENCE_S

PREFIX = Path("/srv/robot/depth_retrofit_ros/.venv")
WHEELS = Installation(
    prefix=PREFIX,
    version=(3, 12),
    rclpy=PREFIX / "lib/python3.12/site-packages/rclpy/__init__.py",
    wheels=True,
    messages=True,
)
SOURCED = replace(WHEELS, wheels=False, rclpy=Path("/opt/ros/jazzy/lib/python3.12/site-packages/rclpy/__init__.py"))
WHEELS_ENVIRON = {WHEELS_GUARD: "1", "LD_LIBRARY_PATH": f"{PREFIX}/lib/python3.12/site-packages/ros_rcl.libs:{PREFIX}/lib"}
SOURCED_ENVIRON = {
    "ROS_DISTRO": "jazzy",
    "PYTHONPATH": "/opt/ros/jazzy/lib/python3.12/site-packages",
    "LD_LIBRARY_PATH": "/opt/ros/jazzy/lib/x86_64-linux-gnu:/opt/ros/jazzy/lib",
}


@pytest.mark.parametrize(("found", "environ"), [(WHEELS, WHEELS_ENVIRON), (SOURCED, SOURCED_ENVIRON)], ids=["wheels", "sourced"])
def test_one_ros_is_no_problem(found: Installation, environ: dict[str, str]) -> None:
    assert find_problem(found, environ) is None


@pytest.mark.parametrize("variable", ["ROS_DISTRO", "PYTHONPATH", "LD_LIBRARY_PATH"])
def test_each_sign_of_a_sourced_ros_beside_the_wheels_is_told(variable: str) -> None:
    problem = find_problem(WHEELS, {**WHEELS_ENVIRON, variable: SOURCED_ENVIRON[variable]})
    assert problem is not None
    assert variable in problem
    assert "does not mix" in problem


def test_a_ros_outside_opt_is_recognised_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "librcl.so").touch()
    problem = find_problem(WHEELS, {**WHEELS_ENVIRON, "LD_LIBRARY_PATH": f"{PREFIX}/lib:{tmp_path}"})
    assert problem is not None
    assert f"LD_LIBRARY_PATH has {tmp_path}" in problem


def test_an_overlay_without_a_ros_of_its_own_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "depth_retrofit_ros").mkdir()
    assert find_problem(WHEELS, {**WHEELS_ENVIRON, "PYTHONPATH": str(tmp_path)}) is None


@pytest.mark.parametrize(
    ("found", "environ", "advice"),
    [
        (WHEELS, {WHEELS_GUARD: "1", "LD_LIBRARY_PATH": "/srv/robot/other/.venv/lib"}, f"env -u {WHEELS_GUARD}"),
        (replace(SOURCED, wheels=False, rclpy=None), {}, "run `make`"),
        (replace(SOURCED, version=(3, 11)), SOURCED_ENVIRON, "make PYTHON=python3.12"),
        (replace(SOURCED, messages=False), SOURCED_ENVIRON, "make messages"),
    ],
    ids=["other wheels", "no rclpy", "other Python", "no messages"],
)
def test_the_line_says_what_to_do(found: Installation, environ: dict[str, str], advice: str) -> None:
    problem = find_problem(found, environ)
    assert problem is not None
    assert advice in problem
    assert "\n" not in problem


def test_this_environment_passes() -> None:
    require_ros()


def test_the_check_imports_nothing_of_ros_and_fails_in_one_line() -> None:
    program = (
        "import sys\n"
        "from depth_retrofit_ros.ros.environment import require_ros\n"
        "from depth_retrofit_ros.errors import SetupError\n"
        "try:\n"
        "    require_ros()\n"
        "except SetupError as error:\n"
        "    print(error)\n"
        "print('rclpy' in sys.modules)\n"
    )
    # -S: a Python without site-packages, so without rclpy. A sourced ROS would come back by PYTHONPATH.
    package = str(ROOT)
    run = subprocess.run(
        [sys.executable, "-S", "-c", program], env={"PYTHONPATH": package}, capture_output=True, text=True, timeout=PATIENCE_S
    )
    lines = run.stdout.splitlines()
    assert run.returncode == 0, run.stderr
    assert len(lines) == 2
    assert "has no rclpy" in lines[0]
    assert lines[1] == "False"


@pytest.mark.skipif(not Installation.of_this_python().wheels, reason="ROS 2 is sourced: there are no wheels to mix it with")
@pytest.mark.parametrize(
    "command", [["demo", "--out", "out"], ["replay", "bag", "--image-topic", "image", "--out", "out"], ["run"]]
)
def test_every_live_command_refuses_a_mixture(command: list[str], tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "depth_retrofit_ros", *command],
        cwd=tmp_path,
        env={**os.environ, "ROS_DISTRO": "jazzy"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert run.returncode != 0
    (line,) = run.stderr.splitlines()
    assert "does not mix" in line
    assert not (tmp_path / "out").exists()


def test_idle_threads_sleep_unless_the_user_chose() -> None:
    assert thread_variables({}) == {"GOMP_SPINCOUNT": "1000"}
    assert thread_variables({"OMP_WAIT_POLICY": "active"}) == thread_variables({"GOMP_SPINCOUNT": "5"}) == {}


def test_the_cli_sets_it_before_torch_is_there() -> None:
    code = (
        "import os, sys; from depth_retrofit_ros.cli import main as cli; assert 'torch' not in sys.modules; cli.main(['models']); "
        "print(os.environ['GOMP_SPINCOUNT'])"
    )
    environ = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    output = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "1000"


@pytest.mark.parametrize("domain", ["abc", "-1", "233", "1.5", " "])
def test_a_domain_that_is_none_is_told(tmp_path: Path, domain: str) -> None:
    problem = variables_problem({"HOME": str(tmp_path), "ROS_DOMAIN_ID": domain})
    assert problem is not None and problem.startswith(f"ROS_DOMAIN_ID={domain!r} is no ROS domain: set it to")


@pytest.mark.parametrize("domain", ["", "0", "232"])
def test_any_domain_and_none_are_no_problem(tmp_path: Path, domain: str) -> None:
    assert variables_problem({"HOME": str(tmp_path), "ROS_DOMAIN_ID": domain}) is None


@pytest.mark.parametrize("variable", ["HOME", "ROS_HOME", "ROS_LOG_DIR"])
def test_a_folder_that_ros_cannot_write_its_log_into_is_told_with_its_variable(tmp_path: Path, variable: str) -> None:
    (tmp_path / "file").touch()
    problem = variables_problem({"HOME": str(tmp_path), variable: str(tmp_path / "file" / "below")})
    assert problem is not None and f"{variable} says so" in problem and "set ROS_LOG_DIR to a writable folder" in problem


def test_no_home_is_told_unless_no_log_file_is_wanted(tmp_path: Path) -> None:
    problem = variables_problem({"HOME": ""})
    assert problem is not None and "set HOME, or set ROS_LOG_DIR" in problem
    assert variables_problem({}, ["--ros-args", "--disable-external-lib-logs"]) is None
    assert variables_problem({"ROS_LOG_DIR": str(tmp_path)}) is None


@pytest.mark.parametrize("command", [["run"], ["view"], ["view", "--out", "b"], ["demo", "--out", "o"], ["bench", "--json", "b"]])
@pytest.mark.parametrize("variable", ["HOME", "ROS_DOMAIN_ID", "ROS_STATIC_PEERS"])
def test_every_live_command_tells_what_keeps_ros_from_starting(tmp_path: Path, command: list[str], variable: str) -> None:
    if variable == "ROS_STATIC_PEERS" and command[0] in ("demo", "bench"):
        pytest.skip("in a domain of their own, without peers")
    environment = {name: text for name, text in os.environ.items() if name not in ("HOME", "ROS_LOG_DIR", "ROS_HOME")}
    environment |= {"HOME": str(tmp_path)} if variable != "HOME" else {}
    environment |= {"PYTHONPATH": str(ROOT)} | ({variable: "no.such.host"} if variable != "HOME" else {})
    words = [sys.executable, "-m", "depth_retrofit_ros.cli.main", *command]
    done = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]
    assert "error: " in line and ("no.such.host" if variable == "ROS_STATIC_PEERS" else variable) in line
