"""SIGINT or SIGTERM at every stage of the node's life ends its process with code 0, without a traceback, however it was started."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

import pytest

from test.ros.graph import PATIENCE_S, wait_until
from test.ros.node.signal_storm import WAYS, complaint, wait_for_handlers


class Life:
    """A node's process, and what it has come to."""

    def __init__(self, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.process, self._folder = process, folder

    def has_loaded(self, library: str) -> bool:
        return library in Path(f"/proc/{self.process.pid}/maps").read_text()

    def kernels(self) -> int:
        return len(list((self._folder / "kernels").rglob("*.nbc")))

    def told(self) -> str:
        return (self._folder / "log").read_text(errors="replace")


MOMENTS: dict[str, Callable[[Life], bool]] = {
    "signals taken": lambda life: True,
    "rcl is loaded": lambda life: life.has_loaded("librcl.so"),
    "torch is loaded": lambda life: life.has_loaded("libtorch_cpu"),
    "llvm is loaded": lambda life: life.has_loaded("llvmlite"),
    "first kernel compiled": lambda life: life.kernels() >= 1,
    "some kernels compiled": lambda life: life.kernels() >= 4,
    "model is ready": lambda life: "is ready on" in life.told(),
    "active": lambda life: "waiting for /image" in life.told(),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "way", "number"), list(zip(MOMENTS, cycle(WAYS), cycle((signal.SIGTERM, signal.SIGINT)), strict=False))
)
def test_a_signal_at_any_moment_ends_the_node_in_order(tmp_path: Path, moment: str, way: str, number: signal.Signals) -> None:
    with (tmp_path / "log").open("wb") as log:
        cold = {"NUMBA_CACHE_DIR": str(tmp_path / "kernels")} if "compiled" in moment else {}
        environment = {**os.environ, **cold}
        process = subprocess.Popen(WAYS[way], env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_for_handlers(process)
        life = Life(process, tmp_path)
        wait_until(lambda: process.poll() is not None or MOMENTS[moment](life), moment)
        assert process.poll() is None, life.told()
        process.send_signal(number)
        assert complaint(process.wait(PATIENCE_S), life.told()) == "", life.told()
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("way", WAYS)
def test_sigterm_right_after_the_start_ends_the_node_with_0(tmp_path: Path, way: str) -> None:
    process = subprocess.Popen(WAYS[way], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    wait_for_handlers(process)
    process.send_signal(signal.SIGTERM)
    told, _ = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, told) == (0, b"")
