"""Make camera-sized messages arrive, and arrive fast: the DDS profile and the allocator, set before ``rclpy.init``.

Fast DDS's default shared memory of 512 KB loses most best-effort messages above that size between processes (rmw_fastrtps #739,
rclcpp #1431). The profiles beside this file give it what images need; the launch file, the CLI and the demo all come through here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from depth_retrofit_ros.ros.transport.allocator import keep_large_buffers

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""What Fast DDS 2 (Humble, Jazzy) and 3 (Kilted and later) read."""

SHARED_MEMORY = Path("/dev/shm")
_MB = 1 << 20
# (MB per process, MB that must be free to choose it): a process reserves its share at once, and it needs at least one peer.
_SEGMENTS_MB = ((64, 128), (17, 36))


def profile_variables(environ: Mapping[str, str], free_mb: int) -> dict[str, str]:
    """The variables to add to ``environ``; empty where the user chose a profile or another middleware.

    ``ROS_LOCALHOST_ONLY=1`` and ``ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST|OFF`` select the profile whose sockets stay on this host;
    ``free_mb`` of shared memory decides between its two sizes.
    """
    if any(environ.get(name) for name in PROFILE_VARIABLES):
        return {}
    if "fastrtps" not in environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        return {}
    local = environ.get("ROS_LOCALHOST_ONLY") == "1" or environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") in ("LOCALHOST", "OFF")
    size_mb = next((size for size, needed in _SEGMENTS_MB if free_mb >= needed), _SEGMENTS_MB[-1][0])
    profile = Path(__file__).with_name(f"fastdds_{'localhost' if local else 'subnet'}_{size_mb}mb.xml")
    return dict.fromkeys(PROFILE_VARIABLES, str(profile))


def shared_memory_warning(free_mb: int) -> str | None:
    """One line where large messages may get lost, and what to do; None where all is well."""
    advice = f"{SHARED_MEMORY} has {free_mb} MB free; in Docker add --shm-size=1g (or --ipc=host)"
    if free_mb < _SEGMENTS_MB[-1][1]:
        return f"images will get lost between processes: {advice}"
    if free_mb < _SEGMENTS_MB[0][1]:
        return f"messages above {_SEGMENTS_MB[-1][0]} MB (depth beyond 2560x1440) will get lost between processes: {advice}"
    return None


def configure_transport() -> None:
    """To be called once at the top of a program, before ``rclpy.init``.

    Puts ``profile_variables`` into ``os.environ``, where child processes find them too, and tunes the allocator, in both but for
    what the user chose. Prints one line to stderr where shared memory is scarce.
    """
    os.environ.update(missing_variables(os.environ))
    keep_large_buffers(os.environ)


def missing_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """``profile_variables`` for this machine as it is now; prints one line to stderr where shared memory is scarce."""
    free_mb = _free_shared_memory_mb()
    variables = profile_variables(environ, free_mb)
    if variables and (warning := shared_memory_warning(free_mb)):
        print(warning, file=sys.stderr)
    return variables


def _free_shared_memory_mb() -> int:
    try:
        status = os.statvfs(SHARED_MEMORY)
    except OSError:  # not Linux: Fast DDS keeps its shared memory in ordinary files
        return _SEGMENTS_MB[0][1]
    return status.f_bavail * status.f_frsize // _MB
