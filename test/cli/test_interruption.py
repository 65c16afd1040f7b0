"""A signal while a command works: one line, 128 + its number, and never a traceback, wherever it strikes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from depth_retrofit_ros.cli.interruption import Interrupted, Interruption
from test.cli.test_main import COMMAND, write_photo
from test.ros.graph import PATIENCE_S, wait_until
from test.ros.node.signal_storm import wait_for_handlers
from test.told import apart_from_compiling

TOLD = {signal.SIGINT: (130, b"depth-retrofit: interrupted\n"), signal.SIGTERM: (143, b"depth-retrofit: terminated\n")}


def has_loaded(process: subprocess.Popen[bytes], library: str) -> bool:
    return library in Path(f"/proc/{process.pid}/maps").read_text()


def has_compiled(process: subprocess.Popen[bytes], folder: Path) -> bool:
    return any((folder / "kernels").rglob("*.nbc"))


MOMENTS: dict[str, Callable[[subprocess.Popen[bytes], Path], bool]] = {
    "signals taken": lambda process, folder: True,
    "numpy is loaded": lambda process, folder: has_loaded(process, "numpy"),
    "torch is loaded": lambda process, folder: has_loaded(process, "libtorch_cpu"),
    "a kernel is compiled": has_compiled,
}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """More than are done before the signal comes."""
    folder = tmp_path_factory.mktemp("photos")
    return [write_photo(folder / f"{name}.png", 900, 1200) for name in range(30)]


@pytest.mark.slow
@pytest.mark.parametrize("number", TOLD)
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_command_says_in_one_line_that_it_was_interrupted(
    photos: list[Path], tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    command = [*COMMAND, "image", *map(str, photos), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        wait_for_handlers(process)
        wait_until(lambda: process.poll() is not None or MOMENTS[moment](process, tmp_path), moment)
        process.send_signal(number)
        _, told = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, apart_from_compiling(told)) == TOLD[number]


@pytest.mark.parametrize("number", TOLD)
def test_a_view_is_there_to_be_interrupted(number: signal.Signals) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    process = subprocess.Popen([*COMMAND, "view", "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for_handlers(process)
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, told) == (0, b"")


def test_signals_within_a_second_are_one_wish() -> None:
    """As of an impatient user, or of a shell and a parent that both pass it on: the unwinding goes on to its end."""
    now_s = 5.0
    interruption = Interruption(lambda: now_s)
    interruption.arm()
    with pytest.raises(Interrupted):
        interruption.on_signal(signal.SIGINT, None)
    now_s = 5.9
    interruption.on_signal(signal.SIGINT, None)
    interruption.on_signal(signal.SIGTERM, None)
    now_s = 6.1
    with pytest.raises(Interrupted):
        interruption.on_signal(signal.SIGTERM, None)
    assert interruption.number == signal.SIGINT


def test_a_signal_before_the_command_is_the_same_wish_as_one_just_after() -> None:
    interruption = Interruption(lambda: 5.0)
    interruption.on_signal(signal.SIGTERM, None)
    with pytest.raises(Interrupted):
        interruption.arm()
    interruption.on_signal(signal.SIGTERM, None)


def test_a_signal_that_a_callback_swallows_comes_again() -> None:
    program = (
        "import ctypes, signal, time\n"
        "from depth_retrofit_ros.cli.interruption import Interrupted, interruptible\n"
        "callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGTERM))\n"
        "with interruptible() as interruption:\n"
        "    try:\n        interruption.arm()\n"
        "        callback(); print('swallowed', flush=True); time.sleep(50)\n"
        "    except Interrupted:\n"
        "        print(interruption.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "swallowed\n143\n", "")
