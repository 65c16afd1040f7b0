"""Compiled kernels: stored where a folder can be written, and run all the same where none can."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from depth_retrofit_ros.device.kernel_cache import COMPILING, made_of
from depth_retrofit_ros.sparse.backends.cpu import kernels
from test.paths import ROOT

MODULE = """
from depth_retrofit_ros.device.kernel_cache import cached_njit

@cached_njit(nogil=True)
def add(a, b):
    return a + b

@cached_njit()
def multiply(a, b):
    return a * b
"""
USE = "import kernels as k; print(k.add(1, 2), k.add(1.0, 2.0), k.multiply(2, 3)); "
HITS = "print(sum(sum(f.stats.cache_hits.values()) for f in (k.add, k.multiply)))"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of a module with kernels."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "kernels.py").write_text(MODULE)
    return tmp_path / "package"


def run(folder: Path, program: str, cache: Path | None = None) -> tuple[str, list[str]]:
    """What a process that uses the kernels prints on stdout, and its lines on stderr."""
    nowhere = str(folder / "kernels.py" / "home")  # below a file: nobody, not even root, can make it
    environment = {**os.environ, "HOME": nowhere, "XDG_CACHE_HOME": nowhere, "PYTHONDONTWRITEBYTECODE": "1"}
    environment["PYTHONPATH"] = os.pathsep.join((str(folder), str(ROOT)))
    environment.pop("NUMBA_CACHE_DIR", None)
    if cache is not None:
        environment["NUMBA_CACHE_DIR"] = str(cache)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


def test_where_no_folder_can_be_written_kernels_run_and_it_is_told_once(folder: Path) -> None:
    (folder / "__pycache__").write_text("a file, where the folder should be")
    told, (line,) = run(folder, USE)
    assert told == "3 3.0 6\n"
    assert line.startswith("compiled kernels cannot be stored") and "set NUMBA_CACHE_DIR to a writable folder" in line


def test_nothing_is_told_of_kernels_that_are_not_used(folder: Path) -> None:
    (folder / "__pycache__").write_text("")
    assert run(folder, "import kernels") == ("", [])


@pytest.mark.parametrize("chosen", [True, False])
def test_kernels_are_stored_in_the_chosen_folder_else_beside_the_source(folder: Path, tmp_path: Path, chosen: bool) -> None:
    cache = tmp_path / "chosen" if chosen else None
    assert run(folder, USE + HITS, cache) == ("3 3.0 6\n0\n", [])
    assert len(list((cache or folder / "__pycache__").rglob("*.nbc"))) == 3
    assert run(folder, USE + HITS, cache) == ("3 3.0 6\n3\n", [])


def test_that_kernels_are_compiled_is_told_once_and_only_then(folder: Path, tmp_path: Path) -> None:
    """On a command's standard error, by the door through which its log goes."""
    command = "from depth_retrofit_ros.cli.streams import tolerant_streams\nwith tolerant_streams(): " + USE
    told, (line,) = run(folder, command, tmp_path / "cache")
    assert (told, line) == ("3 3.0 6\n", f"depth-retrofit: {COMPILING}")
    assert run(folder, command, tmp_path / "cache") == ("3 3.0 6\n", [])


def test_a_disk_that_fills_up_costs_no_kernel_and_is_told_once(folder: Path) -> None:
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2048, 2048)); "  # the index fits, the code does not
    told, (line,) = run(folder, limited + USE)
    assert told == "3 3.0 6\n" and "File too large" in line and "NUMBA_CACHE_DIR" in line
    assert run(folder, USE + HITS) == ("3 3.0 6\n0\n", []), "with space again they are compiled once more, and stored"
    assert run(folder, USE + HITS) == ("3 3.0 6\n3\n", [])


def test_a_folder_that_disappears_is_made_again_or_told_once(folder: Path, tmp_path: Path) -> None:
    cache, gone = tmp_path / "cache", "import kernels as k, shutil; shutil.rmtree({0!r}); "
    assert run(folder, gone.format(str(cache)) + USE, cache) == ("3 3.0 6\n", [])
    assert list(cache.rglob("*.nbc"))
    told, (line,) = run(folder, gone.format(str(cache)) + f"open({str(cache)!r}, 'w').close(); " + USE, cache)
    assert told == "3 3.0 6\n" and line.startswith("compiled kernels cannot be stored")


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
def test_what_is_damaged_is_compiled_and_stored_anew(folder: Path, tmp_path: Path, ending: str) -> None:
    cache = tmp_path / "cache"
    run(folder, USE, cache)
    for path in cache.rglob(f"*.{ending}"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert run(folder, USE + HITS, cache) == ("3 3.0 6\n0\n", [])
    assert run(folder, USE + HITS, cache) == ("3 3.0 6\n3\n", [])


@pytest.mark.parametrize("damage", [b"", b"\x80\x04\x95", b"rubbish", None])
def test_a_damaged_index_on_a_full_disk_costs_no_kernel(folder: Path, tmp_path: Path, damage: bytes | None) -> None:
    cache = tmp_path / "cache"
    run(folder, USE, cache)
    for path in cache.rglob("*.nbi"):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage)
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1)); "
    told, (line,) = run(folder, full + USE, cache)
    assert told == "3 3.0 6\n" and line.startswith("compiled kernels cannot be stored") and str(cache) in line


INTRINSIC = """
from numba import types
from numba.extending import intrinsic
from package.numbers import STEP

@intrinsic
def stepped(typing_context, a):
    return types.int64(types.int64), lambda context, builder, signature, args: builder.add(args[0], args[0].type(STEP))
"""
SOURCES = {
    "numbers": "STEP = 1\n",
    "intrinsics": INTRINSIC,
    "beside": "",
    "kernels": """
from depth_retrofit_ros.device.kernel_cache import cached_njit
from .intrinsics import stepped
from . import beside

@cached_njit()
def add(a):
    return stepped(a)
""",
}
CALL = "import package.kernels as k; print(k.add(1), sum(k.add.stats.cache_hits.values()))"


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Of a kernel that calls an intrinsic of another module, which has a constant of a third one."""
    (tmp_path / "package").mkdir()
    for name, source in SOURCES.items():
        (tmp_path / "package" / f"{name}.py").write_text(source)
    return tmp_path / "package"


@pytest.mark.parametrize(
    ("module", "before", "after", "answer"), [("intrinsics", ".add(", ".mul(", 1), ("numbers", "1", "7", 8), ("beside", "", "#", 2)]
)
def test_a_kernel_is_compiled_anew_when_what_it_is_made_of_changes(
    package: Path, module: str, before: str, after: str, answer: int
) -> None:
    folder, source = package.parent, package / f"{module}.py"
    assert [run(folder, CALL)[0] for _ in range(2)] == ["2 0\n", "2 1\n"]
    source.write_text(source.read_text().replace(before, after))
    assert [run(folder, CALL)[0] for _ in range(2)] == [f"{answer} 0\n", f"{answer} 1\n"]


def test_what_a_kernel_is_not_made_of_leaves_it_stored(package: Path) -> None:
    assert run(package.parent, CALL)[0] == "2 0\n"
    (package / "other.py").write_text("from package.kernels import add")
    assert run(package.parent, f"import package.other; {CALL}")[0] == "2 1\n"


def test_kernels_of_ours_depend_on_their_intrinsics_and_on_little_else() -> None:
    """A wide net would compile all of them anew after every change of anything."""
    assert made_of(kernels.__name__) == {
        f"depth_retrofit_ros.{name}"
        for name in ("device.kernel_cache", "device.thread_pool", "sparse.backends.cpu.kernels", "sparse.backends.cpu.vectors")
    }


def test_every_kernel_of_ours_is_stored_this_way() -> None:
    files = (ROOT / "depth_retrofit_ros").rglob("*.py")
    sources = [path for path in files if re.search(r"\bcache=True", path.read_text(encoding="utf-8"))]
    assert sources == []
