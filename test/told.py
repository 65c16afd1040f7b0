"""What a process told, for tests that compare it as a whole."""

from __future__ import annotations

from depth_retrofit_ros.device.kernel_cache import COMPILING


def apart_from_compiling(stderr: bytes) -> bytes:
    """Without the line that a command tells when it is the first on this machine to need a kernel, which no test can know."""
    return stderr.replace(f"depth-retrofit: {COMPILING}\n".encode(), b"", 1)
