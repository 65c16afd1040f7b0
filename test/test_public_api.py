"""The public interface: what the package's own name gives, and the README's quick start as written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import depth_retrofit_ros
from depth_retrofit_ros import errors, frame, retrofit
from test.paths import ROOT

HEAVY = ("cv2", "numba", "numpy", "rclpy", "torch")


def test_the_readmes_quick_start_runs_as_written(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len([line for line in program.splitlines() if line]) == 6
    image = np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)
    assert cv2.imwrite(str(tmp_path / "photo.jpg"), image)
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"torch\.Size\(\[90, 160\]\) tensor\([\d.]+\) \(relative\)\n", done.stdout)


def test_every_public_name_is_the_object_of_its_module() -> None:
    assert depth_retrofit_ros.load is retrofit.load and depth_retrofit_ros.Retrofit is retrofit.Retrofit
    assert depth_retrofit_ros.Frame is frame.Frame and depth_retrofit_ros.DepthFrame is frame.DepthFrame
    for name in depth_retrofit_ros.__all__:
        value = getattr(depth_retrofit_ros, name)
        assert name == "__version__" or value.__doc__, f"{name} is not documented"
        assert not name.endswith("Error") or value is getattr(errors, name)
    assert set(depth_retrofit_ros.__all__) <= set(dir(depth_retrofit_ros))


def test_what_is_not_public_is_told_as_usual() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        _ = depth_retrofit_ros.lode  # type: ignore[attr-defined]


def test_the_package_itself_imports_nothing_heavy() -> None:
    program = f"import sys, depth_retrofit_ros; dir(depth_retrofit_ros); print([m for m in {HEAVY} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"
